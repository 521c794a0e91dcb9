/**
 * `npm run bench -- [rows] [--quick] [--seed N] [--profile]`: prints the table, and writes
 * `bench/results.json` and `bench/results.md`. Every figure that matters is a ratio against a limit measured
 * in the same run. A benchmark is not a test: a figure that misses its goal fails nothing, a row that cannot
 * be measured does.
 */
import { parseArgs } from 'node:util';
import { machine, versions } from './machine.js';
import { line, save, type RowResult } from './results.js';
import { runRow } from './run-row.js';
import { rowNames } from './rows.js';

const names = rowNames();
const usage = `usage: npm run bench -- [row …] [--quick] [--seed N] [--profile]
rows: ${names.join(', ')}; without one: all
--quick    a tenth of the load
--seed N   for what is drawn (1)
--profile  also writes where the time goes to bench/profile, a table and a flame graph for each process`;

interface Wanted {
  readonly rows: readonly string[];
  readonly quick: boolean;
  readonly profile: boolean;
  readonly seed: number;
}

/** @throws Error saying what is wrong with the arguments. */
function wanted(): Wanted | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
    },
  });
  if (values.help) return undefined;
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`there is no row '${unknown}'`);
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new Error(`--seed takes a whole number, not '${values.seed}'`);
  const rows = positionals.length === 0 ? names : positionals;
  return { rows, quick: values.quick, profile: values.profile, seed };
}

async function bench({ rows, quick, profile, seed }: Wanted): Promise<void> {
  const [where, what] = [machine(), await versions()];
  process.stdout.write(
    `${where.cores} × ${where.cpu}, ${where.memoryGiB} GiB, Node ${what.node}, nats-server ${what['nats-server']}\n`,
  );
  const results: RowResult[] = [];
  for (const row of rows) {
    process.stdout.write(`\n${row}\n`);
    const result = await runRow(row, { quick, seed, scale: quick ? 0.1 : 1 }, profile, (figure) =>
      process.stdout.write(`${line(figure)}\n`),
    );
    if (result.failed !== undefined) process.stdout.write(`  failed: ${result.failed}\n`);
    results.push(result);
    // Each at once: what was measured is not lost with a run that is broken off.
    await save({ machine: where, versions: what, rows: results });
  }
  const figures = results.flatMap((result) => result.figures);
  const missed = figures.filter(({ met }) => met === false);
  const failed = results.filter((result) => result.failed !== undefined);
  process.stdout.write(
    `\n${figures.filter(({ met }) => met === true).length} goals met, ${missed.length} missed` +
      `${missed.length === 0 ? '' : `: ${missed.map(({ figure }) => figure).join('; ')}`}\n`,
  );
  if (failed.length > 0) {
    process.stdout.write(`not measured: ${failed.map(({ row }) => row).join(', ')}\n`);
    process.exitCode = 1;
  }
}

try {
  const run = wanted();
  if (run === undefined) process.stdout.write(`${usage}\n`);
  else await bench(run);
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n${usage}\n`);
  process.exitCode = 1;
}
