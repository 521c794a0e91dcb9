import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { connectNats, openNatsConnection, type Broker, type Lease } from '#broker';
import { JetStreamLog, SqliteLog, type EventLog } from '#log';
import { Allocator, silentLogger, systemClock } from '#pipeline';
import { ControlPlane, expectWhole, reportHosts } from './support/conversation.js';
import { hostReported, input } from './support/inputs.js';
import { readLogFile, readLogStream, type LogContents } from './support/log-file.js';
import { NatsClient } from './support/nats-client.js';
import { Programs, type SharedServer } from './support/programs.js';
import { Random } from './support/random.js';

jest.setTimeout(60_000);

const programs = new Programs();
let server: SharedServer;
let file: string;

beforeAll(async () => {
  server = await programs.natsServer();
  file = join(await programs.directory(), 'events.db');
});
afterAll(() => programs.end());

/** A broker by which everybody who asks for a lease has it, for as long as he likes. */
async function unleased(): Promise<Broker> {
  const broker = await connectNats({ url: server.url });
  const mine = (cluster: string): Lease => {
    const end = new AbortController();
    return { cluster, lost: end.signal, release: async () => end.abort() };
  };
  return {
    input: broker.input,
    output: broker.output,
    dead: broker.dead,
    heads: broker.heads,
    leases: {
      acquire: async (cluster) => mine(cluster),
      holder: async () => undefined,
      join: () => undefined,
      survey: async () => new Map(),
      fleet: () => ({ members: new Map(), holders: new Map(), logs: new Map() }),
    },
    now: () => broker.now(),
    prepare: (signal) => broker.prepare(signal),
    check: () => broker.check(),
    close: () => broker.close(),
    get connected() {
      return broker.connected;
    },
  };
}

interface Fighter {
  readonly allocator: Allocator;
  end(): Promise<void>;
}

let deposed = 0;

async function fighter(cluster: string, log: EventLog): Promise<Fighter> {
  const broker = await unleased();
  const allocator = new Allocator({
    broker,
    log,
    clock: systemClock,
    logger: {
      ...silentLogger,
      warn: (message) => {
        if (message.includes('another allocator has written')) deposed++;
      },
    },
    instance: 'a fighter',
    clusters: [cluster],
    maxClusters: 4,
    rememberedInputs: 1000,
    outMaxAge: 3_600_000,
  });
  await allocator.start();
  return {
    allocator,
    end: async () => {
      await allocator.stop();
      await broker.close();
      await log.close();
    },
  };
}

/**
 * Three that lead one cluster decide the same inputs in the same order, and so write the same bytes: that is
 * harmless, and would prove little. What differs is what each has only observed: who began later counts a
 * silent host as lost later. So hosts fall silent and come back all the time, and fighters begin anew.
 */
test.each<[string, string, () => Promise<EventLog>, (cluster: string) => Promise<LogContents>]>([
  ['SQLite', 'file', () => SqliteLog.open(file), (cluster) => readLogFile(file, cluster)],
  [
    'JetStream',
    'stream',
    async () => new JetStreamLog({ connection: await openNatsConnection({ url: server.url }) }),
    (cluster) => readLogStream(server.url, cluster),
  ],
])(
  '[EX-1 acts] [OUT-1 acts] [OUT-3 acts] without any lease three allocators fight over one cluster in %s: the expected position alone keeps it whole',
  async (_, cluster, openLog, readLog) => {
    const random = Random.seeded(`split brain, ${cluster}`);
    deposed = 0;
    const client = await NatsClient.connect(server.url);
    const begin = async (): Promise<Fighter> => fighter(cluster, await openLog());
    const fighters = [await begin(), await begin(), await begin()];
    try {
      await fight();
    } finally {
      await Promise.all(fighters.map((each) => each.end()));
      await client.close();
    }

    async function fight(): Promise<void> {
      await client.publishUntilStored(input('ClusterPolicyChanged', { hostTimeoutSeconds: 1 }, { cluster }));
      await reportHosts(client, 2, cluster);
      const controlPlane = new ControlPlane(client, cluster);
      controlPlane.begin(6);
      const until = performance.now() + 6_000;
      // On a machine that is busy it takes longer until two decide something else.
      const patience = until + 30_000;
      const goesOn = (): boolean => performance.now() < (deposed > 0 ? until : patience);
      for (let seq = 2; goesOn(); seq++) {
        await wait(random.below(1500));
        await client.publishUntilStored(hostReported(`h${random.below(2)}`, 32, { cluster, seq }));
        if (random.chance(0.5)) {
          const [oldest] = fighters.splice(0, 1);
          await oldest!.end();
          fighters.push(await begin());
        }
        const leading = fighters.map(({ allocator }) => allocator.status.get(cluster)?.role);
        expect(leading).not.toContain('standby');
      }
      await controlPlane.end();
      // From here on nothing falls due: what is compared stands still.
      await client.publishUntilStored(
        input('ClusterPolicyChanged', { hostTimeoutSeconds: 3600 }, { cluster }),
      );
      process.stderr.write(
        `split brain, ${cluster}: ${controlPlane.said.length} requests and facts, ${deposed} times deposed\n`,
      );
      // There was something to fight about.
      expect(deposed).toBeGreaterThan(0);
      await expectWhole(client, controlPlane.said, () => readLog(cluster), cluster);
    }
  },
);
