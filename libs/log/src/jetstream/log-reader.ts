import { checkLink, type Head } from '../chain.js';
import { LogError } from '../errors.js';
import type { ReadOptions } from '../event-log.js';
import { goodPart, lastOf, unpackRecords, type PackedRecords } from '../packed-records.js';
import { otherHead } from '../port-rules.js';
import type { StoredRecord } from '../record.js';
import { readBatch, UnreadableBatch } from './batch-message.js';
import type { JsConnection } from './js-connection.js';
import { logStream, logSubject } from './log-stream.js';

/** The last sequence of the stream, as its leader says, and when the stream was made. */
export interface End {
  readonly created: string;
  readonly sequence: number;
}

/** What is asked for at once. */
const MESSAGES = 500;
const BYTES = 1 << 20;
/** Milliseconds. */
const LOOK_AGAIN = 50;

/**
 * Reads the records of a log in order, and can go on when more has come.
 *
 * What it reads may come from any replica; where the log ends is asked of its leader. A position is found by
 * halving, because a message says which positions it holds.
 */
export class LogReader {
  #next: number;
  #verify: Head | undefined;
  /** The sequence to read next and, once a message was read, the position it must begin with. */
  #sequence: number | undefined;
  #begins: number | undefined;
  #created: string | undefined;

  /**
   * @param end asks for the end of the stream; undefined when there is no stream.
   */
  constructor(
    private readonly connection: JsConnection,
    private readonly name: string,
    from: number,
    private readonly options: ReadOptions,
    private readonly end: () => Promise<End | undefined>,
  ) {
    this.#next = from;
    this.#verify = options.verify;
  }

  /**
   * The records up to the end as it is when the reading comes there.
   *
   * @throws LogError `CORRUPT`, after what is good before it.
   */
  async *toEnd(): AsyncGenerator<readonly StoredRecord[]> {
    for (;;) {
      const end = await this.#endOnceNot((one) => this.#endsBeforeRead(one));
      this.#checkSame(end);
      const last = end?.sequence ?? 0;
      if (this.#sequence === undefined) await this.#seek(last);
      if (this.#sequence === undefined || this.#sequence > last) return;
      let ahead = this.#fetch(this.#sequence, last);
      while (this.#sequence <= last) {
        const messages = await ahead;
        // More is read while the records of these are dealt with.
        const behind = messages.at(-1)!.sequence + 1;
        if (behind <= last) ahead = this.#fetch(behind, last);
        const records: StoredRecord[] = [];
        let damage: unknown;
        for (const message of messages) {
          damage = await this.#take(message, records);
          if (damage !== undefined) break;
        }
        if (records.length > 0) yield records;
        if (damage !== undefined) throw damage;
      }
    }
  }

  /**
   * The end of the stream, once it is not too short. A leader that was just elected may still be applying what
   * its predecessor had acknowledged, and says too little: that is asked for again for a while before it is believed.
   */
  async #endOnceNot(short: (end: End) => boolean): Promise<End | undefined> {
    const giveUpAt = performance.now() + this.connection.settles;
    for (;;) {
      const end = await this.end();
      if (end === undefined || end.created !== (this.#created ?? end.created)) return end;
      if (!short(end) || performance.now() >= giveUpAt) return end;
      await this.connection.pause(LOOK_AGAIN);
    }
  }

  #endsBeforeRead({ sequence }: End): boolean {
    return this.#sequence !== undefined && sequence < this.#sequence - 1;
  }

  /** Messages from a sequence on: at least one, whatever a replica lags. */
  #fetch(from: number, last: number): Promise<readonly { sequence: number; data: Buffer }[]> {
    const fetching = (async () => {
      const stream = logStream(this.name);
      const messages = await this.connection.messages(
        stream,
        from,
        Math.min(MESSAGES, last - from + 1),
        BYTES,
      );
      if (messages.length > 0) return messages;
      // The leader has it, or the next one that is left.
      const one = await this.connection.message(stream, { seq: from, next_by_subj: logSubject(this.name) });
      if (one === undefined)
        throw this.#corrupt(`message ${from} and all behind it are missing in ${stream}`);
      return [one];
    })();
    // Awaited later, or not at all when the reader stops.
    fetching.catch(() => undefined);
    return fetching;
  }

  /** Adds the good records of a message. @returns what is wrong with it. */
  async #take(
    message: { readonly sequence: number; readonly data: Buffer },
    records: StoredRecord[],
  ): Promise<unknown> {
    const stream = logStream(this.name);
    if (message.sequence !== this.#sequence) {
      return this.#corrupt(`message ${this.#sequence} of ${stream} is missing`);
    }
    let packed: PackedRecords;
    try {
      packed = await readBatch(message.data);
    } catch (error) {
      if (!(error instanceof UnreadableBatch)) return error;
      return this.#corrupt(
        `message ${message.sequence} of ${stream} cannot be read: ${error.message}. Nobody but the allocators may publish to ${logSubject(this.name)}`,
      );
    }
    const { from } = packed;
    const wanted = this.#begins ?? Math.min(from, this.#next);
    if (from > wanted) return this.#corrupt('the record is missing', wanted);
    if (from < wanted) return this.#corrupt(`the record there says position ${from}`, wanted);
    const last = lastOf(packed);
    const before = this.#verify === undefined ? this.#next : this.#next - 1;
    if (last.position >= before) {
      const taken = this.#check(packed);
      for (const record of taken.records) records.push(record);
      this.#next += taken.records.length;
      const end = taken.records.at(-1);
      if (this.#verify !== undefined && end !== undefined) {
        this.#verify = { position: end.position, hash: end.hash };
      }
      if (taken.damage !== undefined) return taken.damage;
    }
    this.#begins = last.position + 1;
    this.#sequence = message.sequence + 1;
    return undefined;
  }

  /** The good records of a message from the next position on. */
  #check(packed: PackedRecords): { readonly records: readonly StoredRecord[]; readonly damage?: unknown } {
    const { name } = this;
    const inputs = this.options.inputs ?? true;
    const verify = this.#verify;
    if (packed.from === this.#next) {
      // The first record must link to what was read before it, whatever the message says that was.
      if (verify !== undefined)
        Buffer.from(packed.bytes.buffer, packed.bytes.byteOffset).write(verify.hash, 0, 'latin1');
      return goodRecords(name, packed, verify, inputs);
    }
    const { records, damage } = goodRecords(name, packed, undefined, true);
    const good = [];
    let head = verify;
    try {
      if (head !== undefined) {
        const stored = records[head.position - packed.from]?.hash;
        if (stored !== head.hash && (stored !== undefined || damage === undefined)) {
          throw LogError.corrupt(name, head.position, otherHead(head, stored));
        }
      }
      for (const record of records.slice(this.#next - packed.from)) {
        if (head !== undefined) head = checkLink(name, head, record);
        const { position, id, hash, body } = record;
        good.push(inputs ? record : { position, id, hash, body });
      }
    } catch (error) {
      return { records: good, damage: error };
    }
    return { records: good, damage };
  }

  /**
   * Finds the message that holds the first position to read, or the one before where that is to be checked.
   * Where the log does not go so far yet, nothing is found, and it is looked for again.
   */
  async #seek(last: number): Promise<void> {
    const head = this.#verify;
    const checked = head !== undefined && head.position > 0;
    const position = checked ? head.position : this.#next;
    let low = 1;
    let high = Math.min(last, position);
    if (last > 0) {
      const ending = await this.#rangeOf(last);
      if (ending === 'unreadable') return this.#readFrom(1, 1);
      if (ending.last === position - 1 && !checked) return this.#readFrom(last + 1, position);
      if (ending.last >= position) {
        low = Math.max(low, last - (ending.last - position));
        // Every message holds one record at least.
        while (low < high) {
          const middle = Math.ceil((low + high) / 2);
          const range = await this.#rangeOf(middle);
          // What is damaged is found on the way from the beginning.
          if (range === 'unreadable') return this.#readFrom(1, 1);
          if (range.from <= position) low = middle;
          else high = middle - 1;
        }
        return this.#readFrom(low, undefined);
      }
    }
    if (!checked) return;
    const end = await this.#endOnceNot(({ sequence }) => sequence <= last);
    if (end !== undefined && end.created === this.#created && end.sequence > last)
      return this.#seek(end.sequence);
    throw LogError.corrupt(this.name, position, otherHead(head, undefined));
  }

  #readFrom(sequence: number, begins: number | undefined): void {
    this.#sequence = sequence;
    this.#begins = begins;
  }

  async #rangeOf(sequence: number): Promise<{ from: number; last: number } | 'unreadable'> {
    const message = await this.connection.message(logStream(this.name), { seq: sequence });
    if (message === undefined) return 'unreadable';
    try {
      const packed = await readBatch(message.data);
      return { from: packed.from, last: lastOf(packed).position };
    } catch (error) {
      if (error instanceof UnreadableBatch) return 'unreadable';
      throw error;
    }
  }

  /** A stream that was deleted and made again, or restored, is not the one that was read. */
  #checkSame(end: End | undefined): void {
    if (this.#created === undefined) {
      this.#created = end?.created;
      return;
    }
    const what =
      end === undefined
        ? `stream ${logStream(this.name)} was deleted`
        : end.created !== this.#created
          ? `stream ${logStream(this.name)} was made again at ${end.created}`
          : this.#endsBeforeRead(end)
            ? `stream ${logStream(this.name)} ends at ${end.sequence}, and ${this.#sequence! - 1} was read`
            : undefined;
    if (what !== undefined) throw this.#corrupt(what, this.#next);
  }

  #corrupt(what: string, position = this.#begins ?? this.#next): LogError {
    return LogError.corrupt(this.name, position, what);
  }
}

/** The records up to the first that is not text or, where a head is given, does not link to the one before. */
function goodRecords(
  name: string,
  packed: PackedRecords,
  previous: Head | undefined,
  inputs: boolean,
): { readonly records: readonly StoredRecord[]; readonly damage?: unknown } {
  let good: PackedRecords;
  try {
    good = goodPart(name, packed, previous);
  } catch (error) {
    return { records: [], damage: error };
  }
  const records = unpackRecords(good, inputs);
  if (good.lengths.length === packed.lengths.length) return { records };
  // The same check again on what is left, for the sentence that says what does not fit.
  const last = lastOf(good);
  const rest: PackedRecords = {
    from: last.position + 1,
    bytes: packed.bytes.subarray(good.bytes.length - last.hash.length),
    lengths: packed.lengths.slice(good.lengths.length),
    end: false,
  };
  return { records, damage: goodRecords(name, rest, previous && last, inputs).damage };
}
