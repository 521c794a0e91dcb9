import type { Events, PlacedEvent } from '../../events.js';
import type { Input, Inputs, NicSpec } from '../../inputs.js';
import { nicKey, type Known, type MHost, type MNic, type MPf, type MVm, type Need } from './known.js';

/** Codes with which a search for a place ends. */
const PLACEMENT_CODES = new Set([
  'VF_EXHAUSTED',
  'HOST_UNKNOWN',
  'HOST_NOT_READY',
  'HOST_LOST',
  'HOST_CORDONED',
  'PF_UNKNOWN',
  'PF_NOT_VIRTUALIZABLE',
  'PF_NOT_VIRTUALIZED',
  'PF_BUSY',
  'PF_LINK_DOWN',
  'PF_CORDONED',
  'PF_RESTORING',
  'PF_LOST',
  'PF_IDENTITY_CHANGED',
  'SEPARATE_PFS_IMPOSSIBLE',
]);

/** Whether refusals are true (VM-2, VM-4, VM-15, EX-5, NET-7, NET-9, OUT-2, quotas), and NICs that fell back had to (VM-10). */
export function refusals(known: Known, input: Input, events: readonly PlacedEvent[], time: number): void {
  const outcome = events.at(-1);
  if (outcome === undefined || time < 0) return;
  if (input.type === 'VmStartRequested') {
    const { vmId } = input.data;
    const vm = known.vms.get(vmId);
    const specs: readonly (NicSpec | MNic)[] | undefined =
      input.data.nics ?? (vm === undefined ? undefined : [...vm.nics.values()]);
    const looked = lookedAt(known, input.data);
    if (outcome.type === 'VmStartFailed') startRefused(known, input.data, outcome.data, vm, specs, looked);
    if (outcome.type === 'VmStartAccepted' && specs !== undefined)
      fallBacks(known, outcome.data, specs, looked, input.data.separatePfs ?? false);
  }
  if (input.type === 'VmNicAttachRequested' && outcome.type === 'VmNicAttachFailed') {
    const vm = known.vms.get(input.data.vmId);
    const { reason, summary, considered } = outcome.data;
    const before = vm?.nics.get(input.data.nic.nicId);
    const needs = needsOf(known, [{ ...before, ...input.data.nic }]);
    const host = known.hosts.get(vm?.hostId ?? '');
    if (reason === 'QUOTA_EXCEEDED')
      known.check('quota', known.quotaLeft(vm?.tenant) < 1, `${vm?.tenant} has room for one more`);
    if (!PLACEMENT_CODES.has(reason) || needs === undefined) return;
    known.check(
      'VM-2',
      host === undefined || !fits(known, host, needs, false),
      `${reason}, and the NIC fits on ${host?.id}`,
    );
    counts(
      known,
      reason,
      summary ?? {},
      considered ?? [],
      needs,
      host === undefined ? [] : [host],
      false,
      true,
    );
  }
}

/** Whether all needs fit on a host together: every assignment of needs to PFs is tried. */
function fits(known: Known, host: MHost, needs: readonly Need[], separate: boolean): boolean {
  const room = new Map<MPf, number>();
  for (const pf of host.pfs.values()) {
    if (known.obstacles(host, pf).size > 0) continue;
    const free = known.freeOn(host, pf);
    room.set(pf, separate ? Math.min(1, free) : free);
  }
  const place = (index: number): boolean => {
    const need = needs[index];
    if (need === undefined) return true;
    for (const [pf, left] of room) {
      if (left === 0 || !pf.names.includes(need.name)) continue;
      room.set(pf, left - 1);
      if (place(index + 1)) return true;
      room.set(pf, left);
    }
    return false;
  };
  return place(0);
}

/** Hosts that a start may go to. */
const lookedAt = (known: Known, asked: Inputs['VmStartRequested']): MHost[] =>
  asked.hostId === undefined && asked.hosts === undefined
    ? [...known.hosts.values()]
    : [...new Set(asked.hostId === undefined ? asked.hosts : [asked.hostId])].flatMap(
        (id) => known.hosts.get(id) ?? [],
      );

function needsOf(known: Known, specs: readonly (Partial<NicSpec> | MNic)[]): Need[] | undefined {
  const needs: Need[] = [];
  for (const spec of specs) {
    if (spec.type === 'vnic') continue;
    const name = known.nameFor(spec as MNic);
    if (name === undefined) return undefined;
    needs.push({ nicId: spec.nicId ?? '', name, fallback: spec.onExhaustion === 'fallback' });
  }
  return needs;
}

function startRefused(
  known: Known,
  asked: Inputs['VmStartRequested'],
  data: Events['VmStartFailed'],
  vm: MVm | undefined,
  specs: readonly (NicSpec | MNic)[] | undefined,
  looked: readonly MHost[],
): void {
  const { vmId, reason } = data;
  const held = known.heldBy(vmId);
  if (reason === 'VM_RUNNING' || reason === 'VM_RUNNING_ELSEWHERE') {
    known.check(
      'VM-15',
      vm !== undefined && vm.state !== 'stopped',
      `${vmId} is ${vm?.state}, and refused as running`,
    );
    known.check(
      'VM-15',
      data.hostId === vm?.hostId && (data.holders ?? []).length === held.length,
      `${vmId}: the host and holders are not told`,
    );
    const elsewhere = asked.hostId !== undefined && held.some(({ hostId }) => hostId !== asked.hostId);
    known.check(
      'EX-5',
      (reason === 'VM_RUNNING_ELSEWHERE') === elsewhere,
      `${vmId} is refused with ${reason}`,
    );
    return;
  }
  if (reason === 'GENERATION_STALE') return;
  known.check(
    'VM-15',
    vm === undefined || vm.state === 'stopped',
    `${vmId} runs, and is refused with ${reason}`,
  );
  if (reason === 'VM_UNKNOWN')
    return known.check('VM-4', specs === undefined, `${vmId} is known, and refused as unknown`);
  const needs = specs === undefined ? undefined : needsOf(known, specs);
  if (reason === 'NETWORK_UNKNOWN' || reason === 'NETWORK_SRIOV_DISABLED')
    return known.check(
      'NET-7',
      needs === undefined,
      `${vmId}: every network serves, and it is refused with ${reason}`,
    );
  if (reason === 'MAC_IN_USE') {
    const clash = (specs ?? []).some((nic) => {
      const owner = known.macs.get(nic.mac ?? '');
      const twice =
        (specs ?? []).filter((other) => (other.mac ?? vm?.nics.get(other.nicId)?.mac) === nic.mac).length > 1;
      return nic.mac !== undefined && (twice || (owner !== undefined && owner !== nicKey(vmId, nic.nicId)));
    });
    return known.check('NET-9', clash, `${vmId}: nobody else has its MACs`);
  }
  if (needs === undefined) return;
  if (reason === 'QUOTA_EXCEEDED') {
    const tenant = asked.tenant ?? vm?.tenant;
    return known.check(
      'quota',
      known.quotaLeft(tenant) < needs.length,
      `${tenant} has room for ${needs.length} more`,
    );
  }
  if (!PLACEMENT_CODES.has(reason)) return;
  const must = needs.filter((need) => !need.fallback);
  const separate = asked.separatePfs ?? false;
  const open = looked.filter((host) => !host.lost && !host.fenced && !host.cordoned);
  const host = must.length === 0 ? open[0] : open.find((one) => fits(known, one, must, separate));
  known.check('VM-2', host === undefined, `${reason}, and ${must.length} VFs fit on ${host?.id}`);
  if (reason === 'SEPARATE_PFS_IMPOSSIBLE')
    known.check(
      'OUT-6',
      separate && open.some((one) => fits(known, one, needs, false) || fits(known, one, must, false)),
      `${vmId} does not fit without separatePfs either`,
    );
  counts(known, reason, data.summary, data.considered, needs, looked, separate, data.truncated !== true);
}

/**
 * VM-2: what is said of each PF is true, each is counted once, and the counts are those of what was looked
 * at.
 */
function counts(
  known: Known,
  reason: string,
  summary: Readonly<Record<string, number>>,
  considered: Events['VmStartFailed']['considered'],
  needs: readonly Need[],
  looked: readonly MHost[],
  separate: boolean,
  whole: boolean,
): void {
  known.check('VM-2', considered.length <= 32, `${considered.length} considered`);
  const tally: Record<string, number> = {};
  const seen = new Set<string>();
  for (const miss of considered) {
    const key = `${miss.hostId} ${miss.pf ?? ''}`;
    known.check('VM-2', !seen.has(key), `${key} is considered twice`);
    seen.add(key);
    tally[miss.reason] = (tally[miss.reason] ?? 0) + 1;
    const host = known.hosts.get(miss.hostId);
    known.check('VM-2', (host === undefined) === (miss.reason === 'HOST_UNKNOWN'), `${key}: ${miss.reason}`);
    const pf = host?.pfs.get(miss.pf ?? '');
    if (host === undefined || pf === undefined) continue;
    const against = known.obstacles(host, pf);
    const short = miss.reason === 'VF_EXHAUSTED' || miss.reason === 'SEPARATE_PFS_IMPOSSIBLE';
    known.check(
      'VM-2',
      short ? against.size === 0 : against.has(miss.reason),
      `${key} is said ${miss.reason}: ${[...against].join(', ')}`,
    );
    known.check(
      'VM-2',
      miss.total === pf.vfs.size,
      `${key} is said to have ${miss.total} VFs of ${pf.vfs.size}`,
    );
    const free = against.size === 0 ? known.freeOn(host, pf) : 0;
    known.check('VM-2', miss.free === free, `${key} is said to have ${miss.free} free of ${free}`);
  }
  if (whole)
    known.check(
      'VM-2',
      JSON.stringify(sorted(tally)) === JSON.stringify(sorted(summary)),
      `summary ${JSON.stringify(summary)}, considered ${JSON.stringify(tally)}`,
    );
  known.check(
    'OUT-2',
    known.hosts.size === 0 || looked.length === 0 || (summary[reason] ?? 0) > 0,
    `${reason} is not in ${JSON.stringify(summary)}`,
  );
  const names = new Set(needs.map((need) => need.name));
  if (names.size !== 1 || separate) return;
  const [name] = names as Set<string> & Iterable<string>;
  const lacksOnlyVf = looked.some((host) =>
    [...host.pfs.values()].some(
      (pf) => pf.names.includes(name as string) && known.obstacles(host, pf).size === 0,
    ),
  );
  if (needs.every((need) => !need.fallback))
    known.check(
      'VM-2',
      (reason === 'VF_EXHAUSTED') === lacksOnlyVf,
      `${reason}, and a host lacks only a free VF: ${lacksOnlyVf}`,
    );
  for (const miss of considered) {
    const pf = known.hosts.get(miss.hostId)?.pfs.get(miss.pf ?? '');
    if (pf !== undefined)
      known.check('VM-2', pf.names.includes(name as string), `${pf.address} does not go by ${name}`);
  }
}

/** VM-10: who fell back had no other way. */
function fallBacks(
  known: Known,
  data: Events['VmStartAccepted'],
  specs: readonly (NicSpec | MNic)[],
  looked: readonly MHost[],
  separate: boolean,
): void {
  const fallen = new Set(data.nics.filter((nic) => nic.degraded === true).map((nic) => nic.nicId));
  const needs = needsOf(known, specs);
  const host = known.hosts.get(data.hostId);
  if (fallen.size === 0 || needs === undefined || host === undefined) return;
  const all = looked.find((one) => fits(known, one, needs, separate));
  known.check('VM-10', all === undefined, `${[...fallen].join(', ')} fell back, and all fit on ${all?.id}`);
  const served = needs.filter((need) => !fallen.has(need.nicId));
  for (const need of needs)
    if (fallen.has(need.nicId))
      known.check(
        'VM-10',
        !fits(known, host, [...served, need], separate),
        `${need.nicId} fell back, and fits on ${host.id}`,
      );
}

const sorted = (counts: Readonly<Record<string, number>>): [string, number][] =>
  Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
