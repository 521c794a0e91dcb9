import type { PlacedEvent } from '../../events.js';
import type { Input, Inputs } from '../../inputs.js';
import { release } from './allocations.js';
import { takeInventory } from './inventory.js';
import { bound, type Known } from './known.js';

/** HOST-9, HOST-4. */
export function isNews(known: Known, input: Input): 'first' | 'same-boot' | 'new-boot' | 'stale' {
  if (input.type !== 'HostReported' && input.type !== 'HostSeen') return 'stale';
  const { hostId, bootId, seq } = input.data;
  const host = known.hosts.get(hostId);
  if (host === undefined) {
    const over = known.fencedAway.get(hostId)?.earlierBoots.has(bootId) === true;
    return input.type === 'HostReported' && !over ? 'first' : 'stale';
  }
  if (bootId === host.bootId) return seq > host.seq ? 'same-boot' : 'stale';
  if (input.type === 'HostSeen' || host.earlierBoots.has(bootId)) return 'stale';
  const bootedAt = input.data.bootedAt === undefined ? undefined : Date.parse(input.data.bootedAt);
  return bootedAt !== undefined && host.bootedAt !== undefined && bootedAt < host.bootedAt
    ? 'stale'
    : 'new-boot';
}

export function heard(known: Known, { hostId, seq }: { hostId: string; seq: number }, time: number): void {
  const host = known.hosts.get(hostId);
  if (host === undefined) return;
  host.seq = seq;
  host.heardAt = time;
}

/** EX-7, HOST-4, HOST-9, VM-12, VM-16: what a report may lead to. */
export function observeReport(
  known: Known,
  data: Inputs['HostReported'],
  events: readonly PlacedEvent[],
  news: 'first' | 'same-boot' | 'new-boot' | 'stale',
  time: number,
): void {
  const released = events.filter((event) => event.type === 'VfReleased') as PlacedEvent<'VfReleased'>[];
  if (news === 'stale') {
    known.check('HOST-9', events.length === 0, `a stale report of ${data.hostId} led to ${events[0]?.type}`);
    return;
  }
  const inUseBy = new Map(data.pfs.flatMap((pf) => pf.vfs.map((vf) => [vf.pciAddress, vf] as const)));
  for (const { data: release } of released) {
    const reasonable = news === 'new-boot' ? 'host-rebooted' : 'proved-unused';
    known.check(
      'EX-7',
      release.reason === reasonable,
      `a ${news} report released ${release.vf}: ${release.reason}`,
    );
    known.check(
      'EX-7',
      release.hostId === data.hostId,
      `a report of ${data.hostId} released on ${release.hostId}`,
    );
  }
  if (news === 'new-boot') {
    for (const { data: release } of released) {
      const vm = known.vms.get(release.vmId);
      const shown = inUseBy.get(release.vf)?.usedByVmId === release.vmId;
      known.check(
        'HOST-4',
        !shown && vm?.bootId !== data.bootId,
        `${release.vf} was released by the reboot, and its holder ${release.vmId} lives in the new boot`,
      );
    }
  }
  // VM-12: two in a row, both later than the overdue report.
  for (const [vmId, vm] of known.vms) {
    if (!vm.overdue || vm.hostId !== data.hostId) continue;
    const unused =
      data.vms !== undefined &&
      !data.vms.includes(vmId) &&
      known.heldBy(vmId).every(({ vf }) => {
        const report = inUseBy.get(vf);
        return report !== undefined && report.usedByVmId === undefined && !bound(report);
      });
    vm.proofs = unused ? vm.proofs + 1 : 0;
    const ended = released.some(({ data: release }) => release.vmId === vmId);
    if (news === 'same-boot') {
      known.check(
        'VM-12',
        ended === (vm.proofs >= 2 && known.heldBy(vmId).length > 0),
        `after ${vm.proofs} proofs ${vmId} is ${ended ? '' : 'not '}released`,
      );
    }
  }
  for (const event of released) release(known, event.data, 'HostReported');
  takeInventory(known, data, news, time);
  if (news === 'new-boot') {
    splitAgain(known, data, events);
    for (const allocation of known.allocations.values()) {
      if (allocation.hostId !== data.hostId) continue;
      const shown = inUseBy.get(allocation.vf)?.usedByVmId === allocation.vmId;
      known.check(
        'HOST-4',
        shown || known.vms.get(allocation.vmId)?.bootId === data.bootId,
        `${allocation.vf} is still held by ${allocation.vmId} after a reboot`,
      );
    }
    const stopped = events.flatMap((event) =>
      event.type === 'HostChanged' ? (event.data.stoppedVms ?? []) : [],
    );
    for (const { data: release } of released) {
      known.check(
        'VM-16',
        stopped.includes(release.vmId) || known.heldBy(release.vmId).length > 0,
        `${release.vmId} lost its VFs by a reboot and is not stopped`,
      );
    }
  }
}

/** PF-10: after a reboot that left none of the VFs that are wanted, the host is told to split again. */
function splitAgain(known: Known, data: Inputs['HostReported'], events: readonly PlacedEvent[]): void {
  const host = known.hosts.get(data.hostId);
  if (host?.ready !== true) return;
  for (const report of data.pfs) {
    const pf = host.pfs.get(report.pciAddress);
    if (pf === undefined || report.vfs.length > 0 || pf.link === 'down' || pf.other) continue;
    const told = events.some(
      (event) => event.type === 'PfVirtualizationOrdered' && event.data.pf === pf.address,
    );
    known.check(
      'PF-10',
      told === (pf.wanted ?? 0) > 0,
      `${pf.address} came back without VFs, ${pf.wanted} are wanted, and the host is ${told ? '' : 'not '}told`,
    );
  }
}
