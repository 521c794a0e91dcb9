import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';

/** Work that took less goes on without a rest, in milliseconds. */
const SLICE = 2;
/** What a slice has taken, so many times as long the next one waits. */
const REST = 2;
/** But no longer than this, in milliseconds: what else was done meanwhile counts as its time, too. */
const LONGEST_REST = 20;
/** A turn of the loop that took longer had others' work in it, in milliseconds. */
const OTHERS = 0.3;
/** Who worked within so many milliseconds is taken to be at it still: a decision comes back from disk and network in between. */
const AT_IT = 100;

/** Milliseconds that only ever grow. */
const monotonic = { now: (): number => performance.now() };

/**
 * The pace of long work on the thread that decides, or for others on it: a slice, then the others' turn, and a rest twice
 * as long as the slice while they have something to do. It is made when the work begins.
 */
export class Pace {
  #since: number;
  /** Until then others are taken to be at work; at first nobody knows. */
  #othersUntil: number;

  /** @param clock measures the slices; one that stands still makes no rest due. */
  constructor(private readonly clock: { now(): number } = monotonic) {
    this.#since = clock.now();
    this.#othersUntil = this.#since + AT_IT;
  }

  /** Whether a slice is over. To be asked often: what comes next may take long. */
  get isDue(): boolean {
    return this.clock.now() - this.#since >= SLICE;
  }

  /** To be awaited between pieces of work of a few milliseconds at most; goes on at once where no slice is over. */
  async rest(): Promise<void> {
    const end = this.clock.now();
    const took = end - this.#since;
    if (took < SLICE) return;
    const left = performance.now();
    await turn();
    const now = this.clock.now();
    if (performance.now() - left > OTHERS) this.#othersUntil = now + AT_IT;
    if (now < this.#othersUntil) await sleep(Math.min(took * REST, LONGEST_REST));
    this.#since = this.clock.now();
  }
}
