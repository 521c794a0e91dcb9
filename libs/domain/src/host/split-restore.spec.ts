import { describe, expect, test } from '@jest/globals';
import type { ClusterPolicyChanged } from '../inputs.js';
import { viewPf, viewVm } from '../views.js';
import {
  EM1,
  EM2,
  EM3,
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
import { expected, say, scenario } from '../testing/scenario.js';

const where = { hostId: 'h1', pf: EM1 } as const;
const ZERO = vfAddress('em1', 0);
const ONE = vfAddress('em1', 1);
const zstack = () => scenario(reported('h1'));
const order = (numVfs: number, pf: string = EM1, hostId = 'h1') =>
  say('PfVirtualizeRequested', { hostId, pf, numVfs });
const done = (count: number) => say('PfVirtualized', { ...where, vfs: vfs('em1', count) });
const restore = (onBusy?: 'unload' | 'reject') => say('PfRestoreRequested', { ...where, onBusy });
const busy = () =>
  scenario(reported('h1', { pfs: ports(3) })).given(
    start('vm1', { tenant: 't1' }),
    started('vm1'),
    start('vm2', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }),
    started('vm2'),
  );

describe('split', () => {
  test('[PF-1 acts] the states of the ZStack fleet, and of a PF from split to restore', () => {
    const cluster = zstack();
    const state = (pf: string = EM1) => viewPf(cluster.pf('h1', pf)).state;
    expect([EM1, EM2, EM3, '0000:06:00.1'].map(state)).toEqual([
      'virtualizable',
      'virtualizable',
      'not-virtualizable',
      'not-virtualizable',
    ]);
    cluster.given(order(2));
    expect(state()).toBe('virtualizing');
    cluster.given(done(2));
    expect(state()).toBe('virtualized');
    cluster.given(say('PfLinkChanged', { ...where, link: 'down' }));
    expect(state()).toBe('virtualized');
    cluster.given(restore());
    expect(state()).toBe('restoring');
    cluster.given(say('PfRestored', where));
    expect(state()).toBe('virtualizable');
    cluster.given(say('PfDriverLost', where));
    expect(state()).toBe('lost');
  });

  test('[PF-2 acts] a PF is split into 1 to totalVfs VFs', () => {
    for (const numVfs of [1, 63])
      zstack()
        .when(order(numVfs))
        .then(expected('PfVirtualizationOrdered', { ...where, numVfs }));
  });

  test('[PF-2 refuses] anything else is refused', () => {
    for (const numVfs of [0, 64, -1]) {
      zstack()
        .when(order(numVfs))
        .then(
          expected('PfVirtualizationRejected', {
            ...where,
            numVfs,
            reason: 'VF_COUNT_OUT_OF_RANGE',
            message: `PF ${EM1} (em1) of host h1 can be split into 1 to 63 VFs, not into ${numVfs}`,
          }),
        );
    }
  });

  test('[PF-2 refuses] it must be there, able, up, and on a ready host that is heard', () => {
    zstack()
      .when(order(1, EM1, 'h9'))
      .thenRefused('HOST_UNKNOWN');
    zstack().when(order(1, '0000:99:00.0')).thenRefused('PF_UNKNOWN');
    zstack().when(order(1, EM3)).thenRefused('PF_NOT_VIRTUALIZABLE');
    scenario(reported('h1', { pfs: [port('em1', 0, { link: 'down' })] }))
      .when(order(1))
      .thenRefused('PF_LINK_DOWN');
    scenario(reported('h1', { iommu: { enabled: true, ready: false } }))
      .when(order(1))
      .thenRefused('HOST_NOT_READY');
    zstack()
      .given(say('HostFenced', { hostId: 'h1' }))
      .when(order(1))
      .thenRefused('HOST_LOST');
    zstack().given(say('PfDriverLost', where)).when(order(1)).thenRefused('PF_LOST');
  });

  test('[PF-3 acts] [PF-3 refuses] the number of VFs changes only through 0', () => {
    const cluster = busy();
    const holders = ['vm1', 'vm2'].map((vmId) => ({
      vmId,
      nicId: 'eth0',
      vf: cluster.holds(vmId)[0],
      allocationId: cluster.allocation(vmId).id,
    }));
    for (const numVfs of [3, 8]) {
      cluster.when(order(numVfs)).then(
        expected('PfVirtualizationRejected', {
          ...where,
          numVfs,
          reason: 'PF_ALREADY_VIRTUALIZED',
          message: `PF ${EM1} (em1) of host h1 is split into 3 VFs: restore it before it is split again`,
          holders,
        }),
      );
    }
    cluster.given(restore()).when(order(8)).thenRefused('PF_RESTORING');
    cluster.given(say('PfRestored', where)).when(order(8)).thenTypes('PfVirtualizationOrdered');
    cluster.when(order(8)).thenRefused('PF_BUSY');
  });

  test('[PF-3 refuses] a report of a split into other VFs is rejected', () => {
    const cluster = busy();
    cluster.when(done(4)).thenRefused('PF_ALREADY_VIRTUALIZED');
    expect(cluster.events[0]).toMatchObject({
      type: 'InputRejected',
      data: { type: 'PfVirtualized', hostId: 'h1' },
    });
    cluster.when(done(3)).thenIgnored('already-virtualized');
    cluster.given(restore()).when(done(3)).thenRefused('PF_RESTORING');
  });

  test('[PF-7 acts] what comes is what the host says', () => {
    const cluster = zstack().given(order(2));
    cluster.when(done(2)).then(expected('PfVirtualized', { ...where, vfs: vfs('em1', 2) }));
    expect(vfs('em1', 2).map(({ pciAddress }) => pciAddress)).toEqual(['0000:82:10.0', '0000:82:10.2']);
    cluster.given(start('vm1'));
    expect(cluster.holds('vm1')).toEqual(['0000:82:10.0']);
  });

  test('a report ends a split that was ordered', () => {
    const cluster = zstack().given(order(2));
    cluster.when(reported('h1', { seq: 2 })).thenNothing();
    cluster.when(start('vm1')).thenRefused('PF_BUSY');
    cluster.when(reported('h1', { seq: 3, pfs: ports(2) })).thenTypes('HostChanged');
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
    cluster.when(done(2)).thenIgnored('already-virtualized');
  });

  test('[PF-11 acts] [PF-11 refuses] a second PF of the same bond is split with a warning, or refused by policy', () => {
    const bonded = () =>
      scenario(reported('h1', { pfs: [port('em1', 2, { bond: 'b0' }), port('em2', 0, { bond: 'b0' })] }));
    bonded()
      .when(order(4, EM2))
      .then(
        expected('PfVirtualizationOrdered', {
          hostId: 'h1',
          pf: EM2,
          numVfs: 4,
          warnings: [`bond b0 has another split PF: ${EM1}`],
        }),
      );
    bonded()
      .given(say('ClusterPolicyChanged', { bond: 'reject' }))
      .when(order(4, EM2))
      .thenRefused('PF_IN_BOND');
    zstack()
      .given(order(4))
      .when(order(4, EM2))
      .then(expected('PfVirtualizationOrdered', { hostId: 'h1', pf: EM2, numVfs: 4 }));
  });

  test('[PF-12 acts] known hardware limits are said on split, and on a start that they concern', () => {
    const pf = port('em1', 0, { model: 'BCM57810 NetXtreme II', driver: 'bnx2x' });
    const cluster = scenario(reported('h1', { pfs: [pf] })).given(order(2));
    expect(cluster.events[0]?.data).toMatchObject({
      warnings: [expect.stringContaining('does not keep its VFs over a reboot')],
    });
    cluster.given(done(2), start('vm1', { guestOs: 'Windows Server 2022' }));
    expect(cluster.events.at(-1)?.data).toMatchObject({
      warnings: ['VFs of BCM57810 (bnx2x) are unreliable with Windows guests'],
    });
    cluster.given(start('vm2', { guestOs: 'linux' }));
    expect(JSON.stringify(cluster.events)).not.toContain('warnings');
  });

  test('[PF-15 acts] a split that failed leaves the PF as the next report shows it', () => {
    const failed = say('PfVirtualizationFailed', { ...where, reason: 'no MMIO', numVfs: 8 });
    const cluster = zstack().given(order(8));
    cluster.when(failed).then(expected('PfVirtualizationFailed', { ...where, reason: 'no MMIO', numVfs: 8 }));
    expect(viewPf(cluster.pf('h1', EM1)).state).toBe('virtualizable');
    cluster.when(failed).thenIgnored('stale');
    cluster.given(reported('h1', { seq: 2, pfs: ports(3) }));
    expect(viewPf(cluster.pf('h1', EM1))).toMatchObject({ state: 'virtualized', free: 3, total: 3 });
    zstack().given(order(8), failed).when(order(4)).thenTypes('PfVirtualizationOrdered');
  });

  test('[PF-15 acts] fewer VFs than ordered are accepted, with a warning and drift', () => {
    const cluster = zstack().given(order(4));
    cluster
      .when(done(3))
      .then(
        expected('DriftDetected', { ...where, kind: 'VF_COUNT', expected: 4, observed: 3 }),
        expected('PfVirtualized', { ...where, vfs: vfs('em1', 3), warnings: ['4 VFs were ordered, 3 came'] }),
      );
    cluster.when(reported('h1', { seq: 2, pfs: ports(3) })).thenNothing();
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('facts about what is unknown are ignored', () => {
    const unknown = { hostId: 'h1', pf: '0000:99:00.0' };
    for (const said of [
      say('PfVirtualized', { ...unknown, vfs: [] }),
      say('PfVirtualizationFailed', { ...unknown, reason: 'x' }),
      say('PfRestored', unknown),
      say('PfRestoreFailed', { ...unknown, reason: 'x' }),
      say('PfDriverLost', unknown),
      say('PfLinkChanged', { ...unknown, link: 'up' }),
      say('PfCordoned', { ...unknown, cordoned: true }),
      say('PfAccepted', unknown),
    ]) {
      zstack()
        .when(said)
        .then(expected('InputIgnored', { type: said.type, reason: 'unknown', hostId: 'h1' }));
    }
  });
});

describe('restore', () => {
  test('[PF-10 acts] a restore that nobody ordered leaves the wanted number: after a reboot it is split again', () => {
    const cluster = scenario(reported('h1')).given(order(3), done(3));
    cluster.when(say('PfRestored', where)).thenTypes('DriftDetected', 'PfRestored');
    cluster.takenOver();
    cluster
      .when(reported('h1', { seq: 2 }))
      .then(
        expected('DriftDetected', { ...where, kind: 'VF_COUNT', expected: 3, observed: 0 }),
        expected('DriftResolved', { ...where, kind: 'UNORDERED_RESTORE', expected: 3, observed: 0 }),
      );
    cluster
      .when(reported('h1', { bootId: 'boot-2' }))
      .thenTypes('HostChanged', 'PfVirtualizationOrdered', 'DriftResolved');
    expect(cluster.events[1]?.data).toEqual({ ...where, numVfs: 3 });

    const ordered = scenario(reported('h1')).given(order(3), done(3), restore(), say('PfRestored', where));
    ordered.when(reported('h1', { bootId: 'boot-2' })).thenTypes('HostChanged');
  });

  test('[PF-4 refuses] onBusy reject while a VM uses a VF that it does not hold, naming it', () => {
    const used = ports(vfs('em1', 3, { 1: { usedByVmId: 'alien' }, 2: { boundDriver: 'vfio-pci' } }));
    const cluster = scenario(reported('h1', { pfs: used }));
    const restore = (onBusy?: 'reject') => say('PfRestoreRequested', { hostId: 'h1', pf: EM1, onBusy });
    cluster.when(restore('reject')).thenRefused('PF_BUSY');
    expect(cluster.events[0]?.data).toMatchObject({
      message: 'PF 0000:82:00.0 (em1) of host h1 has 1 of its VFs in use',
      holders: [{ vmId: 'alien', vf: vfAddress('em1', 1) }],
    });
    cluster.given(start('vm1')).when(restore('reject')).thenRefused('PF_BUSY');
    expect((cluster.events[0]?.data as { holders: object[] }).holders).toHaveLength(2);
    cluster.given(stopped('vm1'));
    cluster.given(reported('h1', { seq: 2, pfs: ports(3) }));
    cluster.when(restore('reject')).thenTypes('PfRestoreOrdered');

    scenario(reported('h1', { pfs: used }))
      .when(restore())
      .thenTypes('PfRestoreOrdered');
  });

  test('[PF-4 acts] unload releases the VFs in use first, by force', () => {
    for (const onBusy of [undefined, 'unload'] as const) {
      const cluster = busy();
      const ids = ['vm1', 'vm2'].map((vmId) => cluster.allocation(vmId).id) as [string, string];
      cluster
        .when(restore(onBusy))
        .then(
          released({ allocationId: ids[0], vmId: 'vm1', tenant: 't1', reason: 'pf-restored', forced: true }),
          released({ allocationId: ids[1], vmId: 'vm2', vf: ONE, reason: 'pf-restored', forced: true }),
          expected('NicDegraded', { vmId: 'vm2', nicId: 'eth0', reason: 'pf-restored' }),
          expected('PfRestoreOrdered', where),
        );
      expect(viewVm(cluster.vm('vm1'))).toMatchObject({
        state: 'running',
        nics: [{ state: 'detached-by-force' }],
      });
      expect(viewVm(cluster.vm('vm2'))).toMatchObject({ nics: [{ state: 'degraded' }] });
    }
  });

  test('[PF-4 refuses] reject refuses and lists the holders', () => {
    const cluster = busy();
    const holders = ['vm1', 'vm2'].map((vmId, index) => ({
      vmId,
      nicId: 'eth0',
      vf: index === 0 ? ZERO : ONE,
      allocationId: cluster.allocation(vmId).id,
    }));
    const refusal = expected('PfRestoreRejected', {
      ...where,
      reason: 'PF_BUSY',
      message: `PF ${EM1} (em1) of host h1 has 2 of its VFs in use`,
      holders,
    });
    cluster.when(restore('reject')).then(refusal);
    cluster
      .given(say('ClusterPolicyChanged', { restoreOnBusy: 'reject' }))
      .when(restore())
      .then(refusal);
    cluster.when(restore('unload')).thenTypes('VfReleased', 'VfReleased', 'NicDegraded', 'PfRestoreOrdered');
  });

  test('[PF-4 quiet] without VFs in use it is only ordered', () => {
    scenario(reported('h1', { pfs: ports(3) }))
      .when(restore('reject'))
      .then(expected('PfRestoreOrdered', where));
  });

  test('[PF-4 refuses] what is not split is not restored', () => {
    zstack().when(restore()).thenRefused('PF_NOT_VIRTUALIZED');
    zstack().given(order(2)).when(restore()).thenRefused('PF_BUSY');
    busy().given(restore()).when(restore()).thenRefused('PF_RESTORING');
    zstack()
      .when(say('PfRestoreRequested', { hostId: 'h1', pf: EM3 }))
      .thenRefused('PF_NOT_VIRTUALIZABLE');
  });

  test('[PF-5 refuses] from the order on the PF gets no new allocation', () => {
    const cluster = busy().given(restore());
    cluster.when(start('vm3')).thenRefused('PF_RESTORING');
    cluster.when(start('vm3', { hostId: 'h1' })).thenRefused('PF_RESTORING');
    cluster
      .when(say('VmNicAttachRequested', { vmId: 'vm1', nic: { nicId: 'eth0' } }))
      .thenRefused('PF_RESTORING');
    cluster.when(say('Tick', {})).thenNothing();
    cluster.when(reported('h1', { seq: 2, pfs: ports(3) })).thenNothing();
    cluster.when(start('vm3')).thenRefused('PF_RESTORING');
  });

  test('[PF-5 acts] PfRestored, PfRestoreFailed or a report without VFs ends it', () => {
    const restoring = () => busy().given(restore());
    restoring().when(say('PfRestored', where)).then(expected('PfRestored', where));
    const failed = restoring().when(say('PfRestoreFailed', { ...where, reason: 'busy' }));
    failed.then(expected('PfRestoreFailed', { ...where, reason: 'busy' }));
    failed.when(start('vm3')).thenTypes('VfAllocated', 'VmStartAccepted');
    failed.when(say('PfRestoreFailed', { ...where, reason: 'busy' })).thenIgnored('stale');
    const byReport = restoring().when(reported('h1', { seq: 2, pfs: ports(0) }));
    byReport.thenTypes('HostChanged');
    expect(viewPf(byReport.pf('h1', EM1)).state).toBe('virtualizable');
    byReport.when(say('PfRestored', where)).thenIgnored('already-restored');
  });

  test('[PF-15 acts] a restore that failed leaves the PF as the next report shows it', () => {
    const cluster = busy().given(restore(), say('PfRestoreFailed', { ...where, reason: 'busy' }));
    cluster
      .when(reported('h1', { seq: 2, pfs: ports([vf('em1', 0)]) }))
      .thenTypes('HostChanged', 'DriftDetected');
    expect(viewPf(cluster.pf('h1', EM1))).toMatchObject({ state: 'virtualized', total: 1 });
  });

  test('[PF-16 acts] a restore that nobody ordered is accepted, with its forced releases, and drift', () => {
    const cluster = busy();
    const ids = ['vm1', 'vm2'].map((vmId) => cluster.allocation(vmId).id) as [string, string];
    cluster
      .when(say('PfRestored', where))
      .then(
        released({ allocationId: ids[0], vmId: 'vm1', tenant: 't1', reason: 'pf-restored', forced: true }),
        released({ allocationId: ids[1], vmId: 'vm2', vf: ONE, reason: 'pf-restored', forced: true }),
        expected('NicDegraded', { vmId: 'vm2', nicId: 'eth0', reason: 'pf-restored' }),
        expected('DriftDetected', { ...where, kind: 'UNORDERED_RESTORE', expected: 3, observed: 0 }),
        expected('PfRestored', where),
      );
    expect(cluster.pf('h1', EM1).vfs).toEqual([]);
    cluster.when(say('PfRestored', where)).thenIgnored('already-restored');
    cluster.given(order(2)).when(say('PfRestored', where)).thenRefused('PF_BUSY');
  });

  test('[PF-10 acts] ordering a restore sets the wanted number to 0', () => {
    const cluster = busy().given(restore(), say('PfRestored', where), stopped('vm1'), stopped('vm2'));
    expect(cluster.pf('h1', EM1).wanted).toBe(0);
    cluster.when(reported('h1', { bootId: 'boot-2', pfs: ports(0) })).thenTypes('HostChanged');
  });
});

describe('what the rules of a PF refuse, and what they leave alone', () => {
  test('[PF-1 refuses] what is not virtualizable is neither split nor restored', () => {
    zstack().when(order(1, EM3)).thenRefused('PF_NOT_VIRTUALIZABLE');
    zstack()
      .when(say('PfRestoreRequested', { hostId: 'h1', pf: EM3 }))
      .thenRefused('PF_NOT_VIRTUALIZABLE');
  });

  test('[PF-2 refuses] not beyond the 1,024 VFs that a host may have: its reports could not be read any more', () => {
    const pfs = [port('em1', 0, { totalVfs: 1024 }), port('em2', 0, { totalVfs: 1024 })];
    const cluster = scenario(reported('h1', { pfs })).given(order(1000));
    cluster.when(order(25, EM2)).thenRefused('VF_COUNT_OUT_OF_RANGE');
    expect(cluster.events[0]?.data).toMatchObject({
      message: 'host h1 would have 1025 VFs: it can have 1024, and its other PFs have 1000',
    });
    cluster.when(order(24, EM2)).thenTypes('PfVirtualizationOrdered');
  });

  test('[PF-2 quiet] [PF-5 quiet] work on one PF leaves the other as it is', () => {
    const cluster = scenario(reported('h1', { pfs: ports(0, 2) })).given(order(4));
    expect(viewPf(cluster.pf('h1', EM2))).toMatchObject({ state: 'virtualized', free: 2 });
    cluster.given(done(4), say('PfRestoreRequested', where));
    cluster
      .when(start('vm1', { nics: [nic('eth0', { physicalNetwork: 'em2' })] }))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[PF-3 quiet] a report of the split that is there changes nothing', () => {
    const cluster = zstack().given(order(3), done(3));
    cluster.when(done(3)).thenIgnored('already-virtualized');
    cluster.when(reported('h1', { seq: 2, pfs: ports(3) })).thenNothing();
  });

  test('[PF-7 refuses] a VF is not taken from another PF because of an address', () => {
    const cluster = scenario(reported('h1', { pfs: ports(0, 1) })).given(order(1));
    cluster.when(say('PfVirtualized', { ...where, vfs: [vf('em2', 0)] })).thenRefused('VF_NOT_FREE');
    expect(cluster.vf('h1', vfAddress('em2', 0)).pf.address).toBe(EM2);
  });

  test('[PF-11 quiet] another bond, or none, is no reason for a warning', () => {
    const pfs = [port('em1', 2, { bond: 'b0' }), port('em2', 0, { bond: 'b1' })];
    scenario(reported('h1', { pfs }))
      .given(say('ClusterPolicyChanged', { bond: 'reject' }))
      .when(order(4, EM2))
      .then(expected('PfVirtualizationOrdered', { hostId: 'h1', pf: EM2, numVfs: 4 }));
  });

  test("[PF-12 acts] an operator's limits come before ours, for those that they match, from then on", () => {
    const limits = (hardwareLimits: ClusterPolicyChanged['hardwareLimits']) =>
      say('ClusterPolicyChanged', { hardwareLimits });
    const x = { match: '82599', onSplit: 'old firmware', guests: { match: ['BSD'], warning: 'no link' } };
    const cluster = scenario(reported('h1', { pfs: [port('em1', 0), port('em2', 0, { driver: 'bnx2x' })] }));
    cluster.when(limits([x])).then(expected('ClusterPolicyChanged', { hardwareLimits: [x] }));
    cluster.given(order(2));
    expect(cluster.events[0]?.data).toMatchObject({ warnings: ['old firmware'] });
    cluster.given(done(2), start('vm1', { guestOs: 'FreeBSD 14' }));
    expect(cluster.events.at(-1)?.data).toMatchObject({ warnings: ['no link'] });
    cluster.given(limits([{ match: 'BNX2X' }]), start('vm2', { guestOs: 'FreeBSD 14' }), order(2, EM2));
    // Ours is silenced by one that says nothing, and the one before is gone.
    expect(JSON.stringify(cluster.events)).not.toContain('warnings');
    cluster.given(say('ClusterPolicyChanged', { strategy: 'spread' }));
    expect(cluster.state.policy.hardwareLimits).toEqual([{ match: 'BNX2X' }]);
  });

  test.each([
    'windows',
    'Win10',
    'win2k22',
    'Windows Server 2022',
    'http://microsoft.com/win/2k19',
    'MSWindows',
  ])(
    '[PF-12 acts] the guest system %s is known, on hardware that says its model, its driver or its ids only',
    (guestOs) => {
      const ids = { model: undefined, driver: undefined, vendorId: '14e4', deviceId: '168E' };
      for (const fields of [{ model: 'NetXtreme II BCM57810' }, { driver: 'bnx2x' }, ids]) {
        const cluster = scenario(reported('h1', { pfs: [port('em1', 1, fields)] }));
        cluster.when(start('vm1', { guestOs }));
        expect(cluster.events.at(-1)?.data).toMatchObject({
          warnings: ['VFs of BCM57810 (bnx2x) are unreliable with Windows guests'],
        });
      }
    },
  );

  test.each(['darwin', 'Darwin20', 'linux', 'netwin'])('[PF-12 quiet] the guest system %s', (guestOs) => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', 1, { driver: 'bnx2x' })] }));
    cluster.when(start('vm1', { guestOs }));
    expect(cluster.events.at(-1)?.data).not.toHaveProperty('warnings');
  });

  test('[PF-12 quiet] other hardware, and a guest that is not named, get no warnings', () => {
    const cluster = zstack().given(order(2));
    expect(cluster.events[0]?.data).not.toHaveProperty('warnings');
    cluster.given(done(2), start('vm1', { guestOs: 'Windows Server 2022' }));
    expect(cluster.events.at(-1)?.data).not.toHaveProperty('warnings');
    const broadcom = scenario(reported('h1', { pfs: [port('em1', 2, { driver: 'bnx2x' })] }));
    broadcom.given(start('vm1'));
    expect(broadcom.events.at(-1)?.data).not.toHaveProperty('warnings');
  });

  test('[PF-15 refuses] a failure of work that was not ordered is late', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) }));
    cluster.when(say('PfRestoreFailed', { ...where, reason: 'busy' })).thenIgnored('stale');
    cluster.when(say('PfVirtualizationFailed', { ...where, reason: 'x' })).thenIgnored('stale');
    expect(viewPf(cluster.pf('h1', EM1)).state).toBe('virtualized');
  });

  test('[PF-15 quiet] as many VFs as were ordered: no warning and no drift', () => {
    zstack()
      .given(order(3))
      .when(done(3))
      .then(expected('PfVirtualized', { ...where, vfs: vfs('em1', 3) }));
  });

  test('[PF-16 refuses] a report of a restore while the PF is being split comes too late', () => {
    zstack().given(order(3)).when(say('PfRestored', where)).thenRefused('PF_BUSY');
  });

  test('[PF-16 quiet] a PF that is not split cannot be restored, nor is it drift', () => {
    zstack().when(say('PfRestored', where)).thenIgnored('already-restored');
  });
});
