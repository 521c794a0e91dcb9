import { describe, expect, test } from '@jest/globals';
import {
  EM1,
  EM2,
  EM3,
  EM4,
  macOf,
  networks,
  port,
  ports,
  reported,
  start,
  started,
  stopped,
  vf,
  vfAddress,
  vfs,
} from './testing/fleet.js';
import { say, scenario } from './testing/scenario.js';
import { viewAvailability, viewHost, viewPf, viewVf, viewVm } from './views.js';

describe('what an operator sees', () => {
  test('[OUT-5 acts] the table of the ZStack fleet: name, model, link, speed, state, available/total', () => {
    const cluster = scenario(reported('h1', { pfs: ports(63) })).given(start('vm1'));
    const rows = [EM1, EM2, EM3, EM4].map((address) => {
      const { ifname, model, link, speedMbps, state, free, total } = viewPf(cluster.pf('h1', address));
      return [ifname, model?.split(' ')[0], link, speedMbps, state, free, total];
    });
    expect(rows).toEqual([
      ['em1', '82599ES', 'up', 10_000, 'virtualized', 62, 63],
      ['em2', '82599ES', 'up', 10_000, 'virtualizable', '-', '-'],
      ['em3', 'I350', 'up', 1000, 'not-virtualizable', '-', '-'],
      ['em4', 'I350', 'down', undefined, 'not-virtualizable', '-', '-'],
    ]);
  });

  test('[OUT-5 quiet] what is not split has no numbers', () => {
    const cluster = scenario(reported('h1'));
    expect(viewPf(cluster.pf('h1', EM1))).toMatchObject({ free: '-', total: '-' });
  });

  test('[OUT-5 acts] what cannot be had now is not available', () => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', 4, { link: 'down' })] }));
    expect(viewPf(cluster.pf('h1', EM1))).toMatchObject({
      state: 'virtualized',
      free: 0,
      total: 4,
      obstacle: 'PF_LINK_DOWN',
    });
  });

  test('total = free + allocated + unavailable', () => {
    const list = vfs('em1', 4, { 3: { hostUse: 'address' } });
    const cluster = scenario(
      reported('h1', { pfs: ports(list, 2) }),
      reported('h2', { pfs: [port('em1', 5)] }),
    ).given(start('vm1', { hostId: 'h1' }), say('HostCordoned', { hostId: 'h2', cordoned: true }));
    expect(viewAvailability(cluster.state)).toMatchObject({
      total: 11,
      free: 4,
      allocated: 1,
      unavailable: 6,
    });
    expect(viewAvailability(cluster.state, { hostId: 'h1' })).toMatchObject({
      total: 6,
      free: 4,
      allocated: 1,
      unavailable: 1,
    });
    expect(viewAvailability(cluster.state, { hostId: 'h1', network: 'em2' })).toMatchObject({
      total: 2,
      free: 2,
      allocated: 0,
      unavailable: 0,
      pfs: [{ hostId: 'h1', pf: EM2 }],
    });
    expect(viewAvailability(cluster.state, { hostId: 'h9' })).toEqual({
      total: 0,
      free: 0,
      allocated: 0,
      unavailable: 0,
      pfs: [],
    });
  });

  test('the states of a VF', () => {
    const list = [...vfs('em1', 5, { 3: { iommuGroupShared: true }, 4: { usedByVmId: 'x' } })];
    const cluster = scenario(...networks(), reported('h1', { scrubs: true, pfs: ports(list) }));
    const state = (index: number) => viewVf(cluster.vf('h1', vfAddress('em1', index))).state;
    expect([0, 1, 2, 3, 4].map(state)).toEqual(['free', 'free', 'free', 'unavailable', 'unavailable']);
    cluster.given(
      start('vm0', { nics: [{ nicId: 'eth0', networkId: 'net1' }] }),
      start('vm1'),
      started('vm1'),
      start('vm2'),
    );
    const { id } = cluster.allocation('vm0');
    expect(viewVf(cluster.vf('h1', vfAddress('em1', 0)))).toEqual({
      hostId: 'h1',
      pf: EM1,
      vf: '0000:82:10.0',
      index: 0,
      state: 'pending',
      holder: { vmId: 'vm0', nicId: 'eth0', allocationId: id },
      mac: macOf('vm0'),
      vlanId: 100,
    });
    const second = cluster.allocation('vm2').id;
    cluster.given(stopped('vm0'), stopped('vm2'));
    cluster.given(
      say('VfScrubbed', { hostId: 'h1', vf: vfAddress('em1', 2), allocationId: second, clean: false }),
    );
    expect([0, 1, 2].map(state)).toEqual(['scrubbing', 'allocated', 'quarantined']);
    cluster.given(stopped('vm1'), say('PfDriverLost', { hostId: 'h1', pf: EM1 }));
    expect(state(4)).toBe('unknown');
  });

  test('a VM with its NICs', () => {
    const cluster = scenario(...networks(), reported('h1', { pfs: ports(1) })).given(
      start('vm1', {
        generation: 3,
        tenant: 't1',
        nics: [
          { nicId: 'eth0', networkId: 'net1', guestSlot: 5 },
          { nicId: 'eth1', type: 'vnic' },
          { nicId: 'eth2', onExhaustion: 'fallback' },
        ],
      }),
    );
    expect(viewVm(cluster.vm('vm1'))).toMatchObject({
      vmId: 'vm1',
      state: 'pending',
      hostId: 'h1',
      tenant: 't1',
      generation: 3,
      memoryPinned: true,
      migratable: false,
      nics: [
        {
          nicId: 'eth0',
          type: 'vf',
          state: 'vf',
          mac: macOf('vm1'),
          networkId: 'net1',
          guestSlot: 5,
          allocationId: cluster.allocation('vm1').id,
          hostId: 'h1',
          pf: EM1,
          vf: vfAddress('em1', 0),
          vlanId: 100,
        },
        { nicId: 'eth1', type: 'vnic', state: 'vnic' },
        { nicId: 'eth2', type: 'vf', state: 'degraded' },
      ],
    });
    cluster.given(stopped('vm1'));
    expect(viewVm(cluster.vm('vm1')).nics.map(({ state }) => state)).toEqual(['stopped', 'vnic', 'stopped']);
  });

  test('a host', () => {
    const cluster = scenario(reported('h1', { pfs: [port('em1', [vf('em1', 0)])] })).given(start('vm1'));
    expect(viewHost(cluster.host('h1'))).toMatchObject({
      hostId: 'h1',
      state: 'ready',
      bootId: 'boot-1',
      vms: ['vm1'],
      pfs: [{ pf: EM1 }],
      drifts: [],
    });
    cluster.given(say('HostCordoned', { hostId: 'h1', cordoned: true }));
    expect(viewHost(cluster.host('h1')).state).toBe('cordoned');
    cluster.given(say('HostFenced', { hostId: 'h1' }));
    expect(viewHost(cluster.host('h1'))).toMatchObject({ state: 'fenced', vms: [] });
  });
});
