import { expect } from '@jest/globals';
import {
  EM1,
  fleet,
  say,
  start,
  started,
  stopped,
  vf,
  vfAddress,
  type SagaStep,
  type Simulation,
} from '../index.js';
import { deaf, prove, proveRefusals, reports, restarts } from './prove.js';

const VF = vfAddress('em1', 0);
const scrubbing = () => fleet().host('h1', { em1: 1, scrubs: true });
const runs: readonly SagaStep[] = [start('vm1'), started('vm1')];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});
const gone = [
  say('VmDestroyed', { vmId: 'vm1' }),
  say('VmDestroyed', { vmId: 'vm2' }),
  restarts('h1'),
  reports('h1'),
];

/** The allocation that was released last, and waits for its scrub. */
const lastReleased = (site: Simulation): string =>
  (site.events.findLast(({ type }) => type === 'VfReleased')?.data as { allocationId: string }).allocationId;
/** Says something of the scrub of the allocation that was released last; said twice it is one word. */
const scrubbed =
  (clean: boolean, id: string): SagaStep =>
  (site) => {
    const allocationId = lastReleased(site);
    site.publish(say('VfScrubbed', { hostId: 'h1', vf: VF, allocationId, clean }, { id }));
  };

await prove('[SCRUB-1 acts]', {
  name: 'scrub: said by a report instead, the VF is free',
  fleet: scrubbing,
  before: [...runs, deaf('h1')],
  steps: [
    stopped('vm1'),
    (site) => {
      if (!site.types.includes('VfReleased')) return;
      const fields = { scrubbedFor: lastReleased(site) };
      site.agent('h1').changePf(EM1, { vfs: [vf('em1', 0, fields)] });
      site.agent('h1').report();
    },
    start('vm2'),
  ],
  then: (site) => {
    expect(site.types.slice(4)).toEqual([
      ...['VfReleased', 'VfScrubRequested', 'VmStopped', 'HostChanged'],
      ...['VfAllocated', 'VmStartAccepted'],
    ]);
    expect(site).toHaveAllocated({ 'vm2/eth0': `h1 ${VF}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[SCRUB-1 acts]', {
  name: 'scrub: nobody answers: it is overdue, stays out, and an operator frees it',
  fleet: () => scrubbing().said(say('ClusterPolicyChanged', { scrubTimeoutSeconds: 5 })),
  before: [...runs, deaf('h1'), stopped('vm1')],
  steps: [
    (site) => site.advance(20_000),
    start('vm2', {}, { id: 'too-early' }),
    (site) => {
      const allocationId = lastReleased(site);
      const release = { hostId: 'h1', allocationId, reason: 'looked at it' };
      site.publish(say('AllocationReleaseRequested', release, { id: 'operator' }));
    },
    start('vm3'),
  ],
  then: (site) => {
    expect(site.types.slice(8)).toEqual([
      ...['ScrubOverdue', 'VmStartFailed', 'VfScrubbed', 'AllocationReleaseDone'],
      ...['VfAllocated', 'VmStartAccepted'],
    ]);
    expect(site).toHaveAllocated({ 'vm3/eth0': `h1 ${VF}` });
  },
  ending: [say('VmDestroyed', { vmId: 'vm3' }), ...gone],
  atLast: nothingHeld,
});

await prove('[SCRUB-2 acts]', {
  name: 'scrub: it fails, the VF is quarantined, and a clean word for that allocation frees it',
  fleet: scrubbing,
  before: [...runs, deaf('h1'), stopped('vm1')],
  steps: [
    scrubbed(false, 'dirty'),
    start('vm2', {}, { id: 'too-early' }),
    scrubbed(true, 'clean'),
    start('vm3'),
  ],
  then: (site) => {
    expect(site.types.slice(7)).toEqual([
      ...['VfQuarantined', 'VmStartFailed', 'VfScrubbed'],
      ...['VfAllocated', 'VmStartAccepted'],
    ]);
    expect(site).toHaveAllocated({ 'vm3/eth0': `h1 ${VF}` });
  },
  ending: [say('VmDestroyed', { vmId: 'vm3' }), ...gone],
  atLast: nothingHeld,
});

await prove('[SCRUB-1 refuses] [EX-4 refuses]', {
  name: 'scrub: a late word on the allocation before changes nothing',
  fleet: scrubbing,
  before: [...runs, stopped('vm1'), (site) => site.rest(), start('vm2'), deaf('h1')],
  steps: [
    (site) => {
      const [first] = site.events.filter(({ type }) => type === 'VfAllocated');
      const { allocationId } = first!.data as { allocationId: string };
      site.publish(say('VfScrubbed', { hostId: 'h1', vf: VF, allocationId, clean: true }, { id: 'late' }));
    },
    stopped('vm2'),
    (site) => {
      const [first] = site.events.filter(({ type }) => type === 'VfAllocated');
      const { allocationId } = first!.data as { allocationId: string };
      site.publish(say('VfScrubbed', { hostId: 'h1', vf: VF, allocationId, clean: true }, { id: 'later' }));
    },
    start('vm3'),
  ],
  then: (site) => {
    for (const id of ['late', 'later']) {
      expect(site.causedBy(id).map(({ type, data }) => [type, (data as { reason: string }).reason])).toEqual([
        ['InputIgnored', 'stale'],
      ]);
    }
    expect(site.types.slice(-1)).toEqual(['VmStartFailed']);
    expect(site).toHaveAllocated({});
  },
  ending: [say('VmDestroyed', { vmId: 'vm3' }), ...gone],
  atLast: nothingHeld,
});

await proveRefusals('[SCRUB-2 refuses] [OUT-2 refuses] an operator frees', [
  {
    code: 'ALLOCATION_UNKNOWN',
    fleet: scrubbing,
    before: runs,
    request: say('AllocationReleaseRequested', { hostId: 'h1', allocationId: '9-00000000', reason: 'lost' }),
  },
]);
