import { afterEach, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { emptyHead } from './chain.js';
import { headAfter, sampleDecisions } from './sample-records.js';
import { SqliteLog } from './sqlite-log.js';

let holder: ChildProcess | undefined;
let directory: string | undefined;
afterEach(async () => {
  holder?.kill('SIGKILL');
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
});

const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux(
  'a log file that another process holds: the error names the process, and what to do when it is stopped',
  async () => {
    directory = await mkdtemp(join(tmpdir(), 'vf-lock-'));
    const file = join(directory, 'events.db');
    const log = await SqliteLog.open(file, { busyTimeout: 50 });
    const driver = pathToFileURL(createRequire(import.meta.url).resolve('libsql')).href;
    const program = `
      import(${JSON.stringify(driver)}).then(({ default: Database }) => {
        const db = new Database(${JSON.stringify(file)});
        db.exec('BEGIN IMMEDIATE');
        process.stdout.write('held');
        setInterval(() => db, 1000);
      });`;
    holder = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(holder.stdout!, 'data');
    const { pid } = holder;
    const append = (): Promise<void> => log.append('a', 0, sampleDecisions(emptyHead('a')));
    await expect(append()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`is held by process ${pid}; nothing was written`),
    });
    holder.kill('SIGSTOP');
    let said = '';
    // The signal is not obeyed at once.
    while (!said.includes('stopped')) said = await append().then(String, (error: Error) => error.message);
    expect(said).toContain(
      `by process ${pid}, which is stopped: let it go on (kill -CONT ${pid}) or end it (kill -9 ${pid})`,
    );
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await append();
    expect(await log.head('a')).toEqual(headAfter(emptyHead('a'), sampleDecisions(emptyHead('a'))));
    await log.close();
  },
  20_000,
);
