import { setTimeout as sleep } from 'node:timers/promises';
import { Deadline, LogError, SaidTrouble, type EventLog } from '#log';
import { ReadError } from './errors.js';
import type { Answered, At, Question } from './protocol.js';
import { Progress, type ReadLogger, type ReadStatus } from './progress.js';
import { Pump, recordAt, toBatch } from './records.js';
import { StateDesk, type RestoredState } from './state-desk.js';
import { Thread } from './thread.js';

export interface ReadModelOptions {
  /** Where its file is. */
  readonly directory: string;
  /** The log, best by a handle of its own, so that what is read here does not stand in the way of appends. */
  readonly log: EventLog;
  readonly logger: ReadLogger;
  /** As the leader's: part of the state. */
  readonly rememberedInputs: number;
}

interface Followed {
  status: ReadStatus;
  readonly waiters: Set<() => void>;
  readonly done: Promise<void>;
}

const FIRST_WAIT = 200;
/** Less than the time in which all goes on when what was away is back. */
const LONGEST_WAIT = 1000;

/**
 * The read side: follows the log of each cluster into temporal tables, and answers about now, then and what
 * if. The file is its own, and everything in it comes from the log: delete it, and it is made again.
 */
export class ReadModel {
  private readonly clusters = new Map<string, Followed>();
  private readonly stopping = new AbortController();
  private readonly desk: StateDesk;
  private thread: Promise<Thread> | undefined;
  private path = '';

  private constructor(private readonly options: ReadModelOptions) {
    const { log, rememberedInputs } = options;
    this.desk = new StateDesk({ log, rememberedInputs, path: () => this.path });
  }

  /** @throws Error when its file can be neither opened nor made. */
  static async open(options: ReadModelOptions): Promise<ReadModel> {
    const model = new ReadModel(options);
    try {
      await model.projector();
      return model;
    } catch (error) {
      await model.close();
      throw error;
    }
  }

  /** Its file. */
  get file(): string {
    return this.path;
  }

  get log(): EventLog {
    return this.options.log;
  }

  get status(): ReadonlyMap<string, ReadStatus> {
    return new Map([...this.clusters].map(([cluster, { status }]) => [cluster, status]));
  }

  /** Begins to follow a cluster, unless it does already. */
  follow(cluster: string): void {
    if (this.clusters.has(cluster) || this.stopping.signal.aborted) return;
    const followed: Followed = {
      status: { state: 'opening', position: 0 },
      waiters: new Set(),
      done: Promise.resolve().then(() => this.keepFollowing(cluster, followed)),
    };
    this.clusters.set(cluster, followed);
  }

  isFollowing(cluster: string): boolean {
    return this.clusters.has(cluster);
  }

  /**
   * Waits until everything up to a position has been taken in.
   *
   * @throws ReadError `NOT_CAUGHT_UP` after `patience` milliseconds, with the progress; `STOPPED`.
   */
  async until(cluster: string, position: number, patience: number): Promise<void> {
    const followed = this.clusters.get(cluster);
    if (followed === undefined)
      throw new ReadError('NOT_FOUND', `the read side knows no cluster '${cluster}'`);
    const isThere = (): boolean =>
      followed.status.state !== 'opening' && followed.status.position >= position;
    if (isThere()) return;
    const limit = new Deadline(patience, this.stopping.signal);
    const over = limit.signal;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!isThere() && followed.status.state !== 'stopped' && !over.aborted) return;
        followed.waiters.delete(look);
        over.removeEventListener('abort', look);
        resolve();
      };
      followed.waiters.add(look);
      over.addEventListener('abort', look);
      look();
    });
    limit.end();
    if (isThere()) return;
    const { state, message, position: at, goal, eventsPerSecond } = followed.status;
    if (state === 'stopped') throw new ReadError('STOPPED', message ?? 'the read side stands still');
    const progress =
      state === 'building' && goal !== undefined
        ? `: it is being built and is at ${at} of ${goal}, with ${eventsPerSecond ?? 0} events/s`
        : message === undefined
          ? ''
          : `: ${message}`;
    throw new ReadError(
      'NOT_CAUGHT_UP',
      `position ${position} of cluster '${cluster}' is not in the read side after ${patience / 1000} s${progress}`,
    );
  }

  /** Asks the temporal tables. */
  async ask(question: Question): Promise<Answered> {
    const thread = await this.projector();
    return thread.call('ask', question);
  }

  /** The position that a moment means. */
  async positionOf(cluster: string, at: At): Promise<number> {
    return (await this.ask({ cluster, name: 'moment', request: {}, at })).position;
  }

  /** Works with the whole state at a position: a copy, which may be changed. */
  async withState<T>(
    cluster: string,
    position: number,
    work: (state: RestoredState) => Promise<T>,
  ): Promise<T> {
    return this.desk.with(cluster, position, work);
  }

  /** Replays a cluster from its first event, stopping at positions. */
  async replay(
    cluster: string,
    stops: readonly number[],
    look: (position: number, state: RestoredState) => Promise<void>,
  ): Promise<void> {
    return this.desk.replay(cluster, stops, look);
  }

  /** The state that the projection works on, as text. */
  async dump(cluster: string): Promise<{ position: number; state: string } | undefined> {
    return (await this.projector()).call('dump', { cluster });
  }

  /** Writes what is pending and lets go. */
  async close(): Promise<void> {
    this.stopping.abort();
    await Promise.all([...this.clusters.values()].map(({ done }) => done));
    await this.desk.close();
    const thread = await this.thread?.catch(() => undefined);
    await thread?.close();
  }

  /** The projecting thread; one that was lost is replaced. */
  private async projector(): Promise<Thread> {
    const now = await this.thread;
    if (now !== undefined && !now.ended) return now;
    if (this.stopping.signal.aborted) throw new ReadError('UNAVAILABLE', 'the read side is closed');
    const opening = this.openThread();
    this.thread = opening;
    opening.catch(() => {
      if (this.thread === opening) this.thread = undefined;
    });
    return opening;
  }

  private async openThread(): Promise<Thread> {
    const { directory, rememberedInputs, logger } = this.options;
    const thread = new Thread('projector-worker.js');
    try {
      const { path, madeAgain } = await thread.call('open', { directory, rememberedInputs });
      this.path = path;
      if (madeAgain !== undefined) logger.warn(`the read side's file ${path} is made again: ${madeAgain}`);
      return thread;
    } catch (error) {
      await thread.close();
      throw error;
    }
  }

  private async keepFollowing(cluster: string, followed: Followed): Promise<void> {
    const { signal } = this.stopping;
    const { logger } = this.options;
    const said = new SaidTrouble();
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      const begun = followed.status.position;
      try {
        await this.followOnce(cluster, followed);
      } catch (error) {
        if (signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        if (error instanceof ReadError && (error.code === 'STOPPED' || error.code === 'TWO_HOLDERS')) {
          logger.error(message, { error });
          const code = error.code === 'TWO_HOLDERS' ? { code: error.code } : undefined;
          this.set(followed, { state: 'stopped', position: followed.status.position, message, ...code });
          return;
        }
        if (said.isNews(message, performance.now())) {
          logger.warn(`the read side of cluster '${cluster}' cannot go on, and tries again: ${message}`, {
            error,
          });
        }
        if (followed.status.position > begun) wait = FIRST_WAIT;
        this.set(followed, { state: 'waiting', position: followed.status.position, message });
        await sleep(wait, undefined, { signal }).catch(() => undefined);
        wait = Math.min(wait * 2, LONGEST_WAIT);
      }
    }
  }

  private async followOnce(cluster: string, followed: Followed): Promise<void> {
    const { log, logger } = this.options;
    const { signal } = this.stopping;
    const thread = await this.projector();
    const standing = await thread.call('standing', { cluster });
    const again = standing === undefined ? undefined : await this.differs(cluster, standing);
    if (again !== undefined) {
      logger.warn(`the read side of cluster '${cluster}' is made again from the log: ${again}`);
    }
    if (again !== undefined) await this.desk.forget();
    const base = await thread.call('begin', { cluster, again: again !== undefined });
    const position = again === undefined ? (standing?.position ?? 0) : 0;
    const goal = await this.goal(cluster, base);
    const progress = new Progress(cluster, base, goal, logger);
    this.set(followed, progress.status(position));
    const pump = new Pump(async (records) => {
      const taken = await thread.call('take', { cluster, ...toBatch(records) });
      this.set(followed, progress.status(Math.max(taken, position)));
    });
    for await (const records of log.follow(cluster, base, signal, { inputs: false })) {
      await pump.take(records);
      // At the end of what there is, the answers are waited for, so that a failure is heard.
      if (followed.status.state === 'following' || (records.at(-1)?.position ?? 0) >= goal)
        await pump.finish();
    }
    await pump.finish();
  }

  /** Where the log ends; what is good of a damaged one is taken in up to the damage. */
  private async goal(cluster: string, base: number): Promise<number> {
    try {
      return (await this.options.log.head(cluster)).position;
    } catch (error) {
      if (error instanceof LogError && error.code === 'CORRUPT') return base;
      throw error;
    }
  }

  /** Why what was taken in is not of this log; undefined when it is. */
  private async differs(
    cluster: string,
    { position, hash }: { readonly position: number; readonly hash: string },
  ): Promise<string | undefined> {
    if (position === 0) return undefined;
    const stored = await recordAt(this.options.log, cluster, position, { inputs: false });
    if (stored === undefined) return `the log ends before position ${position}, up to which it was taken in`;
    return stored.hash === hash ? undefined : `the log tells another history at position ${position}`;
  }

  private set(followed: Followed, status: ReadStatus): void {
    followed.status = status;
    for (const look of followed.waiters) look();
  }
}
