/**
 * The thread that brings back states of the past, and asks the decider what it would do there. What takes
 * long takes it here, where nobody else waits.
 */
import Database from 'libsql';
import { isDeepStrictEqual } from 'node:util';
import { DECIDER_VERSION, dumpState, emptyState, evolve, type State } from '#domain';
import { stepBack, type EventBody } from '#log';
import { placed } from './cluster-projection.js';
import { nearestState } from './projector.js';
import { serveCalls } from './serve-calls.js';
import {
  candidates,
  decideAgain,
  plan,
  restoreImpact,
  type CandidatesRequest,
  type PlannedInput,
  type RestoreImpactRequest,
  type StoredDecision,
} from './what-if.js';

stepBack(19);

let db: Database.Database | undefined;
let remembered = 200_000;
let state: State | undefined;

const restored = (): State => {
  if (state === undefined) throw new Error('no state was restored');
  return state;
};

/** A state that was changed by imagination is of no further use. */
const usedUp = (): State => {
  const mine = restored();
  state = undefined;
  return mine;
};

serveCalls({
  open: ({ directory, rememberedInputs }) => {
    db = new Database(directory, { readonly: true, timeout: 5000 } as Database.Options);
    remembered = rememberedInputs;
    return { path: directory };
  },
  restore: ({ cluster, position, empty }) => {
    if (db === undefined) throw new Error('the read side is not open');
    if (empty === true) state = emptyState(cluster, { rememberedInputs: remembered });
    else {
      const row = db.prepare('SELECT id FROM cluster WHERE name = ?').raw().get([cluster]) as
        [number] | undefined;
      const [checkpoint] = db
        .prepare('SELECT coalesce(max(position), 0) FROM checkpoint WHERE cluster = ? AND position <= ?')
        .raw()
        .get([row?.[0] ?? 0, position]) as [number];
      const known = state?.cluster === cluster && state.position <= position ? state.position : -1;
      if (known < Number(checkpoint) || known === -1) {
        state = nearestState(db, cluster, Number(row?.[0] ?? 0), position, remembered);
      }
    }
    return restored().position;
  },
  evolve: ({ bodies }) => {
    const mine = restored();
    for (const body of JSON.parse(bodies) as EventBody[]) evolve(mine, placed(body));
    return mine.position;
  },
  imagine: ({ name, request }) => {
    const { position } = restored();
    return { position, fields: JSON.stringify(imagine(name, request)).slice(1, -1) };
  },
  close: () => void db?.close(),
});

function imagine(name: string, request: object): object {
  switch (name) {
    case 'candidates':
      return candidates(restored(), request as CandidatesRequest);
    case 'restore-impact':
      return restoreImpact(usedUp(), request as RestoreImpactRequest);
    case 'plan':
      return plan(usedUp(), request as { inputs: PlannedInput[]; time: number });
    case 'again':
      return decideAgain(usedUp(), request as StoredDecision, DECIDER_VERSION);
    case 'same': {
      const mine = JSON.parse(dumpState(restored())) as object;
      return { same: isDeepStrictEqual(mine, JSON.parse((request as { state: string }).state)) };
    }
    default:
      throw new Error(`nothing is known about '${name}'`);
  }
}
