import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Head } from '../chain.js';
import { LogError } from '../errors.js';
import { recordLength, type PackedRecords } from '../packed-records.js';
import type { StoredDecision } from '../record.js';

/**
 * A batch of decisions as one message of the stream: a line that says what it is, and behind it the records
 * side by side (see {@link PackedRecords}), so that a person who looks at the message can read it.
 *
 *     {"vfLog":1,"from":17,"lengths":[312,1480,297,-1]}
 *     hash₁₆ ⏎ body₁₇ ⏎ input₁₇ hash₁₇ ⏎ body₁₈ hash₁₈
 *
 * A decision that alone is too large for a message is compressed; that is said in the first line.
 */
interface Title {
  readonly vfLog: number;
  readonly from: number;
  readonly lengths: readonly number[];
  readonly encoding?: 'gzip';
}

const FORMAT = 1;
/** What the server counts besides the records: the headers of the expectation, and what the first line begins with. */
const HEADER_ROOM = 1024;
/** The most that a compressed message may unfold to. */
const MOST_UNFOLDED = 64 << 20;
const noInput = -1;

/** A message to be stored, and the head of the log after it. */
export interface BatchMessage {
  readonly data: Uint8Array;
  readonly head: Head;
}

/**
 * Decisions as messages that the server takes; split between decisions only.
 *
 * @throws LogError `NOT_ALLOWED` for a decision that is too large even when it is compressed.
 */
export async function* batchMessages(
  stream: string,
  head: Head,
  decisions: readonly StoredDecision[],
  maxPayload: number,
): AsyncGenerator<BatchMessage> {
  const room = maxPayload - HEADER_ROOM;
  let previous = head;
  for (let next = 0; next < decisions.length;) {
    let batch = pack(previous, decisions[next++]!);
    while (next < decisions.length) {
      const more = pack(batch.head, decisions[next]!);
      if (batch.size + more.size > room) break;
      batch = join(batch, more);
      next++;
    }
    let data = encode(previous, batch);
    if (data.length > room) data = await encodeSmaller(previous, batch);
    if (data.length > room) {
      throw new LogError(
        'NOT_ALLOWED',
        `one decision at position ${previous.position + 1} of '${stream}' is ${data.length} bytes, compressed, and the server takes messages of ${maxPayload}: raise max_payload of the nats-servers`,
        { position: previous.position + 1 },
      );
    }
    yield { data, head: batch.head };
    previous = batch.head;
  }
}

interface Pack {
  readonly text: string;
  readonly lengths: number[];
  /** Bytes in a message at most, with what it adds to the first line. */
  readonly size: number;
  readonly head: Head;
}

function pack(previous: Head, records: StoredDecision): Pack {
  const lengths: number[] = [];
  let text = '';
  let size = 0;
  let head = previous;
  for (const { body, input, hash, position } of records) {
    text += input === undefined ? `\n${body}${hash}` : `\n${body}\n${input}${hash}`;
    const bodyLength = Buffer.byteLength(body);
    const inputLength = input === undefined ? noInput : Buffer.byteLength(input);
    lengths.push(bodyLength, inputLength);
    // Two numbers and their commas in the first line.
    size += bodyLength + Math.max(0, inputLength) + 66 + 20;
    head = { position, hash };
  }
  return { text, lengths, size, head };
}

const join = (one: Pack, other: Pack): Pack => {
  for (const length of other.lengths) one.lengths.push(length);
  return { text: one.text + other.text, lengths: one.lengths, size: one.size + other.size, head: other.head };
};

const titleOf = (previous: Head, { lengths }: Pack, encoding?: 'gzip'): string =>
  JSON.stringify({
    vfLog: FORMAT,
    from: previous.position + 1,
    lengths,
    ...(encoding && { encoding }),
  } satisfies Title);

const encode = (previous: Head, batch: Pack): Uint8Array =>
  Buffer.from(`${titleOf(previous, batch)}\n${previous.hash}${batch.text}`);

async function encodeSmaller(previous: Head, batch: Pack): Promise<Uint8Array> {
  const packed = await promisify(gzip)(previous.hash + batch.text);
  return Buffer.concat([Buffer.from(`${titleOf(previous, batch, 'gzip')}\n`), packed]);
}

/** A message that is not one of ours, or is damaged; says what is wrong with it. */
export class UnreadableBatch extends Error {
  override readonly name = 'UnreadableBatch';
}

/**
 * The records of a message.
 *
 * @throws UnreadableBatch when it is not as we write it; LogError `NOT_ALLOWED` for one of a newer release.
 */
export async function readBatch(data: Buffer): Promise<PackedRecords> {
  const line = data.indexOf(10);
  const { from, lengths, encoding } = readTitle(data, line);
  let bytes = data.subarray(line + 1);
  if (encoding === 'gzip') {
    try {
      bytes = await promisify(gunzip)(bytes, { maxOutputLength: MOST_UNFOLDED });
    } catch (error) {
      throw new UnreadableBatch('what is compressed in it is damaged', { cause: error });
    }
  }
  const packed: PackedRecords = {
    from,
    bytes: bytes as Uint8Array<ArrayBuffer>,
    lengths: Int32Array.from(lengths),
    end: false,
  };
  let expected = 64;
  for (let index = 0; index < lengths.length; index += 2) expected += recordLength(packed.lengths, index);
  if (expected !== bytes.length) {
    throw new UnreadableBatch(`it holds ${bytes.length} bytes of records, and says ${expected}`);
  }
  return packed;
}

function readTitle(data: Buffer, line: number): Title {
  let title: Partial<Title> | null = null;
  try {
    if (line > 0) title = JSON.parse(data.toString('utf8', 0, line)) as Partial<Title> | null;
  } catch {
    // Said below.
  }
  if (title === null || typeof title !== 'object' || typeof title.vfLog !== 'number') {
    throw new UnreadableBatch('it is not a message of the log');
  }
  if (title.vfLog !== FORMAT) {
    throw new LogError(
      'NOT_ALLOWED',
      `the log holds a message of format ${title.vfLog}, which a newer release wrote: this one knows ${FORMAT}`,
    );
  }
  const { vfLog, from, lengths, encoding } = title;
  const good =
    typeof from === 'number' &&
    Number.isSafeInteger(from) &&
    from > 0 &&
    Array.isArray(lengths) &&
    lengths.length > 0 &&
    lengths.length % 2 === 0 &&
    lengths.every((length, index) => Number.isInteger(length) && length >= (index % 2 === 0 ? 0 : noInput)) &&
    (encoding === undefined || encoding === 'gzip');
  if (!good) throw new UnreadableBatch('its first line is damaged');
  return encoding === undefined ? { vfLog, from, lengths } : { vfLog, from, lengths, encoding };
}
