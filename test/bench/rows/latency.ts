import { below, percentile, type Benchmark } from '../benchmark.js';
import { withRawChain, withScheduler } from '../chains.js';
import { latenciesOf } from '../traffic.js';

const LOAD = { startsPerSecond: 500, coldSeconds: 5 };
const SECONDS = 20;

export default {
  how:
    'the same at 500 starts/s offered, each followed by its stop, for 25 s a setting: from the publish of a start to its outcome. ' +
    'The first 5 s are told apart, in both chains: code is compiled, and 1,000 hosts have just been registered and are still written to the read side',
  async *measure({ scale }) {
    const load = { ...LOAD, seconds: SECONDS * scale };
    for (const sync of ['always', '2m']) {
      const raw = await withRawChain(sync, (chain) => latenciesOf(chain, load));
      yield { figure: `raw chain, p50, sync_interval ${sync}`, value: percentile(raw.warm, 0.5), unit: 'ms' };
      yield {
        figure: `raw chain, p99, sync_interval ${sync}`,
        value: percentile(raw.warm, 0.99),
        unit: 'ms',
      };
      const ours = await withScheduler(sync, (chain) => latenciesOf(chain, load));
      yield { figure: `latency, p50, sync_interval ${sync}`, value: percentile(ours.warm, 0.5), unit: 'ms' };
      yield { figure: `latency, p99, sync_interval ${sync}`, value: percentile(ours.warm, 0.99), unit: 'ms' };
      yield {
        figure: `latency p99 ÷ raw chain p99, sync_interval ${sync}`,
        value: percentile(ours.warm, 0.99) / percentile(raw.warm, 0.99),
        unit: '×',
        goal: below(3),
      };
      yield {
        figure: `the same of the first 5 s, sync_interval ${sync}`,
        value: percentile(ours.cold, 0.99) / percentile(raw.cold, 0.99),
        unit: '×',
      };
    }
  },
} satisfies Benchmark;
