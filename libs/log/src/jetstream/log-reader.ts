import { emptyHead, type Head } from '../chain.js';
import { LogError } from '../errors.js';
import type { ReadOptions } from '../event-log.js';
import { goodPart, lastOf, unpackRecords, type PackedRecords } from '../packed-records.js';
import { otherHead } from '../port-rules.js';
import type { StoredRecord } from '../record.js';
import { batchIn, partOf, rangeIn } from './batch-message.js';
import type { JsConnection, NeighbouringMessage } from './js-connection.js';
import { logStream, logSubject } from './log-stream.js';
import { Trail, type Place } from './trail.js';

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
/** So few messages are read on from a place that is known, rather than looked for another. */
const NEAR = 32;

/**
 * Reads the records of a log in order, and can go on when more has come.
 *
 * What is in the log is said by its chain alone: the batches that follow one another by hash from its beginning. All
 * other messages are passed over. So a reader must know where it stands: it begins at the beginning, at a place of the
 * {@link Trail}, or at a batch that is found by halving and holds the head that the caller knows.
 *
 * What it reads may come from any replica; where the log ends is asked of its leader.
 */
export class LogReader {
  #next: number;
  /** What the caller knows, until it was compared with what is stored. */
  #verify: Head | undefined;
  /** Where the reader stands, once it has begun. */
  #place: Place | undefined;
  /** Whether that follows from what is known for sure, and not only from how the messages look. */
  #sure = false;
  /** The end when this was first read: what is behind it has come while it was watched. */
  #watched = Infinity;
  #created: string | undefined;
  #trail: Trail | undefined;
  /** Awaited after each piece, by who has time. */
  pace: (() => Promise<void>) | undefined;

  /**
   * @param end asks for the end of the stream; undefined when there is no stream.
   * @param trailOf what is known of the stream of that creation time.
   */
  constructor(
    private readonly connection: JsConnection,
    private readonly name: string,
    from: number,
    private readonly options: ReadOptions,
    private readonly end: () => Promise<End | undefined>,
    private readonly trailOf: (created: string) => Trail = (created) => newTrail(name, created),
  ) {
    this.#next = from;
    this.#verify = options.verify;
  }

  /** Where it has come to, if it has begun. */
  get place(): Place | undefined {
    return this.#place;
  }

  /**
   * Begins at a place that is known, for what comes behind it.
   *
   * @param sure whether it follows from the log's chain, and not only from how the messages look.
   * @param watched the end of the stream when this process knew that place; by default the place is that end.
   */
  beginAt(place: Place, sure: boolean, watched = place.sequence): void {
    this.#place = place;
    this.#sure = sure;
    this.#watched = watched;
    if (this.#verify?.position === place.head.position) this.#verify = undefined;
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
      if (end !== undefined) {
        this.#trail ??= this.trailOf(end.created);
        if (this.#place === undefined) await this.#begin(last);
        else this.#watched = Math.min(this.#watched, last);
      }
      if (this.#at >= last) {
        if (await this.#isAllThere(end)) return;
        continue;
      }
      let ahead = this.#fetch(this.#at + 1, last);
      while (this.#at < last) {
        const messages = await ahead;
        // More is read while the records of these are dealt with.
        const behind = messages.at(-1)!.sequence + 1;
        if (behind <= last) ahead = this.#fetch(behind, last);
        const records: StoredRecord[] = [];
        let damage: unknown;
        for (const message of messages) {
          damage = await this.#take(message, records, last);
          if (damage !== undefined) break;
        }
        if (records.length > 0) yield records;
        if (damage !== undefined) throw damage;
        await this.pace?.();
      }
    }
  }

  /** The last message that was read. */
  get #at(): number {
    return this.#place?.sequence ?? 0;
  }

  /** The log as far as it was read. */
  get #head(): Head {
    return this.#place?.head ?? emptyHead(this.name);
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
    return sequence < this.#at;
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
  async #take(message: Message, records: StoredRecord[], last: number): Promise<unknown> {
    const stream = logStream(this.name);
    const { sequence } = message;
    // Nothing can be deleted there, and the server knows each message by its checksum: one that is lost is a hole.
    if (sequence !== this.#at + 1) return this.#corrupt(`message ${this.#at + 1} of ${stream} is missing`);
    const head = this.#head;
    const part = await partOf(message.data, head);
    if (part.kind === 'stranger') return this.#passOver(sequence, part.why);
    if (part.kind === 'newer') {
      return (await this.#isLeftBehind(sequence, last))
        ? this.#passOver(sequence, `${part.error.message}, and the log goes on without it`)
        : part.error;
    }
    if (part.kind === 'damaged') {
      const why = `message ${sequence} of ${stream} cannot be read: ${part.why}. Nobody but the allocators may publish to ${logSubject(this.name)}`;
      return (await this.#isStrange(sequence, last))
        ? this.#passOver(sequence, part.why)
        : this.#corrupt(why);
    }
    const { packed } = part;
    const good = goodRecords(this.name, packed, head);
    if (good.damage === undefined) {
      const taken = this.#deliver(packed, good.packed, undefined, records);
      this.#stand(sequence, lastOf(packed));
      return taken;
    }
    if (await this.#isStrange(sequence, last)) {
      return this.#passOver(sequence, 'it follows the last record, and its own hashes do not fit');
    }
    if (this.options.verify !== undefined) return this.#deliver(packed, good.packed, good.damage, records);
    // Who does not verify is given what can be read.
    const text = goodRecords(this.name, packed, undefined);
    const taken = this.#deliver(packed, text.packed, text.damage, records);
    this.#sure = false;
    this.#stand(sequence, lastOf(packed));
    return taken;
  }

  /** Hands out the good records of a batch from the next position on. @returns what is wrong. */
  #deliver(
    packed: PackedRecords,
    good: PackedRecords | undefined,
    damage: unknown,
    records: StoredRecord[],
  ): unknown {
    const before = this.#verify === undefined ? this.#next : this.#next - 1;
    if (lastOf(packed).position < before || good === undefined) return damage;
    const taken = unpackRecords(good, this.options.inputs ?? true);
    const head = this.#verify;
    if (head !== undefined && head.position >= packed.from) {
      const stored = taken[head.position - packed.from]?.hash;
      if (stored === undefined) return damage;
      if (stored !== head.hash) return this.#corrupt(otherHead(head, stored), head.position);
    }
    this.#verify = undefined;
    for (const record of this.#next > packed.from ? taken.slice(this.#next - packed.from) : taken) {
      records.push(record);
      this.#next++;
    }
    return damage;
  }

  #stand(sequence: number, head: Head | undefined): void {
    this.#place =
      head === undefined
        ? { sequence, head: this.#head, batch: this.#place?.batch ?? 0 }
        : { sequence, head, batch: sequence };
    this.#sure ||= this.#trail!.knows(this.#place);
    if (this.#sure) this.#trail!.passed(this.#place);
  }

  #passOver(sequence: number, why: string): undefined {
    if (this.#sure) this.#trail!.strange(sequence, why);
    this.#stand(sequence, undefined);
  }

  /**
   * Whether a message that names the log's end, and is no good batch, is a stranger's: it has come while this was
   * watched (an allocator writes whole batches, and the server keeps them so); or the log went on without it.
   */
  async #isStrange(sequence: number, last: number): Promise<boolean> {
    if (sequence > this.#watched || this.#trail!.isStrange(sequence)) return true;
    return this.#isLeftBehind(sequence, last);
  }

  /** Whether a later batch follows what was read before this message. */
  async #isLeftBehind(sequence: number, last: number): Promise<boolean> {
    const head = this.#head;
    for (let next = sequence + 1; next <= last;) {
      const messages = await this.#fetch(next, last);
      for (const { data } of messages) {
        const part = await partOf(data, head);
        if (part.kind === 'batch' && goodRecords(this.name, part.packed, head).damage === undefined)
          return true;
      }
      next = messages.at(-1)!.sequence + 1;
    }
    return false;
  }

  /**
   * Begins at a place before the first position to read, as near as one is known or found. Where the caller knows the
   * head before it, the message that holds that record is before it too.
   */
  async #begin(last: number): Promise<void> {
    const trail = this.#trail!;
    const verify = this.#verify;
    const position = verify === undefined ? this.#next : verify.position;
    const target = verify === undefined ? position - 1 : position;
    const known = await this.#stillThere(trail.before(target), last);
    const high = Math.min(last, trail.after(target)?.sequence ?? last);
    if (target > known.head.position && high - known.sequence > NEAR) {
      const found = await this.#find(known.sequence, high, position);
      if (found !== undefined) {
        // By the caller's own hash, or by its looks.
        return this.beginAt(found, verify !== undefined, last);
      }
    }
    if (verify?.position === known.head.position && verify.hash !== known.head.hash)
      throw this.#corrupt(otherHead(verify, known.head.hash), verify.position);
    this.beginAt(known, true, last);
  }

  /** A place of the trail, unless the stream was restored to a moment before. */
  async #stillThere(place: Place, last: number): Promise<Place> {
    const trail = this.#trail!;
    if (place.batch === 0) return place;
    if (place.sequence <= last) {
      const message = await this.connection.message(logStream(this.name), { seq: place.batch });
      const batch = message && (await batchIn(message.data));
      if (batch !== undefined && lastOf(batch.packed).hash === place.head.hash) return place;
    } else if (this.connection.settles > 0) {
      // A leader that does not know all of its stream yet; what is read until then is not of this trail.
      return trail.beginning;
    }
    trail.forget();
    return trail.beginning;
  }

  /** The place before the message that holds a position, by halving; undefined when that does not tell for sure. */
  async #find(low: number, high: number, position: number): Promise<Place | undefined> {
    const appended = new Appended(this.connection, this.name);
    let found: NeighbouringMessage | undefined;
    let top = high;
    let bottom = low;
    while (bottom < top) {
      const middle = Math.ceil((bottom + top) / 2);
      const message = await appended.atOrBefore(middle, bottom);
      if (message === undefined) bottom = middle;
      else if (rangeIn(message.data)!.from <= position) {
        found = message;
        bottom = middle;
      } else top = message.sequence - 1;
    }
    const batch = found && (await batchIn(found.data));
    if (batch === undefined || goodRecords(this.name, batch.packed, batch.previous).damage !== undefined)
      return undefined;
    const { previous, packed } = batch;
    const verify = this.#verify;
    if (verify !== undefined) {
      const stored = unpackRecords(packed, false)[verify.position - packed.from]?.hash;
      if (stored !== verify.hash) return undefined;
    }
    const { sequence } = found!;
    return { sequence: sequence - 1, head: previous, batch: 0 };
  }

  /**
   * At the end of the stream: whether what the caller knows of the log was there.
   *
   * @returns false when more has come meanwhile.
   */
  async #isAllThere(end: End | undefined): Promise<boolean> {
    const head = this.#verify;
    if (head === undefined || head.position === 0) return true;
    const last = end?.sequence ?? 0;
    const again = await this.#endOnceNot(({ sequence }) => sequence <= last);
    if (again !== undefined && again.created === this.#created && again.sequence > last) return false;
    throw this.#corrupt(otherHead(head, undefined), head.position);
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
            ? `stream ${logStream(this.name)} ends at ${end.sequence}, and ${this.#at} was read`
            : undefined;
    if (what !== undefined) throw this.#corrupt(what, this.#next);
  }

  #corrupt(what: string, position = this.#head.position + 1): LogError {
    return LogError.corrupt(this.name, position, what);
  }
}

/** A trail of a log's stream. @param onStrange is told of each message that is passed over, in a sentence. */
export const newTrail = (name: string, created: string, onStrange?: (message: string) => void): Trail =>
  new Trail(
    created,
    emptyHead(name),
    (sequence, why) => `message ${sequence} of ${logStream(name)} is no batch of the scheduler's: ${why}`,
    onStrange,
  );

interface Message {
  readonly sequence: number;
  readonly data: Buffer;
}

/** So many messages before one are looked at for a batch: the first few one by one, the others many at once. */
const MOST_BACK = 20_000;
const ONE_BY_ONE = 4;
const AT_ONCE = 250;

/**
 * The messages of a stream that look as if an allocator had appended them: batches whose publisher had stated the end
 * that the stream then had. That is good for finding, and not for believing.
 */
export class Appended {
  /** From where to where there is none. */
  readonly #gaps = new Map<number, number>();

  constructor(
    private readonly connection: JsConnection,
    private readonly name: string,
  ) {}

  /** The last one up to a sequence and behind another; undefined when there is none, or none near. */
  async atOrBefore(sequence: number, low: number): Promise<NeighbouringMessage | undefined> {
    let at = sequence;
    let found: NeighbouringMessage | undefined;
    for (let looked = 0; found === undefined && at > low && sequence - at < MOST_BACK; looked++) {
      const from = looked < ONE_BY_ONE ? at : Math.max(low + 1, at - AT_ONCE + 1);
      found = (await this.#between(from, at)).findLast(
        (message) => message.expected === message.sequence - 1 && rangeIn(message.data) !== undefined,
      );
      at = found?.sequence ?? this.#gaps.get(from) ?? from - 1;
    }
    if (at < sequence) this.#gaps.set(sequence, at);
    return found;
  }

  async #between(from: number, to: number): Promise<readonly NeighbouringMessage[]> {
    const messages: NeighbouringMessage[] = [];
    for (let next = from; next <= to;) {
      // One alone is asked of the leader; so is what a replica does not have yet.
      const some =
        next === to ? [] : await this.connection.messages(logStream(this.name), next, to - next + 1, BYTES);
      const one =
        some.length > 0 ? undefined : await this.connection.message(logStream(this.name), { seq: next });
      messages.push(...some, ...(one === undefined ? [] : [one]));
      next = (some.at(-1)?.sequence ?? next) + 1;
    }
    return messages;
  }
}

/** The records up to the first that is not text or, where a head is given, does not link to the one before. */
export function goodRecords(
  name: string,
  packed: PackedRecords,
  previous: Head | undefined,
): { readonly packed?: PackedRecords; readonly damage?: unknown } {
  let good: PackedRecords;
  try {
    good = goodPart(name, packed, previous);
  } catch (error) {
    return { damage: error };
  }
  if (good.lengths.length === packed.lengths.length) return { packed: good };
  // The same check again on what is left, for the sentence that says what does not fit.
  const last = lastOf(good);
  const rest: PackedRecords = {
    from: last.position + 1,
    bytes: packed.bytes.subarray(good.bytes.length - last.hash.length),
    lengths: packed.lengths.slice(good.lengths.length),
    end: false,
  };
  return { packed: good, damage: goodRecords(name, rest, previous && last).damage };
}
