import type {
  AllocationOverdue,
  Events,
  StartedNic,
  VfAllocated,
  VfReleased,
  VmAdoptedEvent,
  VmMigratedEvent,
  VmStartAccepted,
  VmStartedEvent,
} from './events.js';
import { isStranger, ZERO_MAC } from './hardware.js';
import { isVfFree } from './standing.js';
import { lastVf, type Allocation, type Nic, type State, type Vf, type Vm } from './state.js';
import { mark } from './vf-marks.js';

/**
 * Brings the free slots of a VF's PF, and the index, in line with the VF. Call it after any change to the VF.
 */
export function refreshVf(state: State, vf: Vf): void {
  if (isVfFree(vf)) vf.pf.free.add(vf.slot);
  else vf.pf.free.delete(vf.slot);
  state.capacity.refresh(vf.pf);
}

const vmOf = (state: State, vmId: string): Vm => {
  let vm = state.vms.get(vmId);
  if (vm === undefined) {
    vm = {
      id: vmId,
      state: 'stopped',
      hostId: undefined,
      tenant: undefined,
      bootId: undefined,
      generation: state.generations.get(vmId)?.generation,
      nics: new Map(),
      held: 0,
      overdueSince: undefined,
      endedBy: undefined,
      elsewhere: undefined,
      separatePfs: undefined,
    };
    state.vms.set(vmId, vm);
    state.generations.delete(vmId);
  }
  return vm;
};

const nicOf = (vm: Vm, nicId: string): Nic => {
  let nic = vm.nics.get(nicId);
  if (nic === undefined) {
    nic = {
      id: nicId,
      vm,
      type: 'vf',
      networkId: undefined,
      physicalNetwork: undefined,
      onExhaustion: 'fail',
      mac: '',
      guestSlot: undefined,
      services: undefined,
      allocation: undefined,
      degraded: false,
      detachedByForce: false,
      last: undefined,
    };
    vm.nics.set(nicId, nic);
  }
  return nic;
};

/** The VF at an address, which the events of the log have told of. */
const vfAt = (state: State, hostId: string, address: string): Vf => {
  const vf = state.hosts.get(hostId)?.vfs.get(address);
  if (vf === undefined)
    throw new Error(`the log hands out VF ${address} of host ${hostId}, which it never told of`);
  return vf;
};

/**
 * SCRUB-1: the VF's own MAC, which may show again after a scrub: not zero, and no guest's. What is adopted is in
 * a guest's hands already.
 */
function ownMac(state: State, { report: { mac } }: Vf, data: VfAllocated): string | undefined {
  if (mac === undefined || mac === ZERO_MAC || mac === data.mac || data.reason === 'adopted')
    return undefined;
  return state.macs.has(mac) ? undefined : mac;
}

/** EX-1 does not hold in a log: one VF has two holders. */
export class HandedOutTwice extends Error {
  override readonly name = 'HandedOutTwice';
}

export function allocateVf(state: State, data: VfAllocated, at: number): void {
  const vf = vfAt(state, data.hostId, data.vf);
  // EX-1, as a last line of defence: a log that hands one VF out twice must not become a state that looks
  // sound.
  if (vf.allocation !== undefined) {
    throw new HandedOutTwice(
      `the log hands out VF ${data.vf} of host ${data.hostId} twice: ${vf.allocation.id}, ${data.allocationId}`,
    );
  }
  const vm = vmOf(state, data.vmId);
  const nic = nicOf(vm, data.nicId);
  const macBefore = ownMac(state, vf, data);
  const allocation: Allocation = {
    id: data.allocationId,
    vm,
    nic,
    vf,
    physicalNetwork: data.physicalNetwork,
    since: at,
    ...(data.networkId === undefined ? undefined : { networkId: data.networkId }),
    ...(data.vlanId === undefined ? undefined : { vlanId: data.vlanId }),
    ...(macBefore === undefined ? undefined : { macBefore }),
  };
  if (data.tenant !== undefined) vm.tenant = data.tenant;
  vf.allocation = allocation;
  // VM-19: an adopted VF was in a stranger's hands until now. Elsewhere a report older than the allocation
  // says nothing of it.
  if (data.reason === 'adopted') mark(vf, { stranger: isStranger(vf.report, allocation) });
  nic.allocation = allocation;
  nic.detachedByForce = false;
  vf.pf.held++;
  vm.held++;
  state.allocations.set(allocation.id, allocation);
  countTenant(state, vm, 1);
  // VM-12: what comes to a pending VM later, by an attach or a promotion, is watched as well.
  if (vm.state === 'pending' && vm.overdueSince === undefined && !state.starting.has(vm.id))
    state.starting.set(vm.id, at);
  refreshVf(state, vf);
}

function countTenant(state: State, vm: Vm, difference: number): void {
  if (vm.tenant === undefined) return;
  const held = (state.heldByTenant.get(vm.tenant) ?? 0) + difference;
  if (held === 0) state.heldByTenant.delete(vm.tenant);
  else state.heldByTenant.set(vm.tenant, held);
}

export function releaseVf(state: State, data: VfReleased, at: number): void {
  const allocation = state.allocations.get(data.allocationId);
  if (allocation === undefined)
    throw new Error(`the log releases allocation ${data.allocationId}, which nobody holds`);
  const { vf, nic, vm } = allocation;
  state.allocations.delete(allocation.id);
  nic.last = lastVf(nic);
  vf.allocation = undefined;
  nic.allocation = undefined;
  vf.pf.held--;
  vm.held--;
  countTenant(state, vm, -1);
  // SCRUB-1: a restore or a lost driver takes the VF away, dirt and all; should it come back, the scrub is
  // still to be ordered.
  if (vf.pf.host.scrubs) {
    const { macBefore } = allocation;
    mark(vf, { scrub: { allocationId: allocation.id, since: at, overdue: false }, macBefore });
  }
  // VM-18: what its VM's own end took is not taken by force, and that end says so at once. A NIC that may fall
  // back is degraded instead, by an event of its own.
  nic.detachedByForce = vm.state !== 'stopped';
  // HOST-7: a VM that runs on, and is shown to use the VF, is a stranger to it from now on.
  if (data.reason === 'operator' && data.forced && vf.report.usedByVmId !== undefined)
    mark(vf, { stranger: true });
  // VM-12: nothing of the VM's own ended its start, so a later word that it runs is believed.
  if (data.reason === 'proved-unused' || (data.reason === 'operator' && !data.forced)) {
    vm.endedBy = data.reason;
    if (vm.held === 0) stop(state, vm);
  }
  refreshVf(state, vf);
}

/** Takes a VM off its host. */
function stop(state: State, vm: Vm): void {
  if (vm.hostId !== undefined) state.hosts.get(vm.hostId)?.vms.delete(vm);
  vm.state = 'stopped';
  vm.bootId = undefined;
  vm.overdueSince = undefined;
  vm.elsewhere = undefined;
  state.starting.delete(vm.id);
  state.observed.proofs.delete(vm.id);
  for (const nic of vm.nics.values()) {
    nic.degraded = false;
    nic.detachedByForce = false;
    if (state.degraded.size > 0) state.degraded.delete(`${vm.id}/${nic.id}`);
  }
}

/** Puts a VM on a host. */
function place(state: State, vm: Vm, hostId: string): void {
  if (vm.hostId !== undefined && vm.hostId !== hostId) state.hosts.get(vm.hostId)?.vms.delete(vm);
  vm.hostId = hostId;
  state.hosts.get(hostId)?.vms.add(vm);
}

function useNetwork(state: State, networkId: string | undefined, difference: number): void {
  if (networkId === undefined) return;
  const nics = (state.nicsOnNetwork.get(networkId) ?? 0) + difference;
  if (nics === 0) state.nicsOnNetwork.delete(networkId);
  else state.nicsOnNetwork.set(networkId, nics);
}

function setNic(state: State, vm: Vm, data: StartedNic): Nic {
  const nic = nicOf(vm, data.nicId);
  nic.type = data.type;
  nic.physicalNetwork = data.physicalNetwork;
  nic.onExhaustion = data.onExhaustion ?? 'fail';
  nic.guestSlot = data.guestSlot;
  nic.services =
    data.securityGroups === undefined && data.elasticIp === undefined && data.qos === undefined
      ? undefined
      : { securityGroups: data.securityGroups, elasticIp: data.elasticIp, qos: data.qos };
  if (nic.networkId !== data.networkId) {
    useNetwork(state, nic.networkId, -1);
    useNetwork(state, data.networkId, 1);
    nic.networkId = data.networkId;
  }
  if (data.mac !== undefined && nic.mac !== data.mac) {
    if (state.macs.get(nic.mac) === nic) state.macs.delete(nic.mac);
    nic.mac = data.mac;
    state.macs.set(data.mac, nic);
  }
  if (data.degraded === true) {
    nic.degraded = true;
    state.degraded.set(`${vm.id}/${nic.id}`, nic);
  }
  return nic;
}

function removeNic(state: State, nic: Nic): void {
  useNetwork(state, nic.networkId, -1);
  if (state.macs.get(nic.mac) === nic) state.macs.delete(nic.mac);
  state.degraded.delete(`${nic.vm.id}/${nic.id}`);
  nic.vm.nics.delete(nic.id);
}

export function acceptStart(state: State, data: VmStartAccepted, at: number): void {
  const vm = vmOf(state, data.vmId);
  vm.state = 'pending';
  vm.endedBy = undefined;
  vm.bootId = undefined;
  vm.separatePfs = data.separatePfs === true ? true : undefined;
  if (data.tenant !== undefined) vm.tenant = data.tenant;
  place(state, vm, data.hostId);
  const kept = new Set<string>();
  for (const nic of data.nics) {
    kept.add(nic.nicId);
    setNic(state, vm, nic);
  }
  for (const nic of vm.nics.values()) if (!kept.has(nic.id)) removeNic(state, nic);
  // Only a start that holds something can leak it; without VFs there is nothing to report overdue.
  if (vm.held > 0) state.starting.set(vm.id, at);
}

export function startVm(state: State, data: VmStartedEvent): void {
  const vm = vmOf(state, data.vmId);
  // VM-12: what was taken before a late word that it runs.
  if (vm.state !== 'running')
    for (const nic of vm.nics.values())
      if (nic.type === 'vf' && nic.allocation === undefined && !nic.degraded) nic.detachedByForce = true;
  vm.state = 'running';
  vm.endedBy = undefined;
  vm.overdueSince = undefined;
  vm.bootId = data.bootId;
  place(state, vm, data.hostId);
  state.starting.delete(vm.id);
  state.observed.proofs.delete(vm.id);
}

export function endVm(state: State, vmId: string): void {
  const vm = state.vms.get(vmId);
  if (vm === undefined) return;
  vm.endedBy = undefined;
  stop(state, vm);
}

/** A VM that a reboot or a fence stopped (VM-16). */
export function endByHost(state: State, vmId: string, reason: 'host-rebooted' | 'host-fenced'): void {
  const vm = state.vms.get(vmId);
  if (vm === undefined) return;
  vm.endedBy = reason;
  stop(state, vm);
}

/** @returns the generation to be kept for the VM that is no longer known. */
export function destroyVm(state: State, data: Events['VmDestroyed']): number | undefined {
  const vm = state.vms.get(data.vmId);
  if (vm === undefined) return data.generation;
  stop(state, vm);
  for (const nic of vm.nics.values()) removeNic(state, nic);
  state.vms.delete(vm.id);
  return data.generation ?? vm.generation;
}

export function migrateVm(state: State, data: VmMigratedEvent): void {
  const vm = vmOf(state, data.vmId);
  if (vm.state === 'stopped') vm.hostId = data.hostId;
  else place(state, vm, data.hostId);
}

export function adoptVm(state: State, data: VmAdoptedEvent): void {
  const vm = vmOf(state, data.vmId);
  vm.state = 'running';
  vm.endedBy = undefined;
  vm.separatePfs = undefined;
  if (data.tenant !== undefined) vm.tenant = data.tenant;
  place(state, vm, data.hostId);
  for (const nic of data.nics) setNic(state, vm, nic);
}

export function attachNic(state: State, data: Events['VmNicAttached']): void {
  const vm = vmOf(state, data.vmId);
  setNic(state, vm, data.nic).detachedByForce = false;
}

export function detachNic(state: State, vmId: string, nicId: string): void {
  const nic = state.vms.get(vmId)?.nics.get(nicId);
  if (nic !== undefined) removeNic(state, nic);
}

export function changeNicType(state: State, data: Events['VmNicTypeChanged']): void {
  const nic = state.vms.get(data.vmId)?.nics.get(data.nicId);
  if (nic !== undefined) nic.type = data.type;
}

export function degradeNic(state: State, data: Events['NicDegraded']): void {
  // Before its start is accepted the VM may not be known; the acceptance says `degraded` again, of its NICs
  // in their order (VM-10).
  const nic = state.vms.get(data.vmId)?.nics.get(data.nicId);
  if (nic === undefined || nic.vm.state === 'stopped') return;
  nic.degraded = true;
  nic.detachedByForce = false;
  state.degraded.set(`${data.vmId}/${data.nicId}`, nic);
}

export function promoteNic(state: State, data: Events['NicPromoted']): void {
  const nic = state.vms.get(data.vmId)?.nics.get(data.nicId);
  if (nic === undefined) return;
  nic.degraded = false;
  state.degraded.delete(`${data.vmId}/${data.nicId}`);
}

export function markOverdue(state: State, data: AllocationOverdue, at: number): void {
  const vm = state.vms.get(data.vmId);
  if (vm === undefined) return;
  vm.overdueSince = at;
  state.starting.delete(vm.id);
}
