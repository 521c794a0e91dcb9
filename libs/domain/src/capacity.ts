import { OrdinalSet } from './ordinal-set.js';
import { OBSTACLES_BY_NEARNESS, type Obstacle } from './refusal-codes.js';
import { pfObstacle } from './standing.js';
import type { Host, Pf } from './state.js';

/** PFs and hosts, counted by why they cannot serve, as members of sets by ordinal. */
type ByObstacle = Map<Obstacle, OrdinalSet>;

/** What is on offer under one network name. */
export class NetworkCapacity {
  /** Hosts by the number of free VFs they offer here; index 0 is not used. */
  private readonly hostsByFree: (OrdinalSet | undefined)[] = [];
  /** Numbers of free VFs for which there is a host. */
  private readonly counts = new OrdinalSet();
  readonly pfsByObstacle: ByObstacle = new Map();
  readonly hostsByObstacle: ByObstacle = new Map();
  /** PFs that can serve. */
  readonly servingPfs = new OrdinalSet();
  /** Number of PFs of this name, serving or not. */
  pfs = 0;

  /**
   * Host ordinals with at least `needed` free VFs, fewest free first (`pack`) or most free first (`spread`).
   */
  *candidates(needed: number, strategy: 'pack' | 'spread'): Generator<number> {
    if (strategy === 'pack') {
      for (let free = this.counts.next(needed); free !== -1; free = this.counts.next(free + 1)) {
        yield* this.hostsByFree[free] as OrdinalSet;
      }
      return;
    }
    for (let free = this.hostsByFree.length - 1; free >= needed; free--) {
      const hosts = this.hostsByFree[free];
      if (hosts !== undefined && hosts.size > 0) yield* hosts;
    }
  }

  /** Number of hosts with at least `needed` free VFs. */
  countCandidates(needed: number): number {
    let hosts = 0;
    for (let free = this.counts.next(needed); free !== -1; free = this.counts.next(free + 1)) {
      hosts += (this.hostsByFree[free] as OrdinalSet).size;
    }
    return hosts;
  }

  moveHost(host: Host, from: number, to: number): void {
    if (from > 0) {
      const hosts = this.hostsByFree[from] as OrdinalSet;
      hosts.delete(host.ordinal);
      if (hosts.size === 0) this.counts.delete(from);
    }
    if (to > 0) {
      let hosts = this.hostsByFree[to];
      if (hosts === undefined) {
        hosts = new OrdinalSet();
        this.hostsByFree[to] = hosts;
      }
      hosts.add(host.ordinal);
      this.counts.add(to);
    }
  }
}

const member = (sets: ByObstacle, obstacle: Obstacle): OrdinalSet => {
  let set = sets.get(obstacle);
  if (set === undefined) {
    set = new OrdinalSet();
    sets.set(obstacle, set);
  }
  return set;
};

/**
 * The index that makes a decision's cost independent of the size of the fleet: for each network name, the
 * hosts by number of free VFs, and the PFs that cannot serve by reason. It is derived from the state and kept
 * up to date by evolve, one PF at a time, through {@link refresh}.
 */
export class Capacity {
  private readonly networks = new Map<string, NetworkCapacity>();

  /** What is on offer under a name, or undefined when no PF goes by it. */
  on(network: string): NetworkCapacity | undefined {
    const capacity = this.networks.get(network);
    return capacity === undefined || capacity.pfs === 0 ? undefined : capacity;
  }

  /** Counts a PF as it is now. Call it after any change to the PF, its VFs or its host. */
  refresh(pf: Pf): void {
    const obstacle = pfObstacle(pf);
    const offered = obstacle === undefined ? pf.free.size : 0;
    const standing = obstacle ?? (offered === 0 ? 'VF_EXHAUSTED' : undefined);
    const before = pf.indexed;
    if (before !== undefined && before.standing === standing && before.networks === pf.networks) {
      if (before.offered !== offered) {
        for (const network of pf.networks) this.offer(pf.host, network, offered - before.offered);
        before.offered = offered;
      }
      return;
    }
    if (before !== undefined) this.remove(pf);
    pf.indexed = { networks: pf.networks, standing, offered };
    for (const name of pf.networks) {
      const network = this.network(name);
      network.pfs++;
      if (standing === undefined) network.servingPfs.add(pf.ordinal);
      else member(network.pfsByObstacle, standing).add(pf.ordinal);
      this.offer(pf.host, name, offered);
      this.refreshHost(pf.host, name);
    }
  }

  /** Forgets a PF, because it is removed. */
  remove(pf: Pf): void {
    const { indexed } = pf;
    if (indexed === undefined) return;
    pf.indexed = undefined;
    for (const name of indexed.networks) {
      const network = this.network(name);
      network.pfs--;
      if (indexed.standing === undefined) network.servingPfs.delete(pf.ordinal);
      else member(network.pfsByObstacle, indexed.standing).delete(pf.ordinal);
      this.offer(pf.host, name, -indexed.offered);
      this.refreshHost(pf.host, name);
    }
  }

  private network(name: string): NetworkCapacity {
    let network = this.networks.get(name);
    if (network === undefined) {
      network = new NetworkCapacity();
      this.networks.set(name, network);
    }
    return network;
  }

  private offer(host: Host, name: string, difference: number): void {
    if (difference === 0) return;
    const before = host.offered.get(name) ?? 0;
    const after = before + difference;
    host.offered.set(name, after);
    this.network(name).moveHost(host, before, after);
  }

  /** A host's reason under a name is that of its nearest PF. */
  private refreshHost(host: Host, name: string): void {
    let nearest: Obstacle | undefined;
    let serving = false;
    let rank = OBSTACLES_BY_NEARNESS.length;
    for (const pf of host.pfs.values()) {
      const { indexed } = pf;
      if (indexed === undefined || !indexed.networks.includes(name)) continue;
      if (indexed.standing === undefined) {
        serving = true;
        break;
      }
      const place = OBSTACLES_BY_NEARNESS.indexOf(indexed.standing);
      if (place < rank) {
        rank = place;
        nearest = indexed.standing;
      }
    }
    const sets = this.network(name).hostsByObstacle;
    for (const [obstacle, hosts] of sets) {
      if (serving || obstacle !== nearest) hosts.delete(host.ordinal);
    }
    if (!serving && nearest !== undefined) member(sets, nearest).add(host.ordinal);
  }
}
