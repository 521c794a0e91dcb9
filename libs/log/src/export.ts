import { isUtf8 } from 'node:buffer';
import { createPublicKey, sign, verify as verifySignature, type KeyObject } from 'node:crypto';
import { canonicalJson } from './canonical-json.js';
import { checkLink, emptyHead, eventId, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { EventLog } from './event-log.js';
import type { StoredRecord } from './record.js';

/** The last line of an export: what it holds, and who says so. */
export interface ExportManifest {
  readonly format: 'vf-scheduler export 1';
  readonly cluster: string;
  readonly events: number;
  /** Position and hash of the last record. */
  readonly head: Head;
  readonly exportedAt: string;
  /** The public key, as PEM: which one it is, not whether it is to be trusted. */
  readonly publicKey: string;
}

/** A head with a signature that can be kept apart from what it is about. */
export interface SignedHead {
  readonly manifest: ExportManifest;
  /** Ed25519 over the canonical JSON of the manifest, in base64. */
  readonly signature: string;
}

/** Records that are read at once, and brought from bytes to texts: a report of a large host has 40 KB. */
const AT_ONCE = 32;
/** Characters that are written at once: what takes the records of a whole read takes the thread for long. */
const PIECE = 64 * 1024;

/**
 * A cluster's log as lines of JSON: one for each record, with the bytes that are hashed, and a signed manifest
 * at the end. Without any server, {@link checkExport} tells whether it is whole and unchanged.
 *
 * @param key an Ed25519 private key.
 * @param keep is given the head before anybody else gets it; where it throws, nobody does.
 * @throws LogError `CORRUPT` where the chain does not hold: nothing is signed then. What `keep` throws.
 */
export async function* exportLog(
  log: EventLog,
  cluster: string,
  key: KeyObject,
  exportedAt: string,
  keep: (signed: SignedHead) => Promise<void> = async () => undefined,
): AsyncGenerator<string, SignedHead> {
  let head = emptyHead(cluster);
  for await (const records of log.read(cluster, 1, { verify: head, most: AT_ONCE })) {
    let lines = '';
    for (const record of records) {
      lines += `${recordLine(record)}\n`;
      head = { position: record.position, hash: record.hash };
      if (lines.length >= PIECE) {
        yield lines;
        lines = '';
      }
    }
    if (lines !== '') yield lines;
  }
  const signed = signHead(cluster, head, key, exportedAt);
  await keep(signed);
  yield `${signedHeadLine(signed)}\n`;
  return signed;
}

/** The line of a record, without its end. */
function recordLine({ position, hash, body, input }: Omit<StoredRecord, 'id'>): string {
  return JSON.stringify(input === undefined ? { position, hash, body } : { position, hash, body, input });
}

/** A signed head as it is written, in an export and wherever it is kept: one line of JSON, without its end. */
export function signedHeadLine({ manifest, signature }: SignedHead): string {
  const { format, cluster, events, head, exportedAt, publicKey } = manifest;
  const { position, hash } = head;
  return JSON.stringify({
    manifest: { format, cluster, events, head: { position, hash }, exportedAt, publicKey },
    signature,
  });
}

/**
 * Reads what {@link signedHeadLine} writes.
 *
 * @returns undefined for all else, also where it only is written in another way. Whether it is signed, and by whom, is for
 *   {@link isSignedBy} to tell.
 */
export function readSignedHead(line: string): SignedHead | undefined {
  const read = readLine(line);
  return read !== undefined && 'manifest' in read && signedHeadLine(read) === line ? read : undefined;
}

/**
 * Signs a head. Whoever calls it has checked the chain up to there.
 *
 * @param key an Ed25519 private key.
 * @param exportedAt when: RFC 3339, UTC, milliseconds.
 */
export function signHead(cluster: string, head: Head, key: KeyObject, exportedAt: string): SignedHead {
  const manifest: ExportManifest = {
    format: 'vf-scheduler export 1',
    cluster,
    events: head.position,
    head,
    exportedAt,
    publicKey: pemOf(createPublicKey(key)),
  };
  return { manifest, signature: sign(null, bytesOf(manifest), key).toString('base64') };
}

const pemOf = (publicKey: KeyObject): string => publicKey.export({ type: 'spki', format: 'pem' }) as string;

const bytesOf = (manifest: ExportManifest): Buffer => Buffer.from(canonicalJson(manifest));

/** Whether a signed head was signed with the private part of a key. */
export function isSignedBy({ manifest, signature }: SignedHead, publicKey: KeyObject): boolean {
  try {
    const bytes = Buffer.from(signature, 'base64');
    // One signature has one text: what base64 lets pass beside is not as it was written.
    if (bytes.toString('base64') !== signature) return false;
    return verifySignature(null, bytesOf(manifest), publicKey, bytes);
  } catch {
    return false;
  }
}

/** What there is to say of an export. */
export interface ExportCheck {
  readonly ok: boolean;
  readonly cluster?: string;
  /** Good records, from the first on. */
  readonly events: number;
  /** The end of the good part. */
  readonly head?: Head;
  readonly exportedAt?: string;
  /** `good`: by the key that was given. */
  readonly signature: 'good' | 'bad' | 'missing';
  /** The first thing that is wrong, for a person; absent when all is good. */
  readonly problem?: string;
  /** The position that the problem is about, where it is about one. */
  readonly firstBad?: number;
}

/** A line is refused when it is longer than any record can be: an export of another kind must not fill memory. */
const LONGEST_LINE = 8 << 20;
const LINE_FEED = 0x0a;

/**
 * Checks an export by itself: that each line is byte for byte what {@link exportLog} writes, every link of the chain from
 * the first record, that the manifest is about just these records, and the signature by a key of the reader's own. Needs no
 * server, and memory for one line.
 *
 * @param stream the export's bytes or text, in pieces of any size.
 * @param publicKey an Ed25519 public key (PEM or key object): the one that the reader trusts.
 */
export async function checkExport(
  stream: AsyncIterable<Uint8Array | string>,
  publicKey: KeyObject | string,
): Promise<ExportCheck> {
  const key = typeof publicKey === 'string' ? createPublicKey(publicKey) : publicKey;
  // The cluster's name is in the first hash, and only the manifest tells it: the first record is looked at again
  // then.
  let first: StoredRecord | undefined;
  let head: Head | undefined;
  let signed: SignedHead | undefined;
  const fail = (problem: string, firstBad?: number): ExportCheck => ({
    ok: false,
    ...(signed === undefined ? undefined : { cluster: signed.manifest.cluster }),
    events: head?.position ?? 0,
    ...(head === undefined ? undefined : { head }),
    signature: signed === undefined ? 'missing' : isSignedBy(signed, key) ? 'good' : 'bad',
    problem,
    ...(firstBad === undefined ? undefined : { firstBad }),
  });
  let number = 0;
  try {
    for await (const { bytes, ended } of linesOf(stream)) {
      number++;
      if (signed !== undefined)
        return fail(`line ${number} comes behind the manifest, which is the last line`);
      if (!isUtf8(bytes)) return fail(`line ${number} is not text: its bytes are not UTF-8`);
      const line = bytes.toString('utf8');
      const otherwise = (how: string): ExportCheck =>
        fail(`line ${number} is not byte for byte what an export has: ${how}`, (head?.position ?? 0) + 1);
      if (line.startsWith('\uFEFF')) return otherwise('it begins with a byte order mark');
      if (line.endsWith('\r')) return otherwise('it ends with a carriage return');
      const read = readLine(line);
      if (read === undefined) return fail(`line ${number} is neither a record nor a manifest`);
      const wanted = 'manifest' in read ? signedHeadLine(read) : recordLine(read);
      if (line !== wanted) return otherwise(differenceOf(line, wanted));
      if (!ended) return otherwise('it has no line feed at its end: it was cut off');
      if ('manifest' in read) {
        signed = read;
        continue;
      }
      if (head === undefined) {
        if (read.position !== 1) return fail(`it begins at position ${read.position}, not at 1`, 1);
        first = read;
        head = { position: 1, hash: read.hash };
      } else {
        head = checkLink('export', head, read);
      }
    }
  } catch (error) {
    if (error instanceof LogError && error.code === 'CORRUPT') {
      return fail(
        `the record at position ${error.position} does not follow from the one before`,
        error.position,
      );
    }
    if (error instanceof LineTooLong) return fail(`line ${number + 1} is longer than any record`);
    throw error;
  }
  if (signed === undefined) return fail('it ends without a manifest: it was cut off');
  const { manifest } = signed;
  const genesis = emptyHead(manifest.cluster);
  if (first !== undefined) {
    try {
      checkLink(manifest.cluster, genesis, first);
    } catch {
      head = genesis;
      return fail(`the first record does not begin the log of cluster '${manifest.cluster}'`, 1);
    }
  }
  const end = head ?? genesis;
  if (manifest.events !== end.position || manifest.head.position !== end.position) {
    return fail(`the manifest is about ${manifest.events} records, and there are ${end.position}`);
  }
  if (manifest.head.hash !== end.hash)
    return fail('the manifest names another hash than the last record', end.position);
  if (!isSignedBy(signed, key)) return fail('it was not signed with this key, or the manifest was changed');
  if (manifest.publicKey !== pemOf(key))
    return fail('the manifest names another public key than the one that signed it');
  return {
    ok: true,
    cluster: manifest.cluster,
    events: end.position,
    head: end,
    exportedAt: manifest.exportedAt,
    signature: 'good',
  };
}

function readLine(line: string): StoredRecord | SignedHead | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { position, hash, body, input, manifest, signature } = value as Record<string, unknown>;
  if (isManifest(manifest) && typeof signature === 'string') return { manifest, signature };
  if (!Number.isSafeInteger(position) || typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash))
    return undefined;
  if (typeof body !== 'string' || (input !== undefined && typeof input !== 'string')) return undefined;
  const record = { position: position as number, id: eventId(hash), hash, body };
  return input === undefined ? record : { ...record, input };
}

function isManifest(value: unknown): value is ExportManifest {
  if (typeof value !== 'object' || value === null) return false;
  const { format, cluster, events, head, exportedAt, publicKey } = value as Partial<ExportManifest>;
  return (
    format === 'vf-scheduler export 1' &&
    typeof cluster === 'string' &&
    typeof head?.hash === 'string' &&
    /^[0-9a-f]{64}$/.test(head.hash) &&
    Number.isSafeInteger(head.position) &&
    head.position >= 0 &&
    events === head.position &&
    typeof exportedAt === 'string' &&
    isTime(exportedAt) &&
    typeof publicKey === 'string'
  );
}

/** Whether it is a time in the one form that is written. */
function isTime(text: string): boolean {
  const time = new Date(text);
  return !Number.isNaN(time.getTime()) && time.toISOString() === text;
}

/** Where two lines part, for a person. */
function differenceOf(line: string, wanted: string): string {
  let at = 0;
  while (line[at] === wanted[at]) at++;
  const piece = (text: string): string =>
    at < text.length ? JSON.stringify(text.slice(at, at + 24)) : 'nothing';
  return `at character ${at + 1} it has ${piece(line)}, and an export ${piece(wanted)}`;
}

class LineTooLong extends Error {}

/** The lines of a stream, without their ends; the last one may have none. */
async function* linesOf(
  stream: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<{ readonly bytes: Buffer; readonly ended: boolean }> {
  let rest: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    const bytes = Buffer.from(piece as Uint8Array);
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
      const last = bytes.subarray(start, end);
      if (length + last.length > LONGEST_LINE) throw new LineTooLong();
      yield { bytes: length === 0 ? last : Buffer.concat([...rest, last]), ended: true };
      rest = [];
      length = 0;
      start = end + 1;
    }
    if (start === bytes.length) continue;
    rest.push(bytes.subarray(start));
    length += bytes.length - start;
    if (length > LONGEST_LINE) throw new LineTooLong();
  }
  if (length > 0) yield { bytes: Buffer.concat(rest), ended: false };
}
