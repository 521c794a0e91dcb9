import { Decision, isoTime } from '../decision.js';
import type { DomainEvent, HostChanged, PfChange } from '../events.js';
import { isCleanFor, isOtherHardware, isStranger } from '../hardware.js';
import { splitWarning } from '../hardware-limits.js';
import type { HostReported, Input, PfReport, VfReport } from '../inputs.js';
import { isSpokenFor } from '../standing.js';
import type { Allocation, Host, Pf, State, Vf, Vm } from '../state.js';
import { resolveElsewhere } from '../vm/lifecycle.js';
import { decideDrift, driftOfReport } from './drift.js';
import { lastReportOf, reportOrder } from './report-order.js';
import { provenUnused } from './unused.js';

/**
 * A host's whole inventory. What comes out is what changed, in this order: releases, `HostRegistered` or
 * `HostChanged`, `HostBack`, orders, drift. An unchanged report leaves nothing. It never changes who holds a
 * VF but by HOST-4 and VM-12 (EX-7).
 */
export function decideReport(state: State, input: Input<'HostReported'>): readonly DomainEvent[] {
  const { data } = input;
  const host = state.hosts.get(data.hostId);
  const decision = new Decision(state, input.id);
  if (host === undefined) {
    // HOST-9: a late word of a boot before the one that was fenced.
    if (state.fencedAway.get(data.hostId)?.earlierBoots.includes(data.bootId) === true)
      return ignoreStale(state, input);
    const { vms: _vms, ...inventory } = data;
    decision.add('HostRegistered', inventory);
    decideDrift(decision, undefined, driftOfReport(undefined, data, { released: new Set() }));
    return decision.events;
  }
  const order = reportOrder(state, host, input);
  if (order === 'stale') return ignoreStale(state, input);

  const rebooted = order === 'new-boot';
  const { seq: lastSeq } = lastReportOf(state, host);
  const agentRestarted = !rebooted && data.seq <= lastSeq;
  const released = rebooted ? endedByReboot(host, data) : provenUnused(state, host, data);
  decision.release(released, rebooted ? 'host-rebooted' : 'proved-unused');
  const stopped = rebooted ? stoppedByReboot(host, data, new Set(released)) : [];
  const change = changeOf(host, data, rebooted, stopped, new Set(released));
  if (change !== undefined) {
    decision.add('HostChanged', agentRestarted ? { ...change, agentRestarted } : change);
  } else if (agentRestarted) {
    // So that the log knows from where it counts now.
    const { hostId, bootId, seq } = data;
    decision.add('HostAgentRestarted', { hostId, bootId, seq, lastSeq });
  }
  if (host.lostSince !== undefined && (rebooted || !host.fenced)) {
    decision.add('HostBack', { hostId: host.id, since: isoTime(host.lostSince) });
  }
  for (const { vfs = [] } of change?.pfs ?? []) orderScrubs(decision, host, vfs);
  if (!host.fenced || rebooted) orderOwed(decision, host, data, rebooted);
  const ended = rebooted ? stopped : released.map(({ vm }) => vm.id);
  for (const vmId of new Set(ended)) resolveElsewhere(decision, state.vms.get(vmId) as Vm);
  decideDrift(decision, host, driftOfReport(host, data, { released: new Set(released) }));
  return decision.events;
}

/** HOST-9: a report that changes nothing. The first of a row says so, with what its agent may go on from. */
export function ignoreStale(
  state: State,
  { type, data: { hostId } }: Input<'HostReported' | 'HostSeen'>,
): readonly DomainEvent[] {
  if (state.observed.rows.has(hostId)) return [];
  const host = state.hosts.get(hostId);
  const last = host === undefined ? undefined : lastReportOf(state, host);
  const known = last === undefined ? undefined : { bootId: last.bootId, lastSeq: last.seq };
  return [{ type: 'InputIgnored', data: { type, reason: 'stale', hostId, ...known } }];
}

/**
 * HOST-4: with a new boot the allocations of the boot before end, but for those that the same report shows in
 * use by their holder, or whose `VmStarted` named this boot.
 */
function endedByReboot(host: Host, report: HostReported): readonly Allocation[] {
  const usedBy = new Map<string, string | undefined>();
  for (const pf of report.pfs) for (const vf of pf.vfs) usedBy.set(vf.pciAddress, vf.usedByVmId);
  return [...host.pfs.values()]
    .flatMap((pf) => (pf.held === 0 ? [] : pf.vfs.flatMap((vf) => vf.allocation ?? [])))
    .filter(({ vm, vf }) => usedBy.get(vf.report.pciAddress) !== vm.id && vm.bootId !== report.bootId);
}

/**
 * VM-16: the VMs that did not survive the reboot: nothing kept of them, and nobody says that they run in the
 * new boot.
 */
function stoppedByReboot(
  host: Host,
  report: HostReported,
  released: ReadonlySet<Allocation>,
): readonly string[] {
  const running = new Set(report.vms);
  const survives = (vm: Vm): boolean => {
    if (vm.bootId === report.bootId) return true;
    if (vm.held === 0) return running.has(vm.id);
    return [...vm.nics.values()].some(
      ({ allocation }) => allocation !== undefined && !released.has(allocation),
    );
  };
  return [...host.vms]
    .filter((vm) => !survives(vm))
    .map((vm) => vm.id)
    .sort();
}

const HOST_FIELDS = ['interruptRemapping', 'unsafeInterruptsAllowed', 'scrubs'] as const;

function changeOf(
  host: Host,
  report: HostReported,
  rebooted: boolean,
  stoppedVms: readonly string[],
  released: ReadonlySet<Allocation>,
): HostChanged | undefined {
  const change: { -readonly [K in keyof HostChanged]: HostChanged[K] } = {
    hostId: host.id,
    bootId: report.bootId,
    seq: report.seq,
  };
  let changed = rebooted;
  if (rebooted) {
    change.rebooted = true;
    change.bootedAt = report.bootedAt;
    if (stoppedVms.length > 0) change.stoppedVms = stoppedVms;
  }
  if (report.iommu.enabled !== host.iommu.enabled || report.iommu.ready !== host.iommu.ready) {
    change.iommu = report.iommu;
    changed = true;
  }
  for (const field of HOST_FIELDS) {
    const value = report[field] ?? false;
    if (value === host[field]) continue;
    change[field] = value;
    changed = true;
  }
  const seen = new Set<string>();
  const pfs: PfChange[] = [];
  for (const pf of report.pfs) {
    seen.add(pf.pciAddress);
    const known = host.pfs.get(pf.pciAddress);
    const difference = known === undefined ? pf : pfChange(known, pf, released);
    if (difference !== undefined) pfs.push(difference);
  }
  const unseen = [...host.pfs.values()]
    .filter((pf) => !pf.lost && !seen.has(pf.address))
    .map((pf) => pf.address);
  if (pfs.length > 0) change.pfs = pfs;
  if (unseen.length > 0) change.unseenPfs = unseen;
  return changed || pfs.length > 0 || unseen.length > 0 ? change : undefined;
}

const PF_FIELDS = [
  'ifname',
  'model',
  'driver',
  'vendorId',
  'deviceId',
  'serial',
  'permanentMac',
  'numaNode',
  'link',
  'speedMbps',
  'totalVfs',
  'physicalNetwork',
  'bond',
] as const satisfies readonly (keyof PfReport)[];

function pfChange(known: Pf, reported: PfReport, released: ReadonlySet<Allocation>): PfChange | undefined {
  const fields: Record<string, unknown> = {};
  const unset: string[] = [];
  for (const field of PF_FIELDS) {
    if (known.report[field] === reported[field]) continue;
    if (reported[field] === undefined) unset.push(field);
    else fields[field] = reported[field];
  }
  const seen = new Set<string>();
  const vfs: VfReport[] = [];
  for (const vf of reported.vfs) {
    seen.add(vf.pciAddress);
    const there = known.host.vfs.get(vf.pciAddress);
    if (there !== undefined && there.pf !== known && staysSpokenFor(there, released)) continue;
    if (there === undefined || there.pf !== known || vfChanged(there, vf, released)) vfs.push(vf);
  }
  // One that is unseen is gone for good once its holder has let it go, and once it is clean or its PF shows
  // no VF at all.
  const stays = (vf: Vf): boolean =>
    vf.allocation === undefined ? reported.vfs.length > 0 && isSpokenFor(vf) : !released.has(vf.allocation);
  const gone = known.vfs
    .filter((vf) => !seen.has(vf.report.pciAddress) && !(vf.marks.unseen && stays(vf)))
    .map((vf) => vf.report.pciAddress);
  // A PF that was lost, or whose order the report fulfils, changes even where each fact is as it was.
  const settled =
    known.lost ||
    (known.work === 'virtualizing' && reported.vfs.length > 0) ||
    (known.work === 'restoring' && reported.vfs.length === 0);
  if (
    !settled &&
    vfs.length === 0 &&
    gone.length === 0 &&
    unset.length === 0 &&
    Object.keys(fields).length === 0
  ) {
    return undefined;
  }
  return {
    pciAddress: known.address,
    ...fields,
    ...(unset.length === 0 ? undefined : { unset }),
    ...(vfs.length === 0 ? undefined : { vfs }),
    ...(gone.length === 0 ? undefined : { goneVfs: gone }),
  };
}

/** Whether a VF is spoken for once these allocations have ended: where the host scrubs it is, and is dirty. */
const staysSpokenFor = (vf: Vf, released: ReadonlySet<Allocation>): boolean =>
  isSpokenFor(vf) && (vf.allocation === undefined || !released.has(vf.allocation) || vf.pf.host.scrubs);

const VF_FIELDS = [
  'index',
  'mac',
  'vlan',
  'iommuGroup',
  'iommuGroupShared',
  'hostUse',
  'boundDriver',
  'usedByVmId',
  'scrubbedFor',
] as const satisfies readonly (keyof VfReport)[];

function vfChanged(known: Vf, reported: VfReport, released: ReadonlySet<Allocation>): boolean {
  if (known.marks.unknown || known.marks.unseen) return true;
  const ended =
    known.allocation !== undefined && released.has(known.allocation) ? known.allocation : undefined;
  // Said again with the release or after it, it counts, whatever was said before it (SCRUB-1, SCRUB-2).
  const outFor = known.marks.scrub?.allocationId ?? known.marks.quarantinedFor ?? ended?.id;
  if (outFor !== undefined && isCleanFor(reported, outFor, ended?.macBefore ?? known.marks.macBefore))
    return true;
  for (const field of VF_FIELDS) if (known.report[field] !== reported[field]) return true;
  return isStranger(reported, ended === undefined ? known.allocation : undefined) !== known.marks.stranger;
}

/**
 * SCRUB-1: a lost driver took VFs away dirty, and nobody was told to clean them. Now that they are back, the host
 * is.
 */
function orderScrubs(decision: Decision, host: Host, reports: readonly VfReport[]): void {
  for (const report of reports) {
    const vf = host.vfs.get(report.pciAddress);
    const scrub = vf?.marks.scrub;
    if (vf === undefined || scrub === undefined || scrub.overdue || vf.pf.work === 'restoring') continue;
    const { allocationId } = scrub;
    if (decision.state.scrubbing.has(allocationId)) continue;
    if (isCleanFor(report, allocationId, vf.marks.macBefore)) continue;
    const where = { hostId: host.id, pf: vf.pf.address, vf: report.pciAddress };
    decision.add('VfScrubRequested', { ...where, allocationId });
  }
}

/**
 * PF-10: PFs that are owed their VFs, or have just lost them with the boot or the driver, are split again
 * when they can be.
 */
function orderOwed(decision: Decision, host: Host, report: HostReported, rebooted: boolean): void {
  const ready =
    report.iommu.enabled &&
    report.iommu.ready &&
    (report.interruptRemapping || report.unsafeInterruptsAllowed === true);
  if (!ready) return;
  for (const reported of report.pfs) {
    const pf = host.pfs.get(reported.pciAddress);
    if (pf === undefined || reported.vfs.length > 0 || reported.link === 'down' || pf.wanted === undefined)
      continue;
    // PF-9: other hardware serves nothing, and is not worked on, until an operator accepts it.
    if (isOtherHardware(pf.identity, reported, pf.identityChanged)) continue;
    if (pf.vfs.some((vf) => vf.allocation !== undefined && !rebooted)) continue;
    if (pf.wanted > 0 && (pf.owed || rebooted || pf.lost)) orderSplit(decision, pf, pf.wanted);
  }
}

/** Tells the host to split a PF. */
export function orderSplit(
  decision: Decision,
  pf: Pf,
  numVfs: number,
  warnings: readonly string[] = [],
): void {
  const limit = splitWarning(decision.state.policy, pf.report);
  const all = limit === undefined ? warnings : [...warnings, limit];
  decision.add('PfVirtualizationOrdered', {
    hostId: pf.host.id,
    pf: pf.address,
    numVfs,
    ...(all.length === 0 ? undefined : { warnings: all }),
  });
}
