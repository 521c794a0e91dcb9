import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { writeFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { hostReported, input, vmStart, type Input } from './support/inputs.js';
import { Ledger } from './support/ledger.js';
import { differences, readLogFile } from './support/log-file.js';
import { headerOf, isOutcome, NatsClient } from './support/nats-client.js';
import { freePort, Programs, type Program, type Settings } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(60_000);

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

/** The status of `GET /health/ready`, or 0 when nobody answers. */
async function health(http: string): Promise<number> {
  try {
    return (await fetch(`${http}/health/ready`, { signal: AbortSignal.timeout(1000) })).status;
  } catch {
    return 0;
  }
}

const untilHealth = (http: string, status: number, timeout = 20_000): Promise<boolean> =>
  until(`health ${status}`, async () => (await health(http)) === status, { timeout });

/** Starts VMs that nobody has started, a few at a time, until told to end; remembers what is to have an outcome. */
class Starts {
  readonly ids: string[] = [];
  #over = false;
  #running: Promise<void>[] = [];

  constructor(
    readonly client: NatsClient,
    readonly prefix: string,
  ) {}

  begin(publishers = 3): void {
    this.#over = false;
    this.#running = Array.from({ length: publishers }, async () => {
      while (!this.#over) {
        await this.one();
        await wait(5);
      }
    });
    // Heard of in `end`, or not at all when the test has failed before.
    for (const publisher of this.#running) publisher.catch(() => undefined);
  }

  async one(): Promise<string> {
    const id = `${this.prefix}-${this.ids.length}`;
    this.ids.push(id);
    await this.client.publishUntilStored(vmStart(id, { id }), { timeout: 60_000, dedup: false });
    return id;
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#running);
  }
}

/** [OUT-1] [EX-1] [OUT-3] after whatever happened: one outcome for each, no VF twice, and the stream is the log. */
async function expectWhole(client: NatsClient, starts: Starts, file: string): Promise<void> {
  const last = await starts.one();
  const { position } = await client.follow().outcome(last, { timeout: 30_000 });
  const relayed = await client.readOut('default', Number(position));
  const outcomes = new Map<string, number>();
  for (const { event } of relayed) {
    if (isOutcome(event.type)) outcomes.set(event.causationid, (outcomes.get(event.causationid) ?? 0) + 1);
  }
  expect(starts.ids.filter((id) => outcomes.get(id) !== 1)).toEqual([]);
  expect(new Ledger(relayed).faults).toEqual([]);
  const { records, verification } = await readLogFile(file);
  expect(verification.ok).toBe(true);
  expect(differences(relayed, records)).toEqual([]);
}

async function fleet(client: NatsClient, hosts = 2): Promise<void> {
  const reports: Input[] = Array.from({ length: hosts }, (_, index) => hostReported(`h${index}`, 32));
  for (const report of reports) await client.publishUntilStored(report);
}

async function started(
  name: 'standalone' | 'allocator',
  settings: Settings,
): Promise<{ program: Program; http: string }> {
  const program = await programs.start(name, settings);
  return { program, http: (await program.ready()).http };
}

describe('NATS goes away and comes back', () => {
  test('kill -9 of the server under load: nothing is lost, and nobody restarts the allocator', async () => {
    const dataDir = await programs.directory();
    let server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir };
    const { program, http } = await started('standalone', settings);
    const client = await connected(server.url);
    await fleet(client);
    const starts = new Starts(client, 'killed');
    starts.begin();
    for (let round = 0; round < 3; round++) {
      const before = starts.ids.length;
      await until('some load', () => starts.ids.length > before + 30);
      process.kill(server.pid, 'SIGKILL');
      await server.exited;
      await untilHealth(http, 503);
      // Longer than the lease lasts in one round, shorter in the others.
      if (round === 1) await wait(3500);
      server = await programs.natsServer({ dataDir: server.dataDir, port: server.port });
      await untilHealth(http, 200);
    }
    await starts.end();
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    expect(program.running).toBe(true);
    expect(program.log(50)).toEqual([]);

    // Asked to end while NATS is away, it does.
    process.kill(server.pid, 'SIGKILL');
    await server.exited;
    await untilHealth(http, 503);
    const begun = performance.now();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  test('the server stands still for 10 s (SIGSTOP): 503 meanwhile, 200 after, nothing is lost', async () => {
    const dataDir = await programs.directory();
    const server = await programs.natsServer();
    const { program, http } = await started('standalone', { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir });
    const client = await connected(server.url);
    await fleet(client);
    const starts = new Starts(client, 'still');
    starts.begin();
    await until('some load', () => starts.ids.length > 30);
    process.kill(server.pid, 'SIGSTOP');
    const begun = performance.now();
    await untilHealth(http, 503);
    await wait(Math.max(0, 10_000 - (performance.now() - begun)));
    expect(await health(http)).toBe(503);
    process.kill(server.pid, 'SIGCONT');
    await untilHealth(http, 200);
    await starts.end();
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    expect(program.log(50)).toEqual([]);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    await server.stop();
  });
});

describe('an allocator that was away', () => {
  test('works off 20,000 inputs about as many VMs in seconds', async () => {
    const server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: await programs.directory() };
    await (await started('allocator', settings)).program.stop();
    const client = await connected(server.url);
    const inputs = Array.from({ length: 20_000 }, (_, index) => input('VmStopped', { vmId: `vm${index}` }));
    while (inputs.length > 0)
      await Promise.all(inputs.splice(0, 500).map((one) => client.publish(one, { timeout: 20_000 })));
    const begun = performance.now();
    const { program } = await started('allocator', settings);
    await client.readOut('default', 20_000);
    // With two filters on the consumer of VF_IN it took more than a minute.
    expect(performance.now() - begun).toBeLessThan(20_000);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    await server.stop();
  });
});

describe('streams are deleted', () => {
  test('VF_IN while it runs: it is made again, and what is published then is decided', async () => {
    const dataDir = await programs.directory();
    const { program, http } = await started('standalone', { VF_DATA_DIR: dataDir });
    const client = await connected((await program.ready()).nats);
    await fleet(client);
    const starts = new Starts(client, 'input');
    for (let index = 0; index < 5; index++) await starts.one();
    await client.follow().outcome(starts.ids.at(-1)!);
    for (let round = 0; round < 2; round++) {
      await client.manager.streams.delete('VF_IN');
      // Acknowledged as soon as the stream is there again.
      for (let index = 0; index < 3; index++) await starts.one();
      await client.follow().outcome(starts.ids.at(-1)!, { timeout: 20_000 });
    }
    await untilHealth(http, 200);
    // The ids are known still, although the stream is another.
    await client.publish(vmStart(starts.ids[0]!, { id: starts.ids[0]! }), { dedup: false });
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    expect((await client.stream('VF_IN'))?.config.discard).toBe('new');
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  });

  test('VF_IN while it is stopped', async () => {
    const server = await programs.natsServer();
    const dataDir = await programs.directory();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir };
    const client = await connected(server.url);
    const first = await started('allocator', settings);
    await fleet(client);
    const starts = new Starts(client, 'stopped');
    for (let index = 0; index < 5; index++) await starts.one();
    await client.follow().outcome(starts.ids.at(-1)!);
    await first.program.stop();
    await client.manager.streams.delete('VF_IN');
    const second = await started('allocator', settings);
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    expect(second.program.log(50)).toEqual([]);
    await second.program.stop();
    await server.stop();
  });

  test('[OUT-3 acts] VF_OUT while it runs: it is made again from the log with the next event, and equals it', async () => {
    const dataDir = await programs.directory();
    const { program } = await started('standalone', { VF_DATA_DIR: dataDir });
    const client = await connected((await program.ready()).nats);
    await fleet(client);
    const starts = new Starts(client, 'output');
    starts.begin();
    for (let round = 0; round < 2; round++) {
      const before = starts.ids.length;
      await until('some load', () => starts.ids.length > before + 20);
      await until('the stream', () => client.stream('VF_OUT_default'));
      await client.manager.streams.delete('VF_OUT_default');
    }
    await starts.end();
    await until('the stream', () => client.stream('VF_OUT_default'));
    await client.manager.streams.delete('VF_OUT_default');
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    expect((await client.stream('VF_OUT_default'))?.state.first_seq).toBe(1);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  });

  test('[OUT-3 acts] VF_OUT while it is stopped: it is made again at the start', async () => {
    const server = await programs.natsServer();
    const dataDir = await programs.directory();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir };
    const client = await connected(server.url);
    const first = await started('allocator', settings);
    await fleet(client);
    const starts = new Starts(client, 'again');
    for (let index = 0; index < 5; index++) await starts.one();
    const { position } = await client.follow().outcome(starts.ids.at(-1)!);
    const before = await client.readOut('default', Number(position));
    await first.program.stop();
    await client.manager.streams.delete('VF_OUT_default');
    const second = await started('allocator', settings);
    expect(await client.readOut('default', Number(position))).toEqual(before);
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    await second.program.stop();
    await server.stop();
  });

  test('VF_DEAD while it runs: it is made again, and the dead letter is in it', async () => {
    const { program } = await started('standalone', {});
    const client = await connected((await program.ready()).nats);
    await client.manager.streams.delete('VF_DEAD');
    await client.publishBytes('vf.in.default.vm.vm1.VmStopped', 'nonsense');
    const [dead] = await until('the dead letter', async () => {
      const all = await client.dead();
      return all.length > 0 && all;
    });
    expect(dead!.payload.toString()).toBe('nonsense');
    expect(headerOf(dead!, 'Vf-Sequence')).toBe('1');
    const start = vmStart('vm1');
    await client.publish(start);
    await client.follow().outcome(start.event.id);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  });
});

describe('the disk of the log is full', () => {
  test('it stops deciding and says so, loses and invents nothing, and goes on when there is room', async () => {
    const disk = await programs.smallDisk(3);
    if (disk === undefined) {
      process.stderr.write('skipped: a small disk cannot be mounted here (mount -t tmpfs needs root)\n');
      return;
    }
    const file = join(disk, 'events.db');
    const server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_EVENT_LOG: `sqlite:${file}` };
    let { program } = await started('allocator', settings);
    const client = await connected(server.url);
    await fleet(client);
    const starts = new Starts(client, 'full');
    const first = await starts.one();
    await client.follow().outcome(first);

    const ballast = join(disk, 'ballast');
    await fill(ballast);
    starts.begin();
    const full = (): boolean =>
      program.log(40).some(({ msg }) => /appending to the log/.test(msg) && /full|room/i.test(msg));
    await until('that it says that the disk is full', full);
    const stuck = await client.readOut();
    await until('inputs that wait', () => starts.ids.length > 60);
    expect((await client.readOut()).length).toBe(stuck.length);
    expect(program.running).toBe(true);

    // Asked to end it does, although it cannot finish, and the next one goes on with it.
    await starts.end();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect((await client.readOut()).length).toBe(stuck.length);
    await rm(ballast);
    ({ program } = await started('allocator', settings));
    await expectWhole(client, starts, file);

    // And when room comes while it waits it goes on by itself.
    await fill(ballast);
    const waiting = await starts.one();
    await until('that it says so again', full);
    await rm(ballast);
    expect(await client.follow().outcome(waiting)).toMatchObject({ causationid: waiting });
    await expectWhole(client, starts, file);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    await server.stop();
  });

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
});

describe('two allocators on one log and one NATS', () => {
  test('[OUT-1 acts] one leads; kill -9 of the leader, and the other leads within 5 s', async () => {
    const dataDir = await programs.directory();
    const server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir };
    const client = await connected(server.url);
    let leader = await started('allocator', settings);
    let standby = await started('allocator', settings);
    await fleet(client);
    const starts = new Starts(client, 'two');
    starts.begin();
    for (let round = 0; round < 2; round++) {
      const role = async (http: string): Promise<string | undefined> => {
        const body = (await (await fetch(`${http}/health/ready`)).json()) as {
          clusters: Record<string, { role: string }>;
        };
        return body.clusters['default']?.role;
      };
      expect(await role(leader.http)).toBe('leader');
      expect(await role(standby.http)).toBe('standby');
      const before = starts.ids.length;
      await until('some load', () => starts.ids.length > before + 30);
      await leader.program.kill();
      const begun = performance.now();
      const next = await starts.one();
      await client.follow().outcome(next);
      expect(performance.now() - begun).toBeLessThan(5000);
      leader = standby;
      standby = await started('allocator', settings);
    }
    // A leader that stood still and comes back finds that it has been followed. Meanwhile it may hold SQLite's lock on the file, so
    // that the other one leads and cannot append yet: what is asked is answered when it goes on.
    leader.program.signal('SIGSTOP');
    const asked = await starts.one();
    const leads = async (): Promise<boolean> =>
      JSON.stringify(await (await fetch(`${standby.http}/health/ready`)).json()).includes('"role":"leader"');
    await until('that the other leads', leads);
    leader.program.signal('SIGCONT');
    await client.follow().outcome(asked);
    await until('that it stands by', async () => (await health(leader.http)) === 200);
    await starts.end();
    await expectWhole(client, starts, join(dataDir, 'events.db'));
    for (const { program } of [leader, standby]) {
      expect(program.log(50)).toEqual([]);
      expect(await program.stop()).toEqual({ code: 0, signal: null });
    }
    await server.stop();
  });

  test('[OUT-1 acts] two standalones with a NATS each on one log: only one can append what both decide, and all are answered', async () => {
    const dataDir = await programs.directory();
    const first = await started('standalone', { VF_DATA_DIR: dataDir });
    const client = await connected((await first.program.ready()).nats);
    await fleet(client);
    await client.follow().first('the hosts', ({ position }) => position === '2');
    const file = join(dataDir, 'events.db');
    const other = await started('standalone', {
      VF_EVENT_LOG: `sqlite:${file}`,
      VF_NATS_PORT: String(await freePort()),
    });
    // It relays what the log has; what both decide, only one of them can append.
    const elsewhere = await connected((await other.program.ready()).nats);
    const here = new Starts(client, 'here');
    const there = new Starts(elsewhere, 'there');
    await Promise.all([
      ...Array.from({ length: 5 }, () => here.one()),
      ...Array.from({ length: 5 }, () => there.one()),
    ]);
    await client.follow().outcome(here.ids.at(-1)!, { timeout: 20_000 });
    await elsewhere.follow().outcome(there.ids.at(-1)!, { timeout: 20_000 });
    await first.program.stop();
    await other.program.stop();
    const { records, verification } = await readLogFile(file);
    expect(verification.ok).toBe(true);
    const causes = records
      .map(({ body }) => JSON.parse(body) as { cause: { id: string }; type: string })
      .filter(({ type }) => isOutcome(type));
    expect(causes.map(({ cause }) => cause.id).sort()).toEqual([...here.ids, ...there.ids].sort());
  });
});
