import type { Decision } from '../decision.js';
import { isRefusal, planNics, specOf } from '../nic-plan.js';
import { ANY_NETWORK, isVfFree, pfObstacle } from '../standing.js';
import type { Vf, Vm } from '../state.js';
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

/** The first VF for which a NIC on a host can be had under a network's name; those in `taken` are gone. */
export type Supply = (hostId: string, network: string, taken: ReadonlySet<string>) => Vf | undefined;

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
  return (hostId, network, taken) =>
    byHost.get(hostId)?.find((vf) => vf.pf.networks.includes(network) && !taken.has(keyOf(vf)));
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
  for (const nic of state.degraded.values()) {
    const { vm } = nic;
    if (vm === leaving || vm.hostId === undefined) continue;
    // Looked at before the NIC is planned: most of those that wait, wait elsewhere.
    if (supply(vm.hostId, ANY_NETWORK, taken) === undefined) continue;
    const plan = planNics(state, vm.id, [specOf(nic)]);
    if (isRefusal(plan) || plan[0] === undefined) continue;
    const vf = supply(vm.hostId, plan[0].network, taken);
    if (vf === undefined) continue;
    const more = 1 + (byTenant.get(vm.tenant) ?? 0);
    if (overQuota(state, vm.tenant, more) !== undefined) continue;
    byTenant.set(vm.tenant, more);
    taken.add(keyOf(vf));
    decision.allocate({ id: vm.id, tenant: vm.tenant }, plan[0], vf, 'promotion');
    decision.add('NicPromoted', { vmId: vm.id, nicId: nic.id });
  }
}
