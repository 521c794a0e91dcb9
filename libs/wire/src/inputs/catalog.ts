import type { InputType } from '#domain';
import type { SubjectKind } from '../subjects.js';
import * as host from './host.dto.js';
import * as network from './network.dto.js';
import * as vm from './vm.dto.js';

/**
 * What the wire knows of an input: its class, the kind of subject it comes under, and the field that names
 * its subject's id.
 */
export interface InputEntry {
  readonly dto: new () => object;
  readonly kind: SubjectKind;
  /** undefined: the cluster itself. */
  readonly idField?: string;
}

const ofVm = (dto: new () => object): InputEntry => ({ dto, kind: 'vm', idField: 'vmId' });
const ofHost = (dto: new () => object): InputEntry => ({ dto, kind: 'host', idField: 'hostId' });

/** Every input of the contract. */
export const INPUT_CATALOG: { readonly [T in InputType]: InputEntry } = {
  VmStartRequested: ofVm(vm.VmStartRequestedDto),
  VmStarted: ofVm(vm.VmStartedDto),
  VmStartAborted: ofVm(vm.VmStartAbortedDto),
  VmStopped: ofVm(vm.VmStoppedDto),
  VmDestroyed: ofVm(vm.VmDestroyedDto),
  VmRebooted: ofVm(vm.VmRebootedDto),
  VmMigrated: ofVm(vm.VmMigratedDto),
  VmAdopted: ofVm(vm.VmAdoptedDto),
  VmNicAttachRequested: ofVm(vm.VmNicAttachRequestedDto),
  VmNicDetachRequested: ofVm(vm.VmNicDetachRequestedDto),
  VmNicTypeChangeRequested: ofVm(vm.VmNicTypeChangeRequestedDto),
  VmMigrationRequested: ofVm(vm.VmMigrationRequestedDto),
  HostReported: ofHost(host.HostReportedDto),
  HostSeen: ofHost(host.HostSeenDto),
  HostCordoned: ofHost(host.HostCordonedDto),
  HostFenced: ofHost(host.HostFencedDto),
  HostRemovalRequested: ofHost(host.HostRemovalRequestedDto),
  PfVirtualizeRequested: ofHost(host.PfVirtualizeRequestedDto),
  PfVirtualized: ofHost(host.PfVirtualizedDto),
  PfVirtualizationFailed: ofHost(host.PfVirtualizationFailedDto),
  PfRestoreRequested: ofHost(host.PfRestoreRequestedDto),
  PfRestored: ofHost(host.PfRestoredDto),
  PfRestoreFailed: ofHost(host.PfRestoreFailedDto),
  PfDriverLost: ofHost(host.PfDriverLostDto),
  PfLinkChanged: ofHost(host.PfLinkChangedDto),
  PfCordoned: ofHost(host.PfCordonedDto),
  PfAccepted: ofHost(host.PfAcceptedDto),
  VfScrubbed: ofHost(host.VfScrubbedDto),
  AllocationReleaseRequested: ofHost(host.AllocationReleaseRequestedDto),
  L2NetworkDefined: { dto: network.L2NetworkDefinedDto, kind: 'network', idField: 'l2Id' },
  L3NetworkDefined: { dto: network.L3NetworkDefinedDto, kind: 'network', idField: 'l3Id' },
  NetworkRemovalRequested: { dto: network.NetworkRemovalRequestedDto, kind: 'network', idField: 'id' },
  ClusterPolicyChanged: { dto: network.ClusterPolicyChangedDto, kind: 'cluster' },
  Tick: { dto: network.TickDto, kind: 'cluster' },
};

export const isInputType = (type: string): type is InputType => Object.hasOwn(INPUT_CATALOG, type);
