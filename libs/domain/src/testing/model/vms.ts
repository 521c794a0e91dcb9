import type { Events, PlacedEvent, StartedNic } from '../../events.js';
import type { Input } from '../../inputs.js';
import { nicKey, type Known } from './known.js';

/** What events say of VMs and their NICs. */
export function foldVm(
  known: Known,
  input: Input,
  event: PlacedEvent,
  decision: readonly PlacedEvent[],
): void {
  switch (event.type) {
    case 'VmStartAccepted':
      return startAccepted(known, input as Input<'VmStartRequested'>, event.data, decision);
    case 'VmStartFailed':
      return known.check('EX-3', decision.length === 1, `a failed start left ${decision.length} events`);
    case 'VmNicAttachFailed':
      return known.check('VM-6', decision.length === 1, `a failed attach left ${decision.length} events`);
    case 'VmStarted': {
      const vm = known.vms.get(event.data.vmId);
      if (vm === undefined) return known.check('VM-12', false, `unknown ${event.data.vmId} has started`);
      known.check(
        'VM-14',
        vm.hostId === event.data.hostId || known.heldBy(event.data.vmId).length === 0,
        `${event.data.vmId} holds VFs on ${vm.hostId} and is taken as on ${event.data.hostId}`,
      );
      vm.state = 'running';
      vm.hostId = event.data.hostId;
      vm.bootId = event.data.bootId;
      vm.overdue = false;
      return;
    }
    case 'VmStartAborted':
    case 'VmStopped':
      return stop(known, event.data.vmId, event.type);
    case 'VmDestroyed': {
      stop(known, event.data.vmId, event.type);
      for (const nicId of known.vms.get(event.data.vmId)?.nics.keys() ?? [])
        dropNic(known, event.data.vmId, nicId);
      known.vms.delete(event.data.vmId);
      return;
    }
    case 'VmMigrated': {
      const vm = known.vms.get(event.data.vmId);
      if (vm === undefined) return known.check('VM-14', false, `unknown ${event.data.vmId} has migrated`);
      known.check(
        'VM-14',
        vm.hostId === event.data.hostId || known.heldBy(event.data.vmId).length === 0,
        `${event.data.vmId} moved with its VFs`,
      );
      vm.hostId = event.data.hostId;
      return;
    }
    case 'VmMigrationAllowed':
      return known.check(
        'VM-9',
        known.heldBy(event.data.vmId).length === 0,
        `${event.data.vmId} may move with VFs`,
      );
    case 'VmMigrationRejected':
      if (event.data.reason === 'VM_HOLDS_VFS')
        known.check(
          'VM-9',
          event.data.holders?.length === known.heldBy(event.data.vmId).length &&
            event.data.holders.length > 0,
          `the NICs to detach of ${event.data.vmId} are not listed`,
        );
      return;
    case 'VmAdopted': {
      const { vmId, hostId, tenant, nics } = event.data;
      const asked = (input as Input<'VmAdopted'>).data.nics;
      known.check(
        'VM-19',
        asked.length === nics.length && asked.every((nic) => known.holds(vmId, nic.nicId, hostId, nic.vf)),
        `${vmId} was adopted without being the holder of exactly its VFs`,
      );
      const vm = known.vmFor(vmId, hostId);
      vm.separate = false;
      vm.state = 'running';
      vm.hostId = hostId;
      vm.tenant = tenant ?? vm.tenant;
      for (const nic of nics) setNic(known, vmId, nic);
      return;
    }
    case 'VmNicAttached': {
      const { vmId, nic } = event.data;
      const vm = known.vms.get(vmId);
      if (vm === undefined) return known.check('VM-6', false, `a NIC was attached to unknown ${vmId}`);
      const before = vm.nics.get(nic.nicId);
      known.check(
        'VM-8',
        before === undefined || vm.state === 'stopped' || before.type === nic.type,
        `the type of ${nicKey(vmId, nic.nicId)} changed while it runs`,
      );
      const due = vm.state !== 'stopped' && nic.type === 'vf' && nic.degraded !== true;
      known.check(
        'VM-6',
        known.nicHolds.has(nicKey(vmId, nic.nicId)) === due,
        `${nicKey(vmId, nic.nicId)} was attached ${due ? 'without' : 'with'} a VF`,
      );
      setNic(known, vmId, nic);
      return;
    }
    case 'VmNicDetached':
      known.check(
        'VM-7',
        !known.nicHolds.has(nicKey(event.data.vmId, event.data.nicId)),
        `${nicKey(event.data.vmId, event.data.nicId)} was detached and keeps its VF`,
      );
      return dropNic(known, event.data.vmId, event.data.nicId);
    case 'VmNicTypeChanged': {
      const vm = known.vms.get(event.data.vmId);
      known.check(
        'VM-8',
        vm?.state === 'stopped',
        `the type of a NIC of ${event.data.vmId} changed while it runs`,
      );
      const nic = vm?.nics.get(event.data.nicId);
      if (nic !== undefined) nic.type = event.data.type;
      return;
    }
    case 'DriftDetected':
    case 'DriftResolved': {
      const { kind, hostId, vmId = '' } = event.data;
      const vm = known.vms.get(vmId);
      if (kind !== 'VM_UNSEEN' || vm === undefined) return;
      vm.unseen = event.type === 'DriftDetected';
      if (input.type !== 'HostReported') return;
      // Also when a report releases its VFs, it is not missed any more.
      const due = vm.state === 'running' && vm.hostId === hostId && known.heldBy(vmId).length > 0;
      const listed = input.data.vms?.includes(vmId);
      known.check(
        'VM-17',
        vm.unseen ? due && listed === false : !due || listed === true,
        `${vmId} is ${vm.unseen ? '' : 'no longer '}missed, and its host lists it: ${listed ?? 'it lists none'}`,
      );
      return;
    }
    case 'NicDegraded':
      known.degraded.set(nicKey(event.data.vmId, event.data.nicId), {
        vmId: event.data.vmId,
        nicId: event.data.nicId,
      });
      return;
    case 'NicPromoted':
      known.check(
        'VM-10',
        known.nicHolds.has(nicKey(event.data.vmId, event.data.nicId)),
        `${nicKey(event.data.vmId, event.data.nicId)} was promoted without a VF`,
      );
      known.degraded.delete(nicKey(event.data.vmId, event.data.nicId));
      return;
    case 'AllocationOverdue': {
      const vm = known.vms.get(event.data.vmId);
      const since = known.allocations.get(event.data.allocationId)?.at;
      known.check(
        'VM-12',
        vm?.state === 'pending' && since !== undefined,
        `${event.data.allocationId} is overdue and not pending`,
      );
      if (vm !== undefined && !vm.overdue) {
        vm.overdue = true;
        vm.proofs = 0;
      }
      return;
    }
    default:
      return;
  }
}

/** EX-3, VM-1, VM-10, NET-3, OUT-6: what a VM got that was started. */
function startAccepted(
  known: Known,
  input: Input<'VmStartRequested'>,
  data: Events['VmStartAccepted'],
  decision: readonly PlacedEvent[],
): void {
  const { vmId, hostId, nics } = data;
  const before = known.vms.get(vmId)?.state;
  known.check('VM-15', before === undefined || before === 'stopped', `${vmId} was ${before} and is started`);
  const given = decision.filter((event) => event.type === 'VfAllocated') as PlacedEvent<'VfAllocated'>[];
  const due = nics.filter((nic) => nic.type === 'vf' && nic.degraded !== true);
  known.check(
    'EX-3',
    given.length === due.length && known.heldBy(vmId).length === due.length,
    `${vmId} has ${due.length} VF NICs that do not fall back, was given ${given.length} VFs and holds ${known.heldBy(vmId).length}`,
  );
  for (const nic of nics) {
    const id = known.nicHolds.get(nicKey(vmId, nic.nicId));
    const allocation = known.allocations.get(id ?? '');
    const right = due.includes(nic)
      ? allocation?.hostId === hostId && id === nic.allocationId && allocation.vf === nic.vf
      : id === undefined && nic.allocationId === undefined;
    known.check(
      'EX-3',
      right,
      `${nicKey(vmId, nic.nicId)} started with ${id}, and is told ${nic.allocationId}`,
    );
    if (nic.degraded === true)
      known.check('VM-10', nic.onExhaustion === 'fallback', `${nicKey(vmId, nic.nicId)} fell back unasked`);
    if (allocation !== undefined) {
      const pf = known.pfOf(allocation);
      const name = known.nameFor({ ...nic, onExhaustion: 'fail' });
      known.check(
        'NET-3',
        pf !== undefined && name !== undefined && pf.names.includes(name),
        `${nicKey(vmId, nic.nicId)} asks for ${name} and gets ${pf?.names.join(', ')}`,
      );
      const l2 = known.l2.get(known.l3.get(nic.networkId ?? '')?.l2Id ?? '');
      known.check('NET-3', allocation.vlanId === l2?.vlanId, `VLAN ${allocation.vlanId} for ${l2?.vlanId}`);
    }
  }
  const asked = input.data;
  known.check(
    'VM-1',
    asked.hostId === undefined || asked.hostId === hostId,
    `${vmId} is pinned to ${asked.hostId}`,
  );
  known.check(
    'VM-1',
    asked.hostId !== undefined || asked.hosts === undefined || asked.hosts.includes(hostId),
    `${hostId} is not among the candidates`,
  );
  const host = known.hosts.get(hostId);
  known.check('HOST-5', host !== undefined && !host.lost && !host.fenced, `${vmId} starts on lost ${hostId}`);
  known.check('HOST-6', host?.cordoned === false, `${vmId} starts on cordoned ${hostId}`);
  if (asked.separatePfs === true)
    known.check(
      'OUT-6',
      new Set(given.map((event) => event.data.pf)).size === given.length &&
        given.length < 2 === (data.bondHints === undefined),
      `${vmId} asked for different PFs`,
    );
  const vm = known.vmFor(vmId, hostId);
  vm.state = 'pending';
  vm.separate = asked.separatePfs === true;
  vm.hostId = hostId;
  vm.bootId = undefined;
  vm.tenant = data.tenant ?? vm.tenant;
  const kept = new Set(nics.map((nic) => nic.nicId));
  for (const nic of nics) setNic(known, vmId, nic);
  for (const nicId of [...vm.nics.keys()]) if (!kept.has(nicId)) dropNic(known, vmId, nicId);
}

function setNic(known: Known, vmId: string, nic: StartedNic): void {
  const key = nicKey(vmId, nic.nicId);
  const nics = known.vms.get(vmId)?.nics;
  const before = nics?.get(nic.nicId);
  if (nic.mac !== undefined) {
    const owner = known.macs.get(nic.mac);
    known.check(
      'NET-9',
      owner === undefined || owner === key,
      `MAC ${nic.mac} of ${key} belongs to ${owner}`,
    );
    if (before?.mac !== undefined && before.mac !== nic.mac) known.macs.delete(before.mac);
    known.macs.set(nic.mac, key);
  }
  nics?.set(nic.nicId, {
    nicId: nic.nicId,
    type: nic.type,
    networkId: nic.networkId,
    physicalNetwork: nic.physicalNetwork,
    onExhaustion: nic.onExhaustion ?? 'fail',
    mac: nic.mac,
  });
}

function dropNic(known: Known, vmId: string, nicId: string): void {
  const nic = known.vms.get(vmId)?.nics.get(nicId);
  if (nic?.mac !== undefined) known.macs.delete(nic.mac);
  known.vms.get(vmId)?.nics.delete(nicId);
  known.degraded.delete(nicKey(vmId, nicId));
}

/** VM-3, VM-16: a VM that ended. */
export function stop(known: Known, vmId: string, why: string): void {
  known.check('VM-3', known.heldBy(vmId).length === 0, `${vmId} ended by ${why} and holds VFs`);
  const vm = known.vms.get(vmId);
  if (vm === undefined) return;
  vm.state = 'stopped';
  vm.bootId = undefined;
  vm.overdue = false;
  for (const nicId of vm.nics.keys()) known.degraded.delete(nicKey(vmId, nicId));
}
