import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { StorageType, type StreamInfo } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { Fleet, LeaderLog, Lease, Leases } from './broker.js';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { expectLastOfSubject, publishExpecting } from './nats-expecting-publish.js';
import { encodeHeaders } from './nats-headers.js';
import {
  LeaseBoard,
  MEMBER_PREFIX,
  parseLease,
  type LeaseEntry,
  type LeaseValue,
} from './nats-lease-board.js';
import { getStoredMessage, orMissing } from './nats-stored-message.js';
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

/** A living member that says that a lease is his. */
interface Claimant {
  readonly holder: string;
  readonly token: string;
  readonly seenAt: number;
}

/** How a lease is taken. */
interface Taking {
  readonly holder: string;
  readonly token: string;
  readonly value: () => string;
  /** The key's revision; undefined: whatever stands there. */
  readonly expected: number | undefined;
  readonly membership: Membership;
}

/** How an instance makes itself known. */
interface Membership {
  ready: () => readonly string[];
  /** Ends it; undefined: it is known for as long as the leases are there. */
  signal: AbortSignal | undefined;
  /** Makes it say at once what it holds. */
  say: () => void;
  done: Promise<void>;
}

const BUCKET = 'VF_LEASES';
const RETRY = 250;
/** After so many conflicts in a row the key is written without looking at what stands there: nobody would get on else. */
const MOST_CONFLICTS = 3;
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
  readonly #memberships = new Map<string, Membership>();
  /** Since when a key has been held by nobody who is known to live. */
  readonly #strangeSince = new Map<string, number>();
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
    log: () => string | undefined = () => undefined,
  ): Promise<Lease | undefined> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    // Tells our own entry, whose answer was lost, from that of another who goes by the same name.
    const token = randomUUID();
    const since = new Date().toISOString();
    const value = (): string => JSON.stringify({ holder, since, token, log: log() });
    const membership = this.#membershipOf(holder);
    while (!ended.aborted) {
      try {
        let entry = await this.#read(cluster);
        let conflicts = 0;
        while (!ended.aborted) {
          const age = performance.now() - entry.seenAt;
          // For how long it has been free, or how long it will not be, below 0. Whose it is a living member says, whatever
          // stands in the key; what stands there besides is his who is gone, or a stranger's, who may write again and again.
          const claimant = this.#claimant(cluster);
          const free =
            claimant !== undefined
              ? performance.now() - claimant.seenAt - this.#timing.takeOverAfter
              : entry.holder === undefined
                ? age
                : Math.max(age, this.#strangeFor(cluster, entry)) - this.#timing.takeOverAfter;
          const patience = free < 0 ? -free : hesitate() - free;
          if (entry.token === token || patience <= 0) {
            const expected = conflicts < MOST_CONFLICTS ? entry.revision : undefined;
            const lease = await this.#take(cluster, { holder, token, value, expected, membership });
            conflicts++;
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
    const entry = await this.#read(cluster);
    const claimant = this.#claimant(cluster);
    if (claimant !== undefined) return claimant.holder;
    // Who has just taken it has a moment to say so.
    const age = Math.max(performance.now() - entry.seenAt, this.#strangeFor(cluster, entry));
    return age < this.#livesFor ? entry.holder : undefined;
  }

  async survey(): Promise<ReadonlyMap<string, LeaderLog>> {
    const doing = `Looking through ${BUCKET}`;
    const stream = `KV_${BUCKET}`;
    const info = await orMissing(
      this.link.call(doing, () =>
        this.link.jetStream.streams.info(stream, { subjects_filter: this.#subject('>') }),
      ),
    );
    const entries = new Map<string, LeaseValue>();
    for (const subject of Object.keys(info?.state.subjects ?? {})) {
      const message = await getStoredMessage(this.link, stream, { last_by_subj: subject });
      // By the server's own clock: nothing was heard of the key yet.
      const now = Date.parse((info as StreamInfo & { ts?: string }).ts ?? '');
      if (message === undefined || now - message.time >= this.#livesFor) continue;
      entries.set(subject.slice(this.#subject('').length), parseLease(message.sequence, message.payload));
    }
    const found = new Map<string, LeaderLog>();
    for (const [cluster, { token, log, revision }] of entries) {
      if (cluster.startsWith(MEMBER_PREFIX) || token === undefined) continue;
      const isSaid = [...entries.values()].some(({ leads }) => leads?.[cluster] === token);
      if (isSaid) found.set(cluster, { log, revision });
    }
    return found;
  }

  join(instance: string, ready: () => readonly string[], signal: AbortSignal): void {
    const membership = this.#membershipOf(instance);
    membership.ready = ready;
    membership.signal = signal;
    signal.addEventListener('abort', () => membership.say());
    membership.say();
  }

  fleet(): Fleet {
    const members = new Map<string, ReadonlySet<string>>();
    const holders = new Map<string, string | undefined>();
    const logs = new Map<string, LeaderLog>();
    const now = performance.now();
    for (const [key, entry] of this.#board.entries) {
      const { holder, ready = [], seenAt } = entry;
      const fresh = now - seenAt < this.#timing.takeOverAfter;
      if (!key.startsWith(MEMBER_PREFIX)) {
        const claimant = this.#claimant(key);
        holders.set(key, claimant?.holder);
        if (claimant !== undefined && entry.token === claimant.token)
          logs.set(key, { log: entry.log, revision: entry.revision });
      } else if (fresh && holder !== undefined) members.set(holder, new Set(ready));
    }
    return { members, holders, logs };
  }

  /** For how long a key counts as its holder's without being renewed; never none, whatever is taken over at once. */
  get #livesFor(): number {
    return Math.max(this.#timing.takeOverAfter, this.#timing.lostAfter);
  }

  /**
   * The living member that says that the lease of a cluster is his; of several the one that was heard last. What stands
   * in the cluster's own key anybody may have written there.
   */
  #claimant(cluster: string): Claimant | undefined {
    const own = [...this.#held].find((held) => held.cluster === cluster);
    if (own !== undefined) return { holder: own.holder, token: own.token, seenAt: performance.now() };
    let found: Claimant | undefined;
    for (const claim of this.#claims(cluster))
      if (found === undefined || claim.seenAt > found.seenAt) found = claim;
    return found;
  }

  /** What living members have said: that the lease of a cluster is theirs. */
  *#claims(cluster: string): Generator<Claimant> {
    const now = performance.now();
    for (const [key, { holder, leads, seenAt }] of this.#board.entries) {
      const token = key.startsWith(MEMBER_PREFIX) ? leads?.[cluster] : undefined;
      if (token !== undefined && holder !== undefined && now - seenAt < this.#livesFor)
        yield { holder, token, seenAt };
    }
  }

  /**
   * For how long a key has been held by nobody who is known to live, in milliseconds; 0: it is free, or a member says that
   * the lease is his.
   */
  #strangeFor(cluster: string, entry: LeaseValue): number {
    if (entry.holder === undefined || this.#claimant(cluster) !== undefined) {
      this.#strangeSince.delete(cluster);
      return 0;
    }
    const now = performance.now();
    const since = this.#strangeSince.get(cluster) ?? now;
    this.#strangeSince.set(cluster, since);
    return now - since;
  }

  /** How an instance makes itself known. One that only holds leases does so too, or they would count for nothing. */
  #membershipOf(instance: string): Membership {
    let membership = this.#memberships.get(instance);
    if (membership === undefined) {
      membership = { ready: () => [], signal: undefined, say: () => undefined, done: Promise.resolve() };
      this.#memberships.set(instance, membership);
      membership.done = this.#keepKnown(instance, membership).finally(() =>
        this.#memberships.delete(instance),
      );
      this.#board.start();
    }
    return membership;
  }

  /** Says again and again that an instance is there; and that it goes, when it does. */
  async #keepKnown(instance: string, membership: Membership): Promise<void> {
    const subject = this.#subject(MEMBER_PREFIX + randomUUID());
    const closing = this.#closing.signal;
    while (!closing.aborted && membership.signal?.aborted !== true) {
      let news = false;
      membership.say = () => (news = true);
      const leads = Object.fromEntries([...this.#held].map(({ cluster, token }) => [cluster, token]));
      const value = JSON.stringify({ holder: instance, ready: membership.ready(), leads });
      try {
        await publishExpecting(this.link, subject, value, encodeHeaders([]), this.#timing.lostAfter);
        await this.#forgetSilent();
      } catch (error) {
        // It is said again; who is not heard of for long is not there to the others, which is right then.
        this.link.log('debug', `Cannot make ${instance} known now`, { error: String(error) });
      }
      if (news) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#timing.renewEvery);
        membership.say = () => {
          clearTimeout(timer);
          resolve();
        };
        if (closing.aborted || membership.signal?.aborted === true) membership.say();
      });
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
    const memberships = [...this.#memberships.values()];
    for (const { say } of memberships) say();
    await Promise.all([
      ...[...this.#held].map((lease) => lease.release()),
      ...memberships.map(({ done }) => done),
    ]);
    await this.#board.close();
  }

  /** @returns undefined when somebody else was faster. */
  async #take(
    cluster: string,
    { holder, token, value, expected, membership }: Taking,
  ): Promise<HeldLease | undefined> {
    const sentAt = performance.now();
    try {
      const revision = await this.#put(cluster, value(), expected);
      const identity = { cluster, holder, token };
      const lease: HeldLease = new HeldLease(identity, revision, sentAt, this.#timing, {
        renew: (last, timeout) => this.#put(cluster, value(), last, timeout),
        read: async () => {
          const now = await this.#read(cluster);
          return { revision: now.revision, ours: now.token === token, rival: this.#rival(cluster, token) };
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
        ended: () => {
          this.#held.delete(lease);
          membership.say();
        },
      });
      this.#held.add(lease);
      membership.say();
      return lease;
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'WRONG_SEQUENCE') return undefined;
      throw error;
    }
  }

  /** Whether another living member says that the lease is his, and is to have it of the two. */
  #rival(cluster: string, token: string): boolean {
    for (const claim of this.#claims(cluster)) if (claim.token < token) return true;
    return false;
  }

  /** @param revision that the key must have; undefined: whatever stands there. */
  #put(cluster: string, value: string, revision: number | undefined, timeout?: number): Promise<number> {
    return publishExpecting(
      this.link,
      this.#subject(cluster),
      value,
      encodeHeaders(revision === undefined ? [] : [expectLastOfSubject(revision)]),
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
  /** @param revision that it must have; undefined: whatever stands there. */
  renew(revision: number | undefined, timeout: number): Promise<number>;
  /** The key as it is now: its revision, whether it is still ours, and whether another member has a better claim. */
  read(): Promise<{ readonly revision: number; readonly ours: boolean; readonly rival: boolean }>;
  remove(revision: number): Promise<void>;
  /** Whether there is a connection now. */
  reachable(): boolean;
  ended(): void;
}

/** A lease that we hold, renewed until it is released or lost. */
class HeldLease implements Lease {
  readonly cluster: string;
  readonly holder: string;
  /** What tells it from any other. */
  readonly token: string;
  /** How often in a row somebody else has written to the key. */
  #conflicts = 0;
  readonly #end = new AbortController();
  #renewing: Promise<void> | undefined;
  #renewTimer: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #released: Promise<void> | undefined;

  constructor(
    identity: { readonly cluster: string; readonly holder: string; readonly token: string },
    private revision: number,
    /** When the last renewal that succeeded was *sent*: standbys cannot have seen it earlier. */
    private renewedAt: number,
    readonly timing: Required<LeaseTiming>,
    readonly key: LeaseKey,
  ) {
    this.cluster = identity.cluster;
    this.holder = identity.holder;
    this.token = identity.token;
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
    const now = await this.key.read().catch(() => undefined);
    if (now?.ours !== true) return false;
    this.revision = now.revision;
    return true;
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
      const expected = this.#conflicts < MOST_CONFLICTS ? this.revision : undefined;
      this.revision = await this.key.renew(expected, Math.max(1, left));
      this.#conflicts = 0;
      this.renewedAt = sentAt;
      this.#schedule(this.timing.renewEvery);
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'WRONG_SEQUENCE') return this.#verify();
      this.#schedule(Math.min(RETRY, this.timing.renewEvery / 4));
    }
  }

  /**
   * The key is not at our revision: renewed by us in a publish whose answer was lost, taken by another member, or
   * overwritten by a stranger. While the lease has not run out no member may have taken it: unless one says that he did,
   * it is taken back, at last whatever stands there.
   */
  async #verify(): Promise<void> {
    try {
      const { revision, ours, rival } = await this.key.read();
      if (!ours && rival) return this.#finish(`Somebody else holds the lease of ${this.cluster} now.`);
      this.revision = revision;
      this.#conflicts++;
      // A stranger may write again at any moment: at once, and not in a while.
      if (!ours) return this.#schedule(0);
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
