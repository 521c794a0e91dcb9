import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { Fleet, Lease, Leases } from './broker.js';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { expectLastOfSubject, publishExpecting } from './nats-expecting-publish.js';
import { encodeHeaders } from './nats-headers.js';
import { LeaseBoard, MEMBER_PREFIX, parseLease, type LeaseEntry } from './nats-lease-board.js';
import { getStoredMessage } from './nats-stored-message.js';
import type { StreamLimits } from './nats-streams.js';

/** When leases are renewed, given up and taken over, in milliseconds. */
export interface LeaseTiming {
  /** A holder renews so often; 1,000. */
  readonly renewEvery?: number;
  /** A holder that could not renew for so long counts it as lost; 2,500. Less than `takeOverAfter`. */
  readonly lostAfter?: number;
  /** A standby that has seen no renewal for so long, by its own clock, takes over; 3,000. */
  readonly takeOverAfter?: number;
}

const BUCKET = 'VF_LEASES';
const RETRY = 250;
/** The key of an instance that fell silent is cleared away after so long, in milliseconds. */
const FORGET_AFTER = 60_000;
/** What a key that was deleted holds, by the conventions of NATS KV. */
const DELETED = ['KV-Operation', 'DEL'] as const;

/**
 * Leases in the KV bucket `VF_LEASES`: a key for each cluster, taken, renewed and given up by compare and
 * swap on the key's revision. No clock is compared with another machine's: a standby measures by its own how
 * long it has seen the same revision, and one that sees late loses at the swap.
 */
export class NatsLeases implements Leases {
  readonly #timing: Required<LeaseTiming>;
  readonly #held = new Set<HeldLease>();
  readonly #board: LeaseBoard;
  readonly #memberships = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor(
    readonly link: NatsLink,
    readonly limits: StreamLimits,
    timing: LeaseTiming = {},
  ) {
    this.#timing = { renewEvery: 1_000, lostAfter: 2_500, takeOverAfter: 3_000, ...timing };
    this.#board = new LeaseBoard(link, `KV_${BUCKET}`, `$KV.${BUCKET}.`);
  }

  /** Makes the bucket if it is missing. */
  async prepare(): Promise<void> {
    await this.link.call(`Making the KV bucket ${BUCKET}`, () =>
      new Kvm(this.link.connection).create(BUCKET, {
        description: 'Who leads which cluster of the VF scheduler',
        history: 1,
        storage: this.limits.storage === 'memory' ? StorageType.Memory : StorageType.File,
        replicas: this.limits.replicas ?? 1,
      }),
    );
  }

  async acquire(
    cluster: string,
    holder: string,
    signal: AbortSignal,
    hesitate: () => number = () => 0,
  ): Promise<Lease | undefined> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    // Tells our own entry, whose answer was lost, from that of another who goes by the same name.
    const token = randomUUID();
    const value = JSON.stringify({ holder, since: new Date().toISOString(), token });
    while (!ended.aborted) {
      try {
        let entry = await this.#read(cluster);
        while (!ended.aborted) {
          const age = performance.now() - entry.seenAt;
          // For how long it has been free, or how long it will not be, below 0.
          const free = entry.holder === undefined ? age : age - this.#timing.takeOverAfter;
          const patience = free < 0 ? -free : hesitate() - free;
          if (entry.token === token || patience <= 0) {
            const lease = await this.#take(cluster, value, token, entry);
            if (lease && ended.aborted) await lease.release();
            if (lease) return ended.aborted ? undefined : lease;
            entry = await this.#read(cluster);
            continue;
          }
          await this.#board.waitForChange(cluster, entry.revision, patience, ended);
          entry = this.#board.entry(cluster) ?? entry;
        }
      } catch (error) {
        if (!(error instanceof BrokerError) || error.code !== 'UNAVAILABLE') throw error;
        this.link.log('debug', `Cannot ask for the lease of ${cluster} now`, { error: error.message });
        await wait(RETRY, undefined, { signal: ended }).catch(() => {});
        // The bucket itself may be what is missing.
        if (!ended.aborted && this.link.connected) await this.prepare().catch(() => {});
      }
    }
    return undefined;
  }

  async holder(cluster: string): Promise<string | undefined> {
    return (await this.#read(cluster)).holder;
  }

  join(instance: string, ready: () => readonly string[], signal: AbortSignal): void {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    const membership = this.#keepKnown(instance, ready, ended).finally(() =>
      this.#memberships.delete(membership),
    );
    this.#memberships.add(membership);
    this.#board.start();
  }

  fleet(): Fleet {
    const members = new Map<string, ReadonlySet<string>>();
    const holders = new Map<string, string | undefined>();
    const now = performance.now();
    for (const [key, { holder, ready = [], seenAt }] of this.#board.entries) {
      const fresh = now - seenAt < this.#timing.takeOverAfter;
      if (!key.startsWith(MEMBER_PREFIX)) holders.set(key, fresh ? holder : undefined);
      else if (fresh && holder !== undefined) members.set(holder, new Set(ready));
    }
    return { members, holders };
  }

  /** Says again and again that an instance is there; and that it goes, when it does. */
  async #keepKnown(instance: string, ready: () => readonly string[], ended: AbortSignal): Promise<void> {
    const subject = this.#subject(MEMBER_PREFIX + randomUUID());
    while (!ended.aborted) {
      const value = JSON.stringify({ holder: instance, ready: ready() });
      try {
        await publishExpecting(this.link, subject, value, encodeHeaders([]), this.#timing.lostAfter);
        await this.#forgetSilent();
      } catch (error) {
        // It is said again; who is not heard of for long is not there to the others, which is right then.
        this.link.log('debug', `Cannot make ${instance} known now`, { error: String(error) });
      }
      await wait(this.#timing.renewEvery, undefined, { signal: ended }).catch(() => {});
    }
    const gone = publishExpecting(this.link, subject, '', encodeHeaders([DELETED]), this.#timing.lostAfter);
    // Unheard, it is found out after a while.
    await gone.catch(() => {});
  }

  /** Clears away the keys of processes that are gone. One that only slept says again that it is there. */
  async #forgetSilent(): Promise<void> {
    const now = performance.now();
    for (const [key, { seenAt }] of [...this.#board.entries]) {
      if (!key.startsWith(MEMBER_PREFIX) || now - seenAt < FORGET_AFTER) continue;
      this.#board.forget(key);
      await this.link.call(`Clearing ${BUCKET}`, () =>
        this.link.jetStream.streams.purge(`KV_${BUCKET}`, { filter: this.#subject(key) }),
      );
    }
  }

  /** Gives up all leases and all waiting. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...[...this.#held].map((lease) => lease.release()), ...this.#memberships]);
    await this.#board.close();
  }

  /** @returns undefined when somebody else was faster. */
  async #take(
    cluster: string,
    value: string,
    token: string,
    entry: LeaseEntry,
  ): Promise<HeldLease | undefined> {
    const sentAt = performance.now();
    try {
      const revision = await this.#put(cluster, value, entry.revision);
      const lease: HeldLease = new HeldLease(cluster, revision, sentAt, this.#timing, {
        renew: (last, timeout) => this.#put(cluster, value, last, timeout),
        read: async () => {
          const now = await this.#read(cluster);
          return now.token === token ? now.revision : undefined;
        },
        remove: async (last) => {
          await publishExpecting(
            this.link,
            this.#subject(cluster),
            '',
            encodeHeaders([expectLastOfSubject(last), DELETED]),
          );
        },
        reachable: () => this.link.connected,
        ended: () => this.#held.delete(lease),
      });
      this.#held.add(lease);
      return lease;
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'WRONG_SEQUENCE') return undefined;
      throw error;
    }
  }

  #put(cluster: string, value: string, revision: number, timeout?: number): Promise<number> {
    return publishExpecting(
      this.link,
      this.#subject(cluster),
      value,
      encodeHeaders([expectLastOfSubject(revision)]),
      timeout,
    );
  }

  async #read(cluster: string): Promise<LeaseEntry> {
    const before = this.#board.entry(cluster);
    const message = await getStoredMessage(this.link, `KV_${BUCKET}`, {
      last_by_subj: this.#subject(cluster),
    });
    const value = message ? parseLease(message.sequence, message.payload) : { revision: 0 };
    // What was heard while the answer was on its way is newer than the answer, which would hide a release.
    const heard = this.#board.entry(cluster);
    if (heard !== undefined && heard !== before && heard.revision > value.revision) return heard;
    return this.#board.see(cluster, value);
  }

  #subject(cluster: string): string {
    return `$KV.${BUCKET}.${cluster}`;
  }
}

/** What a held lease does with its key. */
interface LeaseKey {
  renew(revision: number, timeout: number): Promise<number>;
  /** The key's revision if it is still ours. */
  read(): Promise<number | undefined>;
  remove(revision: number): Promise<void>;
  /** Whether there is a connection now. */
  reachable(): boolean;
  ended(): void;
}

/** A lease that we hold, renewed until it is released or lost. */
class HeldLease implements Lease {
  readonly #end = new AbortController();
  #renewing: Promise<void> | undefined;
  #renewTimer: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #released: Promise<void> | undefined;

  constructor(
    readonly cluster: string,
    private revision: number,
    /** When the last renewal that succeeded was *sent*: standbys cannot have seen it earlier. */
    private renewedAt: number,
    readonly timing: Required<LeaseTiming>,
    readonly key: LeaseKey,
  ) {
    this.#schedule(timing.renewEvery);
    this.#watchDeadline();
  }

  get lost(): AbortSignal {
    return this.#end.signal;
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    const ours = !this.lost.aborted;
    this.#finish(`The lease of ${this.cluster} was released.`);
    await this.#renewing;
    if (!ours) return;
    // Asked again while it would save others from waiting: for as long as the lease has not run out by itself.
    const runsOutAt = this.renewedAt + this.timing.takeOverAfter;
    while (performance.now() < runsOutAt && this.key.reachable()) {
      try {
        return await this.key.remove(this.revision);
      } catch (error) {
        if (!(error instanceof BrokerError) || !(await this.#mayRemove(error))) return;
      }
    }
  }

  /** After a failure: whether the key is ours still, at a revision that is known by then. */
  async #mayRemove({ code }: BrokerError): Promise<boolean> {
    if (code !== 'WRONG_SEQUENCE') {
      await wait(Math.min(RETRY, this.timing.renewEvery / 4));
      return code === 'UNAVAILABLE';
    }
    // Removed, or taken, by a publish whose answer was lost; or renewed by one.
    const revision = await this.key.read().catch(() => undefined);
    this.revision = revision ?? this.revision;
    return revision !== undefined;
  }

  #finish(why: string): void {
    clearTimeout(this.#renewTimer);
    clearTimeout(this.#deadline);
    if (this.lost.aborted) return;
    this.#end.abort(new BrokerError('LEASE_LOST', why));
    this.key.ended();
  }

  #schedule(delay: number): void {
    if (this.lost.aborted) return;
    this.#renewTimer = setTimeout(() => {
      this.#renewing = this.#renew();
    }, delay);
  }

  async #renew(): Promise<void> {
    const sentAt = performance.now();
    const left = this.renewedAt + this.timing.lostAfter - sentAt;
    try {
      this.revision = await this.key.renew(this.revision, Math.max(1, left));
      this.renewedAt = sentAt;
      this.#schedule(this.timing.renewEvery);
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'WRONG_SEQUENCE') return this.#verify();
      this.#schedule(Math.min(RETRY, this.timing.renewEvery / 4));
    }
  }

  /**
   * The key is not at our revision: taken by another, or renewed by us in a publish whose answer was lost.
   */
  async #verify(): Promise<void> {
    try {
      const revision = await this.key.read();
      if (revision === undefined)
        return this.#finish(`Somebody else holds the lease of ${this.cluster} now.`);
      this.revision = revision;
    } catch {
      // Not known: the deadline decides.
    }
    this.#schedule(Math.min(RETRY, this.timing.renewEvery / 4));
  }

  #watchDeadline(): void {
    const left = this.renewedAt + this.timing.lostAfter - performance.now();
    if (left <= 0) {
      return this.#finish(
        `The lease of ${this.cluster} could not be renewed for ${this.timing.lostAfter} ms.`,
      );
    }
    this.#deadline = setTimeout(() => this.#watchDeadline(), left);
  }
}
