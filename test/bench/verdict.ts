import { median } from './benchmark.js';

/** What is sampled while the load runs. */
export interface Sample {
  /** Minutes since the load began. */
  readonly minute: number;
  /** MiB. */
  readonly rss: number;
  readonly heap: number;
  readonly log: number;
  /** The longest delay of the scheduler's event loop since the sample before, in milliseconds. */
  readonly longestDelay: number;
  /** Messages in `VF_IN`. */
  readonly inputs: number;
  /** Outcomes since the sample before, and their latency in milliseconds. */
  readonly outcomes: number;
  readonly p50: number;
  readonly p99: number;
}

export interface Verdict {
  readonly what: string;
  readonly holds: boolean;
  readonly numbers: string;
}

/** Caches fill and pools find their size in the beginning, which is left out: this share of the run. */
const SETTLING = 1 / 3;
/** Growth over what is looked at that is still called flat, as a share. */
const FLAT = 0.1;
/** The same for latencies and peaks, which the machine and chance move about more. */
const STEADY = 0.5;

/** The slope of the line through the points with the least squares. */
export function slope(xs: readonly number[], ys: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  let [above, below] = [0, 0];
  for (const [index, x] of xs.entries()) {
    above += (x - mx) * ((ys[index] as number) - my);
    below += (x - mx) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

const text = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 1 });
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${text(Math.abs(value))}`;

/** Whether memory and latency stayed as they were and `VF_IN` did not grow, by the numbers. */
export function verdicts(samples: readonly Sample[]): readonly Verdict[] {
  const settled = samples.slice(Math.floor(samples.length * SETTLING));
  if (settled.length < 4)
    return [{ what: 'long enough to tell', holds: false, numbers: `${samples.length} samples` }];
  const minutes = settled.map(({ minute }) => minute);
  const span = (minutes.at(-1) as number) - (minutes[0] as number);
  const grows = (what: string, unit: string, most: number, of: (sample: Sample) => number): Verdict => {
    const known = settled.filter((sample) => Number.isFinite(of(sample)));
    const values = known.map(of);
    const perMinute = slope(
      known.map(({ minute }) => minute),
      values,
    );
    const typical = median(values);
    const holds = perMinute * span <= typical * most;
    const numbers = `${text(typical)} ${unit}, ${signed(perMinute)} ${unit}/min over ${text(span)} min`;
    return { what, holds, numbers };
  };
  const middle = Math.floor(settled.length / 2);
  const peak = (part: readonly Sample[]): number => Math.max(...part.map(({ inputs }) => inputs));
  const [before, after] = [peak(settled.slice(0, middle)), peak(settled.slice(middle))];
  return [
    grows('memory flat: resident', 'MiB', FLAT, ({ rss }) => rss),
    grows('memory flat: heap', 'MiB', FLAT, ({ heap }) => heap),
    {
      what: 'VF_IN bounded',
      holds: after <= before * (1 + STEADY),
      numbers: `at most ${text(before)} messages in the first half, ${text(after)} in the second`,
    },
    grows('latency flat: p50', 'ms', STEADY, ({ p50 }) => p50),
    grows('latency flat: p99', 'ms', STEADY, ({ p99 }) => p99),
  ];
}
