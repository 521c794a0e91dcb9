import { setTimeout as sleep } from 'node:timers/promises';

/** Work that took less goes on without a rest, in milliseconds. */
const SLICE = 2;
/** What a slice has taken, so many times as long the next one waits. */
const REST = 2;
/** But no longer than this, in milliseconds: what else was done meanwhile counts as its time, too. */
const LONGEST_REST = 20;

/**
 * The pace of long work on the thread that decides, or for others on it: a slice, and a rest twice as long. It is made
 * when the work begins.
 */
export class Pace {
  #since = performance.now();

  /** To be awaited between slices; a slice is to be a few milliseconds. */
  async rest(): Promise<void> {
    const took = performance.now() - this.#since;
    if (took < SLICE) return;
    await sleep(Math.min(took * REST, LONGEST_REST));
    this.#since = performance.now();
  }
}
