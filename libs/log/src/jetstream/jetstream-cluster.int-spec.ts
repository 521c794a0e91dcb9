import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { TestServers, type TestCluster } from '#broker/test-servers';
import { emptyHead } from '../chain.js';
import { logConformance } from '../conformance.js';
import { isTransient, type LogErrorCode } from '../errors.js';
import type { StoredDecision } from '../record.js';
import { collect, headAfter, sampleDecisions } from '../sample-records.js';
import { verifyStream } from '../verify.js';
import type { JetStreamLog } from './jetstream-log.js';
import { jetStreamUnderTest, openJetStreamLog, untilIn } from './log-under-test.js';

const servers = new TestServers();
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await servers.startCluster();
}, 60_000);
afterAll(() => servers.end(), 60_000);

logConformance('JetStreamLog on three replicas', () => jetStreamUnderTest(cluster.url, { replicas: 3 }), {
  // Damage looks the same on every number of replicas.
  tampering: false,
});

describe('JetStreamLog on three replicas, with servers that die', () => {
  const stream = 'mortal';
  const opened: JetStreamLog[] = [];
  const open = async (): Promise<JetStreamLog> => {
    const log = await openJetStreamLog(cluster.url, { replicas: 3, requestTimeout: 1_000 });
    opened.push(log);
    return log;
  };
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((log) => log.close()));
  });

  const leaderOf = async (name: string): Promise<string> => {
    const connection = await connect({ servers: cluster.url.split(',') });
    try {
      const manager = await jetstreamManager(connection, { checkAPI: false });
      return (await manager.streams.info(name)).cluster!.leader!;
    } finally {
      await connection.close();
    }
  };

  test('kill -9 of the leader: appends go on by themselves, what was acknowledged stays, and a follower has all', async () => {
    const log = await open();
    const reader = await open();
    const stop = new AbortController();
    const followed: number[] = [];
    const following = (async () => {
      for await (const records of reader.follow(stream, 0, stop.signal, { verify: emptyHead(stream) })) {
        followed.push(...records.map(({ position }) => position));
      }
    })();

    let head = emptyHead(stream);
    const acknowledged: StoredDecision[] = [];
    const failures: LogErrorCode[] = [];
    /** Appends as the pipeline does: the same bytes until they are in. */
    const append = async (): Promise<void> => {
      const decisions = sampleDecisions(head, { decisions: 2, events: 2, data: acknowledged.length });
      failures.push(...(await untilIn(log, stream, head.position, decisions)));
      acknowledged.push(...decisions);
      head = headAfter(head, decisions);
    };

    for (let round = 0; round < 20; round++) await append();
    const first = await leaderOf(`VF_LOG_${stream}`);
    // The append that is under way when it dies is the doubtful one.
    const doubtful = append();
    await cluster.kill(first);
    await doubtful;
    for (let round = 0; round < 20; round++) await append();
    await cluster.restart(first);
    const second = await leaderOf(`VF_LOG_${stream}`);
    expect(second).not.toBe(first);

    expect(await collect(log.read(stream, 1))).toEqual(acknowledged.flat());
    expect(await verifyStream(reader, stream)).toEqual({ events: 164, ok: true, head });
    while (followed.length < 164) await new Promise((resolve) => setImmediate(resolve));
    expect(followed).toEqual(Array.from({ length: 164 }, (_, index) => index + 1));
    stop.abort();
    await following;
    // Otherwise nothing was killed while it mattered.
    expect(failures.length).toBeGreaterThan(0);
  }, 60_000);

  test('strangers publish while the leader is killed: all replicas pass the same messages over', async () => {
    const name = 'strange';
    const log = await open();
    const stranger = await connect({ servers: cluster.url.split(','), reconnectTimeWait: 50 });
    try {
      let head = emptyHead(name);
      const acknowledged: StoredDecision[] = [];
      const append = async (): Promise<void> => {
        const decisions = sampleDecisions(head, { events: 2, data: acknowledged.length });
        await untilIn(log, name, head.position, decisions);
        acknowledged.push(...decisions);
        head = headAfter(head, decisions);
      };
      await append();
      const manager = await jetstreamManager(stranger, { checkAPI: false });
      const copy = (await manager.streams.getMessage(`VF_LOG_${name}`, { seq: 1 }))!.data;
      const publishAll = (): void => {
        for (const data of ['hello', '', copy]) stranger.publish(`vf.log.${name}`, data);
      };
      const rounds = async (count: number): Promise<void> => {
        for (let round = 0; round < count; round++) {
          publishAll();
          await append();
        }
      };
      await rounds(10);
      const leader = await leaderOf(`VF_LOG_${name}`);
      const doubtful = append();
      await cluster.kill(leader);
      await doubtful;
      await rounds(10);
      await cluster.restart(leader);
      publishAll();
      await stranger.flush();
      for (const reader of [log, await open()]) {
        expect(await reader.head(name)).toEqual(head);
        const read = await collect(reader.read(name, 1, { verify: emptyHead(name) }));
        expect(read).toEqual(acknowledged.flat());
        const middle = acknowledged.flat().slice(20);
        expect(await collect(reader.read(name, 21))).toEqual(middle);
        expect(reader.passedOver(name)!.count).toBeGreaterThanOrEqual(40);
      }
    } finally {
      await stranger.close();
    }
  }, 60_000);

  test('two of three are dead: UNAVAILABLE or unknown, and on it goes when one is back', async () => {
    const log = await openJetStreamLog(cluster.url, { replicas: 3, requestTimeout: 500, patience: 0 });
    opened.push(log);
    const name = 'minority';
    const [one, two] = sampleDecisions(emptyHead(name), { decisions: 2 });
    await untilIn(log, name, 0, [one!]);
    const leader = await leaderOf(`VF_LOG_${name}`);
    const others = ['n1', 'n2', 'n3'].filter((other) => other !== leader);
    await Promise.all(others.map((other) => cluster.kill(other)));
    const error = await log.append(name, 1, [two!]).catch((caught: unknown) => caught);
    expect(isTransient(error)).toBe(true);
    await Promise.all(others.map((other) => cluster.restart(other)));
    await untilIn(log, name, 1, [two!]);
    const reader = await open();
    expect(await collect(reader.read(name, 1))).toEqual([...one!, ...two!]);
  }, 60_000);
});
