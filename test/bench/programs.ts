import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { findNatsServer, startNatsServer } from '#broker';

/** Where profiles go, when they are asked for: `npm run bench -- --profile`. */
export const PROFILE_DIRECTORY = 'VF_BENCH_PROFILE';

/** What must not outlive this process, however it ends. */
const started = new Set<number>();

/** Ends every program that was started here, at once. */
export function killAll(): void {
  for (const pid of started) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  started.clear();
}

/** A program that is measured. */
export interface Program {
  readonly pid: number;
  /** Ends it in order, and waits until it is gone. */
  stop(): Promise<void>;
  /** As if its machine had stopped. */
  kill(): Promise<void>;
  /** Measures while it lives: one that dies would be waited for for ever. */
  whileItLives<T>(measuring: Promise<T>): Promise<T>;
  /** Told of each line that a probe in it writes: see `startProgram`. */
  onLine(listener: (line: string) => void): void;
}

export interface ProgramOptions {
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  /** A file of this folder that is loaded into the program too, and writes lines to file descriptor 3. */
  readonly probe?: string;
}

/** Starts a compiled program, named from this folder, and waits for its first line. */
export async function startProgram(
  file: string,
  { args = [], env = {}, probe }: ProgramOptions = {},
): Promise<Program> {
  const profile = process.env[PROFILE_DIRECTORY];
  const options = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  if (probe !== undefined) options.push(`--import=${pathToFileURL(join(import.meta.dirname, probe)).href}`);
  const child = spawn(process.execPath, [...options, join(import.meta.dirname, file), ...args], {
    env: { ...process.env, ...env },
    // A group of its own: Ctrl-C shall reach us, who stop it in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit', probe === undefined ? 'ignore' : 'pipe'],
  });
  const { pid } = child;
  if (pid !== undefined) started.add(pid);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  void exited.then(() => started.delete(pid as number));
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', () => resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code} before it was ready`)));
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await exited;
  };
  return {
    pid: pid as number,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    onLine: (listener) => {
      const lines = child.stdio[3];
      if (lines instanceof Readable) createInterface({ input: lines }).on('line', listener);
    },
    whileItLives: (measuring) => whileItLives(child, file, measuring),
  };
}

async function whileItLives<T>(child: ChildProcess, file: string, measuring: Promise<T>): Promise<T> {
  let onExit = (): void => undefined;
  const died = new Promise<never>((_, reject) => {
    onExit = () =>
      reject(new Error(`${file} ended with ${child.signalCode ?? child.exitCode} while it was measured`));
    child.once('exit', onExit);
  });
  try {
    return await Promise.race([measuring, died]);
  } finally {
    child.off('exit', onExit);
  }
}

/**
 * Runs a compiled program in a process of its own, to its end, as a start after a restart would find things:
 * nothing is warm.
 *
 * @returns what it wrote to stdout, read as JSON.
 */
export async function runApart<T>(file: string, args: readonly string[] = []): Promise<T> {
  const profile = process.env[PROFILE_DIRECTORY];
  const options = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  const running = promisify(execFile)(process.execPath, [...options, file, ...args]);
  const { pid } = running.child;
  if (pid !== undefined) started.add(pid);
  try {
    return JSON.parse((await running).stdout) as T;
  } finally {
    started.delete(pid as number);
  }
}

/** Gives a directory that is gone afterwards. */
export async function inDirectory<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'vf-bench-'));
  try {
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Runs on a nats-server of its own, with the given sync setting. */
export const onServer = <T>(
  syncInterval: string,
  body: (url: string, directory: string) => Promise<T>,
): Promise<T> =>
  inDirectory(async (directory) => {
    const { path: binary } = await findNatsServer();
    const server = await startNatsServer({ binary, dataDir: directory, port: 0, syncInterval });
    started.add(server.pid);
    try {
      return await body(server.url, directory);
    } finally {
      await server.stop();
      started.delete(server.pid);
    }
  });

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
