import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { emptyState, step, type Input, type Inputs, type InputType, type State } from '#domain';
import type { Figure } from './figure.js';

/** decide and evolve alone, in memory, through `step`: what a decision costs when nothing else does. */

const VFS = 64;
/** Starts, and then as many stops, that are timed together. */
const BLOCK = 120;
const ROUNDS = 300;

/**
 * A fleet in memory, and the inputs that move it. Inputs are made before the clock starts: making them is the
 * edge's work.
 */
class Fleet {
  readonly state: State = emptyState('bench');
  private count = 0;

  constructor(hosts: number, pfs: number, vfs = VFS) {
    this.take('L2NetworkDefined', {
      l2Id: 'l2',
      type: 'L2VlanNetwork',
      physicalInterface: 'physA',
      vlanId: 7,
      sriov: true,
    });
    this.take('L3NetworkDefined', { l3Id: 'net', l2Id: 'l2', kind: 'flat', sriov: true });
    for (let host = 0; host < hosts; host++) this.report(`host-${host}`, pfs, vfs);
  }

  report(hostId: string, pfs: number, vfs: number): void {
    const report = {
      hostId,
      bootId: `boot-${hostId}`,
      seq: 1,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: Array.from({ length: pfs }, (_, pf) => ({
        pciAddress: address(pf, 0),
        ifname: `ens${pf}`,
        model: 'ConnectX-6',
        driver: 'mlx5_core',
        link: 'up',
        speedMbps: 25_000,
        totalVfs: vfs,
        physicalNetwork: pf === 0 ? 'physA' : `phys${pf}`,
        vfs: Array.from({ length: vfs }, (_, vf) => ({
          pciAddress: address(pf, vf + 1),
          index: vf,
          mac: '00:00:00:00:00:00',
          iommuGroup: 100 + vf,
        })),
      })),
    };
    // Through JSON, as it comes over the wire: every text is a text of its own.
    this.take('HostReported', JSON.parse(JSON.stringify(report)) as Inputs['HostReported']);
  }

  input<T extends InputType>(type: T, data: Inputs[T]): Input {
    const count = ++this.count;
    return {
      id: `01JABCDEFGHJKMNPQRSTVWXYZ${count}`,
      type,
      data,
      time: 1_750_000_000_000 + count,
      digest: count.toString(16).padStart(16, '0'),
    } as unknown as Input;
  }

  take<T extends InputType>(type: T, data: Inputs[T]): void {
    this.run([this.input(type, data)]);
  }

  /** @returns milliseconds that the inputs took together. */
  run(inputs: readonly Input[]): number {
    const source = { stream: 's', sequence: 1 };
    const start = process.hrtime.bigint();
    for (const input of inputs) step(this.state, input, source);
    return Number(process.hrtime.bigint() - start) / 1e6;
  }

  starts(count: number, name = 'vm'): Input[] {
    return Array.from({ length: count }, (_, i) =>
      this.input('VmStartRequested', {
        vmId: `${name}-${i}`,
        nics: [{ nicId: 'nic-0', networkId: 'net', guestSlot: 5 }],
        tenant: 'red',
      }),
    );
  }

  ends(count: number, type: 'VmStopped' | 'VmDestroyed', name = 'vm'): Input[] {
    return Array.from({ length: count }, (_, i) => this.input(type, { vmId: `${name}-${i}` }));
  }

  /** Starts VMs with 16 VFs each, on one network after the other. */
  fill(vms: number, networks: readonly string[]): void {
    for (let vm = 0; vm < vms; vm++) {
      this.take('VmStartRequested', {
        vmId: `full-${networks[0]}-${vm}`,
        nics: Array.from({ length: 16 }, (_, i) => ({
          nicId: `nic-${i}`,
          physicalNetwork: networks[vm % networks.length],
        })),
      });
    }
  }
}

const address = (pf: number, fn: number): string => {
  const device = (fn >> 3).toString(16).padStart(2, '0');
  return `${pf.toString(16).padStart(4, '0')}:82:${device}.${fn & 7}`;
};

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** Starts and then stops of the same VMs, timed apart, in milliseconds. */
function round(fleet: Fleet, end: 'VmStopped' | 'VmDestroyed'): { starts: number; stops: number } {
  const starts = fleet.starts(BLOCK);
  const stops = fleet.ends(BLOCK, end);
  return { starts: fleet.run(starts), stops: fleet.run(stops) };
}

const perSecond = (millis: number, decisions: number): number => decisions / (millis / 1000);

/** Runs the fleets in turn, so that a slow moment of the machine falls on all of them. */
function inTurn(
  fleets: readonly Fleet[],
  end: 'VmStopped' | 'VmDestroyed' = 'VmStopped',
): { starts: number; stops: number }[] {
  const rounds = fleets.map((): { starts: number; stops: number }[] => []);
  for (let i = -50; i < ROUNDS; i++) {
    for (const [index, fleet] of fleets.entries()) {
      const times = round(fleet, end);
      if (i >= 0) (rounds[index] as (typeof times)[]).push(times);
    }
  }
  return rounds.map((times) => ({
    starts: median(times.map(({ starts }) => starts)),
    stops: median(times.map(({ stops }) => stops)),
  }));
}

function benchRates(): Figure[] {
  const figures: Figure[] = [];
  const sizes = [10, 1_000, 10_000];
  const fleets = sizes.map((hosts) => new Fleet(hosts, 2));
  const times = inTurn(fleets);
  for (const [index, hosts] of sizes.entries()) {
    const { starts, stops } = times[index] as (typeof times)[number];
    figures.push({
      figure: `decisions, start and stop, ${hosts.toLocaleString('en')} hosts`,
      value: perSecond(starts + stops, 2 * BLOCK),
      unit: 'decisions/s',
      goal: '≥ 200,000',
    });
  }
  const [small, , large] = times as [(typeof times)[number], unknown, (typeof times)[number]];
  figures.push({
    figure: 'time of a decision, 10,000 hosts ÷ 10 hosts',
    value: (large.starts + large.stops) / (small.starts + small.stops),
    unit: '×',
    goal: '≤ 1.5',
  });
  return figures;
}

function benchFill(): Figure[] {
  const hosts = 1_000;
  const all = (hosts * VFS) / 16;
  const half = new Fleet(hosts, 2);
  half.fill(all, ['physA', 'phys1']);
  // 99.9 %: 128 of 128,000 VFs are left, and each block of starts takes nearly all of them.
  const almost = new Fleet(hosts, 2);
  almost.fill(all, ['phys1']);
  almost.fill(all - 8, ['physA']);
  const full = new Fleet(hosts, 2);
  full.fill(2 * all, ['physA', 'phys1']);
  type Times = ReturnType<typeof inTurn>[number];
  const [atHalf, atAlmost] = inTurn([half, almost]) as [Times, Times];
  // A VM that was refused is not known the next time either: so are those that it is compared with.
  const [accepted, refused] = inTurn([half, full], 'VmDestroyed') as [Times, Times];
  return [
    {
      figure: 'decisions, start and stop, half full',
      value: perSecond(atHalf.starts + atHalf.stops, 2 * BLOCK),
      unit: 'decisions/s',
      goal: '≥ 200,000',
    },
    {
      figure: 'time of a decision, 99.9 % full ÷ half full',
      value: (atAlmost.starts + atAlmost.stops) / (atHalf.starts + atHalf.stops),
      unit: '×',
      goal: '≤ 1.5',
    },
    {
      figure: 'time of a refusal on a full cluster ÷ of an acceptance',
      value: refused.starts / accepted.starts,
      unit: '×',
      goal: '≤ 1',
    },
  ];
}

/** One VM that asks for a VF of each of as many PFs as it has NICs, where each has one free. */
function benchManyVfs(): Figure[] {
  return [8, 16, 21, 32, 48].map((wanted): Figure => {
    const fleet = new Fleet(200, 2, 8);
    fleet.report('wide', wanted, 1);
    const start = (): Input =>
      fleet.input('VmStartRequested', {
        vmId: 'vm',
        nics: Array.from({ length: wanted }, (_, i) => ({ nicId: `nic-${i}` })),
        separatePfs: true,
      });
    const times: number[] = [];
    for (let i = 0; i < 300; i++) {
      times.push(fleet.run([start()]));
      if (fleet.state.vms.get('vm')?.held !== wanted) throw new Error(`the VM did not get its ${wanted} VFs`);
      fleet.run([fleet.input('VmStopped', { vmId: 'vm' })]);
    }
    return {
      figure: `one VM with ${wanted} VFs from ${wanted} PFs`,
      value: median(times.slice(100)),
      unit: 'ms',
      goal: '< 1',
    };
  });
}

/** In a process of its own: what a process with this state alone has resident. */
function memory(): { heap: number; rss: number } {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const fleet = new Fleet(1_000, 4);
  fleet.fill((1_000 * 4 * VFS) / 2 / 16, ['physA', 'phys1', 'phys2', 'phys3']);
  collect();
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  if (fleet.state.allocations.size !== (1_000 * 4 * VFS) / 2) throw new Error('the fleet is not half full');
  return { heap: heapUsed / 2 ** 20, rss: rss / 2 ** 20 };
}

async function benchMemory(): Promise<Figure[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), 'memory']);
  const { heap, rss } = JSON.parse(stdout) as ReturnType<typeof memory>;
  const state = 'state of 1,000 hosts × 4 PFs × 64 VFs, half allocated';
  return [
    { figure: `${state}: heap`, value: heap, unit: 'MiB', goal: '< 200 resident' },
    { figure: `${state}: resident`, value: rss, unit: 'MiB', goal: '< 200' },
  ];
}

export async function benchDecision(): Promise<readonly Figure[]> {
  return [...benchRates(), ...benchFill(), ...benchManyVfs(), ...(await benchMemory())];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === 'memory') process.stdout.write(JSON.stringify(memory()));
  else console.table(await benchDecision());
}
