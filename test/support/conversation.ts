import { expect } from '@jest/globals';
import { setTimeout as wait } from 'node:timers/promises';
import { Deadline } from '#log';
import { hostReported, input, vmStart, type Input } from './inputs.js';
import { Ledger } from './ledger.js';
import { differences, type LogContents } from './log-file.js';
import { isOutcome, type NatsClient, type OutEvent } from './nats-client.js';
import type { Program, Programs, Settings } from './programs.js';
import { until } from './until.js';

/** A program that serves, and where it answers. */
export interface Served {
  readonly program: Program;
  readonly http: string;
}

export async function serve(
  programs: Programs,
  name: 'standalone' | 'allocator',
  settings: Settings,
): Promise<Served> {
  const program = await programs.start(name, settings);
  return { program, http: (await program.ready()).http };
}

/** What `GET /health/ready` says. */
export interface Health {
  /** 0 when nobody answers. */
  readonly status: number;
  readonly instance: string;
  readonly clusters: Readonly<
    Record<string, { role: string; leader?: string; position?: number; lag?: number; trouble?: string }>
  >;
  readonly memory: { readonly rss: number; readonly heapUsed: number };
}

export async function health(http: string): Promise<Health> {
  const limit = new Deadline(1000);
  try {
    const answer = await fetch(`${http}/health/ready`, { signal: limit.signal });
    return { ...((await answer.json()) as Omit<Health, 'status'>), status: answer.status };
  } catch {
    return { status: 0, instance: '', clusters: {}, memory: { rss: 0, heapUsed: 0 } };
  } finally {
    limit.end();
  }
}

export const untilHealth = (http: string, status: number, timeout = 20_000): Promise<boolean> => {
  let last: unknown;
  return until(
    () => `health ${status}; it was ${JSON.stringify(last)}`,
    async () => {
      const said = await health(http);
      last = said;
      return said.status === status;
    },
    { timeout },
  );
};

/** The clusters that an instance leads. */
export const ledBy = async (http: string): Promise<readonly string[]> =>
  Object.entries((await health(http)).clusters).flatMap(([name, { role }]) =>
    role === 'leader' ? [name] : [],
  );

/** Hosts with 32 VFs each, named `h0` and so on. */
export async function reportHosts(client: NatsClient, hosts = 2, cluster = 'default'): Promise<void> {
  const reports: Input[] = Array.from({ length: hosts }, (_, index) =>
    hostReported(`h${index}`, 32, { cluster }),
  );
  for (const report of reports) await client.publishUntilStored(report);
}

/** Starts VMs that nobody has started, a few at a time, until told to end; remembers what is to have an outcome. */
export class Starts {
  readonly ids: string[] = [];
  #over = false;
  #running: Promise<void>[] = [];

  constructor(
    readonly client: NatsClient,
    readonly prefix: string,
  ) {}

  begin(publishers = 3): void {
    this.#over = false;
    this.#running = Array.from({ length: publishers }, async () => {
      while (!this.#over) {
        await this.one();
        await wait(5);
      }
    });
    // Heard of in `end`, or not at all when the test has failed before.
    for (const publisher of this.#running) publisher.catch(() => undefined);
  }

  async one(): Promise<string> {
    const id = `${this.prefix}-${this.ids.length}`;
    this.ids.push(id);
    await this.client.publishUntilStored(vmStart(id, { id }), { timeout: 60_000 });
    return id;
  }

  /** Waits for some more to be stored. */
  async some(more = 30): Promise<void> {
    const before = this.ids.length;
    await until('some load', () => this.ids.length > before + more);
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#running);
  }
}

/** Whether an event is what a request, or a stop, comes out as. */
const answers = (type: string): boolean => isOutcome(type) || type === 'VmStopped' || type === 'InputIgnored';

/** A control plane that starts and stops VMs all the time, each step when the one before has its outcome. */
export class ControlPlane {
  /** Requests and facts, by id. */
  readonly said: string[] = [];
  /** Milliseconds from the publish to the outcome. */
  readonly latencies: number[] = [];
  lastHeard = performance.now();
  static #runs = 0;
  #over = false;
  #running: Promise<void>[] = [];
  readonly #waiting = new Map<string, (event: OutEvent) => void>();

  constructor(
    readonly client: NatsClient,
    readonly cluster = 'default',
  ) {
    client.connection.subscribe(`vf.out.${cluster}.>`, {
      callback: (error, message) => {
        if (error !== null) return;
        const event = message.json<OutEvent>();
        if (answers(event.type)) this.#waiting.get(event.causationid)?.(event);
      },
    });
  }

  begin(vms = 4): void {
    this.#over = false;
    const serial = ++ControlPlane.#runs;
    this.lastHeard = performance.now();
    this.#running = Array.from({ length: vms }, async (_, index) => {
      const vmId = `vm-${serial}-${index}`;
      while (!this.#over) {
        await this.#say(vmStart(vmId, { cluster: this.cluster }));
        await this.#say(input('VmStopped', { vmId }, { cluster: this.cluster }));
        await wait(20);
      }
    });
    for (const each of this.#running) each.catch(() => undefined);
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#running);
  }

  /** Waits until so many more have their outcome. @returns when the first of them was heard. */
  async hears(more: number, timeout = 30_000): Promise<void> {
    const before = this.latencies.length;
    await until('outcomes', () => this.latencies.length >= before + more, { timeout, every: 5 });
  }

  async #say(said: Input): Promise<OutEvent> {
    const { id } = said.event;
    this.said.push(id);
    const heard = new Promise<OutEvent>((resolve) => this.#waiting.set(id, resolve));
    const begun = performance.now();
    await this.client.publishUntilStored(said, { timeout: 60_000 });
    const event = await heard;
    this.#waiting.delete(id);
    this.lastHeard = performance.now();
    this.latencies.push(this.lastHeard - begun);
    return event;
  }
}

/** [OUT-1] [EX-1] [OUT-3] after whatever happened: one outcome for each, no VF twice, and the stream is the log. */
export async function expectWhole(
  client: NatsClient,
  ids: readonly string[],
  readLog: () => Promise<LogContents>,
  cluster = 'default',
): Promise<void> {
  // Inputs are decided in order, so all is decided when the last one is.
  const last = vmStart('the-last-one', { cluster });
  await client.publishUntilStored(last);
  const { position } = await client.follow(cluster).outcome(last.event.id, { timeout: 60_000 });
  const relayed = await client.readOut(cluster, Number(position));
  const outcomes = new Map<string, number>();
  for (const { event } of relayed) {
    if (answers(event.type)) outcomes.set(event.causationid, (outcomes.get(event.causationid) ?? 0) + 1);
  }
  expect(ids.filter((id) => outcomes.get(id) !== 1)).toEqual([]);
  expect(new Ledger(relayed).faults).toEqual([]);
  const { records, verification } = await readLog();
  expect(verification.ok).toBe(true);
  expect(differences(relayed, records, cluster)).toEqual([]);
}
