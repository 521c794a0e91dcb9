import { expect } from '@jest/globals';
import { fleet, nic, say, start, started, stopped, vfAddress, type SagaStep } from '../index.js';
import { prove, reports, restarts } from './prove.js';

const VF = vfAddress('em1', 0);
const runs: readonly SagaStep[] = [start('vm1'), started('vm1')];

await prove('[VM-3 acts]', {
  name: 'stop: the VFs are free at once on a host that does not scrub, and the next VM gets them',
  fleet: () => fleet().host('h1', { em1: 1, em2: 1 }),
  before: [start('vm1', { nics: [nic('eth0'), nic('eth1', { physicalNetwork: 'em2' })] }), started('vm1')],
  steps: [stopped('vm1'), start('vm2')],
  then: (site) => {
    expect(site.types.slice(5)).toEqual([
      'VfReleased',
      'VfReleased',
      'VmStopped',
      'VfAllocated',
      'VmStartAccepted',
    ]);
    expect(site).toHaveAllocated({ 'vm2/eth0': `h1 ${VF}` });
  },
  ending: [say('VmDestroyed', { vmId: 'vm1' }), say('VmDestroyed', { vmId: 'vm2' })],
  atLast: (site) => expect(site).toHaveAllocated({}),
});

await prove('[SCRUB-1 acts]', {
  name: 'stop: the VF is scrubbed, and free when it is clean',
  fleet: () => fleet().host('h1', { em1: 1, scrubs: true }),
  before: runs,
  steps: [stopped('vm1'), start('vm2')],
  then: (site) => {
    expect(site.types).toEqual(expect.arrayContaining(['VfScrubRequested', 'VfScrubbed']));
  },
  // A start that came before its VF was clean is refused: said once more in the end it is granted.
  ending: [
    say('VmDestroyed', { vmId: 'vm1' }),
    say('VmDestroyed', { vmId: 'vm2' }),
    restarts('h1'),
    start('vm3', {}, { id: 'at-last' }),
  ],
  atLast: (site) => expect(site).toHaveAllocated({ 'vm3/eth0': `h1 ${VF}` }),
});

await prove('[SCRUB-2 acts]', {
  name: 'stop: a VF that cannot be scrubbed is quarantined until an operator frees it with a clean report',
  fleet: () => fleet().host('h1', { em1: 1, scrubs: true }),
  before: [...runs, (site) => void site.agent('h1').will({ fail: 'VLAN stays' })],
  steps: [stopped('vm1'), start('vm2')],
  then: (site) => {
    expect(site.types).toContain('VfQuarantined');
    expect(site).toHaveAllocated({});
  },
  ending: [say('VmDestroyed', { vmId: 'vm1' }), say('VmDestroyed', { vmId: 'vm2' }), reports('h1')],
  atLast: (site) => expect(site).toHaveAllocated({}),
});

await prove('[VM-4 acts]', {
  name: 'stop, and start again with the NICs that are known',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: runs,
  steps: [stopped('vm1'), say('VmStartRequested', { vmId: 'vm1' }), started('vm1')],
  then: (site) => expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${VF}` }),
  ending: [say('VmDestroyed', { vmId: 'vm1' })],
  atLast: (site) => expect(site).toHaveAllocated({}),
});

const ignored = (
  name: string,
  reason: string,
  before: readonly SagaStep[],
  step: ReturnType<typeof stopped>,
) =>
  prove('[VM-13 refuses] [EX-6 quiet]', {
    name: `stop that changes nothing: ${name}`,
    fleet: () => fleet().host('h1', { em1: 1 }),
    before,
    steps: [{ ...step, id: 'ignored' } as SagaStep],
    then: (site) => {
      expect(site.causedBy('ignored').map(({ type, data }) => [type, data])).toEqual([
        ['InputIgnored', expect.objectContaining({ type: step.type, reason })],
      ]);
    },
  });

await ignored('of a VM that is not known', 'unknown', [], stopped('vm1'));
await ignored('of one that is stopped', 'already-stopped', [...runs, stopped('vm1')], stopped('vm1'));
await ignored(
  'of a generation before',
  'stale',
  [start('vm1', { generation: 3 })],
  stopped('vm1', { generation: 2 }),
);
