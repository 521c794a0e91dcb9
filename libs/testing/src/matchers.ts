import type { ExpectationResult, MatcherContext } from 'expect';
import { Scenario } from './decider.js';
import { holdersAfter, oneOutcomeEach } from './invariants.js';
import { Simulation } from './simulation.js';

/** What the matchers look at: a simulation, or a scenario of the decider. */
export type Allocating = Simulation | Scenario;

const holdersOf = (subject: Allocating): Record<string, string> =>
  subject instanceof Simulation ? subject.holders : holdersAfter(subject.log);

function check(subject: unknown, matcher: string): asserts subject is Allocating {
  if (subject instanceof Simulation || subject instanceof Scenario) return;
  throw new TypeError(`${matcher} looks at a Simulation or a Scenario, not at ${typeof subject}`);
}

/**
 * Matchers for jest. Give them to it once, at the top of a test file or in `setupFilesAfterEnv`:
 *
 * @example
 * import { matchers } from '#testing';
 * expect.extend(matchers);
 *
 * expect(site).toHaveAllocated({ 'vm1/eth0': 'h1 0000:82:10.0' });
 * expect(site).toHaveOneOutcomeEach();
 */
export const matchers = {
  /** Exactly these NICs hold exactly these VFs: `vm/nic` → `host vf`. */
  toHaveAllocated(
    this: MatcherContext,
    subject: unknown,
    expected: Readonly<Record<string, string>>,
  ): ExpectationResult {
    check(subject, 'toHaveAllocated');
    const held = holdersOf(subject);
    const sorted = Object.fromEntries(Object.entries(expected).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const pass = this.equals(held, sorted);
    return {
      pass,
      message: () =>
        pass
          ? `expected other allocations than ${this.utils.printReceived(held)}`
          : `who holds which VF (vm/nic: host vf):\n${this.utils.diff(sorted, held) ?? ''}`,
    };
  },

  /** Each request that was said has one outcome, each input took effect once (OUT-1, EX-6). */
  toHaveOneOutcomeEach(this: MatcherContext, subject: unknown): ExpectationResult {
    if (!(subject instanceof Simulation)) {
      throw new TypeError(`toHaveOneOutcomeEach looks at a Simulation, not at ${typeof subject}`);
    }
    const violations = [...oneOutcomeEach(subject.stored, eventsOf(subject), subject.deadLetters)];
    const pass = violations.length === 0;
    return {
      pass,
      message: () =>
        pass
          ? 'expected a request without an outcome, or with two'
          : `expected one outcome of each request:\n${violations.map(({ rule, message }) => `  [${rule}] ${message}`).join('\n')}`,
    };
  },
};

const eventsOf = ({ events }: Simulation) =>
  events.map(({ position, type, causationid }) => ({
    position: Number(position),
    type,
    cause: { id: causationid, sequence: 0 },
  }));

declare module 'expect' {
  interface Matchers<R> {
    /** Exactly these NICs hold exactly these VFs: `vm/nic` → `host vf`. */
    toHaveAllocated(expected: Readonly<Record<string, string>>): R;
    /** Each request that was said has one outcome, each input took effect once (OUT-1, EX-6). */
    toHaveOneOutcomeEach(): R;
  }
}
