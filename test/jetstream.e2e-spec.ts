import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, describe, expect, jest, test } from '@jest/globals';
import { TestServers } from '#broker/test-servers';
import { expectWhole, ledBy, reportHosts, serve, Starts, untilHealth } from './support/conversation.js';
import { readLogStream } from './support/log-file.js';
import { NatsClient } from './support/nats-client.js';
import { freePort, kill, natsServersBelow, Programs } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(90_000);

const programs = new Programs();
const servers = new TestServers();
let client: NatsClient | undefined;

afterEach(() => client?.close());
afterAll(async () => {
  await programs.end();
  await servers.end();
});

describe('VF_EVENT_LOG=jetstream:', () => {
  test('[OUT-1 acts] a standalone that is killed under load with its nats-server: one outcome each, and VF_OUT is the log', async () => {
    const dataDir = await programs.directory();
    const settings = {
      VF_EVENT_LOG: 'jetstream:',
      VF_DATA_DIR: dataDir,
      VF_NATS_PORT: String(await freePort()),
    };
    let served = await serve(programs, 'standalone', settings);
    const ready = await served.program.ready();
    expect(ready.log).toBe('jetstream:');
    client = await NatsClient.connect(ready.nats);
    await reportHosts(client);
    const starts = new Starts(client, 'alone');
    starts.begin();
    for (let kills = 0; kills < 2; kills++) {
      await starts.some();
      // The first time its nats-server lives on, and is ended by the next.
      if (kills > 0) for (const pid of natsServersBelow(dataDir)) kill(pid, 'SIGKILL');
      await served.program.kill();
      served = await serve(programs, 'standalone', settings);
    }
    await starts.end();
    const stored = await client.stream('VF_LOG_default');
    expect(stored?.config).toMatchObject({ deny_delete: true, deny_purge: true, num_replicas: 1 });
    await expectWhole(client, starts.ids, () => readLogStream(ready.nats));
    expect(served.program.log(50)).toEqual([]);
    expect(await served.program.stop()).toEqual({ code: 0, signal: null });
  });

  test('[OUT-1 acts] two allocators on three nats-servers, of which the leader of the log dies, then the allocator that leads', async () => {
    const cluster = await servers.startCluster();
    const settings = { VF_EVENT_LOG: 'jetstream:', VF_NATS_URL: cluster.url, VF_NATS_REPLICAS: '3' };
    const first = await serve(programs, 'allocator', settings);
    const second = await serve(programs, 'allocator', settings);
    const them = (client = await NatsClient.connect(cluster.url));
    await reportHosts(them);
    const starts = new Starts(them, 'three');
    starts.begin();
    await starts.some();
    await until('the log', async () => ((await them.stream('VF_LOG_default'))?.state.messages ?? 0) > 0);
    for (const name of ['VF_IN', 'VF_DEAD', 'VF_OUT_default', 'VF_LOG_default', 'KV_VF_LEASES']) {
      expect([name, (await them.stream(name))?.config.num_replicas]).toEqual([name, 3]);
    }

    const dead = (await them.stream('VF_LOG_default'))!.cluster!.leader!;
    await cluster.kill(dead);
    await starts.some();
    await untilHealth(first.http, 200, 30_000);
    await first.program.kill();
    await starts.some();
    await untilHealth(second.http, 200, 30_000);
    await cluster.restart(dead);
    await starts.end();
    await expectWhole(them, starts.ids, () => readLogStream(cluster.url));
    await until('the three replicas to be as one', async () => {
      const { cluster: state } = (await them.stream('VF_LOG_default'))!;
      return state!.replicas!.every(({ current }) => current);
    });
    expect(await second.program.stop()).toEqual({ code: 0, signal: null });
  });

  test('strangers publish to the log all the time: both lead on, say so, and the repair leaves the log without them', async () => {
    const server = await servers.start();
    const settings = { VF_EVENT_LOG: 'jetstream:', VF_NATS_URL: server.url };
    const allocators = [
      await serve(programs, 'allocator', settings),
      await serve(programs, 'allocator', settings),
    ];
    const them = (client = await NatsClient.connect(server.url));
    await reportHosts(them);
    const starts = new Starts(them, 'strange');
    starts.begin();
    await starts.some();
    const first = (await them.raw('VF_LOG_default', 1))!.payload;
    const publishAll = async (): Promise<void> => {
      const last = (await them.stream('VF_LOG_default'))!.state.last_seq;
      const copy = (await them.raw('VF_LOG_default', last))!.payload;
      for (const data of ['hello', '', first, copy, copy.subarray(0, -9), `{"vfLog":2,"from":${last}}\n`])
        them.connection.publish('vf.log.default', data);
      for (const subject of ['vf.logged.default', 'vf.snapshot.default.x'])
        them.connection.publish(subject, 'hello');
      await them.connection.flush();
    };
    for (let round = 0; round < 10; round++) {
      await publishAll();
      await starts.some(2);
    }
    const leader = await until('a leader', async () => {
      for (const one of allocators) if ((await ledBy(one.http)).includes('default')) return one;
      return undefined;
    });
    const other = allocators.find((one) => one !== leader)!;
    await leader.program.kill();
    await publishAll();
    await starts.some(5);
    await publishAll();
    await starts.end();
    await expectWhole(them, starts.ids, () => readLogStream(server.url));

    // Said by the one that stood by, and by one that begins at a snapshot; neither is in trouble for it.
    expect(await other.program.stop()).toEqual({ code: 0, signal: null });
    expect(other.program.log(40).filter(({ msg }) => msg.includes('is no batch')).length).toBeGreaterThan(0);
    expect(other.program.log(50)).toEqual([]);
    const again = await serve(programs, 'allocator', settings);
    const said = await until('what was passed over', async () => {
      const answer = await fetch(`${again.http}/health/ready`);
      const { status, clusters } = (await answer.json()) as {
        status: string;
        clusters: Record<string, { passedOver?: { count: number; last: string } }>;
      };
      const found = clusters['default']?.passedOver;
      return answer.status === 200 && found?.count === 72 ? { status, ...found } : undefined;
    });
    expect(said.status).toBe('ok');
    expect(said.last).toMatch(/^message \d+ of VF_LOG_default is no batch of the scheduler's: /);
    const verified = await verify(again.http);
    expect(verified).toMatchObject({ ok: true, checks: { chain: { ok: true, passedOver: { count: 72 } } } });
    await again.program.stop();

    // The repair: to a file and back, byte for byte.
    const main = join(import.meta.dirname, '../dist/apps/log-copy/src/main.js');
    const file = `sqlite:${join(await programs.directory(), 'events.db')}`;
    const copyLog = async (from: string, to: string): Promise<string> => {
      const env = { ...process.env, VF_NATS_URL: server.url };
      return (await promisify(execFile)(process.execPath, [main, from, to], { env })).stdout;
    };
    const { position, hash } = verified.head;
    const line = new RegExp(
      `^default: ${position} events copied, up to position ${position}, hash ${hash}$`,
      'm',
    );
    expect(await copyLog('jetstream:', file)).toMatch(line);
    await them.manager.streams.delete('VF_LOG_default');
    expect(await copyLog(file, 'jetstream:')).toMatch(line);
    const mended = await serve(programs, 'allocator', settings);
    await untilHealth(mended.http, 200);
    await starts.one();
    await until(
      'one more decision',
      async () => Number((await verify(mended.http)).position) > Number(position),
    );
    const good = await verify(mended.http);
    expect(good.ok).toBe(true);
    expect(good.checks.chain).toEqual({ ok: true });
    expect(await mended.program.stop()).toEqual({ code: 0, signal: null });
  });
});

interface Verified {
  readonly position: string;
  readonly ok: boolean;
  readonly head: { readonly position: string; readonly hash: string };
  readonly checks: { readonly chain: object };
}

async function verify(http: string): Promise<Verified> {
  const answer = await fetch(`${http}/v1/clusters/default/verify`);
  return (await answer.json()) as Verified;
}
