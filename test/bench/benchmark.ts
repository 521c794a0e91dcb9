/** What a figure is to reach. */
export interface Goal {
  readonly is: 'at least' | 'at most' | 'below';
  readonly than: number;
}

export const atLeast = (than: number): Goal => ({ is: 'at least', than });
export const atMost = (than: number): Goal => ({ is: 'at most', than });
export const below = (than: number): Goal => ({ is: 'below', than });

export const isMet = ({ is, than }: Goal, value: number): boolean =>
  is === 'at least' ? value >= than : is === 'at most' ? value <= than : value < than;

/** One measured figure. */
export interface Figure {
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  /** Absent for a figure that only stands beside another. */
  readonly goal?: Goal;
}

/** What is asked of a row. */
export interface Run {
  /** A tenth of the load. */
  readonly quick: boolean;
  /** 1, or 0.1 for a quick run: what counts of inputs and events are multiplied with. */
  readonly scale: number;
  /** For everything that is drawn; written into the results. */
  readonly seed: number;
}

/**
 * A row of the benchmarks. Each is a file in `rows` whose default export is one; its name is the file's. It
 * runs in a process of its own, which is ended when it takes too long, with every program it started through
 * `programs.ts`.
 */
export interface Benchmark {
  /** What is measured, and how, in one sentence: it stands in the table. */
  readonly how: string;
  /** How long a full run may take, in seconds; by default 300. */
  readonly patience?: number;
  /** Yields each figure as soon as it is known. */
  measure(run: Run): AsyncIterable<Figure> | Iterable<Figure>;
}

/** The middle one. */
export const median = (values: readonly number[]): number => percentile(values, 0.5);

/** The value below which this share of the values lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
