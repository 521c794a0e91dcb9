import type { PlacedEvent } from '../events.js';
import type { Input, Inputs, InputType, NicSpec, PfReport, VfReport } from '../inputs.js';
import { hash53 } from '../naming.js';

/**
 * A small fleet with its control planes, as seen from outside: it turns abstract moves into inputs, and hears
 * the events that come out, as agents and control planes do. What it does depends on moves and events alone,
 * so a history shrinks and repeats.
 */

export interface PfShape {
  /** VFs it is split into when it is first reported. */
  readonly split: number;
  readonly totalVfs: number;
  readonly physicalNetwork: number;
  readonly bonded: boolean;
  readonly numaNode: number;
}
export interface HostShape {
  readonly pfs: readonly PfShape[];
  readonly scrubs: boolean;
  readonly ready: boolean;
}
export interface Shape {
  readonly hosts: readonly HostShape[];
  readonly vms: number;
}

/** What happens next: a kind, and a number from which every choice is drawn. */
export interface Move {
  readonly kind: MoveKind;
  readonly choices: number;
}
export interface History {
  readonly shape: Shape;
  readonly moves: readonly Move[];
}

export type MoveKind = keyof typeof MOVES;

/**
 * Draws choices from one number, least first: 0 is always the plainest choice, to which a history shrinks.
 */
class Choices {
  constructor(private rest: number) {}

  upTo(count: number): number {
    const chosen = this.rest % count;
    this.rest = Math.floor(this.rest / count);
    return chosen;
  }

  /** True in one of `oneIn` cases, and not for 0. */
  seldom(oneIn: number): boolean {
    return this.upTo(oneIn) === oneIn - 1;
  }

  of<T>(values: readonly T[]): T {
    return values[this.upTo(values.length)] as T;
  }

  maybe<T>(oneIn: number, value: () => T): T | undefined {
    return this.seldom(oneIn) ? value() : undefined;
  }
}

interface PhysicalVf {
  readonly address: string;
  readonly index: number;
  usedBy?: string;
  driver?: string;
  scrubbedFor?: string;
  /** The MAC that it comes with, where it comes with one, and the one that it has now. */
  readonly ownMac?: string;
  mac?: string;
  vlan?: number;
  hostUse?: 'address' | 'bridge';
  shared?: boolean;
}
interface PhysicalPf extends PfShape {
  readonly address: string;
  readonly port: number;
  totalVfs: number;
  link: 'up' | 'down';
  serial: string;
  /** Its reports leave the serial out. */
  quiet?: boolean;
  /** Not in the reports. */
  hidden: boolean;
  vfs: PhysicalVf[];
}
type Order =
  | { readonly kind: 'split'; readonly pf: string; readonly numVfs: number }
  | { readonly kind: 'restore'; readonly pf: string }
  | { readonly kind: 'scrub'; readonly vf: string; readonly allocationId: string };
interface PhysicalHost {
  readonly id: string;
  readonly scrubs: boolean;
  ready: boolean;
  boot: number;
  seq: number;
  bootedAt: number;
  /** How far the clock of its agent is ahead, in milliseconds. */
  clock: number;
  pfs: PhysicalPf[];
  readonly vms: Set<string>;
  readonly orders: Order[];
}
interface Held {
  readonly allocationId: string;
  readonly vmId: string;
  readonly nicId: string;
  readonly hostId: string;
  readonly vf: string;
  readonly mac: string;
  readonly vlanId?: number;
}

const START = Date.UTC(2026, 0, 1);
const NETWORKS = ['physA', 'physB', 'physC'];
const L3 = ['net0', 'net1', 'net2', 'net3'];
const TENANTS = ['red', 'blue'];
const MACS = ['52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:03'];

const pfAddress = (port: number): string => `0000:82:00.${port}`;
/** PF-7: the ports' VFs interleave. */
const vfAddress = (port: number, index: number): string => {
  const place = index * 4 + port;
  return `0000:82:${(0x10 + (place >> 3)).toString(16)}.${place & 7}`;
};

const prune = <T extends object>(data: T): T => JSON.parse(JSON.stringify(data)) as T;

export class World {
  private now = START;
  private count = 0;
  private readonly hosts: PhysicalHost[];
  private readonly vmIds: string[];
  private readonly held = new Map<string, Held>();
  private readonly everHeld: Held[] = [];
  /** Where each VM was accepted last, and its NICs. */
  private readonly placed = new Map<string, { hostId: string; nicIds: string[] }>();
  private readonly running = new Set<string>();
  private readonly sent: Input[] = [];

  constructor(readonly shape: Shape) {
    this.vmIds = Array.from({ length: shape.vms }, (_, i) => `vm${i}`);
    this.hosts = shape.hosts.map((host, i) => ({
      id: `h${i}`,
      scrubs: host.scrubs,
      ready: host.ready,
      boot: 1,
      seq: 0,
      bootedAt: START - 3_600_000,
      clock: 0,
      vms: new Set(),
      orders: [],
      pfs: host.pfs.map((pf, port) => ({
        ...pf,
        address: pfAddress(port),
        port,
        link: 'up',
        serial: `s${i}${port}`,
        hidden: false,
        vfs: vfsOf(port, Math.min(pf.split, pf.totalVfs)),
      })),
    }));
  }

  /**
   * What every history begins with: networks, and a first report of each host but the last, which may come
   * later.
   */
  opening(): Input[] {
    const inputs: Input[] = [];
    for (const [i, name] of NETWORKS.entries()) {
      inputs.push(
        this.input('L2NetworkDefined', {
          l2Id: `l2-${i}`,
          type: i === 0 ? 'L2NoVlanNetwork' : 'L2VlanNetwork',
          physicalInterface: i === 2 ? 'bond0' : name,
          ...(i === 0 ? undefined : { vlanId: 100 + i }),
          sriov: true,
        }),
        this.input('L3NetworkDefined', { l3Id: L3[i] as string, l2Id: `l2-${i}`, kind: 'flat', sriov: true }),
      );
    }
    for (const host of this.hosts.slice(0, Math.max(1, this.hosts.length - 1)))
      inputs.push(this.report(host));
    return inputs;
  }

  next(move: Move): Input {
    const choices = new Choices(move.choices);
    const input = MOVES[move.kind](this, choices) ?? this.tick(1000);
    this.sent.push(input);
    return input;
  }

  /** Hears what came out. */
  hear(events: readonly PlacedEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'VfAllocated': {
          const { allocationId, vmId, nicId, hostId, vf, mac, vlanId } = event.data;
          const held = { allocationId, vmId, nicId, hostId, vf, mac, vlanId };
          this.held.set(allocationId, held);
          this.everHeld.push(held);
          if (event.data.reason !== 'start' && this.running.has(vmId)) this.use(held, vmId);
          break;
        }
        case 'VfReleased': {
          const held = this.held.get(event.data.allocationId);
          if (held !== undefined) this.use(held, undefined);
          this.held.delete(event.data.allocationId);
          break;
        }
        case 'VmStartAccepted':
        case 'VmAdopted':
          this.placed.set(event.data.vmId, {
            hostId: event.data.hostId,
            nicIds: event.data.nics.map((nic) => nic.nicId),
          });
          break;
        case 'PfVirtualizationOrdered':
          this.hostOf(event.data.hostId)?.orders.push({
            kind: 'split',
            pf: event.data.pf,
            numVfs: event.data.numVfs,
          });
          break;
        case 'PfRestoreOrdered':
          this.hostOf(event.data.hostId)?.orders.push({ kind: 'restore', pf: event.data.pf });
          break;
        case 'VfScrubRequested':
          this.hostOf(event.data.hostId)?.orders.push({
            kind: 'scrub',
            vf: event.data.vf,
            allocationId: event.data.allocationId,
          });
          break;
        default:
          break;
      }
    }
  }

  /** @param clock how far the sender's is ahead, in milliseconds. */
  input<T extends InputType>(type: T, data: Inputs[T], id = `in-${++this.count}`, clock = 0): Input {
    this.now += 10;
    const { now: time } = this;
    const said = prune(data);
    return {
      id,
      type,
      data: said,
      time,
      saidAt: time + clock,
      digest: digestOf(type, said),
    } as unknown as Input;
  }

  hostOf = (id: string): PhysicalHost | undefined => this.hosts.find((host) => host.id === id);
  host = (c: Choices): PhysicalHost => c.of(this.hosts);
  pf = (c: Choices): [PhysicalHost, PhysicalPf] => {
    const host = this.host(c);
    return [host, c.of(host.pfs)];
  };
  vmId = (c: Choices): string => c.of(this.vmIds);
  private vfAt = (hostId: string, address: string): PhysicalVf | undefined =>
    this.hostOf(hostId)
      ?.pfs.flatMap((pf) => pf.vfs)
      .find((vf) => vf.address === address);

  private use(held: Held, vmId: string | undefined): void {
    const vf = this.vfAt(held.hostId, held.vf);
    if (vf === undefined) return;
    if (vmId === undefined) {
      delete vf.usedBy;
      // What a guest leaves behind stays until a scrub.
      if (this.hostOf(held.hostId)?.scrubs === false) clean(vf);
      return;
    }
    vf.usedBy = vmId;
    vf.mac = held.mac;
    vf.vlan = held.vlanId;
  }

  tick(millis: number): Input {
    this.now += millis;
    return this.input('Tick', {});
  }

  report(host: PhysicalHost): Input {
    host.seq++;
    return this.input('HostReported', this.inventory(host), undefined, host.clock);
  }

  /** HOST-9: an agent that is restarted counts from one, and comes through with its third report. */
  restartAgent = (c: Choices): Input => {
    const host = this.host(c);
    host.seq = 0;
    return this.report(host);
  };

  /** A number or a clock of an agent is wrong, once or from now on. */
  lie = (c: Choices): Input => {
    const host = this.host(c);
    const far = 10 * 365 * 86_400_000;
    const inventory = this.inventory(host);
    const huge = Number.MAX_SAFE_INTEGER - c.upTo(3);
    switch (c.upTo(5)) {
      case 0:
        return this.input('HostReported', { ...inventory, seq: huge }, undefined, host.clock);
      case 1: {
        const { hostId, bootId } = inventory;
        return this.input('HostSeen', { hostId, bootId, seq: huge, digest: 'same' }, undefined, host.clock);
      }
      case 2:
        host.bootedAt += c.of([far, -far, 3_600_000]);
        break;
      case 3:
        host.clock = c.of([0, far, -far, 3_600_000, -3_600_000]);
        break;
      default:
        host.seq = c.of([0, huge, 4711]);
    }
    return this.report(host);
  };

  /** A report of old comes once more, under another id and with the time that it had. */
  replay = (c: Choices): Input | undefined => {
    const reports = this.sent.filter(({ type }) => type === 'HostReported' || type === 'HostSeen');
    const old = reports[reports.length - 1 - c.upTo(Math.min(12, reports.length))];
    if (old === undefined) return undefined;
    const { saidAt, ...again } = this.input(old.type, old.data);
    return { ...again, saidAt: old.saidAt ?? saidAt } as Input;
  };

  private inventory(host: PhysicalHost): Inputs['HostReported'] {
    return {
      hostId: host.id,
      bootId: `boot-${host.id}-${host.boot}`,
      seq: host.seq,
      bootedAt: new Date(host.bootedAt).toISOString(),
      iommu: { enabled: true, ready: host.ready },
      interruptRemapping: true,
      scrubs: host.scrubs,
      vms: [...host.vms].sort(),
      pfs: host.pfs.filter((pf) => !pf.hidden).map((pf) => pfReport(pf)),
    };
  }

  seen = (c: Choices): Input => {
    const host = this.host(c);
    host.seq++;
    const bootId = `boot-${host.id}-${host.boot}`;
    const data = { hostId: host.id, bootId, seq: host.seq, digest: 'same' };
    return this.input('HostSeen', data, undefined, host.clock);
  };

  /** An obedient agent does its oldest order; seldom it fails. */
  obey = (c: Choices): Input | undefined => {
    const busy = this.hosts.filter((host) => host.orders.length > 0);
    if (busy.length === 0) return undefined;
    const host = c.of(busy);
    const order = host.orders.shift() as Order;
    const fails = c.seldom(6);
    if (order.kind === 'scrub') {
      const vf = this.vfAt(host.id, order.vf);
      if (vf !== undefined && !fails) {
        vf.scrubbedFor = order.allocationId;
        // One that claims to be clean, and shows that it is not, is not believed.
        if (!c.seldom(5)) clean(vf);
      }
      // Cleaned, and told by the next report instead.
      if (!fails && c.seldom(5)) return this.report(host);
      const { allocationId } = order;
      return this.input('VfScrubbed', { hostId: host.id, vf: order.vf, allocationId, clean: !fails });
    }
    const pf = host.pfs.find((other) => other.address === order.pf);
    if (pf === undefined) return undefined;
    const where = { hostId: host.id, pf: pf.address };
    if (order.kind === 'restore') {
      if (fails) return this.input('PfRestoreFailed', { ...where, reason: 'busy' });
      pf.vfs = [];
      return c.seldom(5) ? this.report(host) : this.input('PfRestored', where);
    }
    if (fails) return this.input('PfVirtualizationFailed', { ...where, reason: 'no memory' });
    pf.vfs = vfsOf(pf.port, c.seldom(5) ? Math.max(1, order.numVfs - 1) : order.numVfs);
    return c.seldom(5)
      ? this.report(host)
      : this.input('PfVirtualized', { ...where, vfs: pf.vfs.map(vfReport) });
  };

  nics(c: Choices, count: number): NicSpec[] {
    return Array.from({ length: count }, (_, i) => this.nic(c, `nic${i}`, i + 1));
  }

  nic(c: Choices, nicId: string, guestSlot: number): NicSpec {
    const network = c.upTo(8);
    return {
      nicId,
      ...(c.seldom(7) ? { type: 'vnic' as const } : undefined),
      ...(network === 1 || network === 2 ? { physicalNetwork: NETWORKS[network - 1] } : undefined),
      ...(network === 3 ? { physicalNetwork: 'bond0' } : undefined),
      ...(network >= 5 ? { networkId: L3[network - 5] } : undefined),
      ...(c.seldom(2) ? { onExhaustion: 'fallback' as const } : undefined),
      ...(c.seldom(6) ? { mac: c.of(MACS) } : undefined),
      ...(c.seldom(3) ? { guestSlot } : undefined),
      ...(c.seldom(25) ? { securityGroups: ['sg1'] } : undefined),
      ...(c.seldom(25) ? { qos: { mbps: 10 } } : undefined),
    };
  }

  start = (c: Choices): Input => {
    const idle = this.vmIds.filter((id) => ![...this.held.values()].some((held) => held.vmId === id));
    const vmId = c.seldom(8) || idle.length === 0 ? this.vmId(c) : c.of(idle);
    const again = this.placed.has(vmId) && c.seldom(3);
    const where = c.upTo(4);
    return this.input('VmStartRequested', {
      vmId,
      ...(again ? undefined : { nics: this.nics(c, 1 + c.upTo(3)) }),
      ...(where === 1 ? { hostId: this.host(c).id } : undefined),
      ...(where === 2 ? { hosts: [this.host(c).id, this.host(c).id] } : undefined),
      ...(c.seldom(2) ? { tenant: c.of(TENANTS) } : undefined),
      ...(c.seldom(3) ? { strategy: 'spread' as const } : undefined),
      ...(c.seldom(3) ? { separatePfs: true } : undefined),
      ...(c.seldom(4) ? { numaNode: c.upTo(2) } : undefined),
      ...(c.seldom(6) ? { guestOs: 'Windows Server' } : undefined),
    });
  };

  started = (c: Choices): Input => {
    const waiting = [...this.placed.keys()].filter((id) => !this.running.has(id));
    const vmId = waiting.length === 0 ? this.vmId(c) : c.of(waiting);
    const hostId = this.placed.get(vmId)?.hostId;
    const host = hostId === undefined ? undefined : this.hostOf(hostId);
    if (host !== undefined) {
      this.running.add(vmId);
      host.vms.add(vmId);
      for (const held of this.held.values()) if (held.vmId === vmId) this.use(held, vmId);
    }
    const named = c.upTo(3);
    return this.input('VmStarted', {
      vmId,
      ...(named > 0 && hostId !== undefined ? { hostId } : undefined),
      ...(named > 1 && host !== undefined ? { bootId: `boot-${host.id}-${host.boot}` } : undefined),
    });
  };

  end(c: Choices, type: 'VmStopped' | 'VmStartAborted' | 'VmDestroyed'): Input {
    const vmId = c.of(this.placed.size === 0 ? this.vmIds : [...this.placed.keys()]);
    this.running.delete(vmId);
    for (const host of this.hosts) host.vms.delete(vmId);
    for (const held of this.held.values()) if (held.vmId === vmId) this.use(held, undefined);
    if (type === 'VmDestroyed') this.placed.delete(vmId);
    return this.input(type, { vmId });
  }

  adopt = (c: Choices): Input | undefined => {
    const host = this.host(c);
    const heldVfs = new Set([...this.held.values()].map((held) => `${held.hostId} ${held.vf}`));
    const free = host.pfs.flatMap((pf) => pf.vfs).filter((vf) => !heldVfs.has(`${host.id} ${vf.address}`));
    if (free.length === 0) return undefined;
    const vmId = this.vmId(c);
    const first = c.upTo(free.length);
    const vfs = free.slice(first, first + 1 + c.upTo(2));
    return this.input('VmAdopted', {
      vmId,
      hostId: host.id,
      nics: vfs.map((vf, i) => ({
        nicId: `nic${i}`,
        vf: vf.address,
        mac: `52:54:00:aa:${c.upTo(2)}${this.vmIds.indexOf(vmId)}:0${i}`,
        ...(c.seldom(3) ? { networkId: c.of(L3) } : undefined),
      })),
      ...(c.seldom(2) ? { tenant: c.of(TENANTS) } : undefined),
    });
  };

  attach = (c: Choices): Input => {
    const vmId = c.of(this.placed.size === 0 ? this.vmIds : [...this.placed.keys()]);
    const slot = c.upTo(5);
    return this.input('VmNicAttachRequested', { vmId, nic: this.nic(c, `nic${slot}`, slot + 1) });
  };

  nicOfVm = (c: Choices): { vmId: string; nicId: string } => ({
    vmId: c.of(this.placed.size === 0 ? this.vmIds : [...this.placed.keys()]),
    nicId: `nic${c.upTo(4)}`,
  });

  rebootHost = (c: Choices): Input => {
    const host = this.host(c);
    host.boot++;
    host.seq = 0;
    host.bootedAt = this.now;
    host.clock = 0;
    host.orders.length = 0;
    const survivors = c.upTo(3);
    if (survivors === 0) {
      for (const vmId of host.vms) this.running.delete(vmId);
      host.vms.clear();
    }
    for (const pf of host.pfs) {
      pf.hidden = false;
      // Some hardware comes back split, by a hook of the host's own; then VMs may have been started again
      // before the report.
      if (survivors !== 2) pf.vfs = [];
      else if (c.seldom(2)) for (const vf of pf.vfs) delete vf.usedBy;
      if (c.seldom(6)) pf.link = 'down';
    }
    return this.report(host);
  };

  loseDriver = (c: Choices): Input => {
    const [host, pf] = this.pf(c);
    for (const vf of pf.vfs) delete vf.usedBy;
    if (c.seldom(3)) pf.vfs = [];
    return this.input('PfDriverLost', { hostId: host.id, pf: pf.address });
  };

  /** The hardware changes by itself, and the host reports it. */
  changeHardware = (c: Choices): Input => {
    const [host, pf] = this.pf(c);
    switch (c.upTo(8)) {
      case 0:
        pf.hidden = !pf.hidden;
        break;
      case 1:
        if (c.seldom(3)) pf.quiet = pf.quiet !== true;
        else pf.serial = pf.serial.endsWith('x') ? pf.serial.slice(0, -1) : `${pf.serial}x`;
        break;
      case 2:
        host.ready = !host.ready;
        break;
      case 3:
        pf.link = pf.link === 'up' ? 'down' : 'up';
        break;
      case 4:
        pf.vfs = pf.vfs.length > 0 ? [] : vfsOf(pf.port, Math.min(2, pf.totalVfs));
        break;
      default: {
        const vf = pf.vfs[c.upTo(Math.max(1, pf.vfs.length))];
        if (vf === undefined) break;
        const what = c.upTo(5);
        if (what === 0) vf.usedBy = vf.usedBy === undefined ? this.vmId(c) : undefined;
        if (what === 1)
          vf.driver = vf.driver === undefined ? c.of(['vfio-pci', 'mlx5_vfio_pci', 'iavf']) : undefined;
        if (what === 2) vf.hostUse = vf.hostUse === undefined ? 'bridge' : undefined;
        if (what === 3) vf.shared = !vf.shared;
        if (what === 4) vf.scrubbedFor = this.heldOnce(c)?.allocationId;
      }
    }
    return this.report(host);
  };

  heldOnce = (c: Choices): Held | undefined =>
    this.everHeld.length === 0
      ? undefined
      : this.everHeld[this.everHeld.length - 1 - c.upTo(Math.min(12, this.everHeld.length))];

  scrubLate = (c: Choices): Input | undefined => {
    const held = this.heldOnce(c);
    if (held === undefined) return undefined;
    const { hostId, vf, allocationId } = held;
    return this.input('VfScrubbed', { hostId, vf, allocationId, clean: !c.seldom(3) });
  };

  operatorRelease = (c: Choices): Input | undefined => {
    const held = this.heldOnce(c);
    if (held === undefined) return undefined;
    return this.input('AllocationReleaseRequested', {
      hostId: held.hostId,
      allocationId: held.allocationId,
      reason: 'ticket 4711',
    });
  };

  policy = (c: Choices): Input =>
    this.input('ClusterPolicyChanged', {
      restoreOnBusy: c.maybe(3, () => c.of(['unload', 'reject'] as const)),
      bond: c.maybe(3, () => c.of(['warn', 'reject'] as const)),
      promotion: c.maybe(4, () => c.upTo(2) === 0),
      strategy: c.maybe(3, () => c.of(['pack', 'spread'] as const)),
      startTimeoutSeconds: c.maybe(4, () => 1 + c.upTo(100)),
      scrubTimeoutSeconds: c.maybe(4, () => 1 + c.upTo(100)),
      hostTimeoutSeconds: c.maybe(6, () => 10 + c.upTo(300)),
      quotas: c.maybe(2, () => ({ red: c.upTo(5), blue: 1 + c.upTo(6) })),
    });

  l2 = (c: Choices): Input => {
    const type = c.of(['L2NoVlanNetwork', 'L2VlanNetwork', 'VxlanNetwork'] as const);
    return this.input('L2NetworkDefined', {
      l2Id: `l2-${c.upTo(4)}`,
      type,
      physicalInterface: c.of([...NETWORKS, 'bond0']),
      ...(type === 'L2VlanNetwork' ? { vlanId: 1 + c.upTo(4000) } : undefined),
      sriov: !c.seldom(3),
    });
  };

  l3 = (c: Choices): Input =>
    this.input('L3NetworkDefined', {
      l3Id: c.of(L3),
      l2Id: `l2-${c.upTo(4)}`,
      kind: c.of(['public', 'flat', 'vrouter', 'vpc'] as const),
      sriov: !c.seldom(4),
    });

  /**
   * What was sent before, once more: the very message, the same id with other content, or the same content
   * anew.
   */
  again(c: Choices, how: 'repeat' | 'other' | 'anew'): Input | undefined {
    if (this.sent.length === 0) return undefined;
    const old = this.sent[this.sent.length - 1 - c.upTo(Math.min(40, this.sent.length))] as Input;
    if (how === 'repeat') return { ...old, time: this.now };
    if (how === 'other') return this.input('VmStopped', { vmId: this.vmId(c), reason: 'other' }, old.id);
    return this.input(old.type, old.data);
  }

  /** Any input about anything, well-formed and senseless. */
  raw(c: Choices): Input {
    if (c.seldom(8)) this.now -= 60_000;
    const type = c.of(INPUT_TYPES);
    const vmId = c.seldom(6) ? 'ghost' : this.vmId(c);
    const physical = this.host(c);
    const hostId = c.seldom(8) ? 'nowhere' : physical.id;
    const pf = c.seldom(8) ? '0000:ff:1f.7' : pfAddress(c.upTo(4));
    const nicId = `nic${c.upTo(4)}`;
    const generation = c.maybe(3, () => c.upTo(5));
    const held = this.heldOnce(c);
    const allocationId = held === undefined || c.seldom(5) ? '1-deadbeef' : held.allocationId;
    const anyVf = (): string => vfAddress(c.upTo(4), c.upTo(9));
    const vfs = (): VfReport[] =>
      unique(
        Array.from({ length: c.upTo(4) }, (_, index) => ({
          pciAddress: anyVf(),
          index,
          ...(c.seldom(6) ? { usedByVmId: this.vmId(c) } : undefined),
          ...(c.seldom(9) ? { iommuGroupShared: true } : undefined),
          ...(c.seldom(6) ? { scrubbedFor: allocationId } : undefined),
        })),
      );
    const data: { readonly [T in InputType]: () => Inputs[T] } = {
      VmStartRequested: () => ({
        vmId,
        generation,
        hostId: c.maybe(3, () => hostId),
        hosts: c.maybe(3, () => [hostId, 'nowhere']),
        nics: c.maybe(2, () => this.nics(c, c.upTo(4))),
        tenant: c.maybe(3, () => c.of(TENANTS)),
        separatePfs: c.seldom(2),
      }),
      VmStarted: () => ({
        vmId,
        generation,
        hostId: c.maybe(2, () => hostId),
        bootId: c.maybe(2, () => `boot-${hostId}-${physical.boot + c.upTo(3) - 1}`),
      }),
      VmStopped: () => ({ vmId, generation, reason: 'because' }),
      VmStartAborted: () => ({ vmId, generation }),
      VmDestroyed: () => ({ vmId, generation }),
      VmRebooted: () => ({ vmId, generation }),
      VmMigrated: () => ({ vmId, generation, hostId }),
      VmAdopted: () => ({
        vmId,
        generation,
        hostId,
        nics: vfs().map((vf, i) => ({ nicId: `nic${i}`, vf: vf.pciAddress, mac: MACS[i % 3] as string })),
        tenant: c.maybe(2, () => c.of(TENANTS)),
      }),
      VmNicAttachRequested: () => ({ vmId, generation, nic: this.nic(c, nicId, 1 + c.upTo(6)) }),
      VmNicDetachRequested: () => ({ vmId, generation, nicId }),
      VmNicTypeChangeRequested: () => ({ vmId, generation, nicId, type: c.of(['vf', 'vnic'] as const) }),
      VmMigrationRequested: () => ({
        vmId,
        generation,
        kind: c.of(['live', 'storage', 'cold'] as const),
        targetHostId: c.maybe(2, () => hostId),
      }),
      HostReported: () => ({
        ...this.inventory(physical),
        seq: c.upTo(3) === 0 ? physical.seq : ++physical.seq,
        bootId: `boot-${physical.id}-${c.seldom(4) ? c.upTo(physical.boot + 2) : physical.boot}`,
        bootedAt: undefined,
        vms: c.maybe(2, () => [this.vmId(c)]),
        interruptRemapping: !c.seldom(5),
        pfs: moved(
          physical.pfs.filter(() => !c.seldom(5)).map((port) => pfReport(port)),
          c,
        ),
      }),
      HostSeen: () => ({
        hostId,
        bootId: `boot-${hostId}-${c.upTo(3)}`,
        seq: c.upTo(20),
        digest: 'same',
      }),
      HostCordoned: () => ({ hostId, cordoned: c.upTo(2) === 0 }),
      HostFenced: () => ({ hostId }),
      HostRemovalRequested: () => ({ hostId }),
      PfVirtualizeRequested: () => ({ hostId, pf, numVfs: c.upTo(10) }),
      PfVirtualized: () => ({ hostId, pf, vfs: vfs() }),
      PfVirtualizationFailed: () => ({ hostId, pf, reason: 'no reason', numVfs: c.upTo(9) }),
      PfRestoreRequested: () => ({
        hostId,
        pf,
        onBusy: c.maybe(2, () => c.of(['unload', 'reject'] as const)),
      }),
      PfRestored: () => ({ hostId, pf }),
      PfRestoreFailed: () => ({ hostId, pf, reason: 'no reason' }),
      PfDriverLost: () => ({ hostId, pf }),
      PfLinkChanged: () => ({ hostId, pf, link: c.of(['up', 'down'] as const) }),
      PfCordoned: () => ({ hostId, pf, cordoned: c.upTo(2) === 0 }),
      PfAccepted: () => ({ hostId, pf }),
      VfScrubbed: () => ({
        hostId,
        vf: c.seldom(3) || held === undefined ? anyVf() : held.vf,
        allocationId,
        clean: c.upTo(2) === 0,
      }),
      AllocationReleaseRequested: () => ({ hostId: held?.hostId ?? hostId, allocationId, reason: 'why not' }),
      L2NetworkDefined: () => this.l2(c).data as Inputs['L2NetworkDefined'],
      L3NetworkDefined: () => this.l3(c).data as Inputs['L3NetworkDefined'],
      NetworkRemovalRequested: () => ({ id: c.of([...L3, 'l2-0', 'l2-1', 'l2-2', 'l2-3']) }),
      ClusterPolicyChanged: () => this.policy(c).data as Inputs['ClusterPolicyChanged'],
      Tick: () => ({}),
    };
    return this.input(type, data[type]());
  }
}

/**
 * A report in which a VF has gone over to another PF: no hardware does that, and a broken agent may say so.
 */
function moved(pfs: PfReport[], c: Choices): PfReport[] {
  const [from, to] = pfs;
  if (from === undefined || to === undefined || !c.seldom(4)) return pfs;
  const [vf] = from.vfs;
  if (vf === undefined) return pfs;
  return [{ ...from, vfs: from.vfs.slice(1) }, { ...to, vfs: [...to.vfs, vf] }, ...pfs.slice(2)];
}

/** The edge refuses an address that one message names twice. */
const unique = (vfs: readonly VfReport[]): VfReport[] => [
  ...new Map(vfs.map((vf) => [vf.pciAddress, vf])).values(),
];

const vfsOf = (port: number, count: number): PhysicalVf[] =>
  Array.from({ length: count }, (_, index) => {
    const ownMac = index % 2 === 1 ? `06:00:00:00:0${port}:0${index % 10}` : undefined;
    return { address: vfAddress(port, index), index, ownMac, mac: ownMac };
  });

const clean = (vf: PhysicalVf): void => {
  vf.mac = vf.ownMac ?? (vf.index % 4 === 0 ? undefined : '00:00:00:00:00:00');
  delete vf.vlan;
};

const vfReport = (vf: PhysicalVf): VfReport => ({
  pciAddress: vf.address,
  index: vf.index,
  ...(vf.mac === undefined ? undefined : { mac: vf.mac }),
  ...(vf.vlan === undefined ? undefined : { vlan: vf.vlan }),
  ...(vf.usedBy === undefined ? undefined : { usedByVmId: vf.usedBy }),
  ...(vf.driver === undefined ? undefined : { boundDriver: vf.driver }),
  ...(vf.hostUse === undefined ? undefined : { hostUse: vf.hostUse }),
  ...(vf.shared ? { iommuGroupShared: true } : undefined),
  ...(vf.scrubbedFor === undefined ? undefined : { scrubbedFor: vf.scrubbedFor }),
});

const pfReport = (pf: PhysicalPf): PfReport => ({
  pciAddress: pf.address,
  ifname: `ens${pf.port}`,
  model: pf.port === 3 ? 'BCM57810' : 'ConnectX-6',
  ...(pf.quiet === true ? undefined : { serial: pf.serial }),
  numaNode: pf.numaNode,
  link: pf.link,
  speedMbps: 25_000,
  totalVfs: pf.totalVfs,
  ...(pf.physicalNetwork === 0 ? undefined : { physicalNetwork: NETWORKS[pf.physicalNetwork - 1] }),
  ...(pf.bonded ? { bond: 'bond0' } : undefined),
  vfs: pf.vfs.map(vfReport),
});

const digestOf = (type: string, data: unknown): string => {
  const text = `${type}\n${JSON.stringify(data)}`;
  return `${hash53(text).toString(16).padStart(14, '0')}00`;
};

export const INPUT_TYPES: readonly InputType[] = [
  'VmStartRequested',
  'VmStarted',
  'VmStartAborted',
  'VmStopped',
  'VmDestroyed',
  'VmRebooted',
  'VmMigrated',
  'VmAdopted',
  'VmNicAttachRequested',
  'VmNicDetachRequested',
  'VmNicTypeChangeRequested',
  'VmMigrationRequested',
  'HostReported',
  'HostSeen',
  'HostCordoned',
  'HostFenced',
  'HostRemovalRequested',
  'PfVirtualizeRequested',
  'PfVirtualized',
  'PfVirtualizationFailed',
  'PfRestoreRequested',
  'PfRestored',
  'PfRestoreFailed',
  'PfDriverLost',
  'PfLinkChanged',
  'PfCordoned',
  'PfAccepted',
  'VfScrubbed',
  'AllocationReleaseRequested',
  'L2NetworkDefined',
  'L3NetworkDefined',
  'NetworkRemovalRequested',
  'ClusterPolicyChanged',
  'Tick',
];

/** Every kind of move: what it says, or undefined when there is nothing of the kind to say now. */
const MOVES = {
  report: (w: World, c: Choices) => w.report(w.host(c)),
  seen: (w: World, c: Choices) => w.seen(c),
  restartAgent: (w: World, c: Choices) => w.restartAgent(c),
  lie: (w: World, c: Choices) => w.lie(c),
  replay: (w: World, c: Choices) => w.replay(c),
  obey: (w: World, c: Choices) => w.obey(c),
  split: (w: World, c: Choices) => {
    const [host, pf] = w.pf(c);
    return w.input('PfVirtualizeRequested', { hostId: host.id, pf: pf.address, numVfs: 1 + c.upTo(8) });
  },
  restore: (w: World, c: Choices) => {
    const [host, pf] = w.pf(c);
    const onBusy = c.maybe(2, () => c.of(['unload', 'reject'] as const));
    return w.input('PfRestoreRequested', { hostId: host.id, pf: pf.address, onBusy });
  },
  start: (w: World, c: Choices) => w.start(c),
  started: (w: World, c: Choices) => w.started(c),
  stop: (w: World, c: Choices) => w.end(c, 'VmStopped'),
  abort: (w: World, c: Choices) => w.end(c, 'VmStartAborted'),
  destroy: (w: World, c: Choices) => w.end(c, 'VmDestroyed'),
  rebootGuest: (w: World, c: Choices) => w.input('VmRebooted', { vmId: w.vmId(c) }),
  migrated: (w: World, c: Choices) => w.input('VmMigrated', { vmId: w.vmId(c), hostId: w.host(c).id }),
  migrate: (w: World, c: Choices) =>
    w.input('VmMigrationRequested', {
      vmId: w.vmId(c),
      kind: c.of(['live', 'storage', 'cold'] as const),
      targetHostId: c.maybe(2, () => w.host(c).id),
    }),
  adopt: (w: World, c: Choices) => w.adopt(c),
  attach: (w: World, c: Choices) => w.attach(c),
  detach: (w: World, c: Choices) => w.input('VmNicDetachRequested', w.nicOfVm(c)),
  retype: (w: World, c: Choices) =>
    w.input('VmNicTypeChangeRequested', { ...w.nicOfVm(c), type: c.of(['vnic', 'vf'] as const) }),
  rebootHost: (w: World, c: Choices) => w.rebootHost(c),
  loseDriver: (w: World, c: Choices) => w.loseDriver(c),
  changeHardware: (w: World, c: Choices) => w.changeHardware(c),
  link: (w: World, c: Choices) => {
    const [host, pf] = w.pf(c);
    pf.link = pf.link === 'up' ? 'down' : 'up';
    return w.input('PfLinkChanged', { hostId: host.id, pf: pf.address, link: pf.link });
  },
  cordonHost: (w: World, c: Choices) =>
    w.input('HostCordoned', { hostId: w.host(c).id, cordoned: c.seldom(3) }),
  cordonPf: (w: World, c: Choices) => {
    const [host, pf] = w.pf(c);
    return w.input('PfCordoned', { hostId: host.id, pf: pf.address, cordoned: c.seldom(3) });
  },
  acceptPf: (w: World, c: Choices) => {
    const [host, pf] = w.pf(c);
    return w.input('PfAccepted', { hostId: host.id, pf: pf.address });
  },
  fence: (w: World, c: Choices) => w.input('HostFenced', { hostId: w.host(c).id }),
  removeHost: (w: World, c: Choices) => w.input('HostRemovalRequested', { hostId: w.host(c).id }),
  operatorRelease: (w: World, c: Choices) => w.operatorRelease(c),
  scrubLate: (w: World, c: Choices) => w.scrubLate(c),
  l2: (w: World, c: Choices) => w.l2(c),
  l3: (w: World, c: Choices) => w.l3(c),
  removeNetwork: (w: World, c: Choices) =>
    w.input('NetworkRemovalRequested', { id: c.of([...L3, 'l2-0', 'l2-1', 'l2-2', 'l2-3']) }),
  policy: (w: World, c: Choices) => w.policy(c),
  tick: (w: World, c: Choices) =>
    w.tick(c.of([1000, 1000, 1000, 1000, 1000, 5000, 20_000, 20_000, 95_000, 310_000])),
  raw: (w: World, c: Choices) => w.raw(c),
  repeat: (w: World, c: Choices) => w.again(c, 'repeat'),
  sameIdOtherContent: (w: World, c: Choices) => w.again(c, 'other'),
  sameContentAnew: (w: World, c: Choices) => w.again(c, 'anew'),
} as const satisfies Record<string, (world: World, choices: Choices) => Input | undefined>;
