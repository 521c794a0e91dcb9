import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { until } from '#broker/conformance';
import type { InputFollower, OutputMessage, OutputState } from './broker.js';
import type { BrokerError } from './errors.js';
import { connectNats, type NatsBroker, type NatsBrokerOptions } from './nats-broker.js';
import { encodedHeaders } from './nats-headers.js';
import { wipe } from './nats-site.js';
import { freeze, TestServers } from './nats-test-servers.js';

jest.setTimeout(60_000);

const servers = new TestServers();
let server: Awaited<ReturnType<TestServers['start']>>;
let tools: NatsConnection;
let manager: JetStreamManager;
let brokers: NatsBroker[] = [];

const open = async (options: Partial<NatsBrokerOptions> = {}): Promise<NatsBroker> => {
  const broker = await connectNats({ url: server.url, ...options });
  brokers.push(broker);
  return broker;
};

beforeAll(async () => {
  server = await servers.start();
});

beforeEach(async () => {
  tools = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  await wipe(tools);
  manager = await jetstreamManager(tools);
});

afterEach(async () => {
  await Promise.all(brokers.map((broker) => broker.close()));
  brokers = [];
  await tools.close();
});

afterAll(() => servers.end());

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const outputs = (first: number, count: number): OutputMessage[] =>
  Array.from({ length: count }, (_, index) => ({
    position: first + index,
    subject: 'vf.out.a.vm.v.T',
    id: `${first + index}`,
    payload: `event ${first + index}`,
  }));

/** Takes until a sequence came, and what came with it. */
async function takeUntil(follower: InputFollower, sequence: number): Promise<number[]> {
  const taken: number[] = [];
  while ((taken.at(-1) ?? 0) < sequence)
    taken.push(...(await follower.take())!.map((message) => message.sequence));
  return taken;
}

/** Publishes whatever the server is doing: again and again, until it is acknowledged. */
async function publishSurely(broker: NatsBroker, id: string): Promise<number> {
  for (;;) {
    try {
      return await broker.input.publish('vf.in.a.vm.v.T', bytes(id));
    } catch (error) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE' });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** The state of the output, once the server answers. */
async function stateSurely(broker: NatsBroker): Promise<OutputState> {
  let state: OutputState | undefined;
  await until(async () => (state = await broker.output.state('a').catch(() => undefined)) !== undefined);
  return state!;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test('preparing waits for a server that is away, and no longer than it is told to', async () => {
  const other = await servers.start();
  const broker = await open({ url: other.url });
  await other.stop();
  await until(() => !broker.connected);
  const giveUp = new AbortController();
  const prepared = broker.prepare(giveUp.signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  const toldAt = performance.now();
  giveUp.abort();
  expect(await prepared).toMatchObject({ code: 'UNAVAILABLE' });
  // It would have waited for 30 s.
  expect(performance.now() - toldAt).toBeLessThan(5_000);
});

describe('a server that is killed and started again', () => {
  test('leaves no gap and no double in followers and watchers', async () => {
    const broker = await open();
    await broker.prepare();
    await broker.input.info();
    const follower = await broker.input.follow('a', 0);
    const watched: number[] = [];
    await broker.input.watch(({ sequence }) => watched.push(sequence));
    const taken: number[] = [];
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 50; n++) await publishSurely(broker, `${round}-${n}`);
      taken.push(...(await takeUntil(follower, (round + 1) * 50 - 10)));
      server = await servers.killAndRestart(server);
    }
    const last = await publishSurely(broker, 'last');
    taken.push(...(await takeUntil(follower, last)));
    // An acknowledgement that was lost leaves a message twice in the stream.
    expect(last).toBeGreaterThanOrEqual(151);
    expect(taken).toEqual(upTo(last));
    await until(() => watched.length >= last);
    expect(watched).toEqual(upTo(last));
  });

  test('in the midst of publishing lets the publisher go on from the state of the stream', async () => {
    const broker = await open({ requestTimeout: 1_000 });
    await broker.prepare();
    await broker.output.create('a', 1);
    const total = 30_000;
    let restart: Promise<unknown> | undefined;
    let failures = 0;
    let next = 1;
    while (next <= total) {
      if (next > 5_000) restart ??= servers.killAndRestart(server).then((restarted) => (server = restarted));
      try {
        await broker.output.publish('a', outputs(next, Math.min(512, total - next + 1)));
        next += Math.min(512, total - next + 1);
      } catch (error) {
        expect(['UNAVAILABLE', 'WRONG_SEQUENCE']).toContain((error as BrokerError).code);
        failures++;
        next = (await stateSurely(broker)).lastSequence + 1;
      }
    }
    await restart;
    expect(failures).toBeGreaterThan(0);
    const { state } = await manager.streams.info('VF_OUT_a');
    expect(state).toMatchObject({ messages: total, first_seq: 1, last_seq: total });
    for (const position of [1, 5_000, 5_001, total]) {
      expect((await manager.streams.getMessage('VF_OUT_a', { seq: position }))!.string()).toBe(
        `event ${position}`,
      );
    }
  });

  test('keeps the lease with its holder when it is back in time', async () => {
    const broker = await open({ leases: { renewEvery: 100, lostAfter: 20_000, takeOverAfter: 25_000 } });
    await broker.prepare();
    const lease = (await broker.leases.acquire('a', 'me', new AbortController().signal))!;
    server = await servers.killAndRestart(server);
    await until(async () => (await broker.leases.holder('a').catch(() => undefined)) === 'me');
    // This connection may come back later than the broker's.
    const revision = async () =>
      (
        await manager.streams
          .getMessage('KV_VF_LEASES', { last_by_subj: '$KV.VF_LEASES.a' })
          .catch(() => null)
      )?.seq ?? 0;
    let before = 0;
    await until(async () => (before = await revision()) > 0);
    await until(async () => (await revision()) > before);
    expect(lease.lost.aborted).toBe(false);
  });
});

describe('a server that stands still for a while', () => {
  test('fails a publish as UNAVAILABLE, and late answers do not disturb the next', async () => {
    const broker = await open({ requestTimeout: 300 });
    await broker.prepare();
    await broker.output.create('a', 1);
    await broker.output.publish('a', outputs(1, 10));
    const follower = await broker.input.follow('a', 0);
    await freeze(server.pid);
    try {
      await expect(broker.output.publish('a', outputs(11, 10))).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
      await expect(broker.output.publish('a', outputs(11, 10))).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    const publishNext = async () =>
      broker.output.publish('a', outputs((await stateSurely(broker)).lastSequence + 1, 1_000)).then(
        () => true,
        (error: unknown) => {
          // What was sent before may still be stored after the state was asked for.
          expect(error).toMatchObject({ code: 'WRONG_SEQUENCE' });
          return false;
        },
      );
    await until(publishNext);
    const { state: stored } = await manager.streams.info('VF_OUT_a');
    expect(stored.messages).toBe(stored.last_seq);
    const last = await publishSurely(broker, 'after');
    expect(await takeUntil(follower, last)).toEqual([last]);
  });
});

describe('what people may do with the tools of NATS', () => {
  test('VF_IN deleted: take fails with INPUT_REPLACED', async () => {
    const broker = await open();
    await broker.prepare();
    await broker.input.info();
    const follower = await broker.input.follow('a', 0);
    const last = await publishSurely(broker, 'one');
    await takeUntil(follower, last);
    await manager.streams.delete('VF_IN');
    await expect(follower.take()).rejects.toMatchObject({ code: 'INPUT_REPLACED' });
    await expect(broker.input.info()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await broker.prepare();
    await broker.input.info();
    const again = await broker.input.follow('a', 0);
    expect(await takeUntil(again, await publishSurely(broker, 'two'))).toEqual([1]);
  });

  test('VF_IN made again while the connection was renewed: take fails with INPUT_REPLACED', async () => {
    const broker = await open();
    await broker.prepare();
    await broker.input.info();
    const follower = await broker.input.follow('a', 0);
    await takeUntil(follower, await publishSurely(broker, 'one'));
    const { config } = await manager.streams.info('VF_IN');
    await manager.streams.delete('VF_IN');
    await manager.streams.add(config);
    await broker.connection.reconnect();
    await expect(follower.take()).rejects.toMatchObject({ code: 'INPUT_REPLACED' });
  });

  test('VF_OUT deleted under a publisher: it hears of it at once, and need not wait for answers that never come', async () => {
    const broker = await open({ requestTimeout: 20_000 });
    await broker.prepare();
    await broker.output.create('a', 1);
    const published = broker.output.publish('a', outputs(1, 100_000)).then(
      () => undefined,
      (error: unknown) => error,
    );
    await until(async () => (await manager.streams.info('VF_OUT_a')).state.last_seq > 1_000);
    await manager.streams.delete('VF_OUT_a');
    const deletedAt = performance.now();
    expect(await published).toMatchObject({ code: 'UNAVAILABLE' });
    expect(performance.now() - deletedAt).toBeLessThan(5_000);
    expect(await broker.output.state('a')).toBeUndefined();
  });

  test('a consumer deleted: its follower goes on', async () => {
    const broker = await open();
    await broker.prepare();
    const follower = await broker.input.follow('a', 0);
    const taken = await takeUntil(follower, await publishSurely(broker, 'one'));
    for await (const { name } of manager.consumers.list('VF_IN'))
      await manager.consumers.delete('VF_IN', name);
    taken.push(...(await takeUntil(follower, await publishSurely(broker, 'two'))));
    expect(taken).toEqual([1, 2]);
  });

  test('a release after a renewal whose answer was lost frees the lease at once', async () => {
    const leases = { renewEvery: 20_000, lostAfter: 40_000, takeOverAfter: 50_000 };
    const one = await open({ leases });
    const two = await open({ leases });
    await one.prepare();
    const never = new AbortController().signal;
    const lease = (await one.leases.acquire('a', 'one', never))!;
    const key = '$KV.VF_LEASES.a';
    const held = await manager.streams.getMessage('KV_VF_LEASES', { last_by_subj: key });
    // As the server has it when it took a renewal and its answer did not come: the same value, a revision ahead.
    await tools.request(key, held!.data);
    await lease.release();
    expect(await two.leases.holder('a')).toBeUndefined();
  });

  test('a release that is heard before the answer of an older look hands the lease over at once', async () => {
    // It would run out long after this test does.
    const leases = { renewEvery: 80_000, lostAfter: 160_000, takeOverAfter: 200_000 };
    const one = await open({ leases });
    const two = await open({ leases });
    await one.prepare();
    const never = new AbortController();
    const lease = (await one.leases.acquire('a', 'one', never.signal))!;
    two.leases.join('two', () => [], never.signal);
    await until(() => two.leases.fleet().holders.get('a') === 'one');
    let arrive = (): void => undefined;
    const delay = new Promise<void>((resolve) => (arrive = resolve));
    const { connection } = two;
    const request = connection.request.bind(connection);
    let looks = 0;
    connection.request = async (...asked) => {
      const answer = await request(...asked);
      if (asked[0].startsWith('$JS.API.STREAM.MSG.GET.KV_') && looks++ === 0) await delay;
      return answer;
    };
    const next = two.leases.acquire('a', 'two', never.signal);
    await until(() => looks === 1);
    await lease.release();
    await until(() => two.leases.fleet().holders.get('a') === undefined);
    arrive();
    expect(await next).toMatchObject({ cluster: 'a' });
    never.abort();
  });

  test('the bucket of leases deleted: it is made again and leases go on', async () => {
    const broker = await open({ leases: { renewEvery: 50, lostAfter: 200, takeOverAfter: 300 } });
    await broker.prepare();
    const never = new AbortController().signal;
    const lease = (await broker.leases.acquire('a', 'me', never))!;
    const lost = new Promise((resolve) => lease.lost.addEventListener('abort', resolve));
    await manager.streams.delete('KV_VF_LEASES');
    await lost;
    expect((await broker.leases.acquire('a', 'me', never))?.cluster).toBe('a');
  });
});

describe('what publishers may send', () => {
  test('headers that break the rules reach the follower and do not end the reading', async () => {
    const broker = await open();
    await broker.prepare();
    const follower = await broker.input.follow('a', 0);
    const hostile = [
      'NATS/1.0\r\nbad name: x\r\n\r\n',
      'NATS/1.0\r\nlone: a\rb\nc\r\n\r\n',
      `NATS/1.0\r\n${'h: v\r\n'.repeat(5_000)}\r\n`,
      'NATS/1.0\r\n__proto__: x\r\n\r\n',
      'NATS/1.0 503\r\n\r\n',
      'NATS/1.0\r\n\xff\xfe: \xff\r\n\r\n',
    ];
    let last = 0;
    for (const block of hostile) {
      const ack = await tools.request('vf.in.a.vm.v.T', 'x', {
        timeout: 5_000,
        headers: encodedHeaders(new Uint8Array(Buffer.from(block, 'latin1'))),
      });
      last = ack.json<{ seq: number }>().seq;
    }
    const messages = [];
    while (messages.at(-1)?.sequence !== last) messages.push(...(await follower.take())!);
    expect(messages).toHaveLength(hostile.length);
    for (const message of messages) expect(await broker.input.get(message.sequence)).toEqual(message);
    // And into the dead letters, whatever they are.
    await broker.dead.publish(
      'a',
      messages.map((message) => ({ ...message, stream: 's', reason: 'hostile' })),
      0,
    );
    expect((await manager.streams.info('VF_DEAD')).state.messages).toBe(hostile.length);
  });

  test('a dead letter is stored whatever message id it had', async () => {
    const broker = await open();
    await broker.prepare();
    const letter = { stream: 's', subject: 'vf.in.a.x', reason: 'r', payload: bytes('x') };
    const headers = { 'Nats-Msg-Id': 'same', 'Nats-Expected-Last-Sequence': '77', 'Nats-Rollup': 'all' };
    await broker.dead.publish(
      'a',
      [
        { ...letter, sequence: 1, headers },
        { ...letter, sequence: 2, headers },
      ],
      0,
    );
    expect((await manager.streams.info('VF_DEAD')).state.messages).toBe(2);
  });

  test('a VF_IN that is full refuses, and takes again when it is purged', async () => {
    const broker = await open({ streams: { inputMaxBytes: 4_096 } });
    await broker.prepare();
    const fill = async () => {
      for (let n = 0; n < 100; n++) await broker.input.publish('vf.in.a.vm.v.T', new Uint8Array(200));
    };
    await expect(fill()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await broker.input.purge('a', (await broker.input.info()).lastSequence + 1);
    await broker.input.publish('vf.in.a.vm.v.T', new Uint8Array(200));
  });

  test('an input that is too large is refused for good', async () => {
    const broker = await open();
    await broker.prepare();
    await expect(
      broker.input.publish('vf.in.a.vm.v.T', new Uint8Array(1024 * 1024 + 1)),
    ).rejects.toMatchObject({ code: 'REFUSED' });
  });
});

describe('a follower that is not asked', () => {
  test('reads ahead within its bounds and no further', async () => {
    const broker = await open();
    await broker.prepare();
    for (let n = 1; n <= 3_000; n++) tools.publish('vf.in.a.vm.v.T', 'x');
    await tools.flush();
    await until(async () => (await broker.input.info()).lastSequence === 3_000);
    const follower = await broker.input.follow('a', 0, { maxMessages: 500 });
    const delivered = async () => {
      let most = 0;
      for await (const { delivered } of manager.consumers.list('VF_IN'))
        most = Math.max(most, delivered.consumer_seq);
      return most;
    };
    await until(async () => (await delivered()) === 500);
    const taken = (await follower.take())!.map(({ sequence }) => sequence);
    expect(taken.length).toBeLessThanOrEqual(500);
    await until(async () => (await delivered()) > 500);
    expect(await delivered()).toBeLessThanOrEqual(1_000);
    taken.push(...(await takeUntil(follower, 3_000)));
    expect(taken).toEqual(upTo(3_000));
  });
});
