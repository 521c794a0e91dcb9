import { join } from 'node:path';
import { SqliteLog } from '#log';
import { silentLogger } from '#pipeline';
import { ReadModel } from '#read-model';
import { atLeast, below, percentile, type Benchmark } from '../benchmark.js';
import { CLUSTER, writeLog } from '../long-log.js';
import { inDirectory } from '../programs.js';

const EVENTS = 1_000_000;
const QUESTIONS = 400;

/** A generator of numbers from 0 to 1 by a seed. */
function* randoms(seed: number): Generator<number> {
  let state = seed >>> 0 || 1;
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield (state >>> 0) / 2 ** 32;
  }
}

export default {
  how: 'a log of 1,000,000 events (1,000 hosts × 2 PFs × 64 VFs, 20,000 VMs) in SQLite is taken into an empty read side, the file in the cache of the system; then 400 times the availability of all 2,000 PFs at a random moment, as JSON text, one question at a time',
  patience: 600,
  async *measure({ scale, seed }) {
    const measured = await inDirectory(async (directory) => {
      const log = await SqliteLog.open(join(directory, 'events.db'));
      const { head } = await writeLog(log, EVENTS * scale);
      const model = await ReadModel.open({
        directory,
        log: await log.reader(),
        logger: silentLogger,
        rememberedInputs: 200_000,
      });
      const begun = performance.now();
      model.follow(CLUSTER);
      await model.until(CLUSTER, head.position, 500_000);
      // What is asked has been written.
      await model.ask({ cluster: CLUSTER, name: 'policy', request: {} });
      const seconds = (performance.now() - begun) / 1000;
      const random = randoms(seed);
      const times: number[] = [];
      for (let question = 0; question < QUESTIONS; question++) {
        const position = Math.floor((random.next().value as number) * head.position);
        const asked = performance.now();
        const { fields } = await model.ask({
          cluster: CLUSTER,
          name: 'availability',
          request: {},
          at: { position },
        });
        times.push(performance.now() - asked);
        if (!fields.startsWith('"total":')) throw new Error(`no availability at ${position}`);
      }
      await model.close();
      await model.log.close();
      await log.close();
      return { rate: head.position / seconds, times };
    });
    yield { figure: 'projection', value: measured.rate, unit: 'events/s', goal: atLeast(50_000) };
    yield {
      figure: 'availability as of a random moment, median',
      value: percentile(measured.times, 0.5),
      unit: 'ms',
    };
    yield {
      figure: 'availability as of a random moment, p99',
      value: percentile(measured.times, 0.99),
      unit: 'ms',
      goal: below(50),
    };
  },
} satisfies Benchmark;
