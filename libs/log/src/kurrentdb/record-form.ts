import { isUtf8 } from 'node:buffer';
import type { BinaryEventData, ResolvedEvent } from '@kurrent/kurrentdb-client';
import { LogError } from '../errors.js';
import type { StoredDecision, StoredRecord } from '../record.js';

/**
 * One append carries at most this many bytes, as the server counts them and with their frames: up to version
 * 25.0 it takes 1 MiB.
 */
const appendBytes = 1_000_000;
/** For the id, the names of the fields and the lengths of an event, at most. */
const frameBytes = 200;

/** Some decisions that go into one append. */
export interface Batch {
  readonly records: readonly StoredRecord[];
  readonly events: readonly BinaryEventData[];
}

/**
 * Splits decisions into appends that the server takes. A decision is never split: one that is too large alone
 * goes alone, and the server says what it thinks of it. The same decisions are always split in the same way.
 */
export function batches(decisions: readonly StoredDecision[]): Batch[] {
  const found: { records: StoredRecord[]; events: BinaryEventData[]; bytes: number }[] = [];
  for (const decision of decisions) {
    const events = decision.map(eventOf);
    const bytes = events.reduce((sum, event) => sum + sizeOf(event), 0);
    let last = found.at(-1);
    if (last === undefined || last.bytes + bytes > appendBytes) {
      last = { records: [], events: [], bytes: 0 };
      found.push(last);
    }
    last.records.push(...decision);
    last.events.push(...events);
    last.bytes += bytes;
  }
  return found;
}

/** The bytes that an event takes of an append. */
export function sizeOf({ type, data, metadata }: BinaryEventData): number {
  return data.length + (metadata as Uint8Array).length + 2 * type.length + frameBytes;
}

/**
 * A record as an event of KurrentDB. Its data are the very bytes that are hashed: the body and, where there is
 * one, a line feed and the input. They are not marked as JSON, because the client then parses and writes them
 * anew.
 *
 * @throws TypeError for a body with a line break, which canonical JSON does not have.
 */
export function eventOf({ id, hash, body, input, position }: StoredRecord): BinaryEventData {
  if (body.includes('\n')) throw new TypeError(`the body at position ${position} has a line break`);
  return {
    id,
    contentType: 'application/octet-stream',
    type: typeOf(body),
    data: bytesOf(input === undefined ? body : `${body}\n${input}`),
    metadata: bytesOf(JSON.stringify({ hash })),
  };
}

/**
 * A record as it is read back; nothing of it is checked but that it can be read.
 *
 * @throws LogError `CORRUPT`
 */
export function recordOf(cluster: string, { event }: ResolvedEvent, inputs: boolean): StoredRecord {
  const position = positionOf({ event });
  const hash = (event?.metadata as { hash?: unknown } | undefined)?.hash;
  if (event === undefined || event.isJson || typeof hash !== 'string') {
    throw LogError.corrupt(cluster, position, 'it is not an event that this scheduler wrote');
  }
  const data = event.data as Uint8Array;
  if (!isUtf8(data)) throw LogError.corrupt(cluster, position, 'its bytes are not text');
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const end = bytes.indexOf(0x0a);
  const body = bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
  const record = { position, id: event.id, hash, body };
  return end === -1 || !inputs ? record : { ...record, input: bytes.toString('utf8', end + 1) };
}

/** The position in the log of an event's place in its stream. */
export const positionOf = ({ event }: ResolvedEvent): number => Number(event?.revision ?? -1n) + 1;

/** Bytes of a class that the client knows again. */
export function bytesOf(text: string): Uint8Array {
  const { buffer, byteOffset, byteLength } = Buffer.from(text, 'utf8');
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** `type` is the last key of a canonical body. */
function typeOf(body: string): string {
  return /"type":"([^"\\]{1,100})"\}$/.exec(body)?.[1] ?? 'Record';
}
