import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Credentials, KurrentDBClient, ResolvedEvent } from '@kurrent/kurrentdb-client';
import { LogError } from '../errors.js';
import { ClientKeeper, type UsedClient } from './client-keeper.js';
import { readConnectionString, type KurrentAddress } from './connection-string.js';
import { failureOf, logErrorOf, NoAnswer, Replaced, type Failure } from './failures.js';
import { StreamNames } from './stream-names.js';
import { sleep, within } from './waiting.js';

/** Times are in milliseconds. */
export interface KurrentLogOptions {
  /** How long an append, or a read that brings nothing more, is waited for. Default: 5,000. */
  readonly timeout?: number;
  /** How often the same is tried before its failure is told. Default: 4. */
  readonly tries?: number;
  /** The longest of the first waits between two tries; the next are up to twice as long. Default: 100. */
  readonly firstWait?: number;
  /** The longest wait between two tries of a follower. Default: 1,000. */
  readonly longestWait?: number;
  /** How often the server is asked for a sign of life. Default: 500. */
  readonly beatEvery?: number;
  /** How often a follower that hears nothing looks whether there is something. Default: 10,000. */
  readonly lookEvery?: number;
  /** How long {@link KurrentLog.open} waits for a server that is away. Default: 20,000. */
  readonly patience?: number;
  /** Given with each call, instead of those of the connection string. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Ends the opening. */
  readonly signal?: AbortSignal;
  /** What its streams are called. By default as the connection string says, which is as all schedulers do. */
  readonly names?: StreamNames;
  /** Told of what an operator should know and nobody else says. */
  readonly onNotice?: (sentence: string) => void;
}

/** What one read has brought. */
export interface Page {
  readonly events: readonly ResolvedEvent[];
  /** Whether the stream ended here when it was read. */
  readonly end: boolean;
}

export interface PageRequest {
  readonly from: bigint | 'start' | 'end';
  readonly count: number;
  readonly direction?: 'forwards' | 'backwards';
}

/**
 * How often an answer is waited for in vain before that is told: waiting on is for those who know whether the
 * process is to end.
 */
const mostSilences = 2;
/** A page is cut here, so that a thousand large records are not in memory at once. */
const pageBytes = 4 * 1024 * 1024;
/** So long it takes at most, as a rule, to replace a client while the server is there, in milliseconds. */
const replacing = 500;
/**
 * Appends in flight on one client. It writes them to one gRPC stream, which has room for 16 messages; with more
 * it waits, and when the stream breaks meanwhile it throws where nobody can catch it.
 */
const mostAppends = 12;

/**
 * The client of KurrentDB, with what it lacks: a timer on everything, an end to trying, and one kind of error. Which
 * client that is, {@link ClientKeeper} sees to.
 */
export class KurrentConnection {
  readonly name: string;
  readonly timeout: number;
  readonly tries: number;
  readonly longestWait: number;
  readonly lookEvery: number;
  readonly credentials: Credentials | undefined;
  readonly #firstWait: number;
  readonly #closing = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #appends = 0;

  private constructor(
    private readonly address: KurrentAddress,
    readonly names: StreamNames,
    private readonly keeper: ClientKeeper,
    options: KurrentLogOptions,
  ) {
    this.name = address.name;
    this.timeout = options.timeout ?? 5000;
    this.tries = options.tries ?? 4;
    this.#firstWait = options.firstWait ?? 100;
    this.longestWait = options.longestWait ?? 1000;
    this.lookEvery = options.lookEvery ?? 10_000;
    this.credentials = options.credentials;
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Finds a server, and waits a while for one that is away.
   *
   * @throws LogError `NOT_ALLOWED` for a connection string that is wrong, and for TLS that does not fit;
   *   `UNAVAILABLE` when no server answers.
   */
  static async open(url: string, options: KurrentLogOptions): Promise<KurrentConnection> {
    const address = readConnectionString(url);
    const names = options.names ?? new StreamNames(address.streamPrefix);
    // Loaded for those who use it only: it brings a native addon.
    const library = await import('@kurrent/kurrentdb-client');
    const { NodeCalls } = await import('./node-calls.js');
    const { patience = 20_000, signal = new AbortController().signal } = options;
    let calls: InstanceType<typeof NodeCalls>;
    try {
      calls = new NodeCalls(address);
    } catch (error) {
      throw new LogError(
        'NOT_ALLOWED',
        `a file that the connection string of ${address.name} names is not a certificate or key in PEM (${(error as Error).message}): look at tlsCAFile, userCertFile and userKeyFile`,
        { cause: error },
      );
    }
    const keeper = new ClientKeeper(address, library, calls, {
      timeout: options.timeout ?? 5000,
      beatEvery: options.beatEvery ?? 500,
      probe: names.index,
      credentials: options.credentials,
    });
    try {
      await keeper.begin(patience, signal);
    } catch (error) {
      keeper.close();
      throw error;
    }
    return new KurrentConnection(address, names, keeper, options);
  }

  /** The client to use for a call that is not one of those below. */
  get used(): UsedClient {
    return this.keeper.used;
  }

  /** Why the server cannot be used now; undefined while it can. */
  get trouble(): string | undefined {
    return this.keeper.trouble;
  }

  /** Whose rights we have; undefined where there are no users. */
  get user(): string | undefined {
    if (this.address.tls === undefined) return undefined;
    return (
      (this.credentials as { username?: string } | undefined)?.username ?? this.address.credentials?.username
    );
  }

  /** Aborts when the connection is closed. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** @throws LogError `UNAVAILABLE` after {@link close}. */
  checkOpen(): void {
    if (this.closed.aborted) throw new LogError('UNAVAILABLE', `the log ${this.name} is closed`);
  }

  /** Begins to close: what is tried is not tried again, and what waits wakes up. */
  beginClose(): void {
    this.#closing.abort();
  }

  /** Lets the server go. */
  close(): void {
    this.beginClose();
    this.keeper.close();
  }

  /**
   * Appends events at an exact place. Tried again with the same ids as long as that may help.
   *
   * @returns the revision of the last event.
   * @throws LogError; `undefined` instead of a revision means that the stream stands elsewhere.
   */
  async append(
    stream: string,
    expected: bigint | 'no_stream',
    events: Parameters<KurrentDBClient['appendToStream']>[1],
    doing: string,
  ): Promise<bigint | undefined> {
    let maybeIn = false;
    let silences = 0;
    for (let tries = 1; ; tries++) {
      const used = await this.#appendTurn();
      try {
        const { nextExpectedRevision } = await this.#answer(
          used,
          used.db.appendToStream(stream, events, {
            streamState: expected,
            requiresLeader: true,
            credentials: this.credentials,
          }),
        );
        return nextExpectedRevision;
      } catch (error) {
        const failure = failureOf(error);
        if (failure.what === 'wrong-position') return undefined;
        maybeIn ||= failure.maybeIn;
        if (error instanceof NoAnswer) silences += 1;
        this.noticed(used, failure);
        if (failure.what !== 'away' || this.#enough(tries, silences)) {
          throw logErrorOf(failure, this.name, doing, { cause: error, maybeIn });
        }
      } finally {
        this.#appends -= 1;
        this.#waiting.shift()?.();
      }
      await this.#pauseFor(used, tries);
    }
  }

  /**
   * Reads a page of a stream. One that breaks in the middle is what has come until then.
   *
   * @returns undefined for a stream that is not there.
   * @throws LogError
   */
  async page(stream: string, request: PageRequest): Promise<Page | undefined> {
    let silences = 0;
    for (let tries = 1; ; tries++) {
      const { used } = this;
      const events: ResolvedEvent[] = [];
      try {
        return { events, end: await this.#collect(used, stream, request, events) };
      } catch (error) {
        const failure = await this.#readFailure(error, used, stream);
        if (failure.what === 'missing-stream') return undefined;
        if (error instanceof NoAnswer) silences += 1;
        this.noticed(used, failure);
        if (events.length > 0) return { events, end: false };
        const passes = failure.what === 'away' || failure.what === 'full';
        if (!passes || this.#enough(tries, silences)) {
          throw logErrorOf(failure, this.name, `read the stream ${stream}`, { cause: error });
        }
      }
      await this.#pauseFor(used, tries);
    }
  }

  /** A stream's metadata; empty for one that has none. @throws LogError */
  async metadata(stream: string): Promise<StreamMetadata> {
    const page = await this.page(metastreamOf(stream), { from: 'end', count: 1, direction: 'backwards' });
    const event = page?.events[0]?.event;
    const found = event?.data;
    const sound = event?.isJson === true && typeof found === 'object' && found !== null;
    return { values: sound ? (found as StreamMetadata['values']) : {}, revision: event?.revision };
  }

  /**
   * Writes a stream's metadata over what was read.
   *
   * @returns false when somebody else has written them meanwhile.
   * @throws LogError
   */
  async setMetadata(stream: string, { values, revision }: StreamMetadata): Promise<boolean> {
    const event = {
      id: randomUUID(),
      contentType: 'application/json' as const,
      type: '$metadata',
      data: values as Record<string, string>,
      metadata: undefined,
    };
    const doing = `write the metadata of the stream ${stream}`;
    const written = await this.append(metastreamOf(stream), revision ?? 'no_stream', [event], doing);
    return written !== undefined;
  }

  /** Sees to a client that failed. */
  noticed(used: UsedClient, failure: Failure): void {
    if (failure.what !== 'away' || this.closed.aborted) return;
    if (failure.connection === 'broken') this.keeper.replace(used);
    // A client that is told of a leader goes there by itself; one that is not, or is told wrongly, stays where it is.
    if (failure.connection === 'not-leader' && this.address.search !== 'none') this.keeper.suspect(used);
  }

  /** Waits before the next try, longer each time and never equally long; a close ends the wait. */
  pause(tries: number, longest = this.longestWait, signal: AbortSignal = this.closed): Promise<void> {
    return sleep(this.#wait(tries, longest), AbortSignal.any([signal, this.closed]));
  }

  #wait(tries: number, longest: number): number {
    const most = Math.min(longest, this.#firstWait * 2 ** Math.min(tries - 1, 10));
    return most * (0.5 + Math.random() / 2);
  }

  /** The same; and a client that works ends it. One that failed is not tried again before there was time for another. */
  #pauseFor(used: UsedClient, tries: number): Promise<void> {
    const wait = this.#wait(tries, this.longestWait);
    return this.keeper.changed(used, this.keeper.isReplacing ? Math.max(wait, replacing) : wait, this.closed);
  }

  /** What a client answers, unless it takes too long or another takes its place. */
  #answer<T>({ replaced, calls }: UsedClient, answer: Promise<T>): Promise<T> {
    const settled: Promise<unknown> = answer.then(
      () => calls.delete(settled),
      () => calls.delete(settled),
    );
    calls.add(settled);
    return within(this.timeout, unlessReplaced(answer, replaced));
  }

  /** Errors of the reading half give no reason. */
  async #readFailure(error: unknown, used: UsedClient, stream: string): Promise<Failure> {
    const failure = failureOf(error);
    const { type, code } = error as { type?: unknown; code?: unknown };
    if (type !== 'unavailable' || code !== undefined || used.replaced.aborted) return failure;
    const why = await this.keeper.whyUnread(used, stream);
    return why.what === 'missing-stream' ? failure : why;
  }

  #enough(tries: number, silences: number): boolean {
    return tries >= this.tries || silences >= mostSilences || this.closed.aborted;
  }

  /** A client, when not too many appends are on it. */
  async #appendTurn(): Promise<UsedClient> {
    while (this.#appends >= mostAppends) await new Promise<void>((go) => this.#waiting.push(go));
    this.#appends += 1;
    return this.used;
  }

  /** @returns whether the stream ended. */
  async #collect(
    { db, replaced }: UsedClient,
    stream: string,
    { from, count, direction = 'forwards' }: PageRequest,
    into: ResolvedEvent[],
  ): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new NoAnswer(this.timeout)), this.timeout);
    });
    const collect = async (): Promise<boolean> => {
      let bytes = 0;
      const events = db.readStream(stream, {
        fromRevision: from,
        maxCount: count,
        direction,
        requiresLeader: true,
        // The reading part of the client takes those of the connection string without decoding them.
        credentials: this.credentials ?? this.address.credentials,
      });
      for await (const event of events) {
        if (over) return false;
        timer?.refresh();
        into.push(event);
        bytes += (event.event?.data as Uint8Array | undefined)?.length ?? 0;
        if (bytes > pageBytes && into.length < count) return false;
      }
      return into.length < count;
    };
    const collecting = collect();
    collecting.catch(() => undefined);
    try {
      return await Promise.race([unlessReplaced(collecting, replaced), silence]);
    } finally {
      over = true;
      clearTimeout(timer);
    }
  }
}

/** A stream's metadata, and where it was read. */
export interface StreamMetadata {
  readonly values: Readonly<Record<string, unknown>>;
  readonly revision: bigint | undefined;
}

const metastreamOf = (stream: string): string => `$$${stream}`;

/** @throws Replaced as soon as another client has taken the place of the one that is to answer. */
function unlessReplaced<T>(answer: Promise<T>, replaced: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = (): void => reject(new Replaced());
    if (replaced.aborted) give();
    replaced.addEventListener('abort', give);
    answer.then(resolve, reject).finally(() => replaced.removeEventListener('abort', give));
  });
}
