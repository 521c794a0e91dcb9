import type { Broker } from '#broker';
import type { Clock } from './clock.js';
import type { Logger } from './logger.js';

/** The clocks are compared this often, in milliseconds. */
const LOOK_EVERY = 5000;
/** A clock that differs by more than this is said, in milliseconds. */
export const MOST_DIFFERENCE = 5000;

/**
 * Looks whether the clock of this process goes with NATS's. Nothing that is decided or answered depends on it; its
 * logs do, and whoever compares them with something else.
 */
export class ClockWatch {
  private said: number | undefined;

  constructor(
    private readonly parts: {
      readonly broker: Pick<Broker, 'now'>;
      readonly clock: Clock;
      readonly logger: Logger;
    },
  ) {}

  /** How far the clock of this process is behind NATS's, in milliseconds; below 0, how far it is ahead. */
  get behind(): number {
    return Math.round(this.parts.broker.now() - this.parts.clock.now());
  }

  /** A sentence while the two differ by too much. */
  get trouble(): string | undefined {
    const { behind } = this;
    if (Math.abs(behind) <= MOST_DIFFERENCE) return undefined;
    const seconds = (Math.abs(behind) / 1000).toFixed(1);
    return `the clock of this process is ${seconds} s ${behind > 0 ? 'behind' : 'ahead of'} NATS's: set it right`;
  }

  /** Says when they begin to differ, differ otherwise, and agree again; until the signal aborts. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.parts;
    while (!signal.aborted) {
      const { behind, trouble } = this;
      const before = this.said;
      if (trouble === undefined) {
        if (before !== undefined) logger.info("the clock of this process goes with NATS's again");
        this.said = undefined;
      } else if (before === undefined || Math.abs(behind - before) > MOST_DIFFERENCE) {
        logger.warn(trouble, { behindMs: behind });
        this.said = behind;
      }
      await clock.sleep(LOOK_EVERY, signal);
    }
  }
}
