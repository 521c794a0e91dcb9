import type { NearMiss, VmStartFailed } from './events.js';
import type { Strategy } from './inputs.js';
import type { NetworkCapacity } from './capacity.js';
import { OrdinalSet } from './ordinal-set.js';
import { OBSTACLES_BY_NEARNESS, type Obstacle, type RefusalCode } from './refusal-codes.js';
import { ANY_NETWORK, hostObstacle, isHostReady } from './standing.js';
import type { Host, Pf, State, Vf } from './state.js';

/** What a VF NIC needs of a host. */
export interface Need {
  readonly nicId: string;
  /** The network name its PF must go by; '' for any PF. */
  readonly network: string;
  /**
   * The VF it had on its last host, by address: preferred where nothing else speaks against it, never held
   * for it.
   */
  readonly last?: { readonly hostId: string; readonly vf: string };
}

export interface PlacementRequest {
  readonly needs: readonly Need[];
  readonly hostId?: string;
  readonly hosts?: readonly string[];
  readonly strategy: Strategy;
  readonly separatePfs: boolean;
  readonly numaNode?: number;
  /** Whether the host of last time comes before those that the strategy prefers. */
  readonly returns?: boolean;
}

export interface Placed {
  readonly host: Host;
  /** A VF for each need, in the order of the needs. */
  readonly vfs: readonly Vf[];
  readonly score: number;
  readonly candidates: number;
}

/** Why nothing fits: the code, and the facts behind it (VM-2). */
export interface Misfit {
  readonly reason: RefusalCode;
  readonly summary: VmStartFailed['summary'];
  readonly considered: readonly NearMiss[];
  readonly truncated: boolean;
}

export const isPlaced = (result: Placed | Misfit): result is Placed => 'vfs' in result;

const MAX_CONSIDERED = 32;

/** Number of VFs needed under each network name. */
function countNeeds(needs: readonly Need[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { network } of needs) counts.set(network, (counts.get(network) ?? 0) + 1);
  return counts;
}

/**
 * Whether the host offers enough under each name and in total; cheap, and necessary though not sufficient.
 */
function offersEnough(host: Host, counts: ReadonlyMap<string, number>, total: number): boolean {
  if ((host.offered.get(ANY_NETWORK) ?? 0) < total) return false;
  for (const [network, needed] of counts) if ((host.offered.get(network) ?? 0) < needed) return false;
  return true;
}

/**
 * Finds a host and a VF for each need, all or none (EX-3).
 *
 * The needs are not empty. Hosts are looked at in the order of the strategy, ties in order of registration;
 * the first on which all needs fit is taken. A VM that `returns` has its last host looked at before: its disk
 * and its caches may be there.
 */
export function placeVfs(state: State, request: PlacementRequest): Placed | Misfit {
  const { needs, strategy } = request;
  const counts = countNeeds(needs);
  if (request.hostId !== undefined) return placeOn(state, request.hostId, request, counts);
  if (request.hosts !== undefined) return placeAmong(state, request.hosts, request, counts);

  const scarcest = scarcestNetwork(state, counts);
  if (scarcest === undefined) return fleetMisfit(state, counts, request);
  const needed = scarcest.network === ANY_NETWORK ? needs.length : (counts.get(scarcest.network) as number);
  const tryOn = (host: Host): Placed | undefined => {
    const vfs = offersEnough(host, counts, needs.length) ? matchOnHost(host, request) : undefined;
    if (vfs === undefined) return undefined;
    const score = host.offered.get(scarcest.network) as number;
    return { host, vfs, score, candidates: scarcest.capacity.countCandidates(needed) };
  };
  const last = lastHost(state, request);
  const back = last === undefined ? undefined : tryOn(last);
  if (back !== undefined) return back;
  for (const ordinal of scarcest.capacity.candidates(needed, strategy)) {
    const host = state.hostByOrdinal[ordinal] as Host;
    const placed = host === last ? undefined : tryOn(host);
    if (placed !== undefined) return placed;
  }
  return fleetMisfit(state, counts, request);
}

/** The host on which the first of the NICs had its last VF, where the VM is to return there. */
function lastHost(state: State, { needs, returns }: PlacementRequest): Host | undefined {
  if (returns !== true) return undefined;
  return state.hosts.get(needs.find(({ last }) => last !== undefined)?.last?.hostId ?? '');
}

/** The asked network with the fewest hosts that offer enough: the shortest list to walk. */
function scarcestNetwork(
  state: State,
  counts: ReadonlyMap<string, number>,
): { network: string; capacity: NetworkCapacity } | undefined {
  let best: { network: string; capacity: NetworkCapacity } | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const [network, needed] of counts) {
    const capacity = state.capacity.on(network);
    if (capacity === undefined) return undefined;
    // One network is the rule: then there is nothing to compare.
    const hosts = counts.size === 1 ? 1 : capacity.countCandidates(needed);
    if (hosts < fewest) {
      fewest = hosts;
      best = { network, capacity };
    }
  }
  return best;
}

function placeOn(
  state: State,
  hostId: string,
  request: PlacementRequest,
  counts: ReadonlyMap<string, number>,
): Placed | Misfit {
  const host = state.hosts.get(hostId);
  if (host === undefined) return hostMisfit(hostId, 'HOST_UNKNOWN');
  const obstacle = hostObstacle(host);
  if (obstacle !== undefined) return hostMisfit(hostId, obstacle);
  if (!isHostReady(host)) return hostMisfit(hostId, 'HOST_NOT_READY');
  if (offersEnough(host, counts, request.needs.length)) {
    const vfs = matchOnHost(host, request);
    if (vfs !== undefined) return { host, vfs, score: scoreOf(host, counts), candidates: 1 };
  }
  return misfitOf([host], counts, request);
}

const scoreOf = (host: Host, counts: ReadonlyMap<string, number>): number => {
  let score = Number.POSITIVE_INFINITY;
  for (const network of counts.keys()) score = Math.min(score, host.offered.get(network) ?? 0);
  return score;
};

function placeAmong(
  state: State,
  hostIds: readonly string[],
  request: PlacementRequest,
  counts: ReadonlyMap<string, number>,
): Placed | Misfit {
  const known = new Set<Host>();
  const unknown: string[] = [];
  for (const hostId of new Set(hostIds)) {
    const host = state.hosts.get(hostId);
    if (host === undefined) unknown.push(hostId);
    else known.add(host);
  }
  const fitting = [...known].filter((host) => offersEnough(host, counts, request.needs.length));
  const direction = request.strategy === 'pack' ? 1 : -1;
  const last = lastHost(state, request);
  fitting.sort(
    (a, b) =>
      Number(b === last) - Number(a === last) ||
      direction * (scoreOf(a, counts) - scoreOf(b, counts)) ||
      a.ordinal - b.ordinal,
  );
  for (const host of fitting) {
    const vfs = matchOnHost(host, request);
    if (vfs !== undefined) return { host, vfs, score: scoreOf(host, counts), candidates: fitting.length };
  }
  return misfitOf([...known], counts, request, unknown);
}

/**
 * Gives each need a VF of the host, or undefined when they do not fit together. A matching of needs to PFs
 * with room: greedy, each need first to the PF it had, then in the preferred order, with augmenting paths
 * where an earlier choice is in the way, so that it finds one if there is one.
 */
export function matchOnHost(
  host: Host,
  request: Pick<PlacementRequest, 'needs' | 'strategy' | 'separatePfs' | 'numaNode'>,
): readonly Vf[] | undefined {
  const { needs, separatePfs } = request;
  const pfs = servingPfs(host, request);
  if (separatePfs && pfs.length < needs.length) return undefined;
  const room = pfs.map((pf) => (separatePfs ? 1 : pf.free.size));
  /** Needs on each PF. */
  const takers: number[][] = pfs.map(() => []);
  const own = needs.map((need) => pfs.indexOf(lastPf(host, need) as Pf));

  const assign = (need: number, seen: Set<number>): boolean => {
    const { network } = needs[need] as Need;
    const take = (index: number): boolean => {
      // A PF that is seen already is being cleared for another need: its room is spoken for.
      if (seen.has(index) || !(pfs[index] as Pf).networks.includes(network)) return false;
      if ((room[index] as number) <= (takers[index] as number[]).length) return false;
      (takers[index] as number[]).push(need);
      return true;
    };
    const had = own[need] as number;
    if (had !== -1 && distance(pfs[had] as Pf, request) === 0 && take(had)) return true;
    for (const index of pfs.keys()) if (take(index)) return true;
    for (const [index, pf] of pfs.entries()) {
      if (seen.has(index) || !pf.networks.includes(network)) continue;
      seen.add(index);
      const there = takers[index] as number[];
      for (const [place, other] of there.entries()) {
        there.splice(place, 1);
        if (assign(other, seen)) {
          there.push(need);
          return true;
        }
        there.splice(place, 0, other);
      }
    }
    return false;
  };

  // Needs that name a network first: they have fewer PFs to go to.
  const order = needs
    .map((_, index) => index)
    .sort((a, b) => Number(isAny(needs[a])) - Number(isAny(needs[b])) || a - b);
  for (const need of order) if (!assign(need, new Set())) return undefined;

  const vfs: (Vf | undefined)[] = needs.map(() => undefined);
  for (const [index, pf] of pfs.entries())
    takeVfs(
      pf,
      (takers[index] as number[]).sort((a, b) => a - b),
      needs,
      vfs,
    );
  return vfs as Vf[];
}

/** The PF on the host that a NIC had its last VF of. */
function lastPf(host: Host, { last }: Need): Pf | undefined {
  return last?.hostId === host.id ? host.vfs.get(last.vf)?.pf : undefined;
}

/** How far a PF is from the NUMA node that was asked for: one that has none is nearer than one on another. */
const distance = ({ report }: Pf, { numaNode }: Pick<PlacementRequest, 'numaNode'>): number =>
  numaNode === undefined || report.numaNode === numaNode ? 0 : report.numaNode === undefined ? 1 : 2;

const isAny = (need: Need | undefined): boolean => need?.network === ANY_NETWORK;

/** The VF that a NIC had, if it is free, else the free VF with the lowest index. */
function takeVfs(pf: Pf, takers: readonly number[], needs: readonly Need[], vfs: (Vf | undefined)[]): void {
  if (takers.length === 0) return;
  const taken = new Set<number>();
  const waiting: number[] = [];
  for (const need of takers) {
    const { last } = needs[need] as Need;
    const vf = last?.hostId === pf.host.id ? pf.host.vfs.get(last.vf) : undefined;
    if (vf !== undefined && vf.pf === pf && pf.free.has(vf.slot) && !taken.has(vf.slot)) {
      taken.add(vf.slot);
      vfs[need] = vf;
    } else {
      waiting.push(need);
    }
  }
  let slot = pf.free.next();
  for (const need of waiting) {
    while (taken.has(slot)) slot = pf.free.next(slot + 1);
    vfs[need] = pf.vfs[slot] as Vf;
    slot = pf.free.next(slot + 1);
  }
}

/** The host's PFs that can serve, the preferred ones first: by NUMA node, strategy, address. */
function servingPfs(host: Host, request: Pick<PlacementRequest, 'strategy' | 'numaNode'>): Pf[] {
  const pfs: Pf[] = [];
  for (const pf of host.pfs.values()) if (pf.indexed?.offered) pfs.push(pf);
  if (pfs.length < 2) return pfs;
  const direction = request.strategy === 'pack' ? 1 : -1;
  // The map is in order of address, and the sort is stable.
  return pfs.sort(
    (a, b) => distance(a, request) - distance(b, request) || direction * (a.free.size - b.free.size),
  );
}

const hostMisfit = (hostId: string, reason: RefusalCode): Misfit => ({
  reason,
  summary: { [reason]: 1 },
  considered: [{ hostId, reason }],
  truncated: false,
});

const nearMiss = (pf: Pf, reason: Obstacle): NearMiss => ({
  hostId: pf.host.id,
  pf: pf.address,
  reason,
  total: pf.vfs.length,
  free: pf.indexed?.offered ?? 0,
});

/**
 * The names that keep the needs from fitting: those with too little on offer, or all when it is their
 * combination.
 */
const shortNames = (
  counts: ReadonlyMap<string, number>,
  offered: (network: string) => number,
): readonly string[] => {
  const short = [...counts]
    .filter(([network, needed]) => offered(network) < needed)
    .map(([network]) => network);
  return short.length > 0 ? short : [...counts.keys()];
};

/**
 * Why the given hosts do not serve: their PFs, each with its reason. The lists are those of the request, so
 * they are short.
 */
function misfitOf(
  hosts: readonly Host[],
  counts: ReadonlyMap<string, number>,
  request: PlacementRequest,
  unknown: readonly string[] = [],
): Misfit {
  if (
    request.separatePfs &&
    hosts.some((host) => matchOnHost(host, { ...request, separatePfs: false }) !== undefined)
  ) {
    return separateMisfit(hosts.flatMap((host) => [...host.pfs.values()]));
  }
  const tally = new Map<RefusalCode, number>();
  const reasons = new Map<RefusalCode, number>();
  const count = (counter: Map<RefusalCode, number>, code: RefusalCode): void => {
    counter.set(code, (counter.get(code) ?? 0) + 1);
  };
  const misses: NearMiss[] = [];
  for (const host of hosts) {
    const names = shortNames(counts, (network) => host.offered.get(network) ?? 0);
    const pfs = [...host.pfs.values()].filter((pf) => pf.networks.some((name) => names.includes(name)));
    const found = pfs.map((pf) => nearMiss(pf, pf.indexed?.standing ?? 'VF_EXHAUSTED'));
    if (found.length === 0) found.push({ hostId: host.id, reason: hostObstacle(host) ?? 'PF_UNKNOWN' });
    for (const { reason } of found) count(tally, reason);
    misses.push(...found);
    count(
      reasons,
      found.map(({ reason }) => reason).reduce((a, b) => (rankOf(a) <= rankOf(b) ? a : b)),
    );
  }
  for (const hostId of unknown) {
    count(tally, 'HOST_UNKNOWN');
    count(reasons, 'HOST_UNKNOWN');
    misses.push({ hostId, reason: 'HOST_UNKNOWN' });
  }
  misses.sort((a, b) => rankOf(a.reason) - rankOf(b.reason) || (b.free ?? 0) - (a.free ?? 0));
  return {
    reason: reasonOf(reasons),
    summary: Object.fromEntries([...tally].sort(([a], [b]) => rankOf(a) - rankOf(b))),
    considered: misses.slice(0, MAX_CONSIDERED),
    truncated: misses.length > MAX_CONSIDERED,
  };
}

/** Why the fleet does not serve, from the index alone: counted, not enumerated. */
function fleetMisfit(state: State, counts: ReadonlyMap<string, number>, request: PlacementRequest): Misfit {
  if (request.separatePfs) {
    const together = placeVfs(state, { ...request, separatePfs: false });
    if (isPlaced(together)) return separateMisfit([...together.host.pfs.values()]);
  }
  const short = shortNames(counts, (network) => {
    const capacity = state.capacity.on(network);
    const needed = counts.get(network) as number;
    return capacity !== undefined && capacity.countCandidates(needed) > 0 ? needed : 0;
  });
  // Every PF goes by the name for any, too: each is counted once.
  const names = short.includes(ANY_NETWORK) ? [ANY_NETWORK] : short;
  const summary: Partial<Record<RefusalCode, number>> = {};
  const reasons = new Map<RefusalCode, number>();
  const considered: NearMiss[] = [];
  let looked = 0;
  const counted = new OrdinalSet();
  const add = (all: OrdinalSet, reason: Obstacle): void => {
    const ordinals = capacities.length === 1 ? all : notYet(all, counted);
    if (ordinals.size === 0) return;
    summary[reason] = (summary[reason] ?? 0) + ordinals.size;
    looked += ordinals.size;
    if (considered.length === MAX_CONSIDERED) return;
    for (const ordinal of ordinals) {
      considered.push(nearMiss(state.pfByOrdinal[ordinal] as Pf, reason));
      if (considered.length === MAX_CONSIDERED) return;
    }
  };
  const capacities = names.flatMap((name) => state.capacity.on(name) ?? []);
  for (const capacity of capacities)
    if (capacity.servingPfs.size > 0) add(capacity.servingPfs, 'VF_EXHAUSTED');
  for (const obstacle of OBSTACLES_BY_NEARNESS) {
    for (const capacity of capacities) {
      const stopped = capacity.pfsByObstacle.get(obstacle);
      if (stopped !== undefined && stopped.size > 0) add(stopped, obstacle);
      const hosts = capacity.hostsByObstacle.get(obstacle)?.size ?? 0;
      if (hosts > 0) reasons.set(obstacle, (reasons.get(obstacle) ?? 0) + hosts);
    }
  }
  if (summary.VF_EXHAUSTED !== undefined) reasons.set('VF_EXHAUSTED', summary.VF_EXHAUSTED);
  if (capacities.length < names.length) {
    // No PF of any host goes by the name: the hosts are what was looked at.
    if (state.hosts.size > 0) {
      summary.PF_UNKNOWN = state.hosts.size;
      reasons.set('PF_UNKNOWN', state.hosts.size);
      looked += state.hosts.size;
    }
    for (const hostId of state.hosts.keys()) {
      if (considered.length === MAX_CONSIDERED) break;
      considered.push({ hostId, reason: 'PF_UNKNOWN' });
    }
  }
  return { reason: reasonOf(reasons), summary, considered, truncated: looked > considered.length };
}

/** The members that were not counted before: a PF of several of the names counts once. */
function notYet(ordinals: OrdinalSet, counted: OrdinalSet): OrdinalSet {
  const fresh = new OrdinalSet();
  for (const ordinal of ordinals) {
    if (counted.has(ordinal)) continue;
    counted.add(ordinal);
    fresh.add(ordinal);
  }
  return fresh;
}

function separateMisfit(pfs: readonly Pf[]): Misfit {
  const serving = pfs.filter((pf) => pf.indexed?.offered);
  return {
    reason: 'SEPARATE_PFS_IMPOSSIBLE',
    summary: { SEPARATE_PFS_IMPOSSIBLE: serving.length },
    considered: serving.slice(0, MAX_CONSIDERED).map((pf) => ({
      hostId: pf.host.id,
      pf: pf.address,
      reason: 'SEPARATE_PFS_IMPOSSIBLE' as const,
      total: pf.vfs.length,
      free: pf.free.size,
    })),
    truncated: serving.length > MAX_CONSIDERED,
  };
}

const RANKS = new Map<RefusalCode, number>(OBSTACLES_BY_NEARNESS.map((code, rank) => [code, rank]));
const rankOf = (code: RefusalCode): number => RANKS.get(code) ?? OBSTACLES_BY_NEARNESS.length;

/**
 * `VF_EXHAUSTED` if any host lacked only a free VF, else the most frequent reason, the nearest one among
 * equals.
 */
function reasonOf(reasons: ReadonlyMap<RefusalCode, number>): RefusalCode {
  if (reasons.has('VF_EXHAUSTED')) return 'VF_EXHAUSTED';
  // No reason at all: there is no host to look at.
  let best: RefusalCode = 'HOST_UNKNOWN';
  let most = 0;
  for (const [code, hosts] of reasons) {
    if (hosts > most || (hosts === most && rankOf(code) < rankOf(best))) {
      best = code;
      most = hosts;
    }
  }
  return best;
}

/** A host for a VM without VF NICs: any that takes VMs, spread over the fleet by a hash of the VM (VM-1). */
export function placeWithoutVfs(
  state: State,
  request: { readonly hostId?: string; readonly hosts?: readonly string[]; readonly seed: number },
): { readonly host: Host; readonly candidates: number } | Misfit {
  const named = request.hostId === undefined ? request.hosts : [request.hostId];
  if (named !== undefined) {
    const hosts = [...new Set(named)].flatMap((hostId) => state.hosts.get(hostId) ?? []);
    const open = hosts.filter((host) => hostObstacle(host) === undefined);
    const host = open[request.seed % Math.max(open.length, 1)];
    if (host !== undefined) return { host, candidates: open.length };
    const misses = [...new Set(named)].map((hostId): NearMiss => {
      const known = state.hosts.get(hostId);
      return { hostId, reason: known === undefined ? 'HOST_UNKNOWN' : (hostObstacle(known) as RefusalCode) };
    });
    return tallyHosts(misses);
  }
  const host = state.openHosts.pick(request.seed, state.hostByOrdinal.length);
  if (host !== -1) return { host: state.hostByOrdinal[host] as Host, candidates: state.openHosts.size };
  // Every host is closed; they are all alike to this VM, so a few stand for them.
  const misses: NearMiss[] = [];
  for (const known of state.hosts.values())
    misses.push({ hostId: known.id, reason: hostObstacle(known) as RefusalCode });
  return misses.length === 0
    ? { reason: 'HOST_UNKNOWN', summary: {}, considered: [], truncated: false }
    : tallyHosts(misses);
}

function tallyHosts(misses: readonly NearMiss[]): Misfit {
  const tally = new Map<RefusalCode, number>();
  for (const { reason } of misses) tally.set(reason, (tally.get(reason) ?? 0) + 1);
  return {
    reason: reasonOf(tally),
    summary: Object.fromEntries(tally),
    considered: misses.slice(0, MAX_CONSIDERED),
    truncated: misses.length > MAX_CONSIDERED,
  };
}
