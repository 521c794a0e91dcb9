import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decide, recall } from './decide.js';
import type { PlacedEvent } from './events.js';
import { evolve } from './evolve.js';
import type { Input } from './inputs.js';
import { dumpState, restoreState } from './snapshot.js';
import { emptyState, type State } from './state.js';
import { step } from './step.js';
import {
  anyHistory,
  INPUTS_OF_A_RUN,
  runBySeed,
  runsOf,
  saneHistories,
  shrinkable,
} from './testing/arbitraries.js';
import { InvariantModel, type Violation } from './testing/invariant-model.js';
import { recount } from './testing/recount.js';
import { INPUT_TYPES, World, type History } from './testing/world.js';

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const dumped = (state: State): unknown => JSON.parse(dumpState(state));

/** What a history led to, input by input. */
interface Told {
  readonly inputs: readonly Input[];
  readonly decisions: readonly (readonly PlacedEvent[])[];
  readonly state: State;
  readonly violations: readonly Violation[];
}

/** The rules that are not rules.md's: exceptions, counts that are wrong, a log that replays otherwise. */
type Breach = { readonly rule: string; readonly message: string };

interface Listening {
  /** Called before each new input is decided; may put another state in the place of the live one. */
  readonly before?: (state: State, input: Input, index: number) => State | undefined;
  readonly after?: (state: State, input: Input, events: readonly PlacedEvent[], index: number) => void;
}

/** Plays a history through the live path: recall, then step. */
function play(history: History, listening: Listening = {}): Told {
  const world = new World(history.shape);
  const model = new InvariantModel();
  let state = emptyState('c');
  const inputs: Input[] = [];
  const decisions: (readonly PlacedEvent[])[] = [];
  const violations: Violation[] = [];
  const take = (input: Input): boolean => {
    const index = inputs.length;
    inputs.push(input);
    try {
      const recalled = recall(state, input);
      model.expectRecall(input, recalled);
      if (recalled !== 'new') {
        decisions.push([]);
        return true;
      }
      const other = listening.before?.(state, input, index);
      if (other !== undefined) {
        state = other;
        model.tookOver(Math.max(input.time, state.clock));
      }
      const events = step(state, input, { stream: 's', sequence: index + 1 });
      decisions.push(events);
      model.took(input, events);
      world.hear(events);
      listening.after?.(state, input, events, index);
    } catch (error) {
      violations.push({
        rule: 'total',
        message: `${input.type}: ${error instanceof Error ? error.stack : String(error)}`,
      });
      return false;
    }
    return model.violations.length === 0;
  };
  // The first breach ends a history: what comes after it would only be its echo.
  if (world.opening().every(take)) for (const move of history.moves) if (!take(world.next(move))) break;
  const last = inputs.at(-1);
  for (const { rule, message } of model.violations)
    violations.push({ rule, message: `input ${inputs.length} (${JSON.stringify(last)}): ${message}` });
  return { inputs, decisions, state, violations };
}

class IndexError extends Error {
  override readonly name = 'IndexError';
}

/** What a history breaks, also where what is kept counted is not what is counted anew. */
function breaches(history: History): { readonly told: Told; readonly found: readonly Breach[] } {
  const told = play(history, {
    after: (state, input) => {
      const [difference] = recount(state);
      if (difference !== undefined) throw new IndexError(`after ${input.type}: ${difference}`);
    },
  });
  const found = told.violations.map(({ rule, message }) => ({
    rule: rule === 'total' && message.includes('IndexError') ? 'index' : rule,
    message,
  }));
  const replayed = emptyState('c');
  // As the log gives them back: JSON.
  for (const event of json(told.decisions.flat()) as PlacedEvent[]) evolve(replayed, event);
  const [live, again] = [dumpState(told.state), dumpState(replayed)];
  if (live !== again && !isDeepStrictEqual(JSON.parse(live), JSON.parse(again)))
    found.push({ rule: 'replay', message: `the log replays into another state: ${again}\nlive: ${live}` });
  const [difference] = recount(replayed);
  if (difference !== undefined) found.push({ rule: 'replay', message: `replayed: ${difference}` });
  return { told, found };
}

const runs = runsOf(100);
const seeds = `seeds ${runs.first} to ${runs.first + runs.count - 1}`;

/**
 * All runs once, with the rules that they break; the test of a rule that is broken then shrinks the history
 * that broke it first to the least one.
 */
const broken = new Map<
  string,
  { readonly where: string; readonly message: string; readonly history: History }
>();
const seenTypes = new Set<string>();
const seenEvents = new Set<string>();
let [decided, emitted, least] = [0, 0, Number.POSITIVE_INFINITY];
const begun = performance.now();
for (let seed = runs.first; seed < runs.first + runs.count; seed++) {
  const { kind, count, histories } = runBySeed(seed);
  let inputsOfRun = 0;
  fc.assert(
    fc.property(histories, (history) => {
      const { told, found } = breaches(history);
      const { inputs, decisions } = told;
      inputsOfRun += inputs.length;
      for (const input of inputs) seenTypes.add(input.type);
      for (const event of decisions.flat()) seenEvents.add(event.type);
      emitted += decisions.flat().length;
      for (const { rule, message } of found) {
        if (broken.has(rule)) continue;
        // What comes after a breach has no part in it; the opening is not among the moves.
        const moves = history.moves.slice(0, inputs.length);
        broken.set(rule, { where: `seed ${seed}, ${kind}`, message, history: { ...history, moves } });
      }
    }),
    { seed, numRuns: count },
  );
  decided += inputsOfRun;
  if (broken.size === 0) least = Math.min(least, inputsOfRun);
}
process.stderr.write(
  `invariants: ${seeds}, ${runs.count} runs, ${decided} inputs, ${emitted} events, ${Math.round(performance.now() - begun)} ms\n`,
);

/** Parameters for what is too dear to be asked of every run. */
const some = (share: number) => ({ seed: runs.first, numRuns: Math.ceil(runs.count / share) });

function proves(rule: string, what: string): void {
  test(`${rule.includes('-') ? `[${rule}] ` : ''}${what}`, () => {
    const breach = broken.get(rule);
    if (breach === undefined) return;
    const { where, message, history: first } = breach;
    fc.assert(
      fc.property(shrinkable, (history) => {
        const { told, found } = breaches(history);
        const again = found.find((each) => each.rule === rule);
        if (again !== undefined)
          throw new Error(`${again.message}\n${told.inputs.map((i) => JSON.stringify(i)).join('\n')}`);
      }),
      // Shrinking stops in time with the least history that it found.
      { examples: [[first]], numRuns: 1, interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true },
    );
    throw new Error(`${where}: ${message}`);
  }, 60_000);
}

describe(`any history (${seeds})`, () => {
  test('every input type occurs', () => {
    expect([...seenTypes].sort()).toEqual([...INPUT_TYPES].sort());
    if (broken.size === 0) expect(least).toBeGreaterThanOrEqual(INPUTS_OF_A_RUN);
  });
  proves('total', 'decide and evolve take every history without an exception');
  proves(
    'index',
    'what is kept counted equals what is counted from scratch: free sets, capacity, MACs, tenants, networks',
  );
  proves('EX-1', 'never two holders of a VF');
  proves('EX-2', 'a NIC holds at most one VF');
  proves('EX-3', 'a failed start leaves nothing held, an accepted one exactly its VFs, all on one host');
  proves('EX-4', 'allocation ids are never given again, releases and scrub reports name the current one');
  proves('EX-5', 'a VM holds VFs on one host at a time, and a start elsewhere is refused so');
  proves('EX-6', 'ids are known again, and every VM or operator input leaves an event');
  proves(
    'EX-7',
    'a report releases nothing but by a new boot or a proof, every release has the reason of its cause',
  );
  proves('OUT-1', 'each request has exactly one outcome, each fact comes out once, last in its decision');
  proves('OUT-2', 'the reason of a refusal is among its facts');
  proves('OUT-3', 'positions have no gaps, times never go back, causes are told');
  proves('OUT-4', 'an allocation carries a MAC and a physical network');
  proves('OUT-6', 'VFs that shall come from different PFs do, or the refusal is true');
  proves('NET-1', 'no SR-IOV on a VXLAN network');
  proves('NET-2', 'an L3 network has SR-IOV only on an L2 network that has it');
  proves('NET-3', 'a VF belongs to a PF that goes by the name asked for, with the VLAN of its network');
  proves('NET-7', 'a refusal for a network is true');
  proves('NET-8', 'a network in use is not removed');
  proves('NET-9', 'a MAC is never on two NICs, and a refusal for one is true');
  proves('VM-1', 'a start goes where it is pinned');
  proves(
    'VM-2',
    'a start that finds no place has none by a search of every assignment, and its counts are true',
  );
  proves('VM-3', 'a VM that ended holds nothing');
  proves('VM-4', 'a VM that is known is not refused as unknown');
  proves('VM-6', 'a NIC attached to a running VM has its VF at once, or nothing is left');
  proves('VM-7', 'a detached NIC holds nothing');
  proves('VM-8', 'the type of a NIC changes only while its VM is stopped');
  proves('VM-9', 'a VM that holds a VF is not migrated');
  proves('VM-10', 'a NIC falls back only where it must, and is promoted oldest first as soon as a VF fits');
  proves('VM-12', 'overdue starts are told, and end only by two proofs in a row');
  proves('VM-13', 'a generation never goes back');
  proves('VM-14', 'a VM that holds VFs is never taken as on another host');
  proves('VM-15', 'a VM that runs is not started, and one that does not run is not refused so');
  proves('VM-16', 'a reboot and a fence stop their VMs');
  proves('VM-17', 'a VM is missed as long as its host lists others, and is missed no more when it is listed');
  proves('VM-19', 'an adopted VM holds exactly its VFs');
  proves('HOST-1', 'no allocation on a host that is not ready (HOST-2)');
  proves('HOST-3', 'no allocation of a VF that is shared or used by the host');
  proves('HOST-4', 'a new boot releases all but what lives in it');
  proves('HOST-5', 'no allocation on a lost or fenced host; lost after exactly the timeout');
  proves('HOST-6', 'no allocation on a cordoned host or PF');
  proves('HOST-7', 'no allocation of a VF that a stranger uses');
  proves('HOST-8', 'a host is removed only without held VFs, and else the holders are told');
  proves(
    'HOST-9',
    'a stale report changes nothing, and says so once in a row; the third of a restarted agent is taken',
  );
  proves('PF-2', 'a split is ordered of a ready host and a PF with link, within its limits');
  proves('PF-3', 'a split PF is not split');
  proves('PF-4', 'a restore leaves nobody holding, and only loss by force is told as forced');
  proves('PF-5', 'no allocation on a PF that is being restored or split');
  proves('PF-6', 'no allocation on a lost PF, nor of a VF that was not reported since');
  proves('PF-7', 'only reported addresses are handed out');
  proves('PF-9', 'no allocation on a PF with other hardware');
  proves('PF-10', 'the wanted number is what a PF is split into again, after a reboot that left none');
  proves('PF-13', 'no allocation on a PF that is down');
  proves(
    'SCRUB-1',
    'a VF of a host that scrubs is handed on only after the clean report of its last allocation',
  );
  proves('SCRUB-2', 'a quarantined VF is not handed out');
  proves(
    'quota',
    "QUOTA_EXCEEDED: starts, attaches and promotions stay within a tenant's quota, and a refusal is true",
  );

  proves('replay', 'replay equals live: the log alone gives the same state');

  test('a snapshot taken anywhere and continued decides the same to the end', () => {
    fc.assert(
      fc.property(anyHistory, fc.nat({ max: 200 }), (history, place) => {
        const live = play(history);
        const continued = play(history, {
          before: (state, _input, index) => {
            if (index !== place) return undefined;
            const restored = restoreState(dumpState(state));
            expect(dumped(restored)).toEqual(dumped(state));
            expect(recount(restored)).toEqual([]);
            // What is observed is not in a snapshot; here it is carried over, so that the clock's decisions
            // are the same too.
            for (const [hostId, heard] of state.observed.heard) restored.observed.heard.set(hostId, heard);
            for (const [hostId, row] of state.observed.rows) restored.observed.rows.set(hostId, row);
            for (const [vmId, proofs] of state.observed.proofs) restored.observed.proofs.set(vmId, proofs);
            restored.observed.watching = state.observed.watching;
            return restored;
          },
        });
        const upTo = Math.min(live.decisions.length, continued.decisions.length);
        expect(json(continued.decisions.slice(0, upTo))).toEqual(json(live.decisions.slice(0, upTo)));
        if (upTo === live.inputs.length) expect(dumped(continued.state)).toEqual(dumped(live.state));
      }),
      some(3),
    );
  });

  test('[HOST-5 acts] a leader that takes over breaks no rule, and gives every host its full timeout', () => {
    fc.assert(
      fc.property(saneHistories, fc.nat({ max: 200 }), (history, place) => {
        const { violations } = play(history, {
          before: (state, _input, index) => (index === place ? restoreState(dumpState(state)) : undefined),
        });
        // What was observed is lost: proofs begin again, and a host is lost later than its last report would
        // have it.
        const late = (violation: Violation): boolean =>
          violation.rule === 'HOST-5' && violation.message.includes('and not lost');
        expect(violations.filter((violation) => !late(violation))).toEqual([]);
      }),
      some(3),
    );
  });

  test('decide reads the state and changes nothing, and decides the same again', () => {
    fc.assert(
      fc.property(anyHistory, fc.nat({ max: 9 }), (history, offset) => {
        play(history, {
          before: (state, input, index) => {
            if (index % 10 !== offset) return undefined;
            const timed = input.time < state.clock ? { ...input, time: state.clock } : input;
            const before = dumpState(state);
            const observed = json([
              [...state.observed.heard],
              [...state.observed.rows],
              [...state.observed.proofs],
              state.observed.watching,
            ]);
            const first = decide(state, timed);
            expect(decide(state, timed)).toEqual(first);
            expect(dumpState(state)).toBe(before);
            expect(
              json([
                [...state.observed.heard],
                [...state.observed.rows],
                [...state.observed.proofs],
                state.observed.watching,
              ]),
            ).toEqual(observed);
            expect(recount(state)).toEqual([]);
            return undefined;
          },
        });
      }),
      some(5),
    );
  });
});
