/**
 * What comes in: the `data` of each input of wire.md. A request (R) asks for a decision, a fact (F) says what
 * happened. Addresses are PCI addresses `dddd:bb:dd.f`, MACs lower case with colons; the edge has checked
 * both.
 */

export type NicType = 'vf' | 'vnic';
export type OnExhaustion = 'fail' | 'fallback';
export type Strategy = 'pack' | 'spread';
export type LinkState = 'up' | 'down';
export type OnBusy = 'unload' | 'reject';
export type HostUse = 'address' | 'route' | 'bond' | 'bridge' | 'other';
export type L2Type = 'L2NoVlanNetwork' | 'L2VlanNetwork' | 'VxlanNetwork';
export type L3Kind = 'public' | 'flat' | 'vrouter' | 'vpc';
export type MigrationKind = 'live' | 'storage' | 'cold';

/** A NIC as a control plane asks for it. */
export interface NicSpec {
  readonly nicId: string;
  /** Default `vf`. */
  readonly type?: NicType;
  /** An L3 network's id. */
  readonly networkId?: string;
  /** A physical network by name. With neither network field any PF serves. */
  readonly physicalNetwork?: string;
  /** Default `fail`. */
  readonly onExhaustion?: OnExhaustion;
  readonly mac?: string;
  /** 1..31, a slot on guest bus 0, or a guest PCI address. */
  readonly guestSlot?: number | string;
  readonly securityGroups?: readonly string[];
  readonly elasticIp?: string;
  readonly qos?: Readonly<Record<string, unknown>>;
}

/** Every VM input may carry it; it never goes back (VM-13). */
interface VmInput {
  readonly vmId: string;
  readonly generation?: number;
}

export interface VmStartRequested extends VmInput {
  /** Pins the host. */
  readonly hostId?: string;
  /** Names candidates. */
  readonly hosts?: readonly string[];
  /** Left out on a restart: those last known (VM-4). */
  readonly nics?: readonly NicSpec[];
  readonly tenant?: string;
  readonly strategy?: Strategy;
  readonly separatePfs?: boolean;
  readonly numaNode?: number;
  readonly guestOs?: string;
}
export interface VmStarted extends VmInput {
  readonly hostId?: string;
  readonly bootId?: string;
}
export interface VmStopped extends VmInput {
  readonly reason?: string;
}
export type VmStartAborted = VmStopped;
export type VmDestroyed = VmInput;
export type VmRebooted = VmInput;
export interface VmMigrated extends VmInput {
  readonly hostId: string;
}
export interface AdoptedNic {
  readonly nicId: string;
  readonly vf: string;
  readonly mac: string;
  readonly networkId?: string;
}
export interface VmAdopted extends VmInput {
  readonly hostId: string;
  readonly nics: readonly AdoptedNic[];
  readonly tenant?: string;
}
export interface VmNicAttachRequested extends VmInput {
  readonly nic: NicSpec;
}
export interface VmNicDetachRequested extends VmInput {
  readonly nicId: string;
}
export interface VmNicTypeChangeRequested extends VmInput {
  readonly nicId: string;
  readonly type: NicType;
}
export interface VmMigrationRequested extends VmInput {
  readonly kind: MigrationKind;
  readonly targetHostId?: string;
}

/** What a host says of a VF. */
export interface VfReport {
  readonly pciAddress: string;
  readonly index: number;
  readonly mac?: string;
  readonly vlan?: number;
  readonly iommuGroup?: number;
  readonly iommuGroupShared?: boolean;
  readonly hostUse?: HostUse;
  readonly boundDriver?: string;
  readonly usedByVmId?: string;
  /** The allocation for which the host has cleaned it. */
  readonly scrubbedFor?: string;
}

/** What a host says of a PF. */
export interface PfReport {
  readonly pciAddress: string;
  readonly ifname: string;
  readonly model?: string;
  readonly driver?: string;
  readonly vendorId?: string;
  readonly deviceId?: string;
  readonly serial?: string;
  readonly permanentMac?: string;
  readonly numaNode?: number;
  readonly link: LinkState;
  readonly speedMbps?: number;
  /** 0: no SR-IOV. */
  readonly totalVfs: number;
  /** Default: `ifname`. */
  readonly physicalNetwork?: string;
  readonly bond?: string;
  readonly vfs: readonly VfReport[];
}

export interface HostReported {
  readonly hostId: string;
  readonly bootId: string;
  readonly seq: number;
  readonly bootedAt?: string;
  readonly iommu: { readonly enabled: boolean; readonly ready: boolean };
  readonly interruptRemapping: boolean;
  readonly unsafeInterruptsAllowed?: boolean;
  readonly scrubs?: boolean;
  readonly vms?: readonly string[];
  readonly pfs: readonly PfReport[];
}
export interface HostSeen {
  readonly hostId: string;
  readonly bootId: string;
  readonly seq: number;
  readonly digest: string;
}
export interface HostCordoned {
  readonly hostId: string;
  readonly cordoned: boolean;
}
export interface HostFenced {
  readonly hostId: string;
}
export type HostRemovalRequested = HostFenced;

interface PfInput {
  readonly hostId: string;
  readonly pf: string;
}
export interface PfVirtualizeRequested extends PfInput {
  readonly numVfs: number;
}
export interface PfVirtualized extends PfInput {
  readonly vfs: readonly VfReport[];
}
export interface PfVirtualizationFailed extends PfInput {
  readonly reason?: string;
  readonly numVfs?: number;
}
export interface PfRestoreRequested extends PfInput {
  readonly onBusy?: OnBusy;
}
export type PfRestored = PfInput;
export interface PfRestoreFailed extends PfInput {
  readonly reason?: string;
}
export type PfDriverLost = PfInput;
export interface PfLinkChanged extends PfInput {
  readonly link: LinkState;
}
export interface PfCordoned extends PfInput {
  readonly cordoned: boolean;
}
export type PfAccepted = PfInput;
export interface VfScrubbed {
  readonly hostId: string;
  readonly vf: string;
  readonly allocationId: string;
  readonly clean: boolean;
  readonly detail?: string;
}
export interface AllocationReleaseRequested {
  readonly hostId: string;
  readonly allocationId: string;
  readonly reason?: string;
}

export interface L2NetworkDefined {
  readonly l2Id: string;
  readonly type: L2Type;
  readonly physicalInterface: string;
  readonly vlanId?: number;
  readonly sriov: boolean;
}
export interface L3NetworkDefined {
  readonly l3Id: string;
  readonly l2Id: string;
  readonly kind: L3Kind;
  readonly sriov: boolean;
}
export interface NetworkRemovalRequested {
  readonly id: string;
}

/** A known limit of a kind of hardware (PF-12): what a person is told of it. */
export interface HardwareLimit {
  /**
   * Part of the PF's model, driver or ids (`vendorId:deviceId`) by which it is recognised; case does not matter.
   */
  readonly match: string;
  /** Said when such a PF is split. */
  readonly onSplit?: string;
  /**
   * Guest systems with which its VFs are unreliable, as parts of `guestOs` (` win`: of a word that
   * begins so), and what to say at their start.
   */
  readonly guests?: { readonly match: readonly string[]; readonly warning: string };
}

/**
 * A cluster's policy as an operator changes it: what is left out stays as it is. Times in seconds, at least
 * 1.
 */
export interface ClusterPolicyChanged {
  readonly restoreOnBusy?: OnBusy;
  readonly bond?: 'warn' | 'reject';
  readonly promotion?: boolean;
  readonly startTimeoutSeconds?: number;
  readonly scrubTimeoutSeconds?: number;
  readonly hostTimeoutSeconds?: number;
  readonly strategy?: Strategy;
  /** VFs that a tenant may hold; a tenant that is not named has no limit. The whole table is replaced. */
  readonly quotas?: Readonly<Record<string, number>>;
  /** Limits of hardware, before those that are known anyway. The whole list is replaced. */
  readonly hardwareLimits?: readonly HardwareLimit[];
}
export type Tick = Readonly<Record<string, never>>;

/** Every input by its name. */
export interface Inputs {
  VmStartRequested: VmStartRequested;
  VmStarted: VmStarted;
  VmStartAborted: VmStartAborted;
  VmStopped: VmStopped;
  VmDestroyed: VmDestroyed;
  VmRebooted: VmRebooted;
  VmMigrated: VmMigrated;
  VmAdopted: VmAdopted;
  VmNicAttachRequested: VmNicAttachRequested;
  VmNicDetachRequested: VmNicDetachRequested;
  VmNicTypeChangeRequested: VmNicTypeChangeRequested;
  VmMigrationRequested: VmMigrationRequested;
  HostReported: HostReported;
  HostSeen: HostSeen;
  HostCordoned: HostCordoned;
  HostFenced: HostFenced;
  HostRemovalRequested: HostRemovalRequested;
  PfVirtualizeRequested: PfVirtualizeRequested;
  PfVirtualized: PfVirtualized;
  PfVirtualizationFailed: PfVirtualizationFailed;
  PfRestoreRequested: PfRestoreRequested;
  PfRestored: PfRestored;
  PfRestoreFailed: PfRestoreFailed;
  PfDriverLost: PfDriverLost;
  PfLinkChanged: PfLinkChanged;
  PfCordoned: PfCordoned;
  PfAccepted: PfAccepted;
  VfScrubbed: VfScrubbed;
  AllocationReleaseRequested: AllocationReleaseRequested;
  L2NetworkDefined: L2NetworkDefined;
  L3NetworkDefined: L3NetworkDefined;
  NetworkRemovalRequested: NetworkRemovalRequested;
  ClusterPolicyChanged: ClusterPolicyChanged;
  Tick: Tick;
}

export type InputType = keyof Inputs;

/** The inputs about a VM: those that the table of VM states answers. */
export type VmInputType = Extract<InputType, `Vm${string}`>;

/** An input, checked, on its way to a decision. */
export type Input<T extends InputType = InputType> = {
  [K in T]: {
    /** CloudEvent id: unique for the site; an input takes effect once by it (EX-6). */
    readonly id: string;
    readonly type: K;
    readonly data: Inputs[K];
    /** When JetStream stored it, in milliseconds since 1970: the clock of the decision. */
    readonly time: number;
    /**
     * When its sender says it was, in milliseconds since 1970: a claim, and no clock of any decision. Left out:
     * when JetStream stored it.
     */
    readonly saidAt?: number;
    /**
     * 16 hex digits that stand for what the input says: the same id with another digest is another content.
     */
    readonly digest: string;
  };
}[T];
