import type { Credentials, KurrentDBClient, ResolvedEvent } from '@kurrent/kurrentdb-client';
import { LogError } from '../errors.js';
import { readConnectionString, type KurrentAddress } from './connection-string.js';
import { failureOf, logErrorOf, NoAnswer, type Failure } from './failures.js';

/** Times are in milliseconds. */
export interface KurrentLogOptions {
  /** How long an append, or a read that brings nothing more, is waited for. Default: 5,000. */
  readonly timeout?: number;
  /** How often the same is tried before its failure is told. Default: 4. */
  readonly tries?: number;
  /** The longest of the first waits between two tries; the next are up to twice as long. Default: 100. */
  readonly firstWait?: number;
  /** The longest wait between two tries of a follower. Default: 5,000. */
  readonly longestWait?: number;
  /** How often a follower that hears nothing looks whether there is something. Default: 10,000. */
  readonly lookEvery?: number;
  /** How long {@link KurrentLog.open} waits for a server that is away. Default: 20,000. */
  readonly patience?: number;
  /** Given with each call, instead of those of the connection string. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Ends the opening. */
  readonly signal?: AbortSignal;
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
/**
 * Appends in flight on one client. It writes them to one gRPC stream, which has room for 16 messages; with more
 * it waits, and when the stream breaks meanwhile it throws where nobody can catch it.
 */
const mostAppends = 12;

/**
 * The client of KurrentDB, with what it lacks: a timer on everything, an end to trying, and one kind of error.
 *
 * A client that has not answered is replaced. It would use the same gRPC stream again, also one that the server
 * has ended, and never answer any more.
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
  #client: KurrentDBClient;

  private constructor(
    private readonly address: KurrentAddress,
    private readonly library: typeof import('@kurrent/kurrentdb-client'),
    options: KurrentLogOptions,
  ) {
    this.name = address.name;
    this.timeout = options.timeout ?? 5000;
    this.tries = options.tries ?? 4;
    this.#firstWait = options.firstWait ?? 100;
    this.longestWait = options.longestWait ?? 5000;
    this.lookEvery = options.lookEvery ?? 10_000;
    this.credentials = options.credentials;
    this.#client = this.#connect();
  }

  /** Reads the connection string; nothing is sent yet. */
  static async make(url: string, options: KurrentLogOptions): Promise<KurrentConnection> {
    const address = readConnectionString(url);
    // Loaded for those who use it only: it brings a native addon.
    return new KurrentConnection(address, await import('@kurrent/kurrentdb-client'), options);
  }

  get client(): KurrentDBClient {
    return this.#client;
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
    release(this.#client);
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
      const client = await this.#appendTurn();
      try {
        const { nextExpectedRevision } = await within(
          this.timeout,
          client.appendToStream(stream, events, {
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
        this.noticed(client, failure);
        if (failure.what !== 'away' || this.#enough(tries, silences)) {
          throw logErrorOf(failure, this.name, doing, { cause: error, maybeIn });
        }
      } finally {
        this.#appends -= 1;
        this.#waiting.shift()?.();
      }
      await this.pause(tries);
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
      const { client } = this;
      const events: ResolvedEvent[] = [];
      try {
        return { events, end: await this.#collect(client, stream, request, events) };
      } catch (error) {
        const failure = failureOf(error);
        if (failure.what === 'missing-stream') return undefined;
        if (error instanceof NoAnswer) silences += 1;
        this.noticed(client, failure);
        if (events.length > 0) return { events, end: false };
        const passes = failure.what === 'away' || failure.what === 'full';
        if (!passes || this.#enough(tries, silences)) {
          throw logErrorOf(failure, this.name, `read the stream ${stream}`, { cause: error });
        }
      }
      await this.pause(tries);
    }
  }

  /** Sets from which revision on a stream can be read. */
  async truncate(stream: string, before: number): Promise<void> {
    const { client } = this;
    try {
      await within(
        this.timeout,
        client.setStreamMetadata(
          stream,
          { truncateBefore: before },
          { requiresLeader: true, credentials: this.credentials },
        ),
      );
    } catch (error) {
      const failure = failureOf(error);
      this.noticed(client, failure);
      throw logErrorOf(failure, this.name, `write the metadata of the stream ${stream}`, { cause: error });
    }
  }

  /** Replaces a client that will not recover. */
  noticed(client: KurrentDBClient, failure: Failure): void {
    if (failure.what !== 'away' || failure.clientHeals) return;
    if (client !== this.#client || this.closed.aborted) return;
    this.#client = this.#connect();
    release(client);
  }

  /** Waits before the next try, longer each time and never equally long; a close ends the wait. */
  pause(tries: number, longest = this.longestWait, signal: AbortSignal = this.closed): Promise<void> {
    const most = Math.min(longest, this.#firstWait * 2 ** Math.min(tries - 1, 10));
    return sleep(most * (0.5 + Math.random() / 2), AbortSignal.any([signal, this.closed]));
  }

  #enough(tries: number, silences: number): boolean {
    return tries >= this.tries || silences >= mostSilences || this.closed.aborted;
  }

  /** A client, when not too many appends are on it. */
  async #appendTurn(): Promise<KurrentDBClient> {
    while (this.#appends >= mostAppends) await new Promise<void>((go) => this.#waiting.push(go));
    this.#appends += 1;
    return this.#client;
  }

  /** @returns whether the stream ended. */
  async #collect(
    client: KurrentDBClient,
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
      const events = client.readStream(stream, {
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
      return await Promise.race([collecting, silence]);
    } finally {
      over = true;
      clearTimeout(timer);
    }
  }

  #connect(): KurrentDBClient {
    try {
      return this.library.KurrentDBClient.connectionString(this.address.url);
    } catch {
      // What it says may hold the password.
      throw new LogError(
        'NOT_ALLOWED',
        `the client of KurrentDB does not take the connection string of ${this.name}: look at its parameters and files`,
      );
    }
  }
}

/** Waits for a promise, but not for ever. */
export async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(milliseconds)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves after a time, or at once when the signal aborts. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}

/** Ends what a client does. It waits for streams that never end, so it is not waited for. */
function release(client: KurrentDBClient): void {
  const { getChannel } = client as unknown as { getChannel(): Promise<{ close(): void }> };
  void client.dispose().catch(() => undefined);
  // `dispose` leaves the connection open, and nothing public closes it.
  void getChannel()
    .then((channel) => channel.close())
    .catch(() => undefined);
}
