import type { Decision } from '../decision.js';
import type { Drift } from '../events.js';
import { driftKey } from '../evolve.js';
import { describeIdentity, identityOf, isOtherHardware, isStranger } from '../hardware.js';
import type { HostReported } from '../inputs.js';
import type { Allocation, Host, Vm } from '../state.js';

/**
 * What a report shows that is not as it should be. It is said, and changes nobody's hold (EX-7).
 *
 * @param host the host as it is known, undefined at its first report.
 */
export function driftOfReport(
  host: Host | undefined,
  report: HostReported,
  { released }: { readonly released: ReadonlySet<Allocation> },
): readonly Drift[] {
  const { hostId } = report;
  const drifts: Drift[] = [];
  const seenPfs = new Set<string>();
  for (const reported of report.pfs) {
    const pf = host?.pfs.get(reported.pciAddress);
    const where = { hostId, pf: reported.pciAddress };
    seenPfs.add(reported.pciAddress);
    const seenVfs = new Set(reported.vfs.map((vf) => vf.pciAddress));
    for (const vf of reported.vfs) {
      const known = host?.vfs.get(vf.pciAddress)?.allocation;
      const allocation = known !== undefined && released.has(known) ? undefined : known;
      if (!isStranger(vf, allocation)) continue;
      drifts.push({
        ...where,
        vf: vf.pciAddress,
        kind: 'USED_BY_STRANGER',
        expected: allocation?.vm.id,
        observed: vf.usedByVmId ?? vf.boundDriver,
      });
    }
    if (pf === undefined) continue;
    if (isOtherHardware(pf.identity, reported, pf.identityChanged)) {
      drifts.push({
        ...where,
        kind: 'PF_IDENTITY',
        expected: describeIdentity(pf.identity),
        observed: describeIdentity(identityOf(reported)),
      });
    }
    for (const vf of pf.vfs) {
      if (vf.allocation === undefined || released.has(vf.allocation) || seenVfs.has(vf.report.pciAddress))
        continue;
      drifts.push({ ...where, vf: vf.report.pciAddress, vmId: vf.allocation.vm.id, kind: 'DEVICE_UNSEEN' });
    }
    // PF-10: another count is said, and never mended silently; 0 where a split is owed, or work under way, is
    // no surprise.
    const count = reported.vfs.length;
    const underWay =
      (pf.work === 'virtualizing' && count === 0) ||
      (pf.work === 'restoring' && count > 0) ||
      (count === 0 && pf.owed);
    const outage = count === 0 && (pf.lost || report.bootId !== pf.host.bootId);
    if (pf.wanted !== undefined && count !== pf.wanted && !underWay && !outage) {
      drifts.push({ ...where, kind: 'VF_COUNT', expected: pf.wanted, observed: count });
    }
  }
  for (const pf of host?.pfs.values() ?? []) {
    if (!seenPfs.has(pf.address)) drifts.push({ hostId, pf: pf.address, kind: 'DEVICE_UNSEEN' });
  }
  if (host !== undefined) drifts.push(...unseenVms(host, report, released));
  return drifts;
}

/**
 * VM-17: a running VM that holds a VF and is not among the VMs that its host lists. A report that lists none
 * says nothing of them: who was missed is missed.
 */
function unseenVms(host: Host, report: HostReported, released: ReadonlySet<Allocation>): readonly Drift[] {
  const { vms } = report;
  const listed = new Set(vms);
  const isMissed = (vmId: string): boolean =>
    vms === undefined ? host.drifts.has(driftKey({ kind: 'VM_UNSEEN', vmId })) : !listed.has(vmId);
  return [...host.vms]
    .filter(
      (vm) =>
        vm.state === 'running' &&
        isMissed(vm.id) &&
        [...vm.nics.values()].some(({ allocation }) => allocation !== undefined && !released.has(allocation)),
    )
    .map((vm) => vm.id)
    .sort()
    .map((vmId) => ({ hostId: report.hostId, vmId, kind: 'VM_UNSEEN' as const }));
}

/**
 * Says which drift ends because these allocations do: a device that was unseen while it was in use is in
 * nobody's use now, and a VM that holds nothing any more is not missed (PF-14, VM-17). A report says it too,
 * but an agent that sees nothing new sends none.
 */
export function resolveReleased(decision: Decision, allocations: readonly Allocation[]): void {
  const leaving = new Map<Vm, number>();
  for (const { vm } of allocations) leaving.set(vm, (leaving.get(vm) ?? 0) + 1);
  for (const { vm, vf } of allocations) {
    const { host } = vf.pf;
    if (host.drifts.size === 0) continue;
    const unseen = host.drifts.get(
      driftKey({ kind: 'DEVICE_UNSEEN', pf: vf.pf.address, vf: vf.report.pciAddress, vmId: vm.id }),
    );
    if (unseen !== undefined) decision.add('DriftResolved', unseen);
    const missed = host.drifts.get(driftKey({ kind: 'VM_UNSEEN', vmId: vm.id }));
    if (missed === undefined || leaving.get(vm) !== vm.held) continue;
    leaving.delete(vm);
    decision.add('DriftResolved', missed);
  }
}

/** Says which drift is new and which has gone; what stands unchanged is not said again. */
export function decideDrift(decision: Decision, host: Host | undefined, now: readonly Drift[]): void {
  const standing = host?.drifts ?? new Map<string, Drift>();
  const present = new Set<string>();
  for (const drift of now) {
    const key = driftKey(drift);
    present.add(key);
    const before = standing.get(key);
    if (before === undefined || before.observed !== drift.observed || before.expected !== drift.expected) {
      decision.add('DriftDetected', drift);
    }
  }
  // In order of key: a state from a snapshot has them in another order than one that lived through them.
  for (const key of [...standing.keys()].sort())
    if (!present.has(key)) decision.add('DriftResolved', standing.get(key) as Drift);
}
