import fc from 'fast-check';
import type { History, Move, MoveKind, Shape } from './world.js';

/**
 * How many histories, and from which seed: `VF_TEST_RUNS` multiplies the runs, `VF_TEST_SEED` fixes the seed.
 */
export function runParameters(runs: number): { readonly numRuns: number; readonly seed: number } {
  const { VF_TEST_RUNS, VF_TEST_SEED } = process.env;
  return {
    numRuns: Math.max(1, Math.round(runs * Number(VF_TEST_RUNS ?? 1))),
    seed: VF_TEST_SEED === undefined ? Date.now() & 0x7fff_ffff : Number(VF_TEST_SEED),
  };
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  vms: fc.integer({ min: 3, max: 8 }),
  hosts: fc.array(
    fc.record({
      scrubs: fc.boolean(),
      ready: fc.integer({ min: 0, max: 7 }).map((n) => n < 7),
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

const histories = (
  weights: Partial<Record<MoveKind, number>>,
  shape: fc.Arbitrary<Shape> = shapes,
): fc.Arbitrary<History> =>
  fc.record({
    shape,
    moves: fc.array(moves(weights), { minLength: 20, maxLength: 200, size: 'max' }),
  });

export const saneHistories = histories(SANE);
export const insaneHistories = histories(INSANE);
export const wantingHistories = histories(WANT, smallShapes);
export const anyHistory: fc.Arbitrary<History> = fc.oneof(saneHistories, insaneHistories, wantingHistories);
