import { BrokerError, type Broker, type OutputMessage, type OutputState } from '#broker';
import { emptyHead, LogError, Pace, type EventLog, type Head } from '#log';
import type { Clock } from './clock.js';
import { sentenceOf } from './errors.js';
import { LastingFailure } from './lasting-failure.js';
import type { Logger } from './logger.js';
import { firstBadOutput, type BadOutput } from './output-check.js';
import { persist } from './retry.js';
import { messageOf } from './seal.js';

/** Messages that are published in one go. */
const CHUNK = 512;
/** Messages that wait in memory; beyond that the log itself is the queue. */
const MOST_WAITING = 20_000;

/** The stream is looked at this often, in milliseconds: anybody may have written to it, or taken from it. */
const LOOK_EVERY = 2000;
/** Messages that are compared with the log after a look; when all were, it begins anew after a while. */
const COMPARED_AT_ONCE = 200;
const COMPARE_AGAIN = 600_000;
/**
 * What is found is said for this long, in milliseconds, and found once more, before the stream is deleted for it: one look
 * may be wrong, and who asks every second whether all is well must not miss it.
 */
const SAID_FIRST = 2000;
/** A stream is made again no more often than this, in milliseconds: who spoils it must not keep everybody busy. */
const REMAKE_PAUSE = 60_000;
/** Events before the bad one that are put into a stream which is made again: what is new must not wait for long. */
const MOST_REMADE = 200_000;

export interface RelayOptions {
  readonly broker: Broker;
  readonly log: EventLog;
  readonly cluster: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * How long `VF_OUT` keeps events, in milliseconds: what is older is not relayed again into a stream that is
   * made again.
   */
  readonly outMaxAge: number;
  /** The identity of the log: the hash of its first record; undefined while it is empty. */
  readonly identity: () => string | undefined;
  /** The end of what is durable, as the leader has written or read it itself. */
  readonly head: () => Head;
}

/**
 * The way from the log to `VF_OUT_<cluster>`. The stream's sequence is the position that was relayed, so there is
 * nothing to remember: after any doubt the relay looks there and goes on from the log.
 *
 * What lies in the stream is not believed: anybody may have written it. It is compared with the log wherever it was not
 * this relay that stored it, at its end whenever that is elsewhere than expected, and slowly everywhere. A stream that
 * holds something else, or has a hole, is made again.
 */
export class Relay {
  private waiting: OutputMessage[] = [];
  /** The last position in the log that may go out. */
  private durable: number;
  /** The last position that is out; -1: it must be looked for. */
  private relayed: number;
  /** Up to here the stream is known to hold what the log holds, apart from what was changed later. */
  private proven: number;
  /** Where the slow comparison goes on, and when. */
  private compare = { next: 1, at: 0 };
  private comparing: Promise<void> | undefined;
  /** Where it found something else than the log has; the next look makes sure. */
  private suspect: number | undefined;
  private lookedAt: number;
  /** When the stream was made, as far as this relay knows. */
  private created: string | undefined;
  /** The identity that was noted in the stream. */
  private noted: string | undefined;
  private wake: (() => void) | undefined;
  private readonly stopping = new AbortController();
  private readonly observers = new Set<() => void>();
  private running: Promise<void> | undefined;
  private readonly failing: LastingFailure;
  /** What was found in the stream, until it is put right. */
  private spoilt: string | undefined;
  /** When it was last made again. */
  private remadeAt: number | undefined;
  /** Consumers are made again once the stream has come to here. */
  private restoreAt: number | undefined;

  /**
   * @param relayed the last position that is out, as it was compared with the log; undefined when the stream is missing, or
   *   must be looked at.
   */
  constructor(
    private readonly options: RelayOptions,
    relayed: number | undefined,
    durable: number,
  ) {
    this.relayed = relayed ?? -1;
    this.proven = relayed ?? 0;
    this.durable = durable;
    this.failing = new LastingFailure(options.clock);
    this.lookedAt = options.clock.now();
  }

  /** Why events do not go out, or not where they should: something that lasts. */
  get trouble(): string | undefined {
    return this.spoilt ?? this.failing.trouble;
  }

  /** Number of events that are durable and not out. */
  get backlog(): number {
    return this.durable - Math.min(Math.max(this.relayed, 0), this.durable);
  }

  start(): void {
    this.running = this.run();
  }

  /** Takes over what has become durable: neighbours of what came before. */
  offer(messages: readonly OutputMessage[]): void {
    const last = messages.at(-1);
    if (last === undefined) return;
    this.durable = last.position;
    // A queue without gaps, or none: what does not fit in is read from the log when its turn comes.
    const end = this.waiting.at(-1);
    const joins = end === undefined || end.position + 1 === messages[0]?.position;
    if (joins && this.waiting.length < MOST_WAITING)
      for (const message of messages) this.waiting.push(message);
    this.wake?.();
  }

  /** Resolves once at most `most` events wait, or the signal aborts. */
  async below(most: number, signal: AbortSignal): Promise<void> {
    if (this.backlog <= most || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.backlog > most && !signal.aborted) return;
        this.observers.delete(look);
        signal.removeEventListener('abort', look);
        resolve();
      };
      this.observers.add(look);
      signal.addEventListener('abort', look);
    });
  }

  /** Stops without waiting for what is not out: the next leader relays it. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.wake?.();
    await Promise.all([this.running, this.comparing]);
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    const { cluster, clock, logger } = this.options;
    while (!signal.aborted) {
      const idle = this.durable === 0 || this.relayed >= this.durable;
      if (idle && !(await this.untilDue())) continue;
      if (signal.aborted) return;
      try {
        await persist(`relaying to VF_OUT_${cluster}`, () => this.advance(), {
          ...this.options,
          signal,
          onTrouble: (trouble) =>
            trouble === undefined ? this.failing.worked() : this.failing.failed(trouble),
        });
        this.failing.worked();
      } catch (error) {
        if (signal.aborted) return;
        const why = sentenceOf(error);
        this.failing.failed(`relaying to VF_OUT_${cluster}: ${why}`);
        logger.error(`the relay of '${cluster}' has failed; looking again`, { error });
        await clock.sleep(1000, signal);
        this.relayed = -1;
      }
    }
  }

  /** Waits until there is something to relay, or it is time to look at the stream. @returns whether it is. */
  private async untilDue(): Promise<boolean> {
    const { clock } = this.options;
    const over = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    const due = this.lookedAt + LOOK_EVERY - clock.now();
    if (due > 0) await Promise.race([woken, clock.sleep(due, over.signal)]);
    over.abort();
    this.wake = undefined;
    return clock.now() - this.lookedAt >= LOOK_EVERY;
  }

  /** Brings the stream forward by one chunk, and looks at it when that is due. */
  private async advance(): Promise<void> {
    if (this.relayed < 0 || this.options.clock.now() - this.lookedAt >= LOOK_EVERY) {
      await this.look();
      if (this.relayed < 0) return;
    }
    if (this.relayed >= this.durable) return;
    const chunk = await this.nextChunk();
    if (chunk.length === 0) {
      // Said by whoever watches the log; here it only must not be asked without a pause.
      await this.options.clock.sleep(LOOK_EVERY, this.stopping.signal);
      return;
    }
    await this.noteIdentity();
    try {
      await this.options.broker.output.publish(this.options.cluster, chunk);
    } catch (error) {
      // Some of the chunk may be in: the stream itself says how far it got.
      this.relayed = -1;
      if (error instanceof BrokerError && error.code === 'WRONG_SEQUENCE') {
        this.options.logger.debug(`VF_OUT_${this.options.cluster} stands elsewhere than expected; looking`, {
          error,
        });
        return;
      }
      throw error;
    }
    this.proven = (chunk.at(-1) as OutputMessage).position;
    this.out(this.proven);
    await this.restoreConsumers();
  }

  private out(position: number): void {
    this.relayed = position;
    for (const look of [...this.observers]) look();
  }

  /** Whose events these are is noted with the first of them, so that another log is refused by it. */
  private async noteIdentity(): Promise<void> {
    const { broker, cluster, identity } = this.options;
    const log = identity();
    if (log === undefined || log === this.noted) return;
    await broker.output.create(cluster, this.relayed + 1, log);
    this.noted = log;
  }

  /**
   * Looks where the stream stands, makes it when it is missing, and compares with the log what this relay did not store
   * itself. Nothing is on its way from here meanwhile.
   */
  private async look(): Promise<void> {
    const { broker, cluster, clock, identity } = this.options;
    this.lookedAt = clock.now();
    const state = await broker.output.state(cluster);
    if (state === undefined) {
      // A cluster's stream comes with its first event.
      if (this.durable === 0) return;
      const first = await this.firstKept();
      await broker.output.create(cluster, first, identity());
      this.created = undefined;
      this.begin(first);
      return;
    }
    if (state.created !== this.created) {
      // It was made again, or is seen for the first time: whatever lies in it is new.
      if (this.created !== undefined) this.proven = 0;
      this.created = state.created;
      this.noted = state.log;
      this.remadeAt = state.remadeAt;
      this.compare = { next: state.firstSequence, at: clock.now() };
      if (state.restoring) this.restoreAt ??= this.durable;
    }
    const { firstSequence: first, lastSequence: last } = state;
    const bad = await this.firstBad(state);
    if (bad === 'deposed') {
      this.relayed = -1;
      await clock.sleep(LOOK_EVERY, this.stopping.signal);
      return;
    }
    if (bad !== undefined) {
      await this.remake(first, bad);
      return;
    }
    if (this.relayed !== last) this.out(last);
    this.proven = Math.max(this.proven, last);
    await this.restoreConsumers();
    const found = await this.suspected(first, last);
    if (found !== undefined) return this.remake(first, found);
    if (this.restoreAt === undefined) this.spoilt = undefined;
    // Beside the relaying, which must not wait for it.
    this.comparing ??= this.compareSome(first, last).finally(() => {
      this.comparing = undefined;
    });
  }

  /** What is where the slow comparison found something: the stream may have been made again since, or have let it go. */
  private async suspected(first: number, last: number): Promise<BadOutput | undefined> {
    const { broker, log, cluster } = this.options;
    const { suspect } = this;
    if (suspect === undefined) return undefined;
    const found =
      suspect < first || suspect > last
        ? undefined
        : await firstBadOutput(broker, log, cluster, suspect, suspect, this.pace());
    if (found === undefined) this.suspect = undefined;
    return found;
  }

  /** Compares a little of what the stream keeps, the next piece each time. */
  private async compareSome(first: number, last: number): Promise<void> {
    const { broker, log, cluster, clock } = this.options;
    if (this.compare.at > clock.now() || first > last) return;
    const from = Math.max(this.compare.next, first);
    const to = Math.min(last, from + COMPARED_AT_ONCE - 1);
    const later = { next: first, at: clock.now() + COMPARE_AGAIN };
    try {
      const found = await firstBadOutput(broker, log, cluster, from, to, this.pace());
      this.suspect = found?.position;
      this.compare = to < last ? { next: to + 1, at: 0 } : later;
    } catch (error) {
      // A history that cannot be read any more is said by who watches it, and keeps nothing from going out; a broker that
      // does not answer is asked again.
      if (error instanceof LogError && error.code === 'CORRUPT') this.compare = later;
    }
  }

  /** Of a comparison: the leader decides on the same thread. */
  private pace(): Pace {
    return new Pace(this.options.clock);
  }

  /** @returns `deposed` when somebody else writes to the log: then the leader ends by itself. */
  private async firstBad(state: OutputState): Promise<BadOutput | 'deposed' | undefined> {
    const { broker, log, cluster } = this.options;
    const { firstSequence: first, lastSequence: last } = state;
    const end = Math.min(last, this.durable);
    if (state.holes > 0) {
      const found = await firstBadOutput(broker, log, cluster, first, end, this.pace());
      if (found !== undefined) return found;
    }
    const unproven = await firstBadOutput(
      broker,
      log,
      cluster,
      Math.max(first, this.proven + 1),
      end,
      this.pace(),
    );
    if (unproven !== undefined || last <= this.durable) return unproven;
    // Nothing is relayed before it is durable.
    const head = await log.head(cluster);
    if (head.position >= last) return 'deposed';
    if (first > this.durable + 1)
      return { position: this.durable + 1, what: `nothing, and ${first} comes next` };
    const [there] = await broker.output.read(cluster, this.durable + 1, 1);
    const what = there === undefined ? 'nothing' : `a message under ${there.subject.slice(0, 256)}`;
    return { position: this.durable + 1, what: `${what}, and the log ends before it` };
  }

  /** Makes a stream again that does not hold what the log holds; not more often than is good for those who follow it. */
  private async remake(kept: number, { position, what }: BadOutput): Promise<void> {
    const { broker, cluster, clock, identity, logger } = this.options;
    const { signal } = this.stopping;
    this.relayed = -1;
    const found = `VF_OUT_${cluster} does not hold the log's event at position ${position}, but ${what}`;
    if (!(await this.isLogSound(position))) {
      this.say(
        `${found}; and the log is not what it was when this allocator read or wrote it: run verify, and restore the log from a backup. Nothing is relayed until then`,
      );
      await clock.sleep(LOOK_EVERY, signal);
      return;
    }
    const since = clock.now() - (this.remadeAt ?? 0);
    if (since >= 0 && since < REMAKE_PAUSE) {
      this.say(
        `${found}: it is made again in ${Math.ceil((REMAKE_PAUSE - since) / 1000)} s, for it was just made again. Nobody but the allocators may publish there`,
      );
      // In between nothing goes out: it would stand behind what is not ours.
      await clock.sleep(Math.min(LOOK_EVERY, REMAKE_PAUSE - since), signal);
      return;
    }
    const isNew = this.spoilt === undefined;
    this.say(`${found}: it is made again from the log. Nobody but the allocators may publish there`);
    if (isNew) {
      await clock.sleep(SAID_FIRST, signal);
      return;
    }
    const oldest = Math.min(kept, position, this.durable + 1);
    const first = Math.max(oldest, position - MOST_REMADE, 1);
    const at = clock.now();
    const consumers = await broker.output.remake(cluster, {
      firstSequence: first,
      badPosition: position,
      at,
      log: identity(),
    });
    this.remadeAt = at;
    this.created = undefined;
    this.restoreAt = this.durable;
    this.begin(first);
    logger.warn(`made VF_OUT_${cluster} again from position ${first}`, { ...consumers });
    if (consumers.lost.length > 0) {
      logger.error(
        `the consumers ${consumers.lost.join(', ')} of VF_OUT_${cluster} are lost: their owners must make them again`,
      );
    }
  }

  /**
   * Whether the log, from a position on, leads to the end that the leader knows: then the stream is wrong, and not the log.
   * Somebody may have changed that too, and the stream would be the witness.
   */
  private async isLogSound(position: number): Promise<boolean> {
    const { log, cluster, head } = this.options;
    const known = head();
    if (position > known.position) return (await log.head(cluster)).position === known.position;
    let before = emptyHead(cluster);
    if (position > 1) {
      for await (const [record] of log.read(cluster, position - 1, { inputs: false, most: 1 })) {
        if (record !== undefined) before = { position: record.position, hash: record.hash };
        break;
      }
    }
    if (before.position !== position - 1) return false;
    try {
      for await (const records of log.read(cluster, position, { inputs: false, verify: before })) {
        const there = records.find((record) => record.position === known.position);
        if (there !== undefined) return there.hash === known.hash;
      }
      return false;
    } catch (error) {
      if (error instanceof LogError && error.code === 'CORRUPT') return false;
      throw error;
    }
  }

  /** Goes on in a stream that is new and empty. */
  private begin(first: number): void {
    this.proven = first - 1;
    this.compare = { next: first, at: 0 };
    this.out(first - 1);
  }

  private say(spoilt: string): void {
    if (this.spoilt === undefined) this.options.logger.error(spoilt);
    this.spoilt = spoilt;
  }

  private async restoreConsumers(): Promise<void> {
    if (this.restoreAt === undefined || this.relayed < Math.min(this.restoreAt, this.durable)) return;
    await this.options.broker.output.restoreConsumers(this.options.cluster);
    this.restoreAt = undefined;
    this.spoilt = undefined;
  }

  /** The first position that the age limit of the stream would still keep. */
  private async firstKept(): Promise<number> {
    const { broker, log, cluster, outMaxAge } = this.options;
    const oldest = new Date(broker.now() - outMaxAge).toISOString();
    for await (const records of log.read(cluster, 1, { inputs: false })) {
      for (const record of records) {
        const { time } = JSON.parse(record.body) as { time: string };
        if (time >= oldest) return record.position;
      }
    }
    return this.durable + 1;
  }

  private async nextChunk(): Promise<readonly OutputMessage[]> {
    const next = this.relayed + 1;
    const [oldest] = this.waiting;
    if (oldest !== undefined && oldest.position < next) {
      this.waiting = this.waiting.filter(({ position }) => position >= next);
    }
    if (this.waiting[0]?.position === next) return this.waiting.splice(0, CHUNK);
    this.waiting = [];
    const { log, cluster } = this.options;
    for await (const records of log.read(cluster, next, { inputs: false })) {
      return records
        .filter(({ position }) => position <= this.durable)
        .slice(0, CHUNK)
        .map((record) => messageOf(cluster, record));
    }
    return [];
  }
}
