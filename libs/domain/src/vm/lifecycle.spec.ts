import { describe, expect, test } from '@jest/globals';
import type { AdoptedNic, VmAdopted } from '../inputs.js';
import { viewVf, viewVm } from '../views.js';
import {
  allocated,
  EM1,
  macOf,
  networks,
  nic,
  ports,
  released,
  reported,
  start,
  started,
  stopped,
  vfAddress,
  vfs,
} from '../testing/fleet.js';
import { BEGINNING, expected, say, scenario } from '../testing/scenario.js';

const twoHosts = () => scenario(reported('h1', { pfs: ports(2) }), reported('h2', { pfs: ports(2) }));
const running = () => twoHosts().given(start('vm1', { hostId: 'h1' }), started('vm1'));
const ZERO = vfAddress('em1', 0);
const time = (seconds: number): string => new Date(BEGINNING + seconds * 1000).toISOString();

describe('started, rebooted, pinned', () => {
  test('[VM-5 acts] a reboot inside the guest releases nothing', () => {
    const cluster = running();
    cluster.when(say('VmRebooted', { vmId: 'vm1' })).then(expected('VmRebooted', { vmId: 'vm1' }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    expect(cluster.vm('vm1').state).toBe('running');
    cluster
      .given(stopped('vm1'))
      .when(say('VmRebooted', { vmId: 'vm1' }))
      .thenIgnored('already-stopped');
  });

  test('[VM-5 quiet] of a VM that does not run, a reboot says nothing', () => {
    const cluster = running().given(stopped('vm1'));
    cluster.when(say('VmRebooted', { vmId: 'vm1' })).thenIgnored('already-stopped');
    cluster.when(say('VmRebooted', { vmId: 'vm9' })).thenIgnored('unknown');
  });

  test('[VM-11 quiet] a VM that holds none has not', () => {
    const cluster = twoHosts().given(
      start('vm1', { nics: [{ nicId: 'eth0', type: 'vnic' }] }),
      started('vm1'),
    );
    expect(viewVm(cluster.vm('vm1')).memoryPinned).toBe(false);
  });

  test('[VM-9 quiet] a running VM that never had a VF moves as it likes', () => {
    const cluster = twoHosts().given(
      start('vm1', { nics: [{ nicId: 'eth0', type: 'vnic' }] }),
      started('vm1'),
    );
    for (const kind of ['live', 'storage'] as const)
      cluster.when(say('VmMigrationRequested', { vmId: 'vm1', kind })).thenTypes('VmMigrationAllowed');
  });

  test('[VM-15 quiet] a VM that was destroyed may be started', () => {
    const cluster = running().given(say('VmDestroyed', { vmId: 'vm1' }));
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-16 refuses] a late word of the boot before does not make it run', () => {
    const cluster = running().given(reported('h1', { bootId: 'boot-2', pfs: ports(2), vms: [] }));
    expect(cluster.vm('vm1').state).toBe('stopped');
    cluster.when(started('vm1', { hostId: 'h1', bootId: 'boot-1' })).thenIgnored('stale');
    expect(cluster.vm('vm1').state).toBe('stopped');
  });

  test('[VM-11 acts] a VM that holds a VF has its memory pinned', () => {
    const cluster = running();
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ memoryPinned: true, migratable: false });
    cluster.given(stopped('vm1'));
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ memoryPinned: false, migratable: true });
    cluster.given(start('vm2', { nics: [{ nicId: 'eth0', type: 'vnic' }] }));
    expect(viewVm(cluster.vm('vm2'))).toMatchObject({ memoryPinned: false, migratable: true });
  });

  test('[VM-12 acts] an allocation is pending until its VM is reported started', () => {
    const cluster = twoHosts().given(start('vm1', { hostId: 'h1' }));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('pending');
    cluster
      .when(started('vm1', { hostId: 'h1', bootId: 'boot-1' }))
      .then(expected('VmStarted', { vmId: 'vm1', hostId: 'h1', bootId: 'boot-1' }));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('allocated');
    cluster.when(started('vm1', { hostId: 'h1', bootId: 'boot-1' })).thenIgnored('already-running');
    cluster.when(started('vm1', { hostId: 'h1', bootId: 'boot-2' })).thenTypes('VmStarted');
  });
});

describe('a start that is never reported started', () => {
  const overdue = () =>
    scenario(reported('h1', { pfs: ports(1), vms: [] }), start('vm1')).given(say('Tick', {}, { after: 300 }));
  const report = (seq: number, fields: Parameters<typeof reported>[1] = {}) =>
    reported('h1', { seq, pfs: ports(1), vms: [], ...fields });

  test('[VM-12 acts] it is reported overdue once, and not ended', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }), start('vm1'));
    const { id } = cluster.allocation('vm1');
    cluster.when(say('Tick', {}, { after: 80 })).thenNothing();
    cluster.given(reported('h1', { seq: 2, pfs: ports(1) }));
    cluster.when(say('Tick', {}, { after: 80 })).thenNothing();
    cluster.given(reported('h1', { seq: 3, pfs: ports(1) }), say('Tick', {}, { after: 80 }));
    cluster.given(reported('h1', { seq: 4, pfs: ports(1) }));
    cluster.when(say('Tick', {}, { after: 56 })).thenNothing();
    cluster.when(say('Tick', {})).then(
      expected('AllocationOverdue', {
        allocationId: id,
        vmId: 'vm1',
        hostId: 'h1',
        vf: ZERO,
        since: time(2),
      }),
    );
    cluster.when(say('Tick', {})).thenNothing();
    expect(cluster.holds('vm1')).toEqual([ZERO]);
  });

  test('[VM-12 acts] two reports in a row in which neither the VM nor the VF is in use end it', () => {
    const cluster = overdue();
    const { id } = cluster.allocation('vm1');
    cluster.when(report(2)).thenTypes('HostBack');
    cluster.when(report(3)).then(released({ allocationId: id, vmId: 'vm1', reason: 'proved-unused' }));
    expect(cluster.vm('vm1').state).toBe('stopped');
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-12 quiet] a report before it is overdue does not count', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1), vms: [] }), start('vm1'));
    cluster.given(report(2), report(3), report(4));
    cluster
      .given(say('Tick', {}, { after: 300 }))
      .when(report(5))
      .thenTypes('HostBack');
    expect(cluster.holds('vm1')).toEqual([ZERO]);
  });

  test('[VM-12 quiet] a report that shows the VM, or the VF in use, begins the count again', () => {
    for (const shown of [{ vms: ['vm1'] }, { pfs: ports(vfs('em1', 1, { 0: { usedByVmId: 'vm1' } })) }]) {
      const cluster = overdue().given(report(2), report(3, shown), report(4));
      expect(cluster.holds('vm1')).toEqual([ZERO]);
      cluster.given(report(5));
      expect(cluster.holds('vm1')).toEqual([]);
    }
  });

  test('[VM-12 quiet] reports that do not list the VMs prove nothing', () => {
    const cluster = overdue().given(report(2, { vms: undefined }), report(3, { vms: undefined }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
  });

  test('[VM-12 quiet] a proof that was only observed begins anew after a take-over', () => {
    const cluster = overdue().given(report(2)).takenOver();
    cluster.when(report(3)).thenNothing();
    cluster.when(report(4)).thenTypes('VfReleased');
  });

  test('[VM-12 acts] a later VmStarted is believed, and raises VmStartedWithoutVf', () => {
    const cluster = overdue();
    const { id } = cluster.allocation('vm1');
    cluster.given(report(2), report(3));
    cluster
      .when(started('vm1', { hostId: 'h1' }))
      .then(
        expected('VmStartedWithoutVf', { vmId: 'vm1', hostId: 'h1', nicId: 'eth0', allocationId: id }),
        expected('VmStarted', { vmId: 'vm1', hostId: 'h1' }),
      );
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({
      state: 'running',
      nics: [{ state: 'detached-by-force' }],
    });
  });

  test('[VM-12 refuses] a VmStarted after its own end is late, and ignored', () => {
    running().given(stopped('vm1')).when(started('vm1')).thenIgnored('already-stopped');
  });

  test('[VM-12 acts] an allocation that came to a pending VM later is overdue as well', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1), vms: [] })).given(
      start('vm0'),
      started('vm0'),
      start('vm1', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }),
      stopped('vm0'),
    );
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(say('Tick', {}, { after: 300 })).thenTypes('HostLost', 'AllocationOverdue');
  });
});

describe('generations', () => {
  const second = () =>
    twoHosts()
      .given(start('vm1', { hostId: 'h1', generation: 1 }), stopped('vm1', { generation: 1 }))
      .given(start('vm1', { hostId: 'h1', generation: 2 }));

  test('[VM-13 refuses] a stale request is refused, a stale fact ignored', () => {
    const cluster = second();
    cluster
      .when(stopped('vm1', { generation: 1 }))
      .then(expected('InputIgnored', { type: 'VmStopped', reason: 'stale', vmId: 'vm1', generation: 1 }));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(start('vm1', { generation: 1 })).thenRefused('GENERATION_STALE');
    expect(cluster.events[0]).toMatchObject({
      type: 'VmStartFailed',
      data: { vmId: 'vm1', generation: 1, summary: { GENERATION_STALE: 1 }, considered: [] },
    });
    const generation = 1;
    for (const said of [
      say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1'), generation }),
      say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0', generation }),
      say('VmNicTypeChangeRequested', { vmId: 'vm1', nicId: 'eth0', type: 'vnic', generation }),
      say('VmMigrationRequested', { vmId: 'vm1', kind: 'live', generation }),
    ])
      cluster.when(said).thenRefused('GENERATION_STALE');
    cluster.when(stopped('vm1', { generation: 2 })).thenTypes('VfReleased', 'VmStopped');
  });

  test('[VM-13 acts] [VM-13 quiet] the same generation, a newer one and none are taken', () => {
    second()
      .when(stopped('vm1', { generation: 2 }))
      .thenTypes('VfReleased', 'VmStopped');
    second()
      .when(stopped('vm1', { generation: 3 }))
      .thenTypes('VfReleased', 'VmStopped');
    second().when(stopped('vm1')).thenTypes('VfReleased', 'VmStopped');
  });

  test('[VM-13 refuses] a destroyed VM is remembered by its generation', () => {
    const cluster = second().given(say('VmDestroyed', { vmId: 'vm1' }));
    cluster.when(start('vm1', { generation: 1 })).thenRefused('GENERATION_STALE');
    cluster.when(started('vm1')).thenIgnored('unknown');
    cluster.when(start('vm1', { generation: 3 })).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-13 acts] a refused request counts too', () => {
    twoHosts()
      .given(start('vm1', { hostId: 'h9', generation: 5 }))
      .when(start('vm1', { generation: 4 }))
      .thenRefused('GENERATION_STALE');
  });
});

describe('a VM that is reported elsewhere', () => {
  test('[VM-14 acts] without VFs it is there', () => {
    const cluster = twoHosts().given(start('vm1', { hostId: 'h1', nics: [] }), started('vm1'));
    cluster
      .when(say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }))
      .then(expected('VmMigrated', { vmId: 'vm1', hostId: 'h2' }));
    expect(cluster.vm('vm1').hostId).toBe('h2');
    cluster.when(started('vm1', { hostId: 'h1' })).then(expected('VmStarted', { vmId: 'vm1', hostId: 'h1' }));
    expect(cluster.vm('vm1').hostId).toBe('h1');
    cluster.when(say('VmMigrated', { vmId: 'vm1', hostId: 'h1' })).thenIgnored('already-there');
  });

  test('[VM-14 refuses] with VFs it is drift, and nothing is released', () => {
    const cluster = running();
    const holders = [{ vmId: 'vm1', nicId: 'eth0', vf: ZERO, allocationId: cluster.allocation('vm1').id }];
    const message = 'VM vm1 holds VFs on host h1, and is reported on host h2: nothing is released';
    const where = {
      hostId: 'h2',
      vmId: 'vm1',
      kind: 'VM_ELSEWHERE',
      expected: 'h1',
      observed: 'h2',
    } as const;
    cluster.when(say('VmMigrated', { vmId: 'vm1', hostId: 'h2' })).then(
      expected('DriftDetected', where),
      expected('InputRejected', {
        type: 'VmMigrated',
        reason: 'VM_HOLDS_VFS',
        message,
        holders,
        vmId: 'vm1',
      }),
    );
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    expect(cluster.vm('vm1').hostId).toBe('h1');
    cluster.when(started('vm1', { hostId: 'h2' })).thenTypes('InputRejected');
    cluster
      .when(stopped('vm1'))
      .then(
        released({ allocationId: holders[0]?.allocationId ?? '', vmId: 'vm1', reason: 'vm-stopped' }),
        expected('DriftResolved', { hostId: 'h2', vmId: 'vm1', kind: 'VM_ELSEWHERE', expected: 'h1' }),
        expected('VmStopped', { vmId: 'vm1' }),
      );
  });

  test('[VM-14 acts] the drift is resolved when the VM is reported where its VFs are, or lets them go', () => {
    const elsewhere = () => running().given(say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }));
    elsewhere()
      .when(started('vm1', { hostId: 'h1' }))
      .thenTypes('DriftResolved', 'VmStarted');
    elsewhere()
      .when(say('VmMigrated', { vmId: 'vm1', hostId: 'h1' }))
      .thenTypes('DriftResolved', 'VmMigrated');
    elsewhere().when(stopped('vm1')).thenTypes('VfReleased', 'DriftResolved', 'VmStopped');
  });

  test('[VM-14 acts] with its last VF detached, or taken by force, it is where it was reported', () => {
    const elsewhere = () => running().given(say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }));
    const detached = elsewhere().when(say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' }));
    detached.thenTypes('VfReleased', 'DriftResolved', 'VmMigrated', 'VmNicDetached');
    expect(detached.vm('vm1').hostId).toBe('h2');
    detached.given(say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth0') }));
    expect(detached.allocation('vm1').vf.pf.host.id).toBe('h2');
    for (const lost of [
      say('PfDriverLost', { hostId: 'h1', pf: EM1 }),
      say('PfRestoreRequested', { hostId: 'h1', pf: EM1 }),
      say('PfRestored', { hostId: 'h1', pf: EM1 }),
    ]) {
      const cluster = elsewhere().when(lost);
      expect(cluster.events.map(({ type }) => type).slice(0, 3)).toEqual([
        'VfReleased',
        'DriftResolved',
        'VmMigrated',
      ]);
      expect(cluster.vm('vm1').hostId).toBe('h2');
    }
  });

  test('[VM-14 quiet] with a VF left it is still here', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) }), reported('h2')).given(
      start('vm1', { hostId: 'h1', nics: [nic('eth0'), nic('eth1')] }),
      started('vm1'),
      say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }),
    );
    cluster
      .when(say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' }))
      .thenTypes('VfReleased', 'VmNicDetached');
    expect(cluster.vm('vm1')).toMatchObject({ hostId: 'h1', elsewhere: 'h2' });
  });

  test('[VM-14 acts] a stopped VM may be reported anywhere', () => {
    const cluster = running().given(stopped('vm1'), say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }));
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ state: 'stopped', hostId: 'h2' });
  });

  test('[VM-14 acts] a VM on a host that reports only later is one of its VMs', () => {
    const cluster = twoHosts().given(
      start('vm1', { hostId: 'h1', nics: [] }),
      started('vm1', { hostId: 'h3' }),
      reported('h3'),
    );
    cluster
      .when(say('HostFenced', { hostId: 'h3' }))
      .then(expected('HostFenced', { hostId: 'h3', stoppedVms: ['vm1'] }));
  });
});

describe('a VM that a reboot or a fence ends', () => {
  test('[VM-16 acts] after a reboot of its host it is stopped, with or without VFs', () => {
    const cluster = running().given(start('vm2', { hostId: 'h1', nics: [] }));
    const { id } = cluster.allocation('vm1');
    cluster.when(reported('h1', { bootId: 'boot-2', pfs: ports(2) })).then(
      released({ allocationId: id, vmId: 'vm1', reason: 'host-rebooted' }),
      expected('HostChanged', {
        hostId: 'h1',
        bootId: 'boot-2',
        seq: 1,
        rebooted: true,
        stoppedVms: ['vm1', 'vm2'],
      }),
    );
    expect(cluster.vm('vm1').state).toBe('stopped');
    expect(cluster.vm('vm2').state).toBe('stopped');
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-16 acts] after a fence its VMs are stopped', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    cluster
      .when(say('HostFenced', { hostId: 'h1' }))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'host-fenced' }),
        expected('HostFenced', { hostId: 'h1', stoppedVms: ['vm1'] }),
      );
    expect(cluster.vm('vm1').state).toBe('stopped');
    cluster.given(start('vm1'));
    expect(cluster.vm('vm1').hostId).toBe('h2');
  });

  test('[VM-16 quiet] VMs of other hosts run on', () => {
    const cluster = running().given(start('vm2', { hostId: 'h2' }), say('HostFenced', { hostId: 'h1' }));
    expect(cluster.holds('vm2')).toEqual([ZERO]);
  });
});

describe('migration', () => {
  test('[VM-9 refuses] a running VM that holds a VF is not migrated; the refusal lists the NICs to detach', () => {
    const cluster = running();
    const holders = [{ vmId: 'vm1', nicId: 'eth0', vf: ZERO, allocationId: cluster.allocation('vm1').id }];
    for (const kind of ['live', 'storage'] as const) {
      cluster.when(say('VmMigrationRequested', { vmId: 'vm1', kind, targetHostId: 'h2' })).then(
        expected('VmMigrationRejected', {
          vmId: 'vm1',
          kind,
          targetHostId: 'h2',
          reason: 'VM_HOLDS_VFS',
          message: 'VM vm1 holds VFs, which cannot move with it: stop it, or detach eth0',
          holders,
        }),
      );
    }
  });

  test('[VM-9 acts] stopped, or with its VFs detached, it can', () => {
    running()
      .given(stopped('vm1'))
      .when(say('VmMigrationRequested', { vmId: 'vm1', kind: 'cold' }))
      .then(expected('VmMigrationAllowed', { vmId: 'vm1', kind: 'cold' }));
    running()
      .given(say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' }))
      .when(say('VmMigrationRequested', { vmId: 'vm1', kind: 'live', targetHostId: 'h2' }))
      .then(expected('VmMigrationAllowed', { vmId: 'vm1', kind: 'live', targetHostId: 'h2' }));
    running()
      .given(stopped('vm1'))
      .when(say('VmMigrationRequested', { vmId: 'vm1', kind: 'cold', targetHostId: 'h9' }))
      .thenRefused('HOST_UNKNOWN');
  });

  test('saga: detach, migrate, attach', () => {
    const cluster = running().given(
      say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' }),
      say('VmMigrationRequested', { vmId: 'vm1', kind: 'live', targetHostId: 'h2' }),
      say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }),
    );
    const token = cluster.token();
    cluster.when(say('VmNicAttachRequested', { vmId: 'vm1', nic: nic() }));
    expect(cluster.events[0]).toMatchObject({
      data: { allocationId: token, hostId: 'h2', reason: 'attach' },
    });
  });
});

describe('lost VMs', () => {
  test('[VM-17 acts] a VM that its host does not list is drift, until it is listed again', () => {
    const cluster = running();
    const drift = { hostId: 'h1', vmId: 'vm1', kind: 'VM_UNSEEN' } as const;
    cluster.when(reported('h1', { seq: 2, pfs: ports(2), vms: [] })).then(expected('DriftDetected', drift));
    cluster.when(reported('h1', { seq: 3, pfs: ports(2), vms: [] })).thenNothing();
    // A report that lists no VMs does not list it either.
    cluster
      .takenOver()
      .when(reported('h1', { seq: 4, pfs: ports(2) }))
      .thenNothing();
    cluster
      .when(reported('h1', { seq: 5, pfs: ports(2), vms: ['vm1'] }))
      .then(expected('DriftResolved', drift));
    expect(cluster.holds('vm1')).toEqual([ZERO]);
    cluster.when(reported('h1', { seq: 6, pfs: ports(2) })).thenNothing();
  });

  test('[VM-17 acts] an operator ends it, and the VM runs on without it', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    const about = { hostId: 'h1', allocationId: id, reason: 'VM is gone' };
    cluster
      .when(say('AllocationReleaseRequested', about))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'operator', forced: true }),
        expected('AllocationReleaseDone', about),
      );
    expect(cluster.vm('vm1').state).toBe('running');
    expect(viewVm(cluster.vm('vm1')).nics[0]?.state).toBe('detached-by-force');
    cluster.when(say('AllocationReleaseRequested', about)).thenRefused('ALLOCATION_UNKNOWN');
    expect(cluster.events[0]?.data).toMatchObject({ hostId: 'h1', allocationId: id });
  });

  test('[VM-15 refuses] a VM that runs on after an operator took its last VF', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    cluster.given(say('AllocationReleaseRequested', { hostId: 'h1', allocationId: id, reason: 'wrong' }));
    cluster
      .takenOver()
      .when(start('vm1', { hostId: 'h2' }))
      .thenRefused('VM_RUNNING');
    cluster.when(stopped('vm1')).thenTypes('VmStopped');
    cluster.when(start('vm1', { hostId: 'h2' })).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-18 acts] its NIC is attached again with the same MAC, or falls back if it may', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    cluster.given(say('AllocationReleaseRequested', { hostId: 'h1', allocationId: id, reason: 'wrong' }));
    cluster
      .when(say('VmNicAttachRequested', { vmId: 'vm1', nic: { nicId: 'eth0' } }))
      .thenTypes('VfAllocated', 'VmNicAttached');
    expect(cluster.allocation('vm1').nic.mac).toBe(macOf('vm1'));

    const other = scenario(reported('h1', { pfs: ports(1) })).given(
      start('vm1', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }),
      started('vm1'),
    );
    const about = { hostId: 'h1', allocationId: other.allocation('vm1').id, reason: 'wrong' };
    other
      .when(say('AllocationReleaseRequested', about))
      .thenTypes('VfReleased', 'NicDegraded', 'AllocationReleaseDone');
    other.when(say('Tick', {})).thenTypes('VfAllocated', 'NicPromoted');
  });

  test('[HOST-7 acts] what a VM that runs on is shown to use is free when a report says so', () => {
    const shows = (seq: number, usedByVmId?: string) =>
      reported('h1', { seq, pfs: ports(vfs('em1', 1, { 0: { usedByVmId } })), vms: ['vm1'] });
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(start('vm1'), started('vm1'));
    cluster.given(
      shows(2, 'vm1'),
      start('vm2', { hostId: 'h1', nics: [nic('eth0', { onExhaustion: 'fallback' })] }),
    );
    const about = { hostId: 'h1', allocationId: cluster.allocation('vm1').id, reason: 'wrong' };
    cluster.when(say('AllocationReleaseRequested', about)).thenTypes('VfReleased', 'AllocationReleaseDone');
    cluster.takenOver().when(say('Tick', {})).thenNothing();
    cluster.when(shows(3, 'vm1')).then(
      expected('DriftDetected', {
        hostId: 'h1',
        pf: EM1,
        vf: ZERO,
        kind: 'USED_BY_STRANGER',
        observed: 'vm1',
      }),
    );
    cluster.when(shows(4)).thenTypes('HostChanged', 'DriftResolved');
    cluster.when(say('Tick', {})).thenTypes('VfAllocated', 'NicPromoted');
  });

  test('[VM-12 acts] a start that loses its last VF to an operator is over', () => {
    const cluster = twoHosts().given(start('vm1', { hostId: 'h1' }));
    const { id } = cluster.allocation('vm1');
    cluster
      .when(say('AllocationReleaseRequested', { hostId: 'h1', allocationId: id, reason: 'hangs' }))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'operator' }),
        expected('AllocationReleaseDone', { hostId: 'h1', allocationId: id, reason: 'hangs' }),
      );
    expect(cluster.vm('vm1').state).toBe('stopped');
    cluster.when(start('vm1', { hostId: 'h2' })).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-17 acts] the operator ends the drift with the allocation, and so does any end of the VM', () => {
    const missed = () => running().given(reported('h1', { seq: 2, pfs: ports(2), vms: [] }));
    const drift = { hostId: 'h1', vmId: 'vm1', kind: 'VM_UNSEEN' } as const;
    const cluster = missed();
    const { id } = cluster.allocation('vm1');
    const about = { hostId: 'h1', allocationId: id, reason: 'gone' };
    cluster
      .when(say('AllocationReleaseRequested', about))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'operator', forced: true }),
        expected('DriftResolved', drift),
        expected('AllocationReleaseDone', about),
      );
    cluster.when(reported('h1', { seq: 3, pfs: ports(2), vms: [] })).thenNothing();
    missed().when(stopped('vm1')).thenTypes('VfReleased', 'DriftResolved', 'VmStopped');
    missed()
      .when(say('HostFenced', { hostId: 'h1' }))
      .thenTypes('VfReleased', 'DriftResolved', 'HostFenced');
  });

  test('[VM-17 refuses] an allocation that is not there cannot be released', () => {
    running()
      .when(say('AllocationReleaseRequested', { hostId: 'h1', allocationId: '9-deadbeef', reason: 'gone' }))
      .thenRefused('ALLOCATION_UNKNOWN');
  });

  test('[VM-17 quiet] a VM without VFs, one that is only starting, and a report without a list are no drift', () => {
    const report = (vms?: readonly string[]) => reported('h1', { seq: 2, pfs: ports(2), vms });
    running().when(report(undefined)).thenNothing();
    twoHosts()
      .given(start('vm1', { hostId: 'h1' }))
      .when(report([]))
      .thenNothing();
    twoHosts()
      .given(start('vm1', { hostId: 'h1', nics: [] }), started('vm1'))
      .when(report([]))
      .thenNothing();
  });

  test('[PF-14 acts] the end of its VM ends the drift of a device that is unseen', () => {
    const cluster = running().given(reported('h1', { seq: 2, pfs: ports([]) }));
    expect(cluster.host('h1').drifts.size).toBe(2);
    cluster.when(stopped('vm1'));
    cluster.thenTypes('VfReleased', 'DriftResolved', 'VmStopped');
    expect(cluster.events[1]?.data).toMatchObject({ kind: 'DEVICE_UNSEEN', vf: ZERO, vmId: 'vm1' });
  });

  test('[EX-4 refuses] a release that names another allocation, or another host, changes nothing', () => {
    const cluster = running();
    const old = cluster.allocation('vm1').id;
    cluster.given(stopped('vm1'), start('vm1', { hostId: 'h1' }));
    const { id } = cluster.allocation('vm1');
    expect(id).not.toBe(old);
    cluster
      .when(say('AllocationReleaseRequested', { hostId: 'h1', allocationId: old, reason: 'late' }))
      .thenRefused('ALLOCATION_UNKNOWN');
    cluster
      .when(say('AllocationReleaseRequested', { hostId: 'h2', allocationId: id, reason: 'wrong host' }))
      .thenRefused('ALLOCATION_UNKNOWN');
    expect(cluster.holds('vm1')).toEqual([ZERO]);
  });

  test('[EX-4 acts] every allocation has another id', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }));
    const ids = Array.from({ length: 20 }, () => {
      cluster.given(start('vm1'));
      const { id } = cluster.allocation('vm1');
      cluster.given(stopped('vm1'));
      return id;
    });
    expect(new Set(ids).size).toBe(20);
  });
});

describe('adoption', () => {
  const living = () =>
    scenario(
      ...networks(),
      reported('h1', { pfs: ports(vfs('em1', 2, { 0: { usedByVmId: 'vm1' } }), 1), vms: ['vm1'] }),
    );
  const adopt = (nics = [{ nicId: 'eth0', vf: ZERO, mac: '52:54:00:00:00:01' }], hostId = 'h1') =>
    say('VmAdopted', { vmId: 'vm1', hostId, nics, tenant: 't1' });

  test('[VM-19 acts] a VM that runs with VFs becomes the holder of exactly those', () => {
    const cluster = living();
    const token = cluster.token();
    cluster.when(adopt()).then(
      allocated({
        allocationId: token,
        vmId: 'vm1',
        tenant: 't1',
        mac: '52:54:00:00:00:01',
        reason: 'adopted',
      }),
      expected('DriftResolved', {
        hostId: 'h1',
        pf: EM1,
        vf: ZERO,
        kind: 'USED_BY_STRANGER',
        observed: 'vm1',
      }),
      expected('VmAdopted', {
        vmId: 'vm1',
        hostId: 'h1',
        tenant: 't1',
        nics: [
          { nicId: 'eth0', type: 'vf', allocationId: token, pf: EM1, vf: ZERO, mac: '52:54:00:00:00:01' },
        ],
      }),
    );
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ state: 'running', hostId: 'h1', memoryPinned: true });
    cluster
      .when(
        reported('h1', { seq: 2, pfs: ports(vfs('em1', 2, { 0: { usedByVmId: 'vm1' } }), 1), vms: ['vm1'] }),
      )
      .thenNothing();
    cluster.when(adopt()).thenIgnored('already-running');
  });

  test('[VM-19 refuses] it is refused as a whole', () => {
    const both = [
      { nicId: 'eth0', vf: ZERO, mac: '52:54:00:00:00:01' },
      { nicId: 'eth1', vf: vfAddress('em1', 1), mac: '52:54:00:00:00:02' },
    ];
    const cluster = living().given(start('vm2', { nics: [nic()] }));
    expect(cluster.holds('vm2')).toEqual([vfAddress('em1', 1)]);
    cluster.when(adopt(both)).thenRefused('VF_NOT_FREE');
    expect(cluster.events).toMatchObject([
      { type: 'InputRejected', data: { type: 'VmAdopted', vmId: 'vm1', holders: [{ vmId: 'vm2' }] } },
    ]);
    cluster.when(adopt(undefined, 'h9')).thenRefused('HOST_UNKNOWN');
    cluster
      .when(adopt([{ nicId: 'eth0', vf: '0000:82:1f.0', mac: '52:54:00:00:00:01' }]))
      .thenRefused('VF_NOT_FREE');
    cluster.when(adopt([{ nicId: 'eth0', vf: ZERO, mac: macOf('vm2') }])).thenRefused('MAC_IN_USE');
    cluster
      .given(reported('h1', { seq: 2, pfs: ports(vfs('em1', 2, { 0: { usedByVmId: 'vm3' } }), 1) }))
      .when(adopt())
      .thenRefused('VF_NOT_FREE');
    expect(cluster.state.vms.has('vm1')).toBe(false);
  });

  test('[VM-19 refuses] nothing is adopted on a fenced host, or from a PF that is being restored', () => {
    living()
      .given(say('HostFenced', { hostId: 'h1' }))
      .when(adopt())
      .thenRefused('HOST_LOST');
    living()
      .given(say('PfRestoreRequested', { hostId: 'h1', pf: EM1 }))
      .when(adopt())
      .thenRefused('PF_RESTORING');
  });

  test('[VM-19 refuses] a VF that the host itself uses, and more NICs than a VM may have', () => {
    const used = vfs('em1', 1, { 0: { hostUse: 'bridge' } });
    scenario(reported('h1', { pfs: ports(used) }))
      .when(adopt())
      .thenRefused('VF_NOT_FREE');
    const many = Array.from({ length: 64 }, (_, index) => nic(`nic${index}`, { type: 'vnic' }));
    living()
      .given(start('vm1', { nics: many }), stopped('vm1'))
      .when(adopt())
      .thenRefused('NIC_EXISTS');
  });

  test('[VM-19 quiet] a word on a VM that runs already, and says what is known', () => {
    const cluster = living().given(adopt());
    const held = cluster.holds('vm1');
    cluster.when(adopt()).thenIgnored('already-running');
    expect(cluster.holds('vm1')).toEqual(held);
  });

  test('[VM-19 refuses] a word on a VM that runs already, and says anything else', () => {
    const said = (fields: Partial<VmAdopted>) =>
      say('VmAdopted', { ...(adopt().data as VmAdopted), ...fields });
    const cluster = living().given(adopt(), reported('h2', { pfs: ports(1) }));
    const { nics } = adopt().data as VmAdopted;
    const [first] = nics as [AdoptedNic, ...AdoptedNic[]];
    const held = cluster.holds('vm1');
    for (const other of [
      { nics: [] },
      { nics: [...nics, { nicId: 'eth9', vf: vfAddress('em1', 1), mac: '52:54:00:00:00:09' }] },
      { nics: [{ ...first, vf: vfAddress('em1', 1) }, ...nics.slice(1)] },
      { nics: [{ ...first, mac: '52:54:00:00:00:09' }, ...nics.slice(1)] },
      { nics: [{ ...first, networkId: 'net2' }, ...nics.slice(1)] },
      { tenant: 'somebody-else' },
    ])
      cluster.when(said(other)).thenRefused('VM_RUNNING');
    cluster.when(said({ hostId: 'h2' })).thenRefused('VM_RUNNING_ELSEWHERE');
    expect((cluster.events[0]?.data as { holders: object[] }).holders).toHaveLength(held.length);
    expect(cluster.holds('vm1')).toEqual(held);

    const pending = living().given(start('vm1', { nics: [nic()] }));
    pending.when(adopt()).thenRefused('VM_RUNNING');
    expect(pending.vm('vm1').state).toBe('pending');
  });

  test('[VM-18 quiet] an old NIC that an adoption does not name was not taken by force', () => {
    const cluster = living().given(
      start('vm1', { nics: [nic('old', { physicalNetwork: 'em2' })] }),
      stopped('vm1'),
      adopt(),
    );
    cluster.takenOver();
    const states = viewVm(cluster.vm('vm1')).nics.map(({ nicId, state }) => [nicId, state]);
    expect(states).toContainEqual(['old', 'stopped']);
    expect(states).toContainEqual(['eth0', 'vf']);
  });

  test('[VM-19 acts] [OUT-4 acts] the VLAN of a network that is defined is told', () => {
    const cluster = living();
    cluster.given(
      say('VmAdopted', {
        vmId: 'vm1',
        hostId: 'h1',
        nics: [{ nicId: 'eth0', vf: ZERO, mac: '52:54:00:00:00:01', networkId: 'net1' }],
      }),
    );
    expect(cluster.events[0]?.data).toMatchObject({ networkId: 'net1', vlanId: 100 });
  });

  test('[VM-19 acts] an adopted VF is free at once when its VM stops', () => {
    const cluster = living().given(adopt(), stopped('vm1'));
    expect(viewVf(cluster.vf('h1', ZERO)).state).toBe('free');
  });

  test('[VM-19 acts] a VM keeps its tenant when it is adopted without one', () => {
    const cluster = living().given(
      start('vm1', { tenant: 't9', nics: [nic('eth0', { physicalNetwork: 'em2' })] }),
      stopped('vm1'),
    );
    cluster.when(
      say('VmAdopted', {
        vmId: 'vm1',
        hostId: 'h1',
        nics: [{ nicId: 'eth0', vf: ZERO, mac: '52:54:00:00:00:01' }],
      }),
    );
    expect(cluster.events[0]?.data).toMatchObject({ tenant: 't9' });
  });
});

describe('a word that a VM started', () => {
  test('[HOST-4 refuses] of a boot that is over is stale, whatever became of the VM', () => {
    const cluster = running().given(reported('h1', { bootId: 'boot-2', pfs: ports(2) }));
    expect(cluster.vm('vm1').state).toBe('stopped');
    cluster.when(started('vm1', { hostId: 'h1', bootId: 'boot-1' })).thenIgnored('stale');
    cluster.given(start('vm1', { hostId: 'h1' }));
    cluster.when(started('vm1', { hostId: 'h1', bootId: 'boot-1' })).thenIgnored('stale');
    cluster.when(started('vm1', { hostId: 'h1', bootId: 'boot-2' })).thenTypes('VmStarted');
  });

  test('[VM-12 acts] tells each NIC of a pending start whose VF was released before', () => {
    const cluster = twoHosts().given(
      start('vm1', {
        hostId: 'h1',
        nics: [
          { nicId: 'eth0', physicalNetwork: 'em1' },
          { nicId: 'eth1', physicalNetwork: 'em1' },
        ],
      }),
    );
    const [allocation] = [...cluster.state.allocations.values()];
    const allocationId = allocation?.id ?? '';
    cluster.given(say('AllocationReleaseRequested', { hostId: 'h1', allocationId, reason: 'lost' }));
    cluster
      .when(started('vm1', { hostId: 'h1' }))
      .then(
        expected('VmStartedWithoutVf', { vmId: 'vm1', hostId: 'h1', nicId: 'eth0', allocationId }),
        expected('VmStarted', { vmId: 'vm1', hostId: 'h1' }),
      );
  });

  test('[VM-12 acts] tells a pending start that lost its VF by force', () => {
    const cluster = twoHosts().given(start('vm1', { hostId: 'h1' }));
    cluster.given(say('PfRestoreRequested', { hostId: 'h1', pf: EM1 }));
    cluster.when(started('vm1', { hostId: 'h1' })).thenTypes('VmStartedWithoutVf', 'VmStarted');
  });
});

test('[VM-9 refuses] the NICs to detach are listed before anything is said of the target', () => {
  const [refused] = running()
    .when(say('VmMigrationRequested', { vmId: 'vm1', kind: 'live', targetHostId: 'h9' }))
    .thenRefused('VM_HOLDS_VFS').events;
  expect(refused?.data).toMatchObject({ holders: [{ vmId: 'vm1', vf: ZERO }] });
});
