import { decide } from './decide.js';
import type { PlacedEvent } from './events.js';
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
  const cause = { stream: source.stream, sequence: source.sequence, id: input.id, digest: input.digest };
  const placed: PlacedEvent[] = [];
  for (const { type, data } of events) {
    // Written out: a spread costs more here than the whole decision.
    const next = { type, data, position: state.position + 1, at: timed.time, cause } as PlacedEvent;
    evolve(state, next);
    placed.push(next);
  }
  return placed;
}
