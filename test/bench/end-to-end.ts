import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
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
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

export interface EndToEnd {
  /** Inputs decided per second. */
  readonly ours: number;
  readonly raw: number;
}

/** Our whole chain and the raw one, in turn on the same server settings; inputs per second. */
export async function measureEndToEnd(syncInterval: string, inputs: number): Promise<EndToEnd> {
  const { path: binary } = await findNatsServer();
  const run = async <T>(body: (url: string, dataDir: string) => Promise<T>): Promise<T> => {
    const dataDir = await mkdtemp(join(tmpdir(), 'vf-bench-'));
    const server = await startNatsServer({ binary, dataDir, port: 0, syncInterval });
    try {
      return await body(server.url, dataDir);
    } finally {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    }
  };
  const raw = await run((url) => measureRaw(url, inputs));
  const ours = await run((url, dataDir) => measureOurs(url, dataDir, inputs));
  return { ours, raw };
}

const start = (vm: number): Uint8Array =>
  event('VmStartRequested', {
    vmId: `vm-${vm}`,
    nics: [{ nicId: 'n0', physicalNetwork: 'em1' }],
    strategy: 'spread',
  });
const stop = (vm: number): Uint8Array => event('VmStopped', { vmId: `vm-${vm}` });

async function measureRaw(url: string, inputs: number): Promise<number> {
  const connection = await connect({ servers: url });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'RAW_IN', subjects: ['raw.in.>'] });
  const program = await startProgram('raw-chain.js', [url, String(OUTPUTS)]);
  try {
    const outcomes = await counter(connection, 'raw.out.>', (subject) => subject === 'raw.out.outcome');
    const publisher = new Publisher(connection);
    const begun = performance.now();
    for (let vm = 0; vm < inputs / 2; vm++) {
      await publisher.publish(`raw.in.vm-${vm}`, start(vm));
      await publisher.publish(`raw.in.vm-${vm}`, stop(vm));
    }
    await outcomes.reach(inputs);
    return inputs / ((performance.now() - begun) / 1000);
  } finally {
    await stopProgram(program);
    await connection.close();
  }
}

async function measureOurs(url: string, dataDir: string, inputs: number): Promise<number> {
  const program = await startProgram('../../apps/standalone/src/main.js', [], {
    VF_NATS_URL: url,
    VF_DATA_DIR: join(dataDir, 'scheduler'),
    VF_HTTP_PORT: '0',
    VF_LOG_LEVEL: 'warn',
  });
  const connection = await connect({ servers: url });
  try {
    const publisher = new Publisher(connection);
    const registered = await counter(connection, 'vf.out.default.host.>', (subject) =>
      subject.endsWith('.HostRegistered'),
    );
    for (let host = 0; host < HOSTS; host++) {
      const subject = inputSubject('default', 'host', `host-${host}`, 'HostReported');
      await publisher.publish(subject, event('HostReported', report(host)));
    }
    await registered.reach(HOSTS);
    const outcomes = await counter(
      connection,
      'vf.out.default.vm.>',
      (subject) =>
        subject.endsWith('.VmStartAccepted') ||
        subject.endsWith('.VmStopped') ||
        subject.endsWith('.VmStartFailed'),
    );
    const begun = performance.now();
    for (let vm = 0; vm < inputs / 2; vm++) {
      await publisher.publish(inputSubject('default', 'vm', `vm-${vm}`, 'VmStartRequested'), start(vm));
      await publisher.publish(inputSubject('default', 'vm', `vm-${vm}`, 'VmStopped'), stop(vm));
    }
    await outcomes.reach(inputs);
    return inputs / ((performance.now() - begun) / 1000);
  } finally {
    await stopProgram(program);
    await connection.close();
  }
}

/** The end-to-end row of the table, for both sync settings. */
export async function benchEndToEnd(inputs: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const sync of ['always', '2m']) {
    const { ours, raw } = await measureEndToEnd(sync, sync === 'always' ? Math.floor(inputs / 5) : inputs);
    figures.push(
      { figure: `end-to-end, sync_interval ${sync}`, value: Math.round(ours), unit: 'inputs/s' },
      { figure: `raw chain, sync_interval ${sync}`, value: Math.round(raw), unit: 'inputs/s' },
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
