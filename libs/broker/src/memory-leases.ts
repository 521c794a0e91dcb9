import type { Fleet, Lease } from './broker.js';
import { BrokerError } from './errors.js';
import type { Schedule } from './memory-broker-server.js';

/** Who asks for leases: a connection. */
export interface LeaseClient {
  /** Whether it reaches the server now. */
  readonly connected: boolean;
}

/** What is asked for: the lease of a cluster, by whom, and the identity of the log that he works on. */
export interface LeaseRequest {
  readonly cluster: string;
  readonly holder: string;
  log?(): string | undefined;
}

interface Held {
  readonly client: LeaseClient;
  readonly holder: string;
  log(): string | undefined;
  readonly end: AbortController;
  /** Timers of a holder that is cut off. */
  callOff: Array<() => void>;
}

interface Waiter {
  readonly client: LeaseClient;
  hesitate(): number;
  grant(): void;
}

interface Member {
  readonly client: LeaseClient;
  ready(): readonly string[];
  /** It is cut off, and has been for so long that it counts as gone. */
  silent: boolean;
}

/** Leases of a memory server: to who hesitates least, and among these first come, first served. */
export class MemoryLeases {
  readonly #held = new Map<string, Held>();
  readonly #waiting = new Map<string, Waiter[]>();
  readonly #members = new Map<string, Member>();
  /** Who is connected renews all the time. */
  #renewals = 0;

  constructor(readonly options: { schedule: Schedule; lostAfter: number; takeOverAfter: number }) {}

  holder(cluster: string): string | undefined {
    return this.#held.get(cluster)?.holder;
  }

  /** @returns undefined when the signal aborts first. */
  acquire(
    client: LeaseClient,
    asked: LeaseRequest,
    signal: AbortSignal,
    hesitate: () => number = () => 0,
  ): Promise<Lease | undefined> {
    const { cluster } = asked;
    if (signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const waiters = this.#waiting.get(cluster) ?? [];
      this.#waiting.set(cluster, waiters);
      const waiter: Waiter = {
        client,
        hesitate,
        grant: () => {
          signal.removeEventListener('abort', giveUp);
          resolve(this.#hold(client, asked));
        },
      };
      const giveUp = () => {
        waiters.splice(waiters.indexOf(waiter), 1);
        resolve(undefined);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      waiters.push(waiter);
      this.#grantNext(cluster);
    });
  }

  join(client: LeaseClient, instance: string, ready: () => readonly string[], signal: AbortSignal): void {
    if (signal.aborted) return;
    const member: Member = { client, ready, silent: false };
    this.#members.set(instance, member);
    const leave = (): void => {
      if (this.#members.get(instance) === member) this.#members.delete(instance);
    };
    signal.addEventListener('abort', leave, { once: true });
  }

  fleet(): Fleet {
    const members = [...this.#members].filter(([, { silent }]) => !silent);
    return {
      members: new Map(members.map(([instance, { ready }]) => [instance, new Set(ready())])),
      holders: new Map([...this.#waiting.keys()].map((cluster) => [cluster, this.holder(cluster)])),
      logs: new Map(
        [...this.#held].map(([cluster, held]) => [cluster, { log: held.log(), revision: ++this.#renewals }]),
      ),
    };
  }

  /** The client is cut off: what it holds runs out, unless it comes back in time. */
  onCut(client: LeaseClient): void {
    for (const member of this.#members.values()) {
      if (member.client !== client) continue;
      this.options.schedule(this.options.takeOverAfter, () => (member.silent = !client.connected));
    }
    for (const [cluster, held] of this.#held) {
      if (held.client !== client) continue;
      held.callOff = [
        this.options.schedule(this.options.lostAfter, () =>
          held.end.abort(new BrokerError('LEASE_LOST', `The lease of ${cluster} could not be renewed.`)),
        ),
        this.options.schedule(this.options.takeOverAfter, () => this.#free(cluster, held)),
      ];
    }
  }

  /** The client is back: what was not lost in between goes on, and it may wait for others again. */
  onHeal(client: LeaseClient): void {
    for (const member of this.#members.values()) if (member.client === client) member.silent = false;
    for (const held of this.#held.values()) {
      // A lease given up as lost still blocks the others until its time is over, as the key does in NATS.
      if (held.client === client && !held.end.signal.aborted) this.#callOff(held);
    }
    for (const cluster of this.#waiting.keys()) this.#grantNext(cluster);
  }

  /** The client goes for good: what it holds is released, unless it is cut off and nobody hears of it. */
  onClose(client: LeaseClient, released: boolean): void {
    for (const [cluster, held] of this.#held)
      if (held.client === client) this.#release(cluster, held, released);
  }

  #hold(client: LeaseClient, { cluster, holder, log }: LeaseRequest): Lease {
    const held: Held = {
      client,
      holder,
      log: log ?? (() => undefined),
      end: new AbortController(),
      callOff: [],
    };
    this.#held.set(cluster, held);
    return {
      cluster,
      lost: held.end.signal,
      release: async () => this.#release(cluster, held, client.connected),
    };
  }

  #release(cluster: string, held: Held, heard: boolean): void {
    held.end.abort(new BrokerError('LEASE_LOST', `The lease of ${cluster} was released.`));
    // Unheard, its time must run out.
    if (heard) this.#free(cluster, held);
  }

  #free(cluster: string, held: Held): void {
    this.#callOff(held);
    if (this.#held.get(cluster) !== held) return;
    this.#held.delete(cluster);
    this.#grantNext(cluster);
  }

  #callOff(held: Held): void {
    for (const callOff of held.callOff) callOff();
    held.callOff = [];
  }

  #grantNext(cluster: string): void {
    if (this.#held.has(cluster)) return;
    const waiters = this.#waiting.get(cluster) ?? [];
    const [next] = waiters
      .filter(({ client }) => client.connected)
      .map((waiter) => ({ waiter, after: waiter.hesitate() }))
      .toSorted((one, other) => one.after - other.after);
    if (next === undefined) return;
    waiters.splice(waiters.indexOf(next.waiter), 1);
    next.waiter.grant();
  }
}
