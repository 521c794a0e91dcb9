import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Benchmark } from './benchmark.js';

const ROWS = join(import.meta.dirname, 'rows');

/** The names of all rows: those of the files in `rows`. */
export const rowNames = (): readonly string[] =>
  readdirSync(ROWS)
    .filter((file) => file.endsWith('.js'))
    .map((file) => file.slice(0, -3))
    .sort();

export const loadRow = async (name: string): Promise<Benchmark> =>
  ((await import(pathToFileURL(join(ROWS, `${name}.js`)).href)) as { default: Benchmark }).default;
