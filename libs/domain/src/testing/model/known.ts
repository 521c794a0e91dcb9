import type { VfAllocated } from '../../events.js';
import type { Inputs, OnBusy, VfReport } from '../../inputs.js';

/** Where a history breaks a rule. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
}

export interface MVf {
  readonly address: string;
  index: number;
  /** In the host's last word, and known to be there. */
  present: boolean;
  /** HOST-3: shares its IOMMU group, or the host uses it. */
  tied: boolean;
  /** HOST-7. */
  stranger: boolean;
  /** SCRUB-1: waits for the clean report of this allocation. */
  scrubFor?: string;
  /** SCRUB-2. */
  quarantinedFor?: string;
  /** The VM that it was shown in use by. */
  usedBy?: string;
  /** The MAC that it shows. */
  mac?: string;
  /** SCRUB-1: the MAC that it had before its last allocation, if that was its own. */
  ownMac?: string;
}
export interface MPf {
  readonly address: string;
  names: string[];
  physicalNetwork: string;
  totalVfs: number;
  link: string;
  /** PF-10: the number of VFs that is remembered. */
  wanted?: number;
  work?: 'virtualizing' | 'restoring';
  /** Driver gone, or not reported. */
  lost: boolean;
  cordoned: boolean;
  identity: Record<string, string>;
  reported: Record<string, string>;
  /** PF-9: other hardware was seen, and neither an operator nor the known hardware has said otherwise. */
  other: boolean;
  vfs: Map<string, MVf>;
}
export interface MHost {
  readonly id: string;
  bootId: string;
  readonly earlierBoots: Set<string>;
  bootedAt?: number;
  seq: number;
  /** When the last report that was taken was sent, by its own word, and never later than it was stored. */
  said: number;
  /** The same of the last one that left an event: what a leader that takes over knows. */
  logged: { seq: number; said: number };
  /** HOST-9: of stale reports since the last one that was taken, those that may be a restarted agent's. */
  row?: { bootId: string; seqs: number[] };
  heardAt: number;
  ready: boolean;
  scrubs: boolean;
  cordoned: boolean;
  fenced: boolean;
  lost: boolean;
  pfs: Map<string, MPf>;
}
export interface MNic {
  readonly nicId: string;
  type: 'vf' | 'vnic';
  networkId?: string;
  physicalNetwork?: string;
  onExhaustion: 'fail' | 'fallback';
  mac?: string;
}
export interface MVm {
  state: 'pending' | 'running' | 'stopped';
  hostId: string;
  bootId?: string;
  tenant?: string;
  overdue: boolean;
  /** OUT-6. */
  separate?: boolean;
  /** VM-17: its host does not list it, and that was said. */
  unseen?: boolean;
  /** Reports in a row that show it unused since it was overdue. */
  proofs: number;
  nics: Map<string, MNic>;
}
export interface MAllocation extends VfAllocated {
  readonly at: number;
}
export interface Need {
  readonly nicId: string;
  readonly name: string;
  readonly fallback: boolean;
}

const PASS_THROUGH = /vfio|uio|^(?:pci-stub|(?:xen-)?pciback)$/;

/** HOST-7: bound to a driver that passes it through to a guest. */
export const bound = (report: VfReport): boolean =>
  report.boundDriver !== undefined && PASS_THROUGH.test(report.boundDriver);

export const nicKey = (vmId: string, nicId: string): string => `${vmId}/${nicId}`;
export const vfKey = (hostId: string, vf: string): string => `${hostId} ${vf}`;

/** What the model knows of a cluster: maps that are searched from end to end, and nothing counted. */
export class Known {
  readonly violations: Violation[] = [];
  position = 0;
  clock = 0;
  readonly ids = new Map<string, string>();
  readonly hosts = new Map<string, MHost>();
  /** HOST-5: hosts that were removed while they were fenced. */
  readonly fencedAway = new Map<string, MHost>();
  /** HOST-9: hosts whose last report was stale, which was said. */
  readonly toldStale = new Set<string>();
  readonly vms = new Map<string, MVm>();
  readonly allocations = new Map<string, MAllocation>();
  readonly everAllocated = new Set<string>();
  readonly holders = new Map<string, string>();
  readonly nicHolds = new Map<string, string>();
  readonly macs = new Map<string, string>();
  readonly l2 = new Map<string, Inputs['L2NetworkDefined']>();
  readonly l3 = new Map<string, Inputs['L3NetworkDefined']>();
  readonly generations = new Map<string, number>();
  /** Allocations whose VF a host was told to scrub. */
  readonly scrubAsked = new Set<string>();
  /** Degraded NICs, oldest first. */
  readonly degraded = new Map<string, { vmId: string; nicId: string }>();
  quotas: Readonly<Record<string, number>> = {};
  promotion = true;
  restoreOnBusy: OnBusy = 'unload';
  startTimeout = 300;
  hostTimeout = 90;

  check(rule: string, holds: boolean, message: string): void {
    if (!holds) this.violations.push({ rule, message });
  }

  heldBy = (vmId: string): MAllocation[] =>
    [...this.allocations.values()].filter((allocation) => allocation.vmId === vmId);

  heldOn = (hostId: string, pf?: string): MAllocation[] =>
    [...this.allocations.values()].filter(
      (allocation) => allocation.hostId === hostId && (pf === undefined || allocation.pf === pf),
    );

  heldByTenant = (tenant: string): number =>
    [...this.allocations.values()].filter((allocation) => allocation.tenant === tenant).length;

  pfOf = (data: { hostId: string; pf: string }): MPf | undefined =>
    this.hosts.get(data.hostId)?.pfs.get(data.pf);

  vfOf(hostId: string, address: string): MVf | undefined {
    for (const pf of this.hosts.get(hostId)?.pfs.values() ?? []) {
      const vf = pf.vfs.get(address);
      if (vf !== undefined) return vf;
    }
    return undefined;
  }

  /** PF-9. */
  otherHardware = (pf: MPf): boolean => pf.other;

  quotaLeft = (tenant: string | undefined): number =>
    tenant === undefined || !Object.hasOwn(this.quotas, tenant)
      ? Number.POSITIVE_INFINITY
      : (this.quotas[tenant] as number) - this.heldByTenant(tenant);

  holds = (vmId: string, nicId: string, hostId: string, vf: string): boolean => {
    const allocation = this.allocations.get(this.nicHolds.get(nicKey(vmId, nicId)) ?? '');
    return allocation?.hostId === hostId && allocation.vf === vf;
  };

  vmFor(vmId: string, hostId: string): MVm {
    let vm = this.vms.get(vmId);
    if (vm === undefined) {
      vm = { state: 'stopped', hostId, overdue: false, proofs: 0, nics: new Map() };
      this.vms.set(vmId, vm);
    }
    return vm;
  }

  /** The name a NIC's PF must go by; undefined where its network does not serve VFs now. */
  nameFor(nic: Pick<MNic, 'networkId' | 'physicalNetwork' | 'onExhaustion'>): string | undefined {
    if (nic.networkId === undefined) return nic.physicalNetwork ?? '';
    const l3 = this.l3.get(nic.networkId);
    const l2 = this.l2.get(l3?.l2Id ?? '');
    return l3?.sriov === true && l2?.sriov === true ? l2.physicalInterface : undefined;
  }

  fitsNic(vmId: string, nicId: string, pf: MPf): boolean {
    const vm = this.vms.get(vmId);
    const nic = vm?.nics.get(nicId);
    if (nic === undefined) return false;
    if (vm?.separate === true && this.heldBy(vmId).some((held) => held.pf === pf.address)) return false;
    const name = this.nameFor(nic);
    return name !== undefined && pf.names.includes(name);
  }

  freeOn = (host: MHost, pf: MPf): number =>
    [...pf.vfs.values()].filter(
      (vf) =>
        vf.present &&
        !vf.tied &&
        !vf.stranger &&
        vf.scrubFor === undefined &&
        vf.quarantinedFor === undefined &&
        !this.holders.has(vfKey(host.id, vf.address)),
    ).length;

  obstacles(host: MHost, pf: MPf): Set<string> {
    const found = new Set<string>();
    if (host.lost || host.fenced) found.add('HOST_LOST');
    if (host.cordoned) found.add('HOST_CORDONED');
    if (!host.ready) found.add('HOST_NOT_READY');
    if (pf.lost) found.add('PF_LOST');
    if (this.otherHardware(pf)) found.add('PF_IDENTITY_CHANGED');
    if (pf.totalVfs === 0) found.add('PF_NOT_VIRTUALIZABLE');
    if (pf.work === 'restoring') found.add('PF_RESTORING');
    if (pf.work === 'virtualizing') found.add('PF_BUSY');
    if (pf.vfs.size === 0) found.add('PF_NOT_VIRTUALIZED');
    if (pf.cordoned) found.add('PF_CORDONED');
    if (pf.link === 'down') found.add('PF_LINK_DOWN');
    return found;
  }
}
