import { describe, expect, test } from '@jest/globals';
import { viewHost, viewPf, viewVf } from '../views.js';
import {
  EM1,
  EM2,
  EM3,
  host,
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

const ZERO = vfAddress('em1', 0);
const ONE = vfAddress('em1', 1);
const split = (count = 2) => scenario(reported('h1', { pfs: ports(count) }));
const inUse = (vmId: string) => vfs('em1', 2, { 0: { usedByVmId: vmId, boundDriver: 'vfio-pci' } });

describe('the first report, and the next', () => {
  test('[HOST-9 acts] the first registers the host with its inventory', () => {
    const report = host('h1', { pfs: ports(1), vms: ['a'], scrubs: true, bootedAt: '2025-12-31T00:00:00Z' });
    const { vms: _vms, ...inventory } = report;
    scenario().when(say('HostReported', report)).then(expected('HostRegistered', inventory));
  });

  test('[EX-7 quiet] an unchanged report leaves nothing', () => {
    const cluster = split().given(start('vm1'), started('vm1'));
    cluster.when(reported('h1', { seq: 2, pfs: ports(2) })).thenNothing();
    cluster.when(say('HostSeen', { hostId: 'h1', bootId: 'boot-1', seq: 3, digest: 'd' })).thenNothing();
    cluster.when(say('HostSeen', { hostId: 'h9', bootId: 'boot-1', seq: 3, digest: 'd' })).thenNothing();
  });

  test('a changed report says what changed and not the inventory again', () => {
    const cluster = split(1);
    cluster
      .when(
        reported('h1', {
          seq: 2,
          iommu: { enabled: true, ready: false },
          interruptRemapping: false,
          unsafeInterruptsAllowed: true,
          scrubs: true,
          pfs: [
            port('em1', [vf('em1', 0, { vlan: 5 }), vf('em1', 1)], { speedMbps: 1000, model: undefined }),
            port('em2'),
            port('em4', 0, { pciAddress: '0000:07:00.0' }),
          ],
        }),
      )
      .thenTypes('HostChanged', 'DriftDetected', 'DriftDetected', 'DriftDetected');
    expect(cluster.log.at(-4)?.data).toEqual({
      hostId: 'h1',
      bootId: 'boot-1',
      seq: 2,
      iommu: { enabled: true, ready: false },
      interruptRemapping: false,
      unsafeInterruptsAllowed: true,
      scrubs: true,
      pfs: [
        {
          pciAddress: EM1,
          speedMbps: 1000,
          unset: ['model'],
          vfs: [vf('em1', 0, { vlan: 5 }), vf('em1', 1)],
        },
        port('em4', 0, { pciAddress: '0000:07:00.0' }),
      ],
      unseenPfs: [EM3, '0000:06:00.1'],
    });
    expect(cluster.events.slice(1).map(({ data }) => data)).toEqual([
      { hostId: 'h1', pf: EM1, kind: 'VF_COUNT', expected: 1, observed: 2 },
      { hostId: 'h1', pf: EM3, kind: 'DEVICE_UNSEEN' },
      { hostId: 'h1', pf: '0000:06:00.1', kind: 'DEVICE_UNSEEN' },
    ]);
  });
});

describe('readiness', () => {
  const with1 = (fields: Parameters<typeof host>[1]) =>
    scenario(reported('h1', { pfs: ports(1), ...fields }));

  test('[HOST-1 acts] a host serves VFs if its IOMMU is enabled and ready', () => {
    with1({}).when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[HOST-1 refuses] enabled but not ready is said as reboot pending or firmware off', () => {
    const cluster = with1({ iommu: { enabled: true, ready: false } });
    cluster.when(start('vm1', { hostId: 'h1' })).thenRefused('HOST_NOT_READY');
    expect(cluster.events[0]?.data).toMatchObject({
      message: expect.stringContaining('reboot pending or firmware off'),
    });
    cluster.when(start('vm1')).thenRefused('HOST_NOT_READY');
    with1({ iommu: { enabled: false, ready: false } })
      .when(start('vm1'))
      .thenRefused('HOST_NOT_READY');
    with1({ iommu: { enabled: false, ready: true } })
      .when(start('vm1'))
      .thenRefused('HOST_NOT_READY');
    const unsplit = scenario(reported('h1', { iommu: { enabled: true, ready: false } }));
    unsplit.when(say('PfVirtualizeRequested', { hostId: 'h1', pf: EM1, numVfs: 2 })).then(
      expected('PfVirtualizationRejected', {
        hostId: 'h1',
        pf: EM1,
        numVfs: 2,
        reason: 'HOST_NOT_READY',
        message: 'host h1 has its IOMMU enabled but not ready: reboot pending or firmware off',
      }),
    );
    expect(viewHost(unsplit.host('h1'))).toMatchObject({
      state: 'not-ready',
      iommu: { enabled: true, ready: false },
    });
  });

  test('[HOST-1 acts] it serves when it becomes ready, and what it has stays when it does not', () => {
    const cluster = with1({ iommu: { enabled: true, ready: false } });
    cluster
      .given(reported('h1', { seq: 2, pfs: ports(1) }))
      .when(start('vm1'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
    cluster.given(reported('h1', { seq: 3, pfs: ports(1), iommu: { enabled: true, ready: false } }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
  });

  test('[HOST-2 acts] [HOST-2 refuses] it needs interrupt remapping, or unsafe interrupts allowed', () => {
    with1({ interruptRemapping: false }).when(start('vm1')).thenRefused('HOST_NOT_READY');
    with1({ interruptRemapping: false, unsafeInterruptsAllowed: true })
      .when(start('vm1'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
    const unsplit = scenario(reported('h1', { interruptRemapping: false }));
    unsplit
      .when(say('PfVirtualizeRequested', { hostId: 'h1', pf: EM1, numVfs: 2 }))
      .thenRefused('HOST_NOT_READY');
  });
});

describe('observations do not take VFs', () => {
  test('[EX-7 acts] [EX-7 refuses] a report that shows a VF unused, used by another or not at all releases nothing', () => {
    for (const pfs of [ports(2), ports(inUse('vm7')), ports([vf('em1', 1)]), ports(0), [port('em2')]]) {
      const cluster = split().given(start('vm1'), started('vm1'));
      const { id } = cluster.allocation('vm1');
      cluster.given(reported('h1', { seq: 2, pfs, vms: [] }));
      expect(cluster.allocation('vm1').id).toBe(id);
      expect(cluster.events.map(({ type }) => type)).not.toContain('VfReleased');
      expect(cluster.events.map(({ type }) => type)).toContain('DriftDetected');
    }
  });

  test('[HOST-7 acts] a VF in use by a VM that does not hold it is not free until a report says otherwise', () => {
    const cluster = split();
    const drift = { hostId: 'h1', pf: EM1, vf: ZERO, kind: 'USED_BY_STRANGER', observed: 'vm7' } as const;
    cluster.when(reported('h1', { seq: 2, pfs: ports(inUse('vm7')) })).then(
      expected('HostChanged', {
        hostId: 'h1',
        bootId: 'boot-1',
        seq: 2,
        pfs: [{ pciAddress: EM1, vfs: [vf('em1', 0, { usedByVmId: 'vm7', boundDriver: 'vfio-pci' })] }],
      }),
      expected('DriftDetected', drift),
    );
    cluster.given(start('vm1'));
    expect(cluster.holds('vm1')).toEqual([ONE]);
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster.when(reported('h1', { seq: 3, pfs: ports(inUse('vm7')) })).thenNothing();
    cluster.given(reported('h1', { seq: 4, pfs: ports(2) }));
    expect(cluster.events.at(-1)).toEqual(expected('DriftResolved', drift));
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[HOST-7 refuses] a VF bound to a pass-through driver while nobody holds it is not free', () => {
    const bound = { pfs: ports(vfs('em1', 1, { 0: { boundDriver: 'vfio-pci' } })) };
    const cluster = scenario(reported('h1', bound));
    cluster.thenTypes('HostRegistered', 'DriftDetected');
    cluster.when(start('vm1')).thenRefused('VF_EXHAUSTED');
  });

  test('[HOST-7 quiet] a VF in the hands of its holder is no drift, also when the holder has only just stopped', () => {
    const cluster = split().given(start('vm1'), started('vm1'));
    cluster.when(reported('h1', { seq: 2, pfs: ports(inUse('vm1')) })).thenTypes('HostChanged');
    cluster.given(stopped('vm1')).when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
    expect(cluster.holds('vm2')).toEqual([ZERO]);
  });

  test('[EX-1 refuses] a VF that a report gives to another PF stays with its holder', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1, 1) })).given(start('vm1'), started('vm1'));
    cluster.given(reported('h1', { seq: 2, pfs: ports([], [vf('em1', 0), vf('em2', 0)]) }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.given(start('vm2', { nics: [nic('eth0', { physicalNetwork: 'em2' })] }));
    expect(cluster.holds('vm2')).toEqual([vfAddress('em2', 0)]);
    cluster
      .when(start('vm3', { nics: [nic('eth0', { physicalNetwork: 'em2' })] }))
      .thenRefused('VF_EXHAUSTED');
  });

  test('[EX-1 acts] a free VF that goes over to another PF is one VF, in either order', () => {
    const [em1, em2] = [port('em1', []), port('em2', [vf('em1', 0), vf('em2', 0)])];
    for (const pfs of [
      [em1, em2],
      [em2, em1],
    ]) {
      const cluster = scenario(reported('h1', { pfs: ports(1, 1) })).given(reported('h1', { seq: 2, pfs }));
      const on2 = [nic('eth0', { physicalNetwork: 'em2' }), nic('eth1', { physicalNetwork: 'em2' })];
      cluster.when(start('vm1', { nics: on2 })).thenTypes('VfAllocated', 'VfAllocated', 'VmStartAccepted');
      cluster.when(start('vm2')).thenRefused('PF_NOT_VIRTUALIZED');
    }
  });
});

describe('a new boot', () => {
  const running = () =>
    scenario(reported('h1', { pfs: ports(2), vms: [] }), start('vm1', { hostId: 'h1' }), started('vm1'));

  test('[HOST-4 acts] releases what the boot before held, before anything else', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    cluster.when(reported('h1', { bootId: 'boot-2', pfs: ports(0) })).then(
      released({ allocationId: id, vmId: 'vm1', reason: 'host-rebooted' }),
      expected('HostChanged', {
        hostId: 'h1',
        bootId: 'boot-2',
        seq: 1,
        rebooted: true,
        stoppedVms: ['vm1'],
        pfs: [{ pciAddress: EM1, goneVfs: [ZERO, ONE] }],
      }),
      expected('PfVirtualizationOrdered', { hostId: 'h1', pf: EM1, numVfs: 2 }),
    );
  });

  test('[HOST-4 quiet] keeps what the same report shows in use by its holder', () => {
    const cluster = running();
    cluster
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(inUse('vm1')), vms: ['vm1'] }))
      .thenTypes('HostChanged');
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    expect(cluster.vm('vm1').state).toBe('running');
  });

  test('[HOST-4 quiet] keeps what a VmStarted of this boot holds', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) })).given(
      start('vm1'),
      say('VmStarted', { vmId: 'vm1', hostId: 'h1', bootId: 'boot-2' }),
    );
    cluster.when(reported('h1', { bootId: 'boot-2', pfs: ports(2) })).thenTypes('HostChanged');
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(reported('h1', { bootId: 'boot-3', pfs: ports(2) })).thenTypes('VfReleased', 'HostChanged');
  });

  test('[HOST-4 acts] its VFs are unknown until reported', () => {
    const cluster = running().given(reported('h1', { bootId: 'boot-2', pfs: ports(0) }));
    cluster.when(start('vm1')).thenRefused('PF_BUSY');
    cluster.given(say('PfVirtualized', { hostId: 'h1', pf: EM1, vfs: vfs('em1', 2) }));
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[HOST-5 acts] ends a fence, and brings a lost host back', () => {
    const cluster = running().given(say('HostFenced', { hostId: 'h1' }));
    cluster.when(reported('h1', { seq: 2, pfs: ports(2) })).thenNothing();
    cluster.when(start('vm1')).thenRefused('HOST_LOST');
    cluster.given(say('Tick', {}), say('Tick', {}, { after: 100 }));
    cluster.when(reported('h1', { bootId: 'boot-2', pfs: ports(2) })).thenTypes('HostChanged', 'HostBack');
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });
});

describe('order of reports', () => {
  test('[HOST-9 refuses] a seq that is not above the last, and a report of an earlier boot, change nothing', () => {
    const cluster = split();
    const other = { pfs: ports(1) };
    cluster.when(reported('h1', { seq: 1, ...other })).thenIgnored('stale');
    cluster.given(reported('h1', { seq: 5, pfs: ports(2) }));
    cluster.when(reported('h1', { seq: 5, ...other })).thenIgnored('stale');
    cluster.when(reported('h1', { seq: 4, ...other })).thenNothing();
    cluster.given(reported('h1', { bootId: 'boot-2', seq: 1, pfs: ports(2) }));
    cluster.when(reported('h1', { bootId: 'boot-1', seq: 9, ...other })).thenIgnored('stale');
    expect(cluster.pf('h1', EM1).vfs).toHaveLength(2);
    cluster
      .when(reported('h1', { bootId: 'boot-2', seq: 2, ...other }))
      .thenTypes('HostChanged', 'DriftDetected');
  });

  test('[HOST-9 refuses] a boot that began earlier is an earlier boot, though it was never seen', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2), bootedAt: '2025-12-31T12:00:00Z' }));
    cluster
      .when(reported('h1', { bootId: 'boot-0', seq: 9, pfs: ports(0), bootedAt: '2025-12-31T11:00:00Z' }))
      .thenIgnored('stale');
    cluster
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(2), bootedAt: '2025-12-31T13:00:00Z' }))
      .thenTypes('HostChanged');
  });

  test('[HOST-9 acts] HostSeen has its place in the order too', () => {
    const cluster = split().given(say('HostSeen', { hostId: 'h1', bootId: 'boot-1', seq: 7, digest: 'd' }));
    cluster.when(reported('h1', { seq: 6, pfs: ports(1) })).thenIgnored('stale');
    cluster.when(reported('h1', { seq: 8, pfs: ports(1) })).thenTypes('HostChanged', 'DriftDetected');
  });
});

describe('devices', () => {
  test('[PF-7 acts] addresses come from the report, whatever they are', () => {
    const odd = { pciAddress: '0001:af:1f.7', index: 0 };
    const cluster = scenario(reported('h1', { pfs: ports([odd, vf('em1', 0, { index: 1 })], 2) }));
    cluster.given(start('vm1'));
    expect(cluster.holds('vm1')).toEqual(['0001:af:1f.7']);
    cluster.given(start('vm2', { nics: [nic('eth0', { physicalNetwork: 'em2' })] }));
    expect(cluster.holds('vm2')).toEqual(['0000:82:10.1']);
  });

  test('[PF-8 acts] addresses come out as they are written on the wire', () => {
    const cluster = split(5).given(start('vm1'));
    for (const address of [EM1, EM2, ...cluster.pf('h1', EM1).vfs.map((v) => v.report.pciAddress)])
      expect(address).toMatch(/^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/);
  });

  test('[PF-9 acts] [PF-9 refuses] other hardware at the address serves nothing until an operator accepts it', () => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', 2, { serial: 'A1' })] })).given(start('vm1'));
    const changed = [port('em1', 2, { serial: 'B2' })];
    const drift = {
      hostId: 'h1',
      pf: EM1,
      kind: 'PF_IDENTITY',
      expected: 'vendorId 8086, deviceId 10fb, serial A1',
      observed: 'vendorId 8086, deviceId 10fb, serial B2',
    } as const;
    cluster.when(reported('h1', { seq: 2, pfs: changed })).then(
      expected('HostChanged', {
        hostId: 'h1',
        bootId: 'boot-1',
        seq: 2,
        pfs: [{ pciAddress: EM1, serial: 'B2' }],
      }),
      expected('DriftDetected', drift),
    );
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(start('vm2')).thenRefused('PF_IDENTITY_CHANGED');
    cluster.when(say('PfRestoreRequested', { hostId: 'h1', pf: EM1 })).thenRefused('PF_IDENTITY_CHANGED');
    cluster.when(reported('h1', { seq: 3, pfs: changed })).thenNothing();
    cluster
      .when(say('PfAccepted', { hostId: 'h1', pf: EM1 }))
      .then(expected('DriftResolved', drift), expected('PfAccepted', { hostId: 'h1', pf: EM1 }));
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
    cluster.when(say('PfAccepted', { hostId: 'h1', pf: EM1 })).thenIgnored('unchanged');
    cluster.when(reported('h1', { seq: 4, pfs: changed })).thenNothing();
  });

  test('[PF-9 refuses] a report that leaves out what differed lifts no block; the known hardware does', () => {
    const shows = (seq: number, serial?: string) =>
      reported('h1', { seq, pfs: [port('em1', 1, { serial })] });
    const cluster = scenario(shows(1, 'A1')).given(shows(2, 'B2'));
    cluster.when(shows(3)).thenTypes('HostChanged', 'DriftDetected');
    cluster.takenOver().when(start('vm1')).thenRefused('PF_IDENTITY_CHANGED');
    cluster.when(shows(4)).thenNothing();
    const drift = cluster.host('h1').drifts.size;
    expect(drift).toBe(1);
    cluster.when(shows(5, 'A1')).thenTypes('HostChanged', 'DriftResolved');
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');

    const accepted = scenario(shows(1, 'A1')).given(shows(2, 'B2'), shows(3));
    accepted.when(say('PfAccepted', { hostId: 'h1', pf: EM1 })).thenTypes('DriftResolved', 'PfAccepted');
    accepted.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test.each([
    'vfio-pci',
    'mlx5_vfio_pci',
    'hisi-acc-vfio-pci',
    'pds_vfio_pci',
    'virtio_vfio_pci',
    'qat_vfio_pci',
    'pci-stub',
    'pciback',
    'xen-pciback',
    'uio_pci_generic',
    'uio_hv_generic',
    'igb_uio',
  ])('[HOST-7 refuses] a VF that is bound to %s while nobody holds it', (boundDriver) => {
    const cluster = scenario(reported('h1', { pfs: ports(vfs('em1', 1, { 0: { boundDriver } })) }));
    cluster.thenTypes('HostRegistered', 'DriftDetected');
    cluster.when(start('vm1')).thenRefused('VF_EXHAUSTED');
  });

  test.each(['iavf', 'ixgbevf', 'mlx5_core', 'bnx2x', 'virtio-pci'])(
    '[HOST-7 quiet] a VF that is bound to %s',
    (boundDriver) => {
      scenario(reported('h1', { pfs: ports(vfs('em1', 1, { 0: { boundDriver } })) }))
        .thenTypes('HostRegistered')
        .when(start('vm1'))
        .thenTypes('VfAllocated', 'VmStartAccepted');
    },
  );

  test('[PF-9 quiet] what one side does not know says nothing', () => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', 1)] }));
    cluster
      .when(reported('h1', { seq: 2, pfs: [port('em1', 1, { serial: 'A1' })] }))
      .thenTypes('HostChanged');
    cluster.when(reported('h1', { seq: 3, pfs: [port('em1', 1)] })).thenTypes('HostChanged');
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
    cluster
      .when(reported('h1', { seq: 4, pfs: [port('em1', 1, { serial: 'B2' })] }))
      .thenTypes('HostChanged', 'DriftDetected');
  });

  test('[PF-9 refuses] other hardware is not split again after a reboot', () => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', 2, { serial: 'A1' })] }));
    const boot2 = (seq: number) =>
      reported('h1', { bootId: 'boot-2', seq, pfs: [port('em1', 0, { serial: 'B2' })] });
    cluster.when(boot2(1)).thenTypes('HostChanged', 'DriftDetected');
    cluster.given(
      say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'down' }),
      say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'up' }),
    );
    cluster.thenTypes('PfLinkChanged');
    // PF-10: it is still owed its VFs, and its host may have nothing new to report.
    cluster
      .when(say('PfAccepted', { hostId: 'h1', pf: EM1 }))
      .thenTypes('DriftResolved', 'PfVirtualizationOrdered', 'PfAccepted');
    cluster.when(boot2(2)).thenNothing();
  });

  test('[PF-10 acts] after a reboot with count 0 the host is told to split again', () => {
    split(4)
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(0) }))
      .then(
        expected('HostChanged', {
          hostId: 'h1',
          bootId: 'boot-2',
          seq: 1,
          rebooted: true,
          pfs: [{ pciAddress: EM1, goneVfs: [0, 1, 2, 3].map((i) => vfAddress('em1', i)) }],
        }),
        expected('PfVirtualizationOrdered', { hostId: 'h1', pf: EM1, numVfs: 4 }),
      );
  });

  test('[PF-10 acts] when the link is down, once it is up', () => {
    const down = [port('em1', 0, { link: 'down' })];
    const rebooted = () =>
      scenario(reported('h1', { pfs: [port('em1', 4)] })).given(
        reported('h1', { bootId: 'boot-2', pfs: down }),
      );
    rebooted().thenTypes('HostChanged');
    rebooted()
      .when(reported('h1', { bootId: 'boot-2', seq: 2, pfs: down }))
      .thenNothing();
    rebooted()
      .when(say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'up' }))
      .then(
        expected('PfVirtualizationOrdered', { hostId: 'h1', pf: EM1, numVfs: 4 }),
        expected('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'up' }),
      );
    rebooted()
      .when(reported('h1', { bootId: 'boot-2', seq: 2, pfs: [port('em1', 0)] }))
      .thenTypes('HostChanged', 'PfVirtualizationOrdered');
  });

  test('[PF-10 acts] when the host is not ready, once it is', () => {
    const notReady = { iommu: { enabled: true, ready: false }, bootId: 'boot-2', pfs: [port('em1', 0)] };
    scenario(reported('h1', { pfs: [port('em1', 4)] }))
      .given(reported('h1', notReady))
      .thenTypes('HostChanged')
      .when(reported('h1', { bootId: 'boot-2', seq: 2, pfs: [port('em1', 0)] }))
      .thenTypes('HostChanged', 'PfVirtualizationOrdered');
  });

  test('[PF-10 quiet] count right: nothing; another count: drift, never a silent restore', () => {
    split(4)
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(4) }))
      .thenTypes('HostChanged');
    split(4)
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(3) }))
      .thenTypes('HostChanged', 'DriftDetected');
    const cluster = split(4).given(reported('h1', { bootId: 'boot-2', pfs: ports(6) }));
    expect(cluster.events.at(-1)).toEqual(
      expected('DriftDetected', { hostId: 'h1', pf: EM1, kind: 'VF_COUNT', expected: 4, observed: 6 }),
    );
    cluster
      .when(reported('h1', { bootId: 'boot-2', seq: 2, pfs: ports(4) }))
      .thenTypes('HostChanged', 'DriftResolved');
  });

  test('[PF-10 refuses] without a reboot a count of 0 is drift, and is not mended', () => {
    split(4)
      .when(reported('h1', { seq: 2, pfs: ports(0) }))
      .thenTypes('HostChanged', 'DriftDetected');
  });

  test('[PF-10 quiet] a PF that nobody wanted split, or that was restored, is left alone', () => {
    split(0)
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(0) }))
      .thenTypes('HostChanged');
    split(2)
      .given(say('PfRestoreRequested', { hostId: 'h1', pf: EM1 }))
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(0) }))
      .thenTypes('HostChanged');
  });

  test('[PF-10 acts] a split that was under way is ordered again', () => {
    split(0)
      .given(say('PfVirtualizeRequested', { hostId: 'h1', pf: EM1, numVfs: 3 }))
      .when(reported('h1', { bootId: 'boot-2', pfs: ports(0) }))
      .thenTypes('HostChanged', 'PfVirtualizationOrdered');
  });

  test('[PF-14 acts] [PF-14 refuses] a device unseen while in use is marked, never deleted, and never becomes free by itself', () => {
    const cluster = split().given(start('vm1'), started('vm1'));
    cluster.when(reported('h1', { seq: 2, pfs: ports([vf('em1', 1)]) })).then(
      expected('HostChanged', {
        hostId: 'h1',
        bootId: 'boot-1',
        seq: 2,
        pfs: [{ pciAddress: EM1, goneVfs: [ZERO] }],
      }),
      expected('DriftDetected', { hostId: 'h1', pf: EM1, vf: ZERO, vmId: 'vm1', kind: 'DEVICE_UNSEEN' }),
      expected('DriftDetected', { hostId: 'h1', pf: EM1, kind: 'VF_COUNT', expected: 2, observed: 1 }),
    );
    expect(cluster.vf('h1', ZERO).marks.unseen).toBe(true);
    cluster.when(reported('h1', { seq: 3, pfs: ports([vf('em1', 1)]) })).thenNothing();
    cluster.given(stopped('vm1'));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('unavailable');
    cluster.given(start('vm1'));
    expect(cluster.holds('vm1')).toEqual([ONE]);
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    cluster
      .given(reported('h1', { seq: 4, pfs: ports(2) }))
      .when(start('vm2'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[PF-14 quiet] once its holder has let it go, a VF that is not there is forgotten', () => {
    const cluster = split(1).given(start('vm1'), reported('h1', { seq: 2, pfs: ports(0) }), stopped('vm1'));
    cluster.given(reported('h1', { seq: 3, pfs: ports(0) }));
    expect(cluster.pf('h1', EM1).vfs).toEqual([]);
    expect(viewPf(cluster.pf('h1', EM1))).toMatchObject({ state: 'virtualizable', free: '-', total: '-' });
    cluster.when(reported('h1', { seq: 4, pfs: ports(0) })).thenNothing();
  });

  test('[PF-14 acts] an unseen PF serves nothing and comes back', () => {
    const cluster = split().given(start('vm1'), reported('h1', { seq: 2, pfs: [port('em2')] }));
    expect(cluster.pf('h1', EM1).lost).toBe(true);
    cluster.when(start('vm2')).thenRefused('PF_LOST');
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster
      .given(reported('h1', { seq: 3, pfs: ports(2) }))
      .when(start('vm2'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[EX-1 quiet] a VF whose holder ends with the boot may be shown by another PF in the same report', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1, 1) })).given(start('vm1'));
    const moved = [port('em1'), port('em2', [vf('em2', 0), { pciAddress: ZERO, index: 1 }])];
    cluster.given(reported('h1', { bootId: 'boot-2', seq: 1, pfs: moved }));
    const nics = [nic('eth0', { physicalNetwork: 'em2' }), nic('eth1', { physicalNetwork: 'em2' })];
    cluster.when(start('vm2', { nics })).thenTypes('VfAllocated', 'VfAllocated', 'VmStartAccepted');
  });

  test('[EX-1 acts] one that is held, or waits for its scrub, stays with its PF', () => {
    for (const scrubs of [false, true]) {
      const cluster = scenario(reported('h1', { scrubs, pfs: ports(1, 1) })).given(start('vm1'));
      const moved = [port('em1'), port('em2', [vf('em2', 0), { pciAddress: ZERO, index: 1 }])];
      const boot = scrubs ? { bootId: 'boot-2', seq: 1 } : { seq: 2 };
      cluster.given(reported('h1', { ...boot, scrubs, pfs: moved }));
      expect(cluster.pf('h1', EM2).vfs.map(({ report }) => report.pciAddress)).not.toContain(ZERO);
    }
  });

  test('[SCRUB-1 acts] a word on an allocation that ends with this report counts, whether it is new or was said before', () => {
    for (const before of [undefined, 'said']) {
      const cluster = scenario(reported('h1', { scrubs: true, pfs: ports(1) }));
      const scrubbedFor = cluster.token();
      cluster.given(start('vm1'));
      const pfs = ports([vf('em1', 0, { scrubbedFor })]);
      if (before !== undefined) cluster.given(reported('h1', { seq: 2, scrubs: true, pfs }));
      cluster.given(reported('h1', { bootId: 'boot-2', seq: 1, scrubs: true, pfs }));
      expect(cluster.vf('h1', ZERO).marks.scrub).toBeUndefined();
      cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
    }
  });
});

describe('reports that say nothing new', () => {
  test('[HOST-1 quiet] [HOST-2 quiet] [HOST-9 quiet] the same facts with a later seq leave nothing', () => {
    const cluster = split();
    for (const seq of [2, 3, 700]) cluster.when(reported('h1', { seq, pfs: ports(2) })).thenNothing();
    cluster.when(say('HostSeen', { hostId: 'h1', bootId: 'boot-1', seq: 701, digest: 'd' })).thenNothing();
  });

  test('[HOST-2 quiet] unsafe interrupts do not matter where there is remapping', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1), unsafeInterruptsAllowed: true }));
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[PF-7 quiet] of a PF that shows no VFs none are made up', () => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', 0, { totalVfs: 63 })] }));
    expect(cluster.host('h1').vfs.size).toBe(0);
  });

  test('[PF-1 quiet] a link that goes is a fact of its own: the PF stays virtualized', () => {
    const cluster = split().given(say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'down' }));
    expect(viewPf(cluster.pf('h1', EM1))).toMatchObject({ state: 'virtualized', link: 'down' });
  });
});
