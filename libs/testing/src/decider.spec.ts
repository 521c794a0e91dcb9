import { describe, expect, test } from '@jest/globals';
import {
  allocated,
  expected,
  given,
  givenInputs,
  macOf,
  matchers,
  ports,
  registered,
  reported,
  start,
  vfAddress,
} from './index.js';

expect.extend(matchers);

describe('given / when / then for the decider', () => {
  const cluster = () => given(registered('h1', { pfs: ports(1) }));

  test('then: exactly these events', () => {
    const site = cluster();
    const allocationId = site.token();
    site.when(start('vm1')).then(
      allocated({ allocationId, vmId: 'vm1' }),
      expected('VmStartAccepted', {
        vmId: 'vm1',
        hostId: 'h1',
        nics: [
          {
            nicId: 'eth0',
            type: 'vf',
            allocationId,
            pf: '0000:82:00.0',
            vf: vfAddress('em1', 0),
            mac: macOf('vm1'),
            physicalNetwork: 'em1',
          },
        ],
        why: { strategy: 'pack', score: 1, candidates: 1 },
      }),
    );
    expect(() => site.then()).toThrow(/VfAllocated/);
  });

  test('thenRefused: with this code, and nothing handed out', () => {
    const full = cluster().when(start('vm1'));
    full.when(start('vm2')).thenRefused('VF_EXHAUSTED');
    expect(() => full.thenRefused('HOST_LOST')).toThrow(/refused for VF_EXHAUSTED/);
  });

  test('thenNothing: a repeat, or nothing to say', () => {
    const again = start('vm1', {}, { id: 'once' });
    const site = cluster().when(again).when(again);
    site.thenNothing();
    expect(() => site.when(start('vm2')).thenNothing()).toThrow(/VmStartFailed/);
  });

  test('givenInputs: where the events that led there do not matter', () => {
    const site = givenInputs(reported('h1', { pfs: ports(1) }), start('vm1'));
    expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${vfAddress('em1', 0)}` });
  });
});
