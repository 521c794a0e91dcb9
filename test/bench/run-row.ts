import { fork, type ChildProcess } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Figure, Run } from './benchmark.js';
import { busyShare } from './machine.js';
import type { RowMessage } from './measure-row.js';
import { summarise } from './profile.js';
import { PROFILE_DIRECTORY } from './programs.js';
import { withMet, type RowResult } from './results.js';
import { loadRow } from './rows.js';

const PATIENCE = 300;
/** How long a row that is done, or told to end, may take to be gone, in milliseconds. */
const END_PATIENCE = 20_000;

/** Measures a row in a process of its own, within bounds; whatever happens there is said in the result. */
export async function runRow(
  row: string,
  run: Run,
  profile: boolean,
  onFigure: (figure: Figure) => void,
): Promise<RowResult> {
  const { how, patience = PATIENCE } = await loadRow(row);
  const busyBefore = await busyShare();
  const at = new Date();
  const figures: Figure[] = [];
  const directory = join('bench', 'profile', row);
  if (profile) {
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
  }
  const child = fork(join(import.meta.dirname, 'measure-row.js'), [row, JSON.stringify(run)], {
    execArgv: profile ? ['--cpu-prof', `--cpu-prof-dir=${directory}`] : [],
    env: { ...process.env, ...(profile ? { [PROFILE_DIRECTORY]: directory } : undefined) },
  });
  const failed = await ended(child, patience, (figure) => {
    figures.push(figure);
    onFigure(figure);
  });
  if (profile) process.stdout.write(await summarise(row, directory));
  return {
    row,
    how,
    at: at.toISOString(),
    quick: run.quick,
    seed: run.seed,
    seconds: Math.round((Date.now() - at.getTime()) / 100) / 10,
    busyBefore: Math.round(busyBefore * 100) / 100,
    figures: figures.map(withMet),
    ...(failed === undefined ? undefined : { failed }),
  };
}

/** Waits until a row has ended, and sees to it that it does. @returns what went wrong. */
async function ended(
  child: ChildProcess,
  patience: number,
  onFigure: (figure: Figure) => void,
): Promise<string | undefined> {
  let done = false;
  let failed: string | undefined;
  const exit = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      failed = `it could not be started: ${error.message}`;
      resolve();
    });
    child.once('exit', (code, signal) => {
      if (!done) failed ??= `it ended with ${signal ?? code}; what it said stands above`;
      resolve();
    });
  });
  const measured = new Promise<void>((resolve) => {
    child.on('message', (message: RowMessage) => {
      if (message.kind === 'figure') onFigure(message.figure);
      else {
        done = true;
        resolve();
      }
    });
  });
  const within = async (what: Promise<void>, milliseconds: number): Promise<boolean> => {
    const over = new AbortController();
    const late = delay(milliseconds, false, { signal: over.signal }).catch(() => false);
    const inTime = await Promise.race([what.then(() => true), late]);
    over.abort();
    return inTime;
  };
  if (!(await within(Promise.race([exit, measured]), patience * 1000)))
    failed = `it took longer than ${patience} s`;
  else if (!(await within(exit, END_PATIENCE))) failed = 'it was measured, but did not end by itself';
  if (failed !== undefined && child.exitCode === null) {
    child.kill('SIGTERM');
    if (!(await within(exit, END_PATIENCE))) child.kill('SIGKILL');
    await exit;
  }
  return failed;
}
