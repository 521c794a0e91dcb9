import { expect } from '@jest/globals';
import { EM1, fleet, nic, say, start, started, vfAddress, type SagaStep, type Simulation } from '../index.js';
import { prove, proveRefusals, reports } from './prove.js';

const h1 = () => fleet().host('h1', { em1: 2 });
const runs: readonly SagaStep[] = [start('vm1'), started('vm1'), start('vm2'), started('vm2')];
const attach = (vmId: string) => say('VmNicAttachRequested', { vmId, nic: nic() });
const loses: SagaStep = (site) => site.agent('h1').loseDriver(EM1);
const gone: readonly SagaStep[] = [
  say('VmDestroyed', { vmId: 'vm1' }),
  say('VmDestroyed', { vmId: 'vm2' }),
  reports('h1'),
];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[PF-6 acts] [VM-18 acts]', {
  name: 'driver lost: the holders are released by force, the VFs come back, and the NICs are attached again',
  fleet: h1,
  before: runs,
  steps: [loses, (site) => site.agent('h1').regainDriver(EM1), attach('vm1'), attach('vm2')],
  then: (site) => {
    const at = site.types.indexOf('VfReleased');
    expect(site.types.slice(at)).toEqual([
      'VfReleased',
      'VfReleased',
      'PfDriverLost',
      'HostChanged',
      'VfAllocated',
      'VmNicAttached',
      'VfAllocated',
      'VmNicAttached',
    ]);
    expect(site.events[at]?.data).toMatchObject({ reason: 'pf-driver-lost', forced: true });
    expect(site).toHaveAllocated({
      'vm1/eth0': `h1 ${vfAddress('em1', 0)}`,
      'vm2/eth0': `h1 ${vfAddress('em1', 1)}`,
    });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[PF-6 acts] [PF-10 acts]', {
  name: 'driver lost, and back without VFs: the PF is split again',
  fleet: h1,
  before: runs,
  steps: [loses, (site) => site.agent('h1').regainDriver(EM1, 0), attach('vm1')],
  then: (site) => {
    expect(site.types.slice(-5)).toEqual([
      'HostChanged',
      'PfVirtualizationOrdered',
      'PfVirtualized',
      'VfAllocated',
      'VmNicAttached',
    ]);
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-10 acts] [PF-6 acts]', {
  name: 'driver lost: a NIC that may fall back is degraded, and promoted when the VFs are back',
  fleet: h1,
  before: [start('vm1', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }), started('vm1')],
  steps: [loses, (site) => site.agent('h1').regainDriver(EM1), (site) => site.advance(10_000)],
  then: (site) => {
    expect(site.types).toEqual(expect.arrayContaining(['NicDegraded', 'NicPromoted']));
    expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${vfAddress('em1', 0)}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[PF-6 quiet]', {
  name: 'driver lost, said twice',
  fleet: h1,
  before: [...runs, loses],
  steps: [say('PfDriverLost', { hostId: 'h1', pf: EM1 }, { id: 'again' })],
  then: (site) => expect(site.causedBy('again').map(({ type }) => type)).toEqual(['InputIgnored']),
  ending: gone,
  atLast: nothingHeld,
});

await proveRefusals('[PF-6 refuses] [OUT-2 refuses] attach while the driver is lost', [
  { code: 'PF_LOST', fleet: h1, before: [...runs, loses], request: attach('vm1') },
  { code: 'VM_UNKNOWN', fleet: h1, before: [loses], request: attach('vm9') },
  { code: 'NIC_EXISTS', fleet: h1, before: runs, request: attach('vm1') },
]);
