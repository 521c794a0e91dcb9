import { expect } from '@jest/globals';
import { EM1, fleet, say, start, started, vfAddress, type SagaStep, type Simulation } from '../index.js';
import { prove, reports } from './prove.js';

const runs: readonly SagaStep[] = [start('vm1'), started('vm1'), start('vm2')];
const reboots: SagaStep = (site) => site.agent('h1').reboot();
const gone: readonly SagaStep[] = [
  say('VmDestroyed', { vmId: 'vm1' }),
  say('VmDestroyed', { vmId: 'vm2' }),
  reports('h1'),
];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[HOST-4 acts] [VM-16 acts] [PF-10 acts]', {
  name: 'reboot: the VMs of the boot before end, the PF is split again, and a VM starts on it',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: runs,
  steps: [reboots, say('VmStartRequested', { vmId: 'vm1' })],
  then: (site) => {
    const at = site.types.indexOf('VfReleased');
    expect(site.types.slice(at)).toEqual([
      'VfReleased',
      'VfReleased',
      'HostChanged',
      'PfVirtualizationOrdered',
      'PfVirtualized',
      'VfAllocated',
      'VmStartAccepted',
    ]);
    expect(site.events[at]?.data).toMatchObject({ reason: 'host-rebooted' });
    expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${vfAddress('em1', 0)}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[PF-10 acts]', {
  name: 'reboot with the link down: the PF is split once it is up',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: runs,
  steps: [
    (site) => {
      site.agent('h1').changePf(EM1, { link: 'down' });
      site.agent('h1').reboot();
    },
    (site) => {
      site.agent('h1').changePf(EM1, { link: 'up' });
      site.publish(say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'up' }, { id: 'link-up' }));
    },
  ],
  then: (site) => {
    expect(site.types.slice(-3)).toEqual(['PfVirtualizationOrdered', 'PfLinkChanged', 'PfVirtualized']);
    expect(site).toHaveAllocated({});
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[HOST-9 refuses]', {
  name: 'reboot, and a report of the boot before comes late: it changes nothing',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: [...runs, reboots],
  steps: [
    say('HostReported', {
      hostId: 'h1',
      bootId: 'boot-1',
      seq: 99,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: [],
    }),
  ],
  then: (site) => expect(site.types.slice(-2)).toEqual(['PfVirtualized', 'InputIgnored']),
  ending: gone,
  atLast: nothingHeld,
});
