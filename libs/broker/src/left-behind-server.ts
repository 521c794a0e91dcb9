import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where a server of ours keeps its things below the data directory. */
export function serverFiles(dataDir: string) {
  const directory = resolve(dataDir, 'nats');
  return {
    directory,
    config: join(directory, 'nats-server.conf'),
    pid: join(directory, 'nats-server.pid'),
    log: join(directory, 'nats-server.log'),
    /** What it says before its log is open. */
    output: join(directory, 'nats-server.out'),
    ports: join(directory, 'ports'),
    store: directory,
  };
}

const POLL = 20;
const TERM_PATIENCE = 10_000;
const KILL_PATIENCE = 10_000;

/**
 * Ends the nats-server that a process which was killed left behind on this data directory, and waits until it
 * is gone. A process that has its number by now but is not our server is left alone.
 *
 * @param options.patience how long it may take to end by itself, in milliseconds.
 * @returns the number of the process that was ended, or undefined when there was none.
 */
export async function endLeftBehindServer(
  dataDir: string,
  { patience = TERM_PATIENCE }: { patience?: number } = {},
): Promise<number | undefined> {
  const files = serverFiles(dataDir);
  const pid = await readPid(files.pid);
  if (pid === undefined) return undefined;
  const isOurs = () => runsWith(pid, files.config);
  if (!(await isOurs())) {
    await rm(files.pid, { force: true });
    return undefined;
  }
  signal(pid, 'SIGTERM');
  if (!(await gone(isOurs, patience))) {
    signal(pid, 'SIGKILL');
    if (!(await gone(isOurs, KILL_PATIENCE))) {
      throw new Error(
        `nats-server ${pid} on ${files.directory} does not end. End it by hand ("kill -9 ${pid}").`,
      );
    }
  }
  await rm(files.pid, { force: true });
  return pid;
}

async function readPid(file: string): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(file, 'utf8')).trim());
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a process runs now whose command line names our configuration. */
async function runsWith(pid: number, config: string): Promise<boolean> {
  try {
    if (process.platform === 'linux') {
      // Empty for one that has ended but was not waited for.
      return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').includes(config);
    }
    if (process.platform === 'win32') {
      const query = `(Get-CimInstance Win32_Process -Filter "ProcessId=${pid}").CommandLine`;
      return (await run('powershell', ['-NoProfile', '-Command', query])).stdout.includes(config);
    }
    return (await run('ps', ['-o', 'command=', '-p', String(pid)])).stdout.includes(config);
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended in between.
  }
}

async function gone(isThere: () => Promise<boolean>, patience: number): Promise<boolean> {
  const deadline = performance.now() + patience;
  while (await isThere()) {
    if (performance.now() > deadline) return false;
    await wait(POLL);
  }
  return true;
}
