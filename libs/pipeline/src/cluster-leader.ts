import { BrokerError, type Broker, type DeadLetter, type InputMessage, type OutputMessage } from '#broker';
import {
  dumpState,
  forgetObserved,
  hasDeadlines,
  lastReportOf,
  recall,
  STATE_VERSION,
  step,
  type HardwareLimit,
  type Input,
  type LastReport,
  type PlacedEvent,
  type State,
} from '#domain';
import {
  isTransient,
  LogError,
  type EventLog,
  type Head,
  type Snapshot,
  type SnapshotMark,
  type StoredDecision,
} from '#log';
import { inputSubject, isReadable, readInput } from '#wire';
import type { Clock } from './clock.js';
import { deadLetter } from './dead-lettering.js';
import { PipelineError, sentenceOf } from './errors.js';
import { HistoryWatch } from './history.js';
import { LastingFailure } from './lasting-failure.js';
import { loadState, type Loaded } from './load.js';
import type { Logger } from './logger.js';
import { identityOf, resumeAfter, verifyOutput } from './positions.js';
import { Relay } from './relay.js';
import { persist, type Persistence } from './retry.js';
import { sealDecision } from './seal.js';
import { markOf } from './snapshot-mark.js';

/**
 * One append carries at most this many bytes of records: KurrentDB takes 1 MiB, events and framing together.
 */
const MAX_APPEND_BYTES = 768 * 1024;
/** Events that may wait for the relay before no more is decided. */
const MOST_UNRELAYED = 20_000;
const TICK_EVERY = 1000;
/**
 * How long a leader that stops waits for its relay, in milliseconds; what is not out then is the next
 * leader's.
 */
const RELAY_PATIENCE = 1000;
/** A leader that has nothing on its way looks this often whether somebody else wrote, in milliseconds. */
const LOOK_AT_LOG = 2000;
/**
 * A snapshot is taken after this many events or this many milliseconds, whichever is first, and never more
 * often than the last.
 */
const SNAPSHOT_EVENTS = 100_000;
const SNAPSHOT_AFTER = 300_000;
const SNAPSHOT_PAUSE = 10_000;
/**
 * A leader's first one is taken after this many, and no pause: whoever begins often, and takes in much each time, shall not
 * take in the same ever again.
 */
const FIRST_SNAPSHOT_EVENTS = 1000;
/** What changes nothing (ticks, signs of life) is purged from `VF_IN` this often, in milliseconds. */
const PURGE_EVERY = 60_000;

export interface LeaderOptions {
  readonly broker: Broker;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Inputs that are known again (EX-6). */
  readonly rememberedInputs: number;
  /** How long `VF_OUT` keeps events, in milliseconds. */
  readonly outMaxAge: number;
  /** What the policy of the cluster shall have (PF-12); undefined: whatever it has. */
  readonly hardwareLimits?: readonly HardwareLimit[];
}

/** What is decided and not yet on its way to the log. */
interface Segment {
  readonly decisions: readonly StoredDecision[];
  readonly messages: readonly OutputMessage[];
  /** What could not be taken, in order; to be dead-lettered before the decisions are appended. */
  readonly dead: readonly DeadLetter[];
  /** When the first of its inputs was stored. */
  readonly since: number;
  /** Whether `dead` was judged by the state, so that all before it must be durable first. */
  readonly judged: boolean;
  /** Position before the first decision. */
  readonly from: number;
  /** Sequence of the last input in it. */
  readonly sequence: number;
  /** How many of the inputs it was given are in it. */
  readonly taken: number;
  /** The snapshot that its first record names. */
  readonly snapshot: Snapshot | undefined;
}

/** A snapshot that is not saved yet: first a record of the log must name it. */
interface TakenSnapshot {
  readonly snapshot: Snapshot;
  readonly mark: SnapshotMark;
}

/** Numbers for health and metrics. */
export interface LeaderStatus {
  readonly position: number;
  readonly durable: number;
  readonly unrelayed: number;
  readonly inputSequence: number;
  /** What keeps it from going on just now: a log that is full, a broker that is away. */
  readonly trouble?: string;
}

/**
 * One cluster, led: read → check → decide → append → relay.
 *
 * While one append is in flight, and never two, the next batch is decided; nothing that was decided leaves
 * before its append is durable. Whatever goes wrong for good ends the leader: what it had decided is dropped,
 * and the next one loads from the log.
 */
export class ClusterLeader {
  /** Follow `VF_IN` behind this sequence. */
  readonly resumeAfter: number;
  private readonly stopping = new AbortController();
  private readonly failing = new AbortController();
  private inFlight: Promise<void> = Promise.resolve();
  private durable: number;
  private readonly durableWaiters: { readonly position: number; readonly resolve: () => void }[] = [];
  private inputSequence: number;
  private readonly inputStream: string;
  /** Where the last snapshot was taken, or was found. */
  private snapshotAt: { position: number; time: number };
  /** Whether none was taken by this leader yet. */
  private tookNone = true;
  /** Waits for the next record, which names it. */
  private taken: TakenSnapshot | undefined;
  /** The position of the last one that can be used. */
  private kept: number;
  private purgedAt: number;
  private upkeep: Promise<void> = Promise.resolve();
  private ticking: Promise<void> | undefined;
  /** Appends begun so far. */
  private appends = 0;
  private trouble: string | undefined;
  private readonly history: HistoryWatch;
  /** The log cannot be looked at. */
  private readonly unseen: LastingFailure;
  /** What the leader itself has to say is not taken by `VF_IN`. */
  private readonly silent: LastingFailure;
  /** What the leader itself has said does not come back. */
  private readonly unheard: LastingFailure;
  /** Sequence in `VF_IN` of what it said last. */
  private said = 0;

  private constructor(
    readonly cluster: string,
    private readonly options: LeaderOptions,
    private readonly state: State,
    private head: Head,
    private readonly relay: Relay,
    /** What is durable of the log, as this leader has read or written it. */
    private readonly known: { identity: string | undefined; head: Head },
    start: { readonly after: number; readonly stream: string; readonly snapshot: number },
  ) {
    this.history = new HistoryWatch(cluster, options);
    this.unseen = new LastingFailure(options.clock);
    this.silent = new LastingFailure(options.clock);
    this.unheard = new LastingFailure(options.clock);
    this.durable = head.position;
    this.resumeAfter = start.after;
    this.inputSequence = start.after;
    this.inputStream = start.stream;
    const now = options.clock.now();
    this.snapshotAt = { position: start.snapshot, time: now };
    this.kept = start.snapshot;
    this.purgedAt = now;
  }

  /**
   * Loads a cluster and verifies its positions.
   *
   * @param load gives the state at the log's end as it is when this is called; by default by a replay.
   * @param signal ends the opening: then nothing has begun.
   * @throws LogError, BrokerError, PipelineError: why it cannot be led; the signal's reason.
   */
  static async open(
    cluster: string,
    options: LeaderOptions,
    load: () => Promise<Loaded> = () => loadState(options.log, cluster, options),
    signal?: AbortSignal,
  ): Promise<ClusterLeader> {
    const { broker, log, logger, clock } = options;
    const begun = clock.now();
    // In this order the log holds all that is out, even while somebody else still appends and relays.
    const output = await broker.output.state(cluster);
    const { state, head, snapshot } = await load();
    const identity = head.position === 0 ? undefined : await identityOf(log, cluster);
    const verified = await verifyOutput(output, options, cluster, head, identity);
    const relayed = verified?.relayed;
    // One that is there is brought to the limits that the settings give now.
    if (verified !== undefined) await broker.output.create(cluster, (relayed ?? head.position) + 1, identity);
    const { created } = await broker.input.info();
    const after = await resumeAfter(broker, state, logger);
    signal?.throwIfAborted();
    const durable = { identity, head };
    const relay = new Relay(
      { ...options, cluster, identity: () => durable.identity, head: () => durable.head },
      relayed,
      head.position,
    );
    const leader = new ClusterLeader(cluster, options, state, head, relay, durable, {
      after,
      stream: created,
      snapshot,
    });
    relay.start();
    logger.info(`leading cluster '${cluster}' from position ${head.position}`, {
      snapshot,
      relayed,
      after,
      milliseconds: clock.now() - begun,
    });
    return leader;
  }

  /** The identity of the log: the hash of its first record; undefined while it is empty. */
  get identity(): string | undefined {
    return this.known.identity;
  }

  /** Aborts when the leader has failed; `reason` says why. */
  get failed(): AbortSignal {
    return this.failing.signal;
  }

  get status(): LeaderStatus {
    const trouble =
      this.trouble ??
      this.options.log.trouble ??
      this.history.trouble ??
      this.unseen.trouble ??
      this.relay.trouble ??
      this.silent.trouble ??
      this.unheard.trouble;
    return {
      position: this.state.position,
      durable: this.durable,
      unrelayed: this.relay.backlog,
      inputSequence: this.inputSequence,
      ...(trouble === undefined ? undefined : { trouble }),
    };
  }

  /**
   * Decides a batch and starts its append; resolves as soon as the next batch may come.
   *
   * @param messages inputs of this cluster in order of sequence; those that were taken before are passed
   *   over.
   */
  async process(messages: readonly InputMessage[]): Promise<void> {
    await this.relay.below(MOST_UNRELAYED, this.failing.signal);
    let rest = messages;
    while (rest.length > 0) {
      this.failing.signal.throwIfAborted();
      const segment = this.decide(rest);
      await this.commit(segment);
      rest = rest.slice(segment.taken);
    }
  }

  /**
   * Reads the state as it is after all that was decided until now, once that is durable.
   *
   * @throws the leader's failure, if it fails meanwhile.
   */
  async read<T>(reader: (state: State) => T): Promise<T> {
    const result = reader(this.state);
    await this.untilDurable(this.state.position);
    return result;
  }

  /** How far the reports of a host have come (HOST-9); undefined for one that is not known. */
  lastReport(hostId: string): LastReport | undefined {
    const host = this.state.hosts.get(hostId);
    return host === undefined ? undefined : lastReportOf(this.state, host);
  }

  /**
   * Begins to keep time (while something can fall due, a `Tick` goes into `VF_IN` every second) and to look
   * whether a predecessor's append comes late.
   */
  startClocks(): void {
    this.ticking ??= this.tick();
    void this.watchLog();
    void this.history.watch(AbortSignal.any([this.stopping.signal, this.failing.signal]));
  }

  /**
   * Finishes what is on its way to the log and lets go. No batch may come any more.
   *
   * @param options.finish also relay what is durable.
   */
  async stop({ finish = true }: { readonly finish?: boolean } = {}): Promise<void> {
    this.stopping.abort();
    await this.ticking;
    await this.inFlight;
    await this.upkeep;
    if (finish && !this.failing.signal.aborted) {
      const patience = new AbortController();
      void this.options.clock.sleep(RELAY_PATIENCE, patience.signal).then(() => patience.abort());
      await this.relay.below(0, AbortSignal.any([this.failing.signal, patience.signal]));
      patience.abort();
    }
    await this.relay.stop();
  }

  /**
   * After `stop`: the state, to go on with as a standby. What was only observed is forgotten: it would be
   * old news when this instance leads again.
   *
   * @returns undefined when the log does not have all that is in it.
   */
  handBack(): Loaded | undefined {
    if (this.failing.signal.aborted || this.durable !== this.state.position) return undefined;
    forgetObserved(this.state);
    return { state: this.state, head: this.head, snapshot: this.kept };
  }

  /**
   * Decides inputs until all are decided, the append is large enough, or one needs what is before it to be
   * durable.
   */
  private decide(messages: readonly InputMessage[]): Segment {
    const decisions: StoredDecision[] = [];
    const outputs: OutputMessage[] = [];
    const dead: DeadLetter[] = [];
    const from = this.state.position;
    let bytes = 0;
    let taken = 0;
    let judged = false;
    let snapshot: Snapshot | undefined;
    for (const message of messages) {
      if (bytes >= MAX_APPEND_BYTES) break;
      if (message.sequence <= this.inputSequence) {
        taken++;
        continue;
      }
      const read = this.check(message);
      if (!isReadable(read)) {
        dead.push(this.deadLetter(message, read.problem, read.eventId));
      } else {
        const known = recall(this.state, read.input);
        if (known === 'conflict') {
          // Judged by decisions that may not be durable yet: it goes alone, behind them.
          if (taken > 0) break;
          judged = true;
          const why = `the id ${read.input.id} was used before with other content; an id is used once`;
          dead.push(this.deadLetter(message, why, read.input.id));
        } else if (known === 'new') {
          this.takeFirstSnapshot();
          const events = this.step(message, read.input, dead);
          if (events.length > 0) {
            const { sealed, head } = sealDecision(this.cluster, this.head, read, events, this.taken?.mark);
            this.head = head;
            snapshot ??= this.taken?.snapshot;
            this.taken = undefined;
            decisions.push(sealed.records);
            for (const record of sealed.records) bytes += record.body.length + (record.input?.length ?? 0);
            for (const output of sealed.messages) outputs.push(output);
          }
        }
      }
      this.inputSequence = message.sequence;
      taken++;
      if (judged) break;
    }
    const since = messages[0]?.time ?? 0;
    const sequence = this.inputSequence;
    return { decisions, messages: outputs, dead, since, judged, from, sequence, taken, snapshot };
  }

  /** Reads an input; a reader that throws has a defect, and the message is put aside with what it said. */
  private check(message: InputMessage): ReturnType<typeof readInput> {
    try {
      return readInput(message);
    } catch (error) {
      this.options.logger.error(`a defect: message ${message.sequence} of VF_IN could not be read`, {
        error,
      });
      return { problem: `a defect in the scheduler, please report it: ${sentenceOf(error)}` };
    }
  }

  /**
   * Decides an input. A decider that throws has a defect, and has changed nothing yet: then this input is put
   * aside with what it said, and the next one is served. A defect that shows while events are taken in ends
   * the leader.
   */
  private step(message: InputMessage, input: Input, dead: DeadLetter[]): readonly PlacedEvent[] {
    const { position } = this.state;
    try {
      return step(this.state, input, { stream: this.inputStream, sequence: message.sequence });
    } catch (error) {
      if (this.state.position !== position || this.state.lastCause?.id === input.id) throw error;
      this.options.logger.error(`a defect: input ${input.id} could not be decided`, { error });
      const why = `a defect in the scheduler, please report it: ${sentenceOf(error)}`;
      dead.push(this.deadLetter(message, why, input.id));
      return [];
    }
  }

  private deadLetter(message: InputMessage, reason: string, eventId: string | undefined): DeadLetter {
    const { sequence, subject, headers, payload } = message;
    return { stream: this.inputStream, sequence, subject, reason, eventId, headers, payload };
  }

  /** Waits for the append before, then sends the dead letters, then starts the append. */
  private async commit(segment: Segment): Promise<void> {
    await this.inFlight;
    this.failing.signal.throwIfAborted();
    if (segment.dead.length > 0) {
      const { broker } = this.options;
      await this.guard(() =>
        deadLetter(broker, 'dead-lettering', this.cluster, segment.dead, segment.since, this.persistence),
      );
    }
    if (segment.decisions.length > 0) {
      this.inFlight = this.guard(() => this.append(segment)).catch(() => undefined);
      return;
    }
    this.keepUp(segment.sequence);
  }

  private async append({ decisions, from, messages, sequence, snapshot }: Segment): Promise<void> {
    const { log } = this.options;
    this.appends++;
    await this.persistently(`appending to the log of '${this.cluster}'`, () =>
      log.append(this.cluster, from, decisions),
    );
    this.durable = from + messages.length;
    if (from === 0) this.known.identity = decisions[0]?.[0]?.hash;
    const last = decisions.at(-1)?.at(-1);
    if (last !== undefined) this.known.head = { position: last.position, hash: last.hash };
    this.relay.offer(messages);
    while (this.durableWaiters[0] !== undefined && this.durableWaiters[0].position <= this.durable) {
      this.durableWaiters.shift()?.resolve();
    }
    if (snapshot !== undefined) this.saveSnapshot(snapshot);
    this.keepUp(sequence);
  }

  private persistently<T>(what: string, call: () => Promise<T>): Promise<T> {
    return persist(what, call, this.persistence);
  }

  private get persistence(): Persistence {
    const onTrouble = (trouble: string | undefined): void => {
      this.trouble = trouble;
    };
    return { ...this.options, signal: this.failing.signal, onTrouble };
  }

  /** Runs a step; its failure is the leader's. */
  private async guard<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  /** Ends the leader: it decides nothing more. */
  fail(error: unknown): void {
    if (this.failing.signal.aborted) return;
    const deposed = error instanceof LogError && error.code === 'WRONG_POSITION';
    this.failing.abort(
      deposed
        ? new PipelineError('DEPOSED', `cluster '${this.cluster}': ${error.message}`, { cause: error })
        : error,
    );
    for (const waiter of this.durableWaiters.splice(0)) waiter.resolve();
  }

  private async untilDurable(position: number): Promise<void> {
    if (position > this.durable && !this.failing.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.durableWaiters.push({ position, resolve });
      });
    }
    this.failing.signal.throwIfAborted();
  }

  /**
   * Snapshots and purges when they are due; in the background, one at a time, and never in the way of a
   * decision for long.
   */
  private keepUp(sequence: number): void {
    const now = this.options.clock.now();
    // A clock that was set back must not put off what is due until it has caught up.
    this.snapshotAt.time = Math.min(this.snapshotAt.time, now);
    this.purgedAt = Math.min(this.purgedAt, now);
    const events = this.state.position - this.snapshotAt.position;
    const age = now - this.snapshotAt.time;
    const due = (events >= SNAPSHOT_EVENTS && age >= SNAPSHOT_PAUSE) || (events > 0 && age >= SNAPSHOT_AFTER);
    if (!due && now - this.purgedAt < PURGE_EVERY) return;
    this.purgedAt = now;
    const { position } = this.state;
    if (due) this.takeSnapshot(now);
    this.inBackground(async () => {
      await this.untilDurable(position);
      // The last input that was taken stays, so that the next leader can see that VF_IN is the one it was.
      await this.options.broker.input.purge(this.cluster, sequence);
    });
  }

  /**
   * Takes the first one in the middle of a batch, so that what comes next names it: there may be no further one. Not
   * before this leader has decided something: who asks first has waited already.
   */
  private takeFirstSnapshot(): void {
    if (!this.tookNone || this.appends === 0) return;
    if (this.state.position - this.snapshotAt.position < FIRST_SNAPSHOT_EVENTS) return;
    this.takeSnapshot(this.options.clock.now());
  }

  /**
   * Takes a snapshot of the state as it is, to be named by the next record of the log, whenever that comes. Only what the
   * chain names is believed, so it is not saved before.
   */
  private takeSnapshot(now: number): void {
    const { position, hash } = this.head;
    const snapshot = { position, hash, version: STATE_VERSION, state: dumpState(this.state) };
    this.taken = { snapshot, mark: markOf(snapshot) };
    this.snapshotAt = { position, time: now };
    this.tookNone = false;
  }

  /** Saves a snapshot once the record that names it is durable. */
  private saveSnapshot(snapshot: Snapshot): void {
    this.inBackground(async () => {
      await this.options.log.saveSnapshot(this.cluster, snapshot);
      this.kept = snapshot.position;
    });
  }

  private inBackground(work: () => Promise<void>): void {
    this.upkeep = this.upkeep.then(work).catch((error: unknown) => {
      this.options.logger.warn(`upkeep of '${this.cluster}' did not work; it is tried again`, { error });
    });
  }

  /**
   * A predecessor's append that was on its way may come when we have loaded already. What we decide behind it
   * fails at its position; but while there is nothing to decide it would be in the log and never go out.
   */
  private async watchLog(): Promise<void> {
    const { log, clock } = this.options;
    const signal = AbortSignal.any([this.stopping.signal, this.failing.signal]);
    while (!signal.aborted) {
      await clock.sleep(LOOK_AT_LOG, signal);
      const { appends, durable } = this;
      if (signal.aborted || durable !== this.state.position) continue;
      try {
        const { position } = await log.head(this.cluster);
        this.unseen.worked();
        // An append of our own that began meanwhile explains it, or will fail by itself.
        if (signal.aborted || appends !== this.appends) continue;
        if (position > durable) this.fail(LogError.wrongPosition(this.cluster, durable, position));
        if (position < durable) {
          await this.history.look();
          const why = `the log of '${this.cluster}' ends at position ${position}, and ${durable} was in it: its end was taken away. Restore it from a backup`;
          this.unseen.failed(why, { lasts: true });
        }
      } catch (error) {
        // One that is away for a moment is for the next append to report.
        this.unseen.failed(sentenceOf(error), { lasts: !isTransient(error) });
      }
    }
  }

  private async tick(): Promise<void> {
    const { clock, hardwareLimits } = this.options;
    const signal = AbortSignal.any([this.stopping.signal, this.failing.signal]);
    let heard = this.inputSequence;
    while (!signal.aborted) {
      await clock.sleep(TICK_EVERY, signal);
      if (signal.aborted) continue;
      const moves = this.inputSequence > heard;
      heard = this.inputSequence;
      if (moves || heard >= this.said) this.unheard.worked();
      else
        this.unheard.failed(`input ${this.said} of VF_IN was stored for this leader, and has not come to it`);
      if (this.wantsOtherLimits()) await this.say('ClusterPolicyChanged', { hardwareLimits });
      if (hasDeadlines(this.state)) await this.say('Tick', {});
    }
  }

  /** Whether the policy has other limits of hardware than it shall have: they come to it through the log. */
  private wantsOtherLimits(): boolean {
    const { hardwareLimits } = this.options;
    if (hardwareLimits === undefined) return false;
    return JSON.stringify(this.state.policy.hardwareLimits) !== JSON.stringify(hardwareLimits);
  }

  /** Publishes an input of the leader's own. */
  private async say(type: 'Tick' | 'ClusterPolicyChanged', data: object): Promise<void> {
    const { broker, clock } = this.options;
    const now = clock.now();
    const id = `${type === 'Tick' ? 'tick' : 'policy'}:${this.cluster}:${now}`;
    const event = {
      specversion: '1.0',
      id,
      source: `/vf-scheduler/${this.cluster}`,
      type,
      time: new Date(now).toISOString(),
      data,
    };
    const subject = inputSubject(this.cluster, 'cluster', this.cluster, type);
    try {
      this.said = await broker.input.publish(subject, new TextEncoder().encode(JSON.stringify(event)));
      this.silent.worked();
    } catch (error) {
      // What is lost is made good a second later.
      if (!(error instanceof BrokerError)) this.fail(error);
      this.silent.failed(`the leader's own ${type} is not taken by VF_IN: ${sentenceOf(error)}`);
    }
  }
}
