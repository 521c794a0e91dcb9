import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, headers, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { TestServers, type TestServer } from '#broker/test-servers';
import { emptyHead, type Head } from '../chain.js';
import { copyStream } from '../copy.js';
import { LogError } from '../errors.js';
import { MemoryLog } from '../memory-log.js';
import type { StoredRecord } from '../record.js';
import { collect, headAfter, sampleDecisions, type SampleOptions } from '../sample-records.js';
import { verifyStream } from '../verify.js';
import { batchMessages } from './batch-message.js';
import { JetStreamLog } from './jetstream-log.js';
import { logPlan } from './log-stream.js';
import { openJetStreamLog } from './log-under-test.js';

const servers = new TestServers();
const opened: JetStreamLog[] = [];
let server: TestServer;
let connection: NatsConnection;
let manager: JetStreamManager;
let number = 0;
let stream: string;

beforeAll(async () => {
  server = await servers.start();
  connection = await connect({ servers: server.url });
  manager = await jetstreamManager(connection, { checkAPI: false });
});
afterAll(async () => {
  await connection.close();
  await servers.end();
}, 60_000);
beforeEach(() => {
  stream = `strangers-${++number}`;
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((log) => log.close()));
});

/** As another process opens it, which knows nothing. */
const openLog = async (): Promise<JetStreamLog> => {
  const log = await openJetStreamLog(server.url, { patience: 0, trustFor: 0 });
  opened.push(log);
  return log;
};

const add = async (log: JetStreamLog, options?: SampleOptions, to = stream): Promise<StoredRecord[]> => {
  const head = await log.head(to);
  const decisions = sampleDecisions(head, options);
  await log.append(to, head.position, decisions);
  return decisions.flat();
};

/** Somebody who may publish there. @returns the sequence. */
const publish = async (data: Uint8Array | string, hdrs?: MsgHdrs, to = stream): Promise<number> => {
  const answer = await connection.request(`vf.log.${to}`, data, {
    timeout: 5_000,
    ...(hdrs && { headers: hdrs }),
  });
  const { seq } = answer.json<{ seq?: number }>();
  expect(seq).toBeDefined();
  return seq!;
};

const lastSequence = async (): Promise<number> =>
  (await manager.streams.info(`VF_LOG_${stream}`)).state.last_seq;

const stored = async (sequence: number, of = stream): Promise<string> =>
  (await manager.streams.getMessage(`VF_LOG_${of}`, { seq: sequence }))!.string();

const withHeaders = (fields: Readonly<Record<string, string>>, code?: number): MsgHdrs => {
  const hdrs = headers(code ?? 0, code === undefined ? '' : 'said by a stranger');
  for (const [name, value] of Object.entries(fields)) hdrs.set(name, value);
  return hdrs;
};

const failureOf = async (call: Promise<unknown>): Promise<LogError> => {
  const error = await call.then(
    () => new Error('it did not fail'),
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(LogError);
  return error as LogError;
};

/** A batch behind a head, as an allocator would send it. */
const batchBehind = async (head: Head, options?: SampleOptions, of = stream): Promise<Buffer> => {
  for await (const { data } of batchMessages(of, head, sampleDecisions(head, options), 1 << 20))
    return Buffer.from(data);
  throw new Error('no batch');
};

/** Titles, and what is behind them, with no record in it. */
const junk = (from: number, previous: string, more: object = {}): string =>
  `${JSON.stringify({ vfLog: 1, from, lengths: [2, -1], ...more })}\n${previous}\n{}${'f'.repeat(64)}`;

interface Situation {
  readonly head: Head;
  /** What was stored last. */
  readonly last: string;
  /** What was stored first. */
  readonly first: string;
  /** Of a cluster of the same length, the batch that follows it. */
  readonly others: string;
}
type Attack = (situation: Situation) => Promise<unknown> | Promise<unknown>[];

const ATTACKS: Readonly<Record<string, Attack>> = {
  'a word': () => publish('hello'),
  nothing: () => publish(''),
  'a line alone': () => publish('\n'),
  'a megabyte of noise': () => publish(randomBytes((1 << 20) - 512)),
  'JSON of another kind': () => publish('{"type":"VmStarted"}\n{"and":"more"}'),
  'null, and a number, as a title': async () => [await publish('null\nx'), await publish('1\nx')],
  'JSON that is deep': () => publish(`${'['.repeat(500_000)}${']'.repeat(500_000)}\n`),
  'a title that is deep': () => publish(`{"vfLog":1,"from":${'['.repeat(400_000)}\n`),
  'a title alone': ({ head }) => publish(`{"vfLog":1,"from":${head.position + 1},"lengths":[2,-1]}\n`),
  'a newer format': ({ head }) => publish(`{"vfLog":2,"from":${head.position + 1}}\n${'0'.repeat(64)}`),
  'a format that is no number': () => publish('{"vfLog":"1"}\n'),
  'a copy of the first batch': ({ first }) => publish(first),
  'a copy of the last batch': ({ last }) => publish(last),
  'a copy that is cut short': ({ last }) => publish(last.slice(0, -20)),
  'a copy that is altered': ({ last }) => publish(last.replace('Sampled', 'Simpled')),
  'a copy moved to the next position': ({ last, head }) =>
    publish(last.replace(/"from":\d+/, `"from":${head.position + 1}`)),
  'the next batch of another cluster': ({ others }) => publish(others),
  'a junk record at the next position': ({ head }) => publish(junk(head.position + 1, '0'.repeat(64))),
  'a junk record at a position far away': () => publish(junk(2 ** 53 - 1, 'f'.repeat(64))),
  'a position that is none': () => publish(junk(-1, '0'.repeat(64)).replace('-1', '1e999')),
  'lengths that are huge': ({ head }) =>
    publish(junk(head.position + 1, '0'.repeat(64), { lengths: [2 ** 53, 2 ** 53] })),
  'lengths that overflow': ({ head }) =>
    publish(junk(head.position + 1, '0'.repeat(64), { lengths: [2 ** 32 + 2, -1] })),
  'gzip that is none': ({ head }) => publish(junk(head.position + 1, '0'.repeat(64), { encoding: 'gzip' })),
  'gzip that unfolds to a lot': ({ head }) => {
    const size = 60 << 20;
    const title = { vfLog: 1, from: head.position + 1, lengths: [size - 129, -1], encoding: 'gzip' };
    const bomb = Buffer.concat([
      Buffer.from(`${JSON.stringify(title)}\n`),
      gzipSync(Buffer.alloc(size, '0')),
    ]);
    return publish(bomb);
  },
  'a batch with headers of its own': ({ last }) =>
    publish(last, withHeaders({ 'Nats-Sequence': '1', 'Nats-Stream': 'VF_LOG_x' })),
  'a message that says the sequence it comes behind': async () => {
    const before = String(await lastSequence());
    return publish('hello', withHeaders({ 'Nats-Expected-Last-Sequence': before }));
  },
  'the status of a server without a leader': () => publish('hello', withHeaders({}, 503)),
  'the status of an error': () => publish('hello', withHeaders({}, 500)),
  'the status of the end of a batch': () => publish('hello', withHeaders({}, 204)),
};

describe('JetStreamLog, in whose stream strangers publish', () => {
  test.each(Object.entries(ATTACKS))(
    '%s is passed over by every reader, and appends go on',
    async (_what, attack) => {
      const writer = await openLog();
      const other = `${stream}-other`;
      const all = await add(writer, { decisions: 2, events: 2 });
      all.push(...(await add(writer, { events: 2 })));
      await add(writer, { decisions: 3, events: 2, data: 'other' }, other);
      await add(writer, { data: 'other' }, other);
      const situation: Situation = {
        head: headAfter(emptyHead(stream), [all]),
        first: await stored(1),
        last: await stored(2),
        others: await stored(2, other),
      };
      const stop = new AbortController();
      const follower = (await openLog()).follow(stream, 0, stop.signal, { verify: emptyHead(stream) });
      const iterator = follower[Symbol.asyncIterator]();
      const followed: StoredRecord[] = [];
      const follow = async (upTo: number): Promise<void> => {
        while (followed.length < upTo) followed.push(...((await iterator.next()).value as StoredRecord[]));
      };
      await follow(6);

      const before = await lastSequence();
      await attack(situation);
      const strange = (await lastSequence()) - before;
      expect(strange).toBeGreaterThan(0);
      // It is the last of the stream, for who knows the log and for who does not.
      for (const log of [writer, await openLog()]) {
        expect(await log.head(stream)).toEqual(situation.head);
        expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
      }
      all.push(...(await add(await openLog(), { events: 2 })));
      await attack(situation);
      all.push(...(await add(writer, { decisions: 2 })));
      await follow(all.length);
      expect(followed).toEqual(all);
      stop.abort();

      const reader = await openLog();
      for (const from of [1, 4, 7, all.length + 1]) {
        const rest = all.slice(from - 1);
        const verify = headAfter(emptyHead(stream), [all.slice(0, from - 1)]);
        for (const log of [writer, await openLog()]) {
          expect(await collect(log.read(stream, from))).toEqual(rest);
          expect(await collect(log.read(stream, from, { verify, inputs: true }))).toEqual(rest);
        }
      }
      expect(await verifyStream(reader, stream)).toMatchObject({ ok: true, events: all.length });
      expect(reader.passedOver(stream)).toMatchObject({ count: 2 * strange });
      expect(reader.passedOver(stream)!.last[0]).toEqual({
        sequence: before + 1,
        message: expect.stringContaining(
          `message ${before + 1} of VF_LOG_${stream} is no batch of the scheduler's: `,
        ),
      });
      const copy = new MemoryLog();
      const { head, damage } = await copyStream(reader, copy, stream);
      expect([head, damage]).toEqual([await writer.head(stream), undefined]);
      await copy.close();
    },
  );

  test('a batch of junk that names the last hash stops nobody who knows the log; others, until the log goes on', async () => {
    const said: string[] = [];
    const writer = await openJetStreamLog(server.url, {
      patience: 0,
      trustFor: 0,
      onPassedOver: (message) => said.push(message),
    });
    opened.push(writer);
    const all = await add(writer, { decisions: 2 });
    const head = headAfter(emptyHead(stream), [all]);
    // Those that follow do not verify, as the read side does not: one from the beginning, one that knows nothing before.
    const stop = new AbortController();
    const followers = await Promise.all(
      [0, 1].map(async (after) => {
        const iterator = (await openLog()).follow(stream, after, stop.signal)[Symbol.asyncIterator]();
        expect((await iterator.next()).value).toEqual(all.slice(after));
        return iterator;
      }),
    );
    const next = followers.map((iterator) => iterator.next());
    // One that is of no form, one whose record does not hash, one whose second record does not.
    const forged = await batchBehind(head, { decisions: 2 });
    const text = forged.toString('latin1');
    await publish(text.slice(0, -5));
    await publish(junk(3, head.hash));
    await publish(`${text.slice(0, -64)}${'0'.repeat(64)}`);
    await publish(junk(4, head.hash));
    await publish(`{"vfLog":7,"from":3}\n${'1'.repeat(64)}`);

    const stranger = await openLog();
    const error = await failureOf(collect(stranger.read(stream, 1, { verify: emptyHead(stream) })));
    expect(error).toMatchObject({ code: 'CORRUPT', position: 3 });
    expect(error.message).toContain(`vf.log.${stream}`);
    expect(await writer.head(stream)).toEqual(head);
    all.push(...(await add(writer)));
    for (const log of [writer, stranger, await openLog()]) {
      expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
      expect(log.passedOver(stream)?.count).toBe(5);
    }
    expect(said).toHaveLength(5);
    for (const found of next) expect((await found).value).toEqual(all.slice(2));
    stop.abort();
  });

  test('a batch that a newer release wrote is not passed over', async () => {
    const writer = await openLog();
    const all = await add(writer);
    const newer = (await batchBehind(all[0]!)).toString().replace('"vfLog":1', '"vfLog":2');
    await publish(newer);
    expect(await failureOf(writer.head(stream))).toMatchObject({ code: 'NOT_ALLOWED' });
    expect(await failureOf(collect((await openLog()).read(stream, 1)))).toMatchObject({
      code: 'NOT_ALLOWED',
    });
  });

  test('a run of batches of another cluster that is appended as ours are: who has looked at all of it finds each position', async () => {
    const log = await openLog();
    const other = `${stream}-other`;
    const all: StoredRecord[] = [];
    for (let batch = 0; batch < 90; batch++) await add(log, { data: batch }, other);
    for (let batch = 0; batch < 60; batch++) all.push(...(await add(log, { data: `own ${batch}` })));
    for (let from = 1; from <= 90; from++) {
      const expected = withHeaders({ 'Nats-Expected-Last-Sequence': String(await lastSequence()) });
      await publish(await stored(from, other), expected);
      if (from % 3 === 0) all.push(...(await add(log, { data: `own, between ${from}` })));
    }
    const reader = await openLog();
    const deadline = performance.now() + 20_000;
    while (reader.passedOver(stream)?.count !== 90) {
      expect(performance.now()).toBeLessThan(deadline);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const one of [log, reader]) {
      expect(await one.head(stream)).toEqual(headAfter(emptyHead(stream), [all]));
      for (const from of [2, 40, 61, 70, 89]) {
        expect(await collect(one.read(stream, from))).toEqual(all.slice(from - 1));
      }
    }
    // Who knows a hash needs no look at all of it.
    for (const from of [2, 40, 61, 70, 89]) {
      const verify = headAfter(emptyHead(stream), [all.slice(0, from - 1)]);
      expect(await collect((await openLog()).read(stream, from, { verify }))).toEqual(all.slice(from - 1));
    }
  }, 30_000);

  test('what lies in a stream before the first batch is passed over, and a whole log of another cluster', async () => {
    const log = await openLog();
    const other = `${stream}-other`;
    for (let batch = 0; batch < 50; batch++) await add(log, { data: batch }, other);
    await manager.streams.add(logPlan(stream, 1));
    for (let sequence = 1; sequence <= 50; sequence++) await publish(await stored(sequence, other));
    expect(await log.head(stream)).toEqual(emptyHead(stream));
    const all: StoredRecord[] = [];
    for (let batch = 0; batch < 40; batch++) all.push(...(await add(log, { data: `own ${batch}` })));
    for (const reader of [log, await openLog()]) {
      for (const from of [1, 2, 30, 40]) {
        expect(await collect(reader.read(stream, from))).toEqual(all.slice(from - 1));
      }
    }
    expect(log.passedOver(stream)?.count).toBe(50);
  });

  test('a message that is lost is still damage', async () => {
    await manager.streams.add({ ...logPlan(stream, 1), deny_delete: false });
    let head = emptyHead(stream);
    for (let batch = 0; batch < 4; batch++) {
      await publish(await batchBehind(head));
      head = headAfter(head, sampleDecisions(head));
    }
    await manager.streams.deleteMessage(`VF_LOG_${stream}`, 3);
    await manager.streams.update(`VF_LOG_${stream}`, { ...logPlan(stream, 1), deny_delete: true });
    const error = await failureOf(collect((await openLog()).read(stream, 1)));
    expect(error).toMatchObject({ code: 'CORRUPT', position: 3 });
    expect(error.message).toContain('message 3');
  });

  test('in a long log, a position and the end are found with few questions, through hundreds of them', async () => {
    const writer = await openLog();
    const all: StoredRecord[] = [];
    const strangers = async (count: number): Promise<void> => {
      const copy = await stored(1);
      for (let sent = 0; sent < count; sent++)
        connection.publish(`vf.log.${stream}`, sent % 2 ? copy : 'hello');
      await connection.flush();
    };
    for (let batch = 0; batch < 700; batch++) {
      all.push(...(await add(writer, { data: batch })));
      if (batch === 200 || batch === 400) await strangers(300);
      if (batch > 500 && batch % 10 === 0) await strangers(1);
    }
    await strangers(300);
    let questions = 0;
    const api = connection.subscribe('$JS.API.*.>', { callback: () => void questions++ });
    const asked = async (): Promise<number> => {
      await connection.flush();
      const count = questions;
      questions = 0;
      return count;
    };
    await asked();
    const known = await openLog();
    expect(await known.head(stream)).toMatchObject({ position: 700 });
    expect(await asked()).toBeLessThan(400);
    for (const from of [2, 199, 203, 402, 550, 699]) {
      const verify = headAfter(emptyHead(stream), [all.slice(0, from - 1)]);
      const log = await openLog();
      for await (const records of log.read(stream, from, { verify })) {
        expect(records[0]).toEqual(all[from - 1]);
        break;
      }
      expect(await asked()).toBeLessThan(700);
      expect(await collect(log.read(stream, from))).toEqual(all.slice(from - 1));
      await asked();
    }
    // Who has read it once knows where things are.
    await collect(known.read(stream, 1, { verify: emptyHead(stream) }));
    expect(known.passedOver(stream)).toMatchObject({ count: 919 });
    await asked();
    for (const from of [2, 300, 699]) for await (const _ of known.read(stream, from, { most: 1 })) break;
    expect(await asked()).toBeLessThan(25);
    expect(await known.head(stream)).toMatchObject({ position: 700 });
    expect(await asked()).toBeLessThan(5);
    api.unsubscribe();
  }, 60_000);

  test('without a pause, by several: two writers go on, and every append is in once', async () => {
    const one = await openLog();
    const two = await openLog();
    const all = await add(one);
    let over = false;
    const copy = await stored(1);
    // Each asks again as soon as it is answered: there are always some before an append that has looked first.
    const flood = Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        while (!over) await publish(['hello', '', copy][index % 3]!);
      }),
    );
    let head: Head = all[0]!;
    try {
      for (let append = 0; append < 25; append++) {
        const writer = append % 3 === 0 ? two : one;
        const decisions = sampleDecisions(head, { decisions: 2, data: append });
        // The same bytes by both: one of them is in, and the other finds it.
        await Promise.all([
          writer.append(stream, head.position, decisions),
          ...(append % 10 === 0 ? [two.append(stream, head.position, decisions)] : []),
        ]);
        all.push(...decisions.flat());
        head = headAfter(head, decisions);
      }
    } finally {
      over = true;
      await flood;
    }
    const reader = await openLog();
    expect(await collect(reader.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
    expect(await reader.head(stream)).toEqual(head);
    // Another history is refused in all that.
    const late = sampleDecisions(all[2]!, { data: 'late' });
    expect(await failureOf(two.append(stream, all[2]!.position, late))).toMatchObject({
      code: 'WRONG_POSITION',
    });
  }, 60_000);

  test('to where the server says that it stored something: a follower is woken, and asks no more than it should', async () => {
    const log = await openLog();
    const all = await add(log);
    const stop = new AbortController();
    const iterator = (await openLog()).follow(stream, 0, stop.signal)[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual(all);
    const next = iterator.next();
    let questions = 0;
    const api = connection.subscribe(`$JS.API.STREAM.INFO.VF_LOG_${stream}`, {
      callback: () => void questions++,
    });
    const until = performance.now() + 1_000;
    while (performance.now() < until) {
      for (let wake = 0; wake < 10; wake++) connection.publish(`vf.logged.${stream}`, 'forged');
      await connection.flush();
    }
    expect(questions).toBeLessThan(150);
    api.unsubscribe();
    const more = await add(log);
    expect((await next).value).toEqual(more);
    stop.abort();
  });

  test('into the stream of snapshots: the snapshots are there', async () => {
    const log = await openLog();
    const snapshot = { position: 1, hash: 'c'.repeat(64), version: '1', state: '{}' };
    await log.saveSnapshot(stream, snapshot);
    const manifest = {
      vfSnapshot: 1,
      position: 9,
      hash: 'd'.repeat(64),
      version: '1',
      checksum: '',
      pieces: [1],
    };
    for (const [key, data] of [
      ['a', 'hello'],
      ['b', ''],
      ['c', JSON.stringify(manifest)],
      ['d', JSON.stringify({ ...manifest, pieces: [2 ** 60, -1, 'x', null] })],
    ] as const)
      await connection.request(`vf.snapshot.${stream}.${key}`, data);
    expect(await log.snapshots(stream)).toEqual([]);
  });
});
