/**
 * A time limit as a signal. `AbortSignal.timeout` is not one: on Node 20 its timer goes with the signal when the
 * garbage collector finds nothing but an `AbortSignal.any` that knows it, and the wait never ends (nodejs/node#57736).
 * Here the timer holds the signal.
 */
export class Deadline {
  /** Aborts when the time is over, or with one of the others. */
  readonly signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;

  /** @param milliseconds from now. By itself it keeps no process alive. */
  constructor(milliseconds: number, ...others: readonly AbortSignal[]) {
    this.#timer = setTimeout(
      () => this.#over.abort(new DOMException(`not within ${milliseconds} ms`, 'TimeoutError')),
      milliseconds,
    );
    this.#timer.unref();
    this.signal = others.length === 0 ? this.#over.signal : AbortSignal.any([this.#over.signal, ...others]);
  }

  /** What it was for is done: lets the timer go. Does not abort. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
