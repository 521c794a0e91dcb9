import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, createInbox, type NatsConnection } from '@nats-io/transport-node';
import { findNatsServer, startNatsServer } from '#broker';
import { inputSubject } from '#wire';
import type { Figure } from './figure.js';

const HOSTS = 1000;
const PFS = 2;
const VFS = 64;
const OUTPUTS = 2;
/** Publishes that may wait for their ack. */
const WINDOW = 512;
const encoder = new TextEncoder();

const pci = (bus: number, device: number, fn: number): string =>
  `0000:${bus.toString(16).padStart(2, '0')}:${device.toString(16).padStart(2, '0')}.${fn}`;

/** A host with all its VFs, as its agent reports it. */
const report = (host: number): object => ({
  hostId: `host-${host}`,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: Array.from({ length: PFS }, (_, pf) => ({
    pciAddress: pci(0x80 + pf, 0, 0),
    ifname: `em${pf + 1}`,
    link: 'up',
    speedMbps: 10_000,
    totalVfs: VFS,
    vfs: Array.from({ length: VFS }, (__, vf) => ({
      pciAddress: pci(0x80 + pf, 2 + (vf >> 3), vf & 7),
      index: vf,
    })),
  })),
});

/** Publishes to a stream, pipelined, without a promise for each message; tells when all is acknowledged. */
class Publisher {
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
const event = (type: string, data: object): Uint8Array =>
  encoder.encode(
    JSON.stringify({
      specversion: '1.0',
      id: `bench-${++ids}`,
      source: '/bench',
      type,
      time: '2026-11-21T00:00:00Z',
      data,
    }),
  );

/** Counts messages under a subject, with the time at which each id came. */
async function counter(
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

/** Starts a program and waits for its first line. */
async function startProgram(
  file: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(import.meta.dirname, file), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', () => resolve());
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code} before it was ready`)));
  });
  return child;
}

async function stopProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** Measures while the program lives: one that dies would be waited for for ever. */
async function whileItLives<T>(child: ChildProcess, measuring: Promise<T>): Promise<T> {
  let onExit = (): void => undefined;
  const died = new Promise<never>((_, reject) => {
    onExit = () => reject(new Error('the program under measurement ended by itself'));
    child.once('exit', onExit);
  });
  try {
    return await Promise.race([measuring, died]);
  } finally {
    child.off('exit', onExit);
  }
}

/** A chain under measurement: how to publish to it, and which messages are its outcomes. */
interface Chain {
  readonly connection: NatsConnection;
  start(vm: number): readonly [subject: string, payload: Uint8Array];
  stop(vm: number): readonly [subject: string, payload: Uint8Array];
  readonly outcomes: string;
  isOutcome(subject: string): boolean;
}

const startEvent = (vm: number): Uint8Array =>
  event('VmStartRequested', {
    vmId: `vm-${vm}`,
    nics: [{ nicId: 'n0', physicalNetwork: 'em1' }],
    strategy: 'spread',
  });
const stopEvent = (vm: number): Uint8Array => event('VmStopped', { vmId: `vm-${vm}` });

/** Runs on a nats-server of its own, with the given sync setting. */
async function onServer<T>(
  syncInterval: string,
  body: (url: string, dataDir: string) => Promise<T>,
): Promise<T> {
  const { path: binary } = await findNatsServer();
  const dataDir = await mkdtemp(join(tmpdir(), 'vf-bench-'));
  const server = await startNatsServer({ binary, dataDir, port: 0, syncInterval });
  try {
    return await body(server.url, dataDir);
  } finally {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** The raw chain, ready. */
const withRaw = <T>(syncInterval: string, measure: (chain: Chain) => Promise<T>): Promise<T> =>
  onServer(syncInterval, async (url) => {
    const connection = await connect({ servers: url });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'RAW_IN', subjects: ['raw.in.>'] });
    const program = await startProgram('raw-chain.js', [url, String(OUTPUTS)]);
    try {
      const chain: Chain = {
        connection,
        start: (vm) => [`raw.in.vm-${vm}`, startEvent(vm)],
        stop: (vm) => [`raw.in.vm-${vm}`, stopEvent(vm)],
        outcomes: 'raw.out.>',
        isOutcome: (subject) => subject === 'raw.out.outcome',
      };
      return await whileItLives(program, measure(chain));
    } finally {
      await stopProgram(program);
      await connection.close();
    }
  });

/** The scheduler with its fleet registered, ready. */
const withOurs = <T>(syncInterval: string, measure: (chain: Chain) => Promise<T>): Promise<T> =>
  onServer(syncInterval, async (url, dataDir) => {
    const program = await startProgram('../../apps/standalone/src/main.js', [], {
      VF_NATS_URL: url,
      VF_DATA_DIR: join(dataDir, 'scheduler'),
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'warn',
    });
    const connection = await connect({ servers: url });
    try {
      const publisher = new Publisher(connection);
      const isRegistered = (subject: string): boolean => subject.endsWith('.HostRegistered');
      const registered = await counter(connection, 'vf.out.default.host.>', isRegistered);
      for (let host = 0; host < HOSTS; host++) {
        const subject = inputSubject('default', 'host', `host-${host}`, 'HostReported');
        await publisher.publish(subject, event('HostReported', report(host)));
      }
      await registered.reach(HOSTS);
      const subject = (vm: number, type: string): string => inputSubject('default', 'vm', `vm-${vm}`, type);
      const chain: Chain = {
        connection,
        start: (vm) => [subject(vm, 'VmStartRequested'), startEvent(vm)],
        stop: (vm) => [subject(vm, 'VmStopped'), stopEvent(vm)],
        outcomes: 'vf.out.default.vm.>',
        isOutcome: (outcome) => /\.(VmStartAccepted|VmStartFailed|VmStopped)$/.test(outcome),
      };
      return await whileItLives(program, measure(chain));
    } finally {
      await stopProgram(program);
      await connection.close();
    }
  });

/**
 * VMs start and stop as fast as they are taken; inputs per second, from the first publish to the last
 * outcome.
 */
async function rateOf(chain: Chain, inputs: number): Promise<number> {
  const outcomes = await counter(chain.connection, chain.outcomes, chain.isOutcome);
  const publisher = new Publisher(chain.connection);
  const begun = performance.now();
  for (let vm = 0; vm < inputs / 2; vm++) {
    await publisher.publish(...chain.start(vm));
    await publisher.publish(...chain.stop(vm));
  }
  await outcomes.reach(inputs);
  return inputs / ((performance.now() - begun) / 1000);
}

/**
 * Starts offered at a steady rate, each followed by its stop; milliseconds from the publish to the outcome,
 * ascending.
 */
async function latenciesOf(chain: Chain, perSecond: number, seconds: number): Promise<readonly number[]> {
  const sent: number[] = [];
  const took: number[] = [];
  let outcomes = 0;
  let wake: (() => void) | undefined;
  const total = perSecond * seconds;
  chain.connection.subscribe(chain.outcomes, {
    callback: (error, message) => {
      if (error !== null || !chain.isOutcome(message.subject)) return;
      // Both chains keep the order of their inputs, and starts and stops alternate.
      const index = outcomes++;
      if (index % 2 === 0) took.push(performance.now() - (sent[index / 2] as number));
      if (outcomes === total * 2) wake?.();
    },
  });
  await chain.connection.flush();
  const publisher = new Publisher(chain.connection);
  const begun = performance.now();
  for (let vm = 0; vm < total; vm++) {
    const due = begun + (vm * 1000) / perSecond;
    while (performance.now() < due) await delay(1);
    sent.push(performance.now());
    await publisher.publish(...chain.start(vm));
    await publisher.publish(...chain.stop(vm));
  }
  if (outcomes < total * 2) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  return took.sort((a, b) => a - b);
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

/** The end-to-end rows, for both sync settings. */
export async function benchEndToEnd(inputs: number): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const sync of ['always', '2m']) {
    // With a disk write for each message a fifth of the inputs takes as long.
    const count = sync === 'always' ? inputs / 5 : inputs;
    const raw = await withRaw(sync, (chain) => rateOf(chain, count));
    const ours = await withOurs(sync, (chain) => rateOf(chain, count));
    figures.push(
      { figure: `raw chain, sync_interval ${sync}`, value: raw, unit: 'inputs/s' },
      { figure: `end-to-end, sync_interval ${sync}`, value: ours, unit: 'inputs/s' },
      {
        figure: `end-to-end / raw chain, sync_interval ${sync}`,
        value: ours / raw,
        unit: '×',
        goal: '≥ 0.7',
      },
    );
  }
  return figures;
}

const STARTS_PER_SECOND = 500;

/** The latency rows: 500 starts a second. */
export async function benchLatency(seconds: number): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const sync of ['always', '2m']) {
    const raw = await withRaw(sync, (chain) => latenciesOf(chain, STARTS_PER_SECOND, seconds));
    const ours = await withOurs(sync, (chain) => latenciesOf(chain, STARTS_PER_SECOND, seconds));
    const [rawP99, ourP99] = [percentile(raw, 0.99), percentile(ours, 0.99)];
    figures.push(
      {
        figure: `raw chain at 500 starts/s, p50, sync_interval ${sync}`,
        value: percentile(raw, 0.5),
        unit: 'ms',
      },
      { figure: `raw chain at 500 starts/s, p99, sync_interval ${sync}`, value: rawP99, unit: 'ms' },
      {
        figure: `latency at 500 starts/s, p50, sync_interval ${sync}`,
        value: percentile(ours, 0.5),
        unit: 'ms',
      },
      { figure: `latency at 500 starts/s, p99, sync_interval ${sync}`, value: ourP99, unit: 'ms' },
      {
        figure: `latency p99 / raw chain p99, sync_interval ${sync}`,
        value: ourP99 / rawP99,
        unit: '×',
        goal: '< 3',
      },
    );
  }
  return figures;
}
