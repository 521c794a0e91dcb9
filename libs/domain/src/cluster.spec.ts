import { describe, expect, test } from '@jest/globals';
import { hasDeadlines } from './cluster.js';
import { DEFAULT_POLICY } from './state.js';
import { nic, ports, reported, start, started, stopped, vfAddress } from './testing/fleet.js';
import { expected, say, scenario } from './testing/scenario.js';

describe('policy', () => {
  test('what is left out of a change stays as it is', () => {
    const cluster = scenario();
    cluster
      .when(say('ClusterPolicyChanged', { promotion: false }))
      .then(expected('ClusterPolicyChanged', { promotion: false }));
    cluster.given(say('ClusterPolicyChanged', { startTimeoutSeconds: 7, quotas: { a: 1 } }));
    expect(cluster.state.policy).toEqual({
      ...DEFAULT_POLICY,
      promotion: false,
      startTimeoutSeconds: 7,
      quotas: { a: 1 },
    });
    cluster.given(say('ClusterPolicyChanged', { quotas: {} }));
    expect(cluster.state.policy.quotas).toEqual({});
  });

  test('[EX-6 acts] a change that changes nothing still leaves an event', () => {
    scenario().when(say('ClusterPolicyChanged', {})).thenTypes('ClusterPolicyChanged');
  });
});

describe('time', () => {
  test('a tick when nothing is due leaves nothing', () => {
    scenario().when(say('Tick', {})).thenNothing();
    scenario(reported('h1', { pfs: ports(2) }), start('vm1'), started('vm1'))
      .when(say('Tick', {}))
      .thenNothing();
  });

  test('what falls due together comes out host by host, then VM by VM, in order of time', () => {
    const cluster = scenario(
      reported('h2', { pfs: ports(1) }),
      reported('h1', { pfs: ports(2) }),
      start('vm2', { hostId: 'h1' }),
      start('vm1', { hostId: 'h2' }),
    );
    cluster
      .when(say('Tick', {}, { after: 1000 }))
      .thenTypes('HostLost', 'HostLost', 'AllocationOverdue', 'AllocationOverdue');
    expect(
      cluster.events.map(
        ({ data }) => (data as { vmId?: string; hostId: string }).vmId ?? (data as { hostId: string }).hostId,
      ),
    ).toEqual(['h2', 'h1', 'vm2', 'vm1']);
  });

  test('time never goes back: a decision is never before the event before it', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) }));
    cluster.when(start('vm1', {}, { after: -3600 })).thenTypes('VfAllocated', 'VmStartAccepted');
    const times = cluster.log.map(({ at }) => at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(cluster.log.map(({ position }) => position)).toEqual([1, 2, 3]);
  });

  test('the leader needs its clock only while something may fall due', () => {
    const cluster = scenario();
    expect(hasDeadlines(cluster.state)).toBe(false);
    cluster.given(reported('h1', { scrubs: true, pfs: ports(1) }));
    expect(hasDeadlines(cluster.state)).toBe(true);
    cluster.given(say('HostRemovalRequested', { hostId: 'h1' }));
    expect(hasDeadlines(cluster.state)).toBe(false);
  });

  test('[VM-12 quiet] a stopped start is not reported overdue', () => {
    scenario(reported('h1', { pfs: ports(2) }))
      .given(start('vm1'), stopped('vm1'), start('vm2'), started('vm2'))
      .when(say('Tick', {}, { after: 1000 }))
      .thenTypes('HostLost');
  });

  test('[VM-10 acts] at a tick the NIC that waits longest is served first', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(start('vm0'));
    for (const vmId of ['vm3', 'vm1', 'vm2'])
      cluster.given(start(vmId, { nics: [nic('eth0', { onExhaustion: 'fallback' })] }));
    cluster.given(reported('h1', { seq: 2, pfs: ports(3) }));
    cluster.when(say('Tick', {})).thenTypes('VfAllocated', 'NicPromoted', 'VfAllocated', 'NicPromoted');
    expect([cluster.holds('vm3'), cluster.holds('vm1'), cluster.holds('vm2')]).toEqual([
      [vfAddress('em1', 1)],
      [vfAddress('em1', 2)],
      [],
    ]);
  });
});
