import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { brokerConformance } from '#broker/conformance';
import { BrokerError } from './errors.js';
import { connectNats } from './nats-broker.js';
import { natsSite } from './nats-site.js';
import { TestServers, type TestCluster } from './nats-test-servers.js';

const servers = new TestServers();
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await servers.startCluster();
}, 60_000);
afterAll(() => servers.end(), 60_000);

brokerConformance('the NATS broker on three replicas', () =>
  natsSite(cluster.servers[0]!.url, {
    streams: { replicas: 3 },
    // What is written must be agreed upon by servers that share a small machine.
    leases: { renewEvery: 200, lostAfter: 5_600, takeOverAfter: 8_000 },
  }),
);

describe('the relay on three replicas', () => {
  test('kill -9 of the leader of VF_OUT in the middle of a run: no gap, no double, and it goes on', async () => {
    const broker = await connectNats({
      url: cluster.url.split(','),
      streams: { replicas: 3 },
      requestTimeout: 1_000,
    });
    const tools = await connect({ servers: cluster.url.split(',') });
    try {
      const { streams } = await jetstreamManager(tools, { checkAPI: false });
      await broker.output.create('c1', 1);
      const total = 30_000;
      const message = (position: number) => ({
        position,
        id: String(position),
        subject: 'vf.out.c1.vm.vm-1.VmStopped',
        payload: `event ${position}`,
      });
      const runs = (async () => {
        const failures: string[] = [];
        for (let last = 0; last < total;) {
          const run = Array.from({ length: Math.min(2_000, total - last) }, (_, index) =>
            message(last + index + 1),
          );
          try {
            await broker.output.publish('c1', run);
            last += run.length;
          } catch (error) {
            // As the relay does after any doubt: it looks at the last sequence, and goes on behind it.
            failures.push((error as BrokerError).code);
            for (let known = false; !known;) {
              try {
                last = (await broker.output.state('c1'))!.lastSequence;
                known = true;
              } catch (failure) {
                if (!(failure instanceof BrokerError) || failure.code !== 'UNAVAILABLE') throw failure;
                await new Promise((resolve) => setImmediate(resolve));
              }
            }
          }
        }
        return failures;
      })();
      const begun = async (): Promise<string> => {
        for (;;) {
          const { state, cluster: servedBy } = await streams.info('VF_OUT_c1');
          if (state.last_seq >= 2_000) return servedBy!.leader!;
        }
      };
      const leader = await begun();
      await cluster.kill(leader);
      expect((await runs).length).toBeGreaterThan(0);

      const { config, state } = await streams.info('VF_OUT_c1');
      expect(config.num_replicas).toBe(3);
      expect(state).toMatchObject({ first_seq: 1, last_seq: total, messages: total });
      let position = 0;
      const stored = await tools.request(
        '$JS.API.STREAM.INFO.VF_OUT_c1',
        JSON.stringify({ deleted_details: true }),
      );
      expect(stored.json<{ state: { deleted?: unknown } }>().state.deleted ?? []).toEqual([]);
      while (position < total) {
        position = Math.min(total, position + 997);
        const { data } = (await streams.getMessage('VF_OUT_c1', { seq: position }))!;
        expect(Buffer.from(data).toString()).toBe(`event ${position}`);
      }
    } finally {
      await tools.close();
      await broker.close();
    }
  }, 60_000);
});
