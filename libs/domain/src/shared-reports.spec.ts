import { expect, test } from '@jest/globals';
import type { VfReport } from './inputs.js';
import { sharedReport } from './shared-reports.js';

const report = (vf: Partial<VfReport> = {}): VfReport => ({ pciAddress: '0000:01:02.3', index: 3, ...vf });

test('reports that say the same are one, and whatever differs is another', () => {
  const first = sharedReport(report());
  expect(sharedReport(report())).toBe(first);
  const others: Partial<VfReport>[] = [
    { index: 4 },
    { mac: '02:00:00:00:00:01' },
    { iommuGroupShared: true },
    { usedByVmId: 'vm-1' },
    { pciAddress: '0000:01:02.4' },
  ];
  for (const other of others) {
    const given = report(other);
    expect(sharedReport(given)).toBe(given);
    expect(sharedReport(report(other))).toBe(given);
    expect(sharedReport(report())).toEqual(report());
  }
});

test('what is said as undefined is not the same as what is not said', () => {
  expect(sharedReport(report({ mac: undefined }))).toHaveProperty('mac');
  expect(sharedReport(report())).not.toHaveProperty('mac');
});
