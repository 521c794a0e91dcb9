import { expect, test } from '@jest/globals';
import {
  everyMishap,
  fleet,
  nic,
  rehearse,
  runCourse,
  say,
  start,
  started,
  stopped,
} from '@vf-scheduler/testing';

/** A whole conversation: a VM that runs gets a second NIC, and gives both VFs back when it stops. */
const secondNic = {
  name: 'a second NIC for a VM that runs',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: [start('vm1'), started('vm1')],
  steps: [say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1') }), stopped('vm1')],
  then: (site) => {
    expect(site.types.slice(-5)).toEqual([
      'VfAllocated',
      'VmNicAttached',
      'VfReleased',
      'VfReleased',
      'VmStopped',
    ]);
  },
  ending: [say('VmDestroyed', { vmId: 'vm1' })],
  atLast: (site) => expect(site).toHaveAllocated({}),
};
const rehearsal = await rehearse(secondNic);

/** Every crash, every cut, every message lost, doubled or late: each is a test of its own. */
test.each(everyMishap(rehearsal).map((course) => [course.name, course]))(
  `${secondNic.name}: %s`,
  async (_name, course) => {
    await runCourse(rehearsal, course);
  },
);
