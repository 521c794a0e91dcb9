import type { NatsConnection } from '@nats-io/transport-node';
import { emptyHead, type Head } from '../chain.js';
import { LogError } from '../errors.js';
import type { EventLog, PassedOver, ReadOptions, Snapshot } from '../event-log.js';
import { lastOf } from '../packed-records.js';
import { checkRead, damageAtBeginning, recordsOf, recordsToAdd } from '../port-rules.js';
import type { StoredDecision, StoredRecord } from '../record.js';
import { batchIn, batchMessages, type BatchMessage } from './batch-message.js';
import { JsConnection } from './js-connection.js';
import { ConnectionBroke, isWrongSequence, toLogError } from './js-errors.js';
import { Appended, goodRecords, LogReader, newTrail, type End } from './log-reader.js';
import {
  ALL_LOGS,
  checkStream,
  logOfStream,
  logPlan,
  logStream,
  logSubject,
  makeStream,
  storedSubject,
} from './log-stream.js';
import { Snapshots } from './snapshots.js';
import type { Place, Trail } from './trail.js';

export interface JetStreamLogOptions {
  /** A connection of the log's own, so that it does not queue behind others; closed with the log. */
  readonly connection: NatsConnection;
  /** Replicas of streams that are made; those that are there keep theirs. 1. */
  readonly replicas?: number;
  /** How long one answer may take, in milliseconds; 5,000. */
  readonly requestTimeout?: number;
  /** How long a question is asked again while the log has no leader, in milliseconds; 10,000. */
  readonly patience?: number;
  /** A follower that hears nothing looks so often by itself, in milliseconds; 2,000. */
  readonly pollInterval?: number;
  /** An end of a log that was seen longer ago is looked at again before anything is appended to it; 1,000. */
  readonly trustFor?: number;
  /** Is told, in a sentence, of each message that is passed over, once. */
  readonly onPassedOver?: (message: string) => void;
}

/** Where a log ends, as its leader said. */
interface Tail extends End {
  readonly head: Head;
  /** The message with the last batch; 0 where there is none. */
  readonly batch: number;
}

const SHORTEST_WAIT = 20;
const LONGEST_WAIT = 500;
/** A follower that was woken so often in a row and found nothing lets the next wait a little. */
const VAIN_WAKES = 20;
/** An append that strangers came before so often goes without stating the end of the stream. */
const OUTRUN = 3;
/** And so do those that come within so many milliseconds. */
const OUTRUN_FOR = 1_000;
/** Milliseconds between two pieces of a survey, and before one that failed is made again. */
const SURVEY_PAUSE = 50;
const SURVEY_AGAIN = 10_000;

/**
 * The log in NATS JetStream: a stream for each cluster, from which nothing can be deleted, and a message for
 * each batch of decisions.
 *
 * An append states the sequence that the stream must end at, so a writer that is behind is refused by the
 * stream's leader. After any doubt the last message is read from that leader and compared.
 */
export class JetStreamLog implements EventLog {
  readonly name = 'jetstream:';
  readonly #connection: JsConnection;
  readonly #snapshots: Snapshots;
  readonly #replicas: number;
  readonly #patience: number;
  readonly #pollInterval: number;
  readonly #trustFor: number;
  readonly #onPassedOver: ((message: string) => void) | undefined;
  readonly #trails = new Map<string, Trail>();
  readonly #surveys = new Map<string, { readonly trail?: Trail | undefined; readonly again: number }>();
  readonly #outrun = new Map<string, number>();
  readonly #tails = new Map<string, { readonly tail: Tail; readonly at: number }>();
  /** One append of a stream at a time, in the order of the calls. */
  readonly #appends = new Map<string, Promise<unknown>>();
  readonly #followers = new Set<(stream?: string) => void>();
  #closing: Promise<void> | undefined;

  constructor(options: JetStreamLogOptions) {
    this.#connection = new JsConnection(options.connection, options.requestTimeout ?? 5_000);
    this.#replicas = options.replicas ?? 1;
    this.#patience = options.patience ?? 10_000;
    this.#pollInterval = options.pollInterval ?? 2_000;
    this.#trustFor = options.trustFor ?? 1_000;
    this.#onPassedOver = options.onPassedOver;
    this.#snapshots = new Snapshots(this.#connection, this.#replicas);
    this.#connection.onChange(() => {
      // Whatever happened meanwhile, it is looked at anew.
      this.#tails.clear();
      this.#wake();
    });
  }

  async append(
    stream: string,
    expectedPosition: number,
    decisions: readonly StoredDecision[],
  ): Promise<void> {
    this.#checkOpen();
    const records = recordsOf(expectedPosition, decisions);
    const before = this.#appends.get(stream) ?? Promise.resolve();
    const appending = before.then(() => this.#append(stream, expectedPosition, decisions, records));
    const settled = appending.catch(() => undefined);
    this.#appends.set(stream, settled);
    try {
      await appending;
    } finally {
      if (this.#appends.get(stream) === settled) this.#appends.delete(stream);
    }
    this.#wake(stream);
  }

  async head(stream: string): Promise<Head> {
    const tail = await this.#ask(`asking for the end of the log of '${stream}'`, () => this.#look(stream));
    return tail?.head ?? emptyHead(stream);
  }

  async *read(
    stream: string,
    from: number,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    checkRead(from, options.verify);
    this.#checkOpen();
    const reader = this.#reader(stream, from, options);
    let left = this.#patience;
    for (;;) {
      const began = performance.now();
      try {
        return yield* reader.toEnd();
      } catch (error) {
        const failure = this.#failure(error, `reading the log of '${stream}'`);
        left -= performance.now() - began;
        if (!isUnavailable(failure) || this.#closing !== undefined || left <= 0) throw failure;
        await this.#connection.pause(LONGEST_WAIT).catch(() => undefined);
        left -= LONGEST_WAIT;
      }
    }
  }

  async *follow(
    stream: string,
    after: number,
    signal: AbortSignal,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    checkRead(after + 1, options.verify);
    if (signal.aborted) return;
    this.#checkOpen();
    let changed = false;
    let wake = (): void => undefined;
    const waker = (of?: string): void => {
      if (of !== undefined && of !== stream) return;
      changed = true;
      wake();
    };
    const onAbort = (): void => waker();
    const unsubscribe = this.#connection.subscribe(storedSubject(stream), onAbort);
    this.#followers.add(waker);
    signal.addEventListener('abort', onAbort);
    const waiting = (milliseconds: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    try {
      const reader = this.#reader(stream, after + 1, options);
      let vain = 0;
      let vainWakes = 0;
      while (!signal.aborted) {
        this.#checkOpen();
        changed = false;
        vainWakes++;
        try {
          for await (const records of reader.toEnd()) {
            if (signal.aborted) return;
            vain = vainWakes = 0;
            yield records;
          }
          vain = 0;
        } catch (error) {
          const failure = this.#failure(error, `following the log of '${stream}'`);
          if (signal.aborted) return;
          if (!isUnavailable(failure) || this.#closing !== undefined) throw failure;
          // Without a leader it is not quicker for being asked more often.
          changed = false;
          await waiting(Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** vain++));
          continue;
        }
        if (signal.aborted) return;
        if (!changed) {
          await waiting(this.#pollInterval);
          if (!changed) vainWakes = 0;
        }
        // Anybody may say there that something was stored.
        if (vainWakes > VAIN_WAKES) await this.#connection.pause(SHORTEST_WAIT).catch(() => undefined);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#followers.delete(waker);
      unsubscribe();
    }
  }

  streams(): Promise<readonly string[]> {
    return this.#ask('asking for the logs', async () => {
      const names: string[] = [];
      for (let offset = 0; ;) {
        const page = await this.#connection.api<{ streams: readonly string[] | null; total: number }>(
          'STREAM.NAMES',
          { subject: ALL_LOGS, offset },
        );
        const streams = page.streams ?? [];
        for (const stream of streams) {
          const name = logOfStream(stream);
          if (name === undefined) continue;
          const info = await this.#connection.info(stream);
          if (info !== undefined && info.state.last_seq > 0) names.push(name);
        }
        offset += streams.length;
        if (streams.length === 0 || offset >= page.total) return names.toSorted();
      }
    });
  }

  async incomplete(stream: string): Promise<string | undefined> {
    try {
      await this.#ask(`looking at the stream of '${stream}'`, async () => {
        const info = await this.#connection.info(logStream(stream));
        if (info !== undefined) checkStream(logPlan(stream, this.#replicas), info);
      });
    } catch (error) {
      if (error instanceof LogError && error.code === 'NOT_ALLOWED') return error.message;
      throw error;
    }
    return damageAtBeginning(this, stream);
  }

  passedOver(stream: string): PassedOver | undefined {
    void this.#survey(stream);
    return this.#trails.get(stream)?.passedOver();
  }

  async saveSnapshot(stream: string, snapshot: Snapshot): Promise<void> {
    this.#checkOpen();
    try {
      await this.#snapshots.save(stream, snapshot);
    } catch (error) {
      throw this.#failure(error, `saving a snapshot of '${stream}'`);
    }
  }

  snapshots(stream: string): Promise<readonly Snapshot[]> {
    return this.#ask(`reading the snapshots of '${stream}'`, () => this.#snapshots.load(stream));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#appends.values());
    await this.#connection.close();
    this.#wake();
  }

  #reader(stream: string, from: number, options: ReadOptions): LogReader {
    return new LogReader(
      this.#connection,
      stream,
      from,
      options,
      async () => {
        const info = await this.#info(stream);
        return info && { created: info.created, sequence: info.state.last_seq };
      },
      (created) => this.#trail(stream, created),
    );
  }

  /** What is known of a stream; nothing, when it was made again. */
  #trail(stream: string, created: string): Trail {
    const known = this.#trails.get(stream);
    if (known?.created === created) return known;
    const trail = newTrail(stream, created, this.#onPassedOver);
    this.#trails.set(stream, trail);
    return trail;
  }

  /** The stream, as its leader sees it, if it is as it must be; undefined when there is none. */
  async #info(stream: string) {
    const info = await this.#connection.surelyInfo(logStream(stream));
    if (info !== undefined) checkStream(logPlan(stream, this.#replicas), info);
    return info;
  }

  /**
   * Reads a stream once from its beginning, without haste. A process that began at a snapshot, or that only stands by,
   * learns so what lies before; it then also finds each position by the chain alone.
   */
  async #survey(stream: string): Promise<void> {
    const begun = this.#surveys.get(stream);
    const now = performance.now();
    if (this.#closing !== undefined) return;
    if (begun !== undefined && (begun.trail === this.#trails.get(stream) || now < begun.again)) return;
    const survey: { trail?: Trail | undefined; again: number } = { again: Infinity };
    this.#surveys.set(stream, survey);
    try {
      const reader = this.#reader(stream, Number.MAX_SAFE_INTEGER, { inputs: false });
      reader.beginAt({ sequence: 0, head: emptyHead(stream), batch: 0 }, true, Infinity);
      reader.pace = () => this.#connection.pause(SURVEY_PAUSE);
      for await (const _ of reader.toEnd());
      survey.trail = this.#trails.get(stream);
    } catch {
      // Whoever reads the log says it. It may have been no more than a moment without a leader.
    }
    survey.again = performance.now() + SURVEY_AGAIN;
  }

  /** Where the log ends, asked of its leader; undefined when there is no stream. */
  async #look(stream: string): Promise<Tail | undefined> {
    this.#tails.delete(stream);
    for (;;) {
      const info = await this.#info(stream);
      if (info === undefined) return undefined;
      const { created } = info;
      const sequence = info.state.last_seq;
      if (sequence === 0) return this.#keep(stream, { created, sequence, head: emptyHead(stream), batch: 0 });
      const trail = this.#trail(stream, created);
      try {
        const place =
          (await this.#readOn(stream, trail, sequence)) ?? (await this.#readBack(stream, trail, sequence));
        return this.#keep(stream, { created, sequence, head: place.head, batch: place.batch });
      } catch (error) {
        if (!(error instanceof LogError) || error.code !== 'CORRUPT') throw error;
        // It may have been made again in between.
        if ((await this.#info(stream))?.created === created) throw error;
      }
    }
  }

  /** Reads on from the furthest place that is known; undefined when there is none, or the stream is not the same. */
  async #readOn(stream: string, trail: Trail, sequence: number): Promise<Place | undefined> {
    const place = trail.furthest;
    if (place === undefined || place.sequence > sequence) return undefined;
    const end = await this.#readTo(stream, trail, place, true, sequence);
    // A batch behind it names its hash. Otherwise it is looked at: the stream may have been restored from a backup.
    if (end.batch !== place.batch || place.batch === 0) return end;
    const message = await this.#connection.message(logStream(stream), { seq: place.batch });
    const batch = message && (await batchIn(message.data));
    if (batch !== undefined && lastOf(batch.packed).hash === place.head.hash) return end;
    trail.forget();
    return undefined;
  }

  /** Finds the last batch from the end, and reads on from there; from the beginning, where none looks like one. */
  async #readBack(stream: string, trail: Trail, sequence: number): Promise<Place> {
    const message = await new Appended(this.#connection, stream).atOrBefore(sequence, 0);
    const batch = message && (await batchIn(message.data));
    if (batch !== undefined && goodRecords(stream, batch.packed, batch.previous).damage === undefined) {
      const place = { sequence: message!.sequence, head: lastOf(batch.packed), batch: message!.sequence };
      return this.#readTo(stream, trail, place, false, sequence);
    }
    return this.#readTo(stream, trail, trail.beginning, true, sequence);
  }

  async #readTo(stream: string, trail: Trail, place: Place, sure: boolean, sequence: number): Promise<Place> {
    const { created } = trail;
    const { position, hash } = place.head;
    const options = { verify: { position, hash }, inputs: false };
    const reader = new LogReader(
      this.#connection,
      stream,
      position + 1,
      options,
      () => Promise.resolve({ created, sequence }),
      () => trail,
    );
    reader.beginAt(place, sure);
    for await (const _ of reader.toEnd());
    return reader.place!;
  }

  #keep(stream: string, tail: Tail): Tail {
    const known = this.#tails.get(stream)?.tail;
    // A look that was under way while an append succeeded tells of a moment that is over.
    if (known?.created === tail.created && known.sequence > tail.sequence) return tail;
    this.#tails.set(stream, { tail, at: performance.now() });
    return tail;
  }

  /** The tail as this process knows it, if it was just there. */
  #known(stream: string): Tail | undefined {
    const known = this.#tails.get(stream);
    return known !== undefined && performance.now() - known.at < this.#trustFor ? known.tail : undefined;
  }

  async #append(
    stream: string,
    expectedPosition: number,
    decisions: readonly StoredDecision[],
    records: readonly StoredRecord[],
  ): Promise<void> {
    if (records.length === 0) return;
    const doing = `appending to the log of '${stream}'`;
    // Whether something of it is, or may be, in: then the caller must not think that nothing is.
    let perhapsIn = false;
    let refusals = 0;
    let outrun = 0;
    const giveUpAt = performance.now() + this.#connection.timeout;
    try {
      // One that does not fit is not believed: others may have written, or it is older than it seems.
      const known = this.#known(stream);
      let tail = known?.head.position === expectedPosition ? known : undefined;
      for (;;) {
        tail ??= await this.#look(stream);
        const head = tail?.head ?? emptyHead(stream);
        const hashes = await this.#hashes(stream, head, expectedPosition, records.length);
        const missing = recordsToAdd(stream, head, expectedPosition, records, (from) =>
          hashes.slice(from - expectedPosition - 1),
        );
        // The caller's records follow what is there, or are there: so it is the log, whatever it was found by.
        if (tail !== undefined) this.#trail(stream, tail.created).passed(tail);
        if (missing.length === 0) return;
        if (tail === undefined) {
          // Our own expectation is in the first append, so that it does not matter who makes the stream.
          const { created } = await makeStream(this.#connection, logPlan(stream, this.#replicas));
          tail = { created, sequence: 0, head, batch: 0 };
        }
        const rest = decisionsFrom(decisions, missing[0]!.position);
        let outcome: Tail | 'refused' | 'unknown' = tail;
        for await (const message of batchMessages(stream, head, rest, this.#connection.maxPayload)) {
          outcome = await this.#publish(
            stream,
            outcome as Tail,
            message,
            doing,
            !this.#isOutrun(stream, outrun),
          );
          if (typeof outcome === 'string') break;
          perhapsIn = true;
        }
        if (typeof outcome !== 'string') return;
        if (outcome === 'unknown') perhapsIn = true;
        const before: End = tail;
        tail = await this.#look(stream);
        if (tail?.created !== before.created || tail.sequence !== before.sequence) {
          outrun++;
          continue;
        }
        // Nothing moved. One that was refused has another publish on its way before it; of one without an
        // answer nobody knows.
        if (outcome === 'unknown' || performance.now() >= giveUpAt) {
          throw new LogError(
            outcome === 'unknown' ? 'OUTCOME_UNKNOWN' : 'UNAVAILABLE',
            outcome === 'unknown'
              ? `${doing}: no answer came, and it is not in yet. The same append again tells`
              : `${doing}: another append is on its way and does not end; it is tried again`,
          );
        }
        await this.#connection.pause(Math.random() * SHORTEST_WAIT * 2 ** Math.min(refusals++, 4));
      }
    } catch (error) {
      const failure = this.#failure(error, doing);
      if (perhapsIn && isUnavailable(failure)) {
        throw new LogError('OUTCOME_UNKNOWN', failure.message, { cause: failure });
      }
      throw failure;
    }
  }

  /** Whether strangers are quicker than an append that states the end of the stream; they were, and may be still. */
  #isOutrun(stream: string, times: number): boolean {
    const now = performance.now();
    if (times >= OUTRUN) this.#outrun.set(stream, now);
    return now - (this.#outrun.get(stream) ?? -Infinity) < OUTRUN_FOR;
  }

  /** Hashes of what is stored where an append wants to be. */
  async #hashes(stream: string, head: Head, after: number, count: number): Promise<readonly string[]> {
    const hashes: string[] = [];
    const wanted = Math.min(head.position - after, count);
    if (wanted <= 0) return hashes;
    for await (const records of this.#reader(stream, after + 1, { inputs: false }).toEnd()) {
      for (const record of records) hashes.push(record.hash);
      if (hashes.length >= wanted) break;
    }
    return hashes;
  }

  /**
   * Where strangers publish all the time, the end of the stream cannot be stated. The chain guards then: a batch that
   * does not follow the last one is no part of the log. So what has come before it is looked at afterwards.
   *
   * @param stated whether the stream must end at the tail.
   * @returns the tail after it; `refused`: somebody else has written; `unknown`: no answer came, or it is in and
   *   something else may be before it.
   */
  async #publish(
    stream: string,
    tail: Tail,
    message: BatchMessage,
    doing: string,
    stated: boolean,
  ): Promise<Tail | 'refused' | 'unknown'> {
    const { created } = tail;
    const sequence = tail.sequence + 1;
    try {
      const expected = stated ? tail.sequence : undefined;
      const answer = await this.#connection.publish(logSubject(stream), message.data, expected);
      if (answer.seq === sequence && answer.stream === logStream(stream)) {
        this.#trail(stream, created).passed({ sequence, head: message.head, batch: sequence });
        return this.#keep(stream, { created, sequence, head: message.head, batch: sequence });
      }
      if (!stated && answer.stream === logStream(stream) && answer.seq > sequence) {
        const place = await this.#readOn(stream, this.#trail(stream, created), answer.seq);
        if (place?.head.hash === message.head.hash) {
          return this.#keep(stream, {
            created,
            sequence: place.sequence,
            head: message.head,
            batch: place.batch,
          });
        }
        this.#tails.delete(stream);
        return 'unknown';
      }
      throw new LogError(
        'NOT_ALLOWED',
        `${doing}: ${answer.stream} stored it at ${answer.seq}, and ${logStream(stream)} should have at ${sequence}. Another stream takes its subject, or a proxy answers for it`,
      );
    } catch (error) {
      this.#tails.delete(stream);
      if (isWrongSequence(error)) return 'refused';
      const failure = toLogError(error, doing, 'unknown');
      // A doubt is for a look to resolve, if one can be had now.
      if (failure instanceof LogError && failure.code === 'OUTCOME_UNKNOWN') {
        if (!(failure.cause instanceof ConnectionBroke)) return 'unknown';
      }
      throw failure;
    }
  }

  /** Asks until there is an answer, while the log has no leader, and not longer than that takes. */
  async #ask<T>(doing: string, question: () => Promise<T>): Promise<T> {
    const giveUpAt = performance.now() + this.#patience;
    for (let vain = 0; ; vain++) {
      this.#checkOpen();
      try {
        return await question();
      } catch (error) {
        const failure = this.#failure(error, doing);
        if (!isUnavailable(failure) || this.#closing !== undefined || performance.now() >= giveUpAt)
          throw failure;
        await this.#connection
          .pause(Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** vain))
          .catch(() => undefined);
      }
    }
  }

  #failure(error: unknown, doing: string): Error {
    if (this.#connection.closed && !(error instanceof LogError)) {
      return new LogError('UNAVAILABLE', `${doing}: the log is closed`, { cause: error });
    }
    return toLogError(error, doing);
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new LogError('UNAVAILABLE', 'the JetStream log is closed');
    this.#connection.checkOpen();
  }

  #wake(stream?: string): void {
    for (const waker of this.#followers) waker(stream);
  }
}

const isUnavailable = (error: Error): boolean => error instanceof LogError && error.code === 'UNAVAILABLE';

/** What of the decisions is from a position on. */
const decisionsFrom = (decisions: readonly StoredDecision[], position: number): readonly StoredDecision[] =>
  decisions
    .map((decision) => decision.filter((record) => record.position >= position))
    .filter((decision) => decision.length > 0);
