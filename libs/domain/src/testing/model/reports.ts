import type { PlacedEvent } from '../../events.js';
import type { Input, Inputs } from '../../inputs.js';
import { release } from './allocations.js';
import { takeInventory } from './inventory.js';
import { bound, type Known, type MHost } from './known.js';

export type News = 'first' | 'same-boot' | 'new-boot' | 'stale' | 'nothing';

const saidOf = ({ saidAt, time }: Input, now: number): number => Math.min(saidAt ?? time, now);

/** HOST-9, HOST-4: what a report or a sign of life is; `nothing` for what is neither. */
export function isNews(known: Known, input: Input, now: number): News {
  if (input.type !== 'HostReported' && input.type !== 'HostSeen') return 'nothing';
  const { hostId, bootId, seq } = input.data;
  const host = known.hosts.get(hostId);
  const whole = input.type === 'HostReported';
  if (host === undefined) {
    if (!whole) return 'nothing';
    return known.fencedAway.get(hostId)?.earlierBoots.has(bootId) === true ? 'stale' : 'first';
  }
  if (bootId === host.bootId && seq > host.seq) return 'same-boot';
  if (bootId !== host.bootId && !host.earlierBoots.has(bootId)) {
    const bootedAt =
      whole && input.data.bootedAt !== undefined ? Date.parse(input.data.bootedAt) : Number.POSITIVE_INFINITY;
    if (Math.min(bootedAt, now) >= (host.bootedAt ?? Number.NEGATIVE_INFINITY) || !whole)
      return whole ? 'new-boot' : 'nothing';
  }
  const row = rowWith(host, input, now);
  if (row === undefined || row.seqs.length < 3 || !whole) return 'stale';
  return bootId === host.bootId ? 'same-boot' : 'new-boot';
}

/** The row of what may be a restarted agent, with this one in it; undefined where this one is none of it. */
function rowWith(
  host: MHost,
  input: Input<'HostReported' | 'HostSeen'>,
  now: number,
): MHost['row'] | undefined {
  const { bootId, seq } = input.data;
  if (saidOf(input, now) <= host.said || host.earlierBoots.has(bootId)) return undefined;
  const { row } = host;
  const goesOn = row?.bootId === bootId && row.seqs.every((before) => before < seq);
  return { bootId, seqs: goesOn ? [...row.seqs, seq] : [seq] };
}

/** HOST-9: how far a host has come with its reports. */
export function noteOrder(known: Known, input: Input, news: News, now: number, left: number): void {
  if (input.type !== 'HostReported' && input.type !== 'HostSeen') return;
  const { hostId, seq } = input.data;
  if (news === 'nothing') return;
  const host = known.hosts.get(hostId);
  if (news === 'stale') {
    known.toldStale.add(hostId);
    if (host !== undefined) host.row = rowWith(host, input, now) ?? host.row;
  } else {
    known.toldStale.delete(hostId);
    if (host === undefined) return;
    host.seq = seq;
    host.said = saidOf(input, now);
    delete host.row;
  }
  if (host !== undefined && left > 0) host.logged = { seq: host.seq, said: host.said };
}

/** HOST-9: a stale report says so, once in a row, and else nothing. */
export function checkStale(known: Known, input: Input, events: readonly PlacedEvent[], news: News): void {
  if (news !== 'stale' || (input.type !== 'HostReported' && input.type !== 'HostSeen')) return;
  const { hostId } = input.data;
  const host = known.hosts.get(hostId);
  const [event] = events;
  const told =
    events.length === 1 &&
    event?.type === 'InputIgnored' &&
    event.data.reason === 'stale' &&
    event.data.lastSeq === host?.seq &&
    event.data.bootId === host?.bootId;
  known.check(
    'HOST-9',
    known.toldStale.has(hostId) ? events.length === 0 : told,
    `a stale ${input.type} of ${hostId}, which has come to ${host?.seq}, led to ${JSON.stringify(events)}`,
  );
}

export function heard(known: Known, { hostId }: { hostId: string }, time: number): void {
  const host = known.hosts.get(hostId);
  if (host !== undefined) host.heardAt = time;
}

/** EX-7, HOST-4, HOST-9, VM-12, VM-16: what a report may lead to. */
export function observeReport(
  known: Known,
  data: Inputs['HostReported'],
  events: readonly PlacedEvent[],
  news: News,
  time: number,
): void {
  const released = events.filter((event) => event.type === 'VfReleased') as PlacedEvent<'VfReleased'>[];
  if (news === 'stale') return;
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
