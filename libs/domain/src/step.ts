import { decide } from './decide.js';
import type { Cause, PlacedEvent } from './events.js';
import { evolve } from './evolve.js';
import type { Input } from './inputs.js';
import { observe } from './observe.js';
import type { State } from './state.js';

/** Where an input stands in `VF_IN`. */
export interface Source {
  /** Creation time of the stream. */
  readonly stream: string;
  readonly sequence: number;
}

/**
 * Decides a new input and takes its events into the state: the one way in which a live state moves. The
 * decision's clock is the input's time, never below the event before.
 *
 * @returns the events with their positions, to be appended together.
 */
export function step(state: State, input: Input, source: Source): readonly PlacedEvent[] {
  const timed = input.time < state.clock ? { ...input, time: state.clock } : input;
  const events = decide(state, timed);
  observe(state, timed);
  if (events.length === 0) return [];
  const { stream, sequence } = source;
  const cause = { stream, sequence, id: input.id, digest: input.digest, ...reportOf(state, timed) };
  const placed: PlacedEvent[] = [];
  for (const { type, data } of events) {
    // Written out: a spread costs more here than the whole decision.
    const next = { type, data, position: state.position + 1, at: timed.time, cause } as PlacedEvent;
    evolve(state, next);
    placed.push(next);
  }
  return placed;
}

/**
 * HOST-9: with what a report leads to, the log learns how far its host's reports have come: a leader that takes
 * over finds the same ones stale. Call it after observe.
 */
function reportOf(state: State, input: Input): Pick<Cause, 'report'> | undefined {
  if (input.type !== 'HostReported' && input.type !== 'HostSeen') return undefined;
  const { hostId } = input.data;
  const heard = state.observed.heard.get(hostId);
  if (heard === undefined) return undefined;
  return { report: { hostId, seq: heard.seq, said: heard.said, at: heard.reportedAt } };
}
