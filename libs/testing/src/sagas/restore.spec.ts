import { expect } from '@jest/globals';
import { EM1, EM3, fleet, nic, say, start, started, type Simulation } from '../index.js';
import { deaf, prove, proveRefusals, reports, restore, split } from './prove.js';

const h1 = () => fleet().host('h1', { em1: 2, em2: 1 });

/** Nobody holds a VF of a PF that has none. */
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[PF-4 acts]', {
  name: 'restore of a PF that nobody uses',
  fleet: h1,
  steps: [restore(EM1)],
  then: (site) => expect(site.types.slice(1)).toEqual(['PfRestoreOrdered', 'PfRestored']),
  ending: [reports('h1')],
  atLast: nothingHeld,
});

await prove('[PF-4 acts] [PF-5 acts]', {
  name: 'restore of a PF in use: its holders are released by force, then it is ordered, done, and split again',
  fleet: h1,
  before: [start('vm1'), started('vm1'), start('vm2'), started('vm2')],
  steps: [restore(EM1), split(EM1, 1)],
  then: (site) => {
    expect(site.types.slice(-6)).toEqual([
      'VfReleased',
      'VfReleased',
      'PfRestoreOrdered',
      'PfRestored',
      'PfVirtualizationOrdered',
      'PfVirtualized',
    ]);
    expect(site.events.find(({ type }) => type === 'VfReleased')?.data).toMatchObject({
      reason: 'pf-restored',
      forced: true,
    });
    expect(site).toHaveAllocated({});
  },
  ending: [say('VmDestroyed', { vmId: 'vm1' }), say('VmDestroyed', { vmId: 'vm2' }), reports('h1')],
  atLast: nothingHeld,
});

await prove('[PF-15 acts]', {
  name: 'restore that fails: the VFs stay, and serve again',
  fleet: h1,
  before: [(site) => void site.agent('h1').will({ fail: 'device or resource busy' })],
  steps: [restore(EM1), start('vm1')],
  then: (site) => {
    expect(site.types.slice(1)).toEqual([
      'PfRestoreOrdered',
      'PfRestoreFailed',
      'VfAllocated',
      'VmStartAccepted',
    ]);
  },
  ending: [say('VmDestroyed', { vmId: 'vm1' }), reports('h1')],
  atLast: nothingHeld,
});

await prove('[PF-16 acts]', {
  name: 'restore that nobody ordered',
  fleet: h1,
  before: [start('vm1', { nics: [nic('eth0')] }), started('vm1')],
  steps: [
    (site) => {
      site.agent('h1').changePf(EM1, { vfs: [] });
      site.publish(say('PfRestored', { hostId: 'h1', pf: EM1 }));
    },
  ],
  then: (site) => expect(site.types.slice(-3)).toEqual(['VfReleased', 'DriftDetected', 'PfRestored']),
  ending: [say('VmDestroyed', { vmId: 'vm1' }), reports('h1')],
  atLast: nothingHeld,
});

await proveRefusals('[PF-4 refuses] [OUT-2 refuses] restore', [
  { code: 'HOST_UNKNOWN', fleet: h1, request: restore(EM1, 'unload', 'h9') },
  { code: 'PF_UNKNOWN', fleet: h1, request: restore('0000:99:00.0') },
  { code: 'HOST_LOST', fleet: h1, before: [say('HostFenced', { hostId: 'h1' })], request: restore(EM1) },
  { code: 'PF_LOST', fleet: h1, before: [(site) => site.agent('h1').loseDriver(EM1)], request: restore(EM1) },
  {
    code: 'PF_IDENTITY_CHANGED',
    fleet: () => fleet().host('h1', { em1: 1, ports: { em1: { serial: 'one' } } }),
    before: [
      (site) => {
        site.agent('h1').changePf(EM1, { serial: 'two' });
        site.agent('h1').report();
      },
    ],
    request: restore(EM1),
  },
  { code: 'PF_NOT_VIRTUALIZABLE', fleet: h1, request: restore(EM3) },
  { code: 'PF_BUSY', why: 'in use', fleet: h1, before: [start('vm1')], request: restore(EM1, 'reject') },
  {
    code: 'PF_BUSY',
    why: 'being split',
    fleet: () => fleet().host('h1'),
    before: [deaf('h1'), split(EM1, 2)],
    request: restore(EM1),
  },
  { code: 'PF_RESTORING', fleet: h1, before: [deaf('h1'), restore(EM1)], request: restore(EM1) },
  { code: 'PF_NOT_VIRTUALIZED', fleet: () => fleet().host('h1'), request: restore(EM1) },
]);
