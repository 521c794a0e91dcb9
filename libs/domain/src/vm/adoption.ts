import { allocationsOf, Decision, holderOf, withGeneration } from '../decision.js';
import type { DomainEvent, HolderRef, StartedNic } from '../events.js';
import { isStranger } from '../hardware.js';
import type { AdoptedNic, Input } from '../inputs.js';
import { MAX_NICS_PER_VM } from '../limits.js';
import { planNics, isRefusal, startedNic } from '../nic-plan.js';
import type { RefusalCode } from '../refusal-codes.js';
import { refusal } from '../refusal.js';
import type { State, Vf, Vm } from '../state.js';
import { ignoreVm } from './lifecycle.js';

type AdoptedInput = Input<'VmAdopted'>;

const rejectAdopted = (
  { type, data: { vmId, generation } }: AdoptedInput,
  reason: RefusalCode,
  message: string,
  holders?: readonly HolderRef[],
): readonly DomainEvent[] => [
  {
    type: 'InputRejected',
    data: withGeneration({ type, ...refusal(reason, message, holders), vmId, reason }, generation),
  },
];

/**
 * VM-19: a VM that is known to be started is not adopted. A word that says exactly what is known of it changes
 * nothing; any other contradicts.
 */
export function decideAdoptedAgain(state: State, vm: Vm, input: AdoptedInput): readonly DomainEvent[] {
  const { vmId, hostId, tenant = vm.tenant, nics } = input.data;
  const isKnown = ({ nicId, vf, mac, networkId }: AdoptedNic): boolean => {
    const nic = vm.nics.get(nicId);
    const isSame = nic?.allocation?.vf.report.pciAddress === vf && nic.mac === mac;
    return isSame && (networkId === undefined || networkId === nic.networkId);
  };
  if (hostId === vm.hostId && tenant === vm.tenant && nics.length === vm.held && nics.every(isKnown))
    return ignoreVm('already-running')(state, vm, input);
  const elsewhere = hostId !== vm.hostId;
  const said = elsewhere ? `not on host ${hostId}` : 'and not with what it is said to have';
  const message = `VM ${vmId} is ${vm.state} on host ${vm.hostId} with ${vm.held} VFs, ${said}: stop it, or mend the report`;
  const holders = allocationsOf(vm).map(holderOf);
  return rejectAdopted(input, elsewhere ? 'VM_RUNNING_ELSEWHERE' : 'VM_RUNNING', message, holders);
}

/** VM-19: a VM that runs with VFs becomes the holder of exactly those, or is refused as a whole. */
export function decideAdopted(state: State, vm: Vm | undefined, input: AdoptedInput): readonly DomainEvent[] {
  const { vmId, hostId, tenant = vm?.tenant, generation } = input.data;
  const reject = (reason: RefusalCode, message: string, holders?: readonly HolderRef[]) =>
    rejectAdopted(input, reason, message, holders);
  const host = state.hosts.get(hostId);
  if (host === undefined) return reject('HOST_UNKNOWN', `host ${hostId} has never reported`);
  if (host.fenced) return reject('HOST_LOST', `host ${hostId} is fenced: nothing runs there`);
  const ids = new Set([...(vm?.nics.keys() ?? []), ...input.data.nics.map(({ nicId }) => nicId)]);
  if (ids.size > MAX_NICS_PER_VM) {
    const message = `VM ${vmId} would have ${ids.size} NICs, with those that are known of it; ${MAX_NICS_PER_VM} is the most`;
    return reject('NIC_EXISTS', message);
  }
  const vfs: Vf[] = [];
  for (const nic of input.data.nics) {
    const vf = host.vfs.get(nic.vf);
    if (vf === undefined) return reject('VF_NOT_FREE', `host ${hostId} has no VF ${nic.vf}`);
    if (vf.allocation !== undefined) {
      return reject('VF_NOT_FREE', `VF ${nic.vf} is held already`, [holderOf(vf.allocation)]);
    }
    const usedBy = vf.report.usedByVmId;
    if (usedBy !== undefined && usedBy !== vmId) {
      return reject('VF_NOT_FREE', `VF ${nic.vf} is reported in use by VM ${usedBy}`);
    }
    if (
      vf.marks.unknown ||
      vf.marks.unseen ||
      vf.marks.scrub !== undefined ||
      vf.marks.quarantinedFor !== undefined ||
      vfs.includes(vf)
    ) {
      return reject('VF_NOT_FREE', `VF ${nic.vf} is not free to be adopted`);
    }
    if (vf.report.hostUse !== undefined)
      return reject('VF_NOT_FREE', `VF ${nic.vf} is used by host ${hostId} itself: ${vf.report.hostUse}`);
    if (vf.pf.work === 'restoring')
      return reject('PF_RESTORING', `VF ${nic.vf} is of PF ${vf.pf.address}, which is being restored`);
    vfs.push(vf);
  }
  const plans = planNics(
    state,
    vmId,
    // The VM runs as it is: a network that was not defined yet is no reason to lose sight of who has the VF.
    input.data.nics.map(({ nicId, mac }) => ({ nicId, mac })),
  );
  if (isRefusal(plans)) return reject(plans.reason, plans.message, plans.holders);
  const decision = new Decision(state, input.id);
  const nics: StartedNic[] = [];
  for (const [index, vf] of vfs.entries()) {
    const { networkId } = input.data.nics[index] ?? {};
    const l3 = state.l3Networks.get(networkId ?? '');
    const vlanId = state.l2Networks.get(l3?.l2Id ?? '')?.vlanId;
    const plan = { ...plans[index], networkId, vlanId } as (typeof plans)[number];
    const allocationId = decision.allocate({ id: vmId, tenant }, plan, vf, 'adopted');
    nics.push(startedNic(plan, { allocationId, pf: vf.pf.address, vf: vf.report.pciAddress }));
  }
  // HOST-7: whoever has it is its holder now.
  for (const drift of host.drifts.values()) {
    const vf = vfs.find(({ report }) => drift.kind === 'USED_BY_STRANGER' && report.pciAddress === drift.vf);
    if (vf !== undefined && !isStranger(vf.report, { vm: { id: vmId } }))
      decision.add('DriftResolved', drift);
  }
  return decision.add('VmAdopted', withGeneration({ vmId, hostId, tenant, nics }, generation)).events;
}
