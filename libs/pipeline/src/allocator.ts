import { BrokerError, type Broker, type InputMessage, type Lease } from '#broker';
import type { State } from '#domain';
import { LogError, type EventLog } from '#log';
import { clusterOfSubject, isReadable, NO_CLUSTER, readInput } from '#wire';
import type { Clock } from './clock.js';
import { ClusterLeader, type LeaderStatus } from './cluster-leader.js';
import { PipelineError } from './errors.js';
import type { Logger } from './logger.js';
import { persist } from './retry.js';

/** The cluster of a site that has only one. It is there from the start. */
export const DEFAULT_CLUSTER = 'default';

const FIRST_WAIT = 100;
const LONGEST_WAIT = 5000;
/** How long a leader may take to finish when the allocator stops, in milliseconds. */
const DRAIN_PATIENCE = 5000;
/** A lease that is free is got sooner than this, in milliseconds. */
const STANDBY_AFTER = 1000;
/** A standby looks this often whether there still is somebody to follow, in milliseconds. */
const LOOK_AGAIN = 5000;

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
  /** The way of a batch to its decision; by default straight there. */
  readonly dispatch?: (batch: InputBatch) => Promise<void>;
}

/** How a cluster stands with this instance. */
export type ClusterStatus =
  | { readonly role: 'standby' | 'opening' }
  | ({ readonly role: 'leader' } & LeaderStatus)
  /** It could not be led; it is tried again, unless `final`: then a person must look. */
  | { readonly role: 'failed'; readonly message: string; readonly final: boolean };

interface Cluster {
  status: () => ClusterStatus;
  leader: ClusterLeader | undefined;
  readonly done: Promise<void>;
}

/** Errors that only a person can mend; anything else is tried again. */
const isFinal = (error: unknown): boolean =>
  (error instanceof PipelineError && error.code !== 'DEPOSED') ||
  (error instanceof LogError && (error.code === 'CORRUPT' || error.code === 'NOT_ALLOWED')) ||
  (error instanceof BrokerError && error.code === 'REFUSED');

/**
 * The allocator: leads the clusters of which it gets the lease, notices new ones, and dead-letters what
 * belongs to none.
 */
export class Allocator {
  private readonly clusters = new Map<string, Cluster>();
  private readonly stopping = new AbortController();
  private watcher: { close(): Promise<void> } | undefined;
  private orphans: Promise<void> = Promise.resolve();
  private readonly changed = new Set<() => void>();

  constructor(private readonly options: AllocatorOptions) {}

  /**
   * Starts to lead. Resolves once every cluster that is known is led, or led by somebody else.
   *
   * @throws what keeps a cluster from being led and needs a person: a log that does not fit, damage,
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
    await broker.prepare();
    // The streams of a site with one cluster are there before its first event, for those who want to follow
    // them.
    if (this.mayLead(DEFAULT_CLUSTER) && (await log.head(DEFAULT_CLUSTER)).position === 0) {
      await broker.output.create(DEFAULT_CLUSTER, 1);
    }
    const known = new Set([DEFAULT_CLUSTER, ...(await log.streams())]);
    for (const cluster of known) this.add(cluster);
    this.watcher = await broker.input.watch(({ sequence, subject }) => this.notice(sequence, subject));
    await this.untilSettled();
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

  /** Stops reading, finishes the batch, relays, gives the leases up. */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const look of [...this.changed]) look();
    await this.watcher?.close();
    await Promise.all([...this.clusters.values()].map(({ done }) => done));
    await this.orphans;
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
    if (this.clusters.has(cluster) || !this.mayLead(cluster)) return;
    if (this.clusters.size >= this.options.maxClusters) {
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
      .then(() =>
        persist(
          'dead-lettering what belongs to no cluster',
          async () => {
            const message = await broker.input.get(sequence);
            if (message === undefined) return;
            const { created: stream } = await broker.input.info();
            const { subject, headers, payload } = message;
            const read = readInput(message);
            const eventId = isReadable(read) ? read.input.id : read.eventId;
            const letter = { stream, sequence, subject, reason, eventId, headers, payload };
            try {
              await broker.dead.publish(cluster, [letter]);
            } catch (error) {
              // The stream itself may have been deleted.
              if (broker.connected) await broker.prepare().catch(() => undefined);
              throw error;
            }
            await broker.input.remove(sequence);
          },
          { ...this.options, signal },
        ),
      )
      .catch((error: unknown) => {
        if (!signal.aborted)
          logger.error(`message ${sequence} of VF_IN could not be dead-lettered`, { error });
      });
  }

  /** Leads a cluster whenever it can, until the allocator stops. */
  private async keepLeading(name: string, cluster: Cluster): Promise<void> {
    const { broker, logger, clock, instance } = this.options;
    const { signal } = this.stopping;
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      let lease: Lease | undefined;
      try {
        this.setStatus(cluster, () => ({ role: 'opening' }));
        const standingBy = this.standByUnlessSoon(name, cluster);
        try {
          lease = await broker.leases.acquire(name, instance, signal);
        } finally {
          standingBy.abort();
        }
        if (lease === undefined) return;
        this.setStatus(cluster, () => ({ role: 'opening' }));
        // Streams that are gone are made again before anything is verified against them.
        await broker.prepare();
        await this.lead(name, cluster, lease);
        wait = FIRST_WAIT;
      } catch (error) {
        if (signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        const final = isFinal(error);
        logger[final ? 'error' : 'warn'](`cluster '${name}' is not led: ${message}`, { error });
        await lease?.release().catch(() => undefined);
        this.setStatus(cluster, () => ({ role: 'failed', message, final }));
        if (final) return;
        await clock.sleep(wait, signal);
        wait = Math.min(wait * 2, LONGEST_WAIT);
      } finally {
        cluster.leader = undefined;
        await lease?.release().catch(() => undefined);
      }
    }
  }

  /** Calls the instance a standby while it waits for the lease and somebody else is known to have it. */
  private standByUnlessSoon(name: string, cluster: Cluster): AbortController {
    const { broker, clock } = this.options;
    const got = new AbortController();
    const watch = async (): Promise<void> => {
      await clock.sleep(STANDBY_AFTER, got.signal);
      while (!got.signal.aborted) {
        // Who cannot be asked may be gone: then this instance could not take over either.
        const holder = await broker.leases.holder(name).catch(() => undefined);
        if (got.signal.aborted) return;
        const role = holder === undefined ? 'opening' : 'standby';
        if (cluster.status().role !== role) this.setStatus(cluster, () => ({ role }));
        await clock.sleep(holder === undefined ? STANDBY_AFTER : LOOK_AGAIN, got.signal);
      }
    };
    void watch();
    return got;
  }

  /** Leads a cluster until the lease is lost, the leader fails, or the allocator stops. */
  private async lead(name: string, cluster: Cluster, lease: Lease): Promise<void> {
    const leader = await ClusterLeader.open(name, this.options);
    const follower = await this.options.broker.input.follow(name, leader.resumeAfter);
    const over = AbortSignal.any([this.stopping.signal, lease.lost, leader.failed]);
    const done = new AbortController();
    const close = (): void => {
      void follower.close().catch(() => undefined);
      if (!this.stopping.signal.aborted) this.setStatus(cluster, () => ({ role: 'opening' }));
    };
    over.addEventListener('abort', close);
    void this.boundDrain(leader, done.signal);
    leader.startTicking();
    cluster.leader = leader;
    this.setStatus(cluster, () => ({ role: 'leader', ...leader.status }));
    if (over.aborted) close();
    const dispatch = this.options.dispatch ?? ((batch: InputBatch) => batch.process());
    try {
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
      await follower.close().catch(() => undefined);
      // Without the lease what is left is the next leader's: waiting here would only keep this one from being
      // it.
      await leader.stop({ finish: !lease.lost.aborted });
      done.abort();
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
        const failed = statuses.find((status) => status.role === 'failed' && status.final);
        if (failed === undefined && statuses.some(({ role }) => role === 'opening' || role === 'failed'))
          return;
        this.changed.delete(look);
        if (failed?.role === 'failed') reject(new Error(failed.message));
        else resolve();
      };
      this.changed.add(look);
      look();
    });
  }
}
