import { setMaxListeners } from 'node:events';
import type { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { LogError } from '../errors.js';
import type { KurrentAddress, Node } from './connection-string.js';
import { failureOf, type Failure } from './failures.js';
import { NodeFinder } from './find-node.js';
import { LiveEvents } from './live-events.js';
import type { Channel, NodeCalls } from './node-calls.js';
import { obstacleAt, type Obstacle } from './obstacle.js';
import { sleep, within } from './waiting.js';

type Library = typeof import('@kurrent/kurrentdb-client');

/** A client, and the node that it was made for. */
export interface UsedClient {
  readonly db: KurrentDBClient;
  readonly node: Node;
  /** Aborts when another has taken its place: what it still owes is asked of that one. */
  readonly replaced: AbortSignal;
  /** What was asked of it and is not answered yet. */
  readonly calls: Set<Promise<unknown>>;
}

interface NextClient {
  readonly client: UsedClient;
  /** Tells that another has taken its place. */
  readonly abandon: AbortController;
}

export interface KeeperOptions {
  /** How long a server that is slow may take for an answer, in milliseconds. */
  readonly timeout: number;
  /** How often the client in use is asked for a sign of life, in milliseconds. */
  readonly beatEvery: number;
  /** A stream that any client of ours may read; it need not be there. */
  readonly probe: string;
  /** Given with each call. */
  readonly credentials?: { readonly username: string; readonly password: string };
}

/** A sign of life may take so long, in milliseconds: then somebody else is looked for. */
const beatWithin = 1000;
/** How often a node is looked for while the answers before are still waited for, in milliseconds. */
const askAgainEvery = 300;
/** The longest pause of a search, in milliseconds: a server that is back must not wait for us. */
const longestPause = 400;
/** How often it is asked what is in the way, while there is something, in milliseconds. */
const lookAtObstacleEvery = 1000;
/** How often a client that was sent to another leader reads again before it is given up. */
const mostSends = 3;
/** An answer is awaited for so many times what the last one took, where that was slow. */
const slowness = 3;

/**
 * Keeps a client that works. One that does not is replaced, by one that has read something: half of the official client
 * reads by an addon that gives up for ever when it does not find the server at its first use, while the other half,
 * which appends and subscribes, goes on. Nor does it notice a node that is frozen.
 *
 * So the node is looked for here, past the client, and a client is made when one has answered.
 */
export class ClientKeeper {
  #used: UsedClient | undefined;
  #abandon: AbortController | undefined;
  #search: Promise<void> | undefined;
  #searchedSince = 0;
  /** Whether the client in use is to go, even if it gives a sign of life. */
  #broken = true;
  #made = 0;
  #why: string | undefined;
  #obstacle: Obstacle | undefined;
  #lookedAtObstacle = Number.NEGATIVE_INFINITY;
  /** How long the node took to answer when it was found last, in milliseconds. */
  #answeredIn = 0;
  readonly #finder: NodeFinder;
  readonly #closing = new AbortController();
  readonly #waiting = new Set<() => void>();

  constructor(
    private readonly address: KurrentAddress,
    private readonly library: Library,
    private readonly calls: NodeCalls,
    private readonly options: KeeperOptions,
  ) {
    this.#finder = new NodeFinder(address, calls);
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Looks for the first client.
   *
   * @param patience how long, in milliseconds.
   * @throws LogError `NOT_ALLOWED` for what does not pass by itself, at once; `UNAVAILABLE` when the time is over or
   *   the signal aborts.
   */
  async begin(patience: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + patience;
    this.#begin();
    while (this.#used === undefined) {
      const left = deadline - performance.now();
      if (this.#obstacle?.lasting === true) {
        throw new LogError('NOT_ALLOWED', `${this.address.name} cannot be used: ${this.#obstacle.why}`);
      }
      if (left <= 0 || signal.aborted || this.#closing.signal.aborted) {
        throw new LogError(
          'UNAVAILABLE',
          `no KurrentDB answers at ${this.address.name} (${this.trouble ?? 'it was not waited for'}): start it, or correct VF_EVENT_LOG`,
        );
      }
      await this.#woken(left, signal);
    }
    void this.#beat();
  }

  /** The client to use. @throws LogError `UNAVAILABLE` before {@link begin} has found one. */
  get used(): UsedClient {
    if (this.#used === undefined) {
      throw new LogError('UNAVAILABLE', `${this.address.name} was not reached yet`);
    }
    return this.#used;
  }

  /** Why no client can be used now; undefined while one can. */
  get trouble(): string | undefined {
    // Somebody else is looked for already when one that may be only slow has not answered for a second.
    const slow = this.#used !== undefined && !this.#broken;
    if (slow && performance.now() - this.#searchedSince < this.options.timeout) return undefined;
    return this.#obstacle?.why ?? this.#why;
  }

  /** A client that failed: it is replaced as soon as another works. */
  replace(client: UsedClient): void {
    if (client !== this.#used) return;
    this.#broken = true;
    this.#begin();
  }

  /** A client that may be at the wrong node, or at one that is frozen: it is replaced if that turns out to be so. */
  suspect(client: UsedClient): void {
    if (client === this.#used) this.#begin();
  }

  /** Whether another client is being looked for, because the one in use has failed. */
  get isReplacing(): boolean {
    return this.#search !== undefined && this.#broken;
  }

  /** Resolves when the client in use is another one, or after a time. */
  async changed(client: UsedClient, milliseconds: number, signal: AbortSignal): Promise<void> {
    const over = performance.now() + milliseconds;
    while (client === this.#used && !signal.aborted && !this.#closing.signal.aborted) {
      const left = over - performance.now();
      if (left <= 0) return;
      await this.#woken(left, signal);
    }
  }

  /**
   * Why a client could not read, which it does not say: asked by its other half.
   *
   * @returns `away` when there that half finds nothing wrong.
   */
  async whyUnread({ db }: UsedClient, stream: string): Promise<Failure> {
    const { credentials } = this.options;
    const live = new LiveEvents(db.subscribeToStream(stream, { credentials, requiresLeader: true }));
    try {
      await live.next({ confirm: beatWithin, quiet: 0 }, this.#closing.signal);
      return {
        what: 'away',
        maybeIn: false,
        connection: 'broken',
        why: 'reads are unavailable',
      };
    } catch (error) {
      return failureOf(error);
    } finally {
      live.end();
    }
  }

  /** Lets the server go. */
  close(): void {
    this.#closing.abort();
    this.#wake();
    if (this.#used !== undefined) release(this.#used);
  }

  #begin(): void {
    if (this.#search !== undefined || this.#closing.signal.aborted) return;
    this.#searchedSince = performance.now();
    this.#search = this.#replace().finally(() => {
      this.#search = undefined;
    });
  }

  /** Looks until there is a client that works. */
  async #replace(): Promise<void> {
    const { signal } = this.#closing;
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        const node = await this.#findNode();
        if (!this.#broken && (await this.#isWell(node))) {
          // It may have failed meanwhile, by the half that was not asked.
          if (this.#broken) continue;
          return this.#nothingWrong();
        }
        const next = await this.#connect(node);
        if (signal.aborted) release(next.client);
        else this.#take(next);
        return;
      } catch (error) {
        this.#inTheWay(error);
      }
      await sleep(Math.min(longestPause, 25 * 2 ** Math.min(tries, 6)), signal);
    }
  }

  /** Notes why a search has not ended yet. */
  #inTheWay(error: unknown): void {
    this.#why = failureOf(error).why;
    // The client does not take the connection string.
    if (error instanceof LogError) this.#obstacle = { why: error.message, lasting: true };
    this.#wake();
    const now = performance.now();
    if (now - this.#lookedAtObstacle < lookAtObstacleEvery) return;
    this.#lookedAtObstacle = now;
    const search = this.#search;
    void this.#lookForObstacle().then((obstacle) => {
      // Another search has nothing to do with it, nor has none.
      if (search !== this.#search || this.#why === undefined) return;
      this.#obstacle = obstacle;
      this.#wake();
    });
  }

  /**
   * Asks in two ways at once: patiently, for a server that is slow; and again and again, each time on a connection of its
   * own, because what was sent to a machine that is away may never be answered.
   */
  async #findNode(): Promise<Node> {
    const { timeout } = this.options;
    const over = this.#closing.signal;
    const until = performance.now() + timeout;
    return new Promise((resolve, reject) => {
      let found = false;
      let asked = 0;
      const ask = async (askFor: number): Promise<void> => {
        asked += 1;
        const begun = performance.now();
        try {
          const node = await this.#finder.find(askFor);
          if (!found) this.#answeredIn = performance.now() - begun;
          found = true;
          resolve(node);
        } catch (error) {
          asked -= 1;
          // What was sent into the silence fails long after somebody else has answered.
          if (found) return;
          this.#inTheWay(error);
          if (asked === 0 && (over.aborted || performance.now() >= until)) reject(error as Error);
        }
      };
      void ask(timeout);
      void (async () => {
        do {
          void ask(beatWithin);
          await sleep(askAgainEvery, over);
        } while (!found && !over.aborted && performance.now() < until);
        // The last of them fails when its time is over, if not before.
        if (asked === 0 && !found) void ask(beatWithin);
      })();
    });
  }

  /** Whether the client in use is at that node, and gives a sign of life. */
  async #isWell(node: Node): Promise<boolean> {
    const used = this.#used;
    if (used === undefined || used.node.host !== node.host || used.node.port !== node.port) return false;
    return this.#gives(used);
  }

  /** Whether a client has a sign of life. Of a server that is slow with all it would be no use to have another client. */
  async #gives({ db }: UsedClient): Promise<boolean> {
    const patience = Math.max(beatWithin, Math.min(this.options.timeout, slowness * this.#answeredIn));
    const begun = performance.now();
    try {
      await this.calls.answersOn(await channelOf(db), patience);
      this.#answeredIn = performance.now() - begun;
      return true;
    } catch {
      return false;
    }
  }

  /** A client that has read, and whose other half has an answer. @throws why it has not. */
  async #connect(node: Node): Promise<NextClient> {
    const abandon = new AbortController();
    // Each call that waits is one.
    setMaxListeners(0, abandon.signal);
    const db = this.#make(node);
    const client = { db, node, replaced: abandon.signal, calls: new Set<Promise<unknown>>() };
    try {
      await within(this.options.timeout, this.#prove(client));
      return { client, abandon };
    } catch (error) {
      abandon.abort();
      release(client);
      throw error;
    }
  }

  async #prove(client: UsedClient): Promise<void> {
    const { probe, credentials = this.address.credentials } = this.options;
    for (let sends = 0; ; sends++) {
      try {
        for await (const _ of client.db.readStream(probe, {
          maxCount: 1,
          requiresLeader: true,
          credentials,
        }));
        break;
      } catch (error) {
        const { what, connection } = failureOf(error);
        // An answer too.
        if (what === 'missing-stream' || what === 'deleted-stream' || what === 'not-allowed') break;
        if ((await this.whyUnread(client, probe)).what === 'not-allowed') break;
        // It goes to the leader, whose address came with that.
        if (connection !== 'not-leader' || sends >= mostSends || client.replaced.aborted) throw error;
      }
    }
    await this.calls.answersOn(await channelOf(client.db), this.options.timeout);
  }

  #make(node: Node): KurrentDBClient {
    this.#made += 1;
    try {
      return this.library.KurrentDBClient.connectionString(
        this.address.urlOf(node, {
          // The reading half waits so long before it connects, and gives each of its tries three seconds.
          discoveryInterval: '20',
          gossipTimeout: '3000',
          // gRPC shares connections that are made alike, also one that failed and waits before it tries again.
          keepAliveTimeout: String(10_000 + (this.#made % 1000)),
        }),
      );
    } catch {
      // What it says may hold the password.
      throw new LogError(
        'NOT_ALLOWED',
        `the client of KurrentDB does not take the connection string of ${this.address.name}: look at its parameters and files`,
      );
    }
  }

  #take({ client, abandon }: NextClient): void {
    const before = this.#used;
    const abandonBefore = this.#abandon;
    this.#used = client;
    this.#abandon = abandon;
    this.#nothingWrong();
    abandonBefore?.abort();
    if (before !== undefined) release(before);
  }

  #nothingWrong(): void {
    this.#broken = false;
    this.#why = undefined;
    this.#obstacle = undefined;
    this.#wake();
  }

  /** What keeps us from every node. */
  async #lookForObstacle(): Promise<Obstacle | undefined> {
    const found = await Promise.all(
      this.address.nodes.map((node) => obstacleAt(node, this.address, beatWithin)),
    );
    if (found.includes(undefined)) return undefined;
    // One that waiting does not end is said before others, and ends the waiting when it is the same with all.
    const obstacles = found.filter((obstacle) => obstacle !== undefined);
    const lasting = obstacles.filter((obstacle) => obstacle.lasting);
    const { why } = (lasting[0] ?? obstacles[0]) as Obstacle;
    return { why, lasting: lasting.length === obstacles.length };
  }

  /** Notices a node that is frozen, or a connection that leads nowhere, while nothing else is asked. */
  async #beat(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(this.options.beatEvery, signal);
      const used = this.#used;
      if (signal.aborted || used === undefined || this.#search !== undefined) continue;
      if (!(await this.#gives(used))) this.suspect(used);
    }
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #woken(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }
}

/** The connection of the half that appends; nothing public gives it. */
const channelOf = (db: KurrentDBClient): Promise<Channel> =>
  (db as unknown as { getChannel(): Promise<Channel> }).getChannel();

/** Ends what a client does. It waits for streams that never end, so it is not waited for. */
function release({ db, calls }: UsedClient): void {
  void db.dispose().catch(() => undefined);
  // `dispose` leaves the connection open. A call that is only on its way to it would throw where nobody can catch it.
  void Promise.allSettled(calls)
    .then(() => channelOf(db))
    .then((channel) => channel.close())
    .catch(() => undefined);
}
