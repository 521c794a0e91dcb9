import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import {
  ControlPlane,
  expectWhole,
  health,
  ledBy,
  reportHosts,
  serve,
  type Served,
} from './support/conversation.js';
import { readLogStream } from './support/log-file.js';
import { NatsClient } from './support/nats-client.js';
import { Programs, type SharedServer } from './support/programs.js';
import { Random } from './support/random.js';
import { until } from './support/until.js';

const KILLS = Number(process.env['VF_TEST_KILLS'] ?? 20);
const CLUSTERS = ['default', 'c1', 'c2', 'c3', 'c4', 'c5'];

jest.setTimeout(60_000);

const programs = new Programs();
let server: SharedServer;
let client: NatsClient;
let fleet: Served[] = [];

/** As in production: allocators that share nothing but NATS, and the log in it. */
const settings = () => ({ VF_NATS_URL: server.url, VF_EVENT_LOG: 'jetstream:' });
const another = (): Promise<Served> => serve(programs, 'allocator', settings());
const readLog = (cluster?: string) => readLogStream(server.url, cluster);
const round = (milliseconds: number): number => Math.round(milliseconds);

beforeAll(async () => {
  server = await programs.natsServer();
  client = await NatsClient.connect(server.url);
  fleet = await Promise.all([another(), another(), another()]);
});

afterAll(async () => {
  await client?.close();
  await programs.end();
});

const untilSpread = (counts: readonly number[], among = fleet): Promise<boolean> => {
  let found: readonly number[] = [];
  return until(
    () => `a spread of ${counts.join('/')}; it is ${found.join('/')}`,
    async () => {
      found = (await Promise.all(among.map(({ http }) => ledBy(http)))).map(({ length }) => length);
      return found.toSorted().join() === counts.toSorted().join();
    },
    { timeout: 30_000, every: 100 },
  );
};

/** Who leads a cluster, once somebody does and another one could take over. */
async function leaderOf(cluster: string): Promise<Served> {
  return until(
    () => `a leader of ${cluster} and a standby`,
    async () => {
      const roles = await Promise.all(
        fleet.map(async ({ http }) => (await health(http)).clusters[cluster]?.role),
      );
      return roles.includes('standby') ? fleet[roles.indexOf('leader')] : undefined;
    },
    { timeout: 30_000 },
  );
}

describe('six clusters and three allocators', () => {
  test('spread 2/2/2; who is killed is made good by the others; who comes later gets its share', async () => {
    for (const cluster of CLUSTERS) await reportHosts(client, 1, cluster);
    await untilSpread([2, 2, 2]);
    const [one] = fleet;
    // Whoever has just taken over has still to say that it is up to date.
    const said = await until('an instance that is ready', async () => {
      const answer = await health(one!.http);
      return answer.status === 200 ? answer : undefined;
    });
    expect(said.memory.rss).toBeGreaterThan(0);
    // Each cluster with role, position and lag, and whom a standby waits for.
    const instances = await Promise.all(fleet.map(async ({ http }) => (await health(http)).instance));
    for (const { role, leader, position, lag } of Object.values(said.clusters)) {
      expect(position).toBe(1);
      if (role === 'leader') continue;
      expect([role, lag]).toEqual(['standby', 0]);
      expect(instances.slice(1)).toContain(leader);
    }
    const killed = fleet.pop()!;
    await killed.program.kill();
    await untilSpread([3, 3]);
    const late = await another();
    fleet.push(late);
    await untilSpread([2, 2, 2]);
    for (const { program } of fleet) expect(program.log(50)).toEqual([]);
  });
});

describe('a rolling restart', () => {
  test('[OUT-1 acts] each of three allocators in turn: a client notices nothing but latency', async () => {
    const controlPlane = new ControlPlane(client);
    controlPlane.begin();
    await controlPlane.hears(20);
    for (let index = 0; index < fleet.length; index++) {
      const before = fleet[index]!;
      expect(await before.program.stop()).toEqual({ code: 0, signal: null });
      expect(before.program.log(40)).toEqual([]);
      fleet[index] = await another();
      await controlPlane.hears(20);
    }
    await controlPlane.end();
    const longest = Math.max(...controlPlane.latencies);
    process.stderr.write(
      `rolling restart: ${controlPlane.said.length} requests and facts, the longest waited ${round(longest)} ms\n`,
    );
    // Well below the time after which a lease that is not given up runs out.
    expect(longest).toBeLessThan(3000);
    await expectWhole(client, controlPlane.said, readLog);
  });
});

describe(`the leader is killed ${KILLS} times under load`, () => {
  test(
    '[OUT-1 acts] [EX-1 acts] [OUT-3 acts] another leads within 5 s each time, and every request has one outcome',
    async () => {
      const random = Random.seeded('leaders');
      const controlPlane = new ControlPlane(client);
      controlPlane.begin(8);
      const times: number[] = [];
      const starting: Promise<unknown>[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        await controlPlane.hears(10 + random.below(40));
        const leader = await leaderOf('default');
        await leader.program.kill();
        const killedAt = performance.now();
        // Another one is started at once, and not waited for: the next kill may come while it still starts.
        fleet.splice(fleet.indexOf(leader), 1);
        starting.push(another().then((served) => fleet.push(served)));
        await controlPlane.hears(1);
        times.push(performance.now() - killedAt);
      }
      await Promise.all(starting);
      await controlPlane.end();
      const sorted = times.toSorted((one, other) => one - other);
      process.stderr.write(
        `leaders: ${KILLS} kills, ${controlPlane.said.length} requests and facts; from kill -9 to the next outcome: ` +
          `median ${round(sorted[Math.floor(KILLS / 2)]!)} ms, longest ${round(sorted.at(-1)!)} ms\n`,
      );
      expect(sorted[Math.floor(KILLS / 2)]).toBeLessThan(5000);
      await expectWhole(client, controlPlane.said, readLog);
      for (const { program } of fleet) {
        expect(program.log(50)).toEqual([]);
        expect(await program.stop()).toEqual({ code: 0, signal: null });
      }
    },
    60_000 + KILLS * 10_000,
  );
});
