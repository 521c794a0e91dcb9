import { describe, expect, test } from '@jest/globals';
import { evolve } from './evolve.js';
import { dumpState, restoreState } from './snapshot.js';
import { emptyState } from './state.js';
import { EM1, networks, nic, ports, reported, start, started, stopped, vf, vfs } from './testing/fleet.js';
import { say, scenario } from './testing/scenario.js';

/** A cluster in which every kind of thing is there. */
const rich = () =>
  scenario(
    ...networks(),
    reported('h1', { scrubs: true, bootedAt: '2025-12-31T00:00:00Z', pfs: ports(4) }),
    reported('h2', { pfs: ports(vfs('em1', 3, { 2: { usedByVmId: 'x' } }), 2) }),
    reported('h3'),
  ).given(
    start('vm1', {
      hostId: 'h1',
      tenant: 't1',
      generation: 2,
      nics: [{ nicId: 'eth0', networkId: 'net1', guestSlot: 4 }, nic('eth1')],
    }),
    started('vm1', { bootId: 'boot-1' }),
    start('vm2', { hostId: 'h1' }),
    stopped('vm2'),
    start('vm3', { hostId: 'h2', tenant: 't1' }),
    start('vm4', { hostId: 'h2', nics: [nic('a'), nic('b', { onExhaustion: 'fallback' })] }),
    start('vm5', { generation: 7, nics: [nic('eth0', { physicalNetwork: 'nowhere' })] }),
    say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }),
    reported('h2', { seq: 2, pfs: ports([vf('em1', 1)], 2) }),
    say('PfDriverLost', { hostId: 'h2', pf: EM1 }),
    say('PfVirtualizeRequested', { hostId: 'h3', pf: EM1, numVfs: 5 }),
    say('HostCordoned', { hostId: 'h3', cordoned: true }),
    say('ClusterPolicyChanged', { quotas: { t1: 9 } }),
    say('HostRemovalRequested', { hostId: 'h3' }),
    reported('h3'),
    reported('h4', { scrubs: true, pfs: ports([vf('em1', 0, { mac: '0a:00:00:00:00:01' }), vf('em1', 1)]) }),
    start('vm6', { hostId: 'h4' }),
    say('HostFenced', { hostId: 'h4' }),
    reported('h5'),
    say('HostFenced', { hostId: 'h5' }),
    say('HostRemovalRequested', { hostId: 'h5' }),
  );

describe('a snapshot', () => {
  test('is what replay gives, and both go on alike', () => {
    const cluster = rich();
    const replayed = emptyState('default', { rememberedInputs: 1000 });
    for (const event of cluster.log) evolve(replayed, event);
    expect(JSON.parse(dumpState(replayed))).toEqual(JSON.parse(dumpState(cluster.state)));
    const restored = restoreState(dumpState(cluster.state));
    expect(JSON.parse(dumpState(restored))).toEqual(JSON.parse(dumpState(cluster.state)));
    // Every later decision is compared with that of a restored state by the scenario itself.
    cluster.given(
      say('Tick', {}),
      say('Tick', {}, { after: 100 }),
      say('Tick', {}, { after: 300 }),
      reported('h1', { seq: 9, scrubs: true, pfs: ports(4) }),
      say('HostFenced', { hostId: 'h1' }),
      reported('h5', { seq: 2, pfs: ports(1) }),
      reported('h4', { seq: 2, scrubs: true, pfs: ports([vf('em1', 0, { mac: '0a:00:00:00:00:01' })]) }),
      start('vm6', { tenant: 't1' }),
      stopped('vm3'),
      stopped('vm4'),
      say('VmStartRequested', { vmId: 'vm1' }),
      reported('h2', { seq: 9, pfs: ports(3, 2) }),
      say('VmStartRequested', { vmId: 'vm1' }),
      start('vm5', { generation: 6 }),
    );
    cluster.thenRefused('GENERATION_STALE');
  });

  test('makes the counts and indexes again', () => {
    const { state } = rich();
    const restored = restoreState(dumpState(state));
    expect(restored.heldByTenant).toEqual(state.heldByTenant);
    expect(restored.nicsOnNetwork).toEqual(state.nicsOnNetwork);
    expect([...restored.macs.keys()].sort()).toEqual([...state.macs.keys()].sort());
    expect([...restored.allocations.keys()].sort()).toEqual([...state.allocations.keys()].sort());
    expect([...restored.openHosts]).toEqual([...state.openHosts]);
    for (const host of state.hosts.values()) {
      const again = restored.hosts.get(host.id);
      expect([...(again?.vms ?? [])].map(({ id }) => id).sort()).toEqual(
        [...host.vms].map(({ id }) => id).sort(),
      );
      for (const pf of host.pfs.values())
        expect([...(again?.pfs.get(pf.address)?.free ?? [])]).toEqual([...pf.free]);
    }
  });

  test('may be taken with a smaller memory of inputs', () => {
    expect(restoreState(dumpState(rich().state), { rememberedInputs: 2 }).inputs.size).toBe(2);
  });

  test('of an empty cluster', () => {
    const text = dumpState(emptyState('c'));
    expect(dumpState(restoreState(text))).toBe(text);
  });
});

describe('evolve', () => {
  test('refuses a gap and an event that it does not know', () => {
    const cause = { stream: 's', sequence: 1, id: 'a', digest: '00' };
    const event = { type: 'VmRebooted', data: { vmId: 'v' }, at: 1, cause } as const;
    expect(() => evolve(emptyState('c'), { ...event, position: 2 })).toThrow(/cannot follow/);
    expect(() => evolve(emptyState('c'), { ...event, type: 'Later' as 'VmRebooted', position: 1 })).toThrow(
      /'Later', which this version does not know/,
    );
  });
});
