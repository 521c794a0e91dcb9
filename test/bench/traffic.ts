import { setTimeout as delay } from 'node:timers/promises';
import { createInbox, type NatsConnection } from '@nats-io/transport-node';
import { Deadline } from '#log';

/** Publishes that may wait for their ack. */
const WINDOW = 512;
const encoder = new TextEncoder();

/** Publishes to a stream, pipelined, without a promise for each message. */
export class Publisher {
  private unacked = 0;
  private wake: (() => void) | undefined;
  private readonly inbox = createInbox();

  constructor(private readonly connection: NatsConnection) {
    connection.subscribe(this.inbox, {
      callback: (error, message) => {
        const text = error === null ? message.string() : error.message;
        if (!text.includes('"seq"')) throw new Error(`a publish failed: ${text}`);
        this.unacked--;
        this.wake?.();
        this.wake = undefined;
      },
    });
  }

  async publish(subject: string, payload: Uint8Array): Promise<void> {
    while (this.unacked >= WINDOW) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    this.unacked++;
    this.connection.publish(subject, payload, { reply: this.inbox });
  }
}

let ids = 0;

/** A CloudEvent as a client publishes it. */
export const event = (type: string, data: object): Uint8Array =>
  encoder.encode(
    JSON.stringify({
      specversion: '1.0',
      id: `bench-${process.pid}-${++ids}`,
      source: '/bench',
      type,
      time: '2026-11-21T00:00:00Z',
      data,
    }),
  );

/** Counts messages under a subject. */
export async function counter(
  connection: NatsConnection,
  subject: string,
  counts: (subject: string) => boolean,
): Promise<{ count: number; reach(n: number): Promise<void> }> {
  const waiting: { n: number; resolve: () => void }[] = [];
  const state = {
    count: 0,
    reach: (n: number): Promise<void> =>
      state.count >= n ? Promise.resolve() : new Promise((resolve) => waiting.push({ n, resolve })),
  };
  connection.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null || !counts(message.subject)) return;
      state.count++;
      for (const waiter of waiting) if (state.count >= waiter.n) waiter.resolve();
    },
  });
  await connection.flush();
  return state;
}

/** A chain under measurement: how to publish to it, and which messages are its outcomes. */
export interface Chain {
  readonly connection: NatsConnection;
  start(vm: number): readonly [subject: string, payload: Uint8Array];
  stop(vm: number): readonly [subject: string, payload: Uint8Array];
  /** Subject of what comes out. */
  readonly outcomes: string;
  /** Whether it is the one outcome of an input. Outcomes come in the order of their inputs. */
  isOutcome(subject: string): boolean;
  /** Whether it is an outcome that says no: then something else is measured than is meant. */
  isRefusal(subject: string): boolean;
}

/** @throws Error if an outcome says no. */
function checkOutcome(chain: Chain, subject: string): boolean {
  if (!chain.isOutcome(subject)) return false;
  if (chain.isRefusal(subject)) throw new Error(`a start or a stop had the outcome ${subject}`);
  return true;
}

/**
 * VMs start and stop as fast as they are taken; inputs per second, from the first publish to the last
 * outcome.
 */
export async function rateOf(chain: Chain, inputs: number): Promise<number> {
  const outcomes = await counter(chain.connection, chain.outcomes, (subject) => checkOutcome(chain, subject));
  const publisher = new Publisher(chain.connection);
  const begun = performance.now();
  for (let vm = 0; vm < inputs / 2; vm++) {
    await publisher.publish(...chain.start(vm));
    await publisher.publish(...chain.stop(vm));
  }
  await outcomes.reach(inputs);
  return inputs / ((performance.now() - begun) / 1000);
}

/** Starts offered at a steady rate, each followed by its stop. */
export interface SteadyLoad {
  readonly startsPerSecond: number;
  /** Ends the load when it aborts. */
  readonly signal: AbortSignal;
  /** Told of each outcome of a start: milliseconds from its publish. */
  readonly onOutcome: (milliseconds: number) => void;
}

/** Offers a load until it is told to end, and waits for what is still to come. @returns the starts offered. */
export async function offer(chain: Chain, load: SteadyLoad): Promise<number> {
  const { startsPerSecond, signal, onOutcome } = load;
  /** When the starts whose outcomes are not there were published. */
  const sent: number[] = [];
  let published = 0;
  let outcomes = 0;
  let wake: (() => void) | undefined;
  const subscription = chain.connection.subscribe(chain.outcomes, {
    callback: (error, message) => {
      if (error !== null || !checkOutcome(chain, message.subject)) return;
      // A chain keeps the order of its inputs, and starts and stops alternate.
      if (outcomes++ % 2 === 0) onOutcome(performance.now() - (sent.shift() as number));
      if (outcomes === published * 2) wake?.();
    },
  });
  await chain.connection.flush();
  const publisher = new Publisher(chain.connection);
  const begun = performance.now();
  for (let vm = 0; !signal.aborted; vm++) {
    const due = begun + (vm * 1000) / startsPerSecond;
    while (performance.now() < due && !signal.aborted) await delay(1);
    sent.push(performance.now());
    published++;
    await publisher.publish(...chain.start(vm));
    await publisher.publish(...chain.stop(vm));
  }
  if (outcomes < published * 2) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  subscription.unsubscribe();
  return published;
}

/** Milliseconds from the publish to the outcome of a start. */
export interface Latencies {
  /** Of those offered while everything was cold. */
  readonly cold: readonly number[];
  /** Of those after that. */
  readonly warm: readonly number[];
}

/** Offers starts for so many seconds, the first `coldSeconds` of which are told apart. */
export async function latenciesOf(
  chain: Chain,
  load: { readonly startsPerSecond: number; readonly coldSeconds: number; readonly seconds: number },
): Promise<Latencies> {
  const took: number[] = [];
  const { signal } = new Deadline((load.coldSeconds + load.seconds) * 1000);
  await offer(chain, {
    startsPerSecond: load.startsPerSecond,
    signal,
    onOutcome: (milliseconds) => took.push(milliseconds),
  });
  const cold = Math.round(load.startsPerSecond * load.coldSeconds);
  return { cold: took.slice(0, cold), warm: took.slice(cold) };
}
