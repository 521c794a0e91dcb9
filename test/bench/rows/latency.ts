import { below, percentile, type Benchmark } from '../benchmark.js';
import { withRawChain, withScheduler } from '../chains.js';
import { latenciesOf } from '../traffic.js';

const STARTS_PER_SECOND = 500;
const SECONDS = 20;

export default {
  how: 'the same at 500 starts/s offered, each followed by its stop, for 20 s a setting: from the publish of a start to its outcome',
  async *measure({ scale }) {
    const seconds = SECONDS * scale;
    for (const sync of ['always', '2m']) {
      const raw = await withRawChain(sync, (chain) => latenciesOf(chain, STARTS_PER_SECOND, seconds));
      yield { figure: `raw chain, p50, sync_interval ${sync}`, value: percentile(raw, 0.5), unit: 'ms' };
      yield { figure: `raw chain, p99, sync_interval ${sync}`, value: percentile(raw, 0.99), unit: 'ms' };
      const ours = await withScheduler(sync, (chain) => latenciesOf(chain, STARTS_PER_SECOND, seconds));
      yield { figure: `latency, p50, sync_interval ${sync}`, value: percentile(ours, 0.5), unit: 'ms' };
      yield { figure: `latency, p99, sync_interval ${sync}`, value: percentile(ours, 0.99), unit: 'ms' };
      yield {
        figure: `latency p99 ÷ raw chain p99, sync_interval ${sync}`,
        value: percentile(ours, 0.99) / percentile(raw, 0.99),
        unit: '×',
        goal: below(3),
      };
    }
  },
} satisfies Benchmark;
