import assert from 'node:assert/strict';
import type { Said } from './decider.js';
import type { Fleet } from './fleet-builder.js';
import { byHand, canFail, type Crossing, type Mishaps } from './mishaps.js';
import { simulate, type Simulation } from './simulation.js';

/** A step of a conversation: something that is said, or something that is done. */
export type SagaStep = Said | ((site: Simulation) => void | Promise<void>);

/** A conversation with the scheduler, to be run as it should go and in every way in which it can go wrong. */
export interface Saga {
  readonly name: string;
  readonly fleet: () => Fleet;
  /** What comes before, and goes well. */
  readonly before?: readonly SagaStep[];
  readonly steps: readonly SagaStep[];
  /** Where it ends when every message comes once and in order, at once or after a crash. */
  readonly then: (site: Simulation) => void;
  /** What everybody says in the end when messages were lost or out of order: the truth. */
  readonly ending?: readonly SagaStep[];
  /** What holds after the ending, whatever went wrong. */
  readonly atLast?: (site: Simulation) => void;
}

/** One way in which a saga can go. */
export interface Course {
  readonly name: string;
  readonly mishaps: Mishaps;
  /**
   * Whether it ends as if nothing had gone wrong, event for event; else only the ending and the invariants
   * hold.
   */
  readonly same: boolean;
  /** All is said at once, and decided in batches. */
  readonly burst?: boolean;
}

/** How a saga goes when nothing goes wrong: what there is to go wrong. */
export interface Rehearsal {
  readonly saga: Saga;
  readonly story: readonly unknown[];
  readonly crossings: readonly Crossing[];
  /** The same when all is said at once. */
  readonly burstStory: readonly unknown[];
  readonly burstCrossings: readonly Crossing[];
  readonly published: readonly string[];
  readonly ordered: readonly string[];
}

const NOTHING: Mishaps = {};

async function play(site: Simulation, steps: readonly SagaStep[], burst = false): Promise<void> {
  for (const step of steps) {
    if (typeof step === 'function') {
      if (burst) await site.rest();
      await step(site);
      await site.rest();
    } else if (burst) site.publish(step);
    else await site.say(step);
  }
  await site.rest();
}

async function stage(saga: Saga): Promise<Simulation> {
  const site = await simulate(saga.fleet());
  await play(site, saga.before ?? [], true);
  return site;
}

/** Runs a saga as it should go, checks how it ends, and learns what there is to go wrong. */
export async function rehearse(saga: Saga): Promise<Rehearsal> {
  const burst = await stage(saga);
  burst.arm(NOTHING);
  await play(burst, saga.steps, true);
  const site = await stage(saga);
  site.arm(NOTHING);
  await play(site, saga.steps);
  saga.then(site);
  return {
    saga,
    story: site.story,
    crossings: [...site.crossings],
    burstStory: burst.story,
    burstCrossings: [...burst.crossings],
    published: [...site.published],
    ordered: [...site.ordered],
  };
}

/** Runs a saga in one of its courses. @throws where it does not end as it must. */
export async function runCourse(rehearsal: Rehearsal, course: Course): Promise<Simulation> {
  const { saga } = rehearsal;
  const site = await stage(saga);
  site.arm(course.mishaps);
  await play(site, saga.steps, course.burst);
  site.disarm();
  await site.flush();
  if (course.same) {
    assert.deepEqual(site.story, course.burst === true ? rehearsal.burstStory : rehearsal.story);
    if (course.burst !== true) saga.then(site);
  }
  await play(site, saga.ending ?? []);
  saga.atLast?.(site);
  await site.finish();
  return site;
}

/** Runs a saga as it should go, to the end of its ending. */
export const runSaga = async (saga: Saga): Promise<Simulation> =>
  runCourse(await rehearse(saga), { name: 'as it should go', mishaps: NOTHING, same: true });

/** A crash at each step, and in the middle of each step that has parts. */
export const everyCrash = ({ saga, crossings, burstCrossings }: Rehearsal): Course[] =>
  [crossings, saga.steps.length > 1 ? burstCrossings : []].flatMap((list, burst) =>
    list.flatMap(({ number, call, side, parts }) =>
      Array.from({ length: side === 'before' ? parts : 1 }, (_, done): Course => {
        const where = done === 0 ? `${side} ${call}` : `in ${call} after ${done} of ${parts}`;
        return {
          name: `a crash at step ${number}, ${where}${burst === 1 ? ', all said at once' : ''}`,
          mishaps: byHand({ crossings: { [number]: { kind: 'crash', parts: done } } }),
          same: true,
          burst: burst === 1,
        };
      }),
    ),
  );

/**
 * A crash at each step, and one of the successor at each of its first steps: take-over is a conversation like
 * any other.
 */
export const everyTwoCrashes = ({ burstCrossings }: Rehearsal, steps = 30): Course[] =>
  burstCrossings.flatMap(({ number, call, side }) =>
    Array.from({ length: steps }, (_, index): Course => {
      const crash = { kind: 'crash' } as const;
      return {
        name: `a crash at step ${number}, ${side} ${call}, and another ${index + 1} steps later`,
        mishaps: byHand({ crossings: { [number]: crash, [number + index + 1]: crash } }),
        same: true,
        burst: true,
      };
    }),
  );

/** A process that is frozen at each step, while another takes over, and then goes on as if it still led. */
export const everyFreeze = ({ crossings }: Rehearsal): Course[] =>
  crossings.map(({ number, call, side }) => ({
    name: `frozen for 8 s at step ${number}, ${side} ${call}`,
    mishaps: byHand({ crossings: { [number]: { kind: 'freeze', milliseconds: 8000 } } }),
    same: true,
  }));

/** A cut of the connection at each step: one that the lease survives, and one that it does not. */
export const everyCut = ({ crossings }: Rehearsal): Course[] =>
  crossings.flatMap(({ number, call, side }) =>
    [
      { milliseconds: 1000, successor: false },
      // With a standby and without, by turns.
      { milliseconds: 6000, successor: number % 2 === 0 },
    ].map(({ milliseconds, successor }): Course => ({
      name: `cut off for ${milliseconds} ms at step ${number}, ${side} ${call}${successor ? ', with a standby' : ''}`,
      mishaps: byHand({ crossings: { [number]: { kind: 'cut', milliseconds, successor } } }),
      same: true,
    })),
  );

/** Each call of a port that fails: with nothing done, with a part of it, and with all of it and no answer. */
export const everyFailure = ({ burstCrossings }: Rehearsal): Course[] =>
  burstCrossings
    .filter(({ call }) => canFail(call))
    .flatMap(({ number, call, side, parts }) => {
      const failure = (code: 'UNAVAILABLE' | 'FULL' | 'OUTCOME_UNKNOWN', done = 0): Course => ({
        name: `${code} at step ${number}, ${side} ${call}${done === 0 ? '' : ` after ${done} of ${parts}`}`,
        mishaps: byHand({ crossings: { [number]: { kind: 'fail', code, parts: done } } }),
        same: true,
        burst: true,
      });
      if (call === 'log.append') {
        if (side === 'after') return [failure('OUTCOME_UNKNOWN')];
        const partly = Array.from({ length: parts }, (_, done) => failure('OUTCOME_UNKNOWN', done));
        return [failure('UNAVAILABLE'), failure('FULL'), ...partly];
      }
      return Array.from({ length: side === 'before' ? parts : 1 }, (_, done) => failure('UNAVAILABLE', done));
    });

const later = (count: number, from: number): number[] =>
  Array.from({ length: count - from }, (_, index) => index + 1);

/** Each message lost, said again, doubled at once and later, and late by every number of others. */
export const everyMessage = ({ published, ordered }: Rehearsal): Course[] =>
  (
    [
      ['messages', published],
      ['orders', ordered],
    ] as const
  ).flatMap(([what, list]) =>
    list.flatMap((type, index) => {
      const number = index + 1;
      const name = `${what === 'messages' ? 'message' : 'order'} ${number}, ${type},`;
      const course = (how: string, fate: object, same: boolean): Course => ({
        name: `${name} ${how}`,
        mishaps: byHand({ [what]: { [number]: fate } }),
        same,
      });
      return [
        course('lost', { kind: 'lost' }, false),
        course('lost and said again', { kind: 'repeated', milliseconds: 2500 }, true),
        course('doubled', { kind: 'doubled' }, true),
        course('doubled, the second at the end', { kind: 'doubled-late', after: 1e9 }, true),
        course('at the end', { kind: 'late', after: 1e9 }, false),
        ...later(list.length, number).flatMap((after) => [
          course(`late by ${after}`, { kind: 'late', after }, false),
          course(`doubled, the second late by ${after}`, { kind: 'doubled-late', after }, true),
        ]),
      ];
    }),
  );

/** For requests that are refused, of which there are many: crashes and messages. */
export const crashesAndMessages = (rehearsal: Rehearsal): Course[] => [
  ...everyCrash(rehearsal),
  ...everyMessage(rehearsal),
];

/** Everything that can go wrong once. */
export const everyMishap = (rehearsal: Rehearsal): Course[] => [
  ...everyCrash(rehearsal),
  ...everyFreeze(rehearsal),
  ...everyCut(rehearsal),
  ...everyFailure(rehearsal),
  ...everyMessage(rehearsal),
];
