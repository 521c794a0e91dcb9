import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { below, type Benchmark } from '../benchmark.js';
import { Fleet, VFS } from '../fleet.js';
import { runApart } from '../programs.js';

const HOSTS = 1_000;
const PFS = 4;

/** What a process with this state alone has resident, in MiB. */
function memory(): { heap: number; rss: number } {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const fleet = new Fleet(HOSTS, PFS);
  const held = (HOSTS * PFS * VFS) / 2;
  fleet.fill(held / 16, ['physA', 'phys1', 'phys2', 'phys3']);
  collect();
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  if (fleet.state.allocations.size !== held) throw new Error('the fleet is not half full');
  return { heap: heapUsed / 2 ** 20, rss: rss / 2 ** 20 };
}

const file = fileURLToPath(import.meta.url);

export default {
  how: 'a state of 1,000 hosts × 4 PFs × 64 VFs, half allocated, made by deciding, alone in a process; after a collection',
  async *measure() {
    const { heap, rss } = await runApart<ReturnType<typeof memory>>(file);
    yield { figure: 'state of the large fleet: heap', value: heap, unit: 'MiB' };
    yield { figure: 'state of the large fleet: resident', value: rss, unit: 'MiB', goal: below(200) };
  },
} satisfies Benchmark;

if (process.argv[1] === file) process.stdout.write(JSON.stringify(memory()));
