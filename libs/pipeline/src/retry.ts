import { BrokerError } from '#broker';
import { isTransient } from '#log';
import type { Clock } from './clock.js';
import type { Logger } from './logger.js';

const FIRST_WAIT = 50;
/** Less than the time in which all goes on when what was away is back. */
const LONGEST_WAIT = 1000;
/** A fault that lasts is said again this often, in milliseconds. */
const SAY_AGAIN = 30_000;

/** Whether the same call again can succeed without a person. */
export const passes = (error: unknown): error is Error =>
  isTransient(error) || (error instanceof BrokerError && error.code === 'UNAVAILABLE');

/** How {@link persist} waits, and whom it tells. */
export interface Persistence {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Told what is the matter, and told undefined when it is over. */
  readonly onTrouble?: (trouble: string | undefined) => void;
}

/**
 * Does something until it succeeds, fails for good, or `signal` aborts; waits longer each time, and says what
 * is the matter once, not each time.
 *
 * @throws what the call threw, when it is not a passing fault, or when the signal has aborted.
 */
export async function persist<T>(
  what: string,
  call: () => Promise<T>,
  { clock, logger, signal, onTrouble }: Persistence,
): Promise<T> {
  let wait = FIRST_WAIT;
  let saidAt: number | undefined;
  let told: string | undefined;
  for (;;) {
    try {
      const result = await call();
      if (saidAt !== undefined) {
        logger.info(`${what}: works again`);
        onTrouble?.(undefined);
      }
      return result;
    } catch (error) {
      if (!passes(error) || signal.aborted) throw error;
      const now = clock.now();
      const trouble = `${what}: ${error.message}`;
      // The log is told seldom, whoever asks how things stand always the latest.
      if (trouble !== told) onTrouble?.(trouble);
      told = trouble;
      if (saidAt === undefined || now - saidAt >= SAY_AGAIN) {
        saidAt = now;
        logger.warn(`${trouble}; trying on`);
      }
      await clock.sleep(wait, signal);
      if (signal.aborted) throw error;
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }
}
