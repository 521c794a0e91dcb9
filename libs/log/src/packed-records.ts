import { isUtf8 } from 'node:buffer';
import { hash as digest } from 'node:crypto';
import { checkLink, eventId, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { StoredRecord } from './record.js';

const hashLength = 64;
const noInput = -1;

/**
 * Records side by side in one buffer, which moves between threads without a copy:
 *
 *     hash₀ ⏎ body₁ [⏎ input₁] hash₁ ⏎ body₂ [⏎ input₂] hash₂ …
 *
 * So the bytes that a hash is made of (see {@link chainHash}) lie together, with the previous hash in front.
 */
export interface PackedRecords {
  /** Position of the first record. */
  readonly from: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Two for each record: the length of the body and of the input in bytes, -1 for no input. */
  readonly lengths: Int32Array<ArrayBuffer>;
  /** Whether the log ended here when this was read. */
  readonly end: boolean;
}

/**
 * A record that was read. Not a literal: V8 learns of those that were once long-lived, from a few large
 * records, and then makes all of them in its old space, where each holds its text until a full collection.
 * That took a third of a replay.
 */
class ReadRecord implements StoredRecord {
  declare readonly input?: string;

  constructor(
    readonly position: number,
    readonly id: string,
    readonly hash: string,
    readonly body: string,
    input: string | undefined,
  ) {
    if (input !== undefined) this.input = input;
  }
}

/** The records, as the port hands them out. */
export function unpackRecords(packed: PackedRecords, inputs: boolean): StoredRecord[] {
  const { from, lengths } = packed;
  const bytes = asBuffer(packed.bytes);
  const records: StoredRecord[] = [];
  let at = hashLength;
  for (let index = 0; index < lengths.length; index += 2) {
    const bodyEnd = at + 1 + lengths[index]!;
    const body = bytes.toString('utf8', at + 1, bodyEnd);
    const inputLength = lengths[index + 1]!;
    const inputEnd = inputLength === noInput ? bodyEnd : bodyEnd + 1 + inputLength;
    at = inputEnd + hashLength;
    const hash = bytes.toString('latin1', inputEnd, at);
    const input =
      inputs && inputLength !== noInput ? bytes.toString('utf8', bodyEnd + 1, inputEnd) : undefined;
    records.push(new ReadRecord(from + index / 2, eventId(hash), hash, body, input));
  }
  return records;
}

/** Position and hash of the last record. */
export function lastOf(packed: PackedRecords): Head {
  const hash = asBuffer(packed.bytes).toString('latin1', packed.bytes.length - hashLength);
  return { position: packed.from + packed.lengths.length / 2 - 1, hash };
}

/**
 * The records up to the first that is not text, or does not link to the one before.
 *
 * @param previous the head before the first record, if links are to be checked.
 * @throws LogError `CORRUPT` when the first record is the bad one.
 */
export function goodPart(stream: string, packed: PackedRecords, previous: Head | undefined): PackedRecords {
  const bytes = asBuffer(packed.bytes);
  const allText = isUtf8(bytes);
  if (allText && previous === undefined) return packed;
  let start = 0;
  for (let index = 0; index < packed.lengths.length; index += 2) {
    const length = recordLength(packed.lengths, index);
    const hashAt = start + length;
    const hashed = bytes.subarray(start, hashAt);
    const good =
      (allText || isUtf8(bytes.subarray(start, hashAt + hashLength))) &&
      (previous === undefined ||
        digest('sha256', hashed) === bytes.toString('latin1', hashAt, hashAt + hashLength));
    if (!good) {
      if (index > 0) return cut(packed, index / 2, start + hashLength);
      if (!allText) throw LogError.corrupt(stream, packed.from, 'its bytes are not text');
      // The same check again, for the sentence that says what does not fit.
      checkLink(stream, previous!, unpackRecords(cut(packed, 1, hashLength + length), true)[0]!);
    }
    start = hashAt;
  }
  return packed;
}

/** The length in the buffer of a record with the separators and its hash. */
export function recordLength(lengths: Int32Array, index: number): number {
  return 1 + lengths[index]! + (lengths[index + 1] === noInput ? 0 : 1 + lengths[index + 1]!) + hashLength;
}

function cut(packed: PackedRecords, records: number, bytes: number): PackedRecords {
  return {
    from: packed.from,
    bytes: packed.bytes.subarray(0, bytes),
    lengths: packed.lengths.slice(0, 2 * records),
    end: false,
  };
}

function asBuffer(bytes: Uint8Array<ArrayBuffer>): Buffer<ArrayBuffer> {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
