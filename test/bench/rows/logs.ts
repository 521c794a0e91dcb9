import type { Benchmark } from '../benchmark.js';
import { withScheduler } from '../chains.js';
import { rateOf } from '../traffic.js';

const INPUTS = 40_000;

export default {
  how: 'end-to-end as in `end-to-end`, 40,000 inputs (`always`: 8,000), with the log in SQLite and in JetStream on the same nats-server, one after the other',
  patience: 600,
  async *measure({ scale }) {
    for (const sync of ['always', '2m']) {
      // With a disk write for each message a fifth of the inputs takes as long.
      const inputs = (INPUTS * scale) / (sync === 'always' ? 5 : 1);
      const rates = new Map<string, number>();
      for (const log of ['sqlite:', 'jetstream:']) {
        const rate = await withScheduler(sync, (chain) => rateOf(chain, inputs), {
          settings: { VF_EVENT_LOG: log },
        });
        rates.set(log, rate);
        yield { figure: `end-to-end, log ${log}, sync_interval ${sync}`, value: rate, unit: 'inputs/s' };
      }
      yield {
        figure: `log jetstream: ÷ log sqlite:, sync_interval ${sync}`,
        value: rates.get('jetstream:')! / rates.get('sqlite:')!,
        unit: '×',
      };
    }
  },
} satisfies Benchmark;
