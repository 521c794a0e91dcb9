import type { Clock } from './clock.js';

/** What has failed for so long is trouble, in milliseconds; what passes sooner is nobody's business. */
const LASTING = 5000;

/** Something that is done again and again: trouble once it has failed for a while without a success in between. */
export class LastingFailure {
  private failing: { readonly since: number; readonly why: string } | undefined;

  constructor(private readonly clock: Pick<Clock, 'now'>) {}

  /** @param lasts it needs no waiting to know that it does not pass. */
  failed(why: string, { lasts = false }: { readonly lasts?: boolean } = {}): void {
    const now = this.clock.now();
    const since = lasts ? now - LASTING : (this.failing?.since ?? now);
    // A clock that was set back must not put off what is known.
    this.failing = { since: Math.min(since, now), why };
  }

  worked(): void {
    this.failing = undefined;
  }

  /** Why it fails; undefined while it does not, or not for long. */
  get trouble(): string | undefined {
    const { failing } = this;
    if (failing === undefined || this.clock.now() - failing.since < LASTING) return undefined;
    return failing.why;
  }
}
