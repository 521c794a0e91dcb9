import type {
  Cause,
  Events,
  HostAgentRestarted,
  HostChanged,
  HostFencedEvent,
  HostRegistered,
  HostSince,
  PfChange,
  PfVirtualizationOrdered,
  PfVirtualizedEvent,
  VfScrubRequested,
} from './events.js';
import { endByHost, refreshVf } from './evolve-vm.js';
import { bootTime } from './host/report-order.js';
import { identityOf, isCleanFor, isOtherHardware, isStranger } from './hardware.js';
import type { PfReport, VfReport } from './inputs.js';
import { OrdinalSet } from './ordinal-set.js';
import { sharedReport } from './shared-reports.js';
import { hostObstacle, isSpokenFor, isVfFree, networkNames } from './standing.js';
import { EARLIER_BOOTS, type Host, type Pf, type State, type Vf } from './state.js';
import { mark, marksWith, NO_MARKS } from './vf-marks.js';

const hostOf = (state: State, hostId: string): Host => {
  const host = state.hosts.get(hostId);
  if (host === undefined) throw new Error(`the log speaks of host ${hostId}, which it never told of`);
  return host;
};

const pfOf = (state: State, data: { readonly hostId: string; readonly pf: string }): Pf => {
  const pf = hostOf(state, data.hostId).pfs.get(data.pf);
  if (pf === undefined)
    throw new Error(`the log speaks of PF ${data.pf} of ${data.hostId}, which it never told of`);
  return pf;
};

const refreshHost = (state: State, host: Host): void => {
  if (hostObstacle(host) === undefined) state.openHosts.add(host.ordinal);
  else state.openHosts.delete(host.ordinal);
  for (const pf of host.pfs.values()) state.capacity.refresh(pf);
};

/** Boots of a host that was removed while it was fenced are over, but for the one that reports now (HOST-9). */
function earlierBootsOf(away: Pick<Host, 'bootId' | 'earlierBoots'> | undefined, bootId: string): string[] {
  if (away === undefined) return [];
  return away.bootId === bootId
    ? away.earlierBoots
    : [...away.earlierBoots, away.bootId].slice(-EARLIER_BOOTS);
}

export function registerHost(state: State, data: HostRegistered, at: number): void {
  const away = state.fencedAway.get(data.hostId);
  state.fencedAway.delete(data.hostId);
  const host: Host = {
    id: data.hostId,
    ordinal: state.hostByOrdinal.length,
    bootId: data.bootId,
    earlierBoots: earlierBootsOf(away, data.bootId),
    bootedAt: bootTime(data.bootedAt, at),
    seq: data.seq,
    saidAt: at,
    reportedAt: at,
    iommu: data.iommu,
    interruptRemapping: data.interruptRemapping,
    unsafeInterruptsAllowed: data.unsafeInterruptsAllowed ?? false,
    scrubs: data.scrubs ?? false,
    cordoned: false,
    // HOST-5: a removal does not end a fence; only a new boot id does.
    fenced: away?.bootId === data.bootId,
    lostSince: undefined,
    pfs: new Map(),
    vfs: new Map(),
    vms: new Set(),
    drifts: new Map(),
    offered: new Map(),
  };
  state.hosts.set(host.id, host);
  state.hostByOrdinal.push(host);
  // VMs without VFs may have been reported here before the host was known, or before it was removed (VM-14).
  for (const vm of state.vms.values()) if (vm.hostId === host.id && vm.state !== 'stopped') host.vms.add(vm);
  for (const pf of data.pfs) {
    const made = addPf(state, host, pf);
    // PF-10: a PF that comes split is wanted as it is: after a reboot it shall be so again.
    if (made.vfs.length > 0) made.wanted = made.vfs.length;
  }
  sortPfs(host);
  regroup(state, host);
  refreshHost(state, host);
}

function addPf(state: State, host: Host, { vfs, ...report }: PfReport): Pf {
  const pf: Pf = {
    ordinal: state.pfByOrdinal.length,
    host,
    address: report.pciAddress,
    report,
    networks: networkNames(report),
    wanted: undefined,
    work: undefined,
    owed: false,
    lost: false,
    cordoned: false,
    identity: identityOf(report),
    identityChanged: false,
    vfs: [],
    free: new OrdinalSet(),
    held: 0,
    indexed: undefined,
  };
  state.pfByOrdinal.push(pf);
  host.pfs.set(pf.address, pf);
  setVfs(state, pf, vfs, []);
  return pf;
}

/** PFs in order of address, so that what is chosen among them does not depend on when they came. */
function sortPfs(host: Host): void {
  host.pfs = new Map([...host.pfs].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Takes new and changed VFs in and lets gone ones go; a held one that is gone is marked and stays (PF-14).
 */
function setVfs(state: State, pf: Pf, reports: readonly VfReport[], gone: readonly string[]): void {
  const byAddress = new Map(pf.vfs.map((vf) => [vf.report.pciAddress, vf]));
  for (const reported of reports) {
    const report = sharedReport(reported);
    const known = byAddress.get(report.pciAddress);
    if (known !== undefined) {
      known.report = report;
      mark(known, { unknown: false, unseen: false, stranger: isStranger(report, known.allocation) });
      cleanByReport(state, known);
      continue;
    }
    const other = pf.host.vfs.get(report.pciAddress);
    if (other !== undefined && other.pf !== pf) {
      // EX-1: an address is one VF. One that is spoken for stays where it is, whatever a report says.
      if (isSpokenFor(other)) continue;
      forgetVf(state, other);
      layOut(
        state,
        other.pf,
        other.pf.vfs.filter((vf) => vf !== other),
      );
    }
    byAddress.set(report.pciAddress, {
      pf,
      slot: 0,
      report,
      allocation: undefined,
      marks: marksWith(NO_MARKS, { stranger: isStranger(report, undefined) }),
    });
  }
  // With the last VF goes the PF's division: what comes after it are new devices. One that only is not shown
  // keeps its scrub.
  const goneAddresses = new Set(gone);
  const allGone = [...byAddress].every(([address, vf]) => vf.marks.unseen || goneAddresses.has(address));
  for (const address of gone) {
    const vf = byAddress.get(address);
    if (vf === undefined) continue;
    if (vf.allocation !== undefined || (isSpokenFor(vf) && !allGone)) mark(vf, { unseen: true });
    else {
      byAddress.delete(address);
      forgetVf(state, vf);
    }
  }
  layOut(state, pf, [...byAddress.values()]);
}

/**
 * HOST-3: which VFs of the host share their IOMMU group. The host's own word counts, for it sees all its
 * devices; where it says nothing, two VFs of one group share it.
 */
function regroup(state: State, host: Host): void {
  const members = new Map<number, number>();
  for (const { report } of host.vfs.values()) {
    const { iommuGroup } = report;
    if (iommuGroup !== undefined) members.set(iommuGroup, (members.get(iommuGroup) ?? 0) + 1);
  }
  for (const vf of host.vfs.values()) {
    const { iommuGroup, iommuGroupShared } = vf.report;
    const shares = iommuGroupShared ?? (iommuGroup !== undefined && (members.get(iommuGroup) as number) > 1);
    if (shares === vf.marks.sharesGroup) continue;
    mark(vf, { sharesGroup: shares });
    refreshVf(state, vf);
  }
}

/** SCRUB-1, SCRUB-2: a report that shows the VF clean after that very allocation frees it. */
function cleanByReport(state: State, vf: Vf): void {
  const { scrub, quarantinedFor, macBefore } = vf.marks;
  const outFor = scrub?.allocationId ?? quarantinedFor;
  if (outFor === undefined || !isCleanFor(vf.report, outFor, macBefore)) return;
  mark(vf, { scrub: undefined, quarantinedFor: undefined });
  state.scrubbing.delete(outFor);
}

function forgetVf(state: State, vf: Vf): void {
  vf.pf.host.vfs.delete(vf.report.pciAddress);
  if (vf.marks.scrub !== undefined) state.scrubbing.delete(vf.marks.scrub.allocationId);
}

/** Gives the VFs of a PF their slots, in order of index, and counts them anew. */
function layOut(state: State, pf: Pf, vfs: Vf[]): void {
  pf.vfs = vfs.sort(
    (a, b) => a.report.index - b.report.index || (a.report.pciAddress < b.report.pciAddress ? -1 : 1),
  );
  pf.free.clear();
  for (const [slot, vf] of pf.vfs.entries()) {
    vf.slot = slot;
    pf.host.vfs.set(vf.report.pciAddress, vf);
    if (isVfFree(vf)) pf.free.add(slot);
  }
  state.capacity.refresh(pf);
}

export function changeHost(state: State, data: HostChanged, at: number): void {
  const host = hostOf(state, data.hostId);
  tookReport(host, data.seq, at);
  if (data.rebooted === true) {
    host.earlierBoots = earlierBootsOf(host, data.bootId);
    host.bootId = data.bootId;
    host.bootedAt = bootTime(data.bootedAt, at);
    // HOST-5: a new boot ends a fence.
    host.fenced = false;
    for (const vmId of data.stoppedVms ?? []) endByHost(state, vmId, 'host-rebooted');
  }
  if (data.iommu !== undefined) host.iommu = data.iommu;
  host.interruptRemapping = data.interruptRemapping ?? host.interruptRemapping;
  host.unsafeInterruptsAllowed = data.unsafeInterruptsAllowed ?? host.unsafeInterruptsAllowed;
  host.scrubs = data.scrubs ?? host.scrubs;
  for (const change of data.pfs ?? []) {
    const pf = host.pfs.get(change.pciAddress);
    if (pf === undefined) {
      const made = addPf(state, host, change as PfReport);
      if (made.vfs.length > 0) made.wanted = made.vfs.length;
      sortPfs(host);
    } else {
      changePf(state, pf, change);
    }
  }
  for (const address of data.unseenPfs ?? []) {
    const pf = host.pfs.get(address);
    if (pf === undefined) continue;
    loseWork(pf);
    for (const vf of pf.vfs) mark(vf, { unseen: true });
    layOut(state, pf, pf.vfs);
  }
  if (data.rebooted === true) for (const pf of host.pfs.values()) settleAfterOutage(pf);
  regroup(state, host);
  refreshHost(state, host);
}

function changePf(state: State, pf: Pf, change: PfChange): void {
  const { vfs = [], goneVfs = [], unset = [], ...fields } = change;
  const report: Record<string, unknown> = { ...pf.report, ...fields };
  for (const field of unset) delete report[field];
  pf.report = report as unknown as Pf['report'];
  // PF-9: what is known of the hardware at the address stays known until an operator accepts another.
  pf.identityChanged = isOtherHardware(pf.identity, pf.report, pf.identityChanged);
  if (!pf.identityChanged) pf.identity = { ...pf.identity, ...identityOf(pf.report) };
  const names = networkNames(pf.report);
  if (names.join('\n') !== pf.networks.join('\n')) pf.networks = names;
  const wasLost = pf.lost;
  pf.lost = false;
  const had = pf.vfs.length;
  setVfs(state, pf, vfs, goneVfs);
  const shown = pf.vfs.some((vf) => !vf.marks.unseen);
  // A report ends ordered work when it shows its result (PF-5, PF-15), and a PF that shows VFs is owed none.
  if (pf.work === 'virtualizing' && shown) pf.work = undefined;
  if (pf.work === 'restoring' && !shown) pf.work = undefined;
  if (shown) pf.owed = false;
  if (pf.wanted === undefined && had === 0 && shown) pf.wanted = pf.vfs.length;
  if (wasLost) settleAfterOutage(pf);
}

/**
 * A PF that is gone is not split any more; a restore that was ordered stands until it is done or has failed
 * (PF-5).
 */
function loseWork(pf: Pf): void {
  pf.lost = true;
  if (pf.work === 'virtualizing') pf.work = undefined;
}

/** PF-10: a PF that lost its VFs with its boot or its driver is owed the number that was wanted. */
function settleAfterOutage(pf: Pf): void {
  if (pf.lost || pf.vfs.length > 0) return;
  if (pf.work === 'restoring') pf.work = undefined;
  if (pf.wanted !== undefined && pf.wanted > 0) {
    pf.work = undefined;
    pf.owed = true;
  }
}

export function restartAgent(state: State, data: HostAgentRestarted, at: number): void {
  tookReport(hostOf(state, data.hostId), data.seq, at);
}

/** HOST-9: what an event itself says of its report. The log of an earlier version says no more. */
function tookReport(host: Host, seq: number, at: number): void {
  host.seq = seq;
  host.saidAt = at;
  host.reportedAt = at;
}

/** HOST-9: how far the reports of a host have come. */
export function noteReport(state: State, { hostId, seq, said, at }: NonNullable<Cause['report']>): void {
  const host = state.hosts.get(hostId);
  if (host === undefined) return;
  host.seq = seq;
  host.saidAt = said;
  host.reportedAt = at;
}

export function backHost(state: State, data: HostSince, at: number): void {
  const host = hostOf(state, data.hostId);
  tookReport(host, host.seq, at);
  host.lostSince = undefined;
  refreshHost(state, host);
}

export function loseHost(state: State, data: HostSince): void {
  const host = hostOf(state, data.hostId);
  host.lostSince = Date.parse(data.since);
  refreshHost(state, host);
}

export function cordonHost(state: State, data: Events['HostCordoned']): void {
  const host = hostOf(state, data.hostId);
  host.cordoned = data.cordoned;
  refreshHost(state, host);
}

export function fenceHost(state: State, data: HostFencedEvent): void {
  const host = hostOf(state, data.hostId);
  host.fenced = true;
  for (const vmId of data.stoppedVms ?? []) endByHost(state, vmId, 'host-fenced');
  refreshHost(state, host);
}

export function removeHost(state: State, hostId: string): void {
  const host = hostOf(state, hostId);
  for (const pf of host.pfs.values()) {
    for (const vf of pf.vfs) forgetVf(state, vf);
    state.capacity.remove(pf);
    state.pfByOrdinal[pf.ordinal] = undefined;
  }
  state.hostByOrdinal[host.ordinal] = undefined;
  state.openHosts.delete(host.ordinal);
  state.hosts.delete(hostId);
  if (host.fenced) state.fencedAway.set(hostId, { bootId: host.bootId, earlierBoots: host.earlierBoots });
  state.observed.heard.delete(hostId);
  state.observed.rows.delete(hostId);
}

export function orderVirtualization(state: State, data: PfVirtualizationOrdered): void {
  const pf = pfOf(state, data);
  pf.work = 'virtualizing';
  pf.wanted = data.numVfs;
  pf.owed = false;
  state.capacity.refresh(pf);
}

export function virtualizePf(state: State, data: PfVirtualizedEvent): void {
  const pf = pfOf(state, data);
  pf.work = undefined;
  pf.owed = false;
  pf.wanted ??= data.vfs.length;
  const reported = new Set(data.vfs.map((vf) => vf.pciAddress));
  const gone = pf.vfs.map((vf) => vf.report.pciAddress).filter((address) => !reported.has(address));
  setVfs(state, pf, data.vfs, gone);
  regroup(state, pf.host);
}

/** PF-15: the PF is as its VFs show it, now and with the next report. */
export function failPfWork(state: State, data: { readonly hostId: string; readonly pf: string }): void {
  const pf = pfOf(state, data);
  pf.work = undefined;
  state.capacity.refresh(pf);
}

export function orderRestore(state: State, data: { readonly hostId: string; readonly pf: string }): void {
  const pf = pfOf(state, data);
  pf.work = 'restoring';
  pf.wanted = 0;
  pf.owed = false;
  state.capacity.refresh(pf);
}

export function restorePf(state: State, data: { readonly hostId: string; readonly pf: string }): void {
  const pf = pfOf(state, data);
  // PF-10: ordering a restore has set the wanted number to 0; one that nobody ordered leaves it as it is.
  pf.work = undefined;
  pf.owed = false;
  setVfs(
    state,
    pf,
    [],
    pf.vfs.map((vf) => vf.report.pciAddress),
  );
  regroup(state, pf.host);
}

export function loseDriver(state: State, data: { readonly hostId: string; readonly pf: string }): void {
  const pf = pfOf(state, data);
  loseWork(pf);
  for (const vf of pf.vfs) mark(vf, { unknown: true });
  layOut(state, pf, pf.vfs);
}

export function setLink(state: State, data: Events['PfLinkChanged']): void {
  const pf = pfOf(state, data);
  pf.report = { ...pf.report, link: data.link };
  state.capacity.refresh(pf);
}

export function cordonPf(state: State, data: Events['PfCordoned']): void {
  const pf = pfOf(state, data);
  pf.cordoned = data.cordoned;
  state.capacity.refresh(pf);
}

export function acceptPf(state: State, data: { readonly hostId: string; readonly pf: string }): void {
  const pf = pfOf(state, data);
  pf.identity = identityOf(pf.report);
  pf.identityChanged = false;
  state.capacity.refresh(pf);
}

export function requestScrub(state: State, data: VfScrubRequested, at: number): void {
  const vf = hostOf(state, data.hostId).vfs.get(data.vf);
  if (vf === undefined) return;
  mark(vf, { scrub: { allocationId: data.allocationId, since: at, overdue: false } });
  state.scrubbing.set(data.allocationId, vf);
  refreshVf(state, vf);
}

export function scrubVf(state: State, data: Events['VfScrubbed']): void {
  const vf = hostOf(state, data.hostId).vfs.get(data.vf);
  if (vf === undefined) return;
  state.scrubbing.delete(data.allocationId);
  mark(vf, { scrub: undefined, quarantinedFor: undefined });
  refreshVf(state, vf);
}

export function quarantineVf(state: State, data: Events['VfQuarantined']): void {
  const vf = hostOf(state, data.hostId).vfs.get(data.vf);
  if (vf === undefined) return;
  state.scrubbing.delete(data.allocationId);
  mark(vf, { scrub: undefined, quarantinedFor: data.allocationId });
  refreshVf(state, vf);
}
