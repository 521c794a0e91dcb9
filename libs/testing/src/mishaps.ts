import { randomFrom } from './random.js';

/** A place between two steps of an allocator: it is about to call a port, or has the answer. */
export interface Crossing {
  /** From 1, in the order in which they are reached. */
  readonly number: number;
  /** The port's call: `log.append`, `output.publish`, `dead.publish`, `input.take` … */
  readonly call: string;
  readonly side: 'before' | 'after';
  /**
   * How many parts the call has, each of which could be the last that is done: decisions of an append,
   * messages of a publish.
   */
  readonly parts: number;
}

/** What befalls an allocator at a crossing. */
export type Mishap =
  /** `kill -9`. With `parts`: after so many parts of the call are done. Another process is started. */
  | { readonly kind: 'crash'; readonly parts?: number }
  /**
   * The call fails; with `parts` so many parts of it are done all the same. `after`: all of it is done, and
   * the answer is lost.
   */
  | {
      readonly kind: 'fail';
      readonly code: 'UNAVAILABLE' | 'FULL' | 'OUTCOME_UNKNOWN';
      readonly parts?: number;
    }
  /**
   * The connection to the broker is cut for so many milliseconds; with `successor` another process waits for
   * the lease.
   */
  | { readonly kind: 'cut'; readonly milliseconds: number; readonly successor?: boolean }
  /**
   * The process stands still, as by SIGSTOP, while another takes over; then it goes on as if nothing had
   * been.
   */
  | { readonly kind: 'freeze'; readonly milliseconds: number };

/** What becomes of a message on its way to `VF_IN`, or of an event on its way to a host's agent. */
export type Fate =
  | { readonly kind: 'arrives' }
  /** It never arrives. An agent sees a lost order again when it is restarted. */
  | { readonly kind: 'lost' }
  /** It is lost, and said again after so many milliseconds by whoever has no answer. */
  | { readonly kind: 'repeated'; readonly milliseconds: number }
  /** It arrives twice, as a message that was stored but not acknowledged and is said again. */
  | { readonly kind: 'doubled' }
  /** It arrives, and again after so many further messages, or at the end. */
  | { readonly kind: 'doubled-late'; readonly after: number }
  /** It arrives after so many further messages, or at the end. */
  | { readonly kind: 'late'; readonly after: number };

/** What goes wrong in a simulation. */
export interface Mishaps {
  /** Which of the tasks that can go on goes on next; the first one unless it says otherwise. */
  pick?(tasks: number): number;
  atCrossing?(crossing: Crossing): Mishap | undefined;
  /** @param number from 1, in the order in which messages are published. */
  ofMessage?(number: number, type: string): Fate | undefined;
  /** @param number from 1, in the order in which orders reach agents. */
  ofOrder?(number: number, type: string): Fate | undefined;
}

/**
 * Mishaps by hand, each at its number.
 *
 * @example byHand({ crossings: { 7: { kind: 'crash' } }, messages: { 2: { kind: 'doubled' } } })
 */
export function byHand(plan: {
  readonly crossings?: Readonly<Record<number, Mishap>>;
  readonly messages?: Readonly<Record<number, Fate>>;
  readonly orders?: Readonly<Record<number, Fate>>;
}): Mishaps {
  return {
    atCrossing: ({ number }) => plan.crossings?.[number],
    ofMessage: (number) => plan.messages?.[number],
    ofOrder: (number) => plan.orders?.[number],
  };
}

/** How often something goes wrong, each from 0 to 1. */
export interface Rates {
  readonly crash?: number;
  readonly fail?: number;
  readonly cut?: number;
  readonly freeze?: number;
  readonly lost?: number;
  readonly doubled?: number;
  readonly late?: number;
}

const SOME: Required<Rates> = {
  crash: 0.01,
  fail: 0.02,
  cut: 0.01,
  freeze: 0.005,
  lost: 0.05,
  doubled: 0.1,
  late: 0.1,
};

/**
 * Mishaps by a seed, and an order of the tasks by it too: the same seed gives the same run. What is lost is
 * said again after a while, as whoever has no answer does.
 */
export function bySeed(seed: number, rates: Rates = {}): Mishaps {
  const random = randomFrom(seed);
  const rate = { ...SOME, ...rates };
  const below = (count: number): number => Math.floor(random() * count);
  const fate = (): Fate | undefined => {
    const dice = random();
    if (dice < rate.lost) return { kind: 'repeated', milliseconds: 1000 + below(10_000) };
    if (dice < rate.lost + rate.doubled) {
      return random() < 0.5 ? { kind: 'doubled' } : { kind: 'doubled-late', after: 1 + below(4) };
    }
    return dice < rate.lost + rate.doubled + rate.late ? { kind: 'late', after: 1 + below(4) } : undefined;
  };
  return {
    pick: below,
    ofMessage: fate,
    ofOrder: fate,
    atCrossing: ({ call, side, parts }) => {
      let dice = random();
      if ((dice -= rate.crash) < 0)
        return parts > 1 ? { kind: 'crash', parts: below(parts) } : { kind: 'crash' };
      if ((dice -= rate.cut) < 0) {
        return { kind: 'cut', milliseconds: 1 + below(8000), successor: random() < 0.5 };
      }
      if ((dice -= rate.freeze) < 0) return { kind: 'freeze', milliseconds: 4000 + below(8000) };
      if ((dice -= rate.fail) >= 0 || !canFail(call)) return undefined;
      if (call !== 'log.append') return { kind: 'fail', code: 'UNAVAILABLE', parts: below(parts) };
      if (side === 'after') return { kind: 'fail', code: 'OUTCOME_UNKNOWN' };
      const code = (['UNAVAILABLE', 'FULL', 'OUTCOME_UNKNOWN'] as const)[below(3)]!;
      return { kind: 'fail', code, parts: code === 'OUTCOME_UNKNOWN' ? below(parts + 1) : 0 };
    },
  };
}

/** Calls whose failure their port allows; a follower or a wait for the lease survives a cut by itself. */
export const canFail = (call: string): boolean => call !== 'input.take' && !call.startsWith('lease.');
