import { describe, expect, test } from '@jest/globals';
import { MAX_INPUT_BYTES } from './cloud-event.js';
import { isReadable, readInput } from './read-input.js';
import { SAMPLES, structured } from './testing/sample-inputs.js';
import type { InputType } from '#domain';

/** What is said of an input that cannot be read; undefined when it can. */
function problem(type: InputType, data: object): string | undefined {
  const result = readInput(structured(type, data));
  return isReadable(result) ? undefined : result.problem;
}

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const hex = (value: number): string => value.toString(16).padStart(2, '0');

const nics = (count: number): object => ({
  ...SAMPLES.VmStartRequested.minimal,
  nics: many(count, (index) => ({ nicId: `nic${index}` })),
});
/** A host's report with PFs, and VFs on each, all at addresses of their own. */
const fleet = (pfs: number, vfsEach: number): object => ({
  ...SAMPLES.HostReported.minimal,
  pfs: many(pfs, (pf) => ({
    pciAddress: `0000:${hex(pf)}:00.0`,
    ifname: `em${pf}`,
    link: 'up',
    totalVfs: vfsEach,
    vfs: many(vfsEach, (index) => ({
      pciAddress: `0001:${hex(pf)}:${hex(index >> 3)}.${index & 7}`,
      index,
    })),
  })),
});

describe('limits', () => {
  test('[LIMIT-1 quiet] within them nothing is said', () => {
    expect(problem('VmStartRequested', nics(64))).toBeUndefined();
    expect(problem('HostReported', fleet(64, 16))).toBeUndefined();
  });

  test('[LIMIT-1 refuses] beyond them an input cannot be read, and it is said why', () => {
    expect(problem('VmStartRequested', nics(65))).toContain('data.nics must be a list of at most 64');
    expect(problem('HostReported', fleet(65, 0))).toContain('data.pfs must be a list of at most 64');
    expect(problem('HostReported', fleet(5, 205))).toBe('data.pfs has 1025 VFs; a host has at most 1024');
    const long = { ...SAMPLES.VmStopped.minimal, reason: 'x'.repeat(MAX_INPUT_BYTES) };
    expect(problem('VmStopped', long)).toContain('an input has at most 262144');
  });

  test('[PF-8 refuses] an address is written one way only: other forms are for the edge to convert', () => {
    for (const pf of [
      '82:00.1',
      '0000:82:00.1 ',
      '0000:8A:00.1',
      'pci_0000_82_00_1',
      '0000:82:20.0',
      '130:0.1',
    ]) {
      expect(problem('PfRestoreRequested', { hostId: 'h1', pf })).toContain(
        'data.pf must be a PCI address dddd:bb:dd.f in lower-case hexadecimal',
      );
    }
    expect(problem('PfRestoreRequested', { hostId: 'h1', pf: '0000:8a:1f.7' })).toBeUndefined();
  });
});
