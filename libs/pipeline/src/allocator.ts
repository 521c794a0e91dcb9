import {
  BrokerError,
  type Broker,
  type DeadLetter,
  type InputFollower,
  type InputMessage,
  type Lease,
} from '#broker';
import type { HardwareLimit, LastReport, State } from '#domain';
import { LogError, SaidTrouble, type EventLog } from '#log';
import { clusterOfSubject, isReadable, NO_CLUSTER, readInput } from '#wire';
import type { Clock } from './clock.js';
import { ClockWatch } from './clock-watch.js';
import { ClusterLeader, type LeaderStatus } from './cluster-leader.js';
import { deadLetter } from './dead-lettering.js';
import { PipelineError, sentenceOf } from './errors.js';
import { LastingFailure } from './lasting-failure.js';
import type { Loaded } from './load.js';
import type { Logger } from './logger.js';
import { identityOf, otherLog } from './positions.js';
import { persist } from './retry.js';
import { hesitation, nextMove } from './spread.js';
import { Standby, type StandbyStatus } from './standby.js';

/** The cluster of a site that has only one. It is there from the start. */
export const DEFAULT_CLUSTER = 'default';

/** A cluster that could not be led is tried again after so long, and twice as long each time, in milliseconds. */
const FIRST_WAIT = 100;
const LONGEST_WAIT = 1000;
/** The same for one that a person must mend: it shows that he did. */
const FIRST_LONG_WAIT = 1000;
const LONGEST_LONG_WAIT = 60_000;
/** How long a leader may take to finish when the allocator stops, in milliseconds. */
const DRAIN_PATIENCE = 5000;
/** A lease that is free is got sooner than this, in milliseconds. */
const STANDBY_AFTER = 1000;
/** A standby looks this often whom it follows, and how far behind it is, in milliseconds. */
const LOOK_AGAIN = 2000;
/** The spread of the clusters is looked at this often, in milliseconds; one cluster moves at a time. */
const SPREAD_EVERY = 1000;
/** A cluster that came back to who gave it up is not given up again for so long, at most. */
const LONGEST_SPREAD_PAUSE = 60_000;

/** What all clusters share is looked at this often, in milliseconds. */
const CHECK_EVERY = 5000;
/** A leader must have named another log with so many renewals: what was just written is on its way to us, or to the lease. */
const RENEWALS_THAT_DIFFER = 3;

/** A batch of inputs on its way to the decider. */
export interface InputBatch {
  readonly cluster: string;
  readonly messages: readonly InputMessage[];
  /** Decides it; resolves when the next batch may come. */
  process(): Promise<void>;
}

export interface AllocatorOptions {
  readonly broker: Broker;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Who this instance is, to others who want to lead. */
  readonly instance: string;
  /** Clusters that it may lead; undefined: all. */
  readonly clusters?: readonly string[];
  readonly maxClusters: number;
  readonly rememberedInputs: number;
  readonly outMaxAge: number;
  /** An operator's limits of hardware (PF-12); undefined: those that each cluster has. */
  readonly hardwareLimits?: readonly HardwareLimit[];
  /** The way of a batch to its decision; by default straight there. */
  readonly dispatch?: (batch: InputBatch) => Promise<void>;
}

/** How a cluster stands with this instance. */
export type ClusterStatus =
  | { readonly role: 'opening' }
  /** It follows the log, and can take over at once; `leader` is whom it waits for. */
  | ({ readonly role: 'standby'; readonly leader?: string } & StandbyStatus)
  | ({ readonly role: 'leader' } & LeaderStatus)
  /** It could not be led. It is tried again; seldom when it is `final`: then a person must look. */
  | { readonly role: 'failed'; readonly code?: string; readonly message: string; readonly final: boolean };

interface Cluster {
  status: () => ClusterStatus;
  leader: ClusterLeader | undefined;
  /** Whether its lease is ours. */
  held: boolean;
  /** Gives it up, for another instance to lead it; there while we lead. */
  giveUp: (() => void) | undefined;
  /** Why it must not be led, whatever the log and NATS say. */
  halted: PipelineError | undefined;
  readonly done: Promise<void>;
}

/** The renewals of a lease that were seen. */
class Renewals {
  private last: number | undefined;
  private count = 0;

  /** @returns whether there were enough of them. */
  have(revision: number): boolean {
    if (revision !== this.last) this.count++;
    this.last = revision;
    return this.count >= RENEWALS_THAT_DIFFER;
  }
}

const leaderOf = (log: string | undefined): string =>
  `the allocator that leads the cluster works on ${log === undefined ? 'an empty one' : `the one that begins with ${log}`}`;

/** Whether only a person can mend it: damage, another log, an event of a newer release, missing rights, a defect. */
const isFinal = (error: unknown): boolean => {
  if (error instanceof PipelineError) return error.code !== 'DEPOSED';
  if (error instanceof LogError) return error.code === 'CORRUPT' || error.code === 'NOT_ALLOWED';
  if (error instanceof BrokerError) return error.code === 'REFUSED';
  return true;
};

/**
 * The allocator: leads the clusters of which it gets the lease, notices new ones, and dead-letters what
 * belongs to none.
 */
export class Allocator {
  private readonly clusters = new Map<string, Cluster>();
  private readonly stopping = new AbortController();
  /** Whether the default cluster has had an event; before it does, it is there and does not count. */
  private usesDefault = false;
  private watcher: { close(): Promise<void> } | undefined;
  private orphans: Promise<void> = Promise.resolve();
  /** Why what belongs to no cluster cannot be dead-lettered: it waits, and every cluster is served. */
  orphanTrouble: string | undefined;
  private spreading: Promise<void> = Promise.resolve();
  private checking: Promise<void> = Promise.resolve();
  private readonly shared: LastingFailure;
  /** Whether the log was compared with those of the leaders that live. */
  private compared = false;
  private readonly changed = new Set<() => void>();

  /** How the clock of this process goes with NATS's. */
  readonly clocks: ClockWatch;

  constructor(private readonly options: AllocatorOptions) {
    this.shared = new LastingFailure(options.clock);
    this.clocks = new ClockWatch(options);
  }

  /** What keeps every cluster from being served: a stream that all share and that is not as it must be. */
  get trouble(): string | undefined {
    return this.shared.trouble;
  }

  /**
   * Why nothing that this instance could say of a cluster need be true: it has not compared its log yet with those that
   * the site works on, or the cluster's is another one.
   *
   * @returns a sentence for who asks; undefined when the log is the right one.
   */
  whyNotAsked(cluster: string): string | undefined {
    if (!this.compared)
      return 'this instance is starting: it has not seen yet whether its log is the right one';
    const status = this.clusters.get(cluster)?.status();
    return status?.role === 'failed' && status.code === 'OTHER_LOG' ? status.message : undefined;
  }

  /**
   * Stops leading a cluster, and does not begin again: somebody has seen that its log hands one VF out twice (EX-1).
   *
   * @param why for a person.
   */
  halt(name: string, why: string): void {
    const cluster = this.clusters.get(name);
    if (cluster === undefined || cluster.halted !== undefined) return;
    cluster.halted = new PipelineError('TWO_HOLDERS', `cluster '${name}' is not led: ${why}`);
    cluster.leader?.fail(cluster.halted);
  }

  /**
   * Starts to lead. Resolves once every cluster that is known is led, led by somebody else, or in trouble of its
   * own: that is in its {@link status}, and keeps no other from being served.
   *
   * @throws what keeps every cluster from being led, and needs a person: a log that does not fit, damage,
   *   permissions.
   */
  async start(): Promise<void> {
    try {
      await this.begin();
    } catch (error) {
      // What has begun to lead must not go on behind the back of somebody who was told that it failed.
      await this.stop();
      throw error;
    }
  }

  private async begin(): Promise<void> {
    const { broker, log } = this.options;
    await broker.prepare(this.stopping.signal);
    void this.clocks.watch(this.stopping.signal);
    // The streams of a site with one cluster are there before its first event, for those who want to follow
    // them.
    const signal = this.stopping.signal;
    const found = await persist(
      'asking the log for its clusters',
      async () => {
        this.usesDefault = await this.hasBegun(DEFAULT_CLUSTER);
        return log.streams();
      },
      { ...this.options, signal },
    );
    await persist('asking NATS who leads', () => this.refuseOtherLog(), { ...this.options, signal });
    this.compared = true;
    if (this.mayLead(DEFAULT_CLUSTER) && !this.usesDefault) await broker.output.create(DEFAULT_CLUSTER, 1);
    const known = new Set([DEFAULT_CLUSTER, ...found]);
    for (const cluster of known) this.add(cluster);
    this.watcher = await broker.input.watch(({ sequence, subject }) => this.notice(sequence, subject));
    broker.leases.join(this.options.instance, () => this.ready(), this.stopping.signal);
    this.spreading = this.keepSpread();
    this.checking = this.keepChecking();
    await this.untilSettled();
  }

  /**
   * Compares the log with those that the living leaders of the site work on.
   *
   * @throws PipelineError `OTHER_LOG`: ours fits none, so it is another one, whatever cluster it is asked for.
   */
  private async refuseOtherLog(): Promise<void> {
    const { broker, log, clock } = this.options;
    const seen = new Map<string, Renewals>();
    for (;;) {
      let differs = false;
      for (const [cluster, { log: theirs, revision }] of await broker.leases.survey()) {
        if (!this.mayLead(cluster)) continue;
        const ours = await identityOf(log, cluster);
        if (ours !== undefined && ours === theirs) return;
        if (ours === theirs) continue;
        differs = true;
        const renewals = seen.get(cluster) ?? new Renewals();
        seen.set(cluster, renewals);
        if (renewals.have(revision)) throw otherLog(cluster, log, ours, leaderOf(theirs));
      }
      if (!differs) return;
      // Who has just begun a log says so with his next renewal; who is gone renews no more, and is then forgotten.
      await clock.sleep(STANDBY_AFTER, this.stopping.signal);
      this.stopping.signal.throwIfAborted();
    }
  }

  /** Looks again and again whether what all clusters share is as it must be. */
  private async keepChecking(): Promise<void> {
    const { broker, clock, logger } = this.options;
    const { signal } = this.stopping;
    const said = new SaidTrouble();
    while (!signal.aborted) {
      await clock.sleep(CHECK_EVERY, signal);
      if (signal.aborted) return;
      try {
        await broker.check();
        this.shared.worked();
        said.forget();
      } catch (error) {
        const why = sentenceOf(error);
        // While NATS is away that is said for itself.
        if (!broker.connected) continue;
        this.shared.failed(why, { lasts: isFinal(error) });
        if (said.isNews(why, clock.now())) logger.warn(why);
      }
    }
  }

  /** Whether a cluster has a record. One that cannot be read has: what is wrong with it is its own trouble. */
  private async hasBegun(cluster: string): Promise<boolean> {
    try {
      return (await this.options.log.head(cluster)).position > 0;
    } catch (error) {
      if (error instanceof LogError && (error.code === 'CORRUPT' || error.code === 'NOT_ALLOWED'))
        return true;
      throw error;
    }
  }

  /** Under which name others know it. */
  get instance(): string {
    return this.options.instance;
  }

  /** How each known cluster stands. */
  get status(): ReadonlyMap<string, ClusterStatus> {
    return new Map([...this.clusters].map(([name, cluster]) => [name, cluster.status()]));
  }

  /**
   * Reads the durable state of a cluster that this instance leads.
   *
   * @returns undefined when it does not lead it now.
   */
  async read<T>(cluster: string, reader: (state: State) => T): Promise<{ readonly value: T } | undefined> {
    const leader = this.clusters.get(cluster)?.leader;
    if (leader === undefined) return undefined;
    try {
      return { value: await leader.read(reader) };
    } catch (error) {
      if (leader.failed.aborted) return undefined;
      throw error;
    }
  }

  /**
   * How far the reports of a host have come, as this instance heard them itself, which the log does not show as long
   * as nothing changes (HOST-9).
   *
   * @returns undefined when it does not lead the cluster, or does not know the host.
   */
  lastReport(cluster: string, hostId: string): LastReport | undefined {
    return this.clusters.get(cluster)?.leader?.lastReport(hostId);
  }

  /** Stops reading, finishes the batch, relays, gives the leases up. */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const look of [...this.changed]) look();
    await this.watcher?.close();
    await Promise.all([...this.clusters.values()].map(({ done }) => done));
    await Promise.all([this.orphans, this.spreading, this.checking]);
  }

  /** Whether the settings let this instance lead a cluster. */
  mayLead(cluster: string): boolean {
    return this.options.clusters === undefined || this.options.clusters.includes(cluster);
  }

  private add(name: string): void {
    if (this.clusters.has(name) || !this.mayLead(name) || this.stopping.signal.aborted) return;
    const cluster: Cluster = {
      status: () => ({ role: 'opening' }),
      leader: undefined,
      held: false,
      giveUp: undefined,
      halted: undefined,
      // It begins in a later turn, when the entry is in the map.
      done: Promise.resolve().then(() => this.keepLeading(name, cluster)),
    };
    this.clusters.set(name, cluster);
  }

  /** A message of `VF_IN`: perhaps the first of a cluster, perhaps nobody's. */
  private notice(sequence: number, subject: string): void {
    const cluster = clusterOfSubject(subject);
    if (cluster === undefined) {
      this.orphan(
        sequence,
        NO_CLUSTER,
        'the subject does not name a cluster: vf.in.<cluster>.{vm,host,network,cluster}.<id>.<Type>',
      );
      return;
    }
    if (cluster === DEFAULT_CLUSTER) this.usesDefault = true;
    if (this.clusters.has(cluster) || !this.mayLead(cluster)) return;
    const unused = this.clusters.has(DEFAULT_CLUSTER) && !this.usesDefault ? 1 : 0;
    if (this.clusters.size - unused >= this.options.maxClusters) {
      const most = this.options.maxClusters;
      this.orphan(
        sequence,
        cluster,
        `there are ${most} clusters already, which is the most that VF_MAX_CLUSTERS allows`,
      );
      return;
    }
    this.options.logger.info(`a new cluster: '${cluster}'`);
    this.add(cluster);
  }

  /** Dead-letters a message that no leader will read, and takes it out of `VF_IN`. */
  private orphan(sequence: number, cluster: string, reason: string): void {
    const { broker, logger } = this.options;
    const { signal } = this.stopping;
    this.orphans = this.orphans
      .then(async () => {
        let letter: DeadLetter | undefined;
        let since = 0;
        await persist(
          'reading what belongs to no cluster',
          async () => {
            const message = await broker.input.get(sequence);
            if (message === undefined) return;
            const { created: stream } = await broker.input.info();
            const { subject, headers, payload } = message;
            const read = readInput(message);
            const eventId = isReadable(read) ? read.input.id : read.eventId;
            since = message.time;
            letter = { stream, sequence, subject, reason, eventId, headers, payload };
          },
          { ...this.options, signal },
        );
        if (letter === undefined) return;
        const onTrouble = (trouble: string | undefined): void => {
          this.orphanTrouble = trouble;
        };
        const how = { ...this.options, signal, onTrouble };
        await deadLetter(broker, 'dead-lettering what belongs to no cluster', cluster, [letter], since, how);
        await persist('taking what belongs to no cluster out of VF_IN', () => broker.input.remove(sequence), {
          ...this.options,
          signal,
        });
      })
      .catch((error: unknown) => {
        if (!signal.aborted)
          logger.error(`message ${sequence} of VF_IN could not be dead-lettered`, { error });
      });
  }

  /** Follows a cluster, and leads it whenever it can, until the allocator stops. */
  private async keepLeading(name: string, cluster: Cluster): Promise<void> {
    const { logger, clock } = this.options;
    const { signal } = this.stopping;
    const said = new SaidTrouble();
    let failures = 0;
    let known: Loaded | undefined;
    while (!signal.aborted) {
      const begun = clock.now();
      try {
        known = await this.followAndLead(name, cluster, known);
        failures = 0;
        said.forget();
      } catch (error) {
        known = undefined;
        if (signal.aborted) return;
        const final = isFinal(error);
        const message = await this.reasonOf(name, error, final);
        if (said.isNews(message, clock.now()))
          logger[final ? 'error' : 'warn'](`cluster '${name}' is not led: ${message}`, { error });
        const code = error instanceof PipelineError ? { code: error.code } : undefined;
        this.setStatus(cluster, () => ({ role: 'failed', ...code, message, final }));
        // One that was served for long has failed for the first time.
        if (clock.now() - begun > LONGEST_LONG_WAIT) failures = 0;
        const [first, longest] = final ? [FIRST_LONG_WAIT, LONGEST_LONG_WAIT] : [FIRST_WAIT, LONGEST_WAIT];
        await clock.sleep(Math.min(first * 2 ** Math.min(failures++, 16), longest), signal);
      }
    }
  }

  /** Why a cluster is not led. What takes its history away is why, whatever came of it. */
  private async reasonOf(name: string, error: unknown, final: boolean): Promise<string> {
    const message = sentenceOf(error);
    if (!final) return message;
    const cut = await this.options.log.incomplete(name).catch(() => undefined);
    return cut ?? message;
  }

  /**
   * Follows a cluster until the lease is ours, and then leads it until that ends.
   *
   * @param known the state, when this instance has just led.
   * @returns the state as it was left, when there is nothing wrong with it.
   */
  private async followAndLead(
    name: string,
    cluster: Cluster,
    known: Loaded | undefined,
  ): Promise<Loaded | undefined> {
    const { broker, instance } = this.options;
    const { signal } = this.stopping;
    // What is wrong with it stays to be seen while it is tried again.
    if (known === undefined && cluster.status().role !== 'failed')
      this.setStatus(cluster, () => ({ role: 'opening' }));
    // Nobody asks for a lease who could not use it: first the state, then the lease.
    if (cluster.halted !== undefined) throw cluster.halted;
    const standby = await this.unlessStopped(Standby.open(name, this.options, signal, known));
    const got = new AbortController();
    const estranged = new AbortController();
    let lease: Lease | undefined;
    let left: Loaded | undefined;
    let leader: ClusterLeader | undefined;
    try {
      void this.showStandby(name, cluster, standby, known !== undefined, got.signal);
      void this.watchLeader(name, standby, estranged, got.signal);
      lease = await broker.leases.acquire(
        name,
        instance,
        AbortSignal.any([signal, standby.failed, estranged.signal]),
        () => hesitation(broker.leases.fleet(), instance, name, this.held),
        () => (leader === undefined ? standby.identity : leader.identity),
      );
      got.abort();
      standby.failed.throwIfAborted();
      estranged.signal.throwIfAborted();
      if (cluster.halted !== undefined) throw cluster.halted;
      if (lease === undefined) return undefined;
      cluster.held = true;
      this.setStatus(cluster, () => ({ role: 'opening' }));
      // Streams that are gone are made again before anything is verified against them.
      await this.unlessStopped(broker.prepare(signal));
      leader = await this.unlessStopped(
        ClusterLeader.open(name, this.options, () => standby.takeOver(), signal),
      );
      await this.lead(name, cluster, leader, lease);
    } finally {
      got.abort();
      standby.close();
      await lease?.release().catch(() => undefined);
      cluster.held = false;
      left = leader?.handBack();
    }
    return left;
  }

  /** Shows an instance that waits for the lease as a standby, once somebody else is known to have it. */
  private async showStandby(
    name: string,
    cluster: Cluster,
    standby: Standby,
    hasLed: boolean,
    over: AbortSignal,
  ): Promise<void> {
    const { broker, clock } = this.options;
    // Who has just given it up is a standby at once; a lease that is free is got sooner than this.
    if (hasLed) this.setStatus(cluster, () => ({ role: 'standby', ...standby.status }));
    else await clock.sleep(STANDBY_AFTER, over);
    while (!over.aborted) {
      // Who cannot be asked may be gone: then this instance could not take over either.
      const leader = await broker.leases.holder(name).catch(() => undefined);
      await standby.look().catch(() => undefined);
      if (over.aborted) return;
      if (leader !== undefined)
        this.setStatus(cluster, () => ({ role: 'standby', leader, ...standby.status }));
      else if (cluster.status().role !== 'opening') this.setStatus(cluster, () => ({ role: 'opening' }));
      await clock.sleep(leader === undefined ? STANDBY_AFTER : LOOK_AGAIN, over);
    }
  }

  /** Looks whether who leads a cluster works on the log that this instance follows. */
  private async watchLeader(
    name: string,
    standby: Standby,
    estranged: AbortController,
    over: AbortSignal,
  ): Promise<void> {
    const { broker, log, clock } = this.options;
    let renewals = new Renewals();
    while (!over.aborted) {
      await clock.sleep(STANDBY_AFTER, over);
      const theirs = broker.leases.fleet().logs.get(name);
      if (over.aborted) return;
      if (theirs === undefined || theirs.log === standby.identity) {
        renewals = new Renewals();
      } else if (renewals.have(theirs.revision)) {
        estranged.abort(otherLog(name, log, standby.identity, leaderOf(theirs.log)));
        return;
      }
    }
  }

  /** Leads a cluster until the lease is lost or given up, the leader fails, or the allocator stops. */
  private async lead(name: string, cluster: Cluster, leader: ClusterLeader, lease: Lease): Promise<void> {
    const givenUp = new AbortController();
    const over = AbortSignal.any([this.stopping.signal, lease.lost, leader.failed, givenUp.signal]);
    const done = new AbortController();
    let follower: InputFollower | undefined;
    const close = (): void => void follower?.close().catch(() => undefined);
    over.addEventListener('abort', close);
    void this.boundDrain(leader, done.signal);
    const dispatch = this.options.dispatch ?? ((batch: InputBatch) => batch.process());
    try {
      follower = await this.options.broker.input.follow(name, leader.resumeAfter);
      leader.startClocks();
      cluster.leader = leader;
      cluster.giveUp = () => givenUp.abort();
      this.setStatus(cluster, () => {
        const { trouble, ...status } = leader.status;
        const why = trouble ?? follower?.trouble;
        return { role: 'leader', ...status, ...(why !== undefined && { trouble: why }) };
      });
      if (over.aborted) close();
      for (;;) {
        const messages = await follower.take();
        if (messages === undefined) break;
        await dispatch({ cluster: name, messages, process: () => leader.process(messages) });
        leader.failed.throwIfAborted();
      }
      leader.failed.throwIfAborted();
    } catch (error) {
      leader.fail(error);
      throw error;
    } finally {
      over.removeEventListener('abort', close);
      cluster.leader = undefined;
      cluster.giveUp = undefined;
      await follower?.close().catch(() => undefined);
      // Without the lease what is left is the next leader's: waiting here would only keep this one from being
      // it.
      await leader.stop({ finish: !lease.lost.aborted });
      done.abort();
    }
  }

  /** How many clusters are ours. */
  private get held(): number {
    return [...this.clusters.values()].filter(({ held }) => held).length;
  }

  /** The clusters that this instance leads, or could lead at once. */
  private ready(): readonly string[] {
    return [...this.clusters].flatMap(([name, { status }]) => {
      const { role } = status();
      return role === 'leader' || role === 'standby' ? [name] : [];
    });
  }

  /**
   * Gives a cluster up to an instance that leads less, whenever the spread asks it of this one. If the other
   * does not take it, so that it comes back, the next try waits longer.
   */
  private async keepSpread(): Promise<void> {
    const { broker, clock, instance, logger } = this.options;
    const { signal } = this.stopping;
    let pause = SPREAD_EVERY;
    let given: string | undefined;
    while (!signal.aborted) {
      await clock.sleep(pause, signal);
      const cameBack = given !== undefined && this.clusters.get(given)?.held === true;
      pause = cameBack ? Math.min(pause * 2, LONGEST_SPREAD_PAUSE) : SPREAD_EVERY;
      given = undefined;
      const move = nextMove(broker.leases.fleet());
      const giveUp = move?.from === instance ? this.clusters.get(move.cluster)?.giveUp : undefined;
      if (move === undefined || giveUp === undefined) continue;
      logger.info(`giving cluster '${move.cluster}' up to ${move.to}, which leads fewer`);
      given = move.cluster;
      giveUp();
    }
  }

  /** The result, unless the allocator stops before it is there. */
  private async unlessStopped<T>(result: Promise<T>): Promise<T> {
    const { signal } = this.stopping;
    let stop = (): void => undefined;
    const stopped = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener('abort', stop);
      if (signal.aborted) stop();
    });
    // The loser of the race is heard by nobody.
    result.catch(() => undefined);
    try {
      return await Promise.race([result, stopped]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /**
   * Ends a leader that cannot finish what it has begun, because the log or NATS is away: when the process is
   * to end it must not wait for that. Nothing is lost: what is not in the log is in `VF_IN`, and is decided
   * again.
   */
  private async boundDrain(leader: ClusterLeader, done: AbortSignal): Promise<void> {
    const { clock, logger } = this.options;
    const stopping = this.stopping.signal;
    const over = AbortSignal.any([done, leader.failed]);
    if (!stopping.aborted)
      await new Promise((go) => AbortSignal.any([over, stopping]).addEventListener('abort', go));
    await clock.sleep(DRAIN_PATIENCE, over);
    if (over.aborted) return;
    const seconds = DRAIN_PATIENCE / 1000;
    logger.warn(
      `cluster '${leader.cluster}' could not finish in ${seconds} s; the next start goes on with it`,
    );
    leader.fail(new Error(`cluster '${leader.cluster}' was stopped before it could finish`));
  }

  private setStatus(cluster: Cluster, status: () => ClusterStatus): void {
    cluster.status = status;
    for (const look of [...this.changed]) look();
  }

  /** Waits until no cluster is just being opened. */
  private async untilSettled(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (this.stopping.signal.aborted) {
          this.changed.delete(look);
          reject(new Error('the allocator was stopped while it started'));
          return;
        }
        const statuses = [...this.status.values()];
        const failed = statuses.filter((status) => status.role === 'failed');
        if (statuses.some(({ role }) => role === 'opening')) return;
        if (failed.length === statuses.length && !failed.every(({ final }) => final)) return;
        this.changed.delete(look);
        // Where nothing can be served a sentence is better than a process that only looks alive.
        if (failed.length < statuses.length || failed[0] === undefined) resolve();
        else reject(new Error(failed[0].message));
      };
      this.changed.add(look);
      look();
    });
  }
}
