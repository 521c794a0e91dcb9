import { describe, expect, test } from '@jest/globals';
import { allocationId, generatedMac, hash53 } from './naming.js';

describe('names', () => {
  test('are the same for ever: other logs and other people keep them', () => {
    expect(hash53('')).toBe(3338908027751811);
    expect(hash53('vf-scheduler')).toBe(hash53('vf-scheduler'));
    expect(generatedMac('default', 'vm1', 'eth0', 0)).toBe('02:d3:5c:6b:07:67');
    expect(allocationId('default', 12, 'in-3')).toBe('12-de7050fd');
  });

  test('[NET-9 acts] a generated MAC is local and unicast, `02:` and 40 bits', () => {
    for (let i = 0; i < 500; i++)
      expect(generatedMac('default', `vm${i}`, 'eth0', i)).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  });

  test('[NET-9 acts] cluster, VM, NIC and attempt all count, and their boundaries too', () => {
    const macs = [
      generatedMac('c', 'vm', 'eth0', 0),
      generatedMac('d', 'vm', 'eth0', 0),
      generatedMac('c', 'vm2', 'eth0', 0),
      generatedMac('c', 'vm', 'eth1', 0),
      generatedMac('c', 'vm', 'eth0', 1),
      generatedMac('c', 'vme', 'th0', 0),
    ];
    expect(new Set(macs).size).toBe(macs.length);
  });

  test('[NET-9 acts] 20,000 NICs have hardly a collision', () => {
    const macs = new Set(
      Array.from({ length: 20_000 }, (_, i) => generatedMac('default', `vm${i}`, 'eth0', 0)),
    );
    expect(macs.size).toBeGreaterThan(19_995);
  });

  test('[EX-4 acts] a token holds its position, and differs between inputs and clusters', () => {
    expect(allocationId('default', 12, 'a')).toMatch(/^12-[0-9a-f]{8}$/);
    expect(allocationId('default', 12, 'a')).not.toBe(allocationId('default', 12, 'b'));
    expect(allocationId('default', 12, 'a')).not.toBe(allocationId('other', 12, 'a'));
  });
});
