import { hash as digest } from 'node:crypto';
import { LogError } from './errors.js';
import type { StoredRecord } from './record.js';

/** The place of the chain's last link: position 0 with the genesis hash for an empty log. */
export interface Head {
  readonly position: number;
  /** 64 hex digits. */
  readonly hash: string;
}

/**
 * The head of an empty log. The stream's name is in it, so that two logs with the same events have different
 * ids.
 */
export function emptyHead(stream: string): Head {
  return { position: 0, hash: digest('sha256', `vf-scheduler log 1 ${stream}`) };
}

/**
 * The hash of a record: SHA-256 over the previous hash (hex), the body and the input, each on a line of its
 * own. Canonical JSON has no line break, so the parts cannot run into each other.
 */
export function chainHash(previous: string, body: string, input?: string): string {
  return digest('sha256', input === undefined ? `${previous}\n${body}` : `${previous}\n${body}\n${input}`);
}

/** A UUID version 8 (RFC 9562) made from the first 128 bits of a hash. */
export function eventId(hash: string): string {
  const variant = ((Number.parseInt(hash.charAt(16), 16) & 0x3) | 0x8).toString(16);
  return (
    `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}` +
    `-${variant}${hash.slice(17, 20)}-${hash.slice(20, 32)}`
  );
}

/** Puts a body in its place behind `previous`. */
export function sealRecord(previous: Head, body: string, input?: string): StoredRecord {
  const hash = chainHash(previous.hash, body, input);
  const record = { position: previous.position + 1, id: eventId(hash), hash, body };
  return input === undefined ? record : { ...record, input };
}

/**
 * Checks that a record is the next link behind `previous`.
 *
 * @returns the head after it.
 * @throws LogError `CORRUPT`, naming the position and what does not fit.
 */
export function checkLink(stream: string, previous: Head, record: StoredRecord): Head {
  const expected = previous.position + 1;
  if (record.position !== expected) {
    throw LogError.corrupt(stream, expected, `the record there says position ${record.position}`);
  }
  const hash = chainHash(previous.hash, record.body, record.input);
  if (record.hash !== hash) {
    throw LogError.corrupt(stream, expected, `its bytes hash to ${hash}, the record says ${record.hash}`);
  }
  if (record.id !== eventId(hash)) {
    throw LogError.corrupt(stream, expected, `its id ${record.id} is not made from its hash`);
  }
  return { position: expected, hash };
}
