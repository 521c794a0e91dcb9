import { describe, expect, test } from '@jest/globals';
import type { L2Type, L3Kind } from '../inputs.js';
import {
  EM1,
  macOf,
  networks,
  nic,
  port,
  ports,
  reported,
  start,
  started,
  stopped,
  vfAddress,
} from '../testing/fleet.js';
import { expected, say, scenario } from '../testing/scenario.js';

const l2 = (fields: { l2Id?: string; type?: L2Type; sriov?: boolean; vlanId?: number } = {}) =>
  say('L2NetworkDefined', {
    l2Id: 'l2-9',
    type: 'L2NoVlanNetwork',
    physicalInterface: 'em1',
    sriov: true,
    ...fields,
  });
const l3 = (fields: { l3Id?: string; l2Id?: string; kind?: L3Kind; sriov?: boolean } = {}) =>
  say('L3NetworkDefined', { l3Id: 'net9', l2Id: 'l2-9', kind: 'flat', sriov: true, ...fields });
const remove = (id: string) => say('NetworkRemovalRequested', { id });
const on = (networkId: string, fields = {}) => ({ nics: [{ nicId: 'eth0', networkId, ...fields }] });
const fleet = () => scenario(...networks(), reported('h1', { pfs: ports(2, 2) }));

describe('definitions', () => {
  test('[NET-1 acts] SR-IOV is for L2NoVlanNetwork and L2VlanNetwork', () => {
    for (const said of [l2(), l2({ type: 'L2VlanNetwork', vlanId: 7 })])
      scenario()
        .when(said)
        .then({ type: 'L2NetworkAccepted', data: said.data } as never);
    scenario()
      .when(l2({ type: 'VxlanNetwork', sriov: false }))
      .thenTypes('L2NetworkAccepted');
  });

  test('[NET-1 refuses] on a VXLAN network it is refused', () => {
    scenario()
      .when(l2({ type: 'VxlanNetwork' }))
      .then(
        expected('L2NetworkRejected', {
          l2Id: 'l2-9',
          reason: 'NETWORK_TYPE_UNSUPPORTED',
          message: 'L2 network l2-9 is a VxlanNetwork, which cannot have SR-IOV',
        }),
      );
  });

  test('[NET-2 acts] an L3 network has SR-IOV only if its L2 network has', () => {
    const said = l3();
    scenario(l2())
      .when(said)
      .then({ type: 'L3NetworkAccepted', data: said.data } as never);
    scenario(l2({ sriov: false }))
      .when(l3({ sriov: false }))
      .thenTypes('L3NetworkAccepted');
  });

  test('[NET-2 refuses] else it is refused', () => {
    scenario(l2({ sriov: false }))
      .when(l3())
      .then(
        expected('L3NetworkRejected', {
          l3Id: 'net9',
          l2Id: 'l2-9',
          reason: 'NETWORK_SRIOV_DISABLED',
          message: 'L3 network net9 asks for SR-IOV, which its L2 network l2-9 does not have',
        }),
      );
    scenario().when(l3()).thenRefused('NETWORK_UNKNOWN');
  });

  test('[NET-8 refuses] a network in use is not removed', () => {
    const cluster = fleet().given(start('vm1', on('net1')));
    cluster.when(remove('l2-1')).then(
      expected('NetworkRemovalRejected', {
        id: 'l2-1',
        reason: 'NETWORK_IN_USE',
        message: 'L2 network l2-1 is used by L3 network net1',
      }),
    );
    cluster.when(remove('net1')).thenRefused('NETWORK_IN_USE');
    cluster.given(stopped('vm1')).when(remove('net1')).thenRefused('NETWORK_IN_USE');
    cluster.when(remove('nothing')).thenRefused('NETWORK_UNKNOWN');
  });

  test('[NET-8 acts] one that nobody uses is', () => {
    const cluster = fleet().given(start('vm1', on('net1')), say('VmDestroyed', { vmId: 'vm1' }));
    cluster.when(remove('net1')).then(expected('NetworkRemoved', { id: 'net1' }));
    cluster.when(remove('l2-1')).then(expected('NetworkRemoved', { id: 'l2-1' }));
    cluster.when(start('vm1', on('net1'))).thenRefused('NETWORK_UNKNOWN');
    const restarted = fleet().given(start('vm1', on('net1')), stopped('vm1'), start('vm1', on('net2')));
    restarted.when(remove('net1')).thenTypes('NetworkRemoved');
  });
});

describe('VF NICs on networks', () => {
  test('[NET-3 acts] the VF comes from a PF of the physical interface, with the VLAN', () => {
    const cluster = fleet().given(start('vm1', on('net1')));
    expect(cluster.events[0]?.data).toMatchObject({
      pf: EM1,
      vlanId: 100,
      networkId: 'net1',
      physicalNetwork: 'em1',
    });
    cluster.given(start('vm2', on('net2')));
    expect(cluster.holds('vm2')).toEqual([vfAddress('em2', 0)]);
    expect(cluster.events[0]?.data).not.toMatchObject({ vlanId: expect.anything() });
  });

  test('[NET-3 acts] the physical network may be named, or a bond; the default is the ifname', () => {
    const pfs = [port('em1', 1, { physicalNetwork: 'phys' }), port('em2', 1, { bond: 'bond0' })];
    const cluster = scenario(reported('h1', { pfs }));
    cluster.when(start('vm1', { nics: [nic('eth0', { physicalNetwork: 'em1' })] })).thenRefused('PF_UNKNOWN');
    cluster.given(start('vm1', { nics: [nic('eth0', { physicalNetwork: 'phys' })] }));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0)]);
    cluster.given(start('vm2', { nics: [nic('eth0', { physicalNetwork: 'bond0' })] }));
    expect(cluster.holds('vm2')).toEqual([vfAddress('em2', 0)]);
  });

  test('[NET-4 refuses] on a network whose PF is not split a start fails with PF_NOT_VIRTUALIZED', () => {
    scenario(...networks(), reported('h1', { pfs: ports(0, 2) }))
      .when(start('vm1', on('net1')))
      .thenRefused('PF_NOT_VIRTUALIZED');
  });

  test('[NET-5 refuses] services that a VF goes around are refused', () => {
    const kinds: Record<L3Kind, readonly [boolean, boolean]> = {
      public: [false, false],
      flat: [false, false],
      vrouter: [false, true],
      vpc: [false, true],
    };
    for (const [kind, [groups, elastic]] of Object.entries(kinds) as [
      L3Kind,
      readonly [boolean, boolean],
    ][]) {
      const cluster = scenario(l2(), l3({ kind }), reported('h1', { pfs: ports(1) }));
      const check = (allowed: boolean, fields: object) => {
        cluster.when(start('vm1', on('net9', fields)));
        if (allowed) cluster.thenTypes('VfAllocated', 'VmStartAccepted').given(stopped('vm1'));
        else cluster.thenRefused('SERVICE_UNSUPPORTED_ON_VF');
      };
      check(groups, { securityGroups: ['sg1'] });
      check(elastic, { elasticIp: 'eip1' });
      check(true, { securityGroups: [] });
      cluster
        .when(
          start(
            'vm1',
            on('net9', { type: 'vnic', securityGroups: ['sg1'], elasticIp: 'eip1', qos: { mbps: 5 } }),
          ),
        )
        .thenTypes('VmStartAccepted');
    }
  });

  test('[NET-6 refuses] a VF NIC takes no QoS limit, with or without a network', () => {
    const cluster = fleet();
    const qos = { outboundMbps: 100 };
    cluster.when(start('vm1', on('net2', { qos }))).thenRefused('SERVICE_UNSUPPORTED_ON_VF');
    cluster.when(start('vm1', { nics: [nic('eth0', { qos })] })).thenRefused('SERVICE_UNSUPPORTED_ON_VF');
    cluster.when(start('vm1', on('net2', { qos: {} }))).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[NET-7 acts] [NET-7 refuses] SR-IOV switched off: running VMs keep their VFs, the next start fails', () => {
    const off = [
      say('L3NetworkDefined', { l3Id: 'net1', l2Id: 'l2-1', kind: 'flat', sriov: false }),
      say('L2NetworkDefined', {
        l2Id: 'l2-1',
        type: 'L2VlanNetwork',
        physicalInterface: 'em1',
        vlanId: 100,
        sriov: false,
      }),
    ];
    for (const said of off) {
      const cluster = fleet().given(start('vm1', on('net1')), started('vm1'));
      cluster.when(said);
      expect(cluster.events).toHaveLength(1);
      expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0)]);
      cluster.given(stopped('vm1'));
      cluster.when(say('VmStartRequested', { vmId: 'vm1' })).thenRefused('NETWORK_SRIOV_DISABLED');
      cluster
        .when(say('VmNicAttachRequested', { vmId: 'vm1', nic: { nicId: 'eth1', networkId: 'net1' } }))
        .thenRefused('NETWORK_SRIOV_DISABLED');
    }
  });
});

describe('MACs', () => {
  const mac = '52:54:00:00:00:01';
  const withMac = (vmId: string, nicId = 'eth0') => start(vmId, { nics: [nic(nicId, { mac })] });

  test('[NET-9 refuses] a MAC that is asked for twice is refused, naming the holder', () => {
    const cluster = fleet().given(withMac('vm1'));
    cluster.when(withMac('vm2')).then(
      expected('VmStartFailed', {
        vmId: 'vm2',
        reason: 'MAC_IN_USE',
        message: `MAC ${mac} belongs to NIC eth0 of VM vm1`,
        holders: [{ vmId: 'vm1', nicId: 'eth0' }],
        summary: { MAC_IN_USE: 1 },
        considered: [],
      }),
    );
    cluster.given(stopped('vm1')).when(withMac('vm2')).thenRefused('MAC_IN_USE');
    const two = [nic('eth0', { mac: '52:54:00:00:00:02' }), nic('eth1', { mac: '52:54:00:00:00:02' })];
    cluster.when(start('vm3', { nics: two })).thenRefused('MAC_IN_USE');
  });

  test('[NET-9 acts] it belongs to its NIC until that is detached or its VM destroyed', () => {
    fleet()
      .given(withMac('vm1'), say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' }))
      .when(withMac('vm2'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
    fleet()
      .given(withMac('vm1'), say('VmDestroyed', { vmId: 'vm1' }))
      .when(withMac('vm2'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
    fleet()
      .given(withMac('vm1'), stopped('vm1'))
      .when(withMac('vm1'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[NET-9 quiet] a failed start owns no MAC', () => {
    scenario(reported('h1'))
      .given(withMac('vm1'))
      .given(reported('h1', { seq: 2, pfs: ports(1) }))
      .when(withMac('vm2'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[NET-9 acts] not asked for, it is generated, the same one for ever, also after its VM was destroyed', () => {
    const cluster = fleet();
    for (let i = 0; i < 3; i++) {
      cluster.given(start('vm1'));
      expect(cluster.events[0]?.data).toMatchObject({ mac: macOf('vm1') });
      cluster.given(say('VmDestroyed', { vmId: 'vm1' }));
    }
  });

  test('[NET-9 acts] on collision the next one is taken', () => {
    const cluster = fleet().given(start('vm0', { nics: [nic('eth0', { mac: macOf('vm1') })] }), start('vm1'));
    const { mac: next } = cluster.vm('vm1').nics.get('eth0') ?? {};
    expect(next).toMatch(/^02:/);
    expect(next).not.toBe(macOf('vm1'));
    cluster.given(
      say('VmDestroyed', { vmId: 'vm0' }),
      stopped('vm1'),
      say('VmStartRequested', { vmId: 'vm1' }),
    );
    expect(cluster.vm('vm1').nics.get('eth0')?.mac).toBe(next);
  });
});

describe('what the rules of networks leave alone', () => {
  test('[NET-1 quiet] a VXLAN network without SR-IOV is a network like any other', () => {
    scenario()
      .when(l2({ type: 'VxlanNetwork', sriov: false }))
      .thenTypes('L2NetworkAccepted');
  });

  test('[NET-2 quiet] an L3 network without SR-IOV may be on any L2 network', () => {
    scenario(l2({ sriov: false }))
      .when(l3({ l2Id: 'l2-9', sriov: false }))
      .thenTypes('L3NetworkAccepted');
  });

  test('[NET-3 quiet] a NIC that names no network gets any PF, and no VLAN', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(0, 1) })).given(
      start('vm1', { nics: [{ nicId: 'eth0' }] }),
    );
    expect(cluster.events[0]?.data).toHaveProperty('vlanId', undefined);
    expect(cluster.holds('vm1')).toEqual([vfAddress('em2', 0)]);
  });

  test('[NET-3 refuses] a VF of another physical interface does not do, nor one that no PF goes by', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: [port('em2', 4)] }));
    cluster.when(start('vm1', { nics: [{ nicId: 'eth0', networkId: 'net1' }] })).thenRefused('PF_UNKNOWN');
    cluster
      .when(start('vm1', { nics: [{ nicId: 'eth0', networkId: 'net7' }] }))
      .thenRefused('NETWORK_UNKNOWN');
  });

  test('[NET-4 acts] once its PF is split, the network has its effect', () => {
    const cluster = scenario(...networks(), reported('h1'));
    const asked = start('vm1', { nics: [{ nicId: 'eth0', networkId: 'net1' }] });
    cluster.when(asked).thenRefused('PF_NOT_VIRTUALIZED');
    cluster.given(reported('h1', { seq: 2, pfs: ports(1) }));
    cluster.when(asked).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[NET-4 quiet] enabling SR-IOV orders nothing', () => {
    scenario(reported('h1')).when(l2()).thenTypes('L2NetworkAccepted');
  });

  test('[NET-5 quiet] [NET-6 quiet] a vNIC takes all services, and a VF NIC those that it can have', () => {
    const services = { securityGroups: ['sg-1'], elasticIp: 'eip-1', qos: { inboundMbps: 100 } };
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(1, 1) }));
    cluster
      .when(start('vm1', { nics: [{ nicId: 'eth0', type: 'vnic', networkId: 'net1', ...services }] }))
      .thenTypes('VmStartAccepted');
    cluster
      .when(start('vm2', { nics: [{ nicId: 'eth0', networkId: 'net2', elasticIp: 'eip-1', qos: {} }] }))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[NET-7 quiet] a vNIC does not mind, and switched on again the network serves again', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(1) }));
    const asked = (type: 'vf' | 'vnic') =>
      start(`vm-${type}`, { nics: [{ nicId: 'eth0', type, networkId: 'net1' }] });
    cluster.given(l3({ l3Id: 'net1', l2Id: 'l2-1', kind: 'flat', sriov: false }));
    cluster.when(asked('vnic')).thenTypes('VmStartAccepted');
    cluster.when(asked('vf')).thenRefused('NETWORK_SRIOV_DISABLED');
    cluster.given(l3({ l3Id: 'net1', l2Id: 'l2-1', kind: 'flat', sriov: true }));
    cluster.when(asked('vf')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[NET-8 quiet] a network that is used may be defined again', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(1) })).given(
      start('vm1', { nics: [{ nicId: 'eth0', networkId: 'net1' }] }),
    );
    cluster.when(l3({ l3Id: 'net1', l2Id: 'l2-1', kind: 'vpc', sriov: true })).thenTypes('L3NetworkAccepted');
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0)]);
  });

  test('[NET-8 acts] of an L2 and an L3 network with one id the L3 network goes first', () => {
    const remove = say('NetworkRemovalRequested', { id: 'n' });
    const cluster = scenario(l2({ l2Id: 'n' }), l3({ l3Id: 'n', l2Id: 'n' }));
    cluster.when(remove).thenTypes('NetworkRemoved');
    expect([cluster.state.l2Networks.has('n'), cluster.state.l3Networks.has('n')]).toEqual([true, false]);
    cluster.when(remove).thenTypes('NetworkRemoved');
    expect(cluster.state.l2Networks.size).toBe(0);
    cluster.when(remove).thenRefused('NETWORK_UNKNOWN');
  });
});
