import type { Decision } from '../decision.js';
import { isRefusal, planNics, specOf } from '../nic-plan.js';
import { isVfFree, pfObstacle } from '../standing.js';
import type { Nic, Vf, Vm } from '../state.js';

/** Whether the VF will be free once its holder, if it has one, has let it go. */
const isFreeWhenReleased = (vf: Vf): boolean =>
  pfObstacle(vf.pf) === undefined &&
  isVfFree(vf.allocation === undefined ? vf : { ...vf, allocation: undefined });

/**
 * VM-10: VFs that become free with this decision go to the degraded NICs that wait for one on their host, oldest first.
 *
 * @param leaving a VM that ends with this decision, and waits for nothing.
 */
export function promote(decision: Decision, leaving?: Vm, freed: readonly Vf[] = decision.freed): void {
  const { state } = decision;
  if (!state.policy.promotion || state.degraded.size === 0) return;
  const served = new Set<Nic>();
  for (const vf of freed) {
    if (!isFreeWhenReleased(vf)) continue;
    for (const nic of state.degraded.values()) {
      if (nic.vm === leaving || served.has(nic) || nic.vm.hostId !== vf.pf.host.id) continue;
      const plan = planNics(state, nic.vm.id, [specOf(nic)]);
      if (isRefusal(plan) || plan[0] === undefined || !vf.pf.networks.includes(plan[0].network)) continue;
      served.add(nic);
      decision.allocate({ id: nic.vm.id, tenant: nic.vm.tenant }, plan[0], vf, 'promotion');
      decision.add('NicPromoted', { vmId: nic.vm.id, nicId: nic.id });
      break;
    }
  }
}
