import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'libsql';
import { emptyHead } from './chain.js';
import { logConformance } from './conformance.js';
import type { StoredRecord } from './record.js';
import { collect, headAfter, sampleDecisions, type SampleOptions } from './sample-records.js';
import { SqliteLog, type SqliteLogOptions } from './sqlite-log.js';
import { verifyStream } from './verify.js';

let root: string;
let number = 0;
beforeAll(async () => (root = await mkdtemp(join(tmpdir(), 'vf-sqlite-log-'))));
afterAll(() => rm(root, { recursive: true, force: true }));

/** A path for a file of its own, in a directory that does not exist yet. */
const newFile = (): string => join(root, String(++number), 'log.db');

logConformance('SqliteLog', async () => {
  const file = newFile();
  const opened: SqliteLog[] = [];
  const openLog = async (): Promise<SqliteLog> => {
    const log = await SqliteLog.open(file);
    opened.push(log);
    return log;
  };
  const log = await openLog();
  return {
    log,
    second: openLog,
    reopen: async () => {
      await log.close();
      return openLog();
    },
    tamper: async (stream, change) => tamper(file, stream, change),
    dispose: async () => {
      await Promise.all(opened.map((one) => one.close()));
    },
  };
});

describe('SqliteLog', () => {
  const stream = 'c1';
  let file: string;
  let log: SqliteLog;
  let opened: SqliteLog[];

  const openLog = async (options?: SqliteLogOptions): Promise<SqliteLog> => {
    const one = await SqliteLog.open(file, options);
    opened.push(one);
    return one;
  };
  const closeAll = (): Promise<unknown> => Promise.all(opened.splice(0).map((one) => one.close()));
  const add = async (options?: SampleOptions): Promise<StoredRecord[]> => {
    const head = await log.head(stream);
    const decisions = sampleDecisions(head, options);
    await log.append(stream, head.position, decisions);
    return decisions.flat();
  };

  beforeEach(() => {
    file = newFile();
    opened = [];
  });
  afterEach(closeAll);

  describe('the file', () => {
    test('is made with its directory, and after a close it is one file', async () => {
      log = await openLog();
      expect(log.name).toBe(`sqlite:${file}`);
      await add();
      await closeAll();
      expect(existsSync(`${file}-wal`)).toBe(false);
      expect((await readFile(file)).subarray(0, 15).toString()).toBe('SQLite format 3');
    });

    test('grows by the thread of a reader, so that no append waits for a checkpoint', async () => {
      log = await openLog();
      await add({ decisions: 200, data: 'x'.repeat(1000) });
      // All of it is in the write-ahead log.
      const small = statSync(file).size;
      const reader = await log.reader();
      opened.push(reader);
      const end = performance.now() + 20_000;
      while (statSync(file).size < small + 200_000 && performance.now() < end) await wait(20);
      expect(statSync(file).size).toBeGreaterThan(small + 200_000);
      const head = await log.head(stream);
      expect(await reader.head(stream)).toEqual(head);
    });

    test('can be read by a person, with every event on a line', async () => {
      log = await openLog();
      const [first, second] = await add({ events: 2, data: 'ä😀' });
      const rows = withDatabase(file, (db) =>
        db.prepare('SELECT * FROM log ORDER BY position').all(),
      ) as object[];
      expect(rows).toHaveLength(2);
      expect(rows[0]).toMatchObject({
        stream,
        position: 1,
        time: '2026-01-01T00:00:00.001Z',
        type: 'Sampled',
        data: '{"event":0,"sample":"ä😀"}',
        cause_sequence: 1,
        cause_id: 'input-0-0',
        decider: '1.0.0',
        id: first!.id,
        hash: first!.hash,
        input: first!.input,
      });
      expect(rows[1]).toMatchObject({ position: 2, id: second!.id, input: null });
    });

    test('is opened by several at once while it is made', async () => {
      const logs = await Promise.all(Array.from({ length: 4 }, () => openLog()));
      log = logs[0]!;
      await add();
      expect(await Promise.all(logs.map((one) => one.head(stream)))).toEqual(
        Array.from({ length: 4 }, () => expect.objectContaining({ position: 1 })),
      );
    });

    test('keeps text that is not JSON as it is, too', async () => {
      log = await openLog();
      const odd = 'a\u0000b\n\ufeff\u{10ffff}';
      await log.append(stream, 0, sampleDecisions(emptyHead(stream), { input: odd }));
      await log.append('öd\u0000d \'"', 0, sampleDecisions(emptyHead('öd\u0000d \'"'), { input: '' }));
      expect((await collect(log.read(stream, 1)))[0]?.input).toBe(odd);
      expect((await collect(log.read('öd\u0000d \'"', 1)))[0]?.input).toBe('');
      expect(await log.streams()).toEqual([stream, 'öd\u0000d \'"']);
    });
  });

  describe('what is not a log is refused, and left as it is', () => {
    const refused = async (code: string, sentence: RegExp): Promise<void> => {
      const error = (await openLog().catch((caught: unknown) => caught)) as Error;
      expect(error).toMatchObject({ name: 'LogError', code });
      expect(error.message).toContain(file);
      expect(error.message).toMatch(sentence);
    };

    beforeEach(() => mkdir(join(file, '..'), { recursive: true }));

    test('a file of another application', async () => {
      withDatabase(file, (db) => db.exec('PRAGMA application_id = 7; CREATE TABLE mine (a)'));
      const before = await readFile(file);
      await refused('NOT_ALLOWED', /another application \(id 7\)/);
      expect(await readFile(file)).toEqual(before);
    });

    test('an SQLite file without an application id that is not empty', async () => {
      withDatabase(file, (db) => db.exec('CREATE TABLE mine (a)'));
      await refused('NOT_ALLOWED', /another application/);
    });

    test('a newer format', async () => {
      await (await openLog()).close();
      withDatabase(file, (db) => db.exec('PRAGMA user_version = 2'));
      await refused('NOT_ALLOWED', /format 2, this release knows 1/);
    });

    test('other tables', async () => {
      await (await openLog()).close();
      withDatabase(file, (db) => db.exec('DROP VIEW log; DROP TABLE record'));
      await refused('CORRUPT', /its table 'record' is not as it was made/);
    });

    test('random bytes', async () => {
      const garbage = randomBytes(50_000);
      await writeFile(file, garbage);
      await refused('CORRUPT', /is not a log file, or its beginning was overwritten/);
      expect(await readFile(file)).toEqual(garbage);
    });

    test('a directory in its place', async () => {
      await mkdir(file);
      await refused('NOT_ALLOWED', /cannot be opened/);
    });

    test('a file in the place of its directory', async () => {
      await writeFile(join(root, 'plain'), '');
      file = join(root, 'plain', 'log.db');
      await refused('NOT_ALLOWED', /directory that this user may write to/);
    });

    test('a directory that may not be written to', async () => {
      if (process.getuid?.() === 0) {
        console.warn('left out: root may write everywhere');
        return;
      }
      await chmod(join(file, '..'), 0o500);
      await refused('NOT_ALLOWED', /write/);
      await chmod(join(file, '..'), 0o700);
    });

    test('a write-ahead log whose main file is gone', async () => {
      await writeFile(`${file}-wal`, 'the rest');
      await refused('CORRUPT', /is missing, but/);
    });
  });

  describe('damage', () => {
    const count = 3000;

    beforeEach(async () => {
      log = await openLog();
      await add({ decisions: count });
    });

    const opening = async (): Promise<unknown> => {
      await closeAll();
      return openLog().catch((error: unknown) => error);
    };
    /** Opens it: the stream is damaged, and the others are served all the same. */
    const damage = async (): Promise<unknown> => {
      const opened = (await opening()) as SqliteLog;
      const sound = `${stream}-beside`;
      const head = await opened.head(sound);
      await opened.append(sound, head.position, sampleDecisions(head));
      expect(await opened.streams()).toEqual([stream, sound]);
      const error = await opened.head(stream).catch((damaged: unknown) => damaged);
      await expect(opened.snapshots(stream)).rejects.toEqual(error);
      await expect(
        opened.append(stream, count, sampleDecisions({ position: count, hash: 'a'.repeat(64) })),
      ).rejects.toEqual(error);
      return error;
    };

    test('an edited body among the last records is found on opening, with its position', async () => {
      withDatabase(file, (db) =>
        db.exec(`UPDATE record SET body = replace(body, 'sample', 'forged') WHERE position = 2500`),
      );
      const error = (await damage()) as Error;
      expect(error).toMatchObject({ code: 'CORRUPT', position: 2500 });
      expect(error.message).toContain(file);
      expect(error.message).toContain(`'${stream}' is damaged at position 2500`);
    });

    test('an edited body further back is found by a verified read', async () => {
      withDatabase(file, (db) =>
        db.exec(`UPDATE record SET body = replace(body, 'sample', 'forged') WHERE position = 700`),
      );
      log = (await opening()) as SqliteLog;
      expect(await verifyStream(log, stream)).toMatchObject({ ok: false, firstBad: { position: 700 } });
    });

    test('a row removed anywhere is found on opening, with its position', async () => {
      withDatabase(file, (db) => db.exec('DELETE FROM record WHERE position = 700'));
      expect(await damage()).toMatchObject({ code: 'CORRUPT', position: 700 });
      withDatabase(file, (db) => db.exec('DELETE FROM record WHERE stream = 1 AND position < 800'));
      expect(await damage()).toMatchObject({ code: 'CORRUPT', position: 1 });
    });

    test('rows of another type than text are found', async () => {
      withDatabase(file, (db) => db.exec(`UPDATE record SET body = 7, input = x'ff00' WHERE position = 700`));
      log = (await opening()) as SqliteLog;
      const verification = await verifyStream(log, stream);
      expect(verification).toMatchObject({ ok: false, firstBad: { position: 700 }, head: { position: 699 } });
    });

    test('bytes that are not UTF-8 are an error with a position, never the end of the process', async () => {
      withDatabase(file, (db) =>
        db.exec(`UPDATE record SET body = CAST(x'7b22ff' || body AS TEXT) WHERE position = 700`),
      );
      log = (await opening()) as SqliteLog;
      await expect(collect(log.read(stream, 700))).rejects.toMatchObject({ code: 'CORRUPT', position: 700 });
      expect(await collect(log.read(stream, 701))).toHaveLength(count - 700);
    });

    test('a hash of another length is found', async () => {
      withDatabase(file, (db) => db.exec(`UPDATE record SET hash = 'short' WHERE position = 700`));
      log = (await opening()) as SqliteLog;
      expect(await verifyStream(log, stream)).toMatchObject({ ok: false, firstBad: { position: 700 } });
    });

    test('a file that was cut off is refused, naming it', async () => {
      await closeAll();
      await truncate(file, 40 * 8192 + 17);
      const error = (await opening()) as Error;
      expect(error).toMatchObject({ code: 'CORRUPT' });
      expect(error.message).toContain(file);
    });

    test('bytes overwritten anywhere are found on opening or by a verified read', async () => {
      await closeAll();
      const good = await readFile(file);
      for (const place of [0.1, 0.3, 0.5, 0.7, 0.9]) {
        const handle = await open(file, 'r+');
        await handle.write(Buffer.alloc(3000, 0xa7), 0, 3000, Math.floor(good.length * place));
        await handle.close();
        const found = await opening();
        if (found instanceof SqliteLog)
          expect(await verifyStream(found, stream)).toMatchObject({ ok: false });
        else expect(found).toMatchObject({ code: 'CORRUPT' });
        await closeAll();
        await writeFile(file, good);
      }
      log = (await opening()) as SqliteLog;
      expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: count });
    });

    test('a snapshot that was edited or cannot be unpacked is left out, the others are there', async () => {
      const snapshot = (position: number) => ({
        position,
        hash: 'a',
        version: '1',
        state: `state ${position}`,
      });
      const edits = [
        'UPDATE snapshot SET position = 3 WHERE position = 2',
        `UPDATE snapshot SET state_gzip = x'00' WHERE position = 2`,
        `UPDATE snapshot SET version = CAST(x'ff' AS TEXT) WHERE position = 2`,
        'UPDATE snapshot SET checksum = 7 WHERE position = 2',
      ];
      for (const edit of edits) {
        await log.saveSnapshot(stream, snapshot(1));
        await log.saveSnapshot(stream, snapshot(2));
        withDatabase(file, (db) => db.exec(edit));
        expect(await log.snapshots(stream)).toEqual([snapshot(1)]);
      }
    });
  });

  describe('trouble while it runs', () => {
    test('FULL: nothing of the call is in, and it goes on by itself when there is room', async () => {
      log = await openLog({ maxBytes: 4 << 20 });
      await add();
      const state = randomBytes(1 << 20).toString('hex');
      await log.saveSnapshot(stream, { position: 1, hash: '', version: '', state });
      await fillUp();
      const head = await log.head(stream);
      const decisions = sampleDecisions(head, { decisions: 200, events: 2, data: 'x'.repeat(1000) });
      await expect(log.append(stream, head.position, decisions)).rejects.toMatchObject({
        code: 'FULL',
        message: expect.stringContaining(file),
      });
      expect(await log.head(stream)).toEqual(head);
      expect(await collect(log.read(stream, head.position + 1))).toEqual([]);

      withDatabase(file, (db) => db.exec('DELETE FROM snapshot'));
      await log.append(stream, head.position, decisions);
      expect(await log.head(stream)).toEqual(headAfter(head, decisions));
      expect(await verifyStream(log, stream)).toMatchObject({ ok: true });
    }, 60_000);

    test('a real disk that is full: the same', async () => {
      const disk = join(root, 'disk');
      await mkdir(disk);
      if (!mounted(disk, 'size=2m')) return;
      try {
        file = join(disk, 'log.db');
        log = await openLog();
        await fillUp();
        const head = await log.head(stream);
        const decisions = sampleDecisions(head, { decisions: 100, data: 'x'.repeat(1000) });
        await expect(log.append(stream, head.position, decisions)).rejects.toMatchObject({ code: 'FULL' });
        expect(await log.head(stream)).toEqual(head);
        execFileSync('mount', ['-o', 'remount,size=8m', disk]);
        await log.append(stream, head.position, decisions);
        expect(await log.head(stream)).toEqual(headAfter(head, decisions));
        await closeAll();
        log = await openLog();
        expect(await verifyStream(log, stream)).toMatchObject({ ok: true, head: headAfter(head, decisions) });
      } finally {
        await closeAll();
        execFileSync('umount', [disk]);
      }
    }, 60_000);

    /** Appends until there is no room for a small batch. */
    const fillUp = async (): Promise<void> => {
      for (let round = 0; round < 1000; round++) {
        try {
          await add({ decisions: 20, data: 'x'.repeat(1000) });
        } catch (error) {
          expect(error).toMatchObject({ code: 'FULL' });
          return;
        }
      }
      throw new Error('it never was full');
    };

    test('another process that holds the file: UNAVAILABLE, and then it goes on', async () => {
      log = await openLog({ busyTimeout: 50 });
      await add();
      const other = new Database(file);
      other.exec('BEGIN IMMEDIATE');
      await expect(add()).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining(file),
      });
      expect((await log.head(stream)).position).toBe(1);
      other.exec('ROLLBACK');
      other.close();
      await add();
      expect((await log.head(stream)).position).toBe(2);
    });

    test('a file that is moved away is not written to; put back, it goes on', async () => {
      log = await openLog();
      await add();
      await rename(file, `${file}.away`);
      await expect(add()).rejects.toMatchObject({
        code: 'NOT_ALLOWED',
        message: expect.stringContaining('removed'),
      });
      await writeFile(file, '');
      await expect(add()).rejects.toMatchObject({
        code: 'NOT_ALLOWED',
        message: expect.stringContaining('replaced'),
      });
      await rename(`${file}.away`, file);
      await add();
      expect((await log.head(stream)).position).toBe(2);
    });

    test('a worker that dies fails what was asked of it, and the next call has a new one', () => {
      const output = execFileSync(process.execPath, [
        '--input-type=module',
        '-e',
        loseTheWorker,
        file,
        stream,
      ]);
      expect(JSON.parse(output.toString())).toEqual({
        workers: 2,
        append: 'OUTCOME_UNKNOWN',
        read: 'UNAVAILABLE',
        head: 3001,
        followed: 3001,
      });
    });

    test('kill -9 of a process that appends: all it was told is in, decisions are whole, the chain is good', async () => {
      for (let round = 0; round < 3; round++) {
        const child = spawn(process.execPath, ['--input-type=module', '-e', appendForever, file, stream], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let acknowledged = 0;
        let lines = 0;
        for await (const line of createInterface(child.stdout)) {
          // What is still in the pipe after the kill was acknowledged as well.
          acknowledged = Number(line);
          lines += 1;
          if (lines === 25) child.kill('SIGKILL');
        }
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
        expect(child.signalCode).toBe('SIGKILL');
        log = await openLog();
        const verification = await verifyStream(log, stream);
        expect(verification).toMatchObject({ ok: true });
        expect(verification.events).toBeGreaterThanOrEqual(acknowledged);
        expect(verification.events % 60).toBe(0);
        await closeAll();
      }
    }, 60_000);

    test('what another connection appends during a read is not taken for a gap', async () => {
      log = await openLog();
      const reader = await openLog();
      let writing = true;
      const write = async (): Promise<void> => {
        let head = emptyHead(stream);
        for (let round = 0; round < 300; round++) {
          const decisions = sampleDecisions(head);
          await log.append(stream, head.position, decisions);
          head = headAfter(head, decisions);
        }
        writing = false;
      };
      const read = async (): Promise<number> => {
        let position = 0;
        while (writing) {
          for await (const records of reader.read(stream, position + 1)) position = records.at(-1)!.position;
        }
        return position;
      };
      const [position] = await Promise.all([read(), write()]);
      expect(position).toBeLessThanOrEqual(300);
      expect(await verifyStream(reader, stream)).toMatchObject({ ok: true, events: 300 });
    });

    test("another process's appends are followed, and both write to one file", async () => {
      log = await openLog();
      await add();
      const child = spawn(process.execPath, ['--input-type=module', '-e', appendForever, file, stream], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const stop = new AbortController();
      let seen = 0;
      for await (const records of log.follow(stream, 0, stop.signal, { verify: emptyHead(stream) })) {
        seen += records.length;
        if (seen > 600) stop.abort();
      }
      const head = await log.head(stream);
      // Sooner or later this process is the faster one.
      for (let mine = 0; mine < 1;) {
        try {
          await add();
          mine += 1;
        } catch (error) {
          expect(error).toMatchObject({ code: 'WRONG_POSITION' });
        }
      }
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      expect((await log.head(stream)).position).toBeGreaterThan(head.position);
      expect(await verifyStream(log, stream)).toMatchObject({ ok: true });
    }, 60_000);
  });
});

/** Runs in a process of its own, from the build: says each position it was told is durable. */
const built = pathToFileURL(join(import.meta.dirname, '../../../dist/libs/log/src')).href;
const appendForever = `
  import { SqliteLog } from '${built}/sqlite-log.js';
  import { headAfter, sampleDecisions } from '${built}/sample-records.js';
  const [file, stream] = process.argv.slice(1);
  const log = await SqliteLog.open(file);
  let head = await log.head(stream);
  for (;;) {
    const decisions = sampleDecisions(head, { decisions: 20, events: 3, data: process.pid });
    try {
      await log.append(stream, head.position, decisions);
      head = headAfter(head, decisions);
      process.stdout.write(head.position + '\\n');
    } catch (error) {
      if (error.code !== 'WRONG_POSITION') throw error;
      head = await log.head(stream);
    }
  }
`;

/** In a process of its own too: jest's sandbox does not pass on the event that tells of a new thread. */
const loseTheWorker = `
  import { SqliteLog } from '${built}/sqlite-log.js';
  import { headAfter, sampleDecisions } from '${built}/sample-records.js';
  const [file, stream] = process.argv.slice(1);
  const workers = [];
  process.on('worker', (worker) => workers.push(worker));
  const log = await SqliteLog.open(file);
  let head = await log.head(stream);
  const one = sampleDecisions(head);
  await log.append(stream, 0, one);
  head = headAfter(head, one);

  const stop = new AbortController();
  let followed = 0;
  const following = (async () => {
    for await (const records of log.follow(stream, 0, stop.signal)) {
      followed += records.length;
      if (followed === 3001) stop.abort();
    }
  })();
  const decisions = sampleDecisions(head, { decisions: 3000 });
  const calls = [log.append(stream, 1, decisions), log.head(stream)];
  const [append, read] = await Promise.allSettled([...calls, workers[0].terminate()]);
  await log.append(stream, 1, decisions);
  await following;
  const { position } = await log.head(stream);
  await log.close();
  const result = { workers: workers.length, append: append.reason?.code, read: read.reason?.code, head: position, followed };
  process.stdout.write(JSON.stringify(result));
`;

function withDatabase<T>(file: string, work: (db: Database.Database) => T): T {
  const db = new Database(file);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

/** Writes the changed records past the log, as somebody with `sqlite3` could. */
function tamper(
  file: string,
  stream: string,
  change: (records: readonly StoredRecord[]) => readonly StoredRecord[],
): void {
  withDatabase(file, (db) => {
    const [{ id }] = db.prepare('SELECT id FROM stream WHERE name = ?').all(stream) as [{ id: number }];
    const rows = db.prepare('SELECT * FROM log WHERE stream = ? ORDER BY position').all(stream);
    const records = rows as (StoredRecord & { input: string | null })[];
    db.exec('BEGIN');
    db.prepare('DELETE FROM record WHERE stream = ?').run(id);
    const insert = db.prepare(
      'INSERT INTO record (stream, position, hash, body, input) VALUES (?, ?, ?, ?, ?)',
    );
    for (const { position, hash, body, input } of change(records)) {
      insert.run([id, position, hash, body, input ?? null]);
    }
    db.exec('COMMIT');
  });
}

/** A small disk in memory, where this user may have one. */
function mounted(directory: string, size: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'none', directory], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('left out: this user may not mount a small disk');
    return false;
  }
}
