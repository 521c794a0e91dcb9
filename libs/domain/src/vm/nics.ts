import { Decision, withGeneration } from '../decision.js';
import type { DomainEvent, Refusal } from '../events.js';
import type { Input, NicSpec } from '../inputs.js';
import { MAX_NICS_PER_VM } from '../limits.js';
import { isRefusal, isSameSlot, planNics, startedNic } from '../nic-plan.js';
import { isPlaced, placeVfs, type Misfit } from '../placement.js';
import { refusal } from '../refusal.js';
import type { Nic, State, Vm } from '../state.js';
import { explainMisfit } from './misfit-message.js';
import { letGo } from './lifecycle.js';
import { promote } from './promotion.js';
import { overQuota } from './quota.js';

type AttachInput = Input<'VmNicAttachRequested'>;

const attachFailed = (input: AttachInput, why: Refusal, misfit?: Misfit): readonly DomainEvent[] => [
  {
    type: 'VmNicAttachFailed',
    data: withGeneration(
      {
        vmId: input.data.vmId,
        nicId: input.data.nic.nicId,
        ...why,
        ...(misfit === undefined ? undefined : { summary: misfit.summary, considered: misfit.considered }),
        ...(misfit?.truncated === true ? { truncated: true } : undefined),
      },
      input.data.generation,
    ),
  },
];

/**
 * A VF NIC that runs without its VF may be attached again, with the same MAC and slot (VM-18), but not as a
 * vNIC (VM-8).
 */
const mayReattach = (vm: Vm, nic: Nic, spec: NicSpec): boolean =>
  vm.state !== 'stopped' &&
  nic.type === 'vf' &&
  spec.type !== 'vnic' &&
  nic.allocation === undefined &&
  !nic.degraded;

/**
 * VM-6: a NIC of a running VM gets its VF now or the attach fails; one of a stopped VM gets it at the next
 * start.
 */
export function decideAttach(state: State, vm: Vm, input: AttachInput): readonly DomainEvent[] {
  const spec = input.data.nic;
  const known = vm.nics.get(spec.nicId);
  if (known !== undefined && !mayReattach(vm, known, spec)) {
    return attachFailed(input, refusal('NIC_EXISTS', `VM ${vm.id} has a NIC ${spec.nicId} already`));
  }
  const neighbour = [...vm.nics.values()].find(
    (nic) => nic.id !== spec.nicId && isSameSlot(nic.guestSlot, spec.guestSlot),
  );
  if (neighbour !== undefined) {
    return attachFailed(
      input,
      refusal('NIC_EXISTS', `guest slot ${spec.guestSlot} is taken by NIC ${neighbour.id}`),
    );
  }
  if (known === undefined && vm.nics.size >= MAX_NICS_PER_VM) {
    return attachFailed(
      input,
      refusal('NIC_EXISTS', `VM ${vm.id} has ${MAX_NICS_PER_VM} NICs, which is the most it can have`),
    );
  }
  const plans = planNics(state, vm.id, [
    known === undefined
      ? spec
      : {
          networkId: known.networkId,
          physicalNetwork: known.physicalNetwork,
          onExhaustion: known.onExhaustion,
          ...spec,
        },
  ]);
  if (isRefusal(plans)) return attachFailed(input, plans);
  const plan = plans[0];
  if (plan === undefined) throw new Error('a NIC was planned, and there is no plan');

  const decision = new Decision(state, input.id);
  const attached = (nic: ReturnType<typeof startedNic>): readonly DomainEvent[] =>
    decision.add('VmNicAttached', withGeneration({ vmId: vm.id, nic }, input.data.generation)).events;
  if (plan.type === 'vnic' || vm.state === 'stopped') return attached(startedNic(plan));

  const quota = overQuota(state, vm.tenant, 1);
  if (quota !== undefined) return attachFailed(input, quota);
  const placement = placeVfs(state, {
    needs: [{ nicId: plan.nicId, network: plan.network, last: plan.last }],
    hostId: vm.hostId,
    strategy: state.policy.strategy,
    separatePfs: false,
  });
  if (isPlaced(placement)) {
    const vf = placement.vfs[0];
    if (vf === undefined) throw new Error('a VF was placed, and there is none');
    const allocationId = decision.allocate({ id: vm.id, tenant: vm.tenant }, plan, vf, 'attach');
    return attached(startedNic(plan, { allocationId, pf: vf.pf.address, vf: vf.report.pciAddress }));
  }
  if (plan.onExhaustion === 'fallback') {
    decision.add('NicDegraded', { vmId: vm.id, nicId: plan.nicId, reason: placement.reason });
    return attached(startedNic(plan, { degraded: true }));
  }
  return attachFailed(
    input,
    refusal(placement.reason, explainMisfit(state, placement, { hostId: vm.hostId }, plans)),
    placement,
  );
}

/** VM-7: a detached NIC gives its VF back. */
export function decideDetach(
  state: State,
  vm: Vm,
  input: Input<'VmNicDetachRequested'>,
): readonly DomainEvent[] {
  const { vmId, nicId, generation } = input.data;
  const nic = vm.nics.get(nicId);
  if (nic === undefined) {
    const why = refusal('NIC_UNKNOWN', `VM ${vmId} has no NIC ${nicId}`);
    return [{ type: 'VmNicDetachFailed', data: withGeneration({ vmId, nicId, ...why }, generation) }];
  }
  const decision = new Decision(state, input.id);
  if (nic.allocation !== undefined) {
    decision.release([nic.allocation], 'nic-detached');
    letGo(decision, [nic.allocation]);
  }
  promote(decision);
  return decision.add('VmNicDetached', withGeneration({ vmId, nicId }, generation)).events;
}

/** VM-8: the type changes only while the VM is stopped. */
export function decideTypeChange(
  state: State,
  vm: Vm,
  input: Input<'VmNicTypeChangeRequested'>,
): readonly DomainEvent[] {
  const { vmId, nicId, type, generation } = input.data;
  const reject = (why: Refusal): readonly DomainEvent[] => [
    { type: 'VmNicTypeChangeRejected', data: withGeneration({ vmId, nicId, type, ...why }, generation) },
  ];
  const nic = vm.nics.get(nicId);
  if (nic === undefined) return reject(refusal('NIC_UNKNOWN', `VM ${vmId} has no NIC ${nicId}`));
  if (vm.state !== 'stopped') {
    return reject(
      refusal('VM_RUNNING', `VM ${vmId} is ${vm.state}: stop it before the type of NIC ${nicId} changes`),
    );
  }
  const plan = planNics(state, vmId, [
    {
      nicId,
      type,
      networkId: nic.networkId,
      physicalNetwork: nic.physicalNetwork,
      mac: nic.mac === '' ? undefined : nic.mac,
      ...nic.services,
    },
  ]);
  if (isRefusal(plan)) return reject(plan);
  return [{ type: 'VmNicTypeChanged', data: withGeneration({ vmId, nicId, type }, generation) }];
}
