import { describe, expect, test } from '@jest/globals';
import type { RefusalCode } from '#domain';
import { isRequest, OUTCOMES } from '#wire';
import {
  crashesAndMessages,
  everyMishap,
  matchers,
  rehearse,
  runCourse,
  say,
  type Course,
  type Fleet,
  type Rehearsal,
  type Saga,
  type SagaStep,
  type Said,
  type Simulation,
} from '../index.js';

expect.extend(matchers);

/** Registers the tests of a saga: as it should go, and every course in which it goes wrong. */
export async function prove(
  rules: string,
  saga: Saga,
  courses: (rehearsal: Rehearsal) => readonly Course[] = everyMishap,
): Promise<void> {
  const rehearsal = await rehearse(saga);
  describe(`${rules} ${saga.name}`, () => {
    test('as it should go', async () => {
      const site = await runCourse(rehearsal, { name: '', mishaps: {}, same: true });
      expect(site).toHaveOneOutcomeEach();
    });
    test.each(courses(rehearsal).map((course) => [course.name, course] as const))(
      '%s',
      async (_name, course) => {
        await runCourse(rehearsal, course);
      },
    );
  });
}

/** A request that is refused, or a fact that is: with which code, and after what. */
export interface Refused {
  readonly code: RefusalCode;
  readonly fleet: () => Fleet;
  readonly before?: readonly SagaStep[];
  readonly request: Said;
  /** What tells it from another of the same code. */
  readonly why?: string;
}

/** Registers the tests of requests that are refused: each with every crash and every fate of its message. */
export async function proveRefusals(rules: string, cases: readonly Refused[]): Promise<void> {
  for (const { code, fleet, before, request, why } of cases) {
    const request1: Said = { ...request, id: 'refused' } as Said;
    await prove(
      rules,
      {
        name: `refused ${code}${why === undefined ? '' : `: ${why}`}`,
        fleet,
        before,
        steps: [request1],
        then: (site) => {
          expect(site.deadLetters.map(({ reason }) => reason)).toEqual([]);
          const [outcome, ...more] = site.causedBy('refused');
          expect(more).toEqual([]);
          expect(outcome?.type).toBe(isRequest(request.type) ? OUTCOMES[request.type][1] : 'InputRejected');
          expect(outcome?.data).toMatchObject({ reason: code, message: expect.stringMatching(/.{10}/) });
        },
      },
      crashesAndMessages,
    );
  }
}

/** A host that does not answer: what it is ordered stays ordered. */
export const deaf =
  (hostId: string): SagaStep =>
  (site: Simulation) => {
    site.agent(hostId).deaf = true;
  };

export const reports =
  (hostId: string): SagaStep =>
  (site: Simulation) =>
    site.agent(hostId).report();

/** The agent of a host reads its orders again, and says again what it did. */
export const restarts =
  (hostId: string): SagaStep =>
  (site: Simulation) =>
    site.restartAgent(hostId);

export const split = (pf: string, numVfs: number, hostId = 'h1'): Said =>
  say('PfVirtualizeRequested', { hostId, pf, numVfs });

export const restore = (pf: string, onBusy?: 'unload' | 'reject', hostId = 'h1'): Said =>
  say('PfRestoreRequested', { hostId, pf, ...(onBusy === undefined ? undefined : { onBusy }) });
