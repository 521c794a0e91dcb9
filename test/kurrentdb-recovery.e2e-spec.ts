import { afterAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { health, untilHealth } from './support/conversation.js';
import { hostReported, input, vmStart } from './support/inputs.js';
import { KurrentDoubleProcess } from './support/kurrent-double.js';
import { NatsClient } from './support/nats-client.js';
import { freePort, Programs, type Program } from './support/programs.js';
import { until } from './support/until.js';

/** Longer than the client of KurrentDB looks for a server at its first use. */
const AWAY = 12_000;
/** From the server's being back to the next decision. */
const SOON = 2000;

const programs = new Programs();
const doubles: KurrentDoubleProcess[] = [];
afterAll(async () => {
  await programs.end();
  for (const double of doubles) {
    double.thaw();
    await double.end();
  }
});

async function kurrent(...args: readonly string[]): Promise<KurrentDoubleProcess> {
  const double = await KurrentDoubleProcess.start(...args);
  doubles.push(double);
  return double;
}

interface Running {
  readonly program: Program;
  readonly http: string;
  readonly client: NatsClient;
}

async function standalone(url: string, settings: Record<string, string> = {}): Promise<Running> {
  const program = await programs.start('standalone', { VF_EVENT_LOG: url, ...settings });
  const { nats, http } = await program.ready(60_000);
  return { program, http, client: await NatsClient.connect(nats) };
}

/** Requests one after the other, each awaited by its outcome in the read side; remembers when the last one had it. */
class Requests {
  last = 0;
  count = 0;
  #over = false;
  readonly #running: Promise<void>;

  constructor(private readonly client: NatsClient) {
    this.#running = this.#run();
  }

  /** How long after a moment a request has its outcome; waits for it. */
  async next(since: number): Promise<number> {
    await until('a request has its outcome', () => this.last > since, { timeout: 60_000, every: 5 });
    return this.last - since;
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      const { event, ...rest } = vmStart(`vm-${++this.count}`);
      await this.client.publishUntilStored({ event, ...rest });
      // A question that falls into the silence may have no answer in time: it is asked again.
      const ask = () =>
        this.client.query<{ outcome?: unknown }>('outcome', { id: event.id }).catch(() => undefined);
      const answered = async (): Promise<boolean> => (await ask())?.outcome !== undefined;
      await until('its outcome', answered, { timeout: 120_000, every: 10 });
      this.last = performance.now();
    }
  }
}

describe('a standalone on KurrentDB (the double)', () => {
  test.each<
    [string, (double: KurrentDoubleProcess) => Promise<void>, (double: KurrentDoubleProcess) => Promise<void>]
  >([
    ['closed', (double) => double.tell({ do: 'stop' }), (double) => double.tell({ do: 'start' })],
    ['silent', async (double) => double.freeze(), async (double) => double.thaw()],
  ])(
    `whose server is %s for ${AWAY / 1000} s, twice, is not ready meanwhile, decides and answers within ${SOON} ms of its being back`,
    async (what, leave, comeBack) => {
      const double = await kurrent();
      const { program, http, client } = await standalone(double.url);
      await client.publishUntilStored(hostReported('h1', 4));
      const requests = new Requests(client);
      await requests.next(performance.now());
      for (let time = 1; time <= 2; time++) {
        await leave(double);
        const left = performance.now();
        await untilHealth(http, 503, AWAY);
        expect((await health(http)).clusters['default']).toMatchObject({
          trouble: expect.stringContaining('kurrentdb://'),
        });
        await wait(AWAY - (performance.now() - left));
        await comeBack(double);
        const back = performance.now();
        const late = await requests.next(back);
        process.stderr.write(`KurrentDB was ${what}: the next outcome after ${Math.round(late)} ms\n`);
        expect(late).toBeLessThan(SOON);
        await untilHealth(http, 200, 5000);
      }
      await requests.end();
      // Each of them, however it went, has one outcome.
      const { events } = await client.query<{ events: { type: string }[] }>('history', {
        types: ['VmStartAccepted', 'VmStartFailed'],
        limit: 1000,
      });
      expect(events).toHaveLength(requests.count);
      await client.close();
      expect(await program.stop()).toEqual({ code: 0, signal: null });
      expect(program.log(50)).toEqual([]);
    },
    120_000,
  );

  test(`that is started ${AWAY / 1000} s before its server waits for it`, async () => {
    const double = await kurrent('--port', String(await freePort()), '--closed');
    const starting = standalone(double.url);
    starting.catch(() => undefined);
    await wait(AWAY);
    await double.tell({ do: 'start' });
    const back = performance.now();
    const { client, program } = await starting;
    process.stderr.write(
      `started before KurrentDB: ready ${Math.round(performance.now() - back)} ms after it\n`,
    );
    const { event, ...rest } = vmStart('vm-1');
    await client.publishUntilStored({ event, ...rest });
    expect(await client.outcome(event.id)).toMatchObject({ type: 'VmStartFailed' });
    await client.close();
    await program.stop();
  }, 90_000);

  test('serves the other clusters when the log of one is strange, and that of another deleted for good', async () => {
    const double = await kurrent();
    const dataDir = await programs.directory();
    const first = await standalone(double.url, { VF_DATA_DIR: dataDir });
    for (const cluster of ['default', 'c1', 'c2', 'c3']) {
      await first.client.publishUntilStored(hostReported('h1', 4, { cluster }));
      const request = vmStart('vm-1', { cluster });
      await first.client.publishUntilStored(request);
      await first.client.outcome(request.event.id, cluster);
    }
    await first.client.close();
    await first.program.stop();
    await double.tell({ stray: 'vfCluster-c1' });
    await double.tell({ tombstone: 'vfCluster-c2' });

    const again = await standalone(double.url, { VF_DATA_DIR: dataDir });
    const ready = (query = ''): Promise<Response> => fetch(`${again.http}/health/ready${query}`);
    const degraded = await ready();
    expect([degraded.status, await degraded.json()]).toEqual([
      200,
      expect.objectContaining({
        status: 'degraded',
        troubled: {
          c1: expect.stringMatching(/position \d.*not an event that this/),
          c2: expect.stringContaining('deleted for good'),
        },
      }),
    ]);
    const statuses = await Promise.all(
      ['default', 'c1', 'c2', 'c3', 'nowhere'].map(
        async (cluster) => (await ready(`?cluster=${cluster}`)).status,
      ),
    );
    expect(statuses).toEqual([200, 503, 503, 200, 404]);
    for (const cluster of ['default', 'c3']) {
      const stop = input('VmStopped', { vmId: 'vm-1' }, { cluster });
      await again.client.publishUntilStored(stop);
      expect(await again.client.outcome(stop.event.id, cluster)).toMatchObject({ type: 'VmStopped' });
    }
    // Each trouble is said once, by who leads and by who reads, and not at each of the tries.
    await wait(5000);
    for (const cluster of ['c1', 'c2'])
      expect(
        again.program.log(40).filter(({ msg }) => msg.includes(`'${cluster}'`)).length,
      ).toBeLessThanOrEqual(4);
    await again.client.close();
    await again.program.stop();

    // Who leads another one only has nothing to do with it; who leads nothing else is told.
    const other = await standalone(double.url, { VF_CLUSTERS: 'c3' });
    expect(await (await fetch(`${other.http}/health/ready`)).json()).toMatchObject({ status: 'ok' });
    await other.client.close();
    await other.program.stop();
    const refused = await programs.start('standalone', { VF_EVENT_LOG: double.url, VF_CLUSTERS: 'c1' });
    expect((await refused.exit(60_000)).code).toBe(1);
    expect(refused.stderr).toMatch(/^vf-scheduler: the log of 'c1' is damaged at position \d/m);

    // The way out that the how-to gives: a copy without the stranger's event, beside the old one. No decision is lost.
    const copy = `${double.url}&streamPrefix=vf2`;
    const main = join(import.meta.dirname, '../dist/apps/log-copy/src/main.js');
    const run = promisify(execFile);
    await expect(run(process.execPath, [main, double.url, copy])).rejects.toMatchObject({ code: 1 });
    const args = [
      main,
      double.url,
      copy,
      '--up-to-damage',
      '--cluster',
      'default',
      '--cluster',
      'c1',
      '--cluster',
      'c3',
    ];
    const { stdout } = await run(process.execPath, args);
    expect(stdout).toMatch(/^c1: \d events copied, up to position 3, hash/m);
    const mended = await standalone(copy, { VF_DATA_DIR: dataDir });
    expect((await fetch(`${mended.http}/health/ready?cluster=c1`)).status).toBe(200);
    const stop = input('VmStopped', { vmId: 'vm-1' }, { cluster: 'c1' });
    await mended.client.publishUntilStored(stop);
    expect(await mended.client.outcome(stop.event.id, 'c1')).toMatchObject({
      type: 'VmStopped',
      position: '5',
    });
    await mended.client.close();
    await mended.program.stop();
  }, 120_000);

  test.each([
    ['$maxCount', { $maxCount: 2 }, { $acl: {} }],
    ['$tb, as a deletion leaves it,', { $tb: 2 ** 63 }, {}],
  ])(
    'says so within a minute when %s cuts its history, and when that was taken back',
    async (_, cut, mended) => {
      const double = await kurrent();
      const { client, http, program } = await standalone(double.url);
      await client.publishUntilStored(hostReported('h1', 4));
      await client.publishUntilStored(vmStart('vm-1'));
      const before = vmStart('vm-1');
      await client.publishUntilStored(before);
      await client.outcome(before.event.id);
      await double.tell({ stream: 'vfCluster-default', metadata: cut });
      await untilHealth(http, 503, 60_000);
      const [name] = Object.keys(cut);
      expect((await health(http)).clusters['default']?.trouble).toContain(name);
      await double.tell({ stream: 'vfCluster-default', metadata: mended });
      await untilHealth(http, 200, 60_000);
      const request = vmStart('vm-2');
      await client.publishUntilStored(request);
      expect(await client.outcome(request.event.id)).toMatchObject({ type: 'VmStartAccepted' });
      await client.close();
      await program.stop();
    },
    150_000,
  );
});
