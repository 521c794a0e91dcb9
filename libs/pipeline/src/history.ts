import { isTransient, type EventLog } from '#log';
import type { Clock } from './clock.js';
import { sentenceOf } from './errors.js';
import type { Logger } from './logger.js';

/** How often it is looked whether a history is still whole, in milliseconds. */
const LOOK_EVERY = 20_000;

/**
 * Whether the history of a cluster can still be read from its first event: who leads or follows has no need to, and
 * would not notice that a setting of the store takes it away.
 */
export class HistoryWatch {
  /** What takes it away, for a person; undefined while nothing does. */
  trouble: string | undefined;

  constructor(
    private readonly cluster: string,
    private readonly options: { readonly log: EventLog; readonly clock: Clock; readonly logger: Logger },
  ) {}

  /** Looks again and again, until the signal aborts. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look(signal);
      await this.options.clock.sleep(LOOK_EVERY, signal);
    }
  }

  /** Looks once. While the log is away, what was seen last stays. */
  async look(signal?: AbortSignal): Promise<void> {
    const { log, logger } = this.options;
    let trouble: string | undefined;
    try {
      trouble = await log.incomplete(this.cluster);
    } catch (error) {
      if (isTransient(error)) return;
      trouble = sentenceOf(error);
    }
    if (signal?.aborted === true) return;
    if (trouble !== undefined && this.trouble !== trouble)
      logger.error(`the history of '${this.cluster}': ${trouble}`);
    this.trouble = trouble;
  }
}
