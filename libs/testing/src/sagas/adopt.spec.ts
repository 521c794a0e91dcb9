import { expect } from '@jest/globals';
import { EM1, fleet, say, start, stopped, vfAddress, vfs, type SagaStep, type Simulation } from '../index.js';
import { deaf, prove, proveRefusals, reports, restarts, restore } from './prove.js';

const [ZERO, ONE] = [vfAddress('em1', 0), vfAddress('em1', 1)];
const [MAC1, MAC2] = ['52:54:00:00:00:01', '52:54:00:00:00:02'];
/** A host whose VFs are in use by VMs that the scheduler has never heard of. */
const living = () =>
  fleet().host('h1', { em1: vfs('em1', 3, { 0: { usedByVmId: 'old1' }, 1: { usedByVmId: 'old2' } }) });
const adopt = (vmId: string, nics: readonly { nicId: string; vf: string; mac: string }[], hostId = 'h1') =>
  say('VmAdopted', { vmId, hostId, nics });
const old1 = adopt('old1', [{ nicId: 'eth0', vf: ZERO, mac: MAC1 }]);
const old2 = adopt('old2', [{ nicId: 'eth0', vf: ONE, mac: MAC2 }]);
const gone = [
  ...['old1', 'old2', 'vm1'].map((vmId) => say('VmDestroyed', { vmId })),
  (site: Simulation) => site.agent('h1').changePf(EM1, { vfs: vfs('em1', 3) }),
  reports('h1'),
];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[VM-19 acts]', {
  name: 'adopt: the VMs of a living fleet hold what they use, and a new one gets what is left',
  fleet: living,
  steps: [old1, old2, start('vm1')],
  then: (site) => {
    // Who has a VF is a stranger no longer.
    expect(site.types.slice(-8)).toEqual([
      ...['VfAllocated', 'DriftResolved', 'VmAdopted', 'VfAllocated', 'DriftResolved', 'VmAdopted'],
      ...['VfAllocated', 'VmStartAccepted'],
    ]);
    expect(site).toHaveAllocated({
      'old1/eth0': `h1 ${ZERO}`,
      'old2/eth0': `h1 ${ONE}`,
      'vm1/eth0': `h1 ${vfAddress('em1', 2)}`,
    });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-19 acts] [VM-3 acts]', {
  name: 'adopt: an adopted VM is stopped like any other, and starts again with its MAC',
  fleet: () => fleet().host('h1', { em1: 2 }),
  steps: [
    adopt('old1', [
      { nicId: 'eth0', vf: ZERO, mac: MAC1 },
      { nicId: 'eth1', vf: ONE, mac: MAC2 },
    ]),
    stopped('old1'),
    say('VmStartRequested', { vmId: 'old1' }),
  ],
  then: (site) => {
    expect(site.types.slice(1)).toEqual([
      ...['VfAllocated', 'VfAllocated', 'VmAdopted'],
      ...['VfReleased', 'VfReleased', 'VmStopped'],
      ...['VfAllocated', 'VfAllocated', 'VmStartAccepted'],
    ]);
    const macs = site.events.filter(({ type }) => type === 'VfAllocated').map(({ data }) => data);
    expect(macs.slice(2)).toEqual([
      expect.objectContaining({ nicId: 'eth0', mac: MAC1 }),
      expect.objectContaining({ nicId: 'eth1', mac: MAC2 }),
    ]);
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-19 quiet]', {
  name: 'adopt: said of a VM that is known already, it changes nothing',
  fleet: living,
  before: [old1],
  steps: [{ ...old1, id: 'again' } as SagaStep],
  then: (site) => {
    expect(site.causedBy('again').map(({ type, data }) => [type, data])).toEqual([
      ['InputIgnored', expect.objectContaining({ type: 'VmAdopted', reason: 'already-running' })],
    ]);
    expect(site).toHaveAllocated({ 'old1/eth0': `h1 ${ZERO}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

const both = adopt('old1', [
  { nicId: 'eth0', vf: ZERO, mac: MAC1 },
  { nicId: 'eth1', vf: ONE, mac: MAC2 },
]);
const scrubbing = () => fleet().host('h1', { em1: 2, scrubs: true });
await proveRefusals('[VM-19 refuses] [OUT-2 refuses] adopt, all or nothing', [
  {
    code: 'HOST_UNKNOWN',
    fleet: living,
    request: adopt('old1', [{ nicId: 'eth0', vf: ZERO, mac: MAC1 }], 'h9'),
  },
  { code: 'HOST_LOST', fleet: living, before: [say('HostFenced', { hostId: 'h1' })], request: old1 },
  {
    code: 'VF_NOT_FREE',
    why: 'no such VF',
    fleet: living,
    request: adopt('old1', [{ nicId: 'eth0', vf: vfAddress('em1', 9), mac: MAC1 }]),
  },
  {
    code: 'VF_NOT_FREE',
    why: 'held by another',
    fleet: () => fleet().host('h1', { em1: 2 }),
    before: [start('vm1'), start('vm2')],
    request: both,
  },
  { code: 'VF_NOT_FREE', why: 'one of two is used by another', fleet: living, request: both },
  {
    code: 'VF_NOT_FREE',
    why: 'not scrubbed yet',
    fleet: scrubbing,
    before: [deaf('h1'), start('vm1'), stopped('vm1')],
    request: both,
  },
  {
    code: 'VF_NOT_FREE',
    why: 'the driver is lost',
    fleet: living,
    before: [(site) => site.agent('h1').loseDriver(EM1), restarts('h1')],
    request: old1,
  },
  {
    code: 'PF_RESTORING',
    fleet: () => fleet().host('h1', { em1: 2 }),
    before: [deaf('h1'), restore(EM1)],
    request: both,
  },
  {
    code: 'MAC_IN_USE',
    fleet: living,
    before: [old1],
    request: adopt('old2', [{ nicId: 'eth0', vf: ONE, mac: MAC1 }]),
  },
]);
