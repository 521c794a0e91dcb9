import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { AckPolicy, jetstream } from '@nats-io/jetstream';
import { join } from 'node:path';
import { reportHosts, serve, Starts, untilHealth, type Served } from './support/conversation.js';
import { input, vmStart } from './support/inputs.js';
import { readLogFile } from './support/log-file.js';
import { headerOf, NatsClient, type OutEvent } from './support/nats-client.js';
import { Programs, type SharedServer } from './support/programs.js';
import { until } from './support/until.js';

/** What others may write to NATS while an allocator leads, as they would: with a connection and nothing else. */

jest.setTimeout(120_000);

const programs = new Programs();
let server: SharedServer;
let dataDir: string;
let allocator: Served;
let client: NatsClient;
let starts: Starts;

beforeAll(async () => {
  server = await programs.natsServer();
  dataDir = await programs.directory();
  allocator = await serve(programs, 'allocator', { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir });
  client = await NatsClient.connect(server.url);
  starts = new Starts(client, 'vm');
  await reportHosts(client);
});
afterAll(async () => {
  await client.close();
  await programs.end();
});

interface Ready {
  readonly status: string;
  readonly trouble?: string;
  readonly troubled?: Readonly<Record<string, string>>;
}
const ready = async (): Promise<Ready> => {
  const reply = await fetch(`${allocator.http}/health/ready`);
  return (await reply.json()) as Ready;
};

/** A start that has its outcome. @returns the position of it. */
async function one(): Promise<number> {
  const id = await starts.one();
  return Number((await client.follow().outcome(id, { timeout: 60_000 })).position);
}

/** That VF_OUT holds what the log holds, byte for byte, from the first event to the last. */
async function expectSame(): Promise<void> {
  const position = await one();
  const { records } = await readLogFile(join(dataDir, 'events.db'));
  const out = await client.readOut('default', position);
  expect(out.map(({ event }) => event.id)).toEqual(records.slice(0, out.length).map(({ id }) => id));
  expect(out.length).toBeGreaterThanOrEqual(position);
}

const healthy = (): Promise<unknown> => untilHealth(allocator.http, 200, 90_000);

/** Waits for a `ready` that says something. */
const untilSaid = (what: RegExp): Promise<Ready> =>
  until(
    () => `health to say ${what}`,
    async () => {
      const said = await ready();
      return what.test(JSON.stringify(said)) && said.status === 'unavailable' ? said : undefined;
    },
    { timeout: 60_000 },
  );

describe('VF_OUT', () => {
  test('[OUT-3 acts] a message in the place of an event: said, taken out, and its consumers go on', async () => {
    await one();
    await client.manager.consumers.add('VF_OUT_default', {
      durable_name: 'billing',
      ack_policy: AckPolicy.Explicit,
    });
    const consumer = await jetstream(client.connection).consumers.get('VF_OUT_default', 'billing');
    const read: string[] = [];
    const take = async (): Promise<number> => {
      const message = await (
        await jetstream(client.connection).consumers.get('VF_OUT_default', 'billing')
      )
        .next({ expires: 1_000 })
        .catch(() => null);
      if (message === null) return 0;
      await message.ackAck();
      read.push(message.string());
      return message.seq;
    };
    const last = (await consumer.info(false)).num_pending;
    for (let taken = 0; taken < last; taken++) await take();
    // The place of the next event is taken, and more behind it; whoever reads quickly reads it.
    const [old] = await client.outBatch('default', 1);
    const strays = ['{"id":"not-yours"}', '', 'null', '[]', old!.text, `${old!.text} `];
    const seqs: number[] = [];
    for (const stray of strays)
      seqs.push((await jetstream(client.connection).publish('vf.out.default.vm.vm-1.VmStopped', stray)).seq);
    const seq = seqs[0]!;
    const said = await untilSaid(/does not hold the log's event at position/);
    expect(said.troubled?.['default']).toContain(`position ${seq}`);
    expect(said.troubled?.['default']).toContain('made again');
    await healthy();
    await expectSame();
    const after = await one();
    const seen: number[] = [];
    await until('billing to have read on', async () => {
      const position = await take();
      if (position > 0) seen.push(position);
      return position === after;
    });
    // In order, without a gap, from the place that was taken on.
    expect(seen).toEqual(
      Array.from({ length: after - seq + 1 }, (_, index) => seq + index).slice(-seen.length),
    );
    expect(seen[0]).toBeLessThanOrEqual(seq + 1);
    const { records } = await readLogFile(join(dataDir, 'events.db'));
    const events = [old!.text, ...read].filter((text) => text === old!.text || !strays.includes(text));
    const ids = events.map((text) => (JSON.parse(text) as OutEvent).id);
    expect(new Set(ids)).toEqual(new Set(records.slice(0, after).map(({ id }) => id)));
  });

  test('one that refuses is said, and goes on when it does not', async () => {
    await client.manager.streams.update('VF_OUT_default', { max_msg_size: 10 });
    const id = await starts.one();
    const said = await untilSaid(/VF_OUT_default/);
    expect(said.troubled?.['default']).toMatch(/maximum/);
    await client.manager.streams.update('VF_OUT_default', { max_msg_size: -1 });
    await client.follow().outcome(id, { timeout: 60_000 });
    await healthy();
  });
});

test('VF_DEAD: a forged letter with a huge sequence makes no real one vanish', async () => {
  const { seq } = await client.manager.streams.info('VF_IN').then(({ state }) => ({ seq: state.last_seq }));
  const { created } = await client.manager.streams.info('VF_IN');
  for (const sequence of ['9007199254740991', String(seq + 1), String(seq + 2)]) {
    await client.publishBytes('vf.dead.default', 'forged', { 'Vf-Stream': created, 'Vf-Sequence': sequence });
  }
  const unreadable = input('VmStartRequested', { vmId: 'vm-dead', nics: 'none' }, { id: 'dead-1' });
  const stored = await client.publishUntilStored(unreadable);
  const letter = await until('the real letter', async () =>
    (await client.dead()).find(
      (one) => headerOf(one, 'Vf-Event-Id') === 'dead-1' && headerOf(one, 'Vf-Sequence') === String(stored),
    ),
  );
  expect(JSON.parse(letter.payload.toString())).toEqual(unreadable.event);
  const asked = await fetch(`${allocator.http}/v1/clusters/default/outcome?id=dead-1`);
  expect(await asked.json()).toMatchObject({ dead: { reason: expect.stringContaining('nics') } });
});

test('a lease that a stranger takes, again and again, stops nothing', async () => {
  const stranger = async (): Promise<void> => {
    await client.publishBytes(
      '$KV.VF_LEASES.default',
      JSON.stringify({ holder: 'stranger', since: '', token: String(Math.random()) }),
    );
  };
  let over = false;
  const renewing = (async () => {
    while (!over) await stranger();
  })();
  try {
    for (let count = 0; count < 20; count++) await one();
    // One that comes anew, on another site of the same NATS, has the lease as soon as if its holder were dead.
    const other = await serve(programs, 'allocator', {
      VF_NATS_URL: server.url,
      VF_DATA_DIR: dataDir,
    });
    await untilHealth(other.http, 200);
    await allocator.program.stop();
    allocator = other;
    await one();
  } finally {
    over = true;
    await renewing;
  }
  await healthy();
});

describe('VF_IN', () => {
  test('made again as another kind of stream: said, and it goes on when it is what it was', async () => {
    const { config } = await client.manager.streams.info('VF_IN');
    await client.manager.streams.delete('VF_IN');
    // We may be slower than the allocator, which makes it as it was.
    await until('a stream of another kind', async () => {
      try {
        await client.manager.streams.add({ ...config, retention: 'workqueue' as never });
        return true;
      } catch {
        await client.manager.streams.delete('VF_IN').catch(() => false);
        return false;
      }
    });
    await untilSaid(/VF_IN is there, but drops what was read/);
    await client.manager.streams.delete('VF_IN');
    await healthy();
    await one();
  });

  test('that is full, and takes neither inputs nor what the leader itself says: said, and it goes on', async () => {
    const site = await programs.natsServer();
    const full = await serve(programs, 'allocator', {
      ...{ VF_NATS_URL: site.url, VF_CLUSTERS: 'default', VF_IN_MAX_BYTES: '1MiB' },
    });
    const there = await NatsClient.connect(site.url);
    try {
      const id = 'waits';
      await there.publishUntilStored(vmStart('vm-1', { id }));
      await there.follow().outcome(id, { timeout: 30_000 });
      // A cluster that nobody leads: what it gets stays.
      for (const bytes of [40_000, 400]) {
        await until('a stream that is full', async () => {
          try {
            await there.publishBytes('vf.in.elsewhere.vm.vm-1.VmStartRequested', 'x'.repeat(bytes));
            return false;
          } catch {
            return true;
          }
        });
      }
      await untilHealth(full.http, 503, 30_000);
      const said = (await (await fetch(`${full.http}/health/ready`)).json()) as Ready;
      expect(said.trouble).toMatch(/VF_IN is full/);
      await there.manager.streams.purge('VF_IN', { filter: 'vf.in.elsewhere.>' });
      await untilHealth(full.http, 200, 30_000);
    } finally {
      await there.close();
    }
  });
});

describe('a second allocator with a log of its own', () => {
  test.each([
    ['that is empty', {}],
    ['for a cluster that is led', { VF_CLUSTERS: 'default' }],
  ])('%s is refused at its start, and answers nothing', async (_what, settings) => {
    const other = await programs.start('allocator', { VF_NATS_URL: server.url, ...settings });
    let asked = 0;
    let answered = 0;
    while (other.running) {
      asked++;
      const reply = await client.connection.request('vf.query.default.vm', JSON.stringify({ vmId: 'vm-0' }), {
        timeout: 5_000,
      });
      if ((reply.json() as { vm?: unknown }).vm !== undefined) answered++;
    }
    expect((await other.exit()).code).toBe(1);
    expect(other.stderr).toMatch(/it is not the log that belongs to this NATS/);
    expect(other.stdout).toBe('');
    expect(answered).toBe(asked);
    expect(asked).toBeGreaterThan(3);
  });

  test('that has another history is refused too, also when nobody leads', async () => {
    const site = await programs.natsServer();
    const theirs = await programs.directory();
    const first = await serve(programs, 'allocator', { VF_NATS_URL: site.url, VF_DATA_DIR: theirs });
    const there = await NatsClient.connect(site.url);
    await there.publishUntilStored(vmStart('vm-1', { id: 'theirs' }));
    await there.follow().outcome('theirs', { timeout: 30_000 });
    await there.close();
    await first.program.stop();
    await allocator.program.stop();
    // Their log on our NATS, and an empty one.
    for (const VF_DATA_DIR of [theirs, await programs.directory()]) {
      const other = await programs.start('allocator', { VF_NATS_URL: server.url, VF_DATA_DIR });
      expect((await other.exit()).code).toBe(1);
      expect(other.stderr).toMatch(/it is not the log that belongs to this NATS/);
      expect(other.stderr).not.toContain('delete the stream');
    }
    allocator = await serve(programs, 'allocator', { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir });
    await expectSame();
  });

  test('that came before there was any event notices that the site works on another', async () => {
    const site = await programs.natsServer();
    const settings = { VF_NATS_URL: site.url };
    const first = await serve(programs, 'allocator', settings);
    const second = await serve(programs, 'allocator', settings);
    await untilHealth(second.http, 200);
    const there = await NatsClient.connect(site.url);
    const id = 'first-of-all';
    await there.publishUntilStored(vmStart('vm-1', { id }));
    await there.follow().outcome(id, { timeout: 30_000 });
    const [leading, other] = (
      await fetch(`${first.http}/health/ready`).then(async (reply) => JSON.stringify(await reply.json()))
    ).includes('"role":"leader"')
      ? [first, second]
      : [second, first];
    await untilHealth(other.http, 503);
    expect((await fetch(`${other.http}/v1/clusters/default/vms`)).status).toBe(503);
    // Its share of the questions goes to the one that has the answers.
    await until('only the leader to answer', async () => {
      for (let times = 0; times < 12; times++) {
        const reply = await there.connection.request('vf.query.default.outcome', JSON.stringify({ id }), {
          timeout: 5_000,
        });
        if ((reply.json() as { outcome?: unknown }).outcome === undefined) return false;
      }
      return true;
    });
    await untilHealth(leading.http, 200);
    await there.close();
  });
});
