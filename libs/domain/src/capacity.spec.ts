import { describe, expect, test } from '@jest/globals';
import type { Obstacle } from './refusal-codes.js';
import { ANY_NETWORK, pfObstacle } from './standing.js';
import { EM1, networks, nic, port, ports, reported, start, stopped } from './testing/fleet.js';
import { say, scenario, type Scenario } from './testing/scenario.js';

/** What the index says of a network, and what a count over the whole fleet says. */
function counted(cluster: Scenario, network: string) {
  const offered = new Map<string, number>();
  const standings = new Map<Obstacle | 'serving', number>();
  let pfs = 0;
  for (const host of cluster.state.hosts.values()) {
    let free = 0;
    for (const pf of host.pfs.values()) {
      if (!pf.networks.includes(network)) continue;
      pfs++;
      const obstacle = pfObstacle(pf);
      const offers = obstacle === undefined ? pf.free.size : 0;
      free += offers;
      const standing = obstacle ?? (offers === 0 ? 'VF_EXHAUSTED' : 'serving');
      standings.set(standing, (standings.get(standing) ?? 0) + 1);
    }
    if (free > 0) offered.set(host.id, free);
  }
  return { offered, standings, pfs };
}

function check(cluster: Scenario): void {
  for (const network of [ANY_NETWORK, 'em1', 'em2', 'em3', 'b0']) {
    const { offered, standings, pfs } = counted(cluster, network);
    const index = cluster.state.capacity.on(network);
    expect(index?.pfs ?? 0).toBe(pfs);
    if (index === undefined) continue;
    expect(index.servingPfs.size).toBe(standings.get('serving') ?? 0);
    for (const [obstacle, members] of index.pfsByObstacle)
      expect([network, obstacle, members.size]).toEqual([network, obstacle, standings.get(obstacle) ?? 0]);
    for (const needed of [1, 2, 3, 5, 9]) {
      const fitting = [...offered].filter(([, free]) => free >= needed);
      expect(index.countCandidates(needed)).toBe(fitting.length);
      const ids = (strategy: 'pack' | 'spread') =>
        [...index.candidates(needed, strategy)].map(
          (ordinal) => cluster.state.hostByOrdinal[ordinal]?.id ?? '',
        );
      expect([...ids('pack')].sort()).toEqual(fitting.map(([id]) => id).sort());
      const frees = (strategy: 'pack' | 'spread') => ids(strategy).map((id) => offered.get(id) ?? 0);
      expect(frees('pack')).toEqual([...frees('pack')].sort((a, b) => a - b));
      expect(frees('spread')).toEqual([...frees('spread')].sort((a, b) => b - a));
    }
    for (const host of cluster.state.hosts.values())
      expect(host.offered.get(network) ?? 0).toBe(offered.get(host.id) ?? 0);
  }
}

describe('the index', () => {
  test('is what a count over the fleet is, after every kind of change', () => {
    const cluster = scenario(...networks());
    const pf = { hostId: 'h1', pf: EM1 };
    for (const said of [
      reported('h1', { pfs: ports(3, 2) }),
      reported('h2', { pfs: [port('em1', 5, { bond: 'b0' }), port('em2', 1, { bond: 'b0' })], scrubs: true }),
      reported('h3', { iommu: { enabled: true, ready: false }, pfs: ports(4) }),
      start('vm1', { hostId: 'h1' }),
      start('vm2', { nics: [nic('a', { physicalNetwork: 'b0' }), nic('b', { physicalNetwork: 'b0' })] }),
      start('vm3', { hostId: 'h1', nics: [{ nicId: 'a' }, { nicId: 'b' }] }),
      stopped('vm2'),
      say('HostCordoned', { hostId: 'h1', cordoned: true }),
      say('HostCordoned', { hostId: 'h1', cordoned: false }),
      say('PfCordoned', { ...pf, cordoned: true }),
      say('PfCordoned', { ...pf, cordoned: false }),
      say('PfLinkChanged', { ...pf, link: 'down' }),
      say('PfLinkChanged', { ...pf, link: 'up' }),
      reported('h3', { seq: 2, pfs: ports(4) }),
      reported('h3', { seq: 3, pfs: [port('em1', 2, { physicalNetwork: 'em3' })] }),
      say('PfRestoreRequested', pf),
      say('PfRestored', pf),
      say('PfVirtualizeRequested', { ...pf, numVfs: 2 }),
      say('PfVirtualized', { ...pf, vfs: port('em1', 2).vfs }),
      say('PfDriverLost', pf),
      reported('h1', { seq: 2, pfs: ports(2, 2) }),
      say('Tick', {}),
      say('Tick', {}, { after: 200 }),
      reported('h1', { seq: 3, pfs: ports(2, 2) }),
      say('HostFenced', { hostId: 'h2' }),
      say('HostRemovalRequested', { hostId: 'h2' }),
      reported('h2', { pfs: ports(1) }),
      reported('h1', { bootId: 'boot-2', pfs: ports(0, 2) }),
    ]) {
      cluster.given(said);
      check(cluster);
    }
  });

  test('a start over many hosts looks at one', () => {
    const cluster = scenario();
    for (let i = 0; i < 50; i++) cluster.given(reported(`h${i}`, { pfs: [port('em1', 2)] }));
    const index = cluster.state.capacity.on('em1');
    const [first] = index?.candidates(2, 'pack') ?? [];
    expect(first).toBe(0);
    expect(index?.countCandidates(2)).toBe(50);
  });
});
