import { describe, expect, test } from '@jest/globals';
import * as subjects from './subjects.js';
import { clusterOfSubject, deadSubject, inputSubject, isIdentifier, parseInputSubject } from './subjects.js';

describe('subjects are as wire.md says', () => {
  test('built', () => {
    expect(inputSubject('default', 'vm', 'vm-1', 'VmStopped')).toBe('vf.in.default.vm.vm-1.VmStopped');
    expect(subjects.inputsOf('default')).toBe('vf.in.default.>');
    expect(subjects.ALL_INPUTS).toBe('vf.in.>');
    expect(subjects.outputSubject('default', 'host', 'host-1', 'HostLost')).toBe(
      'vf.out.default.host.host-1.HostLost',
    );
    expect(subjects.outputsOf('default')).toBe('vf.out.default.>');
    expect(deadSubject('default')).toBe('vf.dead.default');
    expect(deadSubject(subjects.NO_CLUSTER)).toBe('vf.dead._');
    expect(subjects.ALL_DEAD).toBe('vf.dead.>');
    expect(subjects.querySubject('default', 'vm')).toBe('vf.query.default.vm');
    expect(subjects.INPUT_STREAM).toBe('VF_IN');
    expect(subjects.DEAD_STREAM).toBe('VF_DEAD');
    expect(subjects.outputStream('default')).toBe('VF_OUT_default');
  });

  test.each(['vm', 'host', 'network', 'cluster'] as const)('read again: %s', (kind) => {
    for (const id of ['vm-1', '__proto__', '_', '-', 'x'.repeat(64)]) {
      const parts = { cluster: 'site_1-A', kind, id, type: 'Anything' };
      expect(parseInputSubject(inputSubject('site_1-A', kind, id, 'Anything'))).toEqual(parts);
    }
  });

  test.each([
    '',
    'vf',
    'vf.in',
    'vf.in.',
    'vf.in.default',
    'vf.in.default.vm.vm-1',
    'vf.in.default.vm.vm-1.VmStopped.x',
    'vf.in.default.vm.vm-1.VmStopped.',
    '.vf.in.default.vm.vm-1.VmStopped',
    'vf.out.default.vm.vm-1.VmStopped',
    'vf.In.default.vm.vm-1.VmStopped',
    'xf.in.default.vm.vm-1.VmStopped',
    'vf.in..vm.vm-1.VmStopped',
    'vf.in._.vm.vm-1.VmStopped',
    'vf.in.*.vm.vm-1.VmStopped',
    'vf.in.default.vms.vm-1.VmStopped',
    'vf.in.default.constructor.vm-1.VmStopped',
    'vf.in.default.vm..VmStopped',
    'vf.in.default.vm.>.VmStopped',
    'vf.in.default.vm.vm 1.VmStopped',
    `vf.in.default.vm.${'x'.repeat(65)}.VmStopped`,
    `vf.in.${'x'.repeat(65)}.vm.vm-1.VmStopped`,
    'vf.in.default\n.vm.vm-1.VmStopped',
  ])('not an input’s: %j', (subject) => {
    expect(parseInputSubject(subject)).toBeUndefined();
  });

  test.each([
    ['vf.in.default', 'default'],
    ['vf.in.default.', 'default'],
    ['vf.in.default.anything.at.all', 'default'],
    ['vf.in.constructor.x', 'constructor'],
    ['vf.in.__.x', '__'],
    ['vf.in._.x', undefined],
    ['vf.in.', undefined],
    ['vf.in..x', undefined],
    ['vf.in', undefined],
    ['vf.out.default.x', undefined],
    ['vf.in.a b.x', undefined],
    [`vf.in.${'x'.repeat(65)}.x`, undefined],
  ])('the cluster of %.40s', (subject, cluster) => {
    expect(clusterOfSubject(subject)).toBe(cluster);
  });

  test('identifiers', () => {
    for (const good of ['a', 'A-Z_0-9', '_', '-', '0', 'x'.repeat(64)]) expect(isIdentifier(good)).toBe(true);
    for (const bad of ['', 'x'.repeat(65), 'a.b', 'a b', 'ä', 'a\n', '\u0000', 'a*'])
      expect(isIdentifier(bad)).toBe(false);
  });
});
