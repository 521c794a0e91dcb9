import { describe, expect, test } from '@jest/globals';
import type { Strategy } from './inputs.js';
import { isPlaced, matchOnHost, placeVfs, placeWithoutVfs, type Placed } from './placement.js';
import { EM1, nic, port, ports, reported, start, vfAddress } from './testing/fleet.js';
import { say, scenario, type Scenario } from './testing/scenario.js';

const needs = (...networks: readonly string[]) =>
  networks.map((network, index) => ({ nicId: `eth${index}`, network }));
const place = (
  cluster: Scenario,
  networks: readonly string[],
  options: {
    strategy?: Strategy;
    hosts?: readonly string[];
    hostId?: string;
    separatePfs?: boolean;
    numaNode?: number;
  } = {},
) => placeVfs(cluster.state, { needs: needs(...networks), strategy: 'pack', separatePfs: false, ...options });
const placed = (...args: Parameters<typeof place>): Placed => {
  const result = place(...args);
  if (!isPlaced(result)) throw new Error(`not placed: ${result.reason}`);
  return result;
};
const hostOf = (...args: Parameters<typeof place>): string => placed(...args).host.id;

describe('the choice of a host', () => {
  const three = () =>
    scenario(
      reported('h1', { pfs: ports(4) }),
      reported('h2', { pfs: ports(2) }),
      reported('h3', { pfs: ports(8) }),
    );

  test('pack takes the host with the fewest free VFs that fit, spread the one with the most', () => {
    expect(hostOf(three(), ['em1'])).toBe('h2');
    expect(hostOf(three(), ['em1', 'em1', 'em1'])).toBe('h1');
    expect(hostOf(three(), ['em1'], { strategy: 'spread' })).toBe('h3');
    expect(hostOf(three(), ['em1'], { hosts: ['h1', 'h3'] })).toBe('h1');
    expect(hostOf(three(), ['em1'], { hosts: ['h1', 'h3'], strategy: 'spread' })).toBe('h3');
    expect(hostOf(three(), ['em1'], { hostId: 'h1' })).toBe('h1');
  });

  test('says its score and how many hosts would have done', () => {
    expect(placed(three(), ['em1', 'em1', 'em1'])).toMatchObject({ score: 4, candidates: 2 });
    expect(placed(three(), ['em1'], { hostId: 'h3' })).toMatchObject({ score: 8, candidates: 1 });
    expect(placed(three(), ['em1'], { hosts: ['h1', 'h2', 'h9'] })).toMatchObject({
      score: 2,
      candidates: 2,
    });
  });

  test('a tie goes to the host that registered first', () => {
    const cluster = scenario(reported('z', { pfs: ports(2) }), reported('a', { pfs: ports(2) }));
    expect(hostOf(cluster, ['em1'])).toBe('z');
    expect(hostOf(cluster, ['em1'], { hosts: ['a', 'z'] })).toBe('z');
    expect(hostOf(cluster, ['em1'], { strategy: 'spread' })).toBe('z');
  });

  test('[EX-3 acts] two networks must be on one host', () => {
    const cluster = scenario(
      reported('h1', { pfs: ports(1, 0) }),
      reported('h2', { pfs: ports(0, 1) }),
      reported('h3', { pfs: ports(5, 5) }),
    );
    expect(hostOf(cluster, ['em1', 'em2'])).toBe('h3');
    expect(hostOf(cluster, ['em1', 'em2'], { hosts: ['h1', 'h2', 'h3'] })).toBe('h3');
    const misfit = place(cluster, ['em1', 'em2'], { hosts: ['h1', 'h2'] });
    expect(misfit).toMatchObject({ reason: 'PF_NOT_VIRTUALIZED', summary: { PF_NOT_VIRTUALIZED: 2 } });
  });

  test('the policy chooses the strategy, a request may name another', () => {
    const cluster = three().given(say('ClusterPolicyChanged', { strategy: 'spread' }), start('vm1'));
    expect(cluster.vm('vm1').hostId).toBe('h3');
    expect(cluster.events.at(-1)?.data).toMatchObject({ why: { strategy: 'spread' } });
    cluster.given(start('vm2', { strategy: 'pack' }));
    expect(cluster.vm('vm2').hostId).toBe('h2');
  });
});

describe('the choice of VFs on a host', () => {
  test('lowest index first', () => {
    expect(
      placed(scenario(reported('h1', { pfs: ports(3) })), ['em1', 'em1']).vfs.map((vf) => vf.report.index),
    ).toEqual([0, 1]);
  });

  test('the asked NUMA node is preferred, not required', () => {
    const pfs = [port('em1', 2, { numaNode: 0 }), port('em2', 2, { numaNode: 1 })];
    const cluster = scenario(reported('h1', { pfs }));
    const on = (networks: readonly string[], numaNode: number) =>
      placed(cluster, networks, { numaNode }).vfs.map((vf) => vf.report.pciAddress);
    expect(on([''], 1)).toEqual([vfAddress('em2', 0)]);
    expect(on([''], 0)).toEqual([vfAddress('em1', 0)]);
    expect(on(['em1'], 1)).toEqual([vfAddress('em1', 0)]);
  });

  test('[OUT-6 acts] separate PFs, or nothing', () => {
    const cluster = scenario(reported('h1', { pfs: ports(4, 4) }));
    const { vfs } = placed(cluster, ['', ''], { separatePfs: true });
    expect(new Set(vfs.map((vf) => vf.pf)).size).toBe(2);
    expect(place(cluster, ['', '', ''], { separatePfs: true })).toMatchObject({
      reason: 'SEPARATE_PFS_IMPOSSIBLE',
    });
  });

  test('[EX-3 acts] finds a matching if and only if there is one: all small cases', () => {
    const names = ['em1', 'em2', 'bond', ''];
    for (const [one, two] of [
      [0, 2],
      [1, 1],
      [2, 1],
      [1, 3],
    ] as const) {
      const pfs = [port('em1', one, { bond: 'bond' }), port('em2', two, { bond: 'bond' })];
      const cluster = scenario(reported('h1', { pfs }));
      for (let code = 0; code < 4 ** 3; code++) {
        const asked = [code & 3, (code >> 2) & 3, code >> 4].map((index) => names[index] as string);
        const only1 = asked.filter((name) => name === 'em1').length;
        const only2 = asked.filter((name) => name === 'em2').length;
        const fits = only1 <= one && only2 <= two && asked.length <= one + two;
        const request = { needs: needs(...asked), strategy: 'pack', separatePfs: false } as const;
        const vfs = matchOnHost(cluster.host('h1'), request);
        expect([one, two, asked, vfs !== undefined]).toEqual([one, two, asked, fits]);
        if (vfs === undefined) continue;
        expect(new Set(vfs).size).toBe(3);
        for (const [index, vf] of vfs.entries()) expect(vf.pf.networks).toContain(asked[index]);
      }
    }
  });
});

describe('no place', () => {
  test('[VM-2 acts] misses come nearest first, and are counted by reason', () => {
    const cluster = scenario(
      reported('h1', { pfs: [port('em1', 0), port('em2', 0, { totalVfs: 0, physicalNetwork: 'em1' })] }),
      reported('h2', { pfs: [port('em1', 1)] }),
      reported('h3', { pfs: [port('em1', 1)] }),
    ).given(
      say('HostCordoned', { hostId: 'h3', cordoned: true }),
      say('PfCordoned', { hostId: 'h2', pf: EM1, cordoned: true }),
    );
    for (const options of [{}, { hosts: ['h3', 'h2', 'h1'] }]) {
      const misfit = place(cluster, ['em1'], options);
      expect(misfit).toMatchObject({
        summary: { PF_CORDONED: 1, HOST_CORDONED: 1, PF_NOT_VIRTUALIZED: 1, PF_NOT_VIRTUALIZABLE: 1 },
        truncated: false,
      });
      expect('considered' in misfit && misfit.considered.map(({ reason }) => reason)).toEqual([
        'PF_CORDONED',
        'HOST_CORDONED',
        'PF_NOT_VIRTUALIZED',
        'PF_NOT_VIRTUALIZABLE',
      ]);
    }
  });

  test('[VM-2 acts] a host with some free VFs, but too few, is the nearest miss', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }), reported('h2', { pfs: ports(1) }));
    for (const options of [{}, { hosts: ['h1', 'h2'] }]) {
      expect(place(cluster, ['em1', 'em1'], options)).toMatchObject({
        reason: 'VF_EXHAUSTED',
        summary: { VF_EXHAUSTED: 2 },
        considered: [
          { hostId: 'h1', pf: EM1, reason: 'VF_EXHAUSTED', total: 1, free: 1 },
          { hostId: 'h2', pf: EM1, reason: 'VF_EXHAUSTED', total: 1, free: 1 },
        ],
      });
    }
  });

  test('[VM-2 acts] a network of no PF', () => {
    const cluster = scenario(reported('h1'), reported('h2'));
    expect(place(cluster, ['nowhere'])).toMatchObject({ reason: 'PF_UNKNOWN', summary: { PF_UNKNOWN: 2 } });
    expect(place(cluster, ['nowhere'], { hosts: ['h1', 'h2'] })).toMatchObject({
      reason: 'PF_UNKNOWN',
      summary: { PF_UNKNOWN: 2 },
      considered: [
        { hostId: 'h1', reason: 'PF_UNKNOWN' },
        { hostId: 'h2', reason: 'PF_UNKNOWN' },
      ],
    });
    cluster
      .when(start('vm1', { nics: [nic('eth0', { physicalNetwork: 'nowhere' })] }))
      .thenRefused('PF_UNKNOWN');
  });
});

describe('[VM-1 acts] without VFs', () => {
  test('VMs are spread over the open hosts by their names, always the same', () => {
    const cluster = scenario(...Array.from({ length: 10 }, (_, i) => reported(`h${i}`)));
    const hosts = Array.from({ length: 200 }, (_, i) => {
      cluster.given(start(`vm${i}`, { nics: [] }));
      return cluster.vm(`vm${i}`).hostId;
    });
    expect(new Set(hosts).size).toBe(10);
    const seed = 12345;
    expect(placeWithoutVfs(cluster.state, { seed })).toEqual(placeWithoutVfs(cluster.state, { seed }));
  });

  test('no host at all', () => {
    scenario()
      .when(start('vm1', { nics: [] }))
      .thenRefused('HOST_UNKNOWN');
  });
});
