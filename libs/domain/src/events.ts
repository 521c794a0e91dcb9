import type {
  ClusterPolicyChanged,
  HostCordoned,
  HostUse,
  L2NetworkDefined,
  L3NetworkDefined,
  MigrationKind,
  NicSpec,
  NicType,
  OnExhaustion,
  PfCordoned,
  PfLinkChanged,
  PfReport,
  Strategy,
  VfReport,
} from './inputs.js';
import type { RefusalCode } from './refusal-codes.js';

/**
 * What goes out and into the log: the `data` of each event of wire.md. Past-tense facts, JSON without loss.
 * Fields may be added; a changed meaning gets a new schema version and an upcaster.
 */
export const EVENT_SCHEMA = 1;

export type AllocationReason = 'start' | 'attach' | 'promotion' | 'adopted';
export type ReleaseReason =
  | 'vm-stopped'
  | 'vm-destroyed'
  | 'start-aborted'
  | 'nic-detached'
  | 'nic-type-changed'
  | 'pf-restored'
  | 'pf-driver-lost'
  | 'host-rebooted'
  | 'host-fenced'
  | 'proved-unused'
  | 'operator';

/** Who holds a VF, or uses it without holding it. */
export interface HolderRef {
  readonly vmId: string;
  /** Left out where a VM uses a VF that it does not hold (HOST-7). */
  readonly nicId?: string;
  readonly vf?: string;
  readonly allocationId?: string;
}

/** A refusal: a stable code, a sentence for a person, and the facts behind it (OUT-2). */
export interface Refusal {
  readonly reason: RefusalCode;
  readonly message: string;
  readonly holders?: readonly HolderRef[];
}

/** Everything libvirt needs to attach the VF (OUT-4). */
export interface VfAllocated {
  /** The fencing token: unique, and growing within a cluster (EX-4). */
  readonly allocationId: string;
  readonly vmId: string;
  readonly nicId: string;
  readonly tenant?: string;
  readonly hostId: string;
  readonly pf: string;
  readonly vf: string;
  readonly vfIndex: number;
  readonly networkId?: string;
  readonly physicalNetwork: string;
  readonly vlanId?: number;
  readonly mac: string;
  readonly guestSlot?: number | string;
  readonly numaNode?: number;
  readonly reason: AllocationReason;
}
export interface VfReleased {
  readonly allocationId: string;
  readonly vmId: string;
  readonly nicId: string;
  readonly tenant?: string;
  readonly hostId: string;
  readonly pf: string;
  readonly vf: string;
  readonly reason: ReleaseReason;
  /** True when the VF was taken from a VM that may still run. */
  readonly forced: boolean;
}

/** A NIC in the answer to a start: how it starts, and what must be known to start it again. */
export interface StartedNic {
  readonly nicId: string;
  readonly type: NicType;
  readonly degraded?: boolean;
  readonly allocationId?: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly mac?: string;
  readonly networkId?: string;
  readonly physicalNetwork?: string;
  readonly onExhaustion?: OnExhaustion;
  readonly guestSlot?: number | string;
  readonly securityGroups?: readonly string[];
  readonly elasticIp?: string;
  readonly qos?: Readonly<Record<string, unknown>>;
}
export interface VmStartAccepted {
  readonly vmId: string;
  readonly hostId: string;
  readonly tenant?: string;
  readonly nics: readonly StartedNic[];
  /**
   * How the host was chosen: its free VFs on the network that was asked for, of how many hosts with enough.
   */
  readonly why: { readonly strategy: Strategy; readonly score: number; readonly candidates: number };
  readonly warnings?: readonly string[];
  /** OUT-6: asked for, and kept to when a NIC of it is promoted. */
  readonly separatePfs?: boolean;
  readonly bondHints?: string;
  readonly generation?: number;
}
/** A PF or host that was looked at and could not serve. */
export interface NearMiss {
  readonly hostId: string;
  readonly pf?: string;
  readonly reason: RefusalCode;
  readonly total?: number;
  readonly free?: number;
}
export interface VmStartFailed extends Refusal {
  readonly vmId: string;
  readonly hostId?: string;
  /** Number of PFs (or hosts, where the reason is a host's) for each reason. */
  readonly summary: Readonly<Partial<Record<RefusalCode, number>>>;
  /** At most 32, nearest first. */
  readonly considered: readonly NearMiss[];
  readonly truncated?: boolean;
  readonly generation?: number;
}

interface VmFact {
  readonly vmId: string;
  readonly generation?: number;
}
export interface VmStartedEvent extends VmFact {
  readonly hostId: string;
  readonly bootId?: string;
}
export interface VmEnded extends VmFact {
  readonly reason?: string;
}
export interface VmMigratedEvent extends VmFact {
  readonly hostId: string;
}
export interface VmAdoptedEvent extends VmFact {
  readonly hostId: string;
  readonly tenant?: string;
  readonly nics: readonly StartedNic[];
}
export interface VmNicAttached extends VmFact {
  readonly nic: StartedNic;
}
export interface VmNicAttachFailed extends Refusal, VmFact {
  readonly nicId: string;
  readonly summary?: VmStartFailed['summary'];
  readonly considered?: VmStartFailed['considered'];
  readonly truncated?: boolean;
}
export interface VmNicDetached extends VmFact {
  readonly nicId: string;
}
export interface VmNicDetachFailed extends Refusal, VmFact {
  readonly nicId: string;
}
export interface VmNicTypeChanged extends VmFact {
  readonly nicId: string;
  readonly type: NicType;
}
export interface VmNicTypeChangeRejected extends Refusal, VmFact {
  readonly nicId: string;
  readonly type: NicType;
}
export interface VmMigrationAllowed extends VmFact {
  readonly kind: MigrationKind;
  readonly targetHostId?: string;
}
export interface VmMigrationRejected extends Refusal, VmFact {
  readonly kind: MigrationKind;
  readonly targetHostId?: string;
}
export interface NicDegraded {
  readonly vmId: string;
  readonly nicId: string;
  readonly reason?: string;
}
export type NicPromoted = NicDegraded;
export interface VmStartedWithoutVf {
  readonly vmId: string;
  readonly hostId: string;
  readonly nicId: string;
  readonly allocationId: string;
}

/** The whole inventory of a host that was not known. */
export interface HostRegistered {
  readonly hostId: string;
  readonly bootId: string;
  readonly seq: number;
  readonly bootedAt?: string;
  readonly iommu: { readonly enabled: boolean; readonly ready: boolean };
  readonly interruptRemapping: boolean;
  readonly unsafeInterruptsAllowed?: boolean;
  readonly scrubs?: boolean;
  readonly pfs: readonly PfReport[];
}
/** What a report says of a PF that is not what was known: a new PF in full, else the fields that changed. */
export interface PfChange extends Partial<Omit<PfReport, 'pciAddress' | 'vfs'>> {
  readonly pciAddress: string;
  /** Fields that were known and are no longer reported. */
  readonly unset?: readonly string[];
  /** VFs that are new or changed, each in full. */
  readonly vfs?: readonly VfReport[];
  /** VFs that are no longer there. */
  readonly goneVfs?: readonly string[];
}
export interface HostChanged {
  readonly hostId: string;
  readonly bootId: string;
  readonly seq: number;
  /** The host has a new boot id: nothing of the boot before runs any more (HOST-4). */
  readonly rebooted?: boolean;
  /** Its agent was restarted and counts anew: `seq` is not above the one before it (HOST-9). */
  readonly agentRestarted?: boolean;
  readonly bootedAt?: string;
  readonly iommu?: { readonly enabled: boolean; readonly ready: boolean };
  readonly interruptRemapping?: boolean;
  readonly unsafeInterruptsAllowed?: boolean;
  readonly scrubs?: boolean;
  readonly pfs?: readonly PfChange[];
  /** PFs that are no longer reported: marked, never deleted (PF-14). */
  readonly unseenPfs?: readonly string[];
  /** VMs that the reboot stopped (VM-16), in order of name. */
  readonly stoppedVms?: readonly string[];
}
/** The agent of a host was restarted and counts anew; the inventory is as it was (HOST-9). */
export interface HostAgentRestarted {
  readonly hostId: string;
  readonly bootId: string;
  readonly seq: number;
  /** The `seq` of the last report before that was taken. */
  readonly lastSeq: number;
}
export interface HostSince {
  readonly hostId: string;
  readonly since: string;
}
export interface HostFencedEvent {
  readonly hostId: string;
  /** VMs that the fence stopped (VM-16), in order of name. */
  readonly stoppedVms?: readonly string[];
}
export interface HostRef {
  readonly hostId: string;
}
export interface HostRemovalRejected extends Refusal {
  readonly hostId: string;
}

interface PfRef {
  readonly hostId: string;
  readonly pf: string;
}
export interface PfVirtualizationOrdered extends PfRef {
  readonly numVfs: number;
  readonly warnings?: readonly string[];
}
export interface PfVirtualizationRejected extends Refusal, PfRef {
  readonly numVfs: number;
}
export interface PfVirtualizedEvent extends PfRef {
  readonly vfs: readonly VfReport[];
  readonly warnings?: readonly string[];
}
export interface PfVirtualizationFailedEvent extends PfRef {
  readonly reason?: string;
  readonly numVfs?: number;
}
export interface PfRestoreOrdered extends PfRef {
  readonly warnings?: readonly string[];
}
export interface PfRestoreRejected extends Refusal, PfRef {}
export interface PfRestoreFailedEvent extends PfRef {
  readonly reason?: string;
}

export interface VfScrubRequested extends PfRef {
  readonly vf: string;
  readonly allocationId: string;
}
export interface VfScrubbedEvent {
  readonly hostId: string;
  readonly vf: string;
  readonly allocationId: string;
  readonly clean: boolean;
  readonly detail?: string;
}
export interface VfQuarantined extends VfScrubRequested {
  readonly detail?: string;
}
export interface AllocationOverdue {
  readonly allocationId: string;
  readonly vmId: string;
  readonly hostId: string;
  readonly vf: string;
  readonly since: string;
}
export interface ScrubOverdue {
  readonly allocationId: string;
  readonly hostId: string;
  readonly vf: string;
  readonly since: string;
}
export interface AllocationReleaseDone {
  readonly hostId: string;
  readonly allocationId: string;
  readonly reason?: string;
}
export interface AllocationReleaseRejected extends Refusal {
  readonly hostId: string;
  readonly allocationId: string;
}

export type DriftKind =
  | 'VF_COUNT'
  | 'PF_IDENTITY'
  | 'DEVICE_UNSEEN'
  | 'USED_BY_STRANGER'
  | 'UNORDERED_RESTORE'
  | 'VM_ELSEWHERE'
  | 'VM_UNSEEN';
export interface Drift {
  readonly hostId: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly vmId?: string;
  readonly kind: DriftKind;
  readonly expected?: string | number;
  readonly observed?: string | number;
}

export interface L2NetworkRejected extends Refusal {
  readonly l2Id: string;
}
export interface L3NetworkRejected extends Refusal {
  readonly l3Id: string;
  readonly l2Id: string;
}
export interface NetworkRef {
  readonly id: string;
}
export interface NetworkRemovalRejected extends Refusal {
  readonly id: string;
}

/** A fact that changes nothing: it comes too late, or says what is known, or is about something unknown. */
export interface InputIgnored {
  readonly type: string;
  readonly reason: string;
  readonly vmId?: string;
  readonly hostId?: string;
  readonly id?: string;
  readonly generation?: number;
  /** Of a report that is stale: what is known of its host, for an agent to go on from (HOST-9). */
  readonly bootId?: string;
  readonly lastSeq?: number;
}
/** A fact that contradicts what is known. */
export interface InputRejected extends Omit<InputIgnored, 'bootId' | 'lastSeq'> {
  readonly reason: RefusalCode;
  readonly message: string;
  readonly holders?: readonly HolderRef[];
}

/** Every event by its name. */
export interface Events {
  VfAllocated: VfAllocated;
  VfReleased: VfReleased;
  VmStartAccepted: VmStartAccepted;
  VmStartFailed: VmStartFailed;
  VmStarted: VmStartedEvent;
  VmStartAborted: VmEnded;
  VmStopped: VmEnded;
  VmDestroyed: VmFact;
  VmRebooted: VmFact;
  VmMigrated: VmMigratedEvent;
  VmAdopted: VmAdoptedEvent;
  VmNicAttached: VmNicAttached;
  VmNicAttachFailed: VmNicAttachFailed;
  VmNicDetached: VmNicDetached;
  VmNicDetachFailed: VmNicDetachFailed;
  VmNicTypeChanged: VmNicTypeChanged;
  VmNicTypeChangeRejected: VmNicTypeChangeRejected;
  VmMigrationAllowed: VmMigrationAllowed;
  VmMigrationRejected: VmMigrationRejected;
  NicDegraded: NicDegraded;
  NicPromoted: NicPromoted;
  VmStartedWithoutVf: VmStartedWithoutVf;
  HostRegistered: HostRegistered;
  HostChanged: HostChanged;
  HostAgentRestarted: HostAgentRestarted;
  HostBack: HostSince;
  HostLost: HostSince;
  HostCordoned: HostCordoned;
  HostFenced: HostFencedEvent;
  HostRemoved: HostRef;
  HostRemovalRejected: HostRemovalRejected;
  PfVirtualizationOrdered: PfVirtualizationOrdered;
  PfVirtualizationRejected: PfVirtualizationRejected;
  PfVirtualized: PfVirtualizedEvent;
  PfVirtualizationFailed: PfVirtualizationFailedEvent;
  PfRestoreOrdered: PfRestoreOrdered;
  PfRestoreRejected: PfRestoreRejected;
  PfRestored: PfRef;
  PfRestoreFailed: PfRestoreFailedEvent;
  PfDriverLost: PfRef;
  PfLinkChanged: PfLinkChanged;
  PfCordoned: PfCordoned;
  PfAccepted: PfRef;
  VfScrubRequested: VfScrubRequested;
  VfScrubbed: VfScrubbedEvent;
  VfQuarantined: VfQuarantined;
  AllocationOverdue: AllocationOverdue;
  ScrubOverdue: ScrubOverdue;
  AllocationReleaseDone: AllocationReleaseDone;
  AllocationReleaseRejected: AllocationReleaseRejected;
  DriftDetected: Drift;
  DriftResolved: Drift;
  L2NetworkAccepted: L2NetworkDefined;
  L2NetworkRejected: L2NetworkRejected;
  L3NetworkAccepted: L3NetworkDefined;
  L3NetworkRejected: L3NetworkRejected;
  NetworkRemoved: NetworkRef;
  NetworkRemovalRejected: NetworkRemovalRejected;
  ClusterPolicyChanged: ClusterPolicyChanged;
  InputIgnored: InputIgnored;
  InputRejected: InputRejected;
}

export type EventType = keyof Events;

/** An event as it is decided: a name and its data. */
export type DomainEvent<T extends EventType = EventType> = {
  [K in T]: { readonly type: K; readonly data: Events[K] };
}[T];

/** An event with its place and time, as the log gives it back. */
export type PlacedEvent<T extends EventType = EventType> = DomainEvent<T> & {
  readonly position: number;
  /** When it was decided, in milliseconds since 1970. */
  readonly at: number;
  readonly cause: Cause;
};

/** The input that an event comes of. */
export interface Cause {
  readonly stream: string;
  readonly sequence: number;
  readonly id: string;
  readonly digest: string;
  /**
   * Of a report: the last one of its host that was taken, itself or one before it (HOST-9). Times in milliseconds
   * since 1970: when its sender says it was, and when it was stored.
   */
  readonly report?: {
    readonly hostId: string;
    readonly seq: number;
    readonly said: number;
    readonly at: number;
  };
}

/** Makes an event; the compiler checks that the data fits the name. */
export const event = <T extends EventType>(type: T, data: Events[T]): DomainEvent =>
  ({ type, data }) as DomainEvent;

export type { HostUse, NicSpec };
