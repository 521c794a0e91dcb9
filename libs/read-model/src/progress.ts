/** What the read side says of itself. */
export interface ReadLogger {
  info(message: string, facts?: object): void;
  warn(message: string, facts?: object): void;
  error(message: string, facts?: object): void;
}

/** How the read side stands with a cluster. */
export interface ReadStatus {
  /** `building`: far behind, and taking in; `waiting`: it cannot go on just now, and tries again. */
  readonly state: 'opening' | 'building' | 'following' | 'waiting' | 'stopped';
  readonly position: number;
  /** Where the log was when it was last asked, while it is being built. */
  readonly goal?: number;
  readonly eventsPerSecond?: number;
  readonly message?: string;
  /** Why it is `stopped`, where that concerns more than the read side: the log hands one VF out twice (EX-1). */
  readonly code?: 'TWO_HOLDERS';
}

/** Being so many events behind is said, with the progress, in the log and in health. */
const WORTH_SAYING = 20_000;
const SAY_EVERY = 5000;

/** How far the building of a cluster is, said now and then. */
export class Progress {
  private readonly begun: number;
  private said: number;
  private readonly worthSaying: boolean;
  private built = false;

  constructor(
    private readonly cluster: string,
    private readonly base: number,
    private readonly goal: number,
    private readonly logger: ReadLogger,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.begun = now();
    this.said = this.begun;
    this.worthSaying = goal - base > WORTH_SAYING;
    if (this.worthSaying) logger.info(`the read side of cluster '${cluster}' takes in ${goal - base} events`);
  }

  status(position: number): ReadStatus {
    if (position >= this.goal) {
      if (!this.built && this.worthSaying) {
        const seconds = (this.now() - this.begun) / 1000;
        this.logger.info(
          `the read side of cluster '${this.cluster}' is up to date: ${this.goal - this.base} events in ${seconds.toFixed(1)} s, ${this.rate(position)} events/s`,
        );
      }
      this.built = true;
      return { state: 'following', position };
    }
    if (this.built) return { state: 'following', position };
    const eventsPerSecond = this.rate(position);
    if (this.now() - this.said > SAY_EVERY) {
      this.said = this.now();
      const percent = Math.floor((100 * (position - this.base)) / (this.goal - this.base));
      this.logger.info(
        `the read side of cluster '${this.cluster}' is at ${percent} % (${position} of ${this.goal}), ${eventsPerSecond} events/s`,
      );
    }
    return { state: 'building', position, goal: this.goal, eventsPerSecond };
  }

  /** Events a second since it began. */
  private rate(position: number): number {
    const seconds = (this.now() - this.begun) / 1000;
    return seconds === 0 ? 0 : Math.round((position - this.base) / seconds);
  }
}
