import type { PlacedEvent } from './events.js';
import {
  acceptPf,
  backHost,
  changeHost,
  cordonHost,
  cordonPf,
  failPfWork,
  fenceHost,
  loseDriver,
  loseHost,
  noteReport,
  orderRestore,
  orderVirtualization,
  quarantineVf,
  registerHost,
  removeHost,
  requestScrub,
  restartAgent,
  restorePf,
  scrubVf,
  setLink,
  virtualizePf,
} from './evolve-host.js';
import {
  acceptStart,
  adoptVm,
  allocateVf,
  attachNic,
  changeNicType,
  degradeNic,
  destroyVm,
  detachNic,
  endVm,
  markOverdue,
  migrateVm,
  promoteNic,
  releaseVf,
  startVm,
} from './evolve-vm.js';
import { DEFAULT_POLICY, type State } from './state.js';

/**
 * Version of evolve and of the state's form: a snapshot of another version is ignored. Raise it with either.
 */
export const STATE_VERSION = '5';

/**
 * Takes an event into the state, in place, and gives the state back. Total over what decide emits; it never
 * refuses: what is in the log has happened.
 *
 * @throws Error for an event that this version does not know, and for a gap: both mean that the log is not
 *   ours to lead.
 */
export function evolve(state: State, event: PlacedEvent): State {
  if (event.position !== state.position + 1) {
    throw new Error(`event ${event.position} cannot follow position ${state.position}`);
  }
  state.position = event.position;
  state.clock = event.at;
  const { cause } = event;
  if (state.lastCause === undefined || cause.id !== state.lastCause.id) {
    state.inputs.remember(cause.id, cause.digest, event.position);
    forgetGenerations(state);
    state.lastCause = cause;
  }
  apply(state, event);
  if (cause.report !== undefined) noteReport(state, cause.report);
  return state;
}

/** A generation outlives its VM as long as ids are remembered (VM-13). */
function forgetGenerations(state: State): void {
  for (const [vmId, { serial }] of state.generations) {
    if (serial >= state.inputs.oldest) return;
    state.generations.delete(vmId);
  }
}

function noteGeneration(state: State, vmId: string | undefined, generation: number | undefined): void {
  if (vmId === undefined || generation === undefined) return;
  const vm = state.vms.get(vmId);
  if (vm !== undefined) {
    vm.generation = Math.max(generation, vm.generation ?? 0);
    return;
  }
  const known = state.generations.get(vmId)?.generation ?? 0;
  // Taken out and put back: the map stays in order of serial, so that the oldest is found at its front.
  state.generations.delete(vmId);
  state.generations.set(vmId, {
    generation: Math.max(known, generation),
    serial: state.inputs.newest,
  });
}

function apply(state: State, event: PlacedEvent): void {
  switch (event.type) {
    case 'VfAllocated':
      return allocateVf(state, event.data, event.at);
    case 'VfReleased':
      return releaseVf(state, event.data, event.at);
    case 'VmStartAccepted':
      acceptStart(state, event.data, event.at);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmStarted':
      startVm(state, event.data);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmStartAborted':
    case 'VmStopped':
      endVm(state, event.data.vmId);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmDestroyed':
      return noteGeneration(state, event.data.vmId, destroyVm(state, event.data));
    case 'VmMigrated':
      migrateVm(state, event.data);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmAdopted':
      adoptVm(state, event.data);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmNicAttached':
      attachNic(state, event.data);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmNicDetached':
      detachNic(state, event.data.vmId, event.data.nicId);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmNicTypeChanged':
      changeNicType(state, event.data);
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'NicDegraded':
      return degradeNic(state, event.data);
    case 'NicPromoted':
      return promoteNic(state, event.data);
    case 'AllocationOverdue':
      return markOverdue(state, event.data, event.at);

    case 'HostRegistered':
      return registerHost(state, event.data, event.at);
    case 'HostChanged':
      return changeHost(state, event.data, event.at);
    case 'HostAgentRestarted':
      return restartAgent(state, event.data, event.at);
    case 'HostBack':
      return backHost(state, event.data, event.at);
    case 'HostLost':
      return loseHost(state, event.data);
    case 'HostCordoned':
      return cordonHost(state, event.data);
    case 'HostFenced':
      return fenceHost(state, event.data);
    case 'HostRemoved':
      return removeHost(state, event.data.hostId);
    case 'PfVirtualizationOrdered':
      return orderVirtualization(state, event.data);
    case 'PfVirtualized':
      return virtualizePf(state, event.data);
    case 'PfVirtualizationFailed':
    case 'PfRestoreFailed':
      return failPfWork(state, event.data);
    case 'PfRestoreOrdered':
      return orderRestore(state, event.data);
    case 'PfRestored':
      return restorePf(state, event.data);
    case 'PfDriverLost':
      return loseDriver(state, event.data);
    case 'PfLinkChanged':
      return setLink(state, event.data);
    case 'PfCordoned':
      return cordonPf(state, event.data);
    case 'PfAccepted':
      return acceptPf(state, event.data);
    case 'VfScrubRequested':
      return requestScrub(state, event.data, event.at);
    case 'VfScrubbed':
      return scrubVf(state, event.data);
    case 'VfQuarantined':
      return quarantineVf(state, event.data);
    case 'ScrubOverdue': {
      const vf = state.scrubbing.get(event.data.allocationId);
      if (vf?.marks.scrub !== undefined) vf.marks.scrub.overdue = true;
      state.scrubbing.delete(event.data.allocationId);
      return;
    }
    case 'DriftDetected':
      if (event.data.kind === 'VM_ELSEWHERE') {
        const vm = state.vms.get(event.data.vmId ?? '');
        if (vm !== undefined) vm.elsewhere = event.data.hostId;
        return;
      }
      state.hosts.get(event.data.hostId)?.drifts.set(driftKey(event.data), event.data);
      return;
    case 'DriftResolved':
      if (event.data.kind === 'VM_ELSEWHERE') {
        const vm = state.vms.get(event.data.vmId ?? '');
        if (vm !== undefined) vm.elsewhere = undefined;
        return;
      }
      state.hosts.get(event.data.hostId)?.drifts.delete(driftKey(event.data));
      return;

    case 'L2NetworkAccepted':
      state.l2Networks.set(event.data.l2Id, event.data);
      return;
    case 'L3NetworkAccepted':
      state.l3Networks.set(event.data.l3Id, event.data);
      return;
    case 'NetworkRemoved':
      // Where an L2 and an L3 network have one id, the L3 network, which is on the other, goes first.
      if (!state.l3Networks.delete(event.data.id)) state.l2Networks.delete(event.data.id);
      return;
    case 'ClusterPolicyChanged':
      state.policy = { ...DEFAULT_POLICY, ...state.policy, ...event.data };
      return;

    // What changes nothing but the memory of the id and, for a VM, its generation.
    case 'VmStartFailed':
    case 'VmRebooted':
    case 'VmNicAttachFailed':
    case 'VmNicDetachFailed':
    case 'VmNicTypeChangeRejected':
    case 'VmMigrationAllowed':
    case 'VmMigrationRejected':
    case 'InputIgnored':
    case 'InputRejected':
      return noteGeneration(state, event.data.vmId, event.data.generation);
    case 'VmStartedWithoutVf':
    case 'HostRemovalRejected':
    case 'PfVirtualizationRejected':
    case 'PfRestoreRejected':
    case 'AllocationReleaseDone':
    case 'AllocationReleaseRejected':
    case 'L2NetworkRejected':
    case 'L3NetworkRejected':
    case 'NetworkRemovalRejected':
      return;
    default:
      return unknownEvent(event);
  }
}

function unknownEvent(event: never): never {
  const { type, position } = event as { type: string; position: number };
  throw new Error(`event ${position} is a '${type}', which this version does not know: run a newer version`);
}

/** What a drift is about, as the key under which its host keeps it. */
export const driftKey = (drift: {
  readonly kind: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly vmId?: string;
}): string => `${drift.kind} ${drift.pf ?? ''} ${drift.vf ?? ''} ${drift.vmId ?? ''}`;
