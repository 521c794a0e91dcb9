import type { ApiParts } from './api-parts.js';
import { QueryError } from './query-errors.js';

/**
 * What a question needs more than a few milliseconds of (docs/decisions/038-dear-questions.md). One of a kind is
 * answered at a time, and of all kinds one but for `verify`, which takes as long as the log is long.
 *
 * - `tables`: many rows of the temporal tables.
 * - `history`: many records of the log.
 * - `states`: the decider, on a state of its own.
 * - `export`: the whole log, a piece at a time.
 * - `verify`: the whole log.
 */
export type DearKind = 'tables' | 'history' | 'states' | 'export' | 'verify';

/**
 * How long a question waits for its turn before it is `BUSY`, in milliseconds; less than a client waits for an answer. Not
 * all as long: who came together would be refused together and come again together, sixty within one turn of the loop.
 */
const LEAST_PATIENCE = 1500;
const MOST_PATIENCE = 2500;
const patienceOfOne = (): number => LEAST_PATIENCE + Math.random() * (MOST_PATIENCE - LEAST_PATIENCE);
/**
 * What an answer has taken, so many times as long the next one waits that was there already: two thirds of a thread are for
 * other work. Who asks alone, one question after the other, waits for nobody.
 */
const REST = 2;
/** But no longer than this, in milliseconds. */
const LONGEST_REST = 500;
/** So many of a kind may wait: each holds a connection and what it asks. */
const MOST_WAITING = 256;

/** Turns, first come first served. */
class Queue {
  readonly #waiting: (() => void)[] = [];
  #taken = false;

  get waiting(): number {
    return this.#waiting.length;
  }

  /** @returns whether it got its turn in time; then it must be given back. */
  async take(patience: number): Promise<boolean> {
    if (!this.#taken) {
      this.#taken = true;
      return true;
    }
    return new Promise<boolean>((resolve) => {
      const go = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer =
        patience === Infinity
          ? undefined
          : setTimeout(() => {
              this.#waiting.splice(this.#waiting.indexOf(go), 1);
              resolve(false);
            }, patience);
      this.#waiting.push(go);
    });
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }
}

/**
 * The turns of questions that are dear, so that sixty clients who ask for a lot share what one may have, and a decision
 * hardly notices. What is cheap does not come here.
 */
export class DearQuestions {
  readonly #kinds = new Map<DearKind, Queue>();
  readonly #all = new Queue();

  /**
   * Answers a question in its turn, and rests when it is answered and others wait.
   *
   * @param begun it is a piece of an answer that has begun: it waits for as long as it takes.
   * @throws QueryError `BUSY`; what the answer throws.
   */
  async inTurn<T>(kind: DearKind, answer: () => Promise<T>, begun = false): Promise<T> {
    const own = this.#queueOf(kind);
    // Who is refused has waited as well: otherwise refusing those who ask again at once would be what costs.
    if (!begun && own.waiting >= MOST_WAITING) throw await late(kind);
    const patience = begun ? Infinity : patienceOfOne();
    if (!(await own.take(patience))) throw busy(kind);
    const all = kind === 'verify' ? undefined : this.#all;
    if (all !== undefined && !(await all.take(patience))) {
      own.give();
      throw busy(kind);
    }
    const from = performance.now();
    try {
      return await answer();
    } finally {
      // Who asked has the answer; it is the next one that waits.
      const give = (): void => {
        all?.give();
        own.give();
      };
      if (own.waiting + (all?.waiting ?? 0) === 0) give();
      else setTimeout(give, Math.min((performance.now() - from) * REST, LONGEST_REST)).unref();
    }
  }

  #queueOf(kind: DearKind): Queue {
    let queue = this.#kinds.get(kind);
    if (queue === undefined) {
      queue = new Queue();
      this.#kinds.set(kind, queue);
    }
    return queue;
  }
}

const late = (kind: DearKind): Promise<QueryError> =>
  new Promise((resolve) => setTimeout(() => resolve(busy(kind)), patienceOfOne()));

const busy = (kind: DearKind): QueryError =>
  new QueryError(
    'BUSY',
    `others ask for much of the same kind (${kind}), and one is answered at a time: ask again later, or for less`,
  );

const desks = new WeakMap<ApiParts, DearQuestions>();

/** Those of a process: over HTTP and over NATS they share the turns. */
export function dearQuestionsOf(parts: ApiParts): DearQuestions {
  let desk = desks.get(parts);
  if (desk === undefined) {
    desk = new DearQuestions();
    desks.set(parts, desk);
  }
  return desk;
}
