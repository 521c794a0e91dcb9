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
 * @throws LogError `CORRUPT` where the chain does not hold: nothing is signed then.
 */
export async function* exportLog(
  log: EventLog,
  cluster: string,
  key: KeyObject,
  exportedAt: string,
): AsyncGenerator<string, SignedHead> {
  let head = emptyHead(cluster);
  for await (const records of log.read(cluster, 1, { verify: head, most: AT_ONCE })) {
    let lines = '';
    for (const { position, hash, body, input } of records) {
      lines += `${JSON.stringify(input === undefined ? { position, hash, body } : { position, hash, body, input })}\n`;
      head = { position, hash };
      if (lines.length >= PIECE) {
        yield lines;
        lines = '';
      }
    }
    if (lines !== '') yield lines;
  }
  const signed = signHead(cluster, head, key, exportedAt);
  yield `${JSON.stringify(signed)}\n`;
  return signed;
}

function signHead(cluster: string, head: Head, key: KeyObject, exportedAt: string): SignedHead {
  const manifest: ExportManifest = {
    format: 'vf-scheduler export 1',
    cluster,
    events: head.position,
    head,
    exportedAt,
    publicKey: createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string,
  };
  return { manifest, signature: sign(null, bytesOf(manifest), key).toString('base64') };
}

const bytesOf = (manifest: ExportManifest): Buffer => Buffer.from(canonicalJson(manifest));

/** Whether a signed head was signed with the private part of a key. */
export function isSignedBy({ manifest, signature }: SignedHead, publicKey: KeyObject): boolean {
  try {
    return verifySignature(null, bytesOf(manifest), publicKey, Buffer.from(signature, 'base64'));
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

/**
 * Checks an export by itself: every link of the chain from the first record, that the manifest is about just
 * these records, and the signature by a key of the reader's own. Needs no server, and memory for one line.
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
    for await (const line of linesOf(stream)) {
      number++;
      if (signed !== undefined)
        return fail(`line ${number} comes behind the manifest, which is the last line`);
      const read = readLine(line);
      if (read === undefined) return fail(`line ${number} is neither a record nor a manifest`);
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
  if (!Number.isInteger(position) || typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash))
    return undefined;
  if (typeof body !== 'string' || (input !== undefined && typeof input !== 'string')) return undefined;
  const record = { position: position as number, id: eventId(hash), hash, body };
  return input === undefined ? record : { ...record, input };
}

function isManifest(value: unknown): value is ExportManifest {
  if (typeof value !== 'object' || value === null) return false;
  const { format, cluster, events, head } = value as Partial<ExportManifest>;
  return (
    format === 'vf-scheduler export 1' &&
    typeof cluster === 'string' &&
    Number.isInteger(events) &&
    typeof head?.hash === 'string' &&
    Number.isInteger(head.position)
  );
}

class LineTooLong extends Error {}

async function* linesOf(stream: AsyncIterable<Uint8Array | string>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let rest = '';
  for await (const piece of stream) {
    rest += typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true });
    let start = 0;
    for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n', start)) {
      if (end > start) yield rest.slice(start, end);
      start = end + 1;
    }
    rest = rest.slice(start);
    if (rest.length > LONGEST_LINE) throw new LineTooLong();
  }
  if (rest.trim() !== '') yield rest;
}
