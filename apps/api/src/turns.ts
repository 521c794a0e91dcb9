/** So many are served at once. */
const AT_ONCE = 8;
/** What a turn has cost, so many times as long the next one waits. */
const REST = 9;
/** But no longer than this, in milliseconds: what else the thread did meanwhile counts as cost, too. */
const LONGEST_REST = 50;

/**
 * Turns at writing to clients. A few are served at once; a thousand wait for each other, and between them the
 * thread, which may be the one that decides, has most of its time for other work. Who waits longer has more to
 * take when the turn comes, so nothing is lost but a moment.
 */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #serving = false;

  /** Resolves when it is the caller's turn, until it waits for something else. */
  take(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#serving) void this.#serve();
    });
  }

  async #serve(): Promise<void> {
    this.#serving = true;
    while (this.#waiting.length > 0) {
      const begun = performance.now();
      for (const go of this.#waiting.splice(0, AT_ONCE)) go();
      // What they write goes out meanwhile.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#waiting.length === 0) break;
      const cost = performance.now() - begun;
      await new Promise((resolve) => setTimeout(resolve, Math.min(cost * REST, LONGEST_REST)));
    }
    this.#serving = false;
  }
}
