import { setTimeout as wait } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Broker } from './broker.js';
import { BrokerError } from './errors.js';
import { NatsLink, type NatsConnectionOptions } from './nats-connection.js';
import { NatsDeadLetters } from './nats-dead-letters.js';
import { NatsHeads } from './nats-heads.js';
import { NatsInput } from './nats-input.js';
import { NatsLeases, type LeaseTiming } from './nats-leases.js';
import { NatsOutput } from './nats-output.js';
import { deadPlan, ensureStream, inputPlan, type StreamLimits } from './nats-streams.js';

export type { BrokerLog, NatsConnectionOptions } from './nats-connection.js';
export type { LeaseTiming } from './nats-leases.js';
export type { StreamLimits } from './nats-streams.js';

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
}

const RETRY = 250;

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
    this.heads = new NatsHeads(link, this.#limits);
  }

  get connection(): NatsConnection {
    return this.link.connection;
  }

  get connected(): boolean {
    return this.link.connected;
  }

  async prepare(signal?: AbortSignal): Promise<void> {
    const { link } = this;
    const deadline = performance.now() + link.startTimeout;
    for (;;) {
      try {
        link.assertConnected('Preparing the streams');
        await ensureStream(link, inputPlan(this.#limits, link.connection.info?.max_payload ?? 1_048_576));
        await ensureStream(link, deadPlan(this.#limits));
        await this.leases.prepare();
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

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all([this.input.close(), this.leases.close()]);
    await this.link.close();
  }
}
