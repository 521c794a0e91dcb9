import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kill, natsServersBelow } from './support/programs.js';
import { until } from './support/until.js';

const ROOT = join(import.meta.dirname, '..');
const directories: string[] = [];
const children: ChildProcess[] = [];

jest.setTimeout(120_000);
afterAll(async () => {
  for (const { pid, exitCode, signalCode } of children) {
    if (pid !== undefined && exitCode === null && signalCode === null) kill(pid, 'SIGKILL');
  }
  for (const directory of directories) {
    for (const pid of natsServersBelow(directory)) kill(pid, 'SIGKILL');
    await rm(directory, { recursive: true, force: true });
  }
});

describe('npm start, as a user types it', () => {
  // A shell between npm and the program would die of the signal and leave the program behind.
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s to npm drains, exits 0 and leaves nothing behind',
    async (signal) => {
      const dataDir = await mkdtemp(join(tmpdir(), 'vf-npm-start-'));
      directories.push(dataDir);
      const npm = spawn('npm', ['start'], {
        cwd: ROOT,
        env: { ...process.env, VF_DATA_DIR: dataDir, VF_NATS_PORT: '0', VF_HTTP_PORT: '0' },
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      children.push(npm);
      let stdout = '';
      npm.stdout.on('data', (text: Buffer) => {
        stdout += text.toString();
      });
      const exited = new Promise<unknown>((resolve) => npm.once('exit', (code, by) => resolve([code, by])));
      await until('the ready line', () => stdout.includes('"ready":true'), { timeout: 90_000 });
      expect(natsServersBelow(dataDir)).toHaveLength(1);
      npm.kill(signal);
      expect(await exited).toEqual([0, null]);
      expect(natsServersBelow(dataDir)).toEqual([]);
    },
  );
});
