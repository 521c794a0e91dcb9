import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import Database from 'libsql';
import fc from 'fast-check';
import type { Input } from '#domain';
import { MemoryLog, type EventLog } from '#log';
import { saneHistories } from '../../domain/src/testing/arbitraries.js';
import { Progress } from './progress.js';
import { ReadModel } from './read-model.js';
import { sealEvents, writeHistory, writeInputs, type Written } from './testing/written-log.js';

// Processes and threads are started here, on machines that may be busy.
jest.setTimeout(60_000);

const SEED = Number(process.env['VF_TEST_SEED'] ?? 4711);
const [HISTORY, OTHER] = fc.sample(saneHistories, { seed: SEED, numRuns: 2 });

let directory: string;
let log: MemoryLog;
let said: string[];
const models: ReadModel[] = [];
const note = (message: string): void => void said.push(message);
const logger = { info: note, warn: note, error: note };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-read-'));
  log = new MemoryLog();
  said = [];
});

afterEach(async () => {
  for (const model of models.splice(0)) await model.close();
  await rm(directory, { recursive: true, force: true });
});

async function open(on: EventLog = log, where = directory): Promise<ReadModel> {
  const model = await ReadModel.open({ directory: where, log: on, logger, rememberedInputs: 1000 });
  models.push(model);
  return model;
}

async function caughtUp(model: ReadModel, cluster = 'c1'): Promise<void> {
  model.follow(cluster);
  await model.until(cluster, (await log.head(cluster)).position, 20_000);
}

/** Who waits for a cluster's status to change. */
interface Inside {
  readonly clusters: ReadonlyMap<string, { readonly waiters: Set<() => void> }>;
}

/** Everything that the tables tell of a cluster, at several positions. */
async function told(model: ReadModel, { cluster, events }: Written): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (let position = 0; position <= events.length; position += 9) {
    for (const name of ['availability', 'vms', 'hosts', 'networks', 'policy']) {
      answers.push(await model.ask({ cluster, name, request: {}, at: { position } }));
    }
  }
  answers.push(await model.ask({ cluster, name: 'history', request: { first: 1, last: 1e6, limit: 1e6 } }));
  answers.push(await model.dump(cluster));
  return answers;
}

/** Appends an event that the decider did not decide. */
async function appendStrange(cluster: string, type: string, data: object): Promise<void> {
  const head = await log.head(cluster);
  const cause = { stream: 's', sequence: 99_999, id: 'strange', digest: '0123456789abcdef' };
  const event = { type, data, position: head.position + 1, at: Date.UTC(2030, 0, 1), cause } as never;
  const input = { id: 'strange', type: 'Tick', data: {} } as never;
  await log.append(cluster, head.position, [sealEvents(head, input, [event])]);
}

const writing = (cluster = 'c1', on = log) => writeHistory(on, cluster, HISTORY as never);

describe('the file', () => {
  test('is made again from the log when it is deleted, and tells the same', async () => {
    const written = await writing();
    const first = await open();
    await caughtUp(first);
    const before = await told(first, written);
    await first.close();
    for (const name of await readdir(directory)) await rm(join(directory, name));
    const second = await open();
    await caughtUp(second);
    expect(await told(second, written)).toEqual(before);
    expect(second.status.get('c1')).toEqual({ state: 'following', position: written.events.length });
  });

  test('is gone on with after a restart, and nothing is taken in twice', async () => {
    const whole = new MemoryLog();
    const written = await writing('c1', whole);
    const records = [];
    for await (const some of whole.read('c1', 1)) records.push(...some);
    // By decisions, as they were appended.
    const decisions: (typeof records)[] = [];
    for (const record of records) {
      if (record.input === undefined) decisions.at(-1)?.push(record);
      else decisions.push([record]);
    }
    const half = Math.floor(decisions.length / 2);
    await log.append('c1', 0, decisions.slice(0, half));
    const first = await open();
    await caughtUp(first);
    await first.close();
    await log.append('c1', (await log.head('c1')).position, decisions.slice(half));
    const second = await open();
    await caughtUp(second);
    const fresh = await open(log, await mkdtemp(join(directory, 'fresh-')));
    await caughtUp(fresh);
    expect(await told(second, written)).toEqual(await told(fresh, written));
    expect(said.filter((line) => line.includes('again'))).toEqual([]);
  });

  test('survives the thread that writes it, in the middle of a batch', async () => {
    const written = await writing();
    const model = await open();
    model.follow('c1');
    const { thread } = model as unknown as { thread: Promise<{ worker: Worker }> };
    for (let kill = 0; kill < 3; kill++) {
      await model.ask({ cluster: 'c1', name: 'policy', request: {} }).catch(() => undefined);
      await (await thread).worker.terminate();
    }
    await caughtUp(model);
    const fresh = await open(log, await mkdtemp(join(directory, 'fresh-')));
    await caughtUp(fresh);
    expect(await told(model, written)).toEqual(await told(fresh, written));
  });

  test('of another form, or that is no database at all, is made again, and said', async () => {
    await writing();
    const first = await open();
    await caughtUp(first);
    await first.close();
    const db = new Database(join(directory, 'read.db'));
    db.exec("UPDATE about SET form = '0.0'");
    db.close();
    const second = await open();
    await caughtUp(second);
    await second.close();
    expect(said).toContainEqual(
      expect.stringMatching(/read\.db is made again: it has form 0\.0, and this version writes/),
    );
    await writeFile(join(directory, 'read.db'), 'x'.repeat(10_000));
    const third = await open();
    await caughtUp(third);
    expect(said).toContainEqual(expect.stringMatching(/read\.db is made again: it cannot be read/));
  });

  test('is one for each process: a second one takes another', async () => {
    const written = await writing();
    const [first, second] = [await open(), await open()];
    expect([first.file, second.file]).toEqual([join(directory, 'read.db'), join(directory, 'read-2.db')]);
    await caughtUp(first);
    await caughtUp(second);
    expect(await told(first, written)).toEqual(await told(second, written));
    await first.close();
    expect((await open()).file).toBe(join(directory, 'read.db'));
  });
});

test('its threads let those that decide go first, where the system knows of priorities of threads', async () => {
  const niceness = async (): Promise<number[]> => {
    const threads = await readdir('/proc/self/task').catch(() => []);
    const stats = await Promise.all(
      threads.map((thread) => readFile(`/proc/self/task/${thread}/stat`, 'utf8').catch(() => '')),
    );
    // Behind the name in brackets, the 17th field.
    return stats.map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
  };
  const own = getPriority();
  await writing();
  const model = await open();
  await caughtUp(model);
  await model.withState('c1', 1, (state) => state.imagine('plan', { inputs: [], time: 0 }));
  const found = await niceness();
  if (process.platform !== 'linux') return;
  expect(found).toEqual(expect.arrayContaining([Math.max(own, 5), Math.max(own, 19)]));
});

describe('what is far behind', () => {
  test('says how far it is while it is taken in, and is answered with it', async () => {
    // 25,000 events, which is worth saying.
    const many = Array.from(
      { length: 25_000 },
      (_, index) =>
        ({
          id: `policy-${index}`,
          type: 'ClusterPolicyChanged',
          time: Date.UTC(2026, 0, 1) + index,
          data: { startTimeoutSeconds: 1 + (index % 2) },
        }) as unknown as Input,
    );
    const { events } = await writeInputs(log, 'c1', many);
    expect(events).toHaveLength(25_000);
    const model = await open();
    model.follow('c1');
    const seen = new Set<string>();
    const { waiters } = (model as unknown as Inside).clusters.get('c1')!;
    waiters.add(() => seen.add(model.status.get('c1')?.state ?? ''));
    await expect(model.until('c1', 25_000, 1)).rejects.toMatchObject({
      code: 'NOT_CAUGHT_UP',
      message: expect.stringMatching(/^position 25000 of cluster 'c1' is not in the read side after 0.001 s/),
    });
    await model.until('c1', 25_000, 50_000);
    expect([...seen].filter((state) => state !== 'opening')).toEqual(['building', 'following']);
    expect(said).toEqual([
      "the read side of cluster 'c1' takes in 25000 events",
      expect.stringMatching(
        /^the read side of cluster 'c1' is up to date: 25000 events in [\d.]+ s, \d+ events\/s$/,
      ),
    ]);
  });

  test('says the percent, the place and the rate every few seconds', () => {
    let now = 0;
    const progress = new Progress('c1', 1000, 101_000, logger, () => now);
    now = 2000;
    expect(progress.status(21_000)).toEqual({
      state: 'building',
      position: 21_000,
      goal: 101_000,
      eventsPerSecond: 10_000,
    });
    now = 6000;
    progress.status(51_000);
    now = 10_000;
    expect(progress.status(101_000)).toEqual({ state: 'following', position: 101_000 });
    expect(said).toEqual([
      "the read side of cluster 'c1' takes in 100000 events",
      "the read side of cluster 'c1' is at 50 % (51000 of 101000), 8333 events/s",
      "the read side of cluster 'c1' is up to date: 100000 events in 10.0 s, 10000 events/s",
    ]);
  });
});

describe('the log', () => {
  test('that tells another history, or is shorter, has its cluster made again, and the others kept', async () => {
    const written = await writing();
    await writing('c2');
    const first = await open();
    await caughtUp(first);
    await caughtUp(first, 'c2');
    await first.close();

    const other = new MemoryLog();
    const otherWritten = await writeHistory(other, 'c1', OTHER as never);
    await writeHistory(other, 'c2', HISTORY as never);
    log = other;
    const second = await open();
    await caughtUp(second);
    await caughtUp(second, 'c2');
    expect(said.filter((line) => line.includes('made again'))).toEqual([
      expect.stringMatching(
        /^the read side of cluster 'c1' is made again from the log: the log (tells another history at|ends before) position/,
      ),
    ]);
    const fresh = await open(other, await mkdtemp(join(directory, 'fresh-')));
    await caughtUp(fresh);
    expect(await told(second, otherWritten)).toEqual(await told(fresh, otherWritten));
    await second.close();

    said = [];
    log = new MemoryLog();
    const third = await open();
    await caughtUp(third);
    expect(said).toContainEqual(
      expect.stringMatching(
        /made again from the log: the log ends before position \d+, up to which it was taken in/,
      ),
    );
    const empty = await third.ask({ cluster: 'c1', name: 'availability', request: {} });
    expect(empty).toEqual({
      position: 0,
      fields: '"total":0,"free":0,"allocated":0,"unavailable":0,"pfs":[]',
    });
    expect(written.events.length).toBeGreaterThan(10);
  });

  test.each([
    ['an event that is not known', 'VfTeleported', {}, /a 'VfTeleported', which this version does not know/],
    [
      'an event that makes no sense',
      'VfReleased',
      {
        allocationId: '1-00000000',
        hostId: 'x',
        vf: 'y',
        pf: 'z',
        vmId: 'v',
        nicId: 'n',
        reason: 'operator',
        forced: false,
      },
      /which nobody holds/,
    ],
  ])(
    'with %s stops its cluster there, says so, and the others go on',
    async (_what, type, data, sentence) => {
      const written = await writing();
      const model = await open();
      await caughtUp(model);
      const before = await told(model, written);
      await appendStrange('c1', type, data);
      await expect(model.until('c1', written.events.length + 1, 10_000)).rejects.toMatchObject({
        code: 'STOPPED',
        message: expect.stringMatching(sentence) as unknown as string,
      });
      expect(model.status.get('c1')).toMatchObject({
        state: 'stopped',
        message: expect.stringMatching(sentence),
      });
      expect(said.filter((line) => line.includes('stands still'))).toHaveLength(1);
      // What was before it can still be asked, but for the state, which is gone.
      expect((await told(model, written)).slice(0, -1)).toEqual(before.slice(0, -1));
      await writing('c2');
      await caughtUp(model, 'c2');
      await model.close();
      // It stops there again.
      const again = await open();
      again.follow('c1');
      await expect(again.until('c1', written.events.length + 1, 10_000)).rejects.toMatchObject({
        code: 'STOPPED',
      });
    },
  );

  test('that has not come to a position yet is waited for, within bounds', async () => {
    const written = await writing();
    const model = await open();
    await caughtUp(model);
    await expect(model.until('c1', written.events.length + 1, 50)).rejects.toMatchObject({
      code: 'NOT_CAUGHT_UP',
      message: `position ${written.events.length + 1} of cluster 'c1' is not in the read side after 0.05 s`,
    });
    await expect(model.until('c3', 0, 50)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(
      model.ask({
        cluster: 'c1',
        name: 'vm',
        request: { vmId: 'x' },
        at: { position: written.events.length + 1 },
      }),
    ).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringMatching(/beyond the log, which ends at/),
    });
  });
});
