import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { AckPolicy, jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { until } from '#broker/conformance';
import type { DeadLetter, OutputMessage } from './broker.js';
import { connectNats, type NatsBroker, type NatsBrokerOptions } from './nats-broker.js';
import { wipe } from './nats-site.js';
import { TestServers } from './nats-test-servers.js';

/** What others may write to NATS, and what becomes of it: on a real server. */

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
  tools = await connect({ servers: server.url });
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
/** A signal of its own each time: listeners add up on one that all share. */
const never = (): AbortSignal => new AbortController().signal;

describe('a lease', () => {
  /** Quick, and wide enough that a busy machine does not look like a dead holder. */
  const leases = { renewEvery: 100, lostAfter: 2_000, takeOverAfter: 2_500 };
  const KEY = '$KV.VF_LEASES.a';
  const lease = (holder: string): string =>
    JSON.stringify({ holder, since: '', token: String(Math.random()), log: 'f'.repeat(64) });

  test.each([
    ['overwritten by a stranger', () => lease('somebody')],
    ['overwritten in the name of a living member', () => lease('two')],
    ['overwritten in the name of its holder', () => lease('one')],
    ['overwritten with nonsense', () => '{"holder":'],
    ['deleted', () => ''],
  ])("that is %s stays its holder's", async (_what, value) => {
    const one = await open({ leases });
    const two = await open({ leases });
    await one.prepare();
    one.leases.join('one', () => ['a'], never());
    two.leases.join('two', () => ['a'], never());
    const held = (await one.leases.acquire('a', 'one', never()))!;
    for (let times = 0; times < 3; times++) {
      const { seq } = await jetstream(tools).publish(KEY, value());
      await until(async () => {
        const last = await manager.streams.getMessage('KV_VF_LEASES', { last_by_subj: KEY });
        return last!.seq > seq && last!.json<{ holder?: string }>().holder === 'one';
      });
    }
    expect(held.lost.aborted).toBe(false);
    expect(await two.leases.holder('a')).toBe('one');
    await until(() => two.leases.fleet().holders.get('a') === 'one');
  });

  test('that a stranger holds, and renews all the time, keeps nobody waiting for longer than one of the dead', async () => {
    const one = await open({ leases });
    await one.prepare();
    await jetstream(tools).publish(KEY, lease('somebody'));
    const over = new AbortController();
    const renewing = (async () => {
      while (!over.signal.aborted) await jetstream(tools).publish(KEY, lease('somebody'));
    })();
    const begun = performance.now();
    const held = await one.leases.acquire('a', 'one', never());
    const waited = performance.now() - begun;
    expect(held).toBeDefined();
    expect(waited).toBeGreaterThan(leases.takeOverAfter / 2);
    // And he goes on writing: it is taken back each time.
    await until(async () => (await one.leases.holder('a')) === 'one');
    over.abort();
    await renewing;
    expect(held!.lost.aborted).toBe(false);
  });

  test("that a stranger holds is nobody's to those who ask", async () => {
    const one = await open({ leases });
    await one.prepare();
    one.leases.join('one', () => [], never());
    await jetstream(tools).publish(KEY, lease('one'));
    await jetstream(tools).publish('$KV.VF_LEASES.b.c', lease('one'));
    expect(await one.leases.survey()).toEqual(new Map());
    await until(() => one.leases.fleet().holders.has('a'));
    expect(one.leases.fleet().holders.get('a')).toBeUndefined();
    expect(one.leases.fleet().logs.has('a')).toBe(false);
    await until(async () => (await one.leases.holder('a')) === undefined);
  });

  test('that a member holds names the log that he works on, as it is with each renewal', async () => {
    const one = await open({ leases });
    const two = await open({ leases });
    await one.prepare();
    const works: { on?: string } = {};
    await one.leases.acquire('a', 'one', never(), undefined, () => works.on);
    two.leases.join('two', () => [], never());
    await until(async () => (await two.leases.survey()).has('a'));
    expect((await two.leases.survey()).get('a')).toMatchObject({ log: undefined });
    works.on = '0'.repeat(64);
    await until(async () => (await two.leases.survey()).get('a')?.log === works.on);
    await until(() => two.leases.fleet().logs.get('a')?.log === works.on);
  });
});

describe('VF_DEAD', () => {
  const STREAM = '2026-01-01T00:00:00.000000001Z';
  const letterAt = (sequence: number, payload = `payload ${sequence}`): DeadLetter => ({
    ...{ stream: STREAM, sequence, subject: `vf.in.a.nonsense.${sequence}`, reason: 'it has no kind' },
    payload: bytes(payload),
  });
  const forge = async (
    sequence: string,
    payload: string,
    fields: Record<string, string> = {},
  ): Promise<void> => {
    const forged = headers();
    for (const [name, value] of Object.entries({ 'Vf-Stream': STREAM, 'Vf-Sequence': sequence, ...fields }))
      forged.append(name, value);
    await jetstream(tools).publish('vf.dead.a', payload, { headers: forged });
  };
  /** What lies there, by payload. */
  const held = async (): Promise<readonly string[]> => {
    const { state } = await manager.streams.info('VF_DEAD');
    const found: string[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++)
      found.push((await manager.streams.getMessage('VF_DEAD', { seq }))!.string());
    return found;
  };

  test.each([
    ['a huge sequence', '9007199254740991'],
    ['a sequence above all', '1e300'],
    ['the sequence of the next one', '1'],
    ['no number', 'x'],
    ['nothing', ''],
  ])("a forged letter that names %s takes no other's place", async (_what, sequence) => {
    const broker = await open();
    await broker.prepare();
    await forge(sequence, 'forged before');
    await broker.dead.publish('a', [letterAt(1), letterAt(2)], Date.now());
    await forge(sequence, 'forged between');
    await broker.dead.publish('a', [letterAt(3)], Date.now());
    // And by another one, who knows of nothing.
    await (await open()).dead.publish('a', [letterAt(2), letterAt(3), letterAt(4)], Date.now());
    expect((await held()).filter((payload) => payload.startsWith('payload'))).toEqual(
      [1, 2, 3, 4].map((number) => `payload ${number}`),
    );
  });

  test('what was asked for longer ago than the letters that are known is looked for too', async () => {
    const begun = Date.now();
    const broker = await open();
    await broker.prepare();
    await (await open()).dead.publish('a', [letterAt(7)], begun);
    await broker.dead.publish('a', [letterAt(8)], begun + 3_600_000);
    await broker.dead.publish('a', [letterAt(7)], begun);
    expect(await held()).toEqual(['payload 7', 'payload 8']);
  });

  test('a reason for an input that has not come is not given', async () => {
    const broker = await open();
    await broker.prepare();
    const { created } = await broker.input.info();
    await forge('5', 'x', { 'Vf-Stream': created, 'Vf-Event-Id': 'mine', 'Vf-Reason': 'because' });
    await forge('-1', 'x', { 'Vf-Event-Id': 'mine', 'Vf-Reason': 'because' });
    expect(await broker.dead.find('a', 'mine')).toBeUndefined();
    for (let n = 0; n < 5; n++) await broker.input.publish('vf.in.a.vm.v.T', bytes('x'));
    expect(await broker.dead.find('a', 'mine')).toEqual({ reason: 'because' });
  });
});

describe('VF_OUT', () => {
  const outputs = (first: number, count: number): OutputMessage[] =>
    Array.from({ length: count }, (_, index) => ({
      position: first + index,
      subject: 'vf.out.a.vm.v.T',
      id: `${first + index}`,
      payload: `event ${first + index}`,
    }));
  const made = async (count: number): Promise<NatsBroker> => {
    const broker = await open();
    await broker.prepare();
    await broker.output.create('a', 1);
    await broker.output.publish('a', outputs(1, count));
    return broker;
  };
  const how = { firstSequence: 1, badPosition: 9, at: 1_700_000_000_000, log: 'a'.repeat(64) };

  test('is read as it is, with its holes', async () => {
    const broker = await made(6);
    await manager.streams.deleteMessage('VF_OUT_a', 1);
    await manager.streams.deleteMessage('VF_OUT_a', 3);
    await manager.streams.deleteMessage('VF_OUT_a', 4);
    expect(await broker.output.state('a')).toMatchObject({ firstSequence: 2, lastSequence: 6, holes: 2 });
    const at = async (from: number): Promise<readonly number[]> =>
      (await broker.output.read('a', from, 10)).map(({ position }) => position);
    expect(await at(2)).toEqual([2]);
    expect(await at(3)).toEqual([5]);
    expect(await at(5)).toEqual([5, 6]);
    expect(await at(7)).toEqual([]);
  });

  test('notes whose events it takes, and leaves what others noted there', async () => {
    const broker = await made(1);
    await manager.streams.update('VF_OUT_a', { metadata: { team: 'network' } });
    await broker.output.create('a', 1, 'b'.repeat(64));
    expect(await broker.output.state('a')).toMatchObject({ log: 'b'.repeat(64) });
    await broker.output.create('a', 1);
    expect((await manager.streams.info('VF_OUT_a')).config.metadata).toMatchObject({
      team: 'network',
      'vf-log': 'b'.repeat(64),
    });
  });

  test('made again, its durable consumers go on where they stood', async () => {
    const broker = await made(10);
    const durable = { ack_policy: AckPolicy.Explicit, filter_subject: 'vf.out.a.vm.>' };
    const noted = { metadata: { team: 'billing' } };
    await manager.streams.update('VF_OUT_a', { metadata: { team: 'network' } });
    await manager.consumers.add('VF_OUT_a', { durable_name: 'half', ...durable, ...noted });
    await manager.consumers.add('VF_OUT_a', { durable_name: 'beyond', ...durable });
    await manager.consumers.add('VF_OUT_a', { durable_name: 'new', ...durable });
    await manager.consumers.add('VF_OUT_a', { name: 'passing', ack_policy: AckPolicy.None });
    const take = async (name: string, count: number): Promise<readonly number[]> => {
      const consumer = await jetstream(tools).consumers.get('VF_OUT_a', name);
      const taken: number[] = [];
      while (taken.length < count) {
        const message = await consumer.next({ expires: 5_000 });
        if (message === null) throw new Error(`${name} has no more than ${taken.join(', ')}`);
        if (!(await message.ackAck())) throw new Error('the acknowledgement was not taken');
        taken.push(message.seq);
      }
      return taken;
    };
    await take('half', 4);
    await take('beyond', 10);
    // Position 9 was a stranger's, so who has read it reads it again.
    const consumers = await broker.output.remake('a', how);
    expect(consumers.kept.toSorted()).toEqual(['beyond', 'half', 'new']);
    expect(consumers.lost).toEqual([]);
    expect(await broker.output.state('a')).toMatchObject({
      lastSequence: 0,
      restoring: true,
      remadeAt: how.at,
      log: how.log,
    });
    await broker.output.publish('a', outputs(1, 5));
    // Whoever made it again may be gone by now; and it may have to be made again meanwhile.
    const other = await open();
    expect((await other.output.remake('a', { ...how, at: how.at + 1 })).kept).toHaveLength(3);
    await other.output.publish('a', outputs(1, 11));
    await other.output.restoreConsumers('a');
    expect(await take('half', 7)).toEqual([5, 6, 7, 8, 9, 10, 11]);
    expect(await take('beyond', 3)).toEqual([9, 10, 11]);
    expect(await take('new', 2)).toEqual([1, 2]);
    const { config } = await manager.consumers.info('VF_OUT_a', 'half');
    expect(config).toMatchObject({ ...durable, ...noted });
    expect((await manager.streams.info('VF_OUT_a')).config.metadata).toMatchObject({ team: 'network' });
    expect(await other.output.state('a')).toMatchObject({ restoring: false });
  });

  test('a consumer that its owner has made again is left to him', async () => {
    const broker = await made(3);
    await manager.consumers.add('VF_OUT_a', { durable_name: 'mine', ack_policy: AckPolicy.Explicit });
    await broker.output.remake('a', how);
    await manager.consumers.add('VF_OUT_a', { durable_name: 'mine', ack_policy: AckPolicy.None });
    await broker.output.restoreConsumers('a');
    expect((await manager.consumers.info('VF_OUT_a', 'mine')).config.ack_policy).toBe('none');
    expect(await broker.output.state('a')).toMatchObject({ restoring: false });
  });
});

describe('the streams that all share', () => {
  test('limits that others set are taken back', async () => {
    const broker = await open();
    await broker.prepare();
    await manager.streams.update('VF_IN', { max_msgs: 5, max_msgs_per_subject: 1, discard: 'old' as never });
    await broker.check();
    expect((await manager.streams.info('VF_IN')).config).toMatchObject({
      max_msgs: -1,
      max_msgs_per_subject: -1,
      discard: 'new',
    });
  });

  test.each([
    ['of another kind', { subjects: ['vf.in.>'], retention: 'workqueue' as const }, /drops what was read/],
    ['of other subjects', { subjects: ['vf.in.a.>'] }, /stores vf.in.a.> instead of/],
    ['that others fill', { mirror: { name: 'VF_DEAD' } }, /instead of vf.in.>|filled from other/],
  ])('VF_IN %s is said', async (_what, config, sentence) => {
    const broker = await open();
    await broker.prepare();
    await manager.streams.delete('VF_IN');
    await manager.streams.add({ name: 'VF_IN', ...config });
    await expect(broker.check()).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(sentence),
    });
  });

  test('one that is deleted is made again', async () => {
    const broker = await open();
    await broker.prepare();
    await manager.streams.delete('VF_DEAD');
    await broker.check();
    await manager.streams.info('VF_DEAD');
  });

  test('a VF_IN that is full is said', async () => {
    const broker = await open({ streams: { inputMaxBytes: 4_096 } });
    await broker.prepare();
    await broker.check();
    const fill = async (): Promise<never> => {
      for (;;) await broker.input.publish('vf.in.a.vm.v.T', new Uint8Array(200));
    };
    await expect(fill()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(broker.check()).rejects.toMatchObject({ message: expect.stringMatching(/VF_IN is full/) });
  });
});
