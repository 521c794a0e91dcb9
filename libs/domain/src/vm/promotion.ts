import type { Decision } from '../decision.js';
import { isRefusal, planNics, specOf } from '../nic-plan.js';
import { isVfFree, pfObstacle } from '../standing.js';
import type { Nic, Vf, Vm } from '../state.js';
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
 * VM-10: VFs that become free with this decision go to the degraded NICs that wait for one on their host,
 * oldest first.
 *
 * @param leaving a VM that ends with this decision, and waits for nothing.
 */
export function promote(decision: Decision, leaving?: Vm, freed: readonly Vf[] = decision.freed): void {
  const { state } = decision;
  if (!state.policy.promotion || state.degraded.size === 0) return;
  const served = new Set<Nic>();
  const taken = takenByTenant(decision);
  for (const vf of freed) {
    if (!isFreeWhenReleased(vf)) continue;
    for (const nic of state.degraded.values()) {
      if (nic.vm === leaving || served.has(nic) || nic.vm.hostId !== vf.pf.host.id) continue;
      const plan = planNics(state, nic.vm.id, [specOf(nic)]);
      if (isRefusal(plan) || plan[0] === undefined || !vf.pf.networks.includes(plan[0].network)) continue;
      const { tenant } = nic.vm;
      if (overQuota(state, tenant, 1 + (taken.get(tenant) ?? 0)) !== undefined) continue;
      taken.set(tenant, 1 + (taken.get(tenant) ?? 0));
      served.add(nic);
      decision.allocate({ id: nic.vm.id, tenant: nic.vm.tenant }, plan[0], vf, 'promotion');
      decision.add('NicPromoted', { vmId: nic.vm.id, nicId: nic.id });
      break;
    }
  }
}
