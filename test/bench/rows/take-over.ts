import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { connect } from '@nats-io/transport-node';
import { jetstream } from '@nats-io/jetstream';
import { below, median, type Benchmark } from '../benchmark.js';
import { onServer, startProgram, type Program } from '../programs.js';

const KILLS = 10;
const PROGRAM = '../../apps/allocator/src/main.js';

/** Milliseconds from `kill -9` of the leader to the first decision of its successor, for each kill. */
const takeOvers = (kills: number): Promise<readonly number[]> =>
  onServer('2m', async (url, directory) => {
    let begun = 0;
    const another = (): Promise<Program> =>
      startProgram(PROGRAM, {
        env: {
          VF_NATS_URL: url,
          VF_EVENT_LOG: 'jetstream:',
          VF_HTTP_PORT: '0',
          VF_DATA_DIR: `${directory}/allocator-${++begun}`,
          VF_LOG_LEVEL: 'silent',
        },
      });
    const fleet = await Promise.all([another(), another(), another()]);
    const nats = await connect({ servers: url });
    let killedAt = Number.POSITIVE_INFINITY;
    const published = new Map<string, number>();
    let decided: (() => void) | undefined;
    nats.subscribe('vf.out.default.>', {
      callback: (_, message) => {
        const { causationid } = message.json<{ causationid: string }>();
        // What was asked before the kill may have been decided before it too.
        if ((published.get(causationid) ?? 0) > killedAt) decided?.();
        published.delete(causationid);
      },
    });
    let over = false;
    const load = (async (): Promise<void> => {
      while (!over) {
        const id = randomUUID();
        const data = { vmId: `vm-${published.size}`, nics: [] };
        const event = { specversion: '1.0', id, source: '/bench', type: 'VmStartRequested', data };
        published.set(id, performance.now());
        const text = JSON.stringify({ ...event, time: new Date().toISOString() });
        await jetstream(nats).publish(`vf.in.default.vm.${data.vmId}.VmStartRequested`, text);
        await wait(2);
      }
    })();
    const times: number[] = [];
    try {
      while (times.length < kills) {
        await wait(1000);
        const clusters = await nats.request('vf.query._.clusters', '', { timeout: 5000 });
        const [cluster] = clusters.json<{ leader?: string }[]>();
        // <host>:<process>:<…>
        const leader = fleet.find(({ pid }) => String(pid) === cluster?.leader?.split(':').at(-2));
        if (leader === undefined) continue;
        const next = new Promise<void>((resolve) => (decided = resolve));
        killedAt = performance.now();
        await leader.kill();
        await next;
        times.push(performance.now() - killedAt);
        killedAt = Number.POSITIVE_INFINITY;
        fleet[fleet.indexOf(leader)] = await another();
      }
    } finally {
      over = true;
      await load;
      await nats.close();
      await Promise.all(fleet.map((program) => program.stop()));
    }
    return times;
  });

export default {
  how: '`kill -9` of the leader of three allocators, 10 times, log in JetStream, starts published one after the other: from the kill to the first decision on what was published after it',
  patience: 200,
  async *measure({ scale }) {
    const times = await takeOvers(Math.max(3, Math.round(KILLS * scale)));
    const goal = below(5000);
    yield { figure: 'take-over, median', value: median(times), unit: 'ms', goal };
    yield { figure: 'take-over, longest', value: Math.max(...times), unit: 'ms', goal };
  },
} satisfies Benchmark;
