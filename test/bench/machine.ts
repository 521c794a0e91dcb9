import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem, type } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { findNatsServer } from '#broker';

/** Where figures come from. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
}

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${type()} ${release()}`,
});

/** What was measured with what. */
export async function versions(): Promise<Record<string, string>> {
  const server = await findNatsServer().catch(() => undefined);
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    'nats-server': server?.version ?? 'none',
    commit: commit(),
  };
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ' and changes'}`;
  } catch {
    return 'unknown';
  }
}

const times = (): { busy: number; all: number } => {
  let [busy, all] = [0, 0];
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.idle + times.irq;
    all += sum;
    busy += sum - times.idle;
  }
  return { busy, all };
};

/** The share of the machine that others use just now, from 0 to 1, while this process does nothing. */
export async function busyShare(milliseconds = 1000): Promise<number> {
  const before = times();
  await delay(milliseconds);
  const after = times();
  return (after.busy - before.busy) / Math.max(1, after.all - before.all);
}
