import { afterAll, afterEach, describe, expect, jest, test } from '@jest/globals';
import { TestServers } from '#broker/test-servers';
import { expectWhole, reportHosts, serve, Starts, untilHealth } from './support/conversation.js';
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
});
