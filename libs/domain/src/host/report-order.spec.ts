import { describe, expect, test } from '@jest/globals';
import { viewHost } from '../views.js';
import { EM1, ports, reported, start, vf } from '../testing/fleet.js';
import { expected, say, scenario, type Said, type Scenario } from '../testing/scenario.js';
import { lastReportOf } from './report-order.js';

const HUGE = Number.MAX_SAFE_INTEGER;

/** A host whose agent has come to a `seq`, and shows two VFs. */
const heard = (seq = 4711) => scenario(reported('h1', { seq, pfs: ports(2) }));
const report = (seq: number, options?: { readonly clock?: number; readonly after?: number }): Said =>
  reported('h1', { seq, pfs: ports(2) }, options);
const seen = (seq: number, bootId = 'boot-1'): Said =>
  say('HostSeen', { hostId: 'h1', bootId, seq, digest: 'd' });
const stale = (lastSeq: number, type = 'HostReported', bootId = 'boot-1') =>
  expected('InputIgnored', { type, reason: 'stale', hostId: 'h1', bootId, lastSeq });
const lastSeq = (cluster: Scenario): number => lastReportOf(cluster.state, cluster.host('h1')).seq;

describe('stale reports', () => {
  test('[HOST-9 refuses] the first of a row says so, with what to go on from; the others leave nothing', () => {
    const cluster = heard().given(seen(4712));
    cluster.when(report(4712)).then(stale(4712));
    for (const seq of [4712, 3, 4711]) cluster.when(report(seq)).thenNothing();
    cluster.when(report(4713)).thenNothing();
    cluster.when(report(4000)).then(stale(4713));
    cluster.when(seen(7)).thenNothing();
    expect(lastSeq(cluster)).toBe(4713);
  });

  test('[HOST-9 refuses] a sign of life has its place in the row too, and is never taken for a restart', () => {
    const cluster = heard();
    cluster.when(seen(1)).then(stale(4711, 'HostSeen'));
    for (const seq of [2, 3, 4]) cluster.when(seen(seq)).thenNothing();
    expect(lastSeq(cluster)).toBe(4711);
    // What its agent says in full is taken at once then: it has shown long enough that it counts anew.
    cluster
      .when(report(5))
      .then(expected('HostAgentRestarted', { hostId: 'h1', bootId: 'boot-1', seq: 5, lastSeq: 4711 }));
  });

  test('[HOST-9 refuses] a boot that is over stays over, however often it speaks', () => {
    const cluster = heard().given(reported('h1', { bootId: 'boot-2', pfs: ports(2) }));
    const late = (seq: number): Said => reported('h1', { bootId: 'boot-1', seq, pfs: ports(1) });
    cluster.when(late(5000)).then(stale(1, 'HostReported', 'boot-2'));
    for (const seq of [5001, 5002, 5003, HUGE]) cluster.when(late(seq)).thenNothing();
    expect(cluster.pf('h1', EM1).vfs).toHaveLength(2);
    expect(cluster.host('h1').bootId).toBe('boot-2');
  });

  test('[HOST-9 refuses] messages of old that come again are no agent that was restarted', () => {
    const cluster = scenario();
    for (const seq of [1, 2, 3, 4, 5]) cluster.given(report(seq));
    cluster.when(report(2, { clock: -4 })).then(stale(5));
    for (const seq of [3, 4, 5]) cluster.when(report(seq, { clock: -4 })).thenNothing();
    expect(lastSeq(cluster)).toBe(5);
    // Beside them an agent that was restarted comes through.
    cluster.when(report(1)).thenNothing();
    cluster.when(report(3, { clock: -9 })).thenNothing();
    cluster.when(report(2)).thenNothing();
    cluster.when(report(4, { clock: -10 })).thenNothing();
    cluster.when(report(3)).thenTypes('HostAgentRestarted');
  });

  test('[HOST-9 refuses] a row whose own seq does not grow', () => {
    const cluster = heard();
    cluster.when(report(9)).then(stale(4711));
    for (const seq of [9, 8, 8, 9, 7, 6, 5]) cluster.when(report(seq)).thenNothing();
    expect(lastSeq(cluster)).toBe(4711);
  });
});

describe('an agent that was restarted', () => {
  test('[HOST-9 acts] the third in a row is taken, and its seq counts from then on', () => {
    const cluster = heard();
    cluster.when(report(1)).then(stale(4711));
    cluster.when(report(2)).thenNothing();
    cluster
      .when(report(3))
      .then(expected('HostAgentRestarted', { hostId: 'h1', bootId: 'boot-1', seq: 3, lastSeq: 4711 }));
    cluster.when(report(3)).then(stale(3));
    cluster.when(report(4)).thenNothing();
    expect(viewHost(cluster.host('h1'))).toMatchObject({ lastSeq: 3 });
    expect(lastSeq(cluster)).toBe(4);
  });

  test('[HOST-9 acts] what the third says is taken as a report is', () => {
    const cluster = heard().given(start('vm1'));
    const other = (seq: number): Said =>
      reported('h1', { seq, pfs: ports([vf('em1', 0), vf('em1', 1), vf('em1', 2)]) });
    cluster.when(other(1)).then(stale(4711));
    cluster.when(other(2)).thenNothing();
    cluster.when(other(3)).thenTypes('HostChanged', 'DriftDetected');
    expect(cluster.events[0]?.data).toMatchObject({ seq: 3, agentRestarted: true });
    expect(cluster.holds('vm1')).toHaveLength(1);
    cluster.when(other(4)).thenNothing();
  });

  test('[HOST-9 acts] it brings a lost host back, and no replay keeps it lost', () => {
    const cluster = heard().given(say('Tick', {}), say('Tick', {}, { after: 100 }));
    cluster.when(report(1)).then(stale(4711));
    cluster.when(report(2)).thenNothing();
    cluster.when(report(3)).thenTypes('HostAgentRestarted', 'HostBack');
  });

  test.each([
    ['a report', report(HUGE)],
    ['a sign of life', seen(HUGE)],
  ])('[HOST-9 acts] %s with the greatest seq there is does not make its host deaf', (_, lie) => {
    const cluster = heard().given(lie);
    cluster.when(report(4712)).then(stale(HUGE));
    cluster.when(report(4713)).thenNothing();
    cluster.when(report(4714)).thenTypes('HostAgentRestarted');
    cluster.when(report(4715)).thenNothing();
    expect(lastSeq(cluster)).toBe(4715);
  });

  test("[HOST-9 acts] a sender's clock that is ahead is never taken as later than JetStream's", () => {
    const year = 365 * 86_400;
    const cluster = scenario(report(4711, { clock: year }));
    for (const seq of [1, 2]) cluster.given(report(seq));
    cluster.when(report(3)).thenTypes('HostAgentRestarted');
    // One that is behind is behind with all that it says: what counts is that it goes on.
    const slow = scenario(report(4711, { clock: -year }));
    for (const seq of [1, 2]) slow.given(report(seq, { clock: -year }));
    slow.when(report(3, { clock: -year })).thenTypes('HostAgentRestarted');
  });
});

describe('boots', () => {
  const booted = (bootId: string, bootedAt: string, seq = 1): Said =>
    reported('h1', { bootId, bootedAt, seq, pfs: ports(2) });

  test('[HOST-9 acts] [HOST-4 acts] a boot in the future does not make a host deaf to the next one', () => {
    const cluster = scenario(booted('boot-1', '2999-01-01T00:00:00Z')).given(start('vm1'));
    cluster.when(booted('boot-2', cluster.at(0))).thenTypes('VfReleased', 'HostChanged');
    cluster.when(booted('boot-3', '9999-12-31T23:59:59Z')).thenTypes('HostChanged');
    cluster.when(booted('boot-4', cluster.at(1))).thenTypes('HostChanged');
  });

  test('[HOST-9 acts] a boot that looks earlier for its bad clock comes through with the third report', () => {
    const cluster = scenario(booted('boot-1', '2025-12-31T12:00:00Z')).given(start('vm1'));
    cluster.when(booted('boot-2', '1970-01-01T00:00:00Z', 1)).then(stale(1));
    cluster.when(booted('boot-2', '1970-01-01T00:00:00Z', 2)).thenNothing();
    cluster.when(booted('boot-2', '1970-01-01T00:00:00Z', 3)).thenTypes('VfReleased', 'HostChanged');
    expect(cluster.host('h1').bootId).toBe('boot-2');
  });

  test('[HOST-9 quiet] a sign of life of a boot that never reported leaves nothing, and is in the way of nothing', () => {
    const cluster = heard();
    cluster.when(report(1)).then(stale(4711));
    cluster.when(report(2)).thenNothing();
    cluster.when(seen(HUGE, 'boot-x')).thenNothing();
    cluster.when(report(3)).thenTypes('HostAgentRestarted');
  });
});

describe('what the log knows of it', () => {
  test('[HOST-9 refuses] a leader that takes over knows the last seq of whatever left an event', () => {
    const cluster = heard().given(report(4712), report(4713));
    cluster.when(report(1)).then(stale(4713));
    cluster.takenOver();
    cluster.when(report(4713)).then(stale(4713));
    expect(viewHost(cluster.host('h1'))).toMatchObject({ lastSeq: 4713, lastReportAt: cluster.at(-2) });
  });

  test('[HOST-9 acts] a leader that takes over knows that an agent was restarted', () => {
    const cluster = heard();
    for (const seq of [1, 2, 3]) cluster.given(report(seq));
    cluster.takenOver();
    cluster.when(report(4)).thenNothing();
    cluster.when(report(4)).then(stale(4));
  });

  test('[HOST-9 acts] a new leader counts a row anew', () => {
    const cluster = heard();
    for (const seq of [1, 2]) cluster.given(report(seq));
    cluster.takenOver();
    cluster.when(report(3)).then(stale(4711));
    cluster.when(report(4)).thenNothing();
    cluster.when(report(5)).thenTypes('HostAgentRestarted');
  });

  test('[HOST-9 refuses] drift alone tells the log how far its host has come', () => {
    const cluster = heard().given(start('vm1'), say('VmStarted', { vmId: 'vm1', hostId: 'h1' }));
    cluster.when(reported('h1', { seq: 5000, vms: [], pfs: ports(2) })).thenTypes('DriftDetected');
    cluster.takenOver();
    cluster.when(reported('h1', { seq: 4800, vms: ['vm1'], pfs: ports(2) })).then(stale(5000));
  });

  test('a log of before says less, and is taken as it is', () => {
    const cluster = scenario().givenEvents(
      expected('HostRegistered', {
        hostId: 'h1',
        bootId: 'boot-1',
        seq: 8,
        bootedAt: '2999-01-01T00:00:00Z',
        iommu: { enabled: true, ready: true },
        interruptRemapping: true,
        pfs: ports(2),
      }),
    );
    expect(viewHost(cluster.host('h1'))).toMatchObject({ lastSeq: 8, lastReportAt: cluster.at(0) });
    cluster.when(report(8)).then(stale(8));
    cluster
      .when(reported('h1', { bootId: 'boot-2', bootedAt: cluster.at(0), pfs: ports(2) }))
      .thenTypes('HostChanged');
  });
});
