import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { jetstreamManager, type JetStreamManager, type StreamConfig } from '@nats-io/jetstream';
import { connect, createInbox, type NatsConnection } from '@nats-io/transport-node';
import { freeze, TestServers, type TestServer } from '#broker/test-servers';
import { emptyHead, type Head } from '../chain.js';
import { isTransient, LogError } from '../errors.js';
import type { StoredDecision, StoredRecord } from '../record.js';
import { collect, headAfter, sampleDecisions, type SampleOptions } from '../sample-records.js';
import { JetStreamLog, type JetStreamLogOptions } from './jetstream-log.js';
import { JsConnection } from './js-connection.js';
import { LogReader } from './log-reader.js';
import { logPlan } from './log-stream.js';
import { openJetStreamLog, replaceLog, untilIn } from './log-under-test.js';

const servers = new TestServers();
const opened: JetStreamLog[] = [];
const connections: NatsConnection[] = [];
let number = 0;
let stream: string;

afterAll(() => servers.end(), 60_000);
beforeEach(() => {
  stream = `faults-${++number}`;
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((log) => log.close()));
  await Promise.all(connections.splice(0).map((connection) => connection.close()));
}, 60_000);

const openLog = async (
  url: string,
  options: Omit<JetStreamLogOptions, 'connection'> = {},
): Promise<JetStreamLog> => {
  const log = await openJetStreamLog(url, { patience: 0, ...options });
  opened.push(log);
  return log;
};

/** Somebody with NATS's own tools. */
const tools = async (url: string): Promise<{ connection: NatsConnection; manager: JetStreamManager }> => {
  const connection = await connect({ servers: url });
  connections.push(connection);
  return { connection, manager: await jetstreamManager(connection, { checkAPI: false }) };
};

const add = async (log: JetStreamLog, options?: SampleOptions): Promise<StoredRecord[]> => {
  const head = await log.head(stream);
  const decisions = sampleDecisions(head, options);
  await log.append(stream, head.position, decisions);
  return decisions.flat();
};

const failureOf = async (call: Promise<unknown>): Promise<LogError> => {
  const error = await call.then(
    () => new Error('it did not fail'),
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(LogError);
  return error as LogError;
};

describe('JetStreamLog on one server', () => {
  let server: TestServer;
  let url: string;

  beforeAll(async () => {
    server = await servers.start({ maxPayload: 256 * 1024 });
    ({ url } = server);
  });

  describe('the stream', () => {
    test('is made so that nothing in it can be deleted', async () => {
      await add(await openLog(url));
      const { manager } = await tools(url);
      const { config } = await manager.streams.info(`VF_LOG_${stream}`);
      expect(config).toMatchObject({
        subjects: [`vf.log.${stream}`],
        retention: 'limits',
        discard: 'new',
        storage: 'file',
        num_replicas: 1,
        deny_delete: true,
        deny_purge: true,
        allow_rollup_hdrs: false,
        max_msgs: -1,
        max_bytes: -1,
        max_age: 0,
      });
      await expect(manager.streams.purge(`VF_LOG_${stream}`)).rejects.toThrow(/not permitted|purge/);
      await expect(manager.streams.deleteMessage(`VF_LOG_${stream}`, 1)).rejects.toThrow(
        /not permitted|delete/,
      );
    });

    const others: [what: string, change: Partial<StreamConfig>, says: RegExp][] = [
      ['drops the oldest', { max_msgs: 10 }, /max_msgs is 10 and must be -1/],
      ['lets messages be deleted', { deny_delete: false }, /deny_delete is false/],
      ['is in memory', { storage: 'memory' as StreamConfig['storage'] }, /storage is "memory"/],
    ];
    test.each(others)('that is there and %s is refused, and left as it is', async (_what, change, says) => {
      const { manager } = await tools(url);
      await manager.streams.add({ ...logPlan(stream, 1), ...change });
      const log = await openLog(url);
      const [decision] = sampleDecisions(emptyHead(stream));
      for (const call of [
        log.head(stream),
        log.append(stream, 0, [decision!]),
        collect(log.read(stream, 1)),
      ]) {
        const error = await failureOf(call);
        expect(error).toMatchObject({ code: 'NOT_ALLOWED' });
        expect(error.message).toMatch(says);
      }
      expect((await manager.streams.info(`VF_LOG_${stream}`)).state.messages).toBe(0);
    });

    test('with more replicas than there are servers is refused with what to do', async () => {
      const log = await openLog(url, { replicas: 3 });
      const error = await failureOf(log.append(stream, 0, sampleDecisions(emptyHead(stream))));
      expect(error).toMatchObject({ code: 'NOT_ALLOWED' });
      expect(error.message).toContain('VF_NATS_REPLICAS');
    });

    test('whose subject another stream takes is refused with what to do', async () => {
      const { manager } = await tools(url);
      await manager.streams.add({ name: 'GREEDY', subjects: [`vf.log.${stream}`] });
      const log = await openLog(url);
      const error = await failureOf(log.append(stream, 0, sampleDecisions(emptyHead(stream))));
      expect(error).toMatchObject({ code: 'NOT_ALLOWED' });
      await manager.streams.delete('GREEDY');
    });

    test('a name that NATS could not keep apart is a bug of the caller', async () => {
      const log = await openLog(url);
      await expect(log.head('a.b')).rejects.toThrow(TypeError);
      await expect(log.append('*', 0, sampleDecisions(emptyHead('*')))).rejects.toThrow(TypeError);
    });
  });

  describe('messages', () => {
    test('an append that is too large for one is split between decisions', async () => {
      const log = await openLog(url);
      const all = await add(log, { decisions: 12, events: 3, data: 'x'.repeat(20_000) });
      const { manager } = await tools(url);
      const { state } = await manager.streams.info(`VF_LOG_${stream}`);
      expect(state.messages).toBeGreaterThan(2);
      expect(state.messages).toBeLessThan(12);
      expect(await collect(log.read(stream, 1))).toEqual(all);
      for (const from of [2, 17, 36]) {
        const { position, hash } = all[from - 2]!;
        expect(await collect(log.read(stream, from, { verify: { position, hash } }))).toEqual(
          all.slice(from - 1),
        );
      }
    });

    test('a decision that alone is too large is compressed, whole', async () => {
      const log = await openLog(url);
      const all = await add(log, { events: 30, data: 'ä'.repeat(20_000) });
      all.push(...(await add(log)));
      expect((await (await tools(url)).manager.streams.info(`VF_LOG_${stream}`)).state.messages).toBe(2);
      expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
      expect(await log.head(stream)).toEqual({ position: 31, hash: all[30]!.hash });
    });

    test('one that is too large even so is refused with what to do, and writes nothing', async () => {
      const log = await openLog(url);
      const noise = randomBytes(600_000).toString('base64');
      const error = await failureOf(
        log.append(stream, 0, sampleDecisions(emptyHead(stream), { data: noise })),
      );
      expect(error).toMatchObject({ code: 'NOT_ALLOWED', position: 1 });
      expect(error.message).toContain('max_payload');
      expect((await log.head(stream)).position).toBe(0);
    });

    test.each([
      ['cut short', (data: string) => data.slice(0, -10), 'CORRUPT'],
      ['with another first position', (data: string) => data.replace('"from":1', '"from":5'), 'CORRUPT'],
      [
        'with a first line that is damaged',
        (data: string) => data.replace('"lengths":[', '"lengths":[-7,'),
        'CORRUPT',
      ],
      ['of a newer release', (data: string) => data.replace('"vfLog":1', '"vfLog":2'), 'NOT_ALLOWED'],
    ])('%s are refused', async (_what, change, code) => {
      const log = await openLog(url);
      await add(log);
      const { manager, connection } = await tools(url);
      const stored = (await manager.streams.getMessage(`VF_LOG_${stream}`, { seq: 1 }))!.string();
      await replaceLog(url, stream, []);
      await connection.request(`vf.log.${stream}`, change(stored));
      expect(await failureOf(collect(log.read(stream, 1)))).toMatchObject({ code });
    });
  });

  describe('a stream that is not the one it was', () => {
    test('deleted: a writer that goes on is refused, and makes no new one', async () => {
      const log = await openLog(url);
      const [record] = await add(log);
      const { manager } = await tools(url);
      await manager.streams.delete(`VF_LOG_${stream}`);
      const next = sampleDecisions(record!);
      // What nobody hears may be a leader that moves; that the stream is gone the same append says after that.
      for (;;) {
        const error = await failureOf(log.append(stream, 1, next));
        if (error.code === 'UNAVAILABLE') continue;
        expect(error).toMatchObject({ code: 'WRONG_POSITION', position: 0 });
        break;
      }
      expect(await log.streams()).not.toContain(stream);
    });

    test('made again with as many messages: a writer that knows the old one is refused', async () => {
      // What it knows is a moment old, which is as long as it is trusted here.
      const log = await openLog(url, { trustFor: 0 });
      const all = await add(log, { decisions: 2 });
      const others = sampleDecisions(emptyHead(stream), { decisions: 2, data: 'other' }).flat();
      await replaceLog(url, stream, others);
      const next = sampleDecisions(headAfter(emptyHead(stream), [all]));
      expect(await failureOf(log.append(stream, 2, next))).toMatchObject({
        code: 'WRONG_POSITION',
        position: 2,
      });
      expect(await collect(log.read(stream, 1))).toEqual(others);
    });

    test('a follower of the old one says so and does not go on in the new one', async () => {
      const log = await openLog(url, { pollInterval: 50 });
      const all = await add(log, { decisions: 2 });
      const { signal } = new AbortController();
      const iterator = log.follow(stream, 0, signal)[Symbol.asyncIterator]();
      expect((await iterator.next()).value).toEqual(all);
      const waiting = failureOf(iterator.next());
      await replaceLog(
        url,
        stream,
        sampleDecisions(emptyHead(stream), { decisions: 4, data: 'other' }).flat(),
      );
      const error = await waiting;
      expect(error).toMatchObject({ code: 'CORRUPT', position: 3 });
      expect(error.message).toMatch(/made again|deleted/);
    });
  });

  describe('a leader that was just elected, and does not know the end yet', () => {
    /** A reader of what is stored on a real server, which is told of its end what the test says. */
    const told = async (from: number, verify: Head, ends: readonly number[]): Promise<LogReader> => {
      const { connection, manager } = await tools(url);
      const { created } = await manager.streams.info(`VF_LOG_${stream}`);
      let asked = 0;
      class OfThree extends JsConnection {
        override get settles(): number {
          return 500;
        }
      }
      return new LogReader(new OfThree(connection, 1_000), stream, from, { verify }, () =>
        Promise.resolve({ created, sequence: ends[Math.min(asked++, ends.length - 1)]! }),
      );
    };

    test('it is asked again before what was read counts as lost', async () => {
      const log = await openLog(url);
      const all = [...(await add(log)), ...(await add(log)), ...(await add(log))];
      const reader = await told(1, emptyHead(stream), [2, 2, 1, 1, 3]);
      const first = await collect(reader.toEnd());
      expect([...first, ...(await collect(reader.toEnd()))]).toEqual(all);
    });

    test('it is asked again before a snapshot counts as ahead of its log', async () => {
      const log = await openLog(url);
      const all = [...(await add(log)), ...(await add(log)), ...(await add(log))];
      const { position, hash } = all.at(-1)!;
      const reader = await told(position + 1, { position, hash }, [1, 2, 1, 3]);
      expect(await collect(reader.toEnd())).toEqual([]);
    });

    test('what stays away is said to be lost', async () => {
      const log = await openLog(url);
      await add(log);
      await add(log);
      const reader = await told(1, emptyHead(stream), [2, 2, 1]);
      await collect(reader.toEnd());
      expect(await failureOf(collect(reader.toEnd()))).toMatchObject({
        code: 'CORRUPT',
        message: expect.stringContaining('ends at 1, and 2 was read'),
      });
    });
  });

  test('backed up as the server does it, and restored: the same log, and a writer that was ahead of it is refused', async () => {
    const log = await openLog(url, { trustFor: 0 });
    const all = await add(log, { decisions: 5, events: 2, data: 'x'.repeat(10_000) });
    const { connection, manager } = await tools(url);
    const name = `VF_LOG_${stream}`;
    const { config } = await manager.streams.info(name);
    const backup = await backUp(connection, name);
    const lost = sampleDecisions(headAfter(emptyHead(stream), [all]), { data: 'after the backup' });
    await log.append(stream, 10, lost);

    await manager.streams.delete(name);
    await restore(connection, name, config, backup);
    expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
    expect((await manager.streams.info(name)).config).toMatchObject({ deny_delete: true, deny_purge: true });
    const next = sampleDecisions(headAfter(emptyHead(stream), [...[all], ...lost]));
    expect(await failureOf(log.append(stream, 11, next))).toMatchObject({
      code: 'WRONG_POSITION',
      position: 10,
    });
    await log.append(stream, 10, lost);
    expect(await collect(log.read(stream, 1))).toEqual([...all, ...lost.flat()]);
  });

  describe('snapshots', () => {
    const snapshot = (position: number, size = 10) => ({
      position,
      hash: 'c'.repeat(64),
      version: '1',
      state: randomBytes(size).toString('base64'),
    });

    test('in several pieces come back, one that lost a piece is left out, and without the stream there are none', async () => {
      const log = await openLog(url);
      const [older, newer] = [snapshot(1, 1_000_000), snapshot(2, 1_000_000)];
      await log.saveSnapshot(stream, older);
      await log.saveSnapshot(stream, newer);
      expect(await log.snapshots(stream)).toEqual([newer, older]);
      const { manager } = await tools(url);
      const { state } = await manager.streams.info(`VF_SNAPSHOT_${stream}`);
      expect(state.messages).toBeGreaterThan(8);
      await manager.streams.deleteMessage(`VF_SNAPSHOT_${stream}`, state.last_seq - 2);
      expect(await log.snapshots(stream)).toEqual([older]);
      await manager.streams.delete(`VF_SNAPSHOT_${stream}`);
      expect(await log.snapshots(stream)).toEqual([]);
      await log.saveSnapshot(stream, newer);
      expect(await log.snapshots(stream)).toEqual([newer]);
    });

    test('one that was not finished is not there, and its pieces do no harm', async () => {
      const log = await openLog(url);
      await log.saveSnapshot(stream, snapshot(1));
      const { connection } = await tools(url);
      await connection.request(`vf.snapshot.${stream}.2-unfinished`, 'a piece');
      const last = snapshot(3);
      await log.saveSnapshot(stream, last);
      expect((await log.snapshots(stream)).map(({ position }) => position)).toEqual([3, 1]);
    });
  });

  test('a server that does not answer: the outcome is unknown, and the same append again finds it in', async () => {
    const log = await openLog(url, { requestTimeout: 400 });
    const [record] = await add(log);
    const next = sampleDecisions(record!, { decisions: 2 });
    await freeze(server.pid);
    try {
      expect(await failureOf(log.append(stream, 1, next))).toMatchObject({ code: 'OUTCOME_UNKNOWN' });
      expect(await failureOf(log.head(stream))).toMatchObject({ code: 'UNAVAILABLE' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    const other = await openLog(url);
    while ((await other.head(stream)).position < 3);
    await log.append(stream, 1, next);
    expect(await collect(log.read(stream, 2))).toEqual(next.flat());
  });
});

describe('JetStreamLog, whose server dies', () => {
  test('kill -9 under load, twice: what was acknowledged is there, appends and followers go on', async () => {
    let server = await servers.start();
    const log = await openLog(server.url, { requestTimeout: 1_000 });
    const stop = new AbortController();
    const followed: StoredRecord[] = [];
    const following = (async () => {
      for await (const records of log.follow(stream, 0, stop.signal)) followed.push(...records);
    })();
    let head = emptyHead(stream);
    const wrote: StoredDecision[] = [];
    let failed = 0;
    const append = async (): Promise<void> => {
      const decisions = sampleDecisions(head, { decisions: 3, data: wrote.length });
      failed += (await untilIn(log, stream, head.position, decisions)).length;
      wrote.push(...decisions);
      head = headAfter(head, decisions);
    };
    for (let kill = 0; kill < 2; kill++) {
      for (let round = 0; round < 30; round++) await append();
      const doubtful = append();
      server = await servers.killAndRestart(server);
      await doubtful;
    }
    expect(failed).toBeGreaterThan(0);
    expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(wrote.flat());
    while (followed.length < wrote.length) await new Promise((resolve) => setImmediate(resolve));
    expect(followed).toEqual(wrote.flat());
    stop.abort();
    await following;
  }, 60_000);
});

describe('JetStreamLog without room', () => {
  /** Appends until it is refused. @returns what is in, and the decision that is not. */
  const fill = async (
    log: JetStreamLog,
  ): Promise<{ good: StoredRecord[]; error: LogError; last: StoredDecision[] }> => {
    const good: StoredRecord[] = [];
    for (let head = emptyHead(stream); ;) {
      const last = sampleDecisions(head, { data: randomBytes(60_000).toString('base64') });
      try {
        await log.append(stream, head.position, last);
      } catch (error) {
        return { good, error: error as LogError, last };
      }
      good.push(...last.flat());
      head = headAfter(head, last);
    }
  };

  test('beyond what JetStream may store: FULL, nothing is lost, and with more room it goes on', async () => {
    const server = await servers.start({ maxFileStore: 2 << 20 });
    const log = await openLog(server.url);
    const { good, error, last } = await fill(log);
    expect(error).toMatchObject({ name: 'LogError', code: 'FULL' });
    expect(error.message).toContain('max_file_store');
    expect(await collect(log.read(stream, 1))).toEqual(good);
    await server.stop();
    await servers.start({
      dataDir: server.dataDir,
      port: Number(new URL(server.url).port),
      maxFileStore: 64 << 20,
    });
    await untilIn(log, stream, good.length, last);
    expect(await collect(log.read(stream, 1))).toEqual([...good, ...last.flat()]);
  }, 60_000);

  test('on a disk that is full: nothing acknowledged is lost, and with more room it goes on', async () => {
    const disk = await servers.directory();
    if (!mounted(disk, 'size=3m')) return;
    try {
      const dataDir = join(disk, 'data');
      await mkdir(dataDir);
      const server = await servers.start({ dataDir });
      const log = await openLog(server.url, { requestTimeout: 1_000 });
      const { good, error, last } = await fill(log);
      // nats-server switches its JetStream off when it hits a full disk, so that this is the last it says.
      expect(error).toMatchObject({ name: 'LogError' });
      expect(isTransient(error)).toBe(true);
      await server.stop();
      execFileSync('mount', ['-o', 'remount,size=32m', disk]);
      const again = await servers.start({ dataDir, port: Number(new URL(server.url).port) });
      await untilIn(log, stream, good.length, last);
      expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual([
        ...good,
        ...last.flat(),
      ]);
      await log.close();
      await again.stop();
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  }, 60_000);
});

/** Mounts a small disk; only root may. */
function mounted(directory: string, size: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'none', directory], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('left out: this user may not mount a small disk');
    return false;
  }
}

interface Backup {
  readonly state: object;
  readonly chunks: readonly Uint8Array[];
}

/** What `nats stream backup` does: the server's own snapshot of a stream. */
async function backUp(connection: NatsConnection, name: string): Promise<Backup> {
  const inbox = createInbox();
  const chunks: Uint8Array[] = [];
  const whole = new Promise<void>((resolve) => {
    connection.subscribe(inbox, {
      callback: (_error, message) => {
        if (message.data.length === 0) return resolve();
        chunks.push(message.data.slice());
        message.respond();
      },
    });
  });
  const answer = await connection.request(
    `$JS.API.STREAM.SNAPSHOT.${name}`,
    JSON.stringify({ deliver_subject: inbox, chunk_size: 64 * 1024 }),
  );
  const { state } = answer.json<{ state: object }>();
  await whole;
  return { state, chunks };
}

/** What `nats stream restore` does. */
async function restore(
  connection: NatsConnection,
  name: string,
  config: StreamConfig,
  { state, chunks }: Backup,
): Promise<void> {
  const answer = await connection.request(
    `$JS.API.STREAM.RESTORE.${name}`,
    JSON.stringify({ config, state }),
  );
  const { deliver_subject: subject } = answer.json<{ deliver_subject: string }>();
  for (const chunk of chunks) await connection.request(subject, chunk);
  const done = await connection.request(subject, new Uint8Array(), { timeout: 10_000 });
  expect(done.json<{ error?: unknown }>().error).toBeUndefined();
}
