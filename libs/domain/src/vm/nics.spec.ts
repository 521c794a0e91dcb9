import { describe, expect, test } from '@jest/globals';
import { viewVm } from '../views.js';
import {
  allocated,
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
} from '../testing/fleet.js';
import { expected, say, scenario, type Scenario } from '../testing/scenario.js';

const ZERO = vfAddress('em1', 0);
const ONE = vfAddress('em1', 1);
const attach = (vmId: string, spec = nic('eth1')) => say('VmNicAttachRequested', { vmId, nic: spec });
const detach = (vmId: string, nicId = 'eth0') => say('VmNicDetachRequested', { vmId, nicId });
const fallback = (nicId = 'eth0') => nic(nicId, { onExhaustion: 'fallback' });
const running = (count = 2) =>
  scenario(reported('h1', { pfs: ports(count) })).given(start('vm1', { tenant: 't1' }), started('vm1'));

describe('attach and detach', () => {
  test('[VM-6 acts] attached to a running VM a NIC gets a VF now', () => {
    const cluster = running();
    const token = cluster.token();
    const fields = { nicId: 'eth1', vf: ONE, mac: '52:54:00:00:00:07' };
    cluster.when(attach('vm1', nic('eth1', { mac: fields.mac, guestSlot: 6 }))).then(
      allocated({
        ...fields,
        allocationId: token,
        vmId: 'vm1',
        tenant: 't1',
        guestSlot: 6,
        reason: 'attach',
      }),
      expected('VmNicAttached', {
        vmId: 'vm1',
        nic: {
          ...fields,
          type: 'vf',
          allocationId: token,
          pf: EM1,
          physicalNetwork: 'em1',
          guestSlot: 6,
        },
      }),
    );
  });

  test('[VM-6 refuses] or the attach fails, and the VM has no such NIC', () => {
    const cluster = running(1);
    cluster.when(attach('vm1')).then(
      expected('VmNicAttachFailed', {
        vmId: 'vm1',
        nicId: 'eth1',
        reason: 'VF_EXHAUSTED',
        message: 'host h1 does not take 1 VF on em1: no free VF is left',
        summary: { VF_EXHAUSTED: 1 },
        considered: [{ hostId: 'h1', pf: EM1, reason: 'VF_EXHAUSTED', total: 1, free: 0 }],
      }),
    );
    expect(cluster.vm('vm1').nics.has('eth1')).toBe(false);
    cluster.when(attach('vm9')).thenRefused('VM_UNKNOWN');
    cluster.when(attach('vm1', nic('eth0'))).thenRefused('NIC_EXISTS');
    cluster.when(attach('vm1', nic('eth1', { mac: macOf('vm1') }))).thenRefused('MAC_IN_USE');
  });

  test('[VM-6 refuses] a taken guest slot is refused', () => {
    running()
      .given(attach('vm1', nic('eth1', { guestSlot: 6 })))
      .when(attach('vm1', nic('eth2', { guestSlot: 6 })))
      .thenRefused('NIC_EXISTS');
  });

  test('[VM-6 acts] attached to a stopped VM it gets its VF at the next start', () => {
    const cluster = running().given(stopped('vm1'));
    cluster.when(attach('vm1')).thenTypes('VmNicAttached');
    expect(cluster.holds('vm1')).toEqual([]);
    cluster
      .when(say('VmStartRequested', { vmId: 'vm1' }))
      .thenTypes('VfAllocated', 'VfAllocated', 'VmStartAccepted');
    expect(cluster.holds('vm1')).toEqual([ZERO, ONE]);
  });

  test('[VM-6 quiet] a vNIC is attached without a VF', () => {
    running(1)
      .when(attach('vm1', nic('eth1', { type: 'vnic' })))
      .thenTypes('VmNicAttached');
  });

  test('a quota holds at an attach as well', () => {
    running()
      .given(say('ClusterPolicyChanged', { quotas: { t1: 1 } }))
      .when(attach('vm1'))
      .thenRefused('QUOTA_EXCEEDED');
  });

  test('[VM-7 acts] detached, a NIC gives its VF back and its MAC is free', () => {
    const cluster = running();
    const { id } = cluster.allocation('vm1');
    cluster
      .when(detach('vm1'))
      .then(
        released({ allocationId: id, vmId: 'vm1', tenant: 't1', reason: 'nic-detached' }),
        expected('VmNicDetached', { vmId: 'vm1', nicId: 'eth0' }),
      );
    cluster.when(detach('vm1')).thenRefused('NIC_UNKNOWN');
    expect(cluster.state.macs.size).toBe(0);
    expect(cluster.vm('vm1').state).toBe('running');
  });

  test('[VM-7 quiet] a NIC without VF is detached quietly', () => {
    running().given(stopped('vm1')).when(detach('vm1')).thenTypes('VmNicDetached');
  });

  test('[VM-6 refuses] a guest slot is one place, whether as a number or as an address', () => {
    const cluster = scenario(reported('h1', { pfs: ports(3) })).given(
      start('vm1', { nics: [nic('eth0', { guestSlot: 5 })] }),
      started('vm1'),
    );
    cluster.when(attach('vm1', nic('eth1', { guestSlot: '0000:00:05.0' }))).thenRefused('NIC_EXISTS');
    cluster.given(stopped('vm1'));
    cluster
      .when(start('vm1', { nics: [nic('eth0'), nic('eth1', { guestSlot: '0000:00:05.0' })] }))
      .thenRefused('NIC_EXISTS');
  });

  test('[VM-7 refuses] a NIC that the VM does not have is not detached', () => {
    running().when(detach('vm1', 'eth7')).thenRefused('NIC_UNKNOWN');
    running().when(detach('vm9')).thenRefused('VM_UNKNOWN');
  });

  test('[VM-8 quiet] to the type it has already: accepted, and nothing is different', () => {
    const cluster = running().given(stopped('vm1'));
    cluster
      .when(say('VmNicTypeChangeRequested', { vmId: 'vm1', nicId: 'eth0', type: 'vf' }))
      .then(expected('VmNicTypeChanged', { vmId: 'vm1', nicId: 'eth0', type: 'vf' }));
    cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
    expect(cluster.holds('vm1')).toEqual([ZERO]);
  });

  test('[VM-8 acts] [VM-8 refuses] the type changes only while the VM is stopped', () => {
    const cluster = running();
    const change = (type: 'vf' | 'vnic', nicId = 'eth0') =>
      say('VmNicTypeChangeRequested', { vmId: 'vm1', nicId, type });
    cluster.when(change('vnic')).thenRefused('VM_RUNNING');
    expect(cluster.events[0]?.data).toMatchObject({ vmId: 'vm1', nicId: 'eth0', type: 'vnic' });
    cluster.given(stopped('vm1'));
    cluster.when(change('vnic', 'eth7')).thenRefused('NIC_UNKNOWN');
    cluster
      .when(change('vnic'))
      .then(expected('VmNicTypeChanged', { vmId: 'vm1', nicId: 'eth0', type: 'vnic' }));
    cluster.when(say('VmStartRequested', { vmId: 'vm1' })).thenTypes('VmStartAccepted');
    cluster.given(stopped('vm1'), change('vf'));
    cluster.when(say('VmStartRequested', { vmId: 'vm1' })).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-18 acts] a NIC that lost its VF by force gets another with the same MAC and slot', () => {
    const mac = '52:54:00:00:00:05';
    const cluster = scenario(
      reported('h1', { pfs: [port('em1', 1), port('em2', 1, { physicalNetwork: 'em1' })] }),
    );
    cluster.given(start('vm1', { nics: [nic('eth0', { mac, guestSlot: 3 })] }), started('vm1'));
    const { address } = cluster.allocation('vm1').vf.pf;
    cluster.given(say('PfDriverLost', { hostId: 'h1', pf: address }));
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({
      state: 'running',
      nics: [{ state: 'detached-by-force', mac, guestSlot: 3 }],
    });
    cluster.when(attach('vm1', { nicId: 'eth0' })).thenTypes('VfAllocated', 'VmNicAttached');
    expect(cluster.events[0]?.data).toMatchObject({ mac, guestSlot: 3, reason: 'attach', vmId: 'vm1' });
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ nics: [{ state: 'vf', mac, guestSlot: 3 }] });
  });

  test('[VM-18 refuses] without a VF the attach fails and the NIC stays as it is', () => {
    const cluster = running(1).given(say('PfDriverLost', { hostId: 'h1', pf: EM1 }));
    cluster.when(attach('vm1', { nicId: 'eth0' })).thenRefused('PF_LOST');
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ nics: [{ state: 'detached-by-force' }] });
  });

  test('[VM-18 quiet] after a stop it is as any other NIC', () => {
    const cluster = running(1).given(say('PfDriverLost', { hostId: 'h1', pf: EM1 }), stopped('vm1'));
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ nics: [{ state: 'stopped' }] });
  });
});

describe('fall-back and promotion', () => {
  const degraded = (...vmIds: readonly string[]): Scenario => {
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(start('vm0'), started('vm0'));
    for (const vmId of vmIds) cluster.given(start(vmId, { nics: [fallback()] }), started(vmId));
    return cluster;
  };

  test('[VM-10 acts] what becomes free goes to the NIC that waits longest, before the outcome', () => {
    const cluster = degraded('vm2', 'vm1');
    const { id } = cluster.allocation('vm0');
    const token = cluster.token(2);
    cluster
      .when(stopped('vm0'))
      .then(
        released({ allocationId: id, vmId: 'vm0', reason: 'vm-stopped' }),
        allocated({ allocationId: token, vmId: 'vm2', reason: 'promotion' }),
        expected('NicPromoted', { vmId: 'vm2', nicId: 'eth0' }),
        expected('VmStopped', { vmId: 'vm0' }),
      );
    cluster.when(stopped('vm2')).thenTypes('VfReleased', 'VfAllocated', 'NicPromoted', 'VmStopped');
    cluster.when(stopped('vm1')).thenTypes('VfReleased', 'VmStopped');
  });

  test('[VM-10 quiet] not if the policy says no', () => {
    const cluster = degraded('vm1').given(say('ClusterPolicyChanged', { promotion: false }));
    cluster.when(stopped('vm0')).thenTypes('VfReleased', 'VmStopped');
    cluster.when(say('Tick', {})).thenNothing();
    cluster.given(say('ClusterPolicyChanged', { promotion: true }));
    cluster.when(say('Tick', {})).thenTypes('VfAllocated', 'NicPromoted');
  });

  test('[VM-10 acts] a VF that comes with a report is given at the next tick', () => {
    const cluster = degraded('vm1').given(
      reported('h1', { seq: 2, pfs: [port('em1', [vf('em1', 0), vf('em1', 1)])] }),
    );
    expect(cluster.holds('vm1')).toEqual([]);
    cluster.when(say('Tick', {})).thenTypes('VfAllocated', 'NicPromoted');
    cluster.when(say('Tick', {})).thenNothing();
  });

  test('[VM-10 quiet] a VF of another host or network is not for it', () => {
    const cluster = degraded('vm1').given(
      reported('h2', { pfs: ports(1) }),
      reported('h1', { seq: 2, pfs: ports(1, 1) }),
    );
    cluster.when(say('Tick', {})).thenNothing();
  });

  test('[VM-10 acts] a NIC of this kind that loses its VF by force is degraded, not lost', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(
      start('vm1', { nics: [fallback()] }),
      started('vm1'),
    );
    const { id } = cluster.allocation('vm1');
    cluster
      .when(say('PfDriverLost', { hostId: 'h1', pf: EM1 }))
      .then(
        released({ allocationId: id, vmId: 'vm1', reason: 'pf-driver-lost', forced: true }),
        expected('NicDegraded', { vmId: 'vm1', nicId: 'eth0', reason: 'pf-driver-lost' }),
        expected('PfDriverLost', { hostId: 'h1', pf: EM1 }),
      );
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({ nics: [{ state: 'degraded' }] });
    cluster.given(reported('h1', { seq: 2, pfs: ports(1) }));
    cluster.when(say('Tick', {})).thenTypes('VfAllocated', 'NicPromoted');
  });

  test('[VM-10 acts] attached without a free VF it is degraded', () => {
    const cluster = degraded().when(attach('vm0', fallback('eth1')));
    cluster.then(
      expected('NicDegraded', { vmId: 'vm0', nicId: 'eth1', reason: 'VF_EXHAUSTED' }),
      expected('VmNicAttached', {
        vmId: 'vm0',
        nic: {
          nicId: 'eth1',
          type: 'vf',
          degraded: true,
          mac: macOf('vm0', 'eth1'),
          physicalNetwork: 'em1',
          onExhaustion: 'fallback',
        },
      }),
    );
    cluster.when(detach('vm0', 'eth1')).thenTypes('VmNicDetached');
    cluster.when(stopped('vm0')).thenTypes('VfReleased', 'VmStopped');
  });

  test('[VM-10 acts] a detached NIC gives its VF to one that waits', () => {
    degraded('vm1')
      .when(detach('vm0'))
      .thenTypes('VfReleased', 'VfAllocated', 'NicPromoted', 'VmNicDetached');
  });

  test('[VM-10 refuses] a promotion keeps within the quota, and counts what the same decision frees', () => {
    const within = (quota: number) =>
      scenario(reported('h1', { pfs: ports(2) })).given(
        start('vm0', { tenant: 't1' }),
        start('vm9'),
        start('vm1', { tenant: 't1', nics: [fallback()] }),
        say('ClusterPolicyChanged', { quotas: { t1: quota } }),
      );
    within(1).when(stopped('vm9')).thenTypes('VfReleased', 'VmStopped');
    within(1).when(stopped('vm0')).thenTypes('VfReleased', 'VfAllocated', 'NicPromoted', 'VmStopped');
    within(2).when(stopped('vm9')).thenTypes('VfReleased', 'VfAllocated', 'NicPromoted', 'VmStopped');
  });
});
