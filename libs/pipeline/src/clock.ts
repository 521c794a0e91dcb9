import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Time for everything above the ports: the real one in production, a fake one in the saga kit and the
 * simulator.
 */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after `ms` milliseconds, or as soon as the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    // An abort is the end of the wait, not an error of it.
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  },
};
