import { Decision, isoTime } from './decision.js';
import type { DomainEvent } from './events.js';
import type { Input } from './inputs.js';
import type { Host, State, Vf } from './state.js';
import { keyOf, promote, type Supply } from './vm/promotion.js';

/**
 * What the leader's clock makes fall due: silent hosts, overdue starts and scrubs, NICs that wait for a VF.
 */
export function decideTick(state: State, input: Input<'Tick'>): readonly DomainEvent[] {
  const decision = new Decision(state, input.id);
  const now = input.time;
  const { policy } = state;

  const lost = new Set<Host>();
  // HOST-5. The map is in order of time: the first that is not due ends the search.
  for (const [hostId, { at }] of state.observed.heard) {
    if (now - at < policy.hostTimeoutSeconds * 1000) break;
    const host = state.hosts.get(hostId);
    if (host === undefined || host.lostSince !== undefined) continue;
    lost.add(host);
    decision.add('HostLost', { hostId, since: isoTime(at) });
  }
  // VM-12: reported, and never ended by a timer alone.
  for (const [vmId, since] of state.starting) {
    if (now - since < policy.startTimeoutSeconds * 1000) break;
    for (const nic of state.vms.get(vmId)?.nics.values() ?? []) {
      const { allocation } = nic;
      if (allocation === undefined) continue;
      const { pf, report } = allocation.vf;
      decision.add('AllocationOverdue', {
        allocationId: allocation.id,
        vmId,
        hostId: pf.host.id,
        vf: report.pciAddress,
        since: isoTime(since),
      });
    }
  }
  // SCRUB-1: it stays out.
  for (const [allocationId, vf] of state.scrubbing) {
    const since = vf.marks.scrub?.since ?? now;
    if (now - since < policy.scrubTimeoutSeconds * 1000) break;
    const hostId = vf.pf.host.id;
    decision.add('ScrubOverdue', { allocationId, hostId, vf: vf.report.pciAddress, since: isoTime(since) });
  }
  promote(decision, undefined, supplyOfFleet(state, lost));
  return decision.events;
}

/** VM-10: what the fleet offers, for what became free in another way than by a release. */
function supplyOfFleet(state: State, lost: ReadonlySet<Host>): Supply {
  return (hostId, network, taken, avoided) => {
    const host = state.hosts.get(hostId);
    // A host that is lost with this very tick offers nothing any more.
    if (host === undefined || lost.has(host) || !host.offered.get(network)) return undefined;
    for (const pf of host.pfs.values()) {
      if (!pf.indexed?.offered || !pf.networks.includes(network) || avoided?.has(pf)) continue;
      for (const slot of pf.free) {
        const vf = pf.vfs[slot] as Vf;
        if (!taken.has(keyOf(vf))) return vf;
      }
    }
    return undefined;
  };
}

/** Whether time alone can lead to an event: only then the leader needs its clock. */
export const hasDeadlines = (state: State): boolean =>
  state.hosts.size > 0 || state.starting.size > 0 || state.scrubbing.size > 0 || state.degraded.size > 0;

/** A change of policy is an event like any other: replay uses the policy of its time. */
export const decidePolicy = (
  _state: State,
  { data }: Input<'ClusterPolicyChanged'>,
): readonly DomainEvent[] => [{ type: 'ClusterPolicyChanged', data }];
