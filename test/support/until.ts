import { setTimeout as wait } from 'node:timers/promises';

export interface Patience {
  /** Milliseconds; 15,000. */
  readonly timeout?: number;
  /** Milliseconds between two looks; 20. */
  readonly every?: number;
}

/**
 * Waits until `look` gives something other than undefined or false.
 *
 * @param what is waited for: names the failure. A function is called when it has failed, to say how far it got.
 */
export async function until<T>(
  what: string | (() => string),
  look: () => T | undefined | false | Promise<T | undefined | false>,
  { timeout = 15_000, every = 20 }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() >= deadline) {
      throw new Error(`not within ${timeout} ms: ${typeof what === 'string' ? what : what()}`);
    }
    await wait(every);
  }
}
