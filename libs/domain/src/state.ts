import type { PlacedEvent, ReleaseReason } from './events.js';
import type { StaleRow } from './host/report-order.js';
import type {
  HardwareLimit,
  L2NetworkDefined,
  L3NetworkDefined,
  NicSpec,
  NicType,
  OnBusy,
  OnExhaustion,
  PfReport,
  Strategy,
  VfReport,
} from './inputs.js';
import { Capacity } from './capacity.js';
import { OrdinalSet } from './ordinal-set.js';
import type { Obstacle } from './refusal-codes.js';
import { RememberedInputs } from './remembered-inputs.js';
import type { VfMarks } from './vf-marks.js';

/** What a cluster does where the rules leave a choice. Times in seconds. */
export interface Policy {
  readonly restoreOnBusy: OnBusy;
  readonly bond: 'warn' | 'reject';
  readonly promotion: boolean;
  readonly startTimeoutSeconds: number;
  readonly scrubTimeoutSeconds: number;
  readonly hostTimeoutSeconds: number;
  readonly strategy: Strategy;
  readonly quotas: Readonly<Record<string, number>>;
  /** An operator's, before those that are known anyway (PF-12). */
  readonly hardwareLimits: readonly HardwareLimit[];
}

export const DEFAULT_POLICY: Policy = {
  restoreOnBusy: 'unload',
  bond: 'warn',
  promotion: true,
  startTimeoutSeconds: 300,
  scrubTimeoutSeconds: 120,
  hostTimeoutSeconds: 90,
  strategy: 'pack',
  quotas: {},
  hardwareLimits: [],
};

/** A virtual function: one slice of a PF. */
export interface Vf {
  readonly pf: Pf;
  /** Place in `pf.vfs`; changes when VFs come or go. */
  slot: number;
  /** What the host last said of it. */
  report: VfReport;
  /** Who holds it (EX-1: one field, one holder). */
  allocation: Allocation | undefined;
  /** What is seldom true of it; changed by `mark` only. */
  marks: VfMarks;
}

export type PfWork = 'virtualizing' | 'restoring';

/** A physical function: a NIC port that can be split. */
export interface Pf {
  /** Unique within the cluster, never given again; ties are broken by it. */
  readonly ordinal: number;
  readonly host: Host;
  readonly address: string;
  /** What the host last said of it, without its VFs. */
  report: Omit<PfReport, 'vfs'>;
  /** The names under which a NIC may ask for it: '' (any), its physical network, its bond. */
  networks: readonly string[];
  /**
   * The number of VFs that was ordered, or that it had when it was first seen; undefined while nobody wanted
   * any (PF-10).
   */
  wanted: number | undefined;
  work: PfWork | undefined;
  /** To be split again as soon as its link is up and its host ready (PF-10). */
  owed: boolean;
  /** Its driver is gone, or it is no longer reported. */
  lost: boolean;
  cordoned: boolean;
  /** The hardware that is known at this address (PF-9). */
  identity: HardwareIdentity;
  /** Whether the host reports other hardware there than is known; it serves nothing then. */
  identityChanged: boolean;
  /** In order of index. */
  vfs: Vf[];
  /** Slots of VFs that nothing stands against but, perhaps, their PF or host. */
  readonly free: OrdinalSet;
  held: number;
  /** How the capacity index counts it; written by {@link Capacity} only. */
  indexed: { networks: readonly string[]; standing: Obstacle | undefined; offered: number } | undefined;
}

export interface HardwareIdentity {
  readonly vendorId?: string;
  readonly deviceId?: string;
  readonly serial?: string;
  readonly permanentMac?: string;
}

export interface Host {
  readonly id: string;
  readonly ordinal: number;
  bootId: string;
  /** Boots before this one, newest last, at most {@link EARLIER_BOOTS}. */
  earlierBoots: string[];
  /** Never later than its report was stored: a clock that is ahead must not make the next boot look old. */
  bootedAt: number | undefined;
  /** Of the last report that the log knows (HOST-9). */
  seq: number;
  /** When that report was sent, by its own word, and when it was stored; in milliseconds. */
  saidAt: number;
  reportedAt: number;
  iommu: { readonly enabled: boolean; readonly ready: boolean };
  interruptRemapping: boolean;
  unsafeInterruptsAllowed: boolean;
  scrubs: boolean;
  cordoned: boolean;
  fenced: boolean;
  /** When it was last heard, in milliseconds, if it is lost. */
  lostSince: number | undefined;
  /** By address, in order of address. */
  pfs: Map<string, Pf>;
  vfs: Map<string, Vf>;
  /** VMs that are pending or running here. */
  readonly vms: Set<Vm>;
  /** Drift that stands, by its key. */
  readonly drifts: Map<string, PlacedEvent<'DriftDetected'>['data']>;
  /** Free VFs on offer for each network name; written by {@link Capacity} only. */
  readonly offered: Map<string, number>;
}

/** Boots of a host that are remembered, so that a late report of one is known as late (HOST-9). */
export const EARLIER_BOOTS = 16;

/** A VF in the hands of a VM's NIC. */
export interface Allocation {
  readonly id: string;
  readonly vm: Vm;
  readonly nic: Nic;
  readonly vf: Vf;
  readonly networkId?: string;
  readonly physicalNetwork: string;
  readonly vlanId?: number;
  /** The VF's own MAC as it was reported before, where it had one: a scrub may bring it back (SCRUB-1). */
  readonly macBefore?: string;
  /** When it was made, in milliseconds. */
  readonly since: number;
}

/** A NIC of a VM. Its identity (id, MAC, guest slot) outlives stops and starts (VM-4). */
export interface Nic {
  readonly id: string;
  readonly vm: Vm;
  type: NicType;
  networkId: string | undefined;
  physicalNetwork: string | undefined;
  onExhaustion: OnExhaustion;
  mac: string;
  guestSlot: number | string | undefined;
  services: Pick<NicSpec, 'securityGroups' | 'elasticIp' | 'qos'> | undefined;
  allocation: Allocation | undefined;
  /** On its synthetic path, for want of a VF (VM-10). */
  degraded: boolean;
  /** Lost its VF by force while its VM ran (VM-18). */
  detachedByForce: boolean;
  /** The VF that it let go last: see {@link lastVf}. */
  last: LastVf | undefined;
}

/** A VF that a NIC had. */
export interface LastVf {
  readonly hostId: string;
  readonly vf: string;
  readonly allocationId: string;
}

/** The last VF a NIC has or had: a restart prefers it. */
export const lastVf = ({ allocation, last }: Nic): LastVf | undefined =>
  allocation === undefined
    ? last
    : {
        hostId: allocation.vf.pf.host.id,
        vf: allocation.vf.report.pciAddress,
        allocationId: allocation.id,
      };

/** States of a VM that is known; one that is not known is `unknown`. */
export type KnownVmState = 'pending' | 'running' | 'stopped';
export type VmState = 'unknown' | KnownVmState;

export interface Vm {
  readonly id: string;
  state: KnownVmState;
  hostId: string | undefined;
  tenant: string | undefined;
  /** The boot that its `VmStarted` named (HOST-4). */
  bootId: string | undefined;
  generation: number | undefined;
  readonly nics: Map<string, Nic>;
  /** Number of its NICs that hold a VF. */
  held: number;
  /** Its start took longer than `startTimeout`, when that was said, in milliseconds (VM-12). */
  overdueSince: number | undefined;
  /** Why its last VF was taken, if not by its own end: then a late `VmStarted` is believed (VM-12). */
  endedBy: ReleaseReason | undefined;
  /** Reported on this host while it holds VFs on another (VM-14). */
  elsewhere: string | undefined;
  /** Its VFs shall come from different PFs (OUT-6). */
  separatePfs: true | undefined;
}

/** A host as it was heard last. */
export interface Heard {
  /** Since when it is silent, in milliseconds; for one that a new leader has not heard yet, since it began. */
  readonly at: number;
  readonly bootId: string;
  readonly seq: number;
  /** When its last report was sent, by its own word, and when it was stored; in milliseconds. */
  readonly said: number;
  readonly reportedAt: number;
}

/** What is observed and not in the log: lost at a take-over without harm (HOST-5). */
export interface Observed {
  /**
   * When each host was last heard, and with what; in order of time. A lost one stays, so that an older report
   * is known as old (HOST-9).
   */
  readonly heard: Map<string, Heard>;
  /** HOST-9: stale reports since the last one that was taken. A new leader counts anew. */
  readonly rows: Map<string, StaleRow>;
  /** Number of reports in a row that prove an overdue VM unused. */
  readonly proofs: Map<string, number>;
  /** Whether hosts that were not heard since this leader began have been given their full timeout. */
  watching: boolean;
}

export interface State {
  readonly cluster: string;
  /** Position of the last event. */
  position: number;
  /** The time of the last event, in milliseconds; decisions never go back behind it. */
  clock: number;
  policy: Policy;
  readonly hosts: Map<string, Host>;
  /** By ordinal; holes where a host was removed. */
  readonly hostByOrdinal: (Host | undefined)[];
  readonly pfByOrdinal: (Pf | undefined)[];
  /** Ordinals of the hosts that take VMs: neither lost, fenced nor cordoned. */
  readonly openHosts: OrdinalSet;
  readonly capacity: Capacity;
  /** Hosts that were removed while they were fenced: they stay so until a new boot (HOST-5). */
  readonly fencedAway: Map<string, Pick<Host, 'bootId' | 'earlierBoots'>>;
  readonly vms: Map<string, Vm>;
  readonly allocations: Map<string, Allocation>;
  /** The NIC that a MAC belongs to (NET-9). */
  readonly macs: Map<string, Nic>;
  /** VFs held by each tenant. */
  readonly heldByTenant: Map<string, number>;
  readonly l2Networks: Map<string, L2NetworkDefined>;
  readonly l3Networks: Map<string, L3NetworkDefined>;
  /** NICs that use a network, by the network's id. */
  readonly nicsOnNetwork: Map<string, number>;
  /** Pending VMs whose start is not overdue yet, in order of time. */
  readonly starting: Map<string, number>;
  /** VFs that wait for their scrub and are not overdue yet, in order of time, by allocation. */
  readonly scrubbing: Map<string, Vf>;
  /** Degraded NICs in order of time, by `vmId/nicId`. */
  readonly degraded: Map<string, Nic>;
  readonly inputs: RememberedInputs;
  /** Generations of VMs that are unknown, kept as long as ids are (VM-13). */
  readonly generations: Map<string, { readonly generation: number; readonly serial: number }>;
  lastCause: PlacedEvent['cause'] | undefined;
  readonly observed: Observed;
}

export const DEFAULT_REMEMBERED_INPUTS = 200_000;

/** The state of a cluster whose log is empty. `rememberedInputs`: how many inputs are known again (EX-6). */
export function emptyState(cluster: string, options?: { rememberedInputs?: number }): State {
  return {
    cluster,
    position: 0,
    clock: 0,
    policy: DEFAULT_POLICY,
    hosts: new Map(),
    hostByOrdinal: [],
    pfByOrdinal: [],
    openHosts: new OrdinalSet(),
    capacity: new Capacity(),
    fencedAway: new Map(),
    vms: new Map(),
    allocations: new Map(),
    macs: new Map(),
    heldByTenant: new Map(),
    l2Networks: new Map(),
    l3Networks: new Map(),
    nicsOnNetwork: new Map(),
    starting: new Map(),
    scrubbing: new Map(),
    degraded: new Map(),
    inputs: new RememberedInputs(options?.rememberedInputs ?? DEFAULT_REMEMBERED_INPUTS),
    generations: new Map(),
    lastCause: undefined,
    observed: { heard: new Map(), rows: new Map(), proofs: new Map(), watching: false },
  };
}

export const vmState = (state: State, vmId: string): VmState => state.vms.get(vmId)?.state ?? 'unknown';
