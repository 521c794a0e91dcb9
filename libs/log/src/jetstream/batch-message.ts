import { promisify } from 'node:util';
import { createGunzip, gunzip, gzip } from 'node:zlib';
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
 * A decision that alone is too large for a message is compressed; that is said in the first line. Formats may be added:
 * each says in its first line which it is, and behind it, first of all, the hash that it follows.
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
/** Hex digits of a hash. */
const HASH = 64;

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

/** What is said of a message that nobody can read as a batch. */
class Unreadable extends Error {}

/**
 * What a message is to a log that ends at a head.
 *
 * A batch names the hash that it follows. A message that names another is a stranger's, whatever else it says: a copy,
 * a batch of another cluster, or no batch at all. One that names this head, and is not the batch that comes next, is
 * damaged, or of a newer release.
 */
export type Part =
  | { readonly kind: 'batch'; readonly packed: PackedRecords }
  | { readonly kind: 'stranger'; readonly why: string }
  | { readonly kind: 'damaged'; readonly why: string }
  | { readonly kind: 'newer'; readonly error: LogError };

/** The links between the records of a batch are not looked at here. */
export async function partOf(data: Buffer, head: Head): Promise<Part> {
  let title: Partial<Title>;
  try {
    title = titleIn(data);
  } catch (error) {
    return { kind: 'stranger', why: whyOf(error) };
  }
  // First what is quick: a stranger's message is to cost little, also one that would unfold to a lot.
  if ((await previousIn(data, title)) !== head.hash) {
    const begins = title.from === head.position + 1 ? '' : `, and says position ${said(title.from)}`;
    return {
      kind: 'stranger',
      why: `it does not follow the record at position ${head.position}${begins}`,
    };
  }
  if (title.vfLog !== FORMAT) {
    const error = new LogError(
      'NOT_ALLOWED',
      `the log holds a message of format ${title.vfLog}, which a newer release wrote: this one knows ${FORMAT}`,
    );
    return { kind: 'newer', error };
  }
  try {
    const packed = await unpack(data, goodTitle(title));
    if (packed.from === head.position + 1) return { kind: 'batch', packed };
    return {
      kind: 'damaged',
      why:
        packed.from > head.position
          ? 'the record is missing'
          : `the record there says position ${packed.from}`,
    };
  } catch (error) {
    return { kind: 'damaged', why: whyOf(error) };
  }
}

/** The positions that a message says it holds, believing it; undefined for one that is no batch. */
export function rangeIn(data: Buffer): { readonly from: number; readonly last: number } | undefined {
  try {
    const { from, lengths } = goodTitle(titleIn(data));
    return { from, last: from + lengths.length / 2 - 1 };
  } catch {
    return undefined;
  }
}

/** A message as the batch that it says it is, with the head that it says it follows; undefined when it is none. */
export async function batchIn(
  data: Buffer,
): Promise<{ readonly previous: Head; readonly packed: PackedRecords } | undefined> {
  try {
    const title = titleIn(data);
    if (title.vfLog !== FORMAT) return undefined;
    const packed = await unpack(data, goodTitle(title));
    const hash = Buffer.from(packed.bytes.buffer, packed.bytes.byteOffset).toString('latin1', 0, HASH);
    return { previous: { position: packed.from - 1, hash }, packed };
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

const whyOf = (error: unknown): string => {
  if (error instanceof Unreadable) return error.message;
  throw error;
};

const said = (from: unknown): string => (typeof from === 'number' ? String(from) : 'none');

const TITLE = /^\{"vfLog":(\d{1,9})[,}]/;
const TITLE_1 = /^\{"vfLog":1,"from":(-?\d+),"lengths":\[([-\d,]*)\](,"encoding":"gzip")?\}$/;

/** Read by its one form, and not as any JSON: a stranger's may be so deep that it takes half a second. */
function titleIn(data: Buffer): Partial<Title> & Pick<Title, 'vfLog'> {
  const end = data.indexOf(10);
  const vfLog = TITLE.exec(data.toString('latin1', 0, Math.min(Math.max(end, 0), 32)))?.[1];
  if (vfLog === undefined) throw new Unreadable('it does not begin as a batch does');
  const line = data.toString('latin1', 0, end);
  const [, from, lengths, packed] = TITLE_1.exec(line) ?? [];
  if (from === undefined) {
    const encoding = line.endsWith(',"encoding":"gzip"}') ? ({ encoding: 'gzip' } as const) : {};
    return { vfLog: Number(vfLog), ...encoding };
  }
  return {
    vfLog: FORMAT,
    from: Number(from),
    lengths: lengths!.split(',').map(Number),
    ...(packed && { encoding: 'gzip' as const }),
  };
}

function goodTitle({ vfLog, from, lengths, encoding }: Partial<Title>): Title {
  const good =
    typeof vfLog === 'number' &&
    typeof from === 'number' &&
    Number.isSafeInteger(from) &&
    from > 0 &&
    Array.isArray(lengths) &&
    lengths.length > 0 &&
    lengths.length % 2 === 0 &&
    lengths.every(
      (length, index) =>
        Number.isInteger(length) && length >= (index % 2 === 0 ? 0 : noInput) && length <= MOST_UNFOLDED,
    ) &&
    (encoding === undefined || encoding === 'gzip');
  if (!good) throw new Unreadable('its first line is damaged');
  return encoding === undefined ? { vfLog, from, lengths } : { vfLog, from, lengths, encoding };
}

async function unpack(data: Buffer, { from, lengths, encoding }: Title): Promise<PackedRecords> {
  const packed = { from, lengths: Int32Array.from(lengths), end: false };
  let expected = HASH;
  for (let index = 0; index < lengths.length; index += 2) expected += recordLength(packed.lengths, index);
  if (expected > MOST_UNFOLDED) throw new Unreadable(`it says that it unfolds to ${expected} bytes`);
  let bytes = data.subarray(data.indexOf(10) + 1);
  if (encoding === 'gzip') {
    try {
      bytes = await promisify(gunzip)(bytes, { maxOutputLength: expected });
    } catch (error) {
      throw new Unreadable('what is compressed in it is damaged', { cause: error });
    }
  }
  if (expected !== bytes.length) {
    throw new Unreadable(`it holds ${bytes.length} bytes of records, and says ${expected}`);
  }
  return { ...packed, bytes: bytes as Uint8Array<ArrayBuffer> };
}

/** The hash that a message says it follows: what comes first behind its first line, in every format. */
async function previousIn(data: Buffer, { encoding }: Partial<Title>): Promise<string> {
  const bytes = data.subarray(data.indexOf(10) + 1);
  if (encoding !== 'gzip') return bytes.toString('latin1', 0, HASH);
  const unzip = createGunzip({ chunkSize: HASH });
  let first = Buffer.alloc(0);
  try {
    unzip.end(bytes);
    for await (const chunk of unzip) {
      first = Buffer.concat([first, chunk as Buffer]);
      if (first.length >= HASH) break;
    }
  } catch {
    // What is good of it decides.
  }
  return first.toString('latin1', 0, HASH);
}
