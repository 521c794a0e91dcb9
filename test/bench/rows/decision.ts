import { atLeast, atMost, median, type Benchmark, type Figure } from '../benchmark.js';
import { Fleet, VFS } from '../fleet.js';

/** Starts, and then as many stops, that are timed together. */
const BLOCK = 120;
const ROUNDS = 300;

/** Starts and then stops of the same VMs, timed apart, in milliseconds. */
function round(fleet: Fleet, end: 'VmStopped' | 'VmDestroyed'): { starts: number; stops: number } {
  const starts = fleet.starts(BLOCK);
  const stops = fleet.ends(BLOCK, end);
  return { starts: fleet.run(starts), stops: fleet.run(stops) };
}

const perSecond = (millis: number, decisions: number): number => decisions / (millis / 1000);

/** Runs the fleets in turn, so that a slow moment of the machine falls on all of them. */
function inTurn(
  fleets: readonly Fleet[],
  end: 'VmStopped' | 'VmDestroyed' = 'VmStopped',
): { starts: number; stops: number }[] {
  const rounds = fleets.map((): { starts: number; stops: number }[] => []);
  for (let i = -50; i < ROUNDS; i++) {
    for (const [index, fleet] of fleets.entries()) {
      const times = round(fleet, end);
      if (i >= 0) (rounds[index] as (typeof times)[]).push(times);
    }
  }
  return rounds.map((times) => ({
    starts: median(times.map(({ starts }) => starts)),
    stops: median(times.map(({ stops }) => stops)),
  }));
}

function* rates(): Generator<Figure> {
  const sizes = [10, 1_000, 10_000];
  const fleets = sizes.map((hosts) => new Fleet(hosts, 2));
  const times = inTurn(fleets);
  for (const [index, hosts] of sizes.entries()) {
    const { starts, stops } = times[index] as (typeof times)[number];
    yield {
      figure: `decisions, start and stop, ${hosts.toLocaleString('en')} hosts`,
      value: perSecond(starts + stops, 2 * BLOCK),
      unit: 'decisions/s',
      goal: atLeast(200_000),
    };
  }
  const [small, , large] = times as [(typeof times)[number], unknown, (typeof times)[number]];
  yield {
    figure: 'time of a decision, 10,000 hosts ÷ 10 hosts',
    value: (large.starts + large.stops) / (small.starts + small.stops),
    unit: '×',
    goal: atMost(1.5),
  };
}

function* fill(): Generator<Figure> {
  const hosts = 1_000;
  const all = (hosts * VFS) / 16;
  const half = new Fleet(hosts, 2);
  half.fill(all, ['physA', 'phys1']);
  // 99.9 %: 128 of 128,000 VFs are left, and each block of starts takes nearly all of them.
  const almost = new Fleet(hosts, 2);
  almost.fill(all, ['phys1']);
  almost.fill(all - 8, ['physA']);
  const full = new Fleet(hosts, 2);
  full.fill(2 * all, ['physA', 'phys1']);
  type Times = ReturnType<typeof inTurn>[number];
  const [atHalf, atAlmost] = inTurn([half, almost]) as [Times, Times];
  // A VM that was refused is not known the next time either: so are those that it is compared with.
  const [accepted, refused] = inTurn([half, full], 'VmDestroyed') as [Times, Times];
  yield* [
    {
      figure: 'decisions, start and stop, half full',
      value: perSecond(atHalf.starts + atHalf.stops, 2 * BLOCK),
      unit: 'decisions/s',
      goal: atLeast(200_000),
    },
    {
      figure: 'time of a decision, 99.9 % full ÷ half full',
      value: (atAlmost.starts + atAlmost.stops) / (atHalf.starts + atHalf.stops),
      unit: '×',
      goal: atMost(1.5),
    },
    {
      figure: 'time of a refusal on a full cluster ÷ of an acceptance',
      value: refused.starts / accepted.starts,
      unit: '×',
      goal: atMost(1),
    },
  ];
}

export default {
  how: 'decide and evolve alone, in memory, through `step`; blocks of 120 starts and 120 stops, fleets in turn; median of 300 rounds',
  *measure() {
    yield* rates();
    yield* fill();
  },
} satisfies Benchmark;
