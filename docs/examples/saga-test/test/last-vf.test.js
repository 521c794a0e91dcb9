import { test } from '@jest/globals';
import { given, ports, registered, start, stopped } from '@vf-scheduler/testing';

/** Only the decision: no message is on its way, and so no pipeline is needed. */
test('the last VF is given once, and again when it is back', () => {
  const cluster = given(registered('h1', { pfs: ports(1) }));
  cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
  cluster.when(stopped('vm1')).thenTypes('VfReleased', 'VmStopped');
  cluster.when(start('vm2')).thenTypes('VfAllocated', 'VmStartAccepted');
});
