/**
 * `npm run bench [-- --quick]`: prints the table, writes `bench/results.json`. Every figure that matters is a
 * ratio against a limit measured in the same run. A benchmark is not a test: it never fails a build.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { benchDecision } from './decision.js';
import { benchEndToEnd, benchLatency } from './end-to-end.js';
import type { Figure } from './figure.js';
import { benchReplay } from './replay.js';

const quick = process.argv.includes('--quick');
const scale = quick ? 0.1 : 1;
const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Node ${process.versions.node}`;

const parts: readonly (readonly [string, () => Promise<readonly Figure[]>])[] = [
  ['decision', benchDecision],
  ['end to end', () => benchEndToEnd(100_000 * scale)],
  ['latency', () => benchLatency(quick ? 2 : 20)],
  ['replay and start-up', () => benchReplay(1_000_000 * scale)],
];

const shown = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString('en')
    : value.toLocaleString('en', { maximumFractionDigits: 2 });

const figures: Figure[] = [];
process.stdout.write(`${machine}\n\n`);
for (const [name, measure] of parts) {
  process.stderr.write(`measuring ${name} …\n`);
  for (const figure of await measure()) {
    figures.push(figure);
    const goal = figure.goal === undefined ? '' : `  (goal: ${figure.goal})`;
    process.stdout.write(
      `${figure.figure.padEnd(64)} ${shown(figure.value).padStart(12)} ${figure.unit}${goal}\n`,
    );
  }
}
await mkdir('bench', { recursive: true });
await writeFile(
  'bench/results.json',
  `${JSON.stringify({ machine, at: new Date().toISOString(), quick, figures }, null, 2)}\n`,
);
