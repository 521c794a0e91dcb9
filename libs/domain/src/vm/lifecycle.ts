import { allocationsOf, Decision, holderOf, withGeneration } from '../decision.js';
import type { DomainEvent, EventType, ReleaseReason } from '../events.js';
import { resolveReleased } from '../host/drift.js';
import type { Input, VmInputType } from '../inputs.js';
import { refusal } from '../refusal.js';
import type { Allocation, State, Vm } from '../state.js';
import { promote } from './promotion.js';

/** A VM fact that changes nothing. */
export const ignoreVm =
  (reason: string) =>
  (_state: State, _vm: Vm | undefined, input: Input<VmInputType>): readonly DomainEvent[] => [
    {
      type: 'InputIgnored',
      data: withGeneration({ type: input.type, reason, vmId: input.data.vmId }, input.data.generation),
    },
  ];

const REASONS = {
  VmStopped: 'vm-stopped',
  VmStartAborted: 'start-aborted',
  VmDestroyed: 'vm-destroyed',
} as const satisfies Partial<Record<EventType, ReleaseReason>>;

/** VM-3: any end of a VM, from whatever state, releases all its VFs at once. */
export function decideEnd(
  state: State,
  vm: Vm,
  input: Input<'VmStopped' | 'VmStartAborted' | 'VmDestroyed'>,
): readonly DomainEvent[] {
  const decision = new Decision(state, input.id);
  const allocations = allocationsOf(vm);
  decision.release(allocations, REASONS[input.type]);
  resolveReleased(decision, allocations);
  resolveElsewhere(decision, vm);
  // What comes after the outcome would not be part of it: who waited for a VF gets it before.
  promote(decision, vm);
  const { vmId, generation } = input.data;
  if (input.type === 'VmDestroyed') decision.add('VmDestroyed', withGeneration({ vmId }, generation));
  else decision.add(input.type, withGeneration({ vmId, reason: input.data.reason }, generation));
  return decision.events;
}

/** Says that a VM is no longer thought to be elsewhere, if it was (VM-14). */
export function resolveElsewhere(decision: Decision, vm: Vm): void {
  if (vm.elsewhere === undefined) return;
  decision.add('DriftResolved', {
    hostId: vm.elsewhere,
    vmId: vm.id,
    kind: 'VM_ELSEWHERE',
    expected: vm.hostId,
  });
}

/**
 * What else ends with allocations that leave their VMs running: drift about them, and, with the last of a VM
 * that was reported elsewhere, what kept it here (VM-14): it is where it was reported.
 */
export function letGo(decision: Decision, allocations: readonly Allocation[]): void {
  resolveReleased(decision, allocations);
  for (const vm of new Set(allocations.map((allocation) => allocation.vm))) {
    const leaving = allocations.filter((allocation) => allocation.vm === vm).length;
    if (vm.elsewhere === undefined || leaving < vm.held) continue;
    resolveElsewhere(decision, vm);
    decision.add('VmMigrated', { vmId: vm.id, hostId: vm.elsewhere });
  }
}

/** A start that was accepted, or a VM that runs already, is reported started. */
export function decideStarted(state: State, vm: Vm, input: Input<'VmStarted'>): readonly DomainEvent[] {
  const { vmId, bootId, generation } = input.data;
  const hostId = input.data.hostId ?? vm.hostId ?? '';
  if (isOfEarlierBoot(state, hostId, bootId)) return ignoreVm('stale')(state, vm, input);
  if (hostId !== vm.hostId && vm.held > 0) return reportElsewhere(state, vm, input, hostId);
  const isKnown = vm.state === 'running' && hostId === vm.hostId && vm.elsewhere === undefined;
  if (isKnown && (bootId === undefined || bootId === vm.bootId)) {
    return ignoreVm('already-running')(state, vm, input);
  }
  const decision = new Decision(state, input.id);
  resolveElsewhere(decision, vm);
  if (vm.state === 'pending') tellMissing(decision, vm, hostId);
  return decision.add('VmStarted', withGeneration({ vmId, hostId, bootId }, generation)).events;
}

/** HOST-4: of a boot that is over nothing runs any more, whatever a late message says. */
const isOfEarlierBoot = (state: State, hostId: string, bootId: string | undefined): boolean =>
  bootId !== undefined && state.hosts.get(hostId)?.earlierBoots.includes(bootId) === true;

/** VM-12: each NIC whose VF was released before the VM was reported started runs without it. */
function tellMissing(decision: Decision, vm: Vm, hostId: string): void {
  for (const nic of vm.nics.values()) {
    if (nic.type !== 'vf' || nic.allocation !== undefined || nic.degraded || nic.last === undefined) continue;
    const { allocationId } = nic.last;
    decision.add('VmStartedWithoutVf', { vmId: vm.id, hostId, nicId: nic.id, allocationId });
  }
}

/**
 * A stopped VM is reported started. Its own end makes that a late message. But where something else took its
 * VFs (a proof, an operator, a reboot, a fence) it is believed, and each NIC that runs without its VF is told
 * (VM-12).
 */
export function decideStartedLate(state: State, vm: Vm, input: Input<'VmStarted'>): readonly DomainEvent[] {
  if (vm.endedBy === undefined) return ignoreVm('already-stopped')(state, vm, input);
  const { vmId, bootId, generation } = input.data;
  const hostId = input.data.hostId ?? vm.hostId ?? '';
  if (isOfEarlierBoot(state, hostId, bootId)) return ignoreVm('stale')(state, vm, input);
  const decision = new Decision(state, input.id);
  tellMissing(decision, vm, hostId);
  return decision.add('VmStarted', withGeneration({ vmId, hostId, bootId }, generation)).events;
}

/** VM-5: a reboot inside the guest keeps everything. */
export function decideRebooted(_state: State, _vm: Vm, input: Input<'VmRebooted'>): readonly DomainEvent[] {
  const { vmId, generation } = input.data;
  return [{ type: 'VmRebooted', data: withGeneration({ vmId }, generation) }];
}

/** VM-14: a VM without VFs is where it is reported; one that holds VFs and is reported elsewhere is drift. */
export function decideMigrated(state: State, vm: Vm, input: Input<'VmMigrated'>): readonly DomainEvent[] {
  const { vmId, hostId, generation } = input.data;
  if (hostId === vm.hostId && vm.elsewhere === undefined) return ignoreVm('already-there')(state, vm, input);
  if (hostId !== vm.hostId && vm.held > 0) return reportElsewhere(state, vm, input, hostId);
  const decision = new Decision(state, input.id);
  resolveElsewhere(decision, vm);
  return decision.add('VmMigrated', withGeneration({ vmId, hostId }, generation)).events;
}

function reportElsewhere(
  state: State,
  vm: Vm,
  input: Input<'VmStarted' | 'VmMigrated'>,
  hostId: string,
): readonly DomainEvent[] {
  const decision = new Decision(state, input.id);
  if (vm.elsewhere !== hostId) {
    resolveElsewhere(decision, vm);
    decision.add('DriftDetected', {
      hostId,
      vmId: vm.id,
      kind: 'VM_ELSEWHERE',
      expected: vm.hostId,
      observed: hostId,
    });
  }
  const why = refusal(
    input.type === 'VmMigrated' ? 'VM_HOLDS_VFS' : 'VM_RUNNING_ELSEWHERE',
    `VM ${vm.id} holds VFs on host ${vm.hostId}, and is reported on host ${hostId}: nothing is released`,
    allocationsOf(vm).map(holderOf),
  );
  decision.add(
    'InputRejected',
    withGeneration({ type: input.type, ...why, vmId: vm.id }, input.data.generation),
  );
  return decision.events;
}
