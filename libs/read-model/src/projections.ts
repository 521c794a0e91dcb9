import type { EventType, Events } from '#domain';
import type { Touched } from './touched.js';

/**
 * One function for each event: what it may change in the tables. It is called before the event is taken into
 * the state; what is written is how the state is after it.
 *
 * The compiler asks for every event there is. One that it does not know, of a newer release, stops the read
 * side of its cluster.
 */
export const PROJECTIONS: { readonly [T in EventType]: (touched: Touched, data: Events[T]) => void } = {
  VfAllocated: (touched, data) => {
    touched.allocated = data;
    touched.vm(data.vmId);
    touched.pf(data);
    // An adopted VF was in a stranger's hands until now.
    if (data.reason === 'adopted') touched.vf(data);
  },
  VfReleased: (touched, data) => {
    touched.released = data;
    touched.vm(data.vmId);
    touched.pf(data);
    // A restore takes it away, dirt and all (SCRUB-1).
    if (data.reason === 'pf-restored') touched.vf(data);
  },
  VmStartAccepted: (touched, data) => touched.vm(data.vmId),
  VmStartFailed: (touched, data) => touched.generation(data),
  VmStarted: (touched, data) => touched.vm(data.vmId),
  VmStartAborted: (touched, data) => touched.vm(data.vmId),
  VmStopped: (touched, data) => touched.vm(data.vmId),
  VmDestroyed: (touched, data) => touched.vm(data.vmId),
  VmRebooted: (touched, data) => touched.generation(data),
  VmMigrated: (touched, data) => touched.vm(data.vmId),
  VmAdopted: (touched, data) => touched.vm(data.vmId),
  VmNicAttached: (touched, data) => touched.vm(data.vmId),
  VmNicAttachFailed: (touched, data) => touched.generation(data),
  VmNicDetached: (touched, data) => touched.vm(data.vmId),
  VmNicDetachFailed: (touched, data) => touched.generation(data),
  VmNicTypeChanged: (touched, data) => touched.vm(data.vmId),
  VmNicTypeChangeRejected: (touched, data) => touched.generation(data),
  VmMigrationAllowed: (touched, data) => touched.generation(data),
  VmMigrationRejected: (touched, data) => touched.generation(data),
  NicDegraded: (touched, data) => touched.vm(data.vmId),
  NicPromoted: (touched, data) => touched.vm(data.vmId),
  VmStartedWithoutVf: () => undefined,
  AllocationOverdue: (touched, data) => touched.vm(data.vmId),

  HostRegistered: (touched, data) => touched.inventory(data.hostId),
  HostChanged: (touched, data) => {
    touched.inventory(data.hostId);
    for (const vmId of data.stoppedVms ?? []) touched.vm(vmId);
  },
  HostAgentRestarted: (touched, data) => touched.host(data.hostId),
  HostBack: (touched, data) => touched.standing(data.hostId),
  HostLost: (touched, data) => touched.standing(data.hostId),
  HostCordoned: (touched, data) => touched.standing(data.hostId),
  HostFenced: (touched, data) => {
    touched.standing(data.hostId);
    for (const vmId of data.stoppedVms ?? []) touched.vm(vmId);
  },
  HostRemoved: (touched, data) => touched.inventory(data.hostId),
  HostRemovalRejected: () => undefined,
  PfVirtualizationOrdered: (touched, data) => touched.pf(data),
  PfVirtualizationRejected: () => undefined,
  PfVirtualized: (touched, data) => touched.inventory(data.hostId),
  PfVirtualizationFailed: (touched, data) => touched.pf(data),
  PfRestoreOrdered: (touched, data) => touched.pf(data),
  PfRestoreRejected: () => undefined,
  PfRestored: (touched, data) => touched.inventory(data.hostId),
  PfRestoreFailed: (touched, data) => touched.pf(data),
  PfDriverLost: (touched, data) => touched.inventory(data.hostId),
  PfLinkChanged: (touched, data) => touched.pf(data),
  PfCordoned: (touched, data) => touched.pf(data),
  PfAccepted: (touched, data) => touched.pf(data),
  VfScrubRequested: (touched, data) => touched.vf(data),
  VfScrubbed: (touched, data) => touched.vf(data),
  VfQuarantined: (touched, data) => touched.vf(data),
  ScrubOverdue: () => undefined,
  AllocationReleaseDone: () => undefined,
  AllocationReleaseRejected: () => undefined,
  DriftDetected: (touched, data) => touched.host(data.hostId),
  DriftResolved: (touched, data) => touched.host(data.hostId),

  L2NetworkAccepted: (touched, data) => void touched.networks.add(data.l2Id),
  L2NetworkRejected: () => undefined,
  L3NetworkAccepted: (touched, data) => void touched.networks.add(data.l3Id),
  L3NetworkRejected: () => undefined,
  NetworkRemoved: (touched, data) => void touched.networks.add(data.id),
  NetworkRemovalRejected: () => undefined,
  ClusterPolicyChanged: (touched) => {
    touched.policy = true;
  },
  InputIgnored: (touched, data) => touched.generation(data),
  InputRejected: (touched, data) => touched.generation(data),
};

/** Every event that there is. */
export const EVENT_TYPES: ReadonlySet<string> = new Set(Object.keys(PROJECTIONS));
