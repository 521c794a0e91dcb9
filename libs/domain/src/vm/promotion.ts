import { allocationsOf, type Decision } from '../decision.js';
import { isRefusal, planNics, specOf } from '../nic-plan.js';
import { ANY_NETWORK, isVfFree, pfObstacle } from '../standing.js';
import type { Pf, Vf, Vm } from '../state.js';
import { overQuota } from './quota.js';

/** Whether the VF will be free once its holder, if it has one, has let it go. */
const isFreeWhenReleased = (vf: Vf): boolean =>
  pfObstacle(vf.pf) === undefined &&
  isVfFree(vf.allocation === undefined ? vf : { ...vf, allocation: undefined });

/** What this decision has changed already of the VFs that each tenant holds. */
function takenByTenant({ events }: Decision): Map<string | undefined, number> {
  const taken = new Map<string | undefined, number>();
  for (const { type, data } of events) {
    if (type !== 'VfAllocated' && type !== 'VfReleased') continue;
    taken.set(data.tenant, (taken.get(data.tenant) ?? 0) + (type === 'VfAllocated' ? 1 : -1));
  }
  return taken;
}

/**
 * The first VF for which a NIC on a host can be had under a network's name; those in `taken` are gone, and those
 * of the PFs to be avoided do not serve.
 */
export type Supply = (
  hostId: string,
  network: string,
  taken: ReadonlySet<string>,
  avoided?: ReadonlySet<Pf>,
) => Vf | undefined;

/** OUT-6: the PFs of which a VM has VFs once this decision has released what it releases. */
function pfsOf({ events }: Decision, vm: Vm): Set<Pf> {
  const released = new Set(events.map(({ type, data }) => (type === 'VfReleased' ? data.allocationId : '')));
  return new Set(allocationsOf(vm).flatMap(({ id, vf }) => (released.has(id) ? [] : [vf.pf])));
}

/** What a VF is taken by: its host and address. A VF may be told of by a copy of it. */
export const keyOf = (vf: Vf): string => `${vf.pf.host.id} ${vf.report.pciAddress}`;

/** Of VFs that become free with a decision. */
export function supplyOf(freed: readonly Vf[]): Supply {
  const byHost = new Map<string, Vf[]>();
  for (const vf of freed) {
    if (!isFreeWhenReleased(vf)) continue;
    const there = byHost.get(vf.pf.host.id);
    if (there === undefined) byHost.set(vf.pf.host.id, [vf]);
    else there.push(vf);
  }
  return (hostId, network, taken, avoided) =>
    byHost
      .get(hostId)
      ?.find(
        (vf) => vf.pf.networks.includes(network) && !taken.has(keyOf(vf)) && avoided?.has(vf.pf) !== true,
      );
}

/**
 * VM-10: VFs that become free with this decision go to the degraded NICs that wait for one on their host,
 * oldest first.
 *
 * @param leaving a VM that ends with this decision, and waits for nothing.
 */
export function promote(
  decision: Decision,
  leaving?: Vm,
  supply: Supply | undefined = decision.freed.length === 0 ? undefined : supplyOf(decision.freed),
): void {
  const { state } = decision;
  if (supply === undefined || !state.policy.promotion || state.degraded.size === 0) return;
  const taken = new Set<string>();
  const byTenant = takenByTenant(decision);
  const apart = new Map<Vm, Set<Pf>>();
  for (const nic of state.degraded.values()) {
    const { vm } = nic;
    if (vm === leaving || vm.hostId === undefined) continue;
    // Looked at before the NIC is planned: most of those that wait, wait elsewhere.
    if (supply(vm.hostId, ANY_NETWORK, taken) === undefined) continue;
    const plan = planNics(state, vm.id, [specOf(nic)]);
    if (isRefusal(plan) || plan[0] === undefined) continue;
    if (vm.separatePfs && !apart.has(vm)) apart.set(vm, pfsOf(decision, vm));
    const avoided = apart.get(vm);
    const vf = supply(vm.hostId, plan[0].network, taken, avoided);
    if (vf === undefined) continue;
    const more = 1 + (byTenant.get(vm.tenant) ?? 0);
    if (overQuota(state, vm.tenant, more) !== undefined) continue;
    byTenant.set(vm.tenant, more);
    taken.add(keyOf(vf));
    avoided?.add(vf.pf);
    decision.allocate({ id: vm.id, tenant: vm.tenant }, plan[0], vf, 'promotion');
    decision.add('NicPromoted', { vmId: vm.id, nicId: nic.id });
  }
}
