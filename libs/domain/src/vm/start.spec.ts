import { describe, expect, test } from '@jest/globals';
import { viewVf, viewVm } from '../views.js';
import {
  allocated,
  EM1,
  host,
  macOf,
  networks,
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

const oneVf = () => scenario(reported('h1', { pfs: ports(1) }));
const twoVfs = () => scenario(reported('h1', { pfs: ports(2) }));

describe('exclusivity', () => {
  test('[EX-1 refuses] the only VF goes to the first of two starts', () => {
    const cluster = oneVf().given(start('vm1'));
    cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0)]);
    expect(cluster.holds('vm2')).toEqual([]);
  });

  test('[EX-1 acts] 63 starts get 63 different VFs, the 64th none', () => {
    const cluster = scenario(reported('h1', { pfs: ports(63) }));
    const vfs = Array.from({ length: 63 }, (_, i) => {
      cluster.given(start(`vm${i}`));
      return cluster.holds(`vm${i}`)[0];
    });
    expect(new Set(vfs).size).toBe(63);
    expect(vfs).not.toContain(undefined);
    cluster.when(start('vm63')).thenRefused('VF_EXHAUSTED');
  });

  test('[EX-1 refuses] a log that hands a VF out twice is not taken in', () => {
    const cluster = oneVf().given(start('vm1'));
    const twice = allocated({ allocationId: 'other', vmId: 'vm2' });
    expect(() => cluster.givenEvents(twice)).toThrow(/twice/);
  });

  test('[EX-1 acts] a released VF is handed out again, and to one only', () => {
    const cluster = oneVf().given(start('vm1'), stopped('vm1'), start('vm2'));
    expect(cluster.holds('vm2')).toEqual([vfAddress('em1', 0)]);
    cluster.when(start('vm1')).thenRefused('VF_EXHAUSTED');
  });

  test('[EX-2 acts] a VM gets a VF for each of its VF NICs, and a vNIC none', () => {
    const cluster = twoVfs();
    const tokens = [cluster.token(1), cluster.token(2)] as const;
    const nics = [nic('eth0'), nic('eth1', { type: 'vnic' }), nic('eth2')];
    cluster.when(start('vm1', { nics })).then(
      allocated({ allocationId: tokens[0], vmId: 'vm1' }),
      allocated({ allocationId: tokens[1], vmId: 'vm1', nicId: 'eth2', vf: vfAddress('em1', 1) }),
      expected('VmStartAccepted', {
        vmId: 'vm1',
        hostId: 'h1',
        nics: [
          {
            nicId: 'eth0',
            type: 'vf',
            allocationId: tokens[0],
            pf: EM1,
            vf: vfAddress('em1', 0),
            mac: macOf('vm1'),
            physicalNetwork: 'em1',
          },
          { nicId: 'eth1', type: 'vnic', mac: macOf('vm1', 'eth1'), physicalNetwork: 'em1' },
          {
            nicId: 'eth2',
            type: 'vf',
            allocationId: tokens[1],
            pf: EM1,
            vf: vfAddress('em1', 1),
            mac: macOf('vm1', 'eth2'),
            physicalNetwork: 'em1',
          },
        ],
        why: { strategy: 'pack', score: 2, candidates: 1 },
      }),
    );
  });

  test('[EX-2 refuses] a NIC that holds a VF gets no second one', () => {
    twoVfs()
      .given(start('vm1'))
      .when(say('VmNicAttachRequested', { vmId: 'vm1', nic: nic() }))
      .thenRefused('NIC_EXISTS');
  });

  test('[EX-3 acts] a start gets all its VFs from one host', () => {
    const cluster = scenario(
      reported('h1', { pfs: ports(1) }),
      reported('h2', { pfs: ports(1) }),
      reported('h3', { pfs: ports(2) }),
    );
    cluster.when(start('vm1', { nics: [nic('eth0'), nic('eth1')] }));
    expect(cluster.vm('vm1').hostId).toBe('h3');
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0), vfAddress('em1', 1)]);
  });

  test('[EX-3 refuses] a start that does not get all its VFs gets none', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }), reported('h2', { pfs: ports(1) }));
    cluster.when(start('vm1', { nics: [nic('eth0'), nic('eth1')] })).thenRefused('VF_EXHAUSTED');
    expect(cluster.state.allocations.size).toBe(0);
    expect(cluster.state.vms.size).toBe(0);
    expect(cluster.state.macs.size).toBe(0);
  });

  test('[EX-3 acts] a NIC of one network does not take the place of a NIC that can go nowhere else', () => {
    const pfs = [port('em1', 1, { bond: 'bond0' }), port('em2', 1, { bond: 'bond0' })];
    const nics = [nic('eth0', { physicalNetwork: 'bond0' }), nic('eth1', { physicalNetwork: 'em1' })];
    const cluster = scenario(reported('h1', { pfs })).given(start('vm1', { nics }));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em2', 0), vfAddress('em1', 0)]);
  });

  test('[EX-3 refuses] no matching is found where there is none', () => {
    const pfs = [port('em1', 1, { bond: 'bond0' }), port('em2', 1, { bond: 'bond0' })];
    const nics = [
      nic('eth0', { physicalNetwork: 'em1' }),
      nic('eth1', { physicalNetwork: 'em1' }),
      nic('eth2', { physicalNetwork: 'bond0' }),
    ];
    scenario(reported('h1', { pfs })).when(start('vm1', { nics })).thenRefused('VF_EXHAUSTED');
    const two = [nic('eth0', { physicalNetwork: 'em1' }), nic('eth1', { physicalNetwork: 'em1' })];
    const split = [port('em1', 2, { bond: 'bond0' }), port('em2', 2, { bond: 'bond0' })];
    scenario(reported('h1', { pfs: split }))
      .when(start('vm1', { nics: two, separatePfs: true }))
      .thenRefused('SEPARATE_PFS_IMPOSSIBLE');
  });

  test('[EX-5 refuses] a start on host B while VFs are held on host A is refused, naming A', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }), reported('h2', { pfs: ports(1) })).given(
      start('vm1', { hostId: 'h1' }),
    );
    const holder = {
      vmId: 'vm1',
      nicId: 'eth0',
      vf: vfAddress('em1', 0),
      allocationId: cluster.allocation('vm1').id,
    };
    cluster.when(start('vm1', { hostId: 'h2' })).thenRefused('VM_RUNNING_ELSEWHERE');
    expect(cluster.events).toEqual([
      expected('VmStartFailed', {
        vmId: 'vm1',
        hostId: 'h1',
        reason: 'VM_RUNNING_ELSEWHERE',
        message: expect.stringContaining('host h1') as unknown as string,
        holders: [holder],
        summary: { VM_RUNNING_ELSEWHERE: 1 },
        considered: [],
      }),
    ]);
    cluster
      .given(started('vm1'))
      .when(start('vm1', { hostId: 'h2' }))
      .thenRefused('VM_RUNNING_ELSEWHERE');
  });

  test('[EX-5 quiet] a VM that stopped holds nothing, and starts on another host', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }), reported('h2', { pfs: ports(1) }));
    cluster.given(start('vm1', { hostId: 'h1' }), stopped('vm1'), start('vm1', { hostId: 'h2' }));
    expect(cluster.allocation('vm1').vf.pf.host.id).toBe('h2');
  });
});

describe('placement of a start', () => {
  test('[VM-1 acts] a start allocates a VF to its VF NIC', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(2) }));
    const token = cluster.token();
    cluster
      .when(
        start('vm1', {
          tenant: 't1',
          nics: [{ nicId: 'eth0', networkId: 'net1', mac: '52:54:00:00:00:01', guestSlot: 7 }],
        }),
      )
      .then(
        expected('VfAllocated', {
          allocationId: token,
          vmId: 'vm1',
          nicId: 'eth0',
          tenant: 't1',
          hostId: 'h1',
          pf: EM1,
          vf: '0000:82:10.0',
          vfIndex: 0,
          networkId: 'net1',
          physicalNetwork: 'em1',
          vlanId: 100,
          mac: '52:54:00:00:00:01',
          guestSlot: 7,
          numaNode: 1,
          reason: 'start',
        }),
        expected('VmStartAccepted', {
          vmId: 'vm1',
          hostId: 'h1',
          tenant: 't1',
          nics: [
            {
              nicId: 'eth0',
              type: 'vf',
              allocationId: token,
              pf: EM1,
              vf: '0000:82:10.0',
              mac: '52:54:00:00:00:01',
              networkId: 'net1',
              guestSlot: 7,
            },
          ],
          why: { strategy: 'pack', score: 2, candidates: 1 },
        }),
      );
  });

  test('[VM-1 acts] without VF NICs a start is accepted on its host, though that host is not ready for VFs', () => {
    const cluster = scenario(reported('h1', { iommu: { enabled: false, ready: false } }), reported('h2'));
    cluster.when(start('vm1', { hostId: 'h1', nics: [{ nicId: 'eth0', type: 'vnic' }] })).then(
      expected('VmStartAccepted', {
        vmId: 'vm1',
        hostId: 'h1',
        nics: [{ nicId: 'eth0', type: 'vnic', mac: macOf('vm1') }],
        why: { strategy: 'pack', score: 0, candidates: 1 },
      }),
    );
    cluster.when(start('vm2', { nics: [] })).thenTypes('VmStartAccepted');
  });

  test('[VM-1 acts] [VM-1 refuses] without VF NICs any host serves that is neither lost nor cordoned nor fenced', () => {
    const cluster = scenario(reported('h1'), reported('h2'), reported('h3')).given(
      say('HostCordoned', { hostId: 'h1', cordoned: true }),
      say('HostFenced', { hostId: 'h2' }),
    );
    for (let i = 0; i < 8; i++) {
      cluster.given(start(`vm${i}`, { nics: [] }));
      expect(cluster.vm(`vm${i}`).hostId).toBe('h3');
    }
    cluster.when(start('v', { nics: [], hosts: ['h1', 'h3'] })).thenTypes('VmStartAccepted');
    cluster.when(start('w', { nics: [], hostId: 'h1' })).thenRefused('HOST_CORDONED');
    cluster.when(start('w', { nics: [], hostId: 'h2' })).thenRefused('HOST_LOST');
    cluster.when(start('w', { nics: [], hostId: 'h9' })).thenRefused('HOST_UNKNOWN');
    cluster.given(say('HostCordoned', { hostId: 'h3', cordoned: true }));
    cluster.when(start('w', { nics: [] })).thenRefused('HOST_CORDONED');
  });

  test('[VM-2 refuses] an exhausted start fails with the counts of each reason and the nearest misses', () => {
    const cluster = scenario(
      reported('h1', { pfs: ports(1) }),
      reported('h2', { pfs: [port('em1', 2, { link: 'down' })] }),
      reported('h3', { pfs: ports(0) }),
      start('vm1', { hostId: 'h1' }),
    );
    cluster.when(start('vm2')).then(
      expected('VmStartFailed', {
        vmId: 'vm2',
        reason: 'VF_EXHAUSTED',
        message: 'no host of the cluster takes 1 VF on em1: no free VF is left',
        summary: { VF_EXHAUSTED: 1, PF_LINK_DOWN: 1, PF_NOT_VIRTUALIZED: 1 },
        considered: [
          { hostId: 'h1', pf: EM1, reason: 'VF_EXHAUSTED', total: 1, free: 0 },
          { hostId: 'h2', pf: EM1, reason: 'PF_LINK_DOWN', total: 2, free: 0 },
          { hostId: 'h3', pf: EM1, reason: 'PF_NOT_VIRTUALIZED', total: 0, free: 0 },
        ],
      }),
    );
  });

  test('[VM-2 acts] at most 32 misses are told, and that there are more', () => {
    const cluster = scenario(...Array.from({ length: 40 }, (_, i) => reported(`h${i}`)));
    cluster.when(start('vm1')).thenRefused('PF_NOT_VIRTUALIZED');
    const [failed] = cluster.events;
    expect(failed?.data).toMatchObject({ summary: { PF_NOT_VIRTUALIZED: 40 }, truncated: true });
    expect((failed?.data as { considered: unknown[] }).considered).toHaveLength(32);
  });

  test('[VM-2 acts] a PF is counted once, though several NICs may look at it', () => {
    const cluster = scenario(reported('h1', { pfs: ports(0) }));
    cluster.when(start('vm1', { nics: [{ nicId: 'a' }, nic('b')] })).thenRefused('PF_NOT_VIRTUALIZED');
    expect(cluster.events[0]?.data).toMatchObject({
      summary: { PF_NOT_VIRTUALIZED: 2, PF_NOT_VIRTUALIZABLE: 2 },
    });
    cluster
      .when(start('vm1', { hostId: 'h1', nics: [{ nicId: 'a' }, nic('b')] }))
      .thenRefused('PF_NOT_VIRTUALIZED');
    expect(cluster.events[0]?.data).toMatchObject({
      summary: { PF_NOT_VIRTUALIZED: 2, PF_NOT_VIRTUALIZABLE: 2 },
    });
  });

  test('[VM-2 acts] the reason of a start over many hosts: a missing VF wins, else the most frequent', () => {
    const cluster = scenario(
      reported('h1', { pfs: [port('em1', 1, { link: 'down' })] }),
      reported('h2', { pfs: [port('em1', 1, { link: 'down' })] }),
      reported('h3', { iommu: { enabled: true, ready: false }, pfs: [port('em1', 1)] }),
    );
    cluster.when(start('vm1')).thenRefused('PF_LINK_DOWN');
    cluster.when(start('vm1', { hosts: ['h1', 'h2', 'h3'] })).thenRefused('PF_LINK_DOWN');
    cluster.given(reported('h4', { pfs: [port('em1', 1)] }), start('vm0'));
    cluster.when(start('vm1')).thenRefused('VF_EXHAUSTED');
    cluster.when(start('vm1', { hosts: ['h1', 'h2', 'h3', 'h4'] })).thenRefused('VF_EXHAUSTED');
  });

  test('[VM-3 acts] stop, destroy and abort release every VF, from pending and from running', () => {
    const ends = [
      ['VmStopped', 'vm-stopped'],
      ['VmStartAborted', 'start-aborted'],
      ['VmDestroyed', 'vm-destroyed'],
    ] as const;
    for (const [type, reason] of ends) {
      for (const runs of [false, true]) {
        const cluster = twoVfs().given(start('vm1', { tenant: 't1', nics: [nic('eth0'), nic('eth1')] }));
        if (runs) cluster.given(started('vm1'));
        const ids = [cluster.allocation('vm1').id, cluster.allocation('vm1', 'eth1').id] as const;
        const about = { vmId: 'vm1', tenant: 't1', reason };
        const note = type === 'VmDestroyed' ? {} : { reason: 'because' };
        cluster
          .when(say(type, { vmId: 'vm1', ...note }))
          .then(
            released({ ...about, allocationId: ids[0] }),
            released({ ...about, allocationId: ids[1], nicId: 'eth1', vf: vfAddress('em1', 1) }),
            expected(type, { vmId: 'vm1', ...note }),
          );
        expect(cluster.state.allocations.size).toBe(0);
        expect(cluster.pf('h1', EM1).free.size).toBe(2);
      }
    }
  });

  test('[VM-3 quiet] the end of a VM that holds nothing releases nothing', () => {
    const cluster = oneVf().given(start('vm1'), stopped('vm1'));
    cluster
      .when(stopped('vm1'))
      .then(expected('InputIgnored', { type: 'VmStopped', reason: 'already-stopped', vmId: 'vm1' }));
    cluster.when(say('VmDestroyed', { vmId: 'vm1' })).then(expected('VmDestroyed', { vmId: 'vm1' }));
    cluster.when(stopped('vm1')).thenIgnored('unknown');
  });

  test('[VM-4 acts] a restart allocates again and keeps id, MAC and slot; `nics` may be left out', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) })).given(
      start('vm1', { nics: [nic('eth0', { mac: '52:54:00:00:00:09', guestSlot: '0000:00:05.0' })] }),
      stopped('vm1'),
      start('vm2', { nics: [nic()] }),
    );
    const token = cluster.token();
    cluster.when(say('VmStartRequested', { vmId: 'vm1' }));
    expect(cluster.events[0]).toEqual(
      allocated({
        allocationId: token,
        vmId: 'vm1',
        vf: cluster.holds('vm1')[0],
        mac: '52:54:00:00:00:09',
        guestSlot: '0000:00:05.0',
        ...optional(['tenant', 'networkId', 'vlanId']),
      }),
    );
    expect(cluster.events.map(({ type }) => type)).toEqual(['VfAllocated', 'VmStartAccepted']);
  });

  test('[VM-4 acts] a NIC that is named again keeps its generated MAC and its slot', () => {
    const cluster = oneVf().given(start('vm1', { nics: [nic('eth0', { guestSlot: 4 })] }), stopped('vm1'));
    cluster.when(start('vm1', { nics: [nic('eth0')] }));
    expect(cluster.events[0]?.data).toMatchObject({ mac: macOf('vm1'), guestSlot: 4 });
  });

  test('[VM-4 refuses] a slot that was kept is not given to another NIC as well', () => {
    const cluster = twoVfs().given(start('vm1', { nics: [nic('eth0', { guestSlot: 4 })] }), stopped('vm1'));
    cluster
      .when(start('vm1', { nics: [nic('eth0'), nic('eth1', { guestSlot: 4 })] }))
      .thenRefused('NIC_EXISTS');
  });

  test('[VM-4 acts] a restart prefers the VF it had, and does not wait for it', () => {
    const cluster = twoVfs().given(start('vm0'), start('vm1'), stopped('vm0'), stopped('vm1'));
    cluster.given(start('vm1'));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 1)]);
    cluster.given(stopped('vm1'), start('vm2'), start('vm3'), stopped('vm2'), start('vm1'));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0)]);
  });

  test('[VM-4 refuses] a restart without `nics` of a VM that was never seen is refused', () => {
    const cluster = oneVf();
    cluster.when(say('VmStartRequested', { vmId: 'vm1' })).thenRefused('VM_UNKNOWN');
    cluster.given(start('vm1'), say('VmDestroyed', { vmId: 'vm1' }));
    cluster.when(say('VmStartRequested', { vmId: 'vm1' })).thenRefused('VM_UNKNOWN');
  });

  test('[VM-10 acts] a NIC that may fall back starts degraded when there is no VF', () => {
    const cluster = oneVf().given(start('vm0'));
    cluster.when(start('vm1', { nics: [nic('eth0', { onExhaustion: 'fallback' })] })).then(
      expected('NicDegraded', { vmId: 'vm1', nicId: 'eth0', reason: 'VF_EXHAUSTED' }),
      expected('VmStartAccepted', {
        vmId: 'vm1',
        hostId: 'h1',
        nics: [
          {
            nicId: 'eth0',
            type: 'vf',
            degraded: true,
            mac: macOf('vm1'),
            physicalNetwork: 'em1',
            onExhaustion: 'fallback',
          },
        ],
        why: { strategy: 'pack', score: 0, candidates: 1 },
      }),
    );
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({
      memoryPinned: false,
      nics: [{ state: 'degraded' }],
    });
  });

  test('[VM-10 acts] of two NICs that may fall back one gets the last VF, on whatever host it is', () => {
    for (const other of ['h0', 'h1', 'h2', 'h3', 'h4']) {
      const hosts = ['h0', 'h1', 'h2', 'h3', 'h4'].map((id) =>
        reported(id, { pfs: ports(id === other ? 1 : 0) }),
      );
      const cluster = scenario(...hosts);
      const nics = ['eth0', 'eth1'].map((id) => nic(id, { onExhaustion: 'fallback' }));
      cluster.when(start('vm1', { nics })).thenTypes('VfAllocated', 'NicDegraded', 'VmStartAccepted');
      expect(cluster.vm('vm1').hostId).toBe(other);
    }
  });

  test('[VM-10 refuses] a NIC that must not fall back still fails its start', () => {
    const nics = [nic('eth0', { onExhaustion: 'fallback' }), nic('eth1')];
    const cluster = oneVf();
    cluster.when(start('vm1', { nics })).thenTypes('NicDegraded', 'VfAllocated', 'VmStartAccepted');
    cluster.when(start('vm2', { nics })).thenRefused('VF_EXHAUSTED');
  });

  test('[VM-10 acts] a degraded NIC says why', () => {
    const cluster = scenario(reported('h1'));
    cluster.when(start('vm1', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }));
    expect(cluster.events[0]).toEqual(
      expected('NicDegraded', { vmId: 'vm1', nicId: 'eth0', reason: 'PF_NOT_VIRTUALIZED' }),
    );
  });

  test('[VM-15 refuses] a start of a VM that is pending or running is refused with its host and allocations', () => {
    const cluster = twoVfs().given(start('vm1'));
    const message = expect.stringMatching(/vm1.*host h1/) as unknown as string;
    const refusal = expected('VmStartFailed', {
      vmId: 'vm1',
      hostId: 'h1',
      reason: 'VM_RUNNING',
      message,
      holders: [
        {
          vmId: 'vm1',
          nicId: 'eth0',
          vf: vfAddress('em1', 0),
          allocationId: cluster.allocation('vm1').id,
        },
      ],
      summary: { VM_RUNNING: 1 },
      considered: [],
    });
    cluster.when(start('vm1')).thenRefused('VM_RUNNING');
    expect(cluster.events).toEqual([refusal]);
    cluster.given(started('vm1')).when(start('vm1', { hostId: 'h1' }));
    expect(cluster.events).toEqual([refusal]);
  });

  test('[VM-15 refuses] a VM without VFs that runs elsewhere is simply running', () => {
    scenario(reported('h1'), reported('h2'))
      .given(start('vm1', { hostId: 'h1', nics: [] }))
      .when(start('vm1', { hostId: 'h2', nics: [] }))
      .thenRefused('VM_RUNNING');
  });

  test('[VM-15 quiet] a VM that stopped is started', () => {
    oneVf()
      .given(start('vm1'), started('vm1'), stopped('vm1'))
      .when(start('vm1'))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[PF-13 acts] [PF-13 refuses] a PF that is down is not chosen', () => {
    const down = { pfs: [port('em1', 1, { link: 'down' }), port('em2', 1)] };
    const cluster = scenario(reported('h1', down));
    cluster.when(start('vm1', { nics: [nic('eth0')] })).thenRefused('PF_LINK_DOWN');
    cluster.given(start('vm1', { nics: [{ nicId: 'eth0' }] }));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em2', 0)]);
    cluster.when(start('vm2', { nics: [{ nicId: 'eth0' }] })).thenRefused('VF_EXHAUSTED');
    cluster.given(say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'up' }));
    cluster.when(start('vm2', { nics: [{ nicId: 'eth0' }] })).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[PF-13 quiet] a link that is reported as it is known says nothing', () => {
    oneVf()
      .when(say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'up' }))
      .thenIgnored('unchanged');
  });

  test('[OUT-4 acts] an allocation carries address, MAC, VLAN and guest slot', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(1) })).given(
      start('vm1', { nics: [{ nicId: 'eth0', networkId: 'net1', guestSlot: 9 }] }),
    );
    expect(cluster.events[0]).toMatchObject({
      type: 'VfAllocated',
      data: { hostId: 'h1', vf: '0000:82:10.0', mac: macOf('vm1'), vlanId: 100, guestSlot: 9 },
    });
  });

  test('[OUT-4 quiet] without VLAN and slot there are none', () => {
    const cluster = oneVf().given(start('vm1'));
    expect(JSON.parse(JSON.stringify(cluster.events[0]?.data))).not.toHaveProperty('vlanId');
    expect(JSON.parse(JSON.stringify(cluster.events[0]?.data))).not.toHaveProperty('guestSlot');
  });

  test('[OUT-6 acts] two VFs for a guest bond come from different PFs, with the bond hints', () => {
    const pfs = [port('em1', 4, { bond: 'b' }), port('em2', 4, { bond: 'b' })];
    const nics = ['eth0', 'eth1'].map((id) => nic(id, { physicalNetwork: 'b' }));
    const cluster = scenario(reported('h1', { pfs }));
    cluster.given(start('vm1', { nics, separatePfs: true }));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0), vfAddress('em2', 0)]);
    expect(cluster.events.at(-1)?.data).toMatchObject({
      bondHints: 'mode=active-backup fail_over_mac=active miimon=100',
    });
    cluster.given(start('vm2', { nics }));
    expect(new Set(cluster.holds('vm2').map((vf) => cluster.vf('h1', vf).pf.address)).size).toBe(1);
    expect(cluster.events.at(-1)?.data).not.toHaveProperty('bondHints');
  });

  test('[OUT-6 refuses] without a second PF it is refused', () => {
    const cluster = scenario(reported('h1', { pfs: ports(4, 0) }));
    const nics = [nic('eth0'), nic('eth1')];
    cluster.when(start('vm1', { nics, separatePfs: true })).thenRefused('SEPARATE_PFS_IMPOSSIBLE');
    cluster
      .when(start('vm1', { nics, separatePfs: true, hostId: 'h1' }))
      .thenRefused('SEPARATE_PFS_IMPOSSIBLE');
  });

  test('a quota holds in the decision itself', () => {
    const cluster = scenario(reported('h1', { pfs: ports(4) })).given(
      say('ClusterPolicyChanged', { quotas: { t1: 2 } }),
      start('vm1', { tenant: 't1', nics: [nic('eth0')] }),
    );
    cluster
      .when(start('vm2', { tenant: 't1', nics: [nic('eth0'), nic('eth1')] }))
      .thenRefused('QUOTA_EXCEEDED');
    cluster.when(start('vm2', { tenant: 't1' })).thenTypes('VfAllocated', 'VmStartAccepted');
    cluster.when(start('vm3', { tenant: 't1' })).thenRefused('QUOTA_EXCEEDED');
    cluster.when(start('vm3', { tenant: 'constructor' })).thenTypes('VfAllocated', 'VmStartAccepted');
    cluster
      .given(stopped('vm1'))
      .when(start('vm4', { tenant: 't1' }))
      .thenTypes('VfAllocated', 'VmStartAccepted');
  });
});

describe('which code where', () => {
  const refusedBy = (fields: Parameters<typeof host>[1], ...before: ReturnType<typeof say>[]) =>
    scenario(reported('h1', fields), ...before).when(start('vm1', { hostId: 'h1' }));

  test('[OUT-2 refuses] each obstacle of a pinned start has its own code', () => {
    const one = { pfs: [port('em1', 1)] };
    refusedBy(one, say('HostFenced', { hostId: 'h1' })).thenRefused('HOST_LOST');
    refusedBy(one, say('HostCordoned', { hostId: 'h1', cordoned: true })).thenRefused('HOST_CORDONED');
    refusedBy({ ...one, iommu: { enabled: true, ready: false } }).thenRefused('HOST_NOT_READY');
    refusedBy(one, say('PfDriverLost', { hostId: 'h1', pf: EM1 })).thenRefused('PF_LOST');
    refusedBy(one, say('PfCordoned', { hostId: 'h1', pf: EM1, cordoned: true })).thenRefused('PF_CORDONED');
    refusedBy(one, say('PfRestoreRequested', { hostId: 'h1', pf: EM1 })).thenRefused('PF_RESTORING');
    refusedBy({ pfs: [port('em1', 0)] }).thenRefused('PF_NOT_VIRTUALIZED');
    refusedBy({ pfs: [port('em1', 0, { totalVfs: 0 })] }).thenRefused('PF_NOT_VIRTUALIZABLE');
    refusedBy(
      { pfs: [port('em1', 0)] },
      say('PfVirtualizeRequested', { hostId: 'h1', pf: EM1, numVfs: 2 }),
    ).thenRefused('PF_BUSY');
    refusedBy({ pfs: [port('em2', 1)] }).thenRefused('PF_UNKNOWN');
    scenario()
      .when(start('vm1', { hostId: 'h1' }))
      .thenRefused('HOST_UNKNOWN');
    scenario(reported('h1', one))
      .when(start('vm1', { hosts: ['h8', 'h9'] }))
      .thenRefused('HOST_UNKNOWN');
    scenario(reported('h1', one))
      .when(start('vm1', { nics: [{ nicId: 'eth0', networkId: 'net1' }] }))
      .thenRefused('NETWORK_UNKNOWN');
  });

  test('[PF-6 refuses] a start that only a lost PF could serve fails with PF_LOST, whatever other ports there are', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(
      say('PfDriverLost', { hostId: 'h1', pf: EM1 }),
    );
    cluster.when(start('vm1', { nics: [{ nicId: 'eth0' }] })).thenRefused('PF_LOST');
    cluster.when(start('vm1', { hostId: 'h1', nics: [{ nicId: 'eth0' }] })).thenRefused('PF_LOST');
  });

  test('[HOST-5 refuses] a start on a fenced or lost host is refused with HOST_LOST', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) })).given(
      say('Tick', {}),
      say('Tick', {}, { after: 90 }),
    );
    cluster.when(start('vm1', { hostId: 'h1' })).thenRefused('HOST_LOST');
    cluster.when(start('vm1')).thenRefused('HOST_LOST');
  });

  describe('what is tied to the host', () => {
    const one = (fields: object) => scenario(reported('h1', { pfs: ports(vfs('em1', 2, { 0: fields })) }));

    test('[HOST-3 acts] the next VF is taken instead', () => {
      for (const fields of [
        { hostUse: 'address' },
        { hostUse: 'route' },
        { hostUse: 'bond' },
        { hostUse: 'bridge' },
        { hostUse: 'other' },
        { iommuGroupShared: true, iommuGroup: 7 },
      ]) {
        const cluster = one(fields).given(start('vm1'));
        expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 1)]);
        expect(viewVf(cluster.vf('h1', vfAddress('em1', 0))).state).toBe('unavailable');
      }
    });

    test('[HOST-3 refuses] there is no other VF', () => {
      one({ hostUse: 'bridge' }).given(start('vm1')).when(start('vm2')).thenRefused('VF_EXHAUSTED');
    });

    test('[HOST-3 refuses] two VFs of one IOMMU group share it, on one PF or on two, until one of them goes', () => {
      const grouped = (seq: number, em1: object, em2: object[]) =>
        reported('h1', {
          seq,
          pfs: ports(
            vfs('em1', 1, { 0: em1 }),
            em2.map((fields, index) => vf('em2', index, fields)),
          ),
        });
      const cluster = scenario(grouped(1, { iommuGroup: 7 }, [{ iommuGroup: 7 }, { iommuGroup: 8 }]));
      const any = (vmId: string) => start(vmId, { nics: [{ nicId: 'eth0' }] });
      cluster.given(any('vm1'));
      expect(cluster.holds('vm1')).toEqual([vfAddress('em2', 1)]);
      cluster.when(any('vm2')).thenRefused('VF_EXHAUSTED');
      cluster.given(grouped(2, { iommuGroup: 7 }, [{ iommuGroup: 9 }, { iommuGroup: 8 }]));
      cluster.given(any('vm2'), any('vm3'));
      expect([...cluster.holds('vm2'), ...cluster.holds('vm3')].sort()).toEqual([
        vfAddress('em1', 0),
        vfAddress('em2', 0),
      ]);
    });

    test('[HOST-3 quiet] a VF that is merely up is free, and so is one of which its host says that it is alone', () => {
      const cluster = scenario(
        reported('h1', {
          pfs: ports(
            vfs('em1', 2, {
              0: { boundDriver: 'ixgbevf', iommuGroup: 8 },
              1: { iommuGroup: 8, iommuGroupShared: false },
            }),
          ),
        }),
      );
      cluster.given(start('vm1'));
      expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 1)]);
      one({ boundDriver: 'ixgbevf', iommuGroup: 8 })
        .when(start('vm1'))
        .thenTypes('VfAllocated', 'VmStartAccepted');
    });
  });
});

describe('what the rules of a start leave alone', () => {
  const vnic = { nicId: 'eth0', type: 'vnic' } as const;

  test('[VM-1 quiet] [EX-1 quiet] [EX-2 quiet] [EX-3 quiet] [EX-4 quiet] a VM of vNICs takes no VF and has no token', () => {
    const cluster = oneVf().given(
      start('vm1', { nics: [vnic, { nicId: 'eth1', type: 'vnic' }] }),
      started('vm1'),
    );
    expect(cluster.log.map(({ type }) => type)).toEqual(['HostRegistered', 'VmStartAccepted', 'VmStarted']);
    expect(JSON.stringify(cluster.log)).not.toContain('allocationId');
    cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-2 quiet] the last VF is a VF: who gets it hears of no shortage', () => {
    oneVf().when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  });

  test('[VM-3 refuses] a late end, of an earlier generation or of a VM that is not known, releases nothing', () => {
    const cluster = oneVf().given(start('vm1', { generation: 2 }));
    cluster.when(stopped('vm1', { generation: 1 })).thenIgnored('stale');
    cluster.when(say('VmDestroyed', { vmId: 'vm1', generation: 1 })).thenIgnored('stale');
    cluster.when(say('VmStartAborted', { vmId: 'vm9' })).thenIgnored('unknown');
    expect(cluster.holds('vm1')).toEqual([vfAddress('em1', 0)]);
  });

  test('[VM-4 quiet] a NIC that is new with this start has nothing to keep', () => {
    const cluster = twoVfs().given(start('vm1'), stopped('vm1'));
    cluster.given(start('vm1', { nics: [nic('eth1')] }));
    expect([...cluster.vm('vm1').nics.keys()]).toEqual(['eth1']);
    expect(cluster.vm('vm1').nics.get('eth1')?.mac).toBe(macOf('vm1', 'eth1'));
  });

  test('[EX-5 acts] a NIC that is attached gets its VF on the host where the others are, though another has more', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) }), reported('h2', { pfs: ports(9) })).given(
      start('vm1', { hostId: 'h1' }),
      started('vm1'),
      say('ClusterPolicyChanged', { strategy: 'spread' }),
      say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1') }),
    );
    expect(cluster.allocation('vm1', 'eth1').vf.pf.host.id).toBe('h1');
  });

  test('[OUT-6 quiet] who does not ask for separate PFs gets no bond hints, and the VFs of one PF', () => {
    const cluster = scenario(reported('h1', { pfs: ports(4, 2) })).given(
      start('vm1', { nics: [{ nicId: 'eth0' }, { nicId: 'eth1' }] }),
    );
    expect(cluster.events.at(-1)?.data).not.toHaveProperty('bondHints');
    expect(cluster.holds('vm1')).toEqual([vfAddress('em2', 0), vfAddress('em2', 1)]);
    cluster.given(start('vm2', { nics: [nic()], separatePfs: true }));
    expect(cluster.events.at(-1)?.data).not.toHaveProperty('bondHints');
  });
});

describe('a restart', () => {
  const fleet = () => scenario(reported('h1', { pfs: ports(9) }), reported('h2', { pfs: ports(2) }));

  test('[VM-4 acts] goes back to its host, though the strategy would choose another', () => {
    const cluster = fleet().given(start('vm1', { hostId: 'h1' }), stopped('vm1'), start('vm1'));
    expect(cluster.vm('vm1').hostId).toBe('h1');
    cluster.given(stopped('vm1'), start('vm1', { hosts: ['h2', 'h1'] }));
    expect(cluster.vm('vm1').hostId).toBe('h1');
    expect(cluster.events.at(-1)?.data).toMatchObject({ why: { strategy: 'pack', score: 9, candidates: 2 } });
  });

  test('[VM-4 quiet] it does not, where a strategy is asked for, another host named, or its own does not fit', () => {
    const cluster = fleet().given(start('vm1', { hostId: 'h1' }), stopped('vm1'));
    cluster.given(start('vm1', { strategy: 'pack' }));
    expect(cluster.vm('vm1').hostId).toBe('h2');
    cluster.given(stopped('vm1'), start('vm1', { hosts: ['h1'] }), stopped('vm1'));
    cluster.given(say('HostCordoned', { hostId: 'h1', cordoned: true }), start('vm1'));
    expect(cluster.vm('vm1').hostId).toBe('h2');
  });

  test('[VM-4 acts] each NIC goes back to its own PF and VF', () => {
    const cluster = scenario(reported('h1', { pfs: ports(4, 2) })).given(
      start('other', { nics: [nic('eth0')] }),
      start('vm1', { nics: [nic('eth0'), nic('eth1', { physicalNetwork: 'em2' })] }),
      stopped('other'),
    );
    const before = cluster.holds('vm1');
    // Now on whatever PF: the strategy alone would put both on em2.
    cluster.given(stopped('vm1'), start('vm1', { nics: [{ nicId: 'eth0' }, { nicId: 'eth1' }] }));
    expect(cluster.holds('vm1')).toEqual(before);
  });

  test('[VM-4 quiet] the NUMA node that is asked for comes before the PF it had', () => {
    const pfs = [port('em1', 2, { numaNode: 0 }), port('em2', 2, { numaNode: 1 })];
    const cluster = scenario(reported('h1', { pfs })).given(start('vm1'), stopped('vm1'));
    cluster.given(start('vm1', { nics: [{ nicId: 'eth0' }], numaNode: 1 }));
    expect(cluster.holds('vm1')).toEqual([vfAddress('em2', 0)]);
  });
});

/** Fields that are there and undefined. */
const optional = (fields: readonly string[]): object =>
  Object.fromEntries(fields.map((field) => [field, undefined]));

describe('a promotion of a VM that asked for separate PFs', () => {
  const waiting = () =>
    scenario(reported('h1', { pfs: ports(2, 1) })).given(
      start('w', { hostId: 'h1' }),
      start('sp', {
        hostId: 'h1',
        separatePfs: true,
        nics: [{ nicId: 'a', onExhaustion: 'fallback' }, { nicId: 'b' }, { nicId: 'c' }],
      }),
      started('sp'),
    );

  test('[OUT-6 refuses] a VF of a PF that it has a VF of, at a release and at a tick', () => {
    const cluster = waiting();
    expect(new Set([...cluster.holds('sp')].map((address) => cluster.vf('h1', address).pf)).size).toBe(2);
    cluster.takenOver().when(stopped('w')).thenTypes('VfReleased', 'VmStopped');
    cluster.when(say('Tick', {})).thenNothing();
  });

  test('[OUT-6 acts] one of a PF that it lets go with the same decision, or of a third, serves', () => {
    const cluster = waiting();
    cluster
      .when(say('VmNicDetachRequested', { vmId: 'sp', nicId: 'b' }))
      .thenTypes('VfReleased', 'VfAllocated', 'NicPromoted', 'VmNicDetached');
    expect(new Set([...cluster.holds('sp')].map((address) => cluster.vf('h1', address).pf)).size).toBe(2);
  });

  test('[OUT-6 quiet] a VM that did not ask is promoted to any', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) })).given(
      start('w'),
      start('vm1', { nics: [nic('a', { onExhaustion: 'fallback' }), nic('b')] }),
    );
    cluster.when(stopped('w')).thenTypes('VfReleased', 'VfAllocated', 'NicPromoted', 'VmStopped');
  });
});

describe('a host that is not ready', () => {
  const CAUSES = [
    [{ iommu: { enabled: false, ready: false } }, /h1 has its IOMMU switched off$/],
    [
      { iommu: { enabled: true, ready: false } },
      /h1 has its IOMMU enabled but not ready: reboot pending or firmware off$/,
    ],
    [{ interruptRemapping: false }, /h1 has no interrupt remapping, and unsafe interrupts are not allowed$/],
  ] as const;

  test.each(CAUSES)('[HOST-1 refuses] [HOST-2 refuses] a start, and says why: %j', (fields, message) => {
    for (const where of [{}, { hostId: 'h1' }, { hosts: ['h1'] }]) {
      const cluster = scenario(reported('h1', { pfs: ports(1), ...fields }));
      cluster.when(start('vm1', where)).thenRefused('HOST_NOT_READY');
      expect((cluster.events[0]?.data as { message: string }).message).toMatch(message);
    }
  });

  test('[OUT-2 acts] several hosts, each cause once', () => {
    const cluster = scenario(
      ...CAUSES.map(([fields], index) => reported(`h${index + 1}`, { pfs: ports(1), ...fields })),
      reported('h4', { pfs: ports(1), interruptRemapping: false }),
    );
    cluster.when(start('vm1')).thenRefused('HOST_NOT_READY');
    expect((cluster.events[0]?.data as { message: string }).message).toBe(
      'no host of the cluster takes 1 VF on em1: host h1 has its IOMMU switched off; ' +
        'host h2 has its IOMMU enabled but not ready: reboot pending or firmware off; ' +
        'host h3 has no interrupt remapping, and unsafe interrupts are not allowed',
    );
  });
});

describe('NUMA', () => {
  test('[NET-3 acts] a PF of the asked node comes first, one without a node next, one of another last', () => {
    const cluster = scenario(
      reported('h1', {
        pfs: [
          port('em1', 1, { numaNode: 0, physicalNetwork: 'net' }),
          port('em2', 1, { numaNode: undefined, physicalNetwork: 'net' }),
          port('em3', [{ pciAddress: '0000:06:10.0', index: 0 }], {
            numaNode: 1,
            totalVfs: 1,
            physicalNetwork: 'net',
          }),
        ],
      }),
    );
    const pfs = ['vm1', 'vm2', 'vm3'].map((vmId) => {
      cluster.given(start(vmId, { numaNode: 1, nics: [nic('eth0', { physicalNetwork: 'net' })] }));
      return cluster.allocation(vmId).vf.pf.report.ifname;
    });
    expect(pfs).toEqual(['em3', 'em2', 'em1']);
  });
});
