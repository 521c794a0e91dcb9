import { describe, expect, test } from '@jest/globals';
import { slope, verdicts, type Sample } from './verdict.js';

const run = (of: (minute: number) => Partial<Sample>): readonly Sample[] =>
  Array.from({ length: 60 }, (_, second) => {
    const minute = second / 2;
    const steady = { rss: 200, heap: 100, log: minute, longestDelay: 5, inputs: 1000, outcomes: 500 };
    return { ...steady, minute, p50: 2, p99: 9, ...of(minute) };
  });
const broken = (samples: readonly Sample[]): readonly string[] =>
  verdicts(samples)
    .filter(({ holds }) => !holds)
    .map(({ what }) => what);

describe('the verdict on a soak', () => {
  test('what stays as it is, saw-teeth and a warm-up included, holds', () => {
    const saw = (minute: number): number => (minute % 2) * 400;
    expect(
      broken(
        run((minute) => ({ inputs: saw(minute), heap: 90 + saw(minute) / 20, rss: minute < 9 ? 80 : 200 })),
      ),
    ).toEqual([]);
  });

  test('each thing that grows is named', () => {
    expect(broken(run((minute) => ({ rss: 200 + 2 * minute })))).toEqual(['memory flat: resident']);
    expect(broken(run((minute) => ({ heap: 100 + minute })))).toEqual(['memory flat: heap']);
    expect(broken(run((minute) => ({ inputs: 100 * minute })))).toEqual(['VF_IN bounded']);
    expect(broken(run((minute) => ({ p99: 5 + minute })))).toEqual(['latency flat: p99']);
  });

  test('a run that is too short says so', () => {
    expect(broken(run(() => ({})).slice(0, 4))).toEqual(['long enough to tell']);
  });

  test('the slope is that of the line through the points', () => {
    expect(slope([0, 1, 2, 3], [1, 3, 5, 7])).toBeCloseTo(2);
    expect(slope([1, 1], [1, 2])).toBe(0);
  });
});
