import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import {
  bySeed,
  everyMishap,
  fleet,
  given,
  matchers,
  nic,
  ports,
  registered,
  rehearse,
  runCourse,
  say,
  simulate,
  start,
  started,
  stopped,
  type Saga,
} from './index.js';

expect.extend(matchers);

test('a VM that stops gives its VF to the next one, over a crash of the allocator', async () => {
  const site = await simulate(fleet().host('h1', { em1: 1 }));
  await site.say(start('vm1'));
  await site.crash();
  await site.say(stopped('vm1'));
  await site.say(start('vm2'));
  expect(site).toHaveAllocated({ 'vm2/eth0': 'h1 0000:82:10.0' });
  expect(site).toHaveOneOutcomeEach();
  await site.finish();
});

test('the last VF is given once', () => {
  const cluster = given(registered('h1', { pfs: ports(1) }));
  cluster.when(start('vm1')).thenTypes('VfAllocated', 'VmStartAccepted');
  cluster.when(start('vm2')).thenRefused('VF_EXHAUSTED');
  cluster.when({ ...start('vm3'), id: 'in-1' }).thenNothing();
});

test('a host that reboots splits its PF again, while its agent is slow', async () => {
  const site = await simulate(fleet().host('h1', { em1: 2 }));
  await site.say(start('vm1'));
  const agent = site.agent('h1');
  agent.deaf = true;
  agent.reboot();
  await site.rest();
  expect(site).toHaveAllocated({});
  expect(site.types.at(-1)).toBe('PfVirtualizationOrdered');
  agent.deaf = false;
  await site.restartAgent('h1');
  expect(site.types.at(-1)).toBe('PfVirtualized');
  await site.finish();
});

const attachWhileRunning: Saga = {
  name: 'attach a second NIC to a VM that runs',
  fleet: () => fleet().host('h1', { em1: 2 }),
  before: [start('vm1'), started('vm1')],
  steps: [say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1') }), stopped('vm1')],
  then: (site) => {
    expect(site.types.slice(4)).toEqual([
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
const rehearsal = await rehearse(attachWhileRunning);

test.each(everyMishap(rehearsal).map((course) => [course.name, course] as const))(
  `${attachWhileRunning.name}: %s`,
  async (_name, course) => {
    await runCourse(rehearsal, course);
  },
);

test.each([1, 2, 3, 4, 5])('ten VMs on four VFs, by seed %i', async (seed) => {
  const site = await simulate(fleet().host('h1', { em1: 2 }).host('h2', { em1: 2 }), {
    mishaps: bySeed(seed, { crash: 0.05 }),
  });
  for (let vm = 1; vm <= 10; vm++) site.publish(start(`vm${vm}`));
  await site.rest();
  for (let vm = 1; vm <= 10; vm++) await site.say(stopped(`vm${vm}`));
  await site.finish();
  expect(site).toHaveOneOutcomeEach();
});

test('every example of docs/how-to/test-a-saga.md is in this file, and so it runs', () => {
  const plain = (text: string): string => text.replaceAll(/[\s,]+/g, '').replaceAll('./index.js', '#testing');
  const here = plain(readFileSync(new URL(import.meta.url), 'utf8'));
  const doc = readFileSync(new URL('../../../docs/how-to/test-a-saga.md', import.meta.url), 'utf8');
  const examples = [...doc.matchAll(/```ts\n([^]*?)```/g)].map(([, code = '']) => plain(code));
  expect(examples.length).toBeGreaterThan(4);
  for (const example of examples) expect(here).toContain(example);
});
