import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { isMet, type Figure, type Goal } from './benchmark.js';
import type { Machine } from './machine.js';

/** Above this share of the machine in others' use a figure says more about them than about us. */
export const LOADED = 0.1;

/** A row as it was measured. */
export interface RowResult {
  readonly row: string;
  readonly how: string;
  readonly at: string;
  readonly quick: boolean;
  readonly seed: number;
  /** How long it took. */
  readonly seconds: number;
  /** Share of the machine that others used before it began, from 0 to 1. */
  readonly busyBefore: number;
  readonly figures: readonly (Figure & { readonly met?: boolean })[];
  /** Why it has not all its figures. */
  readonly failed?: string;
}

export interface Results {
  readonly machine: Machine;
  readonly versions: Record<string, string>;
  readonly rows: readonly RowResult[];
}

const JSON_FILE = 'bench/results.json';
const MARKDOWN_FILE = 'bench/results.md';

/** Writes what was measured now, and keeps what an earlier run on the same machine and versions measured of other rows. */
export async function save(results: Results): Promise<void> {
  await mkdir('bench', { recursive: true });
  const before = await earlier();
  const same =
    before !== undefined &&
    JSON.stringify([before.machine, before.versions]) === JSON.stringify([results.machine, results.versions]);
  const rows = new Map((same ? before.rows : []).map((row) => [row.row, row]));
  for (const row of results.rows) rows.set(row.row, row);
  const all = { ...results, rows: [...rows.values()].sort((a, b) => (a.row < b.row ? -1 : 1)) };
  await writeFile(JSON_FILE, `${JSON.stringify(all, null, 2)}\n`);
  await writeFile(MARKDOWN_FILE, markdown(all));
}

async function earlier(): Promise<Results | undefined> {
  try {
    return JSON.parse(await readFile(JSON_FILE, 'utf8')) as Results;
  } catch {
    return undefined;
  }
}

export const withMet = (figure: Figure): Figure & { readonly met?: boolean } =>
  figure.goal === undefined ? figure : { ...figure, met: isMet(figure.goal, figure.value) };

export function shown(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value.toLocaleString('en', { maximumSignificantDigits: 3 });
}

const SIGNS = { 'at least': '≥', 'at most': '≤', below: '<' } as const;
export const goalText = (goal: Goal | undefined): string =>
  goal === undefined ? '' : `${SIGNS[goal.is]} ${goal.than.toLocaleString('en')}`;

/** A figure as a line for people. */
export function line(figure: Figure): string {
  const { met } = withMet(figure);
  const goal = figure.goal === undefined ? '' : `${goalText(figure.goal)}${met === true ? '' : ', missed'}`;
  return `  ${figure.figure.padEnd(58)} ${shown(figure.value).padStart(10)} ${figure.unit.padEnd(12)} ${goal}`.trimEnd();
}

/** The table for the documents. */
function markdown({ machine, versions, rows }: Results): string {
  const cells = (...texts: string[]): string => `| ${texts.join(' | ')} |`;
  const lines = [
    `Machine: ${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}, ` +
      `Node ${versions.node}, nats-server ${versions['nats-server']}, commit ${versions.commit}.`,
    '',
    cells('figure', 'measured', 'goal', ''),
    cells('---', '---:', '---', '---'),
  ];
  for (const row of rows) {
    const marks = `${row.quick ? ' (quick run)' : ''}${row.busyBefore > LOADED ? ' †' : ''}`;
    for (const figure of row.figures) {
      const value = `${shown(figure.value)} ${figure.unit}`;
      const met = figure.met === undefined ? '' : figure.met ? 'met' : '**missed**';
      lines.push(cells(figure.figure, value, goalText(figure.goal), `${met}${marks}`.trim()));
    }
    if (row.failed !== undefined) lines.push(cells(row.row, 'failed', '', row.failed));
  }
  if (rows.some(({ busyBefore }) => busyBefore > LOADED))
    lines.push(
      '',
      '† The machine was not quiet: the share that others used when the row began stands below.',
    );
  lines.push('', 'How:', '');
  for (const { row, how, busyBefore } of rows)
    lines.push(
      `- **${row}**: ${how}.${busyBefore > LOADED ? ` Others used ${Math.round(busyBefore * 100)} % of the machine.` : ''}`,
    );
  return `${lines.join('\n')}\n`;
}
