import { jetstream, JetStreamApiError, type JetStreamClient } from '@nats-io/jetstream';
import { storedAt, type NatsLink } from '#broker';
import type { OutgoingEvent } from '#wire';
import type { Answers } from './answers.js';
import { VfError } from './errors.js';
import type { PreparedInput } from './input.js';
import type { Patience } from './patience.js';
import type { Queries } from './queries.js';

/** How long NATS may take to acknowledge before the same is sent again, in milliseconds. */
const ACK_PATIENCE = 2000;
/** The pause before the same is sent again. */
const RETRY = 100;
/** How long to listen before the outcome is asked for, and at most between two such questions. */
const FIRST_ASK = 250;
const SHORTEST_ASK = 20;
const LONGEST_ASK = 4000;

/** Where an input lies now. */
export interface Stored {
  readonly id: string;
  /** Sequence in `VF_IN`. */
  readonly sequence: number;
}

/** An answer: the event, and the events of the same decision that were heard before it. */
export interface Answer {
  readonly event: OutgoingEvent;
  readonly before: readonly OutgoingEvent[];
}

/** Sends inputs, and hears what they lead to. */
export class Asking {
  readonly #jetStream: JetStreamClient;

  constructor(
    private readonly link: NatsLink,
    private readonly answers: Answers,
    private readonly queries: Queries,
  ) {
    this.#jetStream = jetstream(link.connection, { timeout: ACK_PATIENCE });
  }

  /**
   * Stores an input in `VF_IN`; sends it again, under the same id, until it is acknowledged. What is stored twice by
   * that takes effect once (EX-6).
   *
   * @throws VfError `NOT_STORED`; `UNAVAILABLE` when it may or may not be stored.
   */
  async store(input: PreparedInput, patience: Patience): Promise<Stored> {
    const { id, subject, payload } = input;
    let last: unknown = this.link.connected ? undefined : new Error('there is no connection to NATS');
    while (!patience.over) {
      if (this.link.closed) throw new VfError('CLOSED', 'the client is closed', { id });
      try {
        this.link.assertConnected('Publishing');
        const timeout = Math.max(1, Math.min(ACK_PATIENCE, patience.left));
        const ack = await this.#jetStream.publish(subject, payload, { timeout });
        return { id, sequence: storedAt(ack) };
      } catch (error) {
        last = error;
        const refusal = refusalOf(error);
        if (refusal !== undefined) throw new VfError('NOT_STORED', refusal, { id }, { cause: error });
        await patience.sleep(RETRY);
      }
    }
    const why = last instanceof Error ? ` (${last.message})` : '';
    throw patience.error(
      'UNAVAILABLE',
      `NATS has not acknowledged ${input.type}${why}. It may be stored all the same: send it again with the same id`,
      { id },
    );
  }

  /**
   * Stores an input and waits for the event that is its outcome.
   *
   * @param types what can be its outcome.
   * @param own whether the id was made for this call, so that nobody else can have used it.
   */
  async ask(
    input: PreparedInput,
    types: readonly string[],
    own: boolean,
    patience: Patience,
  ): Promise<Answer> {
    const { id } = input;
    const before: OutgoingEvent[] = [];
    let heard: ((event: OutgoingEvent) => void) | undefined;
    const answer = new Promise<OutgoingEvent>((resolve) => (heard = resolve));
    const stop = this.answers.listen(input.answers, id, (event) => {
      if (types.includes(event.type)) heard?.(event);
      else before.push(event);
    });
    try {
      const stored = this.store(input, patience);
      stored.catch(() => undefined);
      // The answer can be here before the acknowledgement, or instead of it.
      const first = await Promise.race([answer, stored]);
      const known = 'sequence' in first ? undefined : first;
      const certain = own && known !== undefined;
      // Under an id that is not of this call somebody may have asked for something else: that is looked at.
      const found = certain
        ? known
        : own
          ? await Promise.race([answer, this.#look(input, patience, FIRST_ASK)])
          : await this.#look(input, patience, known === undefined ? SHORTEST_ASK : 0, answer);
      if (!types.includes(found.type)) throw reused(input);
      return { event: found, before };
    } finally {
      stop();
    }
  }

  /**
   * Asks for the outcome, first after a pause and then again and again.
   *
   * @param hint resolves when there is likely something to be found: then it asks at once.
   * @throws VfError `OUTCOME_UNKNOWN`, `ID_REUSED`, `DEAD_LETTERED`.
   */
  async #look(
    input: PreparedInput,
    patience: Patience,
    pause: number,
    hint?: Promise<unknown>,
  ): Promise<OutgoingEvent> {
    const { id } = input;
    let hinted = false;
    const onHint = hint?.then(() => (hinted = true));
    let next = pause;
    while (!patience.over) {
      if (next > 0) {
        const wake = onHint === undefined || hinted ? [] : [onHint];
        await Promise.race([patience.sleep(next), this.#reconnected(), ...wake]);
      }
      if (patience.over) break;
      if (this.link.closed) throw new VfError('CLOSED', 'the client is closed', { id });
      const found = await this.queries.outcomeNow(id, Math.min(LONGEST_ASK, patience.left));
      if (found?.outcome !== undefined) {
        if (found.digest !== undefined && found.digest !== input.digest) throw reused(input);
        return found.outcome;
      }
      if (found?.dead !== undefined) {
        const { reason } = found.dead;
        throw new VfError('DEAD_LETTERED', `the scheduler could not take it: ${reason}`, { id, reason });
      }
      next = Math.min(LONGEST_ASK, Math.max(next * 2, SHORTEST_ASK));
    }
    throw patience.error(
      'OUTCOME_UNKNOWN',
      `${input.type} is stored, and its outcome is not known yet. Ask for the outcome of '${id}', or call again with that id`,
      { id },
    );
  }

  /** Resolves at the next reconnect after a break; never while the connection stands. */
  #reconnected(): Promise<void> {
    if (this.link.connected) return new Promise(() => undefined);
    return this.link.whenConnected();
  }
}

const reused = ({ id, type }: PreparedInput): VfError =>
  new VfError(
    'ID_REUSED',
    `the id '${id}' was used before, for something else: this ${type} took no effect. Take a new id`,
    { id },
  );

/** What NATS refuses for good; undefined where it is worth trying again. */
function refusalOf(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof JetStreamApiError) {
      if (cause.code === 10_077 || /maximum (bytes|messages) exceeded/i.test(cause.message))
        return 'VF_IN is full and takes nothing more until the scheduler has read it: try again later';
      if (cause.status < 500) return `NATS refuses it: ${cause.message}`;
      return undefined;
    }
    if (cause.name === 'PermissionViolationError') return `NATS does not permit it: ${cause.message}`;
  }
  return undefined;
}
