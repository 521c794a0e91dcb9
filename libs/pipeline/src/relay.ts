import { BrokerError, type Broker, type OutputMessage } from '#broker';
import type { EventLog } from '#log';
import type { Clock } from './clock.js';
import type { Logger } from './logger.js';
import { persist } from './retry.js';
import { messageOf } from './seal.js';

/** Messages that are published in one go. */
const CHUNK = 512;
/** Messages that wait in memory; beyond that the log itself is the queue. */
const MOST_WAITING = 20_000;

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
}

/**
 * The way from the log to `VF_OUT_<cluster>`. The stream's last sequence is the position that was relayed, so
 * there is nothing to remember: after any doubt the relay looks there and goes on from the log.
 */
export class Relay {
  private waiting: OutputMessage[] = [];
  /** The last position in the log that may go out. */
  private durable: number;
  /** The last position that is out. */
  private relayed: number;
  private wake: (() => void) | undefined;
  private readonly stopping = new AbortController();
  private readonly observers = new Set<() => void>();
  private running: Promise<void> | undefined;

  /** @param relayed the last position that is out; undefined when the stream is missing. */
  constructor(
    private readonly options: RelayOptions,
    relayed: number | undefined,
    durable: number,
  ) {
    this.relayed = relayed ?? -1;
    this.durable = durable;
  }

  /** Number of events that are durable and not out. */
  get backlog(): number {
    return this.durable - Math.max(this.relayed, 0);
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
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      if (this.durable === 0 || this.relayed >= this.durable) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        this.wake = undefined;
        continue;
      }
      try {
        await persist(`relaying to VF_OUT_${this.options.cluster}`, () => this.advance(), {
          ...this.options,
          signal,
        });
      } catch (error) {
        if (signal.aborted) return;
        this.options.logger.error(`the relay of '${this.options.cluster}' has failed; looking again`, {
          error,
        });
        await this.options.clock.sleep(1000, signal);
        this.relayed = -1;
      }
    }
  }

  /** Brings the stream forward by one chunk. */
  private async advance(): Promise<void> {
    if (this.relayed < 0) await this.find();
    const chunk = await this.nextChunk();
    if (chunk.length === 0) return;
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
    this.out((chunk.at(-1) as OutputMessage).position);
  }

  private out(position: number): void {
    this.relayed = position;
    for (const look of [...this.observers]) look();
  }

  /** Looks where the stream stands, and makes it when it is missing. */
  private async find(): Promise<void> {
    const { broker, cluster } = this.options;
    const state = await broker.output.state(cluster);
    if (state !== undefined) {
      this.out(state.lastSequence);
      return;
    }
    const first = await this.firstKept();
    await broker.output.create(cluster, first);
    this.out(first - 1);
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
