import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { median, type Benchmark } from '../benchmark.js';
import { withScheduler } from '../chains.js';
import { freePort } from '../programs.js';
import { latenciesOf } from '../traffic.js';

const TIMES = 20;
const STARTS = 2000;
const LOAD = { startsPerSecond: 200, coldSeconds: 0 };
const TICK = 10;

const post = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});
const csv = { headers: { accept: 'text/csv' } };
const nics = [{ nicId: 'n0', physicalNetwork: 'em1' }];
const inputs = Array.from({ length: 100 }, (_, vm) => ({
  type: 'VmStartRequested',
  data: { vmId: `planned-${vm}`, nics },
}));
const period = { from: '2020-01-01T00:00:00Z', to: '2099-01-01T00:00:00Z' };

/** What is asked, each alone. */
const QUESTIONS: Readonly<Record<string, readonly [path: string, init?: RequestInit]>> = {
  'vm (cheap)': ['vm?vmId=vm-1'],
  'vms, 100 rows (cheap)': ['vms'],
  'vms, 1,000 rows': ['vms?limit=1000'],
  'vms, all as CSV': ['vms', csv],
  'availability of 2,000 PFs': ['availability'],
  'availability, summary (cheap)': ['availability?summary=true'],
  'usage by VM': [`usage?${new URLSearchParams({ ...period, by: 'vm' }).toString()}`],
  'history of 10 (cheap)': ['history?limit=10'],
  'history of 1,000': ['history?limit=1000'],
  'history of 1,000, with causes': ['history?limit=1000&causes=true'],
  'candidates of 1,000 hosts': ['candidates', post({ nics, limit: 1000 })],
  'plan of 100 starts': ['plan', post({ inputs })],
  'restore-impact': ['restore-impact?hostId=host-1&pf=0000:80:00.0'],
  verify: ['verify'],
};

/** Milliseconds of CPU that a process, and its main thread, have had. */
async function cpuOf(pid: number): Promise<{ all: number; main: number }> {
  const read = async (file: string): Promise<number> => {
    const fields = (await readFile(file, 'utf8')).replace(/^.*\) /s, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK;
  };
  return { all: await read(`/proc/${pid}/stat`), main: await read(`/proc/${pid}/task/${pid}/stat`) };
}

export default {
  how: `1,000 hosts × 2 PFs × 64 VFs, ${STARTS} starts and stops; then each question ${TIMES} times, one after the other, over HTTP: CPU of the scheduler's process and of its main thread for one (of /proc, less what it takes at rest), and the time to the answer`,
  async *measure({ scale }) {
    const port = await freePort();
    const settings = { VF_HTTP_PORT: String(port) };
    const figures = await withScheduler(
      '2m',
      async (chain, { pid }) => {
        await latenciesOf(chain, {
          ...LOAD,
          seconds: (STARTS / LOAD.startsPerSecond) * Math.max(scale, 0.5),
        });
        const costs = [];
        for (const [name, [path, init]] of Object.entries(QUESTIONS)) {
          const address = `http://127.0.0.1:${port}/v1/clusters/default/${path}`;
          // The first is compiled.
          await (await fetch(address, init)).arrayBuffer();
          const atRest = await cpuOf(pid);
          await delay(1000);
          const before = await cpuOf(pid);
          const begun = performance.now();
          const took: number[] = [];
          for (let time = 0; time < TIMES; time++) {
            const asked = performance.now();
            const answer = await fetch(address, init);
            await answer.arrayBuffer();
            if (answer.status !== 200) throw new Error(`${name}: ${answer.status}`);
            took.push(performance.now() - asked);
          }
          const seconds = (performance.now() - begun) / 1000;
          const after = await cpuOf(pid);
          const each = (which: 'all' | 'main'): number =>
            Math.max(0, after[which] - before[which] - (before[which] - atRest[which]) * seconds) / TIMES;
          costs.push({ name, all: each('all'), main: each('main'), took: median(took) });
        }
        return costs;
      },
      { settings },
    );
    for (const { name, all, main, took } of figures) {
      yield { figure: `${name}: CPU`, value: all, unit: 'ms' };
      yield { figure: `${name}: CPU of the main thread`, value: main, unit: 'ms' };
      yield { figure: `${name}: time to the answer`, value: took, unit: 'ms' };
    }
  },
} satisfies Benchmark;
