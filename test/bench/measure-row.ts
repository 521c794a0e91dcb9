/**
 * `node measure-row.js <row> <run as JSON>`: measures one row in this process, and sends each figure to the
 * process that started it. What it started ends with it, also when it is told to end, or its parent dies.
 */
import type { Figure, Run } from './benchmark.js';
import { killAll } from './programs.js';
import { loadRow } from './rows.js';

export type RowMessage =
  { readonly kind: 'figure'; readonly figure: Figure } | { readonly kind: 'done'; readonly how: string };

const send = (message: RowMessage): void => {
  process.send?.(message);
};

function end(): void {
  killAll();
  process.exit(1);
}

process.on('SIGTERM', end);
process.on('SIGINT', end);
process.on('disconnect', end);

const [name = '', run = '{}'] = process.argv.slice(2);
try {
  const row = await loadRow(name);
  for await (const figure of row.measure(JSON.parse(run) as Run)) send({ kind: 'figure', figure });
  send({ kind: 'done', how: row.how });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  killAll();
  process.exitCode = 1;
} finally {
  process.off('disconnect', end);
  if (process.connected) process.disconnect();
}
