import { allocationsOn, Decision, holderOf, isoTime } from '../decision.js';
import type { DomainEvent, HolderRef } from '../events.js';
import type { Input, InputType } from '../inputs.js';
import type { RefusalCode } from '../refusal-codes.js';
import { refusal } from '../refusal.js';
import { isHostReady } from '../standing.js';
import type { Allocation, Host, Pf, State, Vm } from '../state.js';
import { marksWith } from '../vf-marks.js';
import { letGo, resolveElsewhere } from '../vm/lifecycle.js';
import { promote, supplyOf } from '../vm/promotion.js';
import { resolveReleased } from './drift.js';
import { reportOrder } from './report-order.js';
import { ignoreStale, orderSplit } from './report.js';

type HostFact = { readonly type: InputType; readonly data: { readonly hostId: string } };

/** A fact about a host that changes nothing. */
export const ignoreHost = (input: HostFact, reason: string): readonly DomainEvent[] => [
  { type: 'InputIgnored', data: { type: input.type, reason, hostId: input.data.hostId } },
];

/** A fact about a host that contradicts what is known. */
export const rejectHost = (
  input: HostFact,
  reason: RefusalCode,
  message: string,
  holders?: readonly HolderRef[],
): readonly DomainEvent[] => [
  {
    type: 'InputRejected',
    data: { type: input.type, ...refusal(reason, message, holders), reason, hostId: input.data.hostId },
  },
];

/** Nothing changed since the last report: a sign of life, which brings a lost host back. */
export function decideSeen(state: State, input: Input<'HostSeen'>): readonly DomainEvent[] {
  const { data } = input;
  const host = state.hosts.get(data.hostId);
  if (host === undefined) return [];
  const order = reportOrder(state, host, input);
  if (order === 'stale') return ignoreStale(state, input);
  if (order === 'new-boot' || host.lostSince === undefined || host.fenced) return [];
  const decision = new Decision(state, input.id);
  decision.add('HostBack', { hostId: host.id, since: isoTime(host.lostSince) });
  // PF-10: what could not be ordered while the host was silent.
  for (const pf of host.pfs.values()) if (!pf.identityChanged) orderIfOwed(decision, pf, pf.report);
  return decision.events;
}

/** HOST-6. */
export function decideHostCordoned(state: State, input: Input<'HostCordoned'>): readonly DomainEvent[] {
  const host = state.hosts.get(input.data.hostId);
  if (host === undefined) return ignoreHost(input, 'unknown');
  if (host.cordoned === input.data.cordoned) return ignoreHost(input, 'unchanged');
  return [{ type: 'HostCordoned', data: input.data }];
}

/** HOST-5, VM-16: an operator says that nothing runs on the host any more. */
export function decideFenced(state: State, input: Input<'HostFenced'>): readonly DomainEvent[] {
  const host = state.hosts.get(input.data.hostId);
  if (host === undefined) return ignoreHost(input, 'unknown');
  if (host.fenced) return ignoreHost(input, 'already-fenced');
  const decision = new Decision(state, input.id);
  const allocations = allocationsOfHost(host);
  decision.release(allocations, 'host-fenced');
  resolveReleased(decision, allocations);
  const stoppedVms = [...host.vms].map((vm) => vm.id).sort();
  for (const vmId of stoppedVms) resolveElsewhere(decision, state.vms.get(vmId) as Vm);
  return decision.add('HostFenced', {
    hostId: host.id,
    ...(stoppedVms.length === 0 ? undefined : { stoppedVms }),
  }).events;
}

const allocationsOfHost = (host: Host): Allocation[] => [...host.pfs.values()].flatMap(allocationsOn);

/** HOST-8: a host with held VFs is not removed. One that is fenced holds none. */
export function decideHostRemoval(
  state: State,
  input: Input<'HostRemovalRequested'>,
): readonly DomainEvent[] {
  const { hostId } = input.data;
  const host = state.hosts.get(hostId);
  const reject = (why: ReturnType<typeof refusal>): readonly DomainEvent[] => [
    { type: 'HostRemovalRejected', data: { hostId, ...why } },
  ];
  if (host === undefined)
    return reject(refusal('HOST_UNKNOWN', `host ${hostId} has never reported, or was removed`));
  const holders = allocationsOfHost(host).map(holderOf);
  if (holders.length > 0) {
    const count = `${holders.length} VF${holders.length === 1 ? ' of it is' : 's of it are'} held`;
    return reject(
      refusal(
        'HOST_IN_USE',
        `host ${hostId} cannot be removed: ${count}; stop the VMs, or fence it`,
        holders,
      ),
    );
  }
  return [{ type: 'HostRemoved', data: { hostId } }];
}

/** The PF a fact is about, if it is known. */
const knownPf = (state: State, data: { readonly hostId: string; readonly pf: string }): Pf | undefined =>
  state.hosts.get(data.hostId)?.pfs.get(data.pf);

/** PF-6: each holder loses its VF by force; the VFs are not free until they are reported again. */
export function decideDriverLost(state: State, input: Input<'PfDriverLost'>): readonly DomainEvent[] {
  const pf = knownPf(state, input.data);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  if (pf.lost) return ignoreHost(input, 'already-lost');
  const decision = new Decision(state, input.id);
  const allocations = allocationsOn(pf);
  decision.release(allocations, 'pf-driver-lost', true);
  letGo(decision, allocations);
  return decision.add('PfDriverLost', { hostId: pf.host.id, pf: pf.address }).events;
}

/** PF-13, PF-10: a link that comes up lets an owed split go on. */
export function decideLinkChanged(state: State, input: Input<'PfLinkChanged'>): readonly DomainEvent[] {
  const pf = knownPf(state, input.data);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  if (pf.report.link === input.data.link) return ignoreHost(input, 'unchanged');
  const decision = new Decision(state, input.id);
  if (!isSilent(pf.host) && !pf.identityChanged) orderIfOwed(decision, pf, input.data);
  return decision.add('PfLinkChanged', input.data).events;
}

const isSilent = (host: Host): boolean => host.fenced || host.lostSince !== undefined;

/** PF-10: tells the host to split a PF that is owed its VFs, when nothing about the PF stands against it. */
function orderIfOwed(decision: Decision, pf: Pf, { link }: { readonly link: Pf['report']['link'] }): void {
  if (link === 'up' && pf.owed && pf.wanted !== undefined && !pf.lost && isHostReady(pf.host))
    orderSplit(decision, pf, pf.wanted);
}

/** HOST-6. */
export function decidePfCordoned(state: State, input: Input<'PfCordoned'>): readonly DomainEvent[] {
  const pf = knownPf(state, input.data);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  if (pf.cordoned === input.data.cordoned) return ignoreHost(input, 'unchanged');
  return [{ type: 'PfCordoned', data: input.data }];
}

/** PF-9: an operator accepts the hardware that is at the address now. */
export function decidePfAccepted(state: State, input: Input<'PfAccepted'>): readonly DomainEvent[] {
  const pf = knownPf(state, input.data);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  if (!pf.identityChanged) return ignoreHost(input, 'unchanged');
  const decision = new Decision(state, input.id);
  for (const drift of pf.host.drifts.values()) {
    if (drift.kind === 'PF_IDENTITY' && drift.pf === pf.address) decision.add('DriftResolved', drift);
  }
  if (!isSilent(pf.host)) orderIfOwed(decision, pf, pf.report);
  return decision.add('PfAccepted', input.data).events;
}

/** SCRUB-1, SCRUB-2: a host's word on a VF counts for the very allocation that it names (EX-4). */
export function decideScrubbed(state: State, input: Input<'VfScrubbed'>): readonly DomainEvent[] {
  const { hostId, allocationId, clean, detail } = input.data;
  const vf = state.hosts.get(hostId)?.vfs.get(input.data.vf);
  if (vf === undefined) return ignoreHost(input, 'unknown');
  const waiting = vf.marks.scrub?.allocationId === allocationId;
  if (!waiting && vf.marks.quarantinedFor !== allocationId) return ignoreHost(input, 'stale');
  if (!clean && !waiting) return ignoreHost(input, 'already-quarantined');
  const decision = new Decision(state, input.id);
  if (!clean) {
    const where = { hostId, pf: vf.pf.address, vf: input.data.vf };
    return decision.add('VfQuarantined', { ...where, allocationId, detail }).events;
  }
  promote(
    decision,
    undefined,
    supplyOf([{ ...vf, marks: marksWith(vf.marks, { scrub: undefined, quarantinedFor: undefined }) }]),
  );
  return decision.add('VfScrubbed', input.data).events;
}

/**
 * VM-17, SCRUB-2: an operator ends an allocation that is lost, or frees a VF that waits for its scrub in
 * vain.
 */
export function decideAllocationRelease(
  state: State,
  input: Input<'AllocationReleaseRequested'>,
): readonly DomainEvent[] {
  const { hostId, allocationId, reason } = input.data;
  const decision = new Decision(state, input.id);
  const done = (): readonly DomainEvent[] =>
    decision.add('AllocationReleaseDone', { hostId, allocationId, reason }).events;
  const allocation = state.allocations.get(allocationId);
  if (allocation !== undefined && allocation.vf.pf.host.id === hostId) {
    const { vm, vf } = allocation;
    // VM-15, VM-18: a VM that runs is not stopped by an operator's word on its VF; it runs on without it.
    if (vm.state === 'running') {
      decision.release([allocation], 'operator', true);
      letGo(decision, [allocation]);
      // HOST-7: what the VM is shown to use is nobody else's before a report says otherwise.
      if (vf.report.usedByVmId === undefined) promote(decision);
      return done();
    }
    decision.release([allocation], 'operator');
    resolveReleased(decision, [allocation]);
    // VM-12: with its last VF a start is over, and waits for nothing.
    if (vm.held === 1) resolveElsewhere(decision, vm);
    promote(decision, vm.held === 1 ? vm : undefined);
    return done();
  }
  const host = state.hosts.get(hostId);
  const vf = host === undefined ? undefined : vfOut(state, host, allocationId);
  if (vf !== undefined) {
    decision.add('VfScrubbed', {
      hostId,
      vf: vf.report.pciAddress,
      allocationId,
      clean: true,
      detail: reason,
    });
    return done();
  }
  return [
    {
      type: 'AllocationReleaseRejected',
      data: {
        hostId,
        allocationId,
        ...refusal(
          'ALLOCATION_UNKNOWN',
          `host ${hostId} has no allocation ${allocationId}: it ended, or never was`,
        ),
      },
    },
  ];
}

/** The VF that is kept out for an allocation's scrub. */
function vfOut(
  state: State,
  host: Host,
  allocationId: string,
): { readonly report: { readonly pciAddress: string } } | undefined {
  const waiting = state.scrubbing.get(allocationId);
  if (waiting !== undefined) return waiting.pf.host === host ? waiting : undefined;
  for (const vf of host.vfs.values()) {
    if (vf.marks.quarantinedFor === allocationId || vf.marks.scrub?.allocationId === allocationId) return vf;
  }
  return undefined;
}
