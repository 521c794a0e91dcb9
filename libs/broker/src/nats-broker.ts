import { setTimeout as wait } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { INPUT_STREAM } from '#wire';
import type { Broker } from './broker.js';
import { BrokerError } from './errors.js';
import { NatsLink, type NatsConnectionOptions } from './nats-connection.js';
import { NatsDeadLetters } from './nats-dead-letters.js';
import { NatsHeads } from './nats-heads.js';
import { NatsInput } from './nats-input.js';
import { NatsLeases, type LeaseTiming } from './nats-leases.js';
import { NatsOutput } from './nats-output.js';
import { deadPlan, ensureStream, inputPlan, streamInfo, type StreamLimits } from './nats-streams.js';
import { NatsTime } from './nats-time.js';
import { findWriteFault, type WriteFault } from './nats-write-fault.js';

export type { BrokerLog, NatsConnectionOptions } from './nats-connection.js';
export type { LeaseTiming } from './nats-leases.js';
export type { StreamLimits } from './nats-streams.js';
export type { WriteFault } from './nats-write-fault.js';

export interface NatsBrokerOptions extends NatsConnectionOptions {
  readonly streams?: StreamLimits;
  readonly leases?: LeaseTiming;
}

/** The broker on NATS. */
export interface NatsBroker extends Broker {
  /** The connection, for others to add queries on it. It is closed by `close` and nobody else. */
  readonly connection: NatsConnection;
  /** The same with what the parts of the broker know of it, for a client that shares it. */
  readonly link: NatsLink;
  /**
   * A stream that the server does not write to any more since a write failed; undefined where none is known.
   *
   * @param all asks about every stream of ours, and not `VF_IN` alone.
   * @throws BrokerError `UNAVAILABLE`
   */
  writeFault(all: boolean): Promise<WriteFault | undefined>;
}

const RETRY = 250;
/** Room for less than this is none, in bytes: a start with its envelope takes more. */
const SMALL_INPUT = 1024;

/**
 * Connects to NATS, waiting for a server that is starting, and stays connected for ever.
 *
 * @throws BrokerError `UNAVAILABLE` when no server answers within `startTimeout`, `REFUSED` when it is too
 *   old or does not let us in.
 */
export async function connectNats(options: NatsBrokerOptions): Promise<NatsBroker> {
  const link = await NatsLink.open(options);
  return new NatsBrokerParts(link, options);
}

class NatsBrokerParts implements NatsBroker {
  readonly input: NatsInput;
  readonly output: NatsOutput;
  readonly dead: NatsDeadLetters;
  readonly leases: NatsLeases;
  readonly heads: NatsHeads;
  readonly #limits: StreamLimits;
  readonly #time: NatsTime;
  #closed: Promise<void> | undefined;

  constructor(
    readonly link: NatsLink,
    options: NatsBrokerOptions,
  ) {
    this.#limits = options.streams ?? {};
    this.input = new NatsInput(link);
    this.output = new NatsOutput(link, this.#limits);
    this.dead = new NatsDeadLetters(link);
    this.leases = new NatsLeases(link, this.#limits, options.leases);
    this.#time = new NatsTime(link);
    this.heads = new NatsHeads(link, this.#limits);
  }

  get connection(): NatsConnection {
    return this.link.connection;
  }

  get connected(): boolean {
    return this.link.connected;
  }

  writeFault(all: boolean): Promise<WriteFault | undefined> {
    return findWriteFault(this.link, all);
  }

  now(): number {
    return this.#time.now();
  }

  async prepare(signal?: AbortSignal): Promise<void> {
    const { link } = this;
    const deadline = performance.now() + link.startTimeout;
    for (;;) {
      try {
        await this.#prepareOnce();
        await this.#time.keep();
        return;
      } catch (error) {
        // A cluster that is starting has no leader for a while, which looks like JetStream being off.
        const transient = error instanceof BrokerError && error.code === 'UNAVAILABLE' && !link.closed;
        if (!transient) throw error;
        if (performance.now() + RETRY >= deadline || signal?.aborted === true) {
          throw new BrokerError(
            'UNAVAILABLE',
            `NATS at ${link.url} is there, but its JetStream does not answer. Check that the server runs with JetStream on ("nats-server -js") and that the account may use it.`,
            { cause: error },
          );
        }
        await wait(RETRY, undefined, signal && { signal }).catch(() => undefined);
      }
    }
  }

  async check(): Promise<void> {
    await this.#prepareOnce();
    const input = await streamInfo(this.link, INPUT_STREAM);
    if (input === undefined) return;
    const { config, state } = input;
    if (config.max_bytes > 0 && state.bytes + SMALL_INPUT > config.max_bytes) {
      throw new BrokerError(
        'REFUSED',
        `${INPUT_STREAM} is full (${state.bytes} of ${config.max_bytes} bytes) and refuses inputs: it empties as they are decided; what keeps them from that is said with the clusters. Or raise VF_IN_MAX_BYTES`,
      );
    }
  }

  async #prepareOnce(): Promise<void> {
    const { link } = this;
    link.assertConnected('Preparing the streams');
    await ensureStream(link, inputPlan(this.#limits, link.connection.info?.max_payload ?? 1_048_576));
    await ensureStream(link, deadPlan(this.#limits));
    await this.leases.prepare();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#time.close();
    await Promise.all([this.input.close(), this.leases.close()]);
    await this.link.close();
  }
}
