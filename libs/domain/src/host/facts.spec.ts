import { describe, expect, test } from '@jest/globals';
import type { VfReport } from '../inputs.js';
import { viewHost, viewVf, viewVm } from '../views.js';
import {
  EM1,
  macOf,
  nic,
  port,
  ports,
  released,
  reported,
  start,
  started,
  stopped,
  vf,
  vfAddress,
  vfs,
} from '../testing/fleet.js';
import { BEGINNING, expected, say, scenario } from '../testing/scenario.js';

const where = { hostId: 'h1', pf: EM1 } as const;
const ZERO = vfAddress('em1', 0);
const time = (seconds: number): string => new Date(BEGINNING + seconds * 1000).toISOString();
const running = () => scenario(reported('h1', { pfs: ports(2) })).given(start('vm1'), started('vm1'));
const tick = (after = 1) => say('Tick', {}, { after });

describe('silence', () => {
  test('[HOST-5 acts] a silent host is lost: nothing is offered, nothing released', () => {
    const cluster = running();
    cluster.when(tick(87)).thenNothing();
    cluster.when(tick()).then(expected('HostLost', { hostId: 'h1', since: time(1) }));
    cluster.when(tick()).thenNothing();
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    expect(viewVm(cluster.vm('vm1')).state).toBe('running');
    expect(viewHost(cluster.host('h1'))).toMatchObject({ state: 'lost', lostSince: time(1) });
    cluster.when(start('vm2')).thenRefused('HOST_LOST');
  });

  test('[HOST-5 acts] a report or a HostSeen brings it back', () => {
    const lost = () => running().given(tick(100)).thenTypes('HostLost');
    const back = expected('HostBack', { hostId: 'h1', since: time(1) });
    lost()
      .when(reported('h1', { seq: 2, pfs: ports(2) }))
      .then(back);
    const cluster = lost().when(say('HostSeen', { hostId: 'h1', bootId: 'boot-1', seq: 2, digest: 'd' }));
    cluster.then(back);
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
    cluster.when(tick(88)).thenNothing();
    cluster.when(tick(1)).thenTypes('HostLost');
    lost()
      .when(reported('h1', { seq: 1, pfs: ports(2) }))
      .thenIgnored('stale');
    lost()
      .when(say('HostSeen', { hostId: 'h1', bootId: 'boot-9', seq: 2, digest: 'd' }))
      .thenNothing();
  });

  test('[HOST-5 quiet] a host that goes on being heard is not lost', () => {
    const cluster = running();
    for (let seq = 2; seq < 10; seq++) {
      cluster
        .when(say('HostSeen', { hostId: 'h1', bootId: 'boot-1', seq, digest: 'd' }, { after: 60 }))
        .thenNothing();
      cluster.when(tick()).thenNothing();
    }
  });

  test('[HOST-5 acts] the timeout is a policy', () => {
    const cluster = running().given(say('ClusterPolicyChanged', { hostTimeoutSeconds: 5 }));
    cluster.when(tick(2)).thenTypes('HostLost');
  });

  test('[HOST-5 quiet] after a take-over no host is lost before one full timeout', () => {
    const cluster = running().takenOver();
    cluster.when(tick(500)).thenNothing();
    cluster.when(tick(89)).thenNothing();
    cluster.when(tick(1)).thenTypes('HostLost');
  });

  test('[HOST-5 acts] an operator who fences a lost host ends what it held', () => {
    running()
      .given(tick(100))
      .when(say('HostFenced', { hostId: 'h1' }))
      .thenTypes('VfReleased', 'HostFenced');
  });

  test('[HOST-5 refuses] a fence that its host is removed with, until a new boot', () => {
    const fenced = () =>
      running().given(
        reported('h1', { bootId: 'boot-2', pfs: ports(2) }),
        say('HostFenced', { hostId: 'h1' }),
        say('HostRemovalRequested', { hostId: 'h1' }),
      );
    const cluster = fenced();
    cluster
      .takenOver()
      .when(reported('h1', { bootId: 'boot-1', seq: 9, pfs: ports(2) }))
      .thenIgnored('stale');
    cluster.when(reported('h1', { bootId: 'boot-2', seq: 2, pfs: ports(2) })).thenTypes('HostRegistered');
    expect(viewHost(cluster.host('h1')).state).toBe('fenced');
    cluster.when(start('vm2')).thenRefused('HOST_LOST');
    cluster.given(say('HostRemovalRequested', { hostId: 'h1' }));
    cluster.given(reported('h1', { bootId: 'boot-2', seq: 3, pfs: ports(2) }));
    cluster.when(start('vm2')).thenRefused('HOST_LOST');
    cluster.when(reported('h1', { bootId: 'boot-1', seq: 10, pfs: ports(2) })).thenIgnored('stale');
    cluster.given(reported('h1', { bootId: 'boot-3', pfs: ports(2) }));
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');

    const other = fenced().given(reported('h1', { bootId: 'boot-3', pfs: ports(2) }));
    other.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
    other.when(reported('h1', { bootId: 'boot-2', seq: 9, pfs: ports(2) })).thenIgnored('stale');
  });

  test('[HOST-5 quiet] a host that is removed without a fence comes back without one, its cordon gone', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(
      say('HostCordoned', { hostId: 'h1', cordoned: true }),
      say('HostRemovalRequested', { hostId: 'h1' }),
      reported('h1', { seq: 2, pfs: ports(1) }),
    );
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[HOST-5 quiet] fencing twice, or an unknown host, is ignored', () => {
    const cluster = running().given(say('HostFenced', { hostId: 'h1' }));
    cluster.when(say('HostFenced', { hostId: 'h1' })).thenIgnored('already-fenced');
    cluster.when(say('HostFenced', { hostId: 'h9' })).thenIgnored('unknown');
    cluster.when(say('HostSeen', { hostId: 'h1', bootId: 'boot-1', seq: 9, digest: 'd' })).thenNothing();
  });
});

describe('cordon', () => {
  test('[HOST-6 acts] [HOST-6 refuses] a cordoned host gets no new allocation; what it has stays', () => {
    const cluster = running();
    const cordon = (cordoned: boolean) => say('HostCordoned', { hostId: 'h1', cordoned });
    cluster.when(cordon(true)).then(expected('HostCordoned', { hostId: 'h1', cordoned: true }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(start('vm2')).thenRefused('HOST_CORDONED');
    cluster.when(say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1') })).thenRefused('HOST_CORDONED');
    cluster.when(cordon(true)).thenIgnored('unchanged');
    cluster.when(say('HostCordoned', { hostId: 'h9', cordoned: true })).thenIgnored('unknown');
    cluster.given(cordon(false)).when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[HOST-6 acts] [HOST-6 refuses] so does a cordoned PF', () => {
    const cluster = running();
    const cordon = (cordoned: boolean) => say('PfCordoned', { ...where, cordoned });
    cluster.when(cordon(true)).then(expected('PfCordoned', { ...where, cordoned: true }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(start('vm2')).thenRefused('PF_CORDONED');
    cluster.when(cordon(true)).thenIgnored('unchanged');
    cluster.given(cordon(false)).when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
  });
});

describe('cordon, left alone', () => {
  test('[HOST-6 quiet] what is cordoned already, and hosts beside it, see nothing of it', () => {
    const cordon = say('HostCordoned', { hostId: 'h1', cordoned: true });
    const cluster = running().given(reported('h2', { pfs: ports(1) }), cordon);
    cluster.when(cordon).thenIgnored('unchanged');
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
    expect(cluster.vm('vm2').hostId).toBe('h2');
    cluster.when(stopped('vm1')).thenTypes('VfReleased', 'VmStopped');
  });

  test('[HOST-8 quiet] a host with nothing but VMs of vNICs is removed, and nothing is released', () => {
    const cluster = scenario(reported('h1')).given(start('vm1', { nics: [] }), started('vm1'));
    cluster
      .when(say('HostRemovalRequested', { hostId: 'h1' }))
      .then(expected('HostRemoved', { hostId: 'h1' }));
  });

  test('[PF-10 acts] a split that is owed is ordered when a silent host is back without news', () => {
    const down = [port('em1', 0, { link: 'down' })];
    const cluster = running().given(reported('h1', { bootId: 'boot-2', seq: 1, pfs: down }), tick(95));
    expect(cluster.events.map(({ type }) => type)).toEqual(['HostLost']);
    cluster.when(say('PfLinkChanged', { ...where, link: 'up' })).thenTypes('PfLinkChanged');
    cluster
      .when(say('HostSeen', { hostId: 'h1', bootId: 'boot-2', seq: 2, digest: 'd' }))
      .thenTypes('HostBack', 'PfVirtualizationOrdered');
  });
});

describe('removal', () => {
  const remove = (hostId = 'h1') => say('HostRemovalRequested', { hostId });

  test('[HOST-8 refuses] a host with held VFs is not removed; the holders are named', () => {
    const cluster = running();
    const holders = [{ vmId: 'vm1', nicId: 'eth0', vf: ZERO, allocationId: cluster.allocation('vm1').id }];
    cluster.when(remove()).then(
      expected('HostRemovalRejected', {
        hostId: 'h1',
        reason: 'HOST_IN_USE',
        message: 'host h1 cannot be removed: 1 VF of it is held; stop the VMs, or fence it',
        holders,
      }),
    );
    cluster.when(remove('h9')).thenRefused('HOST_UNKNOWN');
  });

  test('[HOST-8 acts] unless it is fenced, or holds nothing', () => {
    running()
      .given(say('HostFenced', { hostId: 'h1' }))
      .when(remove())
      .then(expected('HostRemoved', { hostId: 'h1' }));
    const cluster = running().given(stopped('vm1')).when(remove());
    cluster.thenTypes('HostRemoved');
    expect(cluster.state.hosts.size).toBe(0);
    cluster.when(start('vm1')).thenRefused('HOST_UNKNOWN');
    cluster.when(start('vm1', { hostId: 'h1' })).thenRefused('HOST_UNKNOWN');
    cluster.when(reported('h1', { pfs: ports(2) })).thenTypes('HostRegistered');
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });
});

describe('a lost driver', () => {
  test('[PF-6 acts] reclaims its VFs by force; they are not free until reported again', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    cluster
      .when(say('PfDriverLost', where))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'pf-driver-lost', forced: true }),
        expected('PfDriverLost', where),
      );
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('unknown');
    cluster.when(start('vm2')).thenRefused('PF_LOST');
    cluster.when(say('PfDriverLost', where)).thenIgnored('already-lost');
    cluster
      .when(reported('h1', { seq: 2, pfs: ports([vf('em1', 1)]) }))
      .thenTypes('HostChanged', 'DriftDetected');
    cluster.given(start('vm2'));
    expect(cluster.holds('vm2')).toEqual([vfAddress('em1', 1)]);
  });

  test('[PF-6 acts] [PF-10 acts] a PF that comes back without VFs is split again', () => {
    running()
      .given(say('PfDriverLost', where))
      .when(reported('h1', { seq: 2, pfs: ports(0) }))
      .thenTypes('HostChanged', 'PfVirtualizationOrdered');
  });

  test('[PF-6 quiet] without holders nothing is released', () => {
    running().given(stopped('vm1')).when(say('PfDriverLost', where)).then(expected('PfDriverLost', where));
  });
});

describe('scrubbing', () => {
  const held = () =>
    scenario(reported('h1', { scrubs: true, pfs: ports(1) })).given(start('vm1'), started('vm1'));
  const scrubbed = (allocationId: string, clean = true) =>
    say('VfScrubbed', { hostId: 'h1', vf: ZERO, allocationId, clean });

  test('[SCRUB-1 acts] on a host that scrubs, a released VF is not free until the host says clean', () => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    cluster
      .when(stopped('vm1'))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'vm-stopped' }),
        expected('VfScrubRequested', { ...where, vf: ZERO, allocationId: id }),
        expected('VmStopped', { vmId: 'vm1' }),
      );
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster
      .when(scrubbed(id))
      .then(expected('VfScrubbed', { hostId: 'h1', vf: ZERO, allocationId: id, clean: true }));
    cluster.when(scrubbed(id)).thenIgnored('stale');
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[SCRUB-1 quiet] elsewhere it is free at once', () => {
    running()
      .when(stopped('vm1'))
      .thenTypes('VfReleased', 'VmStopped')
      .when(start('vm2'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[SCRUB-1 acts] a report that says clean for that very allocation frees it', () => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    const clean = (seq: number, scrubbedFor: string) =>
      reported('h1', { seq, scrubs: true, pfs: ports(vfs('em1', 1, { 0: { scrubbedFor } })) });
    cluster.given(stopped('vm1'), clean(2, 'other'));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
    cluster.given(clean(3, id));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');
    cluster.when(tick(500));
    expect(cluster.events.map(({ type }) => type)).not.toContain('ScrubOverdue');
    cluster.given(
      reported('h1', { seq: 4, scrubs: true, pfs: ports(vfs('em1', 1, { 0: { scrubbedFor: id } })) }),
    );
    cluster.given(start('vm1'), stopped('vm1'), clean(5, id));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
  });

  const OWN = '0a:11:22:33:44:55';
  const UNCLEAN: readonly (readonly [string, (mac: string) => Partial<VfReport>])[] = [
    ["the guest's MAC", (mac) => ({ mac })],
    ['an unknown MAC', () => ({ mac: '02:aa:bb:cc:dd:ee' })],
    ['a VLAN', () => ({ vlan: 100 })],
    ['a user', () => ({ usedByVmId: 'vm1' })],
    ['a pass-through driver', () => ({ boundDriver: 'vfio-pci' })],
  ];

  test.each(UNCLEAN)('[SCRUB-1 refuses] a report that says clean and shows %s', (_what, fields) => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    const unclean = (seq: number) =>
      reported('h1', {
        seq,
        scrubs: true,
        pfs: ports(vfs('em1', 1, { 0: { ...fields(macOf('vm1')), scrubbedFor: id } })),
      });
    cluster.given(stopped('vm1'), unclean(2));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
    cluster.when(unclean(3)).thenNothing();
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster.when(scrubbed(id)).thenTypes('VfScrubbed');
  });

  test.each(UNCLEAN)('[SCRUB-2 refuses] nor does that end a quarantine: %s', (_what, fields) => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    const shown = { ...fields(macOf('vm1')), scrubbedFor: id };
    cluster.given(
      stopped('vm1'),
      scrubbed(id, false),
      reported('h1', { seq: 2, scrubs: true, pfs: ports(vfs('em1', 1, { 0: shown })) }),
    );
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('quarantined');
  });

  test('[SCRUB-1 acts] clean is also the MAC that the VF had of its own before the allocation', () => {
    for (const quarantined of [false, true]) {
      const shows = (seq: number, mac: string, scrubbedFor?: string) =>
        reported('h1', { seq, scrubs: true, pfs: ports(vfs('em1', 1, { 0: { mac, scrubbedFor } })) });
      const cluster = scenario(shows(1, OWN)).given(start('vm1'), started('vm1'), shows(2, macOf('vm1')));
      const { id } = cluster.allocation('vm1');
      cluster.given(stopped('vm1'), ...(quarantined ? [scrubbed(id, false)] : []));
      cluster.given(shows(3, '0a:11:22:33:44:56', id));
      expect(viewVf(cluster.vf('h1', ZERO)).state).toBe(quarantined ? 'quarantined' : 'scrubbing');
      cluster
        .takenOver()
        .when(shows(4, OWN, id))
        .thenTypes('HostChanged');
      expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');
    }
  });

  test("[SCRUB-1 refuses] a guest's MAC that was shown before is nobody's own", () => {
    const shows = (seq: number, mac: string, scrubbedFor?: string) =>
      reported('h1', { seq, scrubs: true, pfs: ports(vfs('em1', 1, { 0: { mac, scrubbedFor } })) });
    const cluster = held().given(shows(2, macOf('vm1')));
    cluster.given(stopped('vm1'), scrubbed(cluster.allocation('vm1').id), start('vm2'));
    const { id } = cluster.allocation('vm2');
    cluster.given(stopped('vm2'), shows(3, macOf('vm1'), id));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
  });

  test('[SCRUB-1 acts] a VF that a lost driver took away is to be scrubbed when it is reported again', () => {
    const shows = (seq: number, fields: Partial<VfReport>) =>
      reported('h1', { seq, scrubs: true, pfs: ports(vfs('em1', 1, { 0: fields })) });
    const back = () => {
      const cluster = held();
      const { id } = cluster.allocation('vm1');
      cluster.when(say('PfDriverLost', where)).thenTypes('VfReleased', 'PfDriverLost');
      expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('unknown');
      return { cluster, id };
    };
    const { cluster, id } = back();
    cluster
      .takenOver()
      .when(shows(2, { mac: macOf('vm1') }))
      .then(
        expected('HostChanged', {
          hostId: 'h1',
          bootId: 'boot-1',
          seq: 2,
          pfs: [{ pciAddress: EM1, vfs: [vf('em1', 0, { mac: macOf('vm1') })] }],
        }),
        expected('VfScrubRequested', { ...where, vf: ZERO, allocationId: id }),
      );
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster.when(shows(3, { mac: macOf('vm1') })).thenNothing();
    cluster.given(shows(4, { scrubbedFor: id }));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');

    const other = back();
    other.cluster.when(shows(2, { scrubbedFor: other.id })).thenTypes('HostChanged');
    expect(viewVf(other.cluster.vf('h1', ZERO)).state).toBe('free');
  });

  test('[EX-4 refuses] a scrub report that names another allocation changes nothing', () => {
    const cluster = held();
    const first = cluster.allocation('vm1').id;
    cluster.given(stopped('vm1'), scrubbed(first), start('vm1'), stopped('vm1'));
    cluster
      .when(scrubbed(first))
      .then(expected('InputIgnored', { type: 'VfScrubbed', reason: 'stale', hostId: 'h1' }));
    cluster.when(scrubbed(first, false)).thenIgnored('stale');
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
    cluster
      .when(say('VfScrubbed', { hostId: 'h1', vf: '0000:99:00.0', allocationId: first, clean: true }))
      .thenIgnored('unknown');
  });

  test('[SCRUB-1 acts] no answer: ScrubOverdue, and it stays out', () => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    cluster.given(stopped('vm1'), say('ClusterPolicyChanged', { hostTimeoutSeconds: 1000 }));
    cluster.when(tick(118)).thenNothing();
    cluster
      .when(tick())
      .then(expected('ScrubOverdue', { allocationId: id, hostId: 'h1', vf: ZERO, since: time(4) }));
    cluster.when(tick()).thenNothing();
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster.when(scrubbed(id)).thenTypes('VfScrubbed');
  });

  test('[SCRUB-1 refuses] a VF that is not reported for a while is still not clean', () => {
    const cluster = scenario(reported('h1', { scrubs: true, pfs: ports(2) })).given(
      start('vm1'),
      stopped('vm1'),
    );
    const without = { scrubs: true, pfs: ports([vf('em1', 1)]) };
    cluster.given(reported('h1', { seq: 2, ...without }), reported('h1', { seq: 3, ...without }));
    cluster.given(reported('h1', { seq: 4, scrubs: true, pfs: ports(2) }));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('scrubbing');
  });

  test('[SCRUB-2 acts] a VF that failed its scrub is quarantined until a clean report for that allocation', () => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    cluster.given(stopped('vm1'));
    cluster
      .when(
        say('VfScrubbed', { hostId: 'h1', vf: ZERO, allocationId: id, clean: false, detail: 'MAC stays' }),
      )
      .then(expected('VfQuarantined', { ...where, vf: ZERO, allocationId: id, detail: 'MAC stays' }));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('quarantined');
    cluster.when(scrubbed(id, false)).thenIgnored('already-quarantined');
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster.when(scrubbed('other')).thenIgnored('stale');
    cluster.when(scrubbed(id)).thenTypes('VfScrubbed');
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');
  });

  test('[SCRUB-2 acts] or until an operator frees it', () => {
    const cluster = held();
    const { id } = cluster.allocation('vm1');
    cluster.given(stopped('vm1'), scrubbed(id, false));
    const request = { hostId: 'h1', allocationId: id, reason: 'checked by hand' };
    cluster.when(say('AllocationReleaseRequested', request)).then(
      expected('VfScrubbed', {
        hostId: 'h1',
        vf: ZERO,
        allocationId: id,
        clean: true,
        detail: 'checked by hand',
      }),
      expected('AllocationReleaseDone', request),
    );
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');
  });

  test('[SCRUB-2 refuses] it is handed to nobody, and a clean word for another allocation does not free it', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1), scrubs: true })).given(start('vm1'));
    const { id } = cluster.allocation('vm1');
    const scrubbed = (allocationId: string, clean: boolean) =>
      say('VfScrubbed', { hostId: 'h1', vf: ZERO, allocationId, clean });
    cluster.given(stopped('vm1'), scrubbed(id, false));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('quarantined');
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster.when(scrubbed('1-deadbeef', true)).thenIgnored('stale');
    cluster.when(scrubbed(id, false)).thenIgnored('already-quarantined');
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
  });

  test('[SCRUB-2 quiet] a VF that comes clean is not quarantined', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1), scrubs: true })).given(start('vm1'));
    const { id } = cluster.allocation('vm1');
    cluster
      .given(stopped('vm1'))
      .when(say('VfScrubbed', { hostId: 'h1', vf: ZERO, allocationId: id, clean: true }))
      .thenTypes('VfScrubbed');
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');
  });

  test('[VM-10 acts] a clean VF goes to a NIC that waits', () => {
    const cluster = held().given(start('vm2', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }));
    const { id } = cluster.allocation('vm1');
    cluster.given(stopped('vm1')).when(scrubbed(id)).thenTypes('VfAllocated', 'NicPromoted', 'VfScrubbed');
    expect(cluster.holds('vm2')).toEqual([ZERO]);
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('pending');
  });

  test('[SCRUB-1 quiet] a VF that its PF takes away is not scrubbed', () => {
    held().when(say('PfRestoreRequested', where)).thenTypes('VfReleased', 'PfRestoreOrdered');
    held().when(say('PfDriverLost', where)).thenTypes('VfReleased', 'PfDriverLost');
    expect(port('em1', 1).vfs).toHaveLength(1);
  });
});
