import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { emptyHead, type Head } from '../chain.js';
import type { LogError } from '../errors.js';
import type { StoredDecision, StoredRecord } from '../record.js';
import { collect, headAfter, sampleDecisions, type SampleOptions } from '../sample-records.js';
import { verifyStream } from '../verify.js';
import { DoubleStorage } from './double-storage.js';
import { KurrentDouble, type AppendFault, type DoubleOptions, type ReadFault } from './double.js';
import { KurrentLog, type KurrentLogOptions } from './kurrent-log.js';
import { guestStreams, removeGuestStreams } from './guest-streams.js';
import { StreamNames } from './stream-names.js';

const streamName = (cluster: string): string => new StreamNames().log(cluster);

const stream = 'c1';
const quick: KurrentLogOptions = {
  timeout: 400,
  tries: 3,
  firstWait: 5,
  longestWait: 50,
  lookEvery: 200,
  patience: 10_000,
};
/** The client's reader waits this long before each connection. */
const soon = '&discoveryInterval=10';

let doubles: KurrentDouble[] = [];
let logs: KurrentLog[] = [];

async function start(options: DoubleOptions = {}): Promise<KurrentDouble> {
  const double = await new KurrentDouble(options).start();
  doubles.push(double);
  return double;
}

async function open(double: KurrentDouble, options: KurrentLogOptions = {}): Promise<KurrentLog> {
  const log = await KurrentLog.open(double.url('', soon), { ...quick, ...options });
  logs.push(log);
  return log;
}

beforeEach(() => {
  doubles = [];
  logs = [];
});

afterEach(async () => {
  await Promise.all(logs.map((log) => log.close()));
  await Promise.all(doubles.map((double) => double.stop()));
});

/** What the server has stored, past the port. */
const stored = (double: KurrentDouble, name = stream): string[] =>
  (double.storage.events(streamName(name)) ?? []).map((event) => event.id);

const ids = (decisions: readonly StoredDecision[]): string[] => decisions.flat().map((record) => record.id);

async function add(log: KurrentLog, options?: SampleOptions, to = stream): Promise<StoredRecord[]> {
  const head = await log.head(to);
  const decisions = sampleDecisions(head, options);
  await log.append(to, head.position, decisions);
  return decisions.flat();
}

describe.each([
  ['BatchAppend', true],
  ['Append', false],
])('an append by %s', (_path, batchAppend) => {
  const passing: readonly AppendFault[] = [
    'silent',
    'commit-then-silent',
    'drop',
    'commit-then-drop',
    'commit-then-end',
    'not-leader',
    'too-busy',
    'not-ready',
    'timeout',
    'commit-then-timeout',
    'cancelled',
  ];

  test('that goes wrong once is in, once, whatever it was', async () => {
    const double = await start({ batchAppend });
    const log = await open(double);
    // Not the first append of the stream: a name goes to the list of clusters before that.
    const [first] = await add(log);
    let head: Head = { position: 1, hash: first!.hash };
    const all = [first!.id];
    for (const fault of passing) {
      const decisions = sampleDecisions(head, { decisions: 2, events: 2, data: fault });
      double.fail('append', fault);
      await log.append(stream, head.position, decisions);
      all.push(...ids(decisions));
      head = headAfter(head, decisions);
      expect([fault, double.faultsLeft]).toEqual([fault, 0]);
      expect([fault, stored(double)]).toEqual([fault, all]);
    }
    expect(batchAppend ? double.calls.append : double.calls.batchAppend).toBe(0);
    expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: all.length });
  }, 60_000);

  test.each([
    ['silent', 'OUTCOME_UNKNOWN', 'no answer within 400 ms'],
    ['commit-then-drop', 'OUTCOME_UNKNOWN', 'the connection was dropped'],
    ['not-leader', 'UNAVAILABLE', 'Leader'],
    ['too-busy', 'UNAVAILABLE', 'Busy'],
    ['timeout', 'OUTCOME_UNKNOWN', 'time|deadline'],
  ] as const)('that keeps going wrong (%s) is %s, and the same again is in', async (fault, code, why) => {
    const double = await start({ batchAppend });
    const log = await open(double);
    await add(log);
    const head = await log.head(stream);
    const decisions = sampleDecisions(head, { decisions: 2 });
    double.fail('append', fault, 100);
    const failing = log.append(stream, 1, decisions);
    await expect(failing).rejects.toMatchObject({
      code,
      message: expect.stringMatching(new RegExp(why, 'i')),
    });
    double.heal();
    await log.append(stream, 1, decisions);
    expect(stored(double).slice(1)).toEqual(ids(decisions));
  });

  test.each([
    ['denied', 'NOT_ALLOWED', 'VF_EVENT_LOG'],
    ['no-space', 'FULL', 'disk'],
  ] as const)('that is refused (%s) is %s at once, and writes nothing', async (fault, code, why) => {
    const double = await start({ batchAppend });
    const log = await open(double);
    await add(log);
    double.fail('append', fault);
    await expect(add(log)).rejects.toMatchObject({ code, message: expect.stringContaining(why) });
    expect(stored(double)).toHaveLength(1);
    await add(log);
  });

  test('of more than 1 MiB is split between decisions, and what is in is completed', async () => {
    const double = await start({ batchAppend });
    const log = await open(double);
    await add(log);
    const head = await log.head(stream);
    const decisions = sampleDecisions(head, { decisions: 10, events: 2, data: 'x'.repeat(100_000) });
    const calls = double.calls;
    const before = calls.append + calls.batchAppend;
    await log.append(stream, 1, decisions.slice(0, 6));
    expect(calls.append + calls.batchAppend - before).toBe(2);
    await log.append(stream, 1, decisions);
    expect(stored(double).slice(1)).toEqual(ids(decisions));
    for (const size of double.storage.appendSizes) expect(size).toBeLessThanOrEqual(1024 * 1024);
  });

  test('whose second part fails has an unknown outcome, and the same again completes it', async () => {
    const double = await start({ batchAppend });
    const log = await open(double);
    await add(log);
    const decisions = sampleDecisions(await log.head(stream), { decisions: 10, data: 'x'.repeat(150_000) });
    const remove = double.storage.onAppend(() => {
      remove();
      double.fail('append', 'not-leader', quick.tries);
    });
    await expect(log.append(stream, 1, decisions)).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('A part of it is in'),
    });
    const part = stored(double).length - 1;
    expect(part).toBeGreaterThan(0);
    expect(part).toBeLessThan(10);
    await log.append(stream, 1, decisions);
    expect(stored(double).slice(1)).toEqual(ids(decisions));
  });

  test('of one decision that no server takes is NOT_ALLOWED, and says which setting of it to raise', async () => {
    const double = await start({ batchAppend });
    const log = await open(double);
    const decisions = sampleDecisions(emptyHead(stream), { events: 3, data: 'x'.repeat(400_000) });
    await expect(log.append(stream, 0, decisions)).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
      message: expect.stringContaining('KURRENTDB_MAX_APPEND_SIZE'),
    });
    expect(stored(double)).toEqual([]);
  });
});

describe('appends of many clusters at once', () => {
  test('when the connection breaks under them all are in, once', async () => {
    const double = await start();
    const log = await open(double, { tries: 50 });
    const clusters = Array.from({ length: 40 }, (_, index) => `many-${index}`);
    const decisions = (cluster: string): StoredDecision[] =>
      sampleDecisions(emptyHead(cluster), { decisions: 3, data: 'x'.repeat(20_000) });
    const appending = Promise.all(clusters.map((cluster) => log.append(cluster, 0, decisions(cluster))));
    for (let round = 0; round < 3; round++) {
      await untilGrown(
        () => clusters.filter((cluster) => stored(double, cluster).length > 0).length,
        round * 10 + 1,
      );
      await double.stop();
      await double.start();
    }
    await appending;
    for (const cluster of clusters) expect(stored(double, cluster)).toEqual(ids(decisions(cluster)));
    expect(await log.streams()).toEqual(clusters.toSorted());
  }, 60_000);
});

describe('a server that is away', () => {
  test('is told with its name and without secrets, and used again when it is back', async () => {
    const double = await start();
    const log = await open(double);
    const all = await add(log);
    await double.stop();
    const place = `kurrentdb://127.0.0.1:${double.port}`;
    expect(log.name).toBe(place);
    const away = { code: 'UNAVAILABLE', message: expect.stringContaining(place) };
    await expect(log.head(stream)).rejects.toMatchObject(away);
    await expect(collect(log.read(stream, 1))).rejects.toMatchObject(away);
    await expect(log.snapshots(stream)).rejects.toMatchObject(away);
    const decisions = sampleDecisions({ position: 1, hash: all[0]!.hash });
    await expect(log.append(stream, 1, decisions)).rejects.toMatchObject({
      code: expect.stringMatching(/UNAVAILABLE|OUTCOME_UNKNOWN/),
    });
    await double.start();
    await log.append(stream, 1, decisions);
    expect(await collect(log.read(stream, 1))).toEqual([...all, ...decisions.flat()]);
  }, 30_000);

  test('at start is waited for, and then told in a sentence', async () => {
    const double = await start();
    await double.stop();
    await expect(open(double, { patience: 300 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(
        /^no KurrentDB answers at kurrentdb:\/\/127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\): start it/,
      ),
    });
    const opening = open(double, { patience: 20_000 });
    await double.start();
    await add(await opening);
  }, 30_000);

  test('at start is not waited for when the process is asked to end', async () => {
    const double = await start();
    await double.stop();
    const asked = new AbortController();
    const opening = open(double, { patience: 60_000, signal: asked.signal });
    asked.abort();
    await expect(opening).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  }, 30_000);

  test.each(['silent', 'drop', 'too-busy'] as const)(
    'that does not say what it can do (%s) is asked again',
    async (fault) => {
      const double = await start();
      const log = await open(double);
      double.fail('features', fault);
      await add(log);
      expect(double.faultsLeft).toBe(0);
      expect(stored(double)).toHaveLength(1);
    },
  );
});

describe('a read', () => {
  const passing: readonly ReadFault[] = [
    'silent',
    'drop',
    'not-leader',
    'too-busy',
    'break-after-2',
    'twice',
  ];

  test.each(passing)('that goes wrong once (%s) brings everything, once', async (fault) => {
    const double = await start();
    const log = await open(double);
    const all = await add(log, { decisions: 5, events: 2 });
    double.fail('read', fault);
    expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
    expect(double.faultsLeft).toBe(0);
    double.fail('read', fault);
    expect((await log.head(stream)).position).toBe(10);
    double.fail('read', fault);
    expect(await log.streams()).toEqual([stream]);
  });

  test.each([
    ['silent', 'UNAVAILABLE', 'no answer within 400 ms'],
    ['too-busy', 'UNAVAILABLE', 'unavailable'],
    ['denied', 'NOT_ALLOWED', 'VF_EVENT_LOG'],
  ] as const)('that keeps going wrong (%s) is %s', async (fault, code, why) => {
    const double = await start();
    const log = await open(double);
    await add(log);
    double.fail('read', fault, 100);
    await expect(collect(log.read(stream, 1))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(why),
    });
    double.heal();
    expect(await collect(log.read(stream, 1))).toHaveLength(1);
  });

  test('of a stream that was truncated, scavenged or deleted for good is CORRUPT', async () => {
    const double = await start();
    const log = await open(double);
    const all = await add(log, { decisions: 3 });
    double.storage.tamper(streamName(stream), (events) => events.slice(1));
    await expect(collect(log.read(stream, 1))).rejects.toMatchObject({ code: 'CORRUPT', position: 1 });
    expect(await collect(log.read(stream, 2))).toEqual(all.slice(1));
    double.storage.delete(streamName(stream), 'tombstoned');
    const deleted = { code: 'CORRUPT', message: expect.stringContaining('deleted for good') };
    await expect(collect(log.read(stream, 1))).rejects.toMatchObject(deleted);
    await expect(
      log.append(stream, 3, sampleDecisions({ position: 3, hash: all[2]!.hash })),
    ).rejects.toMatchObject(deleted);
  });
});

describe('another history', () => {
  test('a stream that was deleted, and would go on counting, is CORRUPT at the first append', async () => {
    const double = await start();
    const log = await open(double);
    await add(log, { decisions: 3 });
    double.storage.delete(streamName(stream));
    expect(await log.head(stream)).toEqual(emptyHead(stream));
    await expect(add(log, { data: 'new' })).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('went to position 4'),
    });
  });

  test('a database that was restored, and then written by another, takes nothing of the old history', async () => {
    const double = await start();
    const log = await open(double);
    await add(log, { decisions: 2 });
    const restore = double.storage.backup();
    await add(log, { decisions: 3, data: 'lost' });
    const head = await log.head(stream);
    restore();
    await add(await open(double), { decisions: 3, data: 'other' });
    await log.head(stream);
    const late = sampleDecisions(head);
    await expect(log.append(stream, 5, late)).rejects.toMatchObject({ code: 'WRONG_POSITION', position: 5 });
    expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: 5 });
  });
});

describe('a history that is cut', () => {
  const name = streamName(stream);

  test.each([
    [{ $maxCount: 2 }, 'vfCluster-c1 has $maxCount 2 in its metadata'],
    [{ $maxCount: 1_000_000 }, 'has $maxCount 1000000'],
    [{ $maxAge: 3600 }, 'has $maxAge 3600'],
    [{ $tb: 2 }, 'has $tb 2'],
    [{ $tb: 1, $maxAge: 60 }, 'has $maxAge 60 and $tb 1'],
  ])('by %j is told, with how it is taken back; then it is whole again', async (values, why) => {
    const double = await start();
    const log = await open(double);
    const all = await add(log, { decisions: 3 });
    const rights = { $acl: { $w: ['vf'] } };
    double.storage.setMetadata(name, { ...rights, ...values });
    const told = await log.incomplete(stream);
    expect(told).toContain(why);
    expect(told).toMatch(/Write the metadata again without \$/);
    double.storage.setMetadata(name, rights);
    expect(await log.incomplete(stream)).toBeUndefined();
    expect(await collect(log.read(stream, 1))).toEqual(all);
  });

  test('by a deletion is told, also when something was written after it, and can be taken back', async () => {
    const double = await start();
    const log = await open(double);
    const all = await add(log, { decisions: 3 });
    const next = sampleDecisions({ position: 3, hash: all[2]!.hash });
    double.storage.delete(name);
    expect(await log.incomplete(stream)).toMatch(/vfCluster-c1 was deleted .* without \$tb/);
    // Who starts now does not take it for a cluster that never was.
    expect(await (await open(double)).streams()).toEqual([stream]);
    // Who has just written knows where it stands, and goes on there.
    await log.append(stream, 3, next);
    expect(await log.incomplete(stream)).toContain('has $tb 3');
    double.storage.setMetadata(name, {});
    expect(await log.incomplete(stream)).toBeUndefined();
    expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual([
      ...all,
      ...next.flat(),
    ]);
  });

  test('and one of the list of clusters is told: who starts would not know of them', async () => {
    const double = await start();
    const log = await open(double);
    await add(log);
    double.storage.setMetadata('vfClusters', { $maxCount: 1 });
    expect(await log.incomplete(stream)).toContain('the stream vfClusters has $maxCount 1');
  });

  test('for good is told as that', async () => {
    const double = await start();
    const log = await open(double);
    await add(log, { decisions: 3 });
    double.storage.tamper(name, (events) => events.slice(2));
    expect(await log.incomplete(stream)).toMatch(/begins at event 2: .*backup/);
    double.storage.delete(name, 'tombstoned');
    await expect(log.incomplete(stream)).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});

describe('one server, many owners', () => {
  test('what is strange in one stream, and what strangers put into the list, is no trouble of the others', async () => {
    const double = await start();
    const log = await open(double);
    await add(log, {}, 'good');
    await add(log, {}, 'strange');
    await add(log, {}, 'deleted');
    const event = (data: unknown): Parameters<DoubleStorage['append']>[2] => [
      {
        id: randomUUID(),
        type: 'Theirs',
        contentType: 'application/json',
        data: Buffer.from(JSON.stringify(data)),
        metadata: new Uint8Array(),
      },
    ];
    double.storage.append(streamName('strange'), 'any', event({ by: 'a stranger' }));
    double.storage.delete(streamName('deleted'), 'tombstoned');
    for (const data of [
      { cluster: '../x y' },
      { cluster: 'x'.repeat(65) },
      { cluster: 7 },
      'text',
      { cluster: 'empty' },
    ])
      double.storage.append('vfClusters', 'any', event(data));
    const other = await open(double);
    expect(await other.streams()).toEqual(['deleted', 'good', 'strange']);
    await expect(other.head('strange')).rejects.toMatchObject({ code: 'CORRUPT', position: 2 });
    await expect(other.head('deleted')).rejects.toMatchObject({ code: 'CORRUPT' });
    await add(other, { data: 'goes on' }, 'good');
    expect((await other.head('good')).position).toBe(2);
  });

  test('a suite of tests has streams of its own, which no scheduler finds, and takes them away', async () => {
    const double = await start();
    const names = guestStreams();
    const guest = await open(double, { names });
    await add(guest, {}, 'theirs');
    await guest.saveSnapshot('beside', { position: 1, hash: 'a', version: '1', state: '{}' });
    const log = await open(double);
    expect(await log.streams()).toEqual([]);
    await add(log);
    expect(await log.streams()).toEqual([stream]);
    expect(double.storage.names().filter((one) => one.startsWith('vfTest'))).toHaveLength(3);
    await removeGuestStreams(double.url(), names);
    // What is left is said of streams that are gone.
    expect(double.storage.names().filter((one) => !one.startsWith('$$'))).toEqual([
      'vfClusters',
      streamName(stream),
    ]);
    await expect(removeGuestStreams(double.url(), new StreamNames())).rejects.toThrow("is not a suite's");
    expect(await collect(log.read(stream, 1))).toHaveLength(1);
  });
});

describe('a leader that changes', () => {
  async function cluster(): Promise<readonly [KurrentDouble, KurrentDouble]> {
    const storage = new DoubleStorage();
    const nodes = [await start({ storage }), await start({ storage })] as const;
    for (const node of nodes) node.members = () => nodes;
    nodes[1].leader = nodes[0];
    return nodes;
  }
  const swap = ([a, b]: readonly [KurrentDouble, KurrentDouble]): void => {
    const wasLeader = a.leader === undefined;
    a.leader = wasLeader ? b : undefined;
    b.leader = wasLeader ? undefined : a;
  };

  test.each([
    ['one address', ([a]: readonly KurrentDouble[]) => `127.0.0.1:${a!.port}`],
    [
      'two addresses',
      (nodes: readonly KurrentDouble[]) => nodes.map(({ port }) => `127.0.0.1:${port}`).join(','),
    ],
  ])(
    'is found again by appends, reads and followers, from %s',
    async (_what, hosts) => {
      const nodes = await cluster();
      const log = await KurrentLog.open(`kurrentdb://${hosts(nodes)}?tls=false${soon}`, {
        ...quick,
        tries: 20,
      });
      logs.push(log);
      const stop = new AbortController();
      const seen: StoredRecord[] = [];
      const following = (async () => {
        for await (const records of log.follow(stream, 0, stop.signal)) seen.push(...records);
      })();
      const all: StoredRecord[] = [];
      for (let round = 0; round < 3; round++) {
        all.push(...(await add(log, { data: round })));
        swap(nodes);
        all.push(...(await add(log, { data: `${round} again` })));
        expect(await collect(log.read(stream, 1))).toEqual(all);
      }
      await untilGrown(() => seen.length, all.length);
      stop.abort();
      await following;
      expect(seen).toEqual(all);
    },
    30_000,
  );
});

describe('a follower', () => {
  /** Follows, and gives what it has seen so far. */
  function watch(log: KurrentLog): { seen: StoredRecord[]; stop: () => Promise<void> } {
    const seen: StoredRecord[] = [];
    const stop = new AbortController();
    const following = (async () => {
      const options = { verify: emptyHead(stream) };
      for await (const records of log.follow(stream, 0, stop.signal, options)) seen.push(...records);
    })();
    following.catch(() => undefined);
    return {
      seen,
      stop: () => {
        stop.abort();
        return following;
      },
    };
  }

  test.each(['silent', 'stuck', 'drop', 'end', 'twice', 'gap'] as const)(
    'whose subscription goes wrong (%s) sees everything, once',
    async (fault) => {
      const double = await start();
      const log = await open(double);
      const all = await add(log);
      double.fail('subscription', fault);
      const { seen, stop } = watch(log);
      await untilGrown(() => double.calls.subscription, 1);
      for (let round = 0; round < 3; round++) all.push(...(await add(log, { events: 2, data: round })));
      await untilGrown(() => seen.length, all.length);
      expect(double.faultsLeft).toBe(0);
      expect(seen).toEqual(all);
      await stop();
    },
  );

  test.each(['end', 'drop'] as const)(
    'that is dropped again and again (%s) goes on from where it was',
    async (how) => {
      const double = await start();
      const log = await open(double);
      const { seen, stop } = watch(log);
      const all: StoredRecord[] = [];
      for (let round = 1; round <= 4; round++) {
        all.push(...(await add(log, { data: round })));
        await untilGrown(() => seen.length, all.length);
        await untilGrown(() => double.subscriptions, 1);
        double.dropSubscriptions(how);
      }
      await untilGrown(() => double.calls.subscription, 5);
      expect(seen).toEqual(all);
      await stop();
      await untilGrown(() => -double.subscriptions, 0);
    },
  );

  test('outlives the server', async () => {
    const double = await start();
    const log = await open(double, { tries: 50 });
    const { seen, stop } = watch(log);
    const all = await add(log);
    await untilGrown(() => seen.length, 1);
    await double.stop();
    await double.start();
    all.push(...(await add(log, { data: 'after' })));
    await untilGrown(() => seen.length, 2);
    expect(seen).toEqual(all);
    await stop();
  }, 30_000);

  test('ends at once when it is stopped while the server is silent', async () => {
    const double = await start();
    const log = await open(double, { timeout: 60_000, lookEvery: 60_000 });
    double.fail('read', 'silent');
    const { stop } = watch(log);
    await untilGrown(() => -double.faultsLeft, 0);
    await stop();
  });

  test('who may not, or meets damage, is told', async () => {
    const double = await start();
    const log = await open(double);
    await add(log, { decisions: 3 });
    double.fail('subscription', 'denied');
    const { signal } = new AbortController();
    await expect(collect(log.follow(stream, 0, signal))).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    double.storage.tamper(streamName(stream), (events) => events.toSpliced(1, 1));
    await expect(collect(log.follow(stream, 0, signal))).rejects.toMatchObject({
      code: 'CORRUPT',
      position: 2,
    });
  });
});

describe('snapshots', () => {
  const snapshot = (position: number, state = `{"at":${position}}`) => ({
    position,
    hash: position.toString(16).padStart(64, '0'),
    version: '1',
    state,
  });
  /** It does not pack well: several parts. */
  const big = (seed: number): string => {
    let x = seed;
    return Array.from({ length: 400_000 }, () => {
      x = (x * 1_103_515_245 + 12_345) % 2_147_483_648;
      return x.toString(36);
    }).join('');
  };
  const parts = (double: KurrentDouble): number => double.storage.events(`vfSnapshot-${stream}`)?.length ?? 0;

  test('larger than an append are kept in parts, and only the last two', async () => {
    const double = await start();
    const log = await open(double, { timeout: 5000 });
    for (const position of [1, 2, 3]) await log.saveSnapshot(stream, snapshot(position, big(position)));
    expect(parts(double)).toBeGreaterThan(3);
    const kept = await log.snapshots(stream);
    expect(kept.map(({ position }) => position)).toEqual([3, 2]);
    expect(kept[0]!.state === big(3)).toBe(true);
  }, 30_000);

  test('whose saving breaks off leave the one before, and make way for the next', async () => {
    const double = await start();
    const log = await open(double, { timeout: 5000 });
    await log.saveSnapshot(stream, snapshot(1));
    const state = big(7);
    const remove = double.storage.onAppend(() => {
      remove();
      double.fail('append', 'too-busy', quick.tries);
    });
    await expect(log.saveSnapshot(stream, snapshot(2, state))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await log.snapshots(stream)).toEqual([snapshot(1)]);
    await log.saveSnapshot(stream, snapshot(3));
    expect(await log.snapshots(stream)).toEqual([snapshot(3), snapshot(1)]);
    await log.saveSnapshot(stream, snapshot(4));
    expect(await log.snapshots(stream)).toEqual([snapshot(4), snapshot(3)]);
    expect(parts(double)).toBe(2);
  }, 30_000);

  test('that are damaged are left out, and deleting them all is harmless', async () => {
    const double = await start();
    const log = await open(double);
    for (const position of [1, 2]) await log.saveSnapshot(stream, snapshot(position));
    double.storage.tamper(`vfSnapshot-${stream}`, (events) =>
      events.with(1, { ...events[1]!, data: Buffer.from('forged') }),
    );
    expect(await log.snapshots(stream)).toEqual([snapshot(1)]);
    double.storage.delete(`vfSnapshot-${stream}`);
    expect(await log.snapshots(stream)).toEqual([]);
    for (const position of [3, 4, 5]) await log.saveSnapshot(stream, snapshot(position));
    expect(await log.snapshots(stream)).toEqual([snapshot(5), snapshot(4)]);
    double.storage.delete(`vfSnapshot-${stream}`, 'tombstoned');
    expect(await log.snapshots(stream)).toEqual([]);
  });

  test('of two who save at once are whole', async () => {
    const double = await start();
    const savers = [await open(double, { timeout: 5000 }), await open(double, { timeout: 5000 })];
    const results = await Promise.allSettled(
      savers.map((log, index) => log.saveSnapshot(stream, snapshot(index + 1, big(index)))),
    );
    const saved = results.filter(({ status }) => status === 'fulfilled').length;
    expect(saved).toBeGreaterThan(0);
    const kept = await savers[0]!.snapshots(stream);
    expect(kept.length).toBeGreaterThanOrEqual(saved);
    for (const { position, state } of kept) expect(state === big(position - 1)).toBe(true);
  }, 30_000);
});

describe('a close', () => {
  test('while the server is silent gives the append up with its outcome unknown', async () => {
    const double = await start();
    const log = await open(double);
    await add(log);
    double.fail('append', 'silent', 10);
    const appending = log.append(stream, 1, sampleDecisions(await log.head(stream)));
    appending.catch((_error: LogError) => undefined);
    await untilGrown(() => -double.faultsLeft, -9);
    await log.close();
    await expect(appending).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(double.faultsLeft).toBe(9);
  });
});

/** Waits until a number is large enough. */
async function untilGrown(number: () => number, wanted: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (number() < wanted) {
    if (performance.now() > deadline) throw new Error(`it stayed at ${number()}, not ${wanted}`);
    await new Promise((go) => setTimeout(go, 5));
  }
}
