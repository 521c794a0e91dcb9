import { isoTime } from './decision.js';
import type { HolderRef } from './events.js';
import type { LinkState, NicType } from './inputs.js';
import type { RefusalCode } from './refusal-codes.js';
import {
  ANY_NETWORK,
  hostObstacle,
  isHostReady,
  isVfFree,
  networkNames,
  pfObstacle,
  pfState,
  type PfState,
} from './standing.js';
import type { Host, Pf, State, Vf, Vm, VmState } from './state.js';

/**
 * What an operator sees of a state. The read side writes the facts of hosts and PFs into its tables; the readers of
 * whole states say what its answers must be: its tests hold the tables against them at random positions.
 */

export type VfState =
  'free' | 'pending' | 'allocated' | 'scrubbing' | 'quarantined' | 'unavailable' | 'unknown';

export function vfState(vf: Vf): VfState {
  // Between its allocation and the start's acceptance, which are one decision, the VM is not pending yet.
  if (vf.allocation !== undefined) return vf.allocation.vm.state === 'running' ? 'allocated' : 'pending';
  if (vf.marks.unknown) return 'unknown';
  if (vf.marks.quarantinedFor !== undefined) return 'quarantined';
  if (vf.marks.scrub !== undefined) return 'scrubbing';
  return isVfFree(vf) && pfObstacle(vf.pf) === undefined ? 'free' : 'unavailable';
}

export interface VfView {
  readonly hostId: string;
  readonly pf: string;
  readonly vf: string;
  readonly index: number;
  readonly state: VfState;
  readonly holder?: HolderRef;
  readonly mac?: string;
  readonly vlanId?: number;
}

export function viewVf(vf: Vf): VfView {
  const { allocation } = vf;
  return {
    hostId: vf.pf.host.id,
    pf: vf.pf.address,
    vf: vf.report.pciAddress,
    index: vf.report.index,
    state: vfState(vf),
    ...(allocation === undefined
      ? undefined
      : {
          holder: { vmId: allocation.vm.id, nicId: allocation.nic.id, allocationId: allocation.id },
          mac: allocation.nic.mac,
          vlanId: allocation.vlanId,
        }),
  };
}

/** The columns of OUT-5: name, model, link, speed, state, available and total. */
export interface PfView {
  readonly hostId: string;
  readonly pf: string;
  readonly ifname: string;
  readonly model?: string;
  readonly link: LinkState;
  readonly speedMbps?: number;
  readonly state: PfState;
  /** Free VFs that a start could get now; `-` when the PF is not split. */
  readonly free: number | '-';
  /** VFs it is split into; `-` when it is not. */
  readonly total: number | '-';
  readonly allocated: number;
  readonly totalVfs: number;
  readonly physicalNetwork: string;
  readonly bond?: string;
  readonly numaNode?: number;
  readonly cordoned: boolean;
  /** Why it serves nothing now, apart from having no free VF. */
  readonly obstacle?: RefusalCode;
}

/** What there is to say of a PF but for its counts, which change far more often. */
export function pfFacts(pf: Pf): Omit<PfView, 'free' | 'total' | 'allocated'> {
  const obstacle = pfObstacle(pf);
  return {
    hostId: pf.host.id,
    pf: pf.address,
    ifname: pf.report.ifname,
    model: pf.report.model,
    link: pf.report.link,
    speedMbps: pf.report.speedMbps,
    state: pfState(pf),
    totalVfs: pf.report.totalVfs,
    physicalNetwork: pf.report.physicalNetwork ?? pf.report.ifname,
    bond: pf.report.bond,
    numaNode: pf.report.numaNode,
    cordoned: pf.cordoned,
    ...(obstacle === undefined ? undefined : { obstacle }),
  };
}

export function viewPf(pf: Pf): PfView {
  const split = pf.vfs.length > 0;
  return {
    ...pfFacts(pf),
    free: split ? (pfObstacle(pf) === undefined ? pf.free.size : 0) : '-',
    total: split ? pf.vfs.length : '-',
    allocated: pf.held,
  };
}

export interface NicView {
  readonly nicId: string;
  readonly type: NicType;
  readonly state: 'vf' | 'vnic' | 'degraded' | 'detached-by-force' | 'stopped';
  readonly mac: string;
  readonly networkId?: string;
  readonly physicalNetwork?: string;
  readonly guestSlot?: number | string;
  readonly allocationId?: string;
  readonly hostId?: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly vlanId?: number;
}

export interface VmView {
  readonly vmId: string;
  readonly state: VmState;
  readonly hostId?: string;
  readonly tenant?: string;
  readonly generation?: number;
  readonly nics: readonly NicView[];
  /** VM-11: a VM that holds a VF has its memory pinned: no ballooning. */
  readonly memoryPinned: boolean;
  /** VM-9: whether it could migrate live now. */
  readonly migratable: boolean;
  readonly overdueSince?: string;
}

export function viewVm(vm: Vm): VmView {
  const nics = [...vm.nics.values()].map((nic): NicView => {
    const { allocation } = nic;
    return {
      nicId: nic.id,
      type: nic.type,
      state:
        allocation !== undefined
          ? 'vf'
          : nic.type === 'vnic'
            ? 'vnic'
            : nic.degraded
              ? 'degraded'
              : nic.detachedByForce
                ? 'detached-by-force'
                : 'stopped',
      mac: nic.mac,
      networkId: nic.networkId,
      physicalNetwork: nic.physicalNetwork,
      guestSlot: nic.guestSlot,
      ...(allocation === undefined
        ? undefined
        : {
            allocationId: allocation.id,
            hostId: allocation.vf.pf.host.id,
            pf: allocation.vf.pf.address,
            vf: allocation.vf.report.pciAddress,
            vlanId: allocation.vlanId,
          }),
    };
  });
  return {
    vmId: vm.id,
    state: vm.state,
    hostId: vm.hostId,
    tenant: vm.tenant,
    generation: vm.generation,
    nics,
    memoryPinned: vm.held > 0,
    migratable: vm.held === 0,
    ...(vm.overdueSince === undefined ? undefined : { overdueSince: isoTime(vm.overdueSince) }),
  };
}

export interface HostView {
  readonly hostId: string;
  readonly state: 'ready' | 'not-ready' | 'cordoned' | 'lost' | 'fenced';
  readonly bootId: string;
  readonly cordoned: boolean;
  readonly iommu: { readonly enabled: boolean; readonly ready: boolean };
  readonly interruptRemapping: boolean;
  readonly scrubs: boolean;
  readonly lostSince?: string;
  /** HOST-9: of the last report that was taken, and when it was stored. */
  readonly lastSeq: number;
  readonly lastReportAt: string;
  readonly vms: readonly string[];
  readonly pfs: readonly PfView[];
  readonly drifts: readonly object[];
}

/** What there is to say of a host but for what is on it. */
export function hostFacts(host: Host): Omit<HostView, 'vms' | 'pfs'> {
  const obstacle = hostObstacle(host);
  return {
    hostId: host.id,
    state: host.fenced
      ? 'fenced'
      : obstacle === 'HOST_LOST'
        ? 'lost'
        : obstacle === 'HOST_CORDONED'
          ? 'cordoned'
          : isHostReady(host)
            ? 'ready'
            : 'not-ready',
    bootId: host.bootId,
    cordoned: host.cordoned,
    iommu: host.iommu,
    interruptRemapping: host.interruptRemapping,
    scrubs: host.scrubs,
    ...(host.lostSince === undefined ? undefined : { lostSince: isoTime(host.lostSince) }),
    lastSeq: host.seq,
    lastReportAt: isoTime(host.reportedAt),
    drifts: [...host.drifts.values()],
  };
}

export const viewHost = (host: Host): HostView => ({
  ...hostFacts(host),
  vms: [...host.vms].map((vm) => vm.id).sort(),
  pfs: [...host.pfs.values()].map(viewPf),
});

export interface Availability {
  readonly total: number;
  readonly free: number;
  readonly allocated: number;
  readonly unavailable: number;
  readonly pfs: readonly PfView[];
}

/** VFs by PF, of the fleet, a host or a network: `total = free + allocated + unavailable`. */
export function viewAvailability(
  state: State,
  filter: { hostId?: string; network?: string } = {},
): Availability {
  const hosts = filter.hostId === undefined ? [...state.hosts.values()] : [state.hosts.get(filter.hostId)];
  const network = filter.network ?? ANY_NETWORK;
  const pfs: PfView[] = [];
  let total = 0;
  let free = 0;
  let allocated = 0;
  for (const host of hosts) {
    for (const pf of host?.pfs.values() ?? []) {
      if (!networkNames(pf.report).includes(network)) continue;
      const view = viewPf(pf);
      pfs.push(view);
      total += pf.vfs.length;
      allocated += pf.held;
      if (view.free !== '-') free += view.free;
    }
  }
  return { total, free, allocated, unavailable: total - free - allocated, pfs };
}
