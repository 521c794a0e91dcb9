import { below, median, type Benchmark } from '../benchmark.js';
import { Fleet } from '../fleet.js';

const ROUNDS = 300;
/** Rounds before those that count. */
const WARM_UP = 100;

export default {
  how: 'one VM that asks for a VF of each of as many PFs, all different, with one free VF each, among 200 other hosts; median of 200',
  *measure() {
    for (const wanted of [8, 16, 21, 32, 48]) {
      const fleet = new Fleet(200, 2, 8);
      fleet.report('wide', wanted, 1);
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const start = fleet.input('VmStartRequested', {
          vmId: 'vm',
          nics: Array.from({ length: wanted }, (_, nic) => ({ nicId: `nic-${nic}` })),
          separatePfs: true,
        });
        times.push(fleet.run([start]));
        if (fleet.state.vms.get('vm')?.held !== wanted)
          throw new Error(`the VM did not get its ${wanted} VFs`);
        fleet.run([fleet.input('VmStopped', { vmId: 'vm' })]);
      }
      yield {
        figure: `one VM with ${wanted} VFs from ${wanted} PFs`,
        value: median(times.slice(WARM_UP)),
        unit: 'ms',
        goal: below(1),
      };
    }
  },
} satisfies Benchmark;
