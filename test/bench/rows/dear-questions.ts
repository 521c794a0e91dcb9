import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { atMost, percentile, type Benchmark } from '../benchmark.js';
import { withScheduler } from '../chains.js';
import { freePort, inDirectory, startProgram } from '../programs.js';
import { latenciesOf } from '../traffic.js';

const CLIENTS = 60;
const ROUNDS = 3;
const LOAD = { startsPerSecond: 100, coldSeconds: 2 };
const SECONDS = 10;

export default {
  how:
    `1,000 hosts × 2 PFs × 64 VFs, ${LOAD.startsPerSecond} starts/s offered, each followed by its stop; ${ROUNDS} rounds of ${SECONDS} s in alternation, without and with ${CLIENTS} clients ` +
    'in a process of their own that ask without a pause for histories of 1,000 events, usage, exports, verify, plans of 100 inputs, candidates and whole lists as JSON, CSV and lines, over HTTP and NATS',
  async *measure({ scale }) {
    const load = { ...LOAD, seconds: SECONDS * Math.max(scale, 0.5) };
    const port = await freePort();
    const [alone, asked] = await inDirectory(async (directory) => {
      const key = join(directory, 'audit-key.pem');
      const { privateKey } = generateKeyPairSync('ed25519');
      await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
      const settings = { VF_HTTP_PORT: String(port), VF_AUDIT_KEY: key };
      return withScheduler(
        '2m',
        async (chain) => {
          const without: number[] = [];
          const during: number[] = [];
          // What is compiled and registered at first is in neither.
          await latenciesOf(chain, load);
          for (let round = 0; round < ROUNDS; round++) {
            without.push(...(await latenciesOf(chain, load)).warm);
            const args = [`http://127.0.0.1:${port}`, chain.connection.getServer(), String(CLIENTS)];
            const clients = await startProgram('dear-clients.js', { args });
            during.push(...(await latenciesOf(chain, load)).warm);
            await clients.stop();
          }
          return [without, during] as const;
        },
        { settings },
      );
    });
    yield { figure: 'a start without them, p50', value: percentile(alone, 0.5), unit: 'ms' };
    yield { figure: 'a start without them, p99', value: percentile(alone, 0.99), unit: 'ms' };
    yield { figure: 'a start with them, p50', value: percentile(asked, 0.5), unit: 'ms' };
    yield { figure: 'a start with them, p99', value: percentile(asked, 0.99), unit: 'ms' };
    yield {
      figure: 'with ÷ without, p99',
      value: percentile(asked, 0.99) / percentile(alone, 0.99),
      unit: '×',
      goal: atMost(3),
    };
  },
} satisfies Benchmark;
