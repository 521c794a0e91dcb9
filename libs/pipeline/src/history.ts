import { isTransient, type EventLog } from '#log';
import type { Clock } from './clock.js';

/** How often it is looked whether a history is still whole, in milliseconds. */
const LOOK_EVERY = 20_000;

/**
 * Looks again and again, until the signal aborts, whether the history of a cluster can still be read from its first
 * event: who leads or follows has no need to, and would not notice that a setting of the store takes it away.
 *
 * @param onLook told what is wrong, for a person; undefined when nothing is. Not told while the log is away.
 */
export async function watchHistory(
  log: EventLog,
  cluster: string,
  clock: Clock,
  signal: AbortSignal,
  onLook: (trouble: string | undefined) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const trouble = await log.incomplete(cluster);
      if (!signal.aborted) onLook(trouble);
    } catch (error) {
      if (!signal.aborted && !isTransient(error))
        onLook(error instanceof Error ? error.message : String(error));
    }
    await clock.sleep(LOOK_EVERY, signal);
  }
}
