import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { inputSubject } from '#wire';
import { onServer, startProgram, type Program } from './programs.js';
import { counter, event, Publisher, type Chain } from './traffic.js';

/** Output messages of an input: `VfAllocated` and `VmStartAccepted`, `VfReleased` and `VmStopped`. */
const OUTPUTS = 2;

/** The fleet under the scheduler: it never fills. */
const HOSTS = 1000;
const PFS = 2;
const VFS = 64;

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

const startEvent = (vm: number): Uint8Array =>
  event('VmStartRequested', {
    vmId: `vm-${vm}`,
    nics: [{ nicId: 'n0', physicalNetwork: 'em1' }],
    strategy: 'spread',
  });
const stopEvent = (vm: number): Uint8Array => event('VmStopped', { vmId: `vm-${vm}` });

/** Registers the fleet, and waits until it is. */
export async function registerFleet(connection: NatsConnection): Promise<void> {
  const publisher = new Publisher(connection);
  const isRegistered = (subject: string): boolean => subject.endsWith('.HostRegistered');
  const registered = await counter(connection, 'vf.out.default.host.>', isRegistered);
  for (let host = 0; host < HOSTS; host++) {
    const subject = inputSubject('default', 'host', `host-${host}`, 'HostReported');
    await publisher.publish(subject, event('HostReported', report(host)));
  }
  await registered.reach(HOSTS);
}

/** Far below the 90 s after which a host that is not heard is lost, in milliseconds. */
const HEARTBEAT_EVERY = 30_000;

/** Has each host of the fleet give a sign of life, as its agent does: a few a second. @returns what ends it. */
function keepAlive(connection: NatsConnection): () => void {
  let host = 0;
  // One after that of the report: a sign of life that is not news counts for nothing (HOST-9).
  let seq = 2;
  const timer = setInterval(() => {
    const subject = inputSubject('default', 'host', `host-${host}`, 'HostSeen');
    const data = { hostId: `host-${host}`, bootId: 'boot-1', seq, digest: 'same' };
    connection.publish(subject, event('HostSeen', data));
    host = (host + 1) % HOSTS;
    if (host === 0) seq++;
  }, HEARTBEAT_EVERY / HOSTS);
  return () => clearInterval(timer);
}

const vmSubject = (vm: number, type: string): string => inputSubject('default', 'vm', `vm-${vm}`, type);

/**
 * The scheduler as a chain.
 *
 * @param vms so many VMs take turns; by default each start is of a new one.
 */
export const schedulerChain = (connection: NatsConnection, vms = Infinity): Chain => ({
  connection,
  start: (vm) => [vmSubject(vm % vms, 'VmStartRequested'), startEvent(vm % vms)],
  stop: (vm) => [vmSubject(vm % vms, 'VmStopped'), stopEvent(vm % vms)],
  outcomes: 'vf.out.default.vm.>',
  isOutcome: (subject) => /\.(VmStartAccepted|VmStopped|VmStartFailed|InputIgnored)$/.test(subject),
  isRefusal: (subject) => /\.(VmStartFailed|InputIgnored)$/.test(subject),
});

export interface SchedulerOptions {
  /** See {@link schedulerChain}. */
  readonly vms?: number;
  /** See `startProgram`. */
  readonly probe?: string;
  readonly settings?: Record<string, string>;
}

/**
 * Runs the scheduler with its fleet registered: a real process on a real nats-server.
 *
 * @param measure also given the program, and its data directory.
 */
export const withScheduler = <T>(
  syncInterval: string,
  measure: (chain: Chain, program: Program, data: string) => Promise<T>,
  { vms, probe, settings }: SchedulerOptions = {},
): Promise<T> =>
  onServer(syncInterval, async (url, directory) => {
    const data = join(directory, 'scheduler');
    const env = {
      VF_NATS_URL: url,
      VF_DATA_DIR: data,
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'warn',
      ...settings,
    };
    const program = await startProgram('../../apps/standalone/src/main.js', { env, probe });
    const connection = await connect({ servers: url });
    let rest = (): void => undefined;
    try {
      await program.whileItLives(registerFleet(connection));
      rest = keepAlive(connection);
      return await program.whileItLives(measure(schedulerChain(connection, vms), program, data));
    } finally {
      rest();
      await program.stop();
      await connection.close();
    }
  });

/** Runs the raw chain, the limit of the machine: see `raw-chain.ts`. */
export const withRawChain = <T>(syncInterval: string, measure: (chain: Chain) => Promise<T>): Promise<T> =>
  onServer(syncInterval, async (url) => {
    const connection = await connect({ servers: url });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'RAW_IN', subjects: ['raw.in.>'] });
    const program = await startProgram('raw-chain.js', { args: [url, String(OUTPUTS)] });
    try {
      const chain: Chain = {
        connection,
        start: (vm) => [`raw.in.vm-${vm}`, startEvent(vm)],
        stop: (vm) => [`raw.in.vm-${vm}`, stopEvent(vm)],
        outcomes: 'raw.out.>',
        isOutcome: (subject) => subject === 'raw.out.outcome',
        isRefusal: () => false,
      };
      return await program.whileItLives(measure(chain));
    } finally {
      await program.stop();
      await connection.close();
    }
  });
