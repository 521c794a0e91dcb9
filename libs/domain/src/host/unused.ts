import { allocationsOf } from '../decision.js';
import { isInUse } from '../hardware.js';
import type { HostReported, VfReport } from '../inputs.js';
import type { Allocation, Host, State, Vm } from '../state.js';

/** Reports in a row that it takes to prove an overdue start unused (VM-12). */
export const PROOFS_NEEDED = 2;

/**
 * VM-12: whether a report shows neither the VM nor any of its VFs in use. A report that does not list its VMs
 * proves nothing.
 */
export function showsUnused(vm: Vm, report: HostReported): boolean {
  if (report.vms === undefined || report.vms.includes(vm.id)) return false;
  const reported = new Map<string, VfReport>();
  for (const pf of report.pfs) for (const vf of pf.vfs) reported.set(vf.pciAddress, vf);
  return allocationsOf(vm).every(({ vf }) => {
    const there = reported.get(vf.report.pciAddress);
    return there !== undefined && !isInUse(there);
  });
}

/** Overdue VMs of a host: the only ones whose silence is counted. */
export const overdueVms = (host: Host): readonly Vm[] =>
  [...host.vms].filter((vm) => vm.overdueSince !== undefined);

/** VM-12: the allocations that this report, the second in a row, proves unused. */
export function provenUnused(state: State, host: Host, report: HostReported): readonly Allocation[] {
  return overdueVms(host)
    .filter((vm) => (state.observed.proofs.get(vm.id) ?? 0) + 1 >= PROOFS_NEEDED && showsUnused(vm, report))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .flatMap(allocationsOf);
}
