import { evolve, type State } from '#domain';
import type { EventLog, Head, StoredRecord } from '#log';
import type { Clock } from './clock.js';
import { HistoryWatch } from './history.js';
import { loadState, type Loaded } from './load.js';
import type { Logger } from './logger.js';
import { identityOf } from './positions.js';
import { passes } from './retry.js';
import { placedEvent } from './seal.js';

const FIRST_WAIT = 100;
const LONGEST_WAIT = 1000;

export interface StandbyOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Inputs that are known again (EX-6). */
  readonly rememberedInputs: number;
}

/** Numbers for health and metrics. */
export interface StandbyStatus {
  /** It has followed the log to here. */
  readonly position: number;
  /** Events in the log that it has not taken in yet, when it last looked. */
  readonly lag: number;
  /** What it keeps in memory. */
  readonly hosts: number;
  readonly vms: number;
  /** Why it cannot follow just now. */
  readonly trouble?: string;
}

/**
 * A cluster that somebody else leads, followed: each event is taken into a state of one's own as it is
 * appended, so that taking over needs no replay. It writes nothing.
 */
export class Standby {
  private readonly state: State;
  private head: Head;
  private readonly loaded: { readonly position: number; readonly snapshot: number };
  private readonly closing = new AbortController();
  private readonly over: AbortSignal;
  private readonly failing = new AbortController();
  private trouble: string | undefined;
  private readonly history: HistoryWatch;
  private lag = 0;

  private constructor(
    readonly cluster: string,
    private readonly options: StandbyOptions,
    { state, head, snapshot }: Loaded,
    /** The identity of the log: the hash of its first record; undefined while it is empty. */
    public identity: string | undefined,
    signal: AbortSignal,
  ) {
    this.state = state;
    this.head = head;
    this.loaded = { position: head.position, snapshot };
    this.over = AbortSignal.any([this.closing.signal, signal]);
    void this.follow();
    this.history = new HistoryWatch(cluster, options);
    void this.history.watch(this.over);
  }

  /**
   * Loads the state, or goes on with one that this instance has, and follows until `signal` aborts.
   *
   * @throws LogError `CORRUPT` when the chain does not hold; what else keeps the log from being read.
   */
  static async open(
    cluster: string,
    options: StandbyOptions,
    signal: AbortSignal,
    known?: Loaded,
  ): Promise<Standby> {
    const loaded = known ?? (await loadState(options.log, cluster, options));
    const identity = loaded.head.position === 0 ? undefined : await identityOf(options.log, cluster);
    return new Standby(cluster, options, loaded, identity, signal);
  }

  /** Aborts when it cannot go on: the log is damaged, or holds what this version does not know. */
  get failed(): AbortSignal {
    return this.failing.signal;
  }

  get status(): StandbyStatus {
    const trouble = this.trouble ?? this.options.log.trouble ?? this.history.trouble;
    return {
      position: this.head.position,
      lag: this.lag,
      hosts: this.state.hosts.size,
      vms: this.state.vms.size,
      ...(trouble === undefined ? undefined : { trouble }),
    };
  }

  /** Looks how far it is behind the log. */
  async look(): Promise<void> {
    const { position } = await this.options.log.head(this.cluster);
    this.lag = Math.max(0, position - this.head.position);
  }

  /**
   * Stops to follow, and gives the state as it is at the log's end.
   *
   * @throws LogError when the rest cannot be read.
   */
  async takeOver(): Promise<Loaded> {
    this.close();
    this.failing.signal.throwIfAborted();
    const { cluster, options, head } = this;
    // From here on it is this reading alone that moves the state.
    for await (const records of options.log.read(cluster, head.position + 1, {
      inputs: false,
      verify: head,
    })) {
      this.take(records);
    }
    // Whoever led while we followed has taken the snapshots.
    const followed = this.head.position > this.loaded.position;
    return {
      state: this.state,
      head: this.head,
      snapshot: followed ? this.head.position : this.loaded.snapshot,
    };
  }

  /** Stops to follow. */
  close(): void {
    this.closing.abort();
  }

  private async follow(): Promise<void> {
    const { log, clock, logger } = this.options;
    const signal = this.over;
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      const options = { inputs: false, verify: this.head };
      try {
        for await (const records of log.follow(this.cluster, this.head.position, signal, options)) {
          // Not one record more: somebody else moves the state now.
          if (signal.aborted) return;
          this.take(records);
          this.trouble = undefined;
          wait = FIRST_WAIT;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!passes(error)) {
          this.failing.abort(error);
          return;
        }
        const trouble = `following the log of '${this.cluster}': ${error.message}`;
        if (this.trouble !== trouble) logger.warn(`${trouble}; trying on`);
        this.trouble = trouble;
      }
      await clock.sleep(wait, signal);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }

  private take(records: readonly StoredRecord[]): void {
    for (const record of records) {
      if (record.position === 1) this.identity = record.hash;
      evolve(this.state, placedEvent(record));
      this.head = { position: record.position, hash: record.hash };
    }
  }
}
