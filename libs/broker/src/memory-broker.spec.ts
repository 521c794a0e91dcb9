import { describe, expect, test } from '@jest/globals';
import { brokerConformance, type Site } from '#broker/conformance';
import { MemoryBrokerServer } from './memory-broker-server.js';

const LEASE = { leaseLostAfter: 60, leaseTakeOverAfter: 90 };

async function memorySite(): Promise<Site> {
  const server = new MemoryBrokerServer(Date.now, LEASE);
  return {
    connect: async () => {
      const broker = server.connect();
      return { broker, cut: () => broker.cut(), heal: () => broker.heal() };
    },
    storeInput: async (subject, payload, headers) => server.storeInput(subject, payload, headers),
    replaceInput: async () => {
      server.deleteInput();
      server.prepare();
    },
    purgeOutput: async (cluster) => server.purgeOutput(cluster),
    outputs: async (cluster) =>
      server.outputs(cluster).map(({ position, subject, payload }) => ({
        position,
        subject,
        payload: Buffer.from(payload as Uint8Array).toString(),
      })),
    deadLetters: async (cluster) => [...server.deadLetters(cluster)],
    leaseTakeOverAfter: LEASE.leaseTakeOverAfter,
    close: async () => {},
  };
}

brokerConformance('the memory broker', memorySite);

describe('the memory broker', () => {
  test('takes time from the clock it was given', async () => {
    let now = Date.parse('2026-01-01T00:00:00Z');
    const broker = new MemoryBrokerServer(() => now).connect();
    await broker.prepare();
    await broker.input.publish('vf.in.a.vm.v.T', new Uint8Array());
    now += 5_000;
    await broker.input.publish('vf.in.a.vm.v.T', new Uint8Array());
    expect((await broker.input.info()).created).toBe('2026-01-01T00:00:00.000000001Z');
    expect((await broker.input.get(2))!.time - (await broker.input.get(1))!.time).toBe(5_000);
  });

  test('runs lease timers by the schedule it was given', async () => {
    const timers: Array<{ milliseconds: number; action: () => void }> = [];
    const server = new MemoryBrokerServer(() => 0, {
      schedule: (milliseconds, action) => {
        timers.push({ milliseconds, action });
        return () => {};
      },
    });
    const one = server.connect();
    const two = server.connect();
    const lease = (await one.leases.acquire('a', 'one', new AbortController().signal))!;
    const next = two.leases.acquire('a', 'two', new AbortController().signal);
    one.cut();
    expect(timers.map(({ milliseconds }) => milliseconds)).toEqual([2_500, 3_000]);
    timers[0]!.action();
    expect(lease.lost.aborted).toBe(true);
    timers[1]!.action();
    expect((await next)!.cluster).toBe('a');
  });

  test('a burst stored in one turn is taken as one batch', async () => {
    const server = new MemoryBrokerServer(() => 0);
    server.prepare();
    const follower = await server.connect().input.follow('a', 0);
    const waiting = follower.take();
    await Promise.resolve();
    for (let n = 0; n < 100; n++) server.storeInput('vf.in.a.vm.v.T', new Uint8Array());
    expect(await waiting).toHaveLength(100);
  });
});
