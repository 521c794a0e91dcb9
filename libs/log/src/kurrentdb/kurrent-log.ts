import type { ResolvedEvent } from '@kurrent/kurrentdb-client';
import { chainHash, checkLink, emptyHead, type Head } from '../chain.js';
import { isTransient, LogError } from '../errors.js';
import type { EventLog, ReadOptions, Snapshot } from '../event-log.js';
import { checkRead, otherHead, recordsOf, recordsToAdd } from '../port-rules.js';
import type { StoredDecision, StoredRecord } from '../record.js';
import { ClusterIndex } from './cluster-index.js';
import { KurrentConnection, type KurrentLogOptions, type Page } from './connection.js';
import { failureOf, logErrorOf } from './failures.js';
import { LiveEvents } from './live-events.js';
import { batches, positionOf, recordOf, type Batch } from './record-form.js';
import { SnapshotStore } from './snapshot-store.js';
import { cutBy, protectedFor } from './stream-settings.js';
import { unlessAborted } from './waiting.js';

export type { KurrentLogOptions } from './connection.js';

const pageSize = 1000;
/** Streams whose heads are asked for at once. */
const headsAtOnce = 16;
/** How often what is only partly in is completed before somebody else must be in the way. */
const completions = 5;

/**
 * For how long we believe where a stream stands without asking, in milliseconds. The server compares revisions
 * only, so an append on another history must not reach it; and no database is restored and written again as
 * quickly as this.
 */
const headAge = 1000;

/** What a read goes on with. */
interface Place {
  next: number;
  head: Head | undefined;
  readonly inputs: boolean;
}

/**
 * The log in KurrentDB (EventStoreDB), for several machines. A cluster has the stream `vfCluster-<cluster>`; a
 * position is a revision plus 1.
 */
export class KurrentLog implements EventLog {
  readonly #connection: KurrentConnection;
  readonly #clusters: ClusterIndex;
  readonly #snapshots: SnapshotStore;
  /** Where streams stood when we last knew it for sure, and when that was. */
  readonly #heads = new Map<string, Head & { readonly seen: number }>();
  /** Streams that have a record. */
  readonly #begun = new Set<string>();
  /** The last append to each stream: they are sent one after the other, in the order of the calls. */
  readonly #appends = new Map<string, Promise<unknown>>();
  #closing: Promise<void> | undefined;

  private constructor(
    connection: KurrentConnection,
    private readonly onNotice: (sentence: string) => void = () => undefined,
  ) {
    this.#connection = connection;
    this.#clusters = new ClusterIndex(connection);
    this.#snapshots = new SnapshotStore(connection);
  }

  /**
   * Opens the log, and waits a while for a server that is away.
   *
   * @param url `kurrentdb://user:password@host:2113?tls=true`, and everything else that the client takes.
   * @throws LogError `NOT_ALLOWED` for a connection string that is wrong, a user who may not read, and TLS that does
   *   not fit, at once; `UNAVAILABLE` when no server answers.
   */
  static async open(url: string, options: KurrentLogOptions = {}): Promise<KurrentLog> {
    const connection = await KurrentConnection.open(url, options);
    const log = new KurrentLog(connection, options.onNotice);
    try {
      // Whether we may read; a server that goes away again is waited for.
      const { patience = 20_000, signal } = options;
      const deadline = performance.now() + patience;
      for (let tries = 1; ; tries++) {
        try {
          await log.#clusters.names();
          return log;
        } catch (error) {
          const over = performance.now() >= deadline || signal?.aborted === true;
          if (over || !isTransient(error)) throw error;
        }
        await connection.pause(tries, undefined, signal);
      }
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get name(): string {
    return this.#connection.name;
  }

  get trouble(): string | undefined {
    const { trouble } = this.#connection;
    return trouble === undefined ? undefined : `${this.name} cannot be reached: ${trouble}`;
  }

  async append(
    stream: string,
    expectedPosition: number,
    decisions: readonly StoredDecision[],
  ): Promise<void> {
    this.#connection.checkOpen();
    if (recordsOf(expectedPosition, decisions).length === 0) return;
    const parts = batches(decisions);
    const before = this.#appends.get(stream) ?? Promise.resolve();
    const appending = before
      .catch(() => undefined)
      .then(() => this.#appendAll(stream, expectedPosition, parts));
    this.#appends.set(stream, appending);
    await appending;
  }

  async head(stream: string): Promise<Head> {
    this.#connection.checkOpen();
    const request = { from: 'end', count: 1, direction: 'backwards' } as const;
    const page = await this.#connection.page(this.#connection.names.log(stream), request);
    const [event] = page?.events ?? [];
    if (event === undefined) return emptyHead(stream);
    const { position, hash } = recordOf(stream, event, false);
    this.#stands(stream, { position, hash });
    return { position, hash };
  }

  async *read(
    stream: string,
    from: number,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    checkRead(from, options.verify);
    const { verify, inputs = true } = options;
    if (verify !== undefined && from > 1) {
      const hash = await this.#hashAt(stream, verify.position);
      if (hash !== verify.hash) throw LogError.corrupt(stream, verify.position, otherHead(verify, hash));
    }
    const place: Place = { next: from, head: verify, inputs };
    let coming = this.#ask(stream, from);
    for (;;) {
      const page = await coming;
      // The next page comes while the records of this one are dealt with.
      const last = page?.events.at(-1);
      if (page !== undefined && !page.end) {
        coming = this.#ask(stream, last === undefined ? place.next : positionOf(last) + 1);
      }
      const { records, damage } = this.#take(stream, page?.events ?? [], place);
      if (records.length > 0) yield records;
      if (damage !== undefined) throw damage;
      if (page === undefined || page.end) return;
    }
  }

  async *follow(
    stream: string,
    after: number,
    signal: AbortSignal,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    const place: Place = { next: after + 1, head: options.verify, inputs: options.inputs ?? true };
    const over = AbortSignal.any([signal, this.#connection.closed]);
    let failures = 0;
    while (!signal.aborted) {
      this.#connection.checkOpen();
      let heard = false;
      const coming = this.#fromHere(stream, place, over);
      try {
        for (;;) {
          const step = await unlessAborted(coming.next(), over);
          if (step === undefined || step.done === true || signal.aborted) break;
          heard = true;
          yield step.value;
        }
      } catch (error) {
        if (!isTransient(error)) throw error;
      } finally {
        // Not awaited: it may wait for a server that is silent, and ends when that answers or is given up.
        coming.return(undefined).catch(() => undefined);
      }
      failures = heard ? 1 : failures + 1;
      if (!signal.aborted) await this.#connection.pause(failures, this.#connection.longestWait, over);
    }
  }

  async streams(): Promise<readonly string[]> {
    this.#connection.checkOpen();
    const names = await this.#clusters.names();
    const rest = names.filter((name) => !this.#begun.has(name));
    for (let at = 0; at < rest.length; at += headsAtOnce) {
      await Promise.all(rest.slice(at, at + headsAtOnce).map((name) => this.#look(name)));
    }
    return names.filter((name) => this.#begun.has(name)).toSorted();
  }

  async saveSnapshot(stream: string, snapshot: Snapshot): Promise<void> {
    this.#connection.checkOpen();
    await this.#snapshots.save(stream, snapshot);
  }

  async snapshots(stream: string): Promise<readonly Snapshot[]> {
    this.#connection.checkOpen();
    try {
      return await this.#snapshots.all(stream);
    } catch (error) {
      // Deleted for good: losing them is harmless.
      if (error instanceof LogError && error.code === 'CORRUPT') return [];
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async incomplete(stream: string): Promise<string | undefined> {
    this.#connection.checkOpen();
    const { names } = this.#connection;
    const name = names.log(stream);
    try {
      // Of the list of clusters too: who starts would not know of those that it hides.
      for (const one of [name, names.index]) {
        const { values } = await this.#connection.metadata(one);
        const cut = cutBy(one, values);
        if (cut !== undefined) return cut;
      }
    } catch (error) {
      // Who may not read them still sees what they have done.
      if (!(error instanceof LogError) || error.code !== 'NOT_ALLOWED') throw error;
    }
    const page = await this.#connection.page(name, { from: 'start', count: 1 });
    const [first] = page?.events ?? [];
    if (first === undefined) {
      if (!this.#begun.has(stream)) return undefined;
      return `the stream ${name} is gone: restore the database from a backup taken before`;
    }
    if (positionOf(first) > 1) {
      return `the stream ${name} begins at event ${positionOf(first) - 1}: what was before was taken away for good. Restore the database from a backup taken before`;
    }
    const { damage } = this.#take(stream, [first], { next: 1, head: emptyHead(stream), inputs: false });
    return damage instanceof LogError ? damage.message : undefined;
  }

  /** Sees whether a stream has a record. What is wrong with it is for those who want to read it. */
  async #look(stream: string): Promise<void> {
    try {
      const { position } = await this.head(stream);
      // One whose records are all hidden has some.
      if (position === 0 && (await this.incomplete(stream)) !== undefined) this.#begun.add(stream);
    } catch (error) {
      if (!(error instanceof LogError) || isTransient(error)) throw error;
      this.#begun.add(stream);
    }
  }

  /** Keeps others from writing to a stream that is about to begin, where there are users. */
  async #protect(stream: string): Promise<void> {
    const { user, names } = this.#connection;
    if (user === undefined) return;
    const name = names.log(stream);
    try {
      const { values, revision } = await this.#connection.metadata(name);
      const guarded = protectedFor(user, values);
      if (guarded !== undefined) await this.#connection.setMetadata(name, { values: guarded, revision });
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'NOT_ALLOWED') throw error;
      this.onNotice(
        `the stream ${name} is not protected from others: ${user} may not write its metadata (${error.message})`,
      );
    }
  }

  async #close(): Promise<void> {
    // What is being written is finished, or given up at its next failure.
    this.#connection.beginClose();
    await Promise.allSettled(this.#appends.values());
    this.#connection.close();
  }

  async #appendAll(stream: string, expectedPosition: number, parts: readonly Batch[]): Promise<void> {
    let position = expectedPosition;
    try {
      if (position === 0) {
        await this.#clusters.add(stream);
        await this.#protect(stream);
      }
      for (const part of parts) {
        await this.#write(stream, position, part);
        position += part.records.length;
      }
    } catch (error) {
      this.#heads.delete(stream);
      const begun = position > expectedPosition;
      if (begun && error instanceof LogError && (error.code === 'UNAVAILABLE' || error.code === 'FULL')) {
        throw new LogError('OUTCOME_UNKNOWN', `${error.message}. A part of it is in`, { cause: error });
      }
      throw error;
    }
  }

  /** Writes one batch, or finds that it is in; what is only partly in is completed. */
  async #write(stream: string, expectedPosition: number, batch: Batch): Promise<void> {
    let position = expectedPosition;
    let { records, events } = batch;
    for (let attempt = 1; attempt <= completions; attempt++) {
      const [first] = records;
      const last = records.at(-1);
      if (first === undefined || last === undefined) return;
      const previous = await this.#hashAt(stream, position);
      if (previous !== undefined && first.hash === chainHash(previous, first.body, first.input)) {
        const revision = await this.#connection.append(
          this.#connection.names.log(stream),
          position === 0 ? 'no_stream' : BigInt(position - 1),
          [...events],
          `append to the log of '${stream}'`,
        );
        if (revision !== undefined) {
          // A stream that was deleted goes on counting where it was.
          if (revision !== BigInt(last.position - 1)) {
            throw LogError.corrupt(stream, position + 1, `the record went to position ${revision + 1n}`);
          }
          this.#stands(stream, last);
          return;
        }
      }
      // The stream stands elsewhere, or has another history: throws, unless these very records are there.
      this.#heads.delete(stream);
      const head = await this.head(stream);
      const stored = await this.#hashes(stream, position, Math.min(head.position, last.position));
      records = recordsToAdd(stream, head, position, records, () => stored);
      events = events.slice(events.length - records.length);
      position = last.position - records.length;
    }
    throw LogError.wrongPosition(stream, expectedPosition, (await this.head(stream)).position);
  }

  #stands(stream: string, { position, hash }: Head): void {
    this.#heads.set(stream, { position, hash, seen: performance.now() });
    this.#begun.add(stream);
  }

  /** The hash at a position; undefined when the stream is shorter, or does not have it any more. */
  async #hashAt(stream: string, position: number): Promise<string | undefined> {
    if (position === 0) return emptyHead(stream).hash;
    const known = this.#heads.get(stream);
    if (known?.position === position && performance.now() - known.seen < headAge) return known.hash;
    const [hash] = await this.#hashes(stream, position - 1, position);
    return hash;
  }

  /** The hashes of the records behind `after` up to `to`. */
  async #hashes(stream: string, after: number, to: number): Promise<string[]> {
    const hashes: string[] = [];
    while (after + hashes.length < to) {
      const from = after + hashes.length + 1;
      const page = await this.#ask(stream, from, Math.min(pageSize, to - from + 1));
      const place: Place = { next: from, head: undefined, inputs: false };
      const { records, damage } = this.#take(stream, page?.events ?? [], place);
      if (records.length === 0 && damage !== undefined) throw damage;
      if (records.length === 0) return hashes;
      for (const record of records) hashes.push(record.hash);
    }
    return hashes;
  }

  #ask(stream: string, from: number, count = pageSize): Promise<Page | undefined> {
    this.#connection.checkOpen();
    const name = this.#connection.names.log(stream);
    const asking = this.#connection.page(name, { from: BigInt(from - 1), count });
    // Awaited later, or not at all when the reader stops.
    asking.catch(() => undefined);
    return asking;
  }

  /**
   * The records of some events up to the first that is missing, cannot be read or does not link. What came
   * before is passed over: the server may send an event twice.
   */
  #take(
    stream: string,
    events: readonly ResolvedEvent[],
    place: Place,
  ): { readonly records: readonly StoredRecord[]; readonly damage?: unknown } {
    const records: StoredRecord[] = [];
    try {
      for (const event of events) {
        const position = positionOf(event);
        if (position < place.next) continue;
        if (position > place.next) throw LogError.corrupt(stream, place.next, 'the record is missing');
        const record = recordOf(stream, event, true);
        if (place.head !== undefined) place.head = checkLink(stream, place.head, record);
        place.next += 1;
        records.push(place.inputs ? record : withoutInput(record));
      }
      return { records };
    } catch (damage) {
      return { records, damage };
    }
  }

  /** What is there from a place on, and then what comes, until the subscription drops. */
  async *#fromHere(stream: string, place: Place, over: AbortSignal): AsyncGenerator<readonly StoredRecord[]> {
    const { inputs } = place;
    for await (const records of this.read(stream, place.next, { inputs, verify: place.head })) {
      const { position, hash } = records.at(-1)!;
      place.next = position + 1;
      if (place.head !== undefined) place.head = { position, hash };
      yield records;
      if (over.aborted) return;
    }
    if (over.aborted) return;
    yield* this.#live(stream, place, over);
  }

  async *#live(stream: string, place: Place, over: AbortSignal): AsyncGenerator<readonly StoredRecord[]> {
    const { used, credentials, timeout, lookEvery } = this.#connection;
    const name = this.#connection.names.log(stream);
    const ended = AbortSignal.any([over, used.replaced]);
    const live = new LiveEvents(
      used.db.subscribeToStream(
        name,
        // Behind this one, where a read begins at it.
        {
          fromRevision: place.next === 1 ? 'start' : BigInt(place.next - 2),
          requiresLeader: true,
          credentials,
        },
        { highWaterMark: pageSize },
      ),
    );
    try {
      for (;;) {
        const events = await live.next({ confirm: timeout, quiet: lookEvery }, ended);
        if (events === undefined) return;
        if (events === 'quiet') {
          // A subscription can be dead and not know it.
          if ((await this.head(stream)).position >= place.next) return;
          continue;
        }
        const { records, damage } = this.#take(stream, events, place);
        if (records.length > 0) yield records;
        // A read from here tells whether it is the log that is damaged, or only what was sent.
        if (damage !== undefined) return;
      }
    } catch (error) {
      if (error instanceof LogError) throw error;
      const failure = failureOf(error);
      this.#connection.noticed(used, failure);
      throw logErrorOf(failure, this.name, `follow the log of '${stream}'`, { cause: error });
    } finally {
      live.end();
    }
  }
}

function withoutInput({ position, id, hash, body }: StoredRecord): StoredRecord {
  return { position, id, hash, body };
}
