import { setTimeout as wait } from 'node:timers/promises';
import { VfError } from './errors.js';

/** More than that a timer takes for no time at all: 24 days. */
const LONGEST = 2 ** 31 - 1;

/** @throws VfError `BAD_INPUT` for what is no time to wait. */
export function checkTime(name: string, time: unknown): void {
  if (time === undefined || (typeof time === 'number' && time > 0 && time <= LONGEST)) return;
  throw new VfError(
    'BAD_INPUT',
    `${name} must be milliseconds, above 0 and at most ${LONGEST}, not ${String(time)}`,
  );
}

/** @throws VfError `BAD_INPUT` for what ends nothing. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new VfError('BAD_INPUT', 'signal must be an AbortSignal');
}

/** @throws VfError `BAD_INPUT` for what is no whole number, or too small. */
export function checkWhole(name: string, value: unknown, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= least)) return;
  throw new VfError('BAD_INPUT', `${name} must be a whole number, ${least} or more, not ${String(value)}`);
}

/** The time that one call may take, and the caller's own wish to end it. Milliseconds. */
export class Patience {
  readonly #end: number;
  readonly #over = new AbortController();
  readonly #signals: AbortSignal;
  readonly #timer: NodeJS.Timeout;

  constructor(
    readonly timeout: number,
    private readonly asked?: AbortSignal,
  ) {
    this.#end = performance.now() + timeout;
    this.#timer = setTimeout(() => this.#over.abort(), timeout);
    this.#signals = asked === undefined ? this.#over.signal : AbortSignal.any([this.#over.signal, asked]);
  }

  /** Aborts when the time is over, the caller has had enough, or the call is done. */
  get signal(): AbortSignal {
    return this.#signals;
  }

  get left(): number {
    return Math.max(0, this.#end - performance.now());
  }

  get over(): boolean {
    return this.signal.aborted;
  }

  /** Sleeps, or less when it is over. */
  async sleep(time: number): Promise<void> {
    await wait(Math.min(time, this.left), undefined, { signal: this.signal }).catch(() => undefined);
  }

  /** The error for a call that nothing came of. */
  error(code: string, message: string, facts: Readonly<Record<string, unknown>>): VfError {
    if (this.asked?.aborted)
      return new VfError(code, `the call was aborted; ${message}`, facts, { cause: this.asked.reason });
    return new VfError(code, `not within ${this.timeout} ms: ${message}`, facts);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#over.abort();
  }
}
