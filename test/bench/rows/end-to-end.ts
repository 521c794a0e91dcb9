import { atLeast, type Benchmark } from '../benchmark.js';
import { withRawChain, withScheduler } from '../chains.js';
import { rateOf } from '../traffic.js';

const INPUTS = 100_000;

export default {
  how: 'client → VF_IN → allocator (SQLite, synchronous=FULL) → VF_OUT → client, 1,000 hosts × 2 PFs × 64 VFs; 100,000 inputs (`always`: 20,000), a start and a stop each count one, from the first publish to the last outcome; the raw chain is the limit, measured in the same run',
  patience: 600,
  async *measure({ scale }) {
    for (const sync of ['always', '2m']) {
      // With a disk write for each message a fifth of the inputs takes as long.
      const inputs = (INPUTS * scale) / (sync === 'always' ? 5 : 1);
      const raw = await withRawChain(sync, (chain) => rateOf(chain, inputs));
      yield { figure: `raw chain, sync_interval ${sync}`, value: raw, unit: 'inputs/s' };
      const ours = await withScheduler(sync, (chain) => rateOf(chain, inputs));
      yield { figure: `end-to-end, sync_interval ${sync}`, value: ours, unit: 'inputs/s' };
      yield {
        figure: `end-to-end ÷ raw chain, sync_interval ${sync}`,
        value: ours / raw,
        unit: '×',
        goal: atLeast(0.7),
      };
    }
  },
} satisfies Benchmark;
