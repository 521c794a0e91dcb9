import { allocationsOf, Decision, holderOf, withGeneration } from '../decision.js';
import type { DomainEvent, Refusal, StartedNic, VmStartFailed } from '../events.js';
import { hardwareWarnings } from '../hardware-limits.js';
import type { Input } from '../inputs.js';
import { hash53 } from '../naming.js';
import { isRefusal, planNics, specOf, startedNic, type NicPlan } from '../nic-plan.js';
import {
  isPlaced,
  placeVfs,
  placeWithoutVfs,
  type Misfit,
  type Need,
  type Placed,
  type PlacementRequest,
} from '../placement.js';
import type { Host, State, Vf, Vm } from '../state.js';
import type { RefusalCode } from '../refusal-codes.js';
import { refusal } from '../refusal.js';
import { explainMisfit } from './misfit-message.js';
import { overQuota } from './quota.js';

type StartInput = Input<'VmStartRequested'>;

/** OUT-6: how the guest bonds two VFs. ARP monitoring does not work over VFs of one switch port. */
const BOND_HINTS = 'mode=active-backup fail_over_mac=active miimon=100';

/** VM-1 to VM-4: a start takes a VF for each VF NIC, all from one host, or fails and holds nothing (EX-3). */
export function decideStart(state: State, vm: Vm | undefined, input: StartInput): readonly DomainEvent[] {
  const { data } = input;
  const specs = data.nics ?? (vm === undefined ? undefined : [...vm.nics.values()].map(specOf));
  if (specs === undefined) {
    return startFailed(
      input,
      refusal('VM_UNKNOWN', `VM ${data.vmId} was never seen: its first start must name its NICs`),
    );
  }
  const plans = planNics(state, data.vmId, specs);
  if (isRefusal(plans)) return startFailed(input, plans);
  const wanted = plans.filter((plan) => plan.type === 'vf');
  const tenant = data.tenant ?? vm?.tenant;
  const quota = overQuota(state, tenant, wanted.length);
  if (quota !== undefined) return startFailed(input, quota);

  const placement = wanted.length === 0 ? withoutVfs(state, input) : withVfs(state, input, wanted);
  if ('summary' in placement) {
    return startFailed(
      input,
      refusal(placement.reason, explainMisfit(state, placement, input.data, wanted)),
      placement,
    );
  }
  const decision = new Decision(state, input.id);
  const nics: StartedNic[] = [];
  for (const plan of plans) {
    const vf = placement.vfs.get(plan.nicId);
    if (vf !== undefined) {
      const allocation = decision.allocate({ id: data.vmId, tenant }, plan, vf, 'start');
      nics.push(startedNic(plan, { allocationId: allocation, pf: vf.pf.address, vf: vf.report.pciAddress }));
    } else if (plan.type === 'vf') {
      decision.add('NicDegraded', { vmId: data.vmId, nicId: plan.nicId, reason: placement.lack });
      nics.push(startedNic(plan, { degraded: true }));
    } else {
      nics.push(startedNic(plan));
    }
  }
  const { host, score, candidates } = placement;
  const warnings = hardwareWarnings(state.policy, [...placement.vfs.values()], data.guestOs);
  return decision.add(
    'VmStartAccepted',
    withGeneration(
      {
        vmId: data.vmId,
        hostId: host.id,
        tenant,
        nics,
        why: { strategy: strategyOf(state, input), score, candidates },
        ...(warnings.length === 0 ? undefined : { warnings }),
        ...(data.separatePfs === true ? { separatePfs: true } : undefined),
        ...(data.separatePfs === true && placement.vfs.size > 1 ? { bondHints: BOND_HINTS } : undefined),
      },
      data.generation,
    ),
  ).events;
}

/** EX-5, VM-15: a VM that is pending or running is not started again. */
export function refuseStart(_state: State, vm: Vm, input: StartInput): readonly DomainEvent[] {
  const holders = allocationsOf(vm).map(holderOf);
  const { vmId, hostId } = input.data;
  const there = vm.hostId ?? 'an unknown host';
  const elsewhere = hostId !== undefined && hostId !== vm.hostId && holders.length > 0;
  const held =
    holders.length === 0 ? '' : ` and holds ${holders.length} VF${holders.length === 1 ? '' : 's'} there`;
  const state = vm.state === 'pending' ? 'is being started' : 'runs';
  return startFailed(
    input,
    refusal(
      elsewhere ? 'VM_RUNNING_ELSEWHERE' : 'VM_RUNNING',
      elsewhere
        ? `VM ${vmId} ${state} on host ${there}${held}: stop it before it starts on host ${hostId}`
        : `VM ${vmId} ${state} on host ${there}${held}`,
      holders,
    ),
    undefined,
    vm.hostId,
  );
}

export function startFailed(
  input: StartInput,
  why: Refusal,
  misfit?: Misfit,
  hostId = input.data.hostId,
): readonly DomainEvent[] {
  const data: VmStartFailed = {
    vmId: input.data.vmId,
    hostId,
    ...why,
    summary: misfit?.summary ?? { [why.reason]: 1 },
    considered: misfit?.considered ?? [],
    ...(misfit?.truncated === true ? { truncated: true } : undefined),
  };
  return [{ type: 'VmStartFailed', data: withGeneration(data, input.data.generation) }];
}

const strategyOf = (state: State, input: StartInput): 'pack' | 'spread' =>
  input.data.strategy ?? state.policy.strategy;

interface Placement {
  readonly host: Host;
  /** By NIC id; a VF NIC that is not in it falls back. */
  readonly vfs: ReadonlyMap<string, Vf>;
  readonly score: number;
  readonly candidates: number;
  /** Why NICs fall back, where some do. */
  readonly lack?: RefusalCode;
}

const needOf = (plan: NicPlan): Need => ({ nicId: plan.nicId, network: plan.network, last: plan.last });

function withoutVfs(state: State, input: StartInput): Placement | Misfit {
  const { vmId, hostId, hosts } = input.data;
  const placed = placeWithoutVfs(state, { hostId, hosts, seed: hash53(vmId) });
  return 'host' in placed ? { ...placed, vfs: new Map(), score: 0 } : placed;
}

function withVfs(state: State, input: StartInput, wanted: readonly NicPlan[]): Placement | Misfit {
  const { data } = input;
  const request = (plans: readonly NicPlan[]): PlacementRequest => ({
    needs: plans.map(needOf),
    hostId: data.hostId,
    hosts: data.hosts,
    strategy: strategyOf(state, input),
    separatePfs: data.separatePfs ?? false,
    numaNode: data.numaNode,
    // Who asks for a strategy wants it; else a VM comes back to where it was.
    returns: data.strategy === undefined,
  });
  const all = placeVfs(state, request(wanted));
  const byNic = (plans: readonly NicPlan[], vfs: readonly Vf[]): Map<string, Vf> =>
    new Map(plans.map((plan, index) => [plan.nicId, vfs[index] as Vf]));
  if (isPlaced(all)) return { ...all, vfs: byNic(wanted, all.vfs) };

  // VM-10: without the NICs that may do without a VF; then each of those, in order, for which a host still
  // has one.
  let served = wanted.filter((plan) => plan.onExhaustion === 'fail');
  if (served.length === wanted.length) return all;
  let best: Placed | undefined;
  if (served.length > 0) {
    const needed = placeVfs(state, request(served));
    if (!isPlaced(needed)) return needed;
    best = needed;
  }
  for (const plan of wanted) {
    // All of them together were asked for above.
    if (plan.onExhaustion === 'fail' || served.length + 1 === wanted.length) continue;
    const more = [...served, plan];
    const placed = placeVfs(state, request(more));
    if (!isPlaced(placed)) continue;
    served = more;
    best = placed;
  }
  const placement: Placement | Misfit =
    best === undefined ? withoutVfs(state, input) : { ...best, vfs: byNic(served, best.vfs) };
  return 'host' in placement ? { ...placement, lack: all.reason } : placement;
}
