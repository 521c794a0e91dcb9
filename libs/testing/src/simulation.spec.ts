import { describe, expect, test } from '@jest/globals';
import {
  bySeed,
  EM1,
  fleet,
  matchers,
  nic,
  randomFrom,
  say,
  simulate,
  start,
  started,
  stopped,
  vfAddress,
  type Said,
  type Simulation,
} from './index.js';

expect.extend(matchers);

const VF = vfAddress('em1', 0);

describe('a simulation by hand', () => {
  test('[OUT-1 acts] a crash between two steps', async () => {
    const site = await simulate(fleet().host('h1', { em1: 1 }));
    await site.say(start('vm1'));
    await site.crash();
    await site.say(stopped('vm1'));
    await site.say(start('vm2'));
    expect(site).toHaveAllocated({ 'vm2/eth0': `h1 ${VF}` });
    expect(site).toHaveOneOutcomeEach();
    await site.finish();
  });

  test('[EX-1 refuses] a leader that is frozen, superseded, and wakes up writes nothing', async () => {
    const site = await simulate(fleet().host('h1', { em1: 1 }));
    const first = site.leader;
    site.freeze(20_000);
    site.publish(start('vm1'));
    site.publish(start('vm2'));
    await site.rest();
    expect(site.leader).not.toBe(first);
    await site.advance(20_000);
    await site.say(stopped('vm1'));
    expect(site).toHaveAllocated({});
    await site.finish();
  });

  test('a connection that is cut for a while', async () => {
    const site = await simulate(fleet().host('h1', { em1: 1 }));
    site.cut(1500);
    await site.say(start('vm1'));
    expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${VF}` });
    await site.finish();
  });

  test('[EX-6 refuses] an id that comes again with other content is a dead letter', async () => {
    const site = await simulate(fleet().host('h1', { em1: 2 }));
    await site.say(start('vm1', {}, { id: 'once' }));
    await site.say(start('vm2', {}, { id: 'once' }));
    expect(site.deadLetters).toHaveLength(1);
    expect(site).toHaveOneOutcomeEach();
    await site.finish();
  });

  test('allocators that are stopped while the broker is away stop all the same, by their own clock', async () => {
    const site = await simulate(fleet().host('h1', { em1: 1 }));
    site.cut(600_000);
    site.publish(start('vm1'));
    await site.advance(5000);
    const before = site.clock.now();
    await site.stop();
    expect(site.clock.now() - before).toBeLessThan(30_000);
  });

  test('time that goes by: snapshots, purges, hosts that fall silent and come back', async () => {
    const site = await simulate(fleet().host('h1', { em1: 2 }));
    await site.say(start('vm1'));
    await site.advance(400_000);
    expect(site.types).toEqual(expect.arrayContaining(['HostLost', 'AllocationOverdue']));
    site.agent('h1').report();
    await site.say(started('vm1'));
    expect(site.types).toContain('HostBack');
    expect((await site.log.snapshots('default')).length).toBeGreaterThan(0);
    expect(site.server.inputInfo().firstSequence).toBeGreaterThan(1);
    await site.crash();
    await site.say(stopped('vm1'));
    expect(site).toHaveAllocated({});
    await site.finish();
  });
});

/** A conversation by a seed: VMs that come and go, PFs that are restored and split, hosts that reboot. */
async function converse(seed: number): Promise<Simulation> {
  const random = randomFrom(seed ^ 0x5eed);
  const any = <T>(...values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const site = await simulate(fleet().host('h1', { em1: 2, em2: 2 }).host('h2', { em1: 2, scrubs: true }), {
    mishaps: bySeed(seed),
  });
  const moves: readonly (() => Said | undefined)[] = [
    () =>
      start(`vm${any(1, 2, 3, 4)}`, {
        nics: any([nic()], [nic(), nic('eth1', { onExhaustion: 'fallback' })]),
      }),
    () => started(`vm${any(1, 2, 3, 4)}`),
    () => stopped(`vm${any(1, 2, 3, 4)}`),
    () => say('PfRestoreRequested', { hostId: any('h1', 'h2'), pf: EM1 }),
    () => say('PfVirtualizeRequested', { hostId: any('h1', 'h2'), pf: EM1, numVfs: 2 }),
    () => void site.agent(any('h1', 'h2')).report(),
    () => (random() < 0.3 ? void site.agent(any('h1', 'h2')).reboot() : undefined),
  ];
  for (let move = 0; move < 25; move++) {
    const said = any(...moves)();
    if (said === undefined) continue;
    if (random() < 0.5) site.publish(said);
    else await site.say(said);
  }
  await site.finish();
  return site;
}

describe('a simulation by a seed', () => {
  // `VF_TEST_RUNS` multiplies the runs, `VF_TEST_SEED` is the first seed.
  const { VF_TEST_RUNS = 1, VF_TEST_SEED = 1 } = process.env;
  const runs = Math.max(1, Math.round(60 * Number(VF_TEST_RUNS)));
  test.each(Array.from({ length: runs }, (_, run) => Number(VF_TEST_SEED) + run))('seed %i', async (seed) => {
    expect(await converse(seed)).toHaveOneOutcomeEach();
  });

  test('the same seed gives the same run, to the byte', async () => {
    const [one, two] = [await converse(7), await converse(7)];
    expect(two.crossings).toEqual(one.crossings);
    expect(await two.log.head('default')).toEqual(await one.log.head('default'));
  });
});
