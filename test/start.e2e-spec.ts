import { afterAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hostReported, input, PF, vfAddress, vfList, vmStart } from './support/inputs.js';
import { differences, readLogFile } from './support/log-file.js';
import { NatsClient } from './support/nats-client.js';
import { freePort, natsServersBelow, Programs, type Program, type Settings } from './support/programs.js';
import { until } from './support/until.js';

const programs = new Programs();
const clients: NatsClient[] = [];

afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await programs.end();
});

interface Running {
  readonly program: Program;
  readonly client: NatsClient;
  readonly nats: string;
  readonly http: string;
  readonly dataDir: string;
}

async function standalone(settings: Settings = {}): Promise<Running> {
  const dataDir = settings['VF_DATA_DIR'] ?? (await programs.directory());
  const program = await programs.start('standalone', { ...settings, VF_DATA_DIR: dataDir });
  const { nats, http } = await program.ready();
  const client = await connected(nats);
  return { program, client, nats, http, dataDir };
}

async function connected(url: string): Promise<NatsClient> {
  const client = await NatsClient.connect(url);
  clients.push(client);
  return client;
}

async function get(url: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const UUID_8 = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const GIB = 1024 ** 3;
const SECOND = 1_000_000_000;

describe('npm start', () => {
  test('prints exactly one line on stdout, with where it serves', async () => {
    const { program, client, nats, http, dataDir } = await standalone();
    const ready = JSON.parse(program.stdout) as Record<string, unknown>;
    expect(Object.keys(ready)).toEqual(['ready', 'nats', 'http', 'log']);
    expect(ready).toEqual({ ready: true, nats, http, log: `sqlite:${join(dataDir, 'events.db')}` });
    expect(nats).toMatch(/^nats:\/\/127\.0\.0\.1:\d+$/);
    expect(http).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const report = hostReported('h1', 2);
    await client.publish(report);
    await client.follow().first('the host', ({ causationid }) => causationid === report.event.id);
    expect((await program.stop()).code).toBe(0);
    expect(program.stdout.endsWith('}\n')).toBe(true);
    expect(program.stdout.split('\n')).toHaveLength(2);
  });

  test('has the streams of the wire contract before the first event', async () => {
    const { program, client } = await standalone();
    const config = async (name: string) => (await client.stream(name))?.config;
    const file = { storage: 'file', retention: 'limits', num_replicas: 1, max_msgs: -1 };
    expect(await config('VF_IN')).toMatchObject({
      ...file,
      subjects: ['vf.in.>'],
      discard: 'new',
      max_bytes: GIB,
      max_age: 0,
      max_msg_size: 1024 ** 2,
    });
    expect(await config('VF_DEAD')).toMatchObject({ ...file, subjects: ['vf.dead.>'] });
    expect(await config('VF_OUT_default')).toMatchObject({
      ...file,
      subjects: ['vf.out.default.>'],
      discard: 'old',
      max_bytes: 4 * GIB,
      max_age: 30 * 86_400 * SECOND,
    });
    await program.stop();
  });

  test('takes the limits of the streams from the settings, also when they change', async () => {
    const limits = { VF_IN_MAX_BYTES: '16MiB', VF_OUT_MAX_BYTES: '32MiB', VF_OUT_MAX_AGE: '2h' };
    const first = await standalone(limits);
    const sizes = async (client: NatsClient) => [
      (await client.stream('VF_IN'))?.config.max_bytes,
      (await client.stream('VF_OUT_default'))?.config.max_bytes,
      (await client.stream('VF_OUT_default'))?.config.max_age,
    ];
    const MIB = 1024 ** 2;
    expect(await sizes(first.client)).toEqual([16 * MIB, 32 * MIB, 7200 * SECOND]);
    await first.client.publish(hostReported('h1', 2));
    await first.client.follow().first('the host', () => true);
    await first.program.stop();
    const second = await standalone({
      ...limits,
      VF_DATA_DIR: first.dataDir,
      VF_IN_MAX_BYTES: '20MiB',
      VF_OUT_MAX_AGE: '3h',
    });
    expect(await sizes(second.client)).toEqual([20 * MIB, 32 * MIB, 10_800 * SECOND]);
    await second.program.stop();
  });

  test('answers its health, and queries over HTTP', async () => {
    const { program, client, http } = await standalone();
    expect((await get(`${http}/health/live`)).status).toBe(200);
    expect((await get(`${http}/health/ready`)).status).toBe(200);
    await client.publish(hostReported('h1', 4));
    const start = vmStart('vm1');
    await client.publish(start);
    const { position } = await client.outcome(start.event.id);
    const clusters = `${http}/v1/clusters/default`;
    const found = await get(`${clusters}/availability?atLeast=${position}&hostId=h1`);
    expect(found).toMatchObject({
      status: 200,
      body: { position, total: 4, free: 3, allocated: 1, unavailable: 0 },
    });
    expect((await get(`${clusters}/vm?vmId=vm1`)).body).toMatchObject({
      vm: { vmId: 'vm1', state: 'pending' },
    });
    expect((await get(`${clusters}/vm?vmId=nobody`)).status).toBe(404);
    expect((await get(`${clusters}/vm?vmId=no+good`)).status).toBe(400);
    expect((await get(`${http}/v1/clusters/elsewhere/vm?vmId=vm1`)).status).toBe(404);
    await program.stop();
  });

  test('works with a log in memory, whose streams are in memory too', async () => {
    const { program, client, dataDir } = await standalone({ VF_EVENT_LOG: 'memory:' });
    expect(JSON.parse(program.stdout)).toMatchObject({ log: expect.stringMatching(/^memory/) });
    for (const name of ['VF_IN', 'VF_DEAD', 'VF_OUT_default']) {
      expect((await client.stream(name))?.config.storage).toBe('memory');
    }
    await client.publish(hostReported('h1', 2));
    const start = vmStart('vm1');
    await client.publish(start);
    expect(await client.follow().outcome(start.event.id)).toMatchObject({ type: 'VmStartAccepted' });
    expect((await program.stop()).code).toBe(0);
    expect(existsSync(join(dataDir, 'events.db'))).toBe(false);
    // It begins anew each time, whatever ran there before.
    const again = await standalone({ VF_EVENT_LOG: 'memory:', VF_DATA_DIR: dataDir });
    expect((await again.client.stream('VF_OUT_default'))?.state.messages).toBe(0);
    await again.program.stop();
  });
});

describe('the main conversation', () => {
  const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  let running: Running;
  let out: ReturnType<NatsClient['follow']>;

  test('a host is split: HostReported, PfVirtualizeRequested, PfVirtualized', async () => {
    running = await standalone();
    const { client } = running;
    out = client.follow();
    const report = hostReported('h1', 0);
    await client.publish(report);
    const split = input('PfVirtualizeRequested', { hostId: 'h1', pf: PF, numVfs: 2 });
    await client.publish(split);
    expect(await out.outcome(split.event.id)).toMatchObject({
      type: 'PfVirtualizationOrdered',
      subject: 'host/h1',
      data: { hostId: 'h1', pf: PF, numVfs: 2 },
    });
    const done = input('PfVirtualized', { hostId: 'h1', pf: PF, vfs: vfList(2) });
    await client.publish(done);
    await out.first('the split', ({ causationid }) => causationid === done.event.id);
    expect(out.of(report.event.id).map(({ type }) => type)).toEqual(['HostRegistered']);
    expect(out.of(done.event.id).map(({ type }) => type)).toEqual(['PfVirtualized']);
  });

  test('[OUT-3 acts] [OUT-4 acts] a start gets its VF, in the envelope of the wire contract', async () => {
    const { client } = running;
    const attributes = { correlationid: 'job-17', traceparent: TRACE };
    const start = vmStart('vm1', { attributes, id: 'job-17/start' });
    await client.publish(start);
    const accepted = await out.outcome('job-17/start');
    const [allocated, last] = out.of('job-17/start');
    expect(out.of('job-17/start').map(({ type }) => type)).toEqual(['VfAllocated', 'VmStartAccepted']);
    expect(last).toEqual(accepted);
    const { allocationId, mac } = allocated!.data as Record<string, string>;
    expect(allocated!.data).toMatchObject({
      vmId: 'vm1',
      nicId: 'eth0',
      hostId: 'h1',
      pf: PF,
      vf: vfAddress(0),
      vfIndex: 0,
      physicalNetwork: 'em1',
      reason: 'start',
    });
    expect(mac).toMatch(/^02(:[0-9a-f]{2}){5}$/);
    expect(accepted.data).toMatchObject({
      vmId: 'vm1',
      hostId: 'h1',
      nics: [{ nicId: 'eth0', type: 'vf', allocationId, pf: PF, vf: vfAddress(0), mac }],
      why: { strategy: expect.any(String), score: expect.anything(), candidates: expect.anything() },
    });
    const relayed = out.events.filter(({ event }) => event.causationid === 'job-17/start');
    for (const { sequence, subject, event } of relayed) {
      expect(event).toMatchObject({
        specversion: '1.0',
        source: '/vf-scheduler/default',
        subject: 'vm/vm1',
        causationid: 'job-17/start',
        correlationid: 'job-17',
        traceparent: TRACE,
        position: String(sequence),
      });
      expect(event.id).toMatch(UUID_8);
      expect(event.hash).toMatch(/^[0-9a-f]{64}$/);
      expect(event.time).toMatch(TIME);
      expect(subject).toBe(`vf.out.default.vm.vm1.${event.type}`);
    }
    expect(relayed[1]!.sequence).toBe(relayed[0]!.sequence + 1);
  });

  test('an event without a correlation has its cause as such, and no traceparent', async () => {
    const { client } = running;
    const started = input('VmStarted', { vmId: 'vm1' });
    await client.publish(started);
    const event = await out.first('VmStarted', ({ causationid }) => causationid === started.event.id);
    expect(event).toMatchObject({ type: 'VmStarted', correlationid: started.event.id });
    expect(event).not.toHaveProperty('traceparent');
  });

  test('a CloudEvent in binary mode is taken as well', async () => {
    const { client } = running;
    await client.publishBytes(
      'vf.in.default.vm.vm2.VmStartRequested',
      JSON.stringify({ vmId: 'vm2', nics: [{ nicId: 'eth0', physicalNetwork: 'em1' }] }),
      {
        'ce-specversion': '1.0',
        'ce-id': 'binary:1',
        'ce-source': '/compute/controller%201',
        'ce-type': 'VmStartRequested',
        'ce-time': '2026-01-02T03:04:05Z',
        'ce-correlationid': 'job-18',
        'ce-traceparent': TRACE,
        'content-type': 'application/json',
      },
    );
    expect(await out.outcome('binary:1')).toMatchObject({
      type: 'VmStartAccepted',
      correlationid: 'job-18',
      traceparent: TRACE,
      data: { nics: [{ vf: vfAddress(1) }] },
    });
  });

  test('[VM-2 refuses] [OUT-2 refuses] without a free VF the start fails, and says why', async () => {
    const { client } = running;
    const start = vmStart('vm3');
    await client.publish(start);
    const failed = await out.outcome(start.event.id);
    expect(failed).toMatchObject({
      type: 'VmStartFailed',
      subject: 'vm/vm3',
      data: {
        vmId: 'vm3',
        reason: 'VF_EXHAUSTED',
        message: expect.stringMatching(/\w+ \w+/),
        summary: { VF_EXHAUSTED: 1 },
        considered: [{ hostId: 'h1', pf: PF, reason: 'VF_EXHAUSTED', total: 2, free: 0 }],
      },
    });
    expect(out.of(start.event.id)).toHaveLength(1);
  });

  test('[EX-6 quiet] a repeat emits nothing, and the query tells its outcome', async () => {
    const { client } = running;
    const start = vmStart('vm1', {
      attributes: { correlationid: 'job-17', traceparent: TRACE },
      id: 'job-17/start',
    });
    await client.publish(start);
    const marker = vmStart('vm4');
    await client.publish(marker);
    await out.outcome(marker.event.id);
    expect(out.of('job-17/start')).toHaveLength(2);
    expect(await client.outcome('job-17/start')).toEqual(out.of('job-17/start')[1]);
  });

  test('[VM-3 acts] a stop gives the VF back, and the refused VM starts', async () => {
    const { client } = running;
    const stop = input('VmStopped', { vmId: 'vm1', reason: 'asked for' });
    await client.publish(stop);
    const start = vmStart('vm3');
    await client.publish(start);
    expect(await out.outcome(start.event.id)).toMatchObject({ type: 'VmStartAccepted' });
    const [released, stopped] = out.of(stop.event.id);
    expect(released).toMatchObject({ type: 'VfReleased', data: { reason: 'vm-stopped', forced: false } });
    expect(stopped).toMatchObject({ type: 'VmStopped' });
  });

  test('a restart on the same data directory keeps everything', async () => {
    const { program, client, dataDir } = running;
    const before = await client.readOut();
    const vm = await client.query('vm', { vmId: 'vm3' });
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    running = await standalone({ VF_DATA_DIR: dataDir });
    const after = running.client;
    expect(await after.readOut()).toEqual(before);
    expect(await after.query('vm', { vmId: 'vm3' })).toEqual(vm);
    const start = vmStart('vm5');
    await after.publish(start);
    const outcome = await after.follow().outcome(start.event.id);
    expect(outcome).toMatchObject({ type: 'VmStartFailed', position: String(before.length + 1) });
    // What it decided before it stopped it still knows.
    await after.publish(vmStart('vm3', { id: 'job-17/start' }));
    await until('a dead letter', async () => (await after.dead()).length === 1);
    expect(await running.program.stop()).toEqual({ code: 0, signal: null });
    const { records, verification } = await readLogFile(join(dataDir, 'events.db'));
    expect(verification.ok).toBe(true);
    expect(records).toHaveLength(before.length + 1);
  });
});

describe('the end', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s drains: all that was acknowledged and read is out, exit code 0',
    async (signal) => {
      const { program, client, dataDir } = await standalone();
      await client.publish(hostReported('h1', 32));
      // No waiting: it is in the middle of it when the signal comes.
      const starts = Array.from({ length: 60 }, (_, index) => vmStart(`vm${index}`));
      await Promise.all(starts.map((start) => client.publish(start)));
      expect(natsServersBelow(dataDir)).toHaveLength(1);
      expect(await program.stop(signal)).toEqual({ code: 0, signal: null });
      expect(natsServersBelow(dataDir)).toEqual([]);
      expect(program.log(50)).toEqual([]);
      const { records } = await readLogFile(join(dataDir, 'events.db'));

      const again = await standalone({ VF_DATA_DIR: dataDir });
      const atStart = (await again.client.stream('VF_OUT_default'))?.state.last_seq;
      expect(atStart).toBeGreaterThanOrEqual(records.length);
      const out = again.client.follow();
      for (const start of starts) await out.outcome(start.event.id);
      await again.program.stop();
      const whole = await readLogFile(join(dataDir, 'events.db'));
      expect(differences(out.events, whole.records)).toEqual([]);
    },
  );

  test('a signal while it starts ends it too, and leaves no nats-server', async () => {
    const dataDir = await programs.directory();
    const program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
    await until('its nats-server', () => natsServersBelow(dataDir).length > 0, { every: 5 });
    program.signal('SIGTERM');
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect(natsServersBelow(dataDir)).toEqual([]);
  });

  test('more signals do not break the drain: Ctrl-C under npm comes twice', async () => {
    const { program, dataDir } = await standalone();
    await until(
      'the end of its nats-server, with which the drain ends',
      () => {
        const over = natsServersBelow(dataDir).length === 0;
        if (!over) program.signal('SIGINT');
        return over;
      },
      { every: 5 },
    );
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect(natsServersBelow(dataDir)).toEqual([]);
  });

  test('a signal while it waits for a NATS that is not there ends it at once', async () => {
    const program = await programs.start('standalone', {
      VF_NATS_URL: `nats://127.0.0.1:${await freePort()}`,
    });
    await until('that it waits', () => program.stderr.includes('Waiting for NATS'));
    program.signal('SIGTERM');
    expect(await program.exit(5000)).toEqual({ code: 0, signal: null });
  });

  test('after kill -9 the next one ends the nats-server that was left, and serves on the same port', async () => {
    const port = String(await freePort());
    const { program, dataDir } = await standalone({ VF_NATS_PORT: port });
    const [left] = natsServersBelow(dataDir);
    await program.kill();
    expect(natsServersBelow(dataDir)).toEqual([left]);
    const next = await standalone({ VF_DATA_DIR: dataDir, VF_NATS_PORT: port });
    expect(natsServersBelow(dataDir)).toHaveLength(1);
    expect(natsServersBelow(dataDir)).not.toEqual([left]);
    await next.program.stop();
  });

  test('when its own nats-server dies it says so and ends with 1', async () => {
    const { program, dataDir } = await standalone();
    process.kill(natsServersBelow(dataDir)[0]!, 'SIGKILL');
    expect((await program.exit(20_000)).code).toBe(1);
    expect(program.stderr).toMatch(/^vf-scheduler: nats-server ended by itself \(SIGKILL\).*start again/m);
  });
});

describe('on a NATS that is there already (VF_NATS_URL)', () => {
  test('standalone uses it, starts none of its own, and leaves it when it ends', async () => {
    const server = await programs.natsServer();
    const { program, client, nats, dataDir } = await standalone({ VF_NATS_URL: server.url });
    expect(nats).toBe(server.url);
    expect(await readdir(dataDir)).not.toContain('nats');
    await client.publish(hostReported('h1', 2));
    const start = vmStart('vm1');
    await client.publish(start);
    expect(await client.follow().outcome(start.event.id)).toMatchObject({ type: 'VmStartAccepted' });
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(await client.stream('VF_OUT_default')).toBeDefined();
    await server.stop();
  });

  test('start:allocator prints its ready line and leads; a second one stands by, and takes over after a clean stop', async () => {
    const server = await programs.natsServer();
    const dataDir = await programs.directory();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir };
    const first = await programs.start('allocator', settings);
    const { http, ...ready } = await first.ready();
    expect(ready).toEqual({ ready: true, nats: server.url, log: `sqlite:${join(dataDir, 'events.db')}` });
    expect((await get(`${http}/health/ready`)).body).toMatchObject({
      clusters: { default: { role: 'leader' } },
    });
    const client = await connected(server.url);
    await client.publish(hostReported('h1', 2));
    const start = vmStart('vm1');
    await client.publish(start);
    await client.follow().outcome(start.event.id);

    const second = await programs.start('allocator', settings);
    const standby = await second.ready();
    expect((await get(`${standby.http}/health/ready`)).body).toMatchObject({
      clusters: { default: { role: 'standby' } },
    });
    const next = vmStart('vm2');
    expect(await first.stop()).toEqual({ code: 0, signal: null });
    const begun = performance.now();
    await client.publish(next);
    expect(await client.follow().outcome(next.event.id)).toMatchObject({ type: 'VmStartAccepted' });
    expect(performance.now() - begun).toBeLessThan(2000);
    expect(await second.stop()).toEqual({ code: 0, signal: null });
    await server.stop();
  });
});

describe('more clusters', () => {
  test('a second cluster appears with its first event, which comes out promptly', async () => {
    const { program, client, http } = await standalone();
    expect(await client.stream('VF_OUT_east')).toBeUndefined();
    const times: number[] = [];
    for (const cluster of ['east', 'west', 'north']) {
      const report = hostReported('h1', 2, { cluster });
      const begun = performance.now();
      await client.publish(report);
      const out = client.follow(cluster);
      const event = await out.first('the host', ({ causationid }) => causationid === report.event.id, {
        every: 5,
      });
      times.push(performance.now() - begun);
      expect(event).toMatchObject({ source: `/vf-scheduler/${cluster}`, position: '1', subject: 'host/h1' });
    }
    expect(Math.max(...times)).toBeLessThan(900);
    expect((await get(`${http}/health/ready`)).status).toBe(200);
    const clusters = await client.query<Array<{ cluster: string }>>('clusters', {}, '_');
    expect(clusters.map(({ cluster }) => cluster).sort()).toEqual(['default', 'east', 'north', 'west']);
    // Each has its own positions and its own VFs.
    const start = vmStart('vm1', { cluster: 'east' });
    await client.publish(start);
    expect(await client.follow('east').outcome(start.event.id)).toMatchObject({ type: 'VmStartAccepted' });
    expect(await client.query('availability', {}, 'west')).toMatchObject({ free: 2, allocated: 0 });
    await program.stop();
  });

  test('VF_MAX_CLUSTERS bounds them: what is beyond is dead-lettered, and the others are served', async () => {
    const { program, client } = await standalone({ VF_MAX_CLUSTERS: '2' });
    // The default cluster counts from its first event on.
    for (const cluster of ['default', 'east']) {
      await client.publish(hostReported('h1', 1, { cluster }));
      await client.follow(cluster).first('the host', () => true);
    }
    const beyond = hostReported('h1', 1, { cluster: 'west' });
    await client.publish(beyond);
    const [dead] = await until('a dead letter', async () => {
      const all = await client.dead();
      return all.length > 0 && all;
    });
    expect(dead).toMatchObject({
      subject: 'vf.dead.west',
      payload: Buffer.from(JSON.stringify(beyond.event)),
    });
    expect(Object.fromEntries(dead!.headers)['Vf-Reason']).toMatch(/VF_MAX_CLUSTERS/);
    expect(await client.stream('VF_OUT_west')).toBeUndefined();
    const report = hostReported('h2', 1);
    await client.publish(report);
    await client.follow().first('the host', ({ causationid }) => causationid === report.event.id);
    await program.stop();
  });
});
