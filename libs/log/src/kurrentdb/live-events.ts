import type { KurrentDBClient, ResolvedEvent } from '@kurrent/kurrentdb-client';
import { NoAnswer } from './failures.js';

type Subscription = ReturnType<KurrentDBClient['subscribeToStream']>;

const chunkSize = 1000;

/**
 * What a subscription of the client brings, in chunks, until it ends in whichever way: the client tells an end
 * by `error`, `end` or `close`, and never subscribes again by itself.
 */
export class LiveEvents {
  #over = false;
  #failure: unknown;
  #confirmed = false;
  #wake = (): void => undefined;

  constructor(private readonly subscription: Subscription) {
    const ended = (): void => {
      this.#over = true;
      this.#wake();
    };
    // Stays for as long as the subscription: an error that comes later must find a listener.
    subscription.on('error', (error: unknown) => {
      this.#failure ??= error;
      ended();
    });
    subscription.on('end', ended);
    subscription.on('close', ended);
    subscription.on('confirmation', () => {
      this.#confirmed = true;
      this.#wake();
    });
    subscription.on('readable', () => this.#wake());
  }

  /**
   * The next events, at least one; 'quiet' when none came within a time, undefined at the end.
   *
   * @param patience how long the server may take to confirm, and then how long to wait for an event.
   * @throws the error of the subscription, when it ended with one; NoAnswer when it was not confirmed.
   */
  async next(
    patience: { readonly confirm: number; readonly quiet: number },
    signal: AbortSignal,
  ): Promise<readonly ResolvedEvent[] | 'quiet' | undefined> {
    for (;;) {
      const events: ResolvedEvent[] = [];
      while (events.length < chunkSize) {
        const event = this.subscription.read() as ResolvedEvent | null;
        if (event === null) break;
        events.push(event);
      }
      if (events.length > 0) return events;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#over || signal.aborted) return undefined;
      const confirmed = this.#confirmed;
      const time = confirmed ? patience.quiet : patience.confirm;
      const woken = await this.#woken(time, signal);
      if (!woken && !confirmed) throw new NoAnswer(time);
      if (!woken) return 'quiet';
    }
  }

  end(): void {
    this.subscription.unsubscribe().catch(() => undefined);
    this.subscription.destroy();
  }

  /** @returns false when the time is over. */
  #woken(milliseconds: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (woken: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#wake = () => undefined;
        resolve(woken);
      };
      const onAbort = (): void => done(true);
      const timer = setTimeout(() => done(false), milliseconds);
      signal.addEventListener('abort', onAbort);
      this.#wake = () => done(true);
    });
  }
}
