import fc from 'fast-check';
import type { History, Move, MoveKind, Shape } from './world.js';

/** Inputs that a run holds at least. */
export const INPUTS_OF_A_RUN = 1000;

/**
 * Which runs: each has a seed of its own, one after the other. `VF_TEST_RUNS` multiplies them, `VF_TEST_SEED`
 * is the first seed. Without it the seed is always the same, so that what fails in `npm test` fails by what
 * was changed; `npm run test:deep` takes another one each time.
 */
export function runsOf(count: number): { readonly first: number; readonly count: number } {
  const { VF_TEST_RUNS, VF_TEST_SEED } = process.env;
  return {
    first: Number(VF_TEST_SEED ?? 1),
    count: Math.max(1, Math.round(count * Number(VF_TEST_RUNS ?? 1))),
  };
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  vms: fc.integer({ min: 3, max: 8 }),
  hosts: fc.array(
    fc.record({
      scrubs: fc.boolean(),
      ready: fc.integer({ min: 0, max: 7 }).map(
        (n) => n < 7,
        (ready) => (ready === true ? 0 : 7),
      ),
      pfs: fc.array(
        fc.record({
          // Few VFs: want is what promotions, fall-backs and refusals come from.
          split: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 8 })),
          totalVfs: fc.oneof(fc.constant(8), fc.integer({ min: 0, max: 8 })),
          physicalNetwork: fc.integer({ min: 0, max: 2 }),
          bonded: fc.boolean(),
          numaNode: fc.integer({ min: 0, max: 1 }),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    }),
    { minLength: 2, maxLength: 4 },
  ),
});

/** Conversations that make sense, each kind of move with its weight. */
const SANE: Partial<Record<MoveKind, number>> = {
  start: 24,
  obey: 16,
  report: 12,
  started: 12,
  tick: 10,
  stop: 10,
  split: 6,
  attach: 5,
  detach: 6,
  restore: 5,
  changeHardware: 4,
  abort: 3,
  destroy: 3,
  seen: 3,
  restartAgent: 2,
  lie: 2,
  replay: 3,
  adopt: 3,
  rebootHost: 3,
  link: 3,
  cordonHost: 3,
  cordonPf: 3,
  operatorRelease: 3,
  policy: 3,
  retype: 3,
  loseDriver: 3,
  migrate: 2,
  migrated: 2,
  l2: 2,
  l3: 2,
  rebootGuest: 1,
  acceptPf: 1,
  fence: 1,
  removeHost: 1,
  removeNetwork: 1,
  scrubLate: 1,
};

/** The same, and any input about anything in any order. */
const INSANE: Partial<Record<MoveKind, number>> = {
  ...SANE,
  raw: 90,
  sameContentAnew: 16,
  repeat: 6,
  sameIdOtherContent: 4,
  scrubLate: 6,
  fence: 2,
  removeHost: 3,
};

const moves = (weights: Partial<Record<MoveKind, number>>): fc.Arbitrary<Move> => {
  const kinds = Object.entries(weights).flatMap(([kind, weight]) =>
    Array.from({ length: weight }, () => kind as MoveKind),
  );
  return fc.record({ kind: fc.constantFrom(...kinds), choices: fc.nat({ max: Number.MAX_SAFE_INTEGER }) });
};

/** Many VMs after few VFs, on ports that serve: fall-backs, promotions, quotas, restores that fail. */
const WANT: Partial<Record<MoveKind, number>> = {
  start: 24,
  started: 6,
  stop: 10,
  tick: 8,
  obey: 8,
  policy: 6,
  attach: 4,
  detach: 6,
  restore: 4,
  report: 2,
  operatorRelease: 2,
  loseDriver: 1,
};

const smallShapes: fc.Arbitrary<Shape> = fc.record({
  vms: fc.integer({ min: 5, max: 8 }),
  hosts: fc.array(
    fc.record({
      scrubs: fc.boolean(),
      ready: fc.constant(true),
      pfs: fc.array(
        fc.record({
          split: fc.integer({ min: 1, max: 2 }),
          totalVfs: fc.constant(8),
          physicalNetwork: fc.constant(1),
          bonded: fc.boolean(),
          numaNode: fc.constant(0),
        }),
        { minLength: 1, maxLength: 2 },
      ),
    }),
    { minLength: 2, maxLength: 2 },
  ),
});

/** So many moves, and when it shrinks as few as will do. */
class Moves extends fc.Arbitrary<Move[]> {
  private readonly whole: fc.Arbitrary<Move[]>;
  private readonly less: fc.Arbitrary<Move[]>;

  constructor(move: fc.Arbitrary<Move>, least: number, most: number) {
    super();
    this.whole = fc.array(move, { minLength: least, maxLength: most, size: 'max' });
    this.less = fc.array(move, { maxLength: most, size: 'max' });
  }

  override generate(random: fc.Random, bias: number | undefined): fc.Value<Move[]> {
    return new fc.Value(this.whole.generate(random, bias).value, undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is Move[] {
    return this.less.canShrinkWithoutContext(value);
  }

  override shrink(value: Move[], context: unknown): fc.Stream<fc.Value<Move[]>> {
    return this.less.shrink(value, context);
  }
}

/** What histories are made of: conversations that make sense, that do not, and that want more than there is. */
const KINDS = [
  ['sane', SANE, shapes],
  ['insane', INSANE, shapes],
  ['wanting', WANT, smallShapes],
] as const;
export type HistoryKind = (typeof KINDS)[number][0];

const histories = (
  weights: Partial<Record<MoveKind, number>>,
  shape: fc.Arbitrary<Shape>,
  least: number,
  most: number,
): fc.Arbitrary<History> => fc.record({ shape, moves: new Moves(moves(weights), least, most) });

/** A run by its seed: the kind of its histories, and whether it is one long one or several on other fleets. */
export function runBySeed(seed: number): {
  readonly kind: HistoryKind;
  readonly histories: fc.Arbitrary<History>;
  readonly count: number;
} {
  const [kind, weights, shape] = KINDS[seed % KINDS.length] as (typeof KINDS)[number];
  const count = [10, 5, 2, 1][Math.floor(seed / KINDS.length) % 4] as number;
  const length = INPUTS_OF_A_RUN / count;
  return { kind, count, histories: histories(weights, shape, length, length) };
}

const [saneHistories, ...otherHistories] = KINDS.map(([, weights, shape]) =>
  histories(weights, shape, 20, 200),
) as [fc.Arbitrary<History>, ...fc.Arbitrary<History>[]];
export { saneHistories };
export const anyHistory: fc.Arbitrary<History> = fc.oneof(saneHistories, ...otherHistories);

/** Histories of every kind and length, for one that is known to be shrunk. */
export const shrinkable: fc.Arbitrary<History> = fc.oneof(
  ...KINDS.map(([, weights, shape]) => histories(weights, shape, 0, INPUTS_OF_A_RUN)),
);
