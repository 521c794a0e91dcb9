import { expect } from '@jest/globals';
import { EM1, fleet, nic, say, start, started, stopped, vfAddress, type Simulation } from '../index.js';
import { prove, reports, restarts, restore, split } from './prove.js';

const ZERO = `h1 ${vfAddress('em1', 0)}`;
const ONE = `h1 ${vfAddress('em1', 1)}`;
const waits = { nics: [nic('eth0', { onExhaustion: 'fallback' })] };
const gone = [
  ...['vm1', 'vm2', 'vm3'].map((vmId) => say('VmDestroyed', { vmId })),
  restarts('h1'),
  reports('h1'),
];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[VM-10 acts]', {
  name: 'fall-back: two wait, and the older one is promoted first',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: [start('vm0', { nics: [nic('eth0'), nic('eth1')] }), started('vm0')],
  steps: [
    start('vm1', waits),
    start('vm2', waits),
    say('VmNicDetachRequested', { vmId: 'vm0', nicId: 'eth1' }),
    stopped('vm0'),
  ],
  then: (site) => {
    expect(site.types.slice(5)).toEqual([
      ...['NicDegraded', 'VmStartAccepted', 'NicDegraded', 'VmStartAccepted'],
      ...['VfReleased', 'VfAllocated', 'NicPromoted', 'VmNicDetached'],
      ...['VfReleased', 'VfAllocated', 'NicPromoted', 'VmStopped'],
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': ONE, 'vm2/eth0': ZERO });
  },
  ending: [say('VmDestroyed', { vmId: 'vm0' }), ...gone],
  atLast: nothingHeld,
});

await prove('[VM-10 quiet]', {
  name: 'fall-back: against the policy nobody is promoted, and with it at the next tick',
  fleet: () =>
    fleet()
      .host('h1', { em1: 1 })
      .said(say('ClusterPolicyChanged', { promotion: false })),
  before: [start('vm1'), started('vm1')],
  steps: [
    start('vm2', waits),
    stopped('vm1'),
    (site) => site.advance(5000),
    say('ClusterPolicyChanged', { promotion: true }),
    (site) => site.advance(20_000),
  ],
  then: (site) => {
    expect(site.types.slice(-4)).toEqual([
      ...['VmStopped', 'ClusterPolicyChanged', 'VfAllocated', 'NicPromoted'],
    ]);
    expect(site).toHaveAllocated({ 'vm2/eth0': ZERO });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-10 acts] [PF-4 acts]', {
  name: 'fall-back: a restore takes the VF by force, and a split gives it back',
  fleet: () => fleet().host('h1', { em1: 1 }),
  before: [start('vm1', waits), started('vm1')],
  steps: [restore(EM1), split(EM1, 1), (site) => site.advance(20_000)],
  then: (site) => {
    expect(site.types.slice(4)).toEqual([
      ...['VfReleased', 'NicDegraded', 'PfRestoreOrdered', 'PfRestored'],
      ...['PfVirtualizationOrdered', 'PfVirtualized', 'VfAllocated', 'NicPromoted'],
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': ZERO });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-10 acts] [SCRUB-1 acts]', {
  name: 'fall-back: on a host that scrubs the VF is promoted to when it is clean',
  fleet: () => fleet().host('h1', { em1: 1, scrubs: true }),
  before: [start('vm1'), started('vm1'), start('vm2', waits)],
  steps: [stopped('vm1')],
  then: (site) => {
    expect(site.types.slice(6)).toEqual([
      ...['VfReleased', 'VfScrubRequested', 'VmStopped'],
      ...['VfAllocated', 'NicPromoted', 'VfScrubbed'],
    ]);
    expect(site).toHaveAllocated({ 'vm2/eth0': ZERO });
  },
  ending: gone,
  atLast: nothingHeld,
});
