import { hash } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { BrokerError, type Broker } from '#broker';
import { readSignedHead, signedHeadLine, type SignedHead } from '#log';
import { QueryError } from './query-errors.js';

/**
 * Where heads are kept that were signed: a file in the data directory, and `VF_HEADS` in JetStream, which whoever edits the
 * data directory does not reach by that. A head is put into `<cluster>.json.next`, into the bucket, and then in its place,
 * so that of one that a crash has kept from its place it can be told what it is.
 */
export interface KeptHeads {
  readonly file: KeptHead;
  readonly bucket: KeptHead & {
    /** There is such a bucket. */
    readonly exists: boolean;
    /** What is to be replaced. */
    readonly revision: number;
  };
}

export interface KeptHead {
  /** How a person finds it. */
  readonly where: string;
  /** Undefined where there is none, or where it is something else: then `strange`. */
  readonly head?: SignedHead;
  /** Why what is there is no head. */
  readonly strange?: string;
  /** By which data directory it was kept; undefined for one of a version that knew no bucket. */
  readonly keptBy?: string;
}

/** Tells this data directory from others, without saying where it is. */
export const directoryId = (dataDir: string): string =>
  hash('sha256', `${hostname()}\n${resolve(dataDir)}`).slice(0, 16);

export const fileOf = (cluster: string): string => `signed-heads/${cluster}.json`;

/** @throws QueryError `UNAVAILABLE` where one of the two cannot be asked: what was not looked at is not good. */
export async function readKept(broker: Broker, dataDir: string, cluster: string): Promise<KeptHeads> {
  const where = fileOf(cluster);
  const path = join(dataDir, where);
  let file: KeptHead = { where, ...read(await textOf(path)) };
  const bucket = await readBucket(broker, cluster);
  const next = read(await textOf(`${path}.next`));
  // A crash came between the bucket and the file.
  if (next.head !== undefined && bucket.head !== undefined && isSame(next.head, bucket.head))
    file = { where, ...next };
  return { file, bucket };
}

const isSame = (one: SignedHead, other: SignedHead): boolean => signedHeadLine(one) === signedHeadLine(other);

async function readBucket(broker: Broker, cluster: string): Promise<KeptHeads['bucket']> {
  const where = `VF_HEADS (key ${cluster})`;
  try {
    const kept = await broker.heads.read(cluster);
    if (kept === undefined) return { where, exists: false, revision: 0 };
    return { where, exists: true, revision: kept.revision, ...read(kept.text) };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    throw new QueryError('UNAVAILABLE', `the signed heads in VF_HEADS cannot be read now: ${error.message}`);
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    // A directory, say, or a file without the right to read it.
    return `cannot be read: ${code ?? message}`;
  }
}

const KEPT_BY = /^(.*),"keptBy":"([0-9a-f]{16})"\}$/;

function read(text: string | undefined): Pick<KeptHead, 'head' | 'strange' | 'keptBy'> {
  if (text === undefined) return {};
  const line = text.endsWith('\n') ? text.slice(0, -1) : text;
  const [, begin, keptBy] = KEPT_BY.exec(line) ?? [];
  const head = readSignedHead(begin === undefined ? line : `${begin}}`);
  if (head === undefined)
    return { strange: text.startsWith('cannot be read: ') ? text : 'it is no signed head' };
  return keptBy === undefined ? { head } : { head, keptBy };
}

function write(head: SignedHead, keptBy: string): string {
  return `${signedHeadLine(head).slice(0, -1)},"keptBy":"${keptBy}"}\n`;
}

/**
 * Keeps a head in both places, where they do not have a later one.
 *
 * @param kept what is there now, checked.
 * @throws BrokerError `WRONG_SEQUENCE` when somebody else has written meanwhile: read and check again.
 */
export async function writeKept(
  broker: Broker,
  dataDir: string,
  cluster: string,
  { file, bucket }: KeptHeads,
  head: SignedHead,
): Promise<void> {
  const { position } = head.manifest.head;
  const text = write(head, directoryId(dataDir));
  const path = join(dataDir, fileOf(cluster));
  const isLater = ({ head: other }: KeptHead): boolean =>
    other !== undefined && other.manifest.head.position >= position;
  if (isLater(bucket)) return;
  await mkdir(join(dataDir, 'signed-heads'), { recursive: true, mode: 0o700 });
  await writeDurably(`${path}.next`, text);
  await broker.heads.write(cluster, text, bucket.revision);
  if (!isLater(file)) await rename(`${path}.next`, path);
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
