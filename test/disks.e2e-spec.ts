import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectWhole, health, reportHosts, serve, Starts, untilHealth } from './support/conversation.js';
import { input } from './support/inputs.js';
import { readLogFile } from './support/log-file.js';
import { NatsClient } from './support/nats-client.js';
import { freePort, kill, natsServersBelow, Programs } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(60_000);

const MAIN = join(import.meta.dirname, '../dist/apps/standalone/src/main.js');
const VFCTL = join(import.meta.dirname, '../dist/apps/vfctl/src/main.js');
const DEMO = join(import.meta.dirname, '../dist/apps/demo/src/main.js');

const programs = new Programs();
const clients: NatsClient[] = [];
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await programs.end();
});

async function connected(url: string): Promise<NatsClient> {
  const client = await NatsClient.connect(url);
  clients.push(client);
  return client;
}

function skipped(): void {
  process.stderr.write('skipped: a small disk cannot be mounted here (mount -t tmpfs needs root)\n');
}

/** Writes until nothing more fits. */
async function fill(file: string): Promise<void> {
  for (const size of [256 * 1024, 4096]) {
    for (;;) {
      try {
        await writeFile(file, Buffer.alloc(size), { flag: 'a' });
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
        break;
      }
    }
  }
}

/** Publishes until NATS has given up on `VF_IN`: what still fits into files that are there is taken. */
async function latch(client: NatsClient): Promise<void> {
  await until('a publish that is not acknowledged', () =>
    client
      .publish(input('VmStopped', { vmId: 'nobody', reason: 'x'.repeat(100_000) }), { timeout: 500 })
      .then(
        () => false,
        () => true,
      ),
  );
}

interface Said {
  readonly trouble?: string;
  readonly log?: { readonly dropped: number };
}

const said = async (http: string): Promise<Said & { status: number }> =>
  (await health(http)) as unknown as Said & { status: number };

/** Waits until health says something. */
const untilSaid = (http: string, what: RegExp): Promise<unknown> => {
  let last: unknown;
  return until(
    () => `${what} in health, which says ${JSON.stringify(last)}`,
    async () => {
      const now = await said(http);
      last = now;
      return now.status === 503 && what.test(now.trouble ?? '');
    },
  );
};

describe('a standalone whose one disk is full', () => {
  test('says so, loses nothing, and goes on when there is room, whatever its nats-server did meanwhile', async () => {
    const disk = await programs.smallDisk(48);
    if (disk === undefined) return skipped();
    const { program, http } = await serve(programs, 'standalone', { VF_DATA_DIR: disk });
    const { nats } = await program.ready();
    const client = await connected(nats);
    await reportHosts(client);
    const starts = new Starts(client, 'disk');
    const ballast = join(disk, 'ballast');
    starts.begin();
    await starts.some(10);

    // It gives up on a stream, and must be started again.
    const [first] = natsServersBelow(disk);
    await fill(ballast);
    await untilSaid(http, new RegExp(`there is no room on the disk of ${disk} .*bytes are free`));
    await latch(client);
    await untilSaid(
      http,
      /nats-server stores nothing more in \w+ since a write of its failed .*no space left/,
    );
    // Never while there is no room: it would be away altogether.
    await latch(client);
    expect(natsServersBelow(disk)).toEqual([first]);
    await rm(ballast);
    await untilHealth(http, 200);
    await starts.some(10);
    const [second] = natsServersBelow(disk);
    expect(second).not.toBe(first);

    // It dies meanwhile.
    await fill(ballast);
    await untilSaid(http, /there is no room/);
    kill(second!, 'SIGKILL');
    await untilSaid(http, /nats-server does not run/);
    expect(natsServersBelow(disk)).toEqual([]);
    expect(program.running).toBe(true);
    await rm(ballast);
    await untilHealth(http, 200);
    await starts.some(10);
    await starts.end();
    await expectWhole(client, starts.ids, () => readLogFile(join(disk, 'events.db')));
    // The read side has what came meanwhile, without a restart.
    const verified = await client.query<{ ok: boolean }>('verify');
    expect(verified).toMatchObject({ ok: true });
    expect(program.log(50)).toEqual([]);
    expect((await program.ready()).nats).toBe(nats);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(natsServersBelow(disk)).toEqual([]);
  }, 90_000);

  test('ends when it is asked to while it is full, and does not start again without room', async () => {
    const disk = await programs.smallDisk(32);
    if (disk === undefined) return skipped();
    const { program, http } = await serve(programs, 'standalone', { VF_DATA_DIR: disk });
    const client = await connected((await program.ready()).nats);
    await reportHosts(client);
    await fill(join(disk, 'ballast'));
    await latch(client);
    await untilSaid(http, /there is no room/);
    const asked = performance.now();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - asked).toBeLessThan(8000);
    expect(natsServersBelow(disk)).toEqual([]);
    const again = await programs.start('standalone', { VF_DATA_DIR: disk });
    expect(await again.exit()).toEqual({ code: 1, signal: null });
    expect(again.stderr.trim()).toMatch(
      new RegExp(
        `^vf-scheduler: there is no room on the disk of ${disk} .* set VF_DATA_DIR to another disk`,
        'm',
      ),
    );
    expect(natsServersBelow(disk)).toEqual([]);
  });
});

test("a NATS of somebody else's that gave up on VF_IN: its operator is told, and it is well when it was started again", async () => {
  const disk = await programs.smallDisk(24);
  if (disk === undefined) return skipped();
  let server = await programs.natsServer({ dataDir: disk });
  const { program, http } = await serve(programs, 'allocator', { VF_NATS_URL: server.url });
  const client = await connected(server.url);
  await fill(join(disk, 'ballast'));
  await latch(client);
  await untilSaid(
    http,
    /nats-server stores nothing more in VF_IN .*: make room on its disk, and start it again/,
  );
  await rm(join(disk, 'ballast'));
  await server.stop();
  server = await programs.natsServer({ dataDir: disk, port: server.port });
  await untilHealth(http, 200);
  expect(await program.stop()).toEqual({ code: 0, signal: null });
  await server.stop();
});

describe('the log of a process', () => {
  /** A standalone with its output where the test says, by file descriptors. */
  async function standalone(
    stdout: number | 'ignore',
    stderr: number,
  ): Promise<{ http: string; stop(): Promise<unknown> }> {
    const port = await freePort();
    const dataDir = await programs.directory();
    const child = spawn(process.execPath, [MAIN], {
      env: {
        PATH: process.env['PATH'],
        ...{ VF_DATA_DIR: dataDir, VF_NATS_PORT: '0', VF_HTTP_PORT: String(port), VF_LOG_LEVEL: 'debug' },
      },
      stdio: ['ignore', stdout, stderr],
    });
    const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    const http = `http://127.0.0.1:${port}`;
    await untilHealth(http, 200);
    return {
      http,
      stop: async () => {
        child.kill('SIGTERM');
        const how = await exited;
        expect(natsServersBelow(dataDir)).toEqual([]);
        return how;
      },
    };
  }

  test('on a full disk: lines are dropped and counted, which is said when there is room, and it ends when asked to', async () => {
    const disk = await programs.smallDisk(1);
    if (disk === undefined) return skipped();
    const file = join(disk, 'log');
    const log = openSync(file, 'a');
    const ballast = join(disk, 'ballast');
    await fill(ballast);
    const running = await standalone(log, log);
    expect((await said(running.http)).log?.dropped).toBeGreaterThan(0);
    await rm(ballast);
    const lines = await until('the count', async () => {
      const text = (await readFile(file, 'utf8')).trim().split('\n');
      return (
        text.some((line) => line.includes('are missing here')) &&
        text.some((line) => line.includes('"ready":true')) &&
        text
      );
    });
    const all = lines.map((line) => JSON.parse(line) as { ready?: boolean; dropped?: number });
    // The ready line was waited for, not dropped.
    expect(all.filter(({ ready }) => ready === true)).toHaveLength(1);
    const { dropped } = all.find((line) => line.dropped !== undefined)!;
    expect(dropped).toBeGreaterThan(0);
    expect((await said(running.http)).log?.dropped).toBe(dropped);
    await fill(ballast);
    expect(await running.stop()).toEqual({ code: 0, signal: null });
    closeSync(log);
  });

  test('into a pipe that nobody reads: nothing waits for it, and it ends when asked to', async () => {
    const fifo = join(await programs.directory(), 'pipe');
    spawnSync('mkfifo', [fifo]);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(fifo, constants.O_WRONLY);
    // Full from the first line on.
    const filler = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    expect(() => {
      for (;;) writeSync(filler, Buffer.alloc(4096));
    }).toThrow('EAGAIN');
    const running = await standalone(writer, writer);
    expect((await said(running.http)).status).toBe(200);
    expect(await running.stop()).toEqual({ code: 0, signal: null });
    for (const fd of [reader, writer, filler]) closeSync(fd);
  });
});

describe('what a program prints goes nowhere', () => {
  const run = (program: string, rest: string): { status: number | null; stderr: string } =>
    spawnSync('bash', ['-c', `set -o pipefail; "$0" "$1" ${rest}`, process.execPath, program], {
      encoding: 'utf8',
      timeout: 30_000,
    });

  test('vfctl: a full disk has a sentence and an exit code, a reader that has enough is no fault', () => {
    const full = run(VFCTL, 'completion bash > /dev/full');
    expect(full.status).toBe(9);
    expect(full.stderr.trim()).toMatch(
      /^vfctl: what was to be printed could not be written \(ENOSPC\)[^\n]*$/,
    );
    expect(run(VFCTL, 'completion bash | head -1 > /dev/null')).toMatchObject({ status: 0, stderr: '' });
    expect(run(VFCTL, 'no-such-command 2> /dev/full').status).toBe(2);
  });

  test('the demo ends, and leaves nothing behind', () => {
    const full = run(DEMO, '> /dev/full');
    expect([full.status, full.stderr]).toEqual([
      1,
      'vf-scheduler: the story could not be written (ENOSPC)\n',
    ]);
  });
});
