import { expect, test } from '@jest/globals';
import { ClockWatch } from './clock-watch.js';

/** A clock that goes five seconds on with each look, and is set by a test at some of them. */
function watched(behind: readonly number[]): { readonly watch: Promise<void>; readonly said: string[] } {
  const said: string[] = [];
  const over = new AbortController();
  let look = 0;
  const clock = {
    now: () => look * 5000 - (behind[look] as number),
    sleep: async () => {
      if (++look === behind.length) over.abort();
    },
  };
  const logger = {
    debug: () => undefined,
    info: (message: string) => void said.push(message),
    warn: (message: string) => void said.push(message),
    error: () => undefined,
  };
  const clocks = new ClockWatch({ broker: { now: () => look * 5000 }, clock, logger });
  return { watch: clocks.watch(over.signal), said };
}

test('a clock that differs is said when it begins, when it changes, and when it is over', async () => {
  const { watch, said } = watched([0, 5000, -5000, 5001, 5001, 7000, 90_000, 90_000, -60_000, 0, 0, -6000]);
  await watch;
  expect(said).toEqual([
    "the clock of this process is 5.0 s behind NATS's: set it right",
    "the clock of this process is 90.0 s behind NATS's: set it right",
    "the clock of this process is 60.0 s ahead of NATS's: set it right",
    "the clock of this process goes with NATS's again",
    "the clock of this process is 6.0 s ahead of NATS's: set it right",
  ]);
});
