import { afterAll, describe, expect, jest, test } from '@jest/globals';
import Database from 'libsql';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { freeze, TestServers } from '../libs/broker/src/nats-test-servers.js';
import { Cable } from './support/cable.js';
import {
  ControlPlane,
  expectWhole,
  health,
  reportHosts,
  serve,
  Starts,
  untilHealth,
  type Served,
} from './support/conversation.js';
import { input, vmStart } from './support/inputs.js';
import { readLogFile, readLogStream } from './support/log-file.js';
import { headerOf, isOutcome, NatsClient } from './support/nats-client.js';
import { freePort, Programs, type Settings, type SharedServer } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(60_000);

const programs = new Programs();
const clients: NatsClient[] = [];
const cables: Cable[] = [];
const clusters = new TestServers();
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await programs.end();
  await Promise.all(cables.map((cable) => cable.close()));
  await clusters.end();
});

async function connected(url: string): Promise<NatsClient> {
  const client = await NatsClient.connect(url);
  clients.push(client);
  return client;
}

/** A site with a NATS of its own, an allocator, hosts, and somebody who starts VMs. */
class Site {
  readonly starts: Starts;
  readonly file: string;

  private constructor(
    public server: SharedServer,
    readonly settings: Settings,
    public allocator: Served,
    readonly client: NatsClient,
    dataDir: string,
    prefix: string,
  ) {
    this.starts = new Starts(client, prefix);
    this.file = join(dataDir, 'events.db');
  }

  static async begin(prefix: string, server?: SharedServer): Promise<Site> {
    const nats = server ?? (await programs.natsServer());
    const dataDir = await programs.directory();
    const settings = { VF_NATS_URL: nats.url, VF_DATA_DIR: dataDir };
    const allocator = await serve(programs, 'allocator', settings);
    const client = await connected(nats.url);
    await reportHosts(client);
    return new Site(nats, settings, allocator, client, dataDir, prefix);
  }

  /** Five starts that have their outcomes. @returns the position of the last. */
  async five(): Promise<number> {
    for (let index = 0; index < 5; index++) await this.starts.one();
    const last = this.starts.ids.at(-1)!;
    return Number((await this.client.follow().outcome(last, { timeout: 20_000 })).position);
  }

  async restart(between: () => Promise<unknown>): Promise<void> {
    expect(await this.allocator.program.stop()).toEqual({ code: 0, signal: null });
    await between();
    this.allocator = await serve(programs, 'allocator', this.settings);
  }

  whole(): Promise<void> {
    return expectWhole(this.client, this.starts.ids, () => readLogFile(this.file));
  }

  /** All is whole, nothing was an error, and it ends when it is asked to. */
  async end(): Promise<void> {
    await this.whole();
    expect(this.allocator.program.log(50)).toEqual([]);
    expect(await this.allocator.program.stop()).toEqual({ code: 0, signal: null });
    await this.server.stop();
  }
}

describe('NATS goes away and comes back', () => {
  test('kill -9 of the server under load: nothing is lost, and nobody restarts the allocator', async () => {
    const site = await Site.begin('killed');
    const { starts, allocator } = site;
    starts.begin();
    for (let round = 0; round < 2; round++) {
      await starts.some();
      process.kill(site.server.pid, 'SIGKILL');
      await site.server.exited;
      await untilHealth(allocator.http, 503);
      // Longer than the lease lasts in one round, shorter in the other.
      if (round === 1) await wait(3500);
      const { dataDir, port } = site.server;
      site.server = await programs.natsServer({ dataDir, port });
      await untilHealth(allocator.http, 200);
    }
    await starts.end();
    await site.whole();
    expect(allocator.program.log(50)).toEqual([]);

    // Asked to end while NATS is away, it does.
    process.kill(site.server.pid, 'SIGKILL');
    await site.server.exited;
    await untilHealth(allocator.http, 503);
    const begun = performance.now();
    expect(await allocator.program.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  test('the server stands still for 10 s (SIGSTOP): 503 meanwhile, 200 after, nothing is lost', async () => {
    const site = await Site.begin('still');
    const { starts, allocator } = site;
    starts.begin();
    await starts.some();
    process.kill(site.server.pid, 'SIGSTOP');
    const begun = performance.now();
    await untilHealth(allocator.http, 503);
    await wait(Math.max(0, 10_000 - (performance.now() - begun)));
    expect((await health(allocator.http)).status).toBe(503);
    process.kill(site.server.pid, 'SIGCONT');
    await untilHealth(allocator.http, 200);
    await starts.end();
    await site.end();
  });

  test('the leader alone is cut off, with its log: another takes over, and it stands by when it is back', async () => {
    const server = await programs.natsServer();
    const cable = await Cable.lay(server.url);
    cables.push(cable);
    const common = { VF_EVENT_LOG: 'jetstream:' };
    const leader = await serve(programs, 'allocator', { ...common, VF_NATS_URL: cable.url });
    const other = await serve(programs, 'allocator', { ...common, VF_NATS_URL: server.url });
    const client = await connected(server.url);
    await reportHosts(client);
    const controlPlane = new ControlPlane(client);
    controlPlane.begin();
    await controlPlane.hears(20);
    cable.cut();
    await untilHealth(leader.http, 503);
    await controlPlane.hears(20);
    expect((await health(other.http)).clusters['default']?.role).toBe('leader');
    cable.heal();
    await untilHealth(leader.http, 200);
    await until(
      'that it stands by',
      async () => (await health(leader.http)).clusters['default']?.role === 'standby',
    );
    await controlPlane.hears(20);
    await controlPlane.end();
    await expectWhole(client, controlPlane.said, () => readLogStream(server.url));
    for (const { program } of [leader, other]) {
      expect(program.log(50)).toEqual([]);
      expect(await program.stop()).toEqual({ code: 0, signal: null });
    }
    await server.stop();
  });

  test('its disk is full: inputs are refused or wait, nothing is lost, and it goes on when there is room', async () => {
    const disk = await programs.smallDisk(24);
    if (disk === undefined) return skipped();
    const site = await Site.begin('nats-full', await programs.natsServer({ dataDir: disk }));
    const { starts, allocator } = site;
    await site.five();
    await fill(join(disk, 'ballast'));
    let refusal = '';
    // What still fits into files that are there is taken; then the publisher hears of it.
    await until('a refusal', async () => {
      const big = input('VmStopped', { vmId: 'nobody', reason: 'x'.repeat(100_000) });
      refusal = await site.client.publish(big).then(String, (error: Error) => error.message);
      return /\D/.test(refusal);
    });
    process.stderr.write(`NATS without room says: ${refusal}\n`);
    starts.begin();
    await wait(2000);
    expect(allocator.program.running).toBe(true);
    await rm(join(disk, 'ballast'));
    // The server itself gives up on a stream that it could not write, until it is started again.
    await site.server.stop();
    const { dataDir, port } = site.server;
    site.server = await programs.natsServer({ dataDir, port });
    await untilHealth(allocator.http, 200);
    await starts.end();
    await site.end();
  });
});

describe('an allocator that was away', () => {
  test('works off 20,000 inputs about as many VMs in seconds', async () => {
    const server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: await programs.directory() };
    await (await serve(programs, 'allocator', settings)).program.stop();
    const client = await connected(server.url);
    const inputs = Array.from({ length: 20_000 }, (_, index) => input('VmStopped', { vmId: `vm${index}` }));
    while (inputs.length > 0)
      await Promise.all(inputs.splice(0, 500).map((one) => client.publish(one, { timeout: 20_000 })));
    const begun = performance.now();
    const { program } = await serve(programs, 'allocator', settings);
    await client.readOut('default', 20_000);
    // With two filters on the consumer of VF_IN it took more than a minute.
    expect(performance.now() - begun).toBeLessThan(40_000);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    await server.stop();
  });
});

describe('streams are deleted', () => {
  test('VF_IN, while it runs and while it is stopped: it is made again, and the ids are known still', async () => {
    const site = await Site.begin('input');
    const { client, starts } = site;
    await site.five();
    for (const isRunning of [true, true, false]) {
      const remove = () => client.manager.streams.delete('VF_IN');
      if (isRunning) await remove();
      else await site.restart(remove);
      // Acknowledged as soon as the stream is there again.
      await site.five();
    }
    await untilHealth(site.allocator.http, 200);
    // A repeat of what was asked in the stream before.
    await client.publish(vmStart(starts.ids[0]!, { id: starts.ids[0]! }));
    expect((await client.stream('VF_IN'))?.config.discard).toBe('new');
    await site.end();
  });

  test('[OUT-3 acts] VF_OUT, under load, at rest and while it is stopped: it is made again, and equals the log', async () => {
    const site = await Site.begin('output');
    const { client, starts } = site;
    const remove = () => client.manager.streams.delete('VF_OUT_default');
    starts.begin();
    for (let round = 0; round < 2; round++) {
      await starts.some(20);
      await until('the stream', () => client.stream('VF_OUT_default'));
      await remove();
    }
    await starts.end();
    const position = await site.five();
    // At rest: with the next event.
    await remove();
    await site.whole();
    const before = await client.readOut('default', position);
    await site.restart(remove);
    expect((await client.readOut('default', before.length)).slice(0, before.length)).toEqual(before);
    expect((await client.stream('VF_OUT_default'))?.state.first_seq).toBe(1);
    await site.end();
  });

  test('VF_DEAD while it runs: it is made again, and the dead letter is in it', async () => {
    const site = await Site.begin('dead');
    const { client } = site;
    await client.manager.streams.delete('VF_DEAD');
    const place = await client.publishBytes('vf.in.default.vm.vm1.VmStopped', 'nonsense');
    const [dead] = await until('the dead letter', async () => {
      const all = await client.dead();
      return all.length > 0 && all;
    });
    expect(dead!.payload.toString()).toBe('nonsense');
    expect(headerOf(dead!, 'Vf-Sequence')).toBe(String(place));
    await site.five();
    await site.end();
  });
});

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

describe('the log', () => {
  test('its disk is full: it stops deciding and says so, loses nothing, and goes on when there is room', async () => {
    const disk = await programs.smallDisk(3);
    if (disk === undefined) return skipped();
    const file = join(disk, 'events.db');
    const server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_EVENT_LOG: `sqlite:${file}` };
    let { program } = await serve(programs, 'allocator', settings);
    const client = await connected(server.url);
    await reportHosts(client);
    const starts = new Starts(client, 'full');
    const whole = () => expectWhole(client, starts.ids, () => readLogFile(file));
    await client.follow().outcome(await starts.one());

    const ballast = join(disk, 'ballast');
    await fill(ballast);
    starts.begin();
    const full = (): boolean =>
      program.log(40).some(({ msg }) => /appending to the log/.test(msg) && /full|room/i.test(msg));
    await until('that it says that the disk is full', full);
    const stuck = await client.readOut();
    await starts.some();
    expect((await client.readOut()).length).toBe(stuck.length);
    expect(program.running).toBe(true);

    // Asked to end it does, although it cannot finish, and the next one goes on with it.
    await starts.end();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect((await client.readOut()).length).toBe(stuck.length);
    await rm(ballast);
    ({ program } = await serve(programs, 'allocator', settings));
    await whole();

    // And when room comes while it waits it goes on by itself.
    await fill(ballast);
    // The files that are there have room for some more.
    starts.begin();
    await until('that it says so again', full);
    const waiting = await starts.one();
    await starts.end();
    await rm(ballast);
    expect(await client.follow().outcome(waiting)).toMatchObject({ causationid: waiting });
    await whole();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    await server.stop();
  });

  test('is slow: each append waits a second for another who writes; only latency comes of it', async () => {
    const site = await Site.begin('slow');
    const { starts } = site;
    await site.five();
    // It waits for its turn as everybody does: the scheduler may be in the middle of an append.
    const slow = new Database(site.file, { timeout: 20_000 });
    starts.begin();
    for (let round = 0; round < 4; round++) {
      slow.exec('BEGIN IMMEDIATE');
      await wait(1000);
      slow.exec('COMMIT');
      await starts.some(5);
    }
    slow.close();
    await starts.end();
    await site.end();
  });

  test('in JetStream on three servers loses its leader, twice: it goes on with the next one, and is whole', async () => {
    const nats = await clusters.startCluster();
    const settings = { VF_NATS_URL: nats.url, VF_NATS_REPLICAS: '3', VF_EVENT_LOG: 'jetstream:' };
    const { program, http } = await serve(programs, 'allocator', settings);
    const client = await connected(nats.servers[0]!.url);
    await reportHosts(client);
    const starts = new Starts(client, 'elected');
    // While one is elected nobody answers.
    const leaderOfLog = () =>
      until(
        'a leader of the log',
        async () => (await client.stream('VF_LOG_default').catch(() => undefined))?.cluster?.leader,
        { timeout: 30_000 },
      );
    starts.begin();
    for (let round = 0; round < 2; round++) {
      await starts.some(10);
      const leader = await leaderOfLog();
      // The client itself stays connected: that nobody is lost on this way is tested elsewhere.
      if (nats.named(leader) === nats.servers[0]) {
        await client.connection.request('$JS.API.STREAM.LEADER.STEPDOWN.VF_LOG_default', '');
      } else {
        await nats.kill(leader);
        await nats.restart(leader);
      }
      await leaderOfLog();
    }
    await starts.end();
    await untilHealth(http, 200, 60_000);
    await expectWhole(client, starts.ids, () => readLogStream(nats.url));
    expect(program.log(50)).toEqual([]);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  }, 120_000);

  test('is restored from an older backup: it does not lead, says why, and doing what it says loses nothing', async () => {
    const site = await Site.begin('backup');
    const { client, allocator } = site;
    await site.five();
    const copy = join(await programs.directory(), 'backup.db');
    // As the guide says: by SQLite itself, while it runs.
    const database = new Database(site.file);
    database.exec(`VACUUM INTO '${copy}'`);
    database.close();
    const position = await site.five();
    expect(await allocator.program.stop()).toEqual({ code: 0, signal: null });
    const before = await client.readOut('default', position);
    await copyFile(copy, site.file);
    const refused = await programs.start('allocator', site.settings);
    expect(await refused.exit()).toEqual({ code: 1, signal: null });
    expect(refused.stderr.trim().split('\n').at(-1)).toMatch(
      /the log of cluster 'default' .* and VF_OUT_default at \d+: the log is behind.*delete the stream VF_OUT_default/s,
    );
    await client.manager.streams.delete('VF_OUT_default');
    site.allocator = await serve(programs, 'allocator', site.settings);
    // What was decided after the backup is in VF_IN still, and is decided again: to the same bytes.
    expect((await client.readOut('default', position)).slice(0, position)).toEqual(before);
    await site.end();
  });
});

describe('an allocator that stood still (SIGSTOP)', () => {
  test.each(['SQLite', 'JetStream'])(
    '[OUT-1 acts] finds that it has been followed when it wakes; with its log in %s',
    async (log) => {
      const server = await programs.natsServer();
      const file = join(await programs.directory(), 'events.db');
      const settings = {
        VF_NATS_URL: server.url,
        VF_EVENT_LOG: log === 'SQLite' ? `sqlite:${file}` : 'jetstream:',
      };
      const leader = await serve(programs, 'allocator', settings);
      const other = await serve(programs, 'allocator', settings);
      const client = await connected(server.url);
      await reportHosts(client);
      const controlPlane = new ControlPlane(client);
      controlPlane.begin();
      await controlPlane.hears(20);
      await freeze(leader.program.pid);
      await until(
        'that the other leads',
        async () => (await health(other.http)).clusters['default']?.role === 'leader',
      );
      // Frozen in the middle of an append it holds SQLite's lock: then what is asked is answered when it goes on.
      const { trouble } = (await health(other.http)).clusters['default'] ?? {};
      if (log === 'JetStream') await controlPlane.hears(20);
      else if (trouble !== undefined) expect(trouble).toContain(`kill -CONT ${leader.program.pid}`);
      leader.program.signal('SIGCONT');
      await controlPlane.hears(20);
      await until(
        'that it stands by',
        async () => (await health(leader.http)).clusters['default']?.role === 'standby',
      );
      await controlPlane.end();
      await expectWhole(client, controlPlane.said, () =>
        log === 'SQLite' ? readLogFile(file) : readLogStream(server.url),
      );
      for (const { program } of [leader, other]) {
        expect(program.log(50)).toEqual([]);
        expect(await program.stop()).toEqual({ code: 0, signal: null });
      }
      await server.stop();
    },
  );
});

describe('two standalones with a NATS each on one log', () => {
  test('[OUT-1 acts] only one can append what both decide, and all are answered', async () => {
    const dataDir = await programs.directory();
    const first = await serve(programs, 'standalone', { VF_DATA_DIR: dataDir });
    const client = await connected((await first.program.ready()).nats);
    await reportHosts(client);
    await client.follow().first('the hosts', ({ position }) => position === '2');
    const file = join(dataDir, 'events.db');
    const other = await serve(programs, 'standalone', {
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
