import { setTimeout as wait } from 'node:timers/promises';
import { DEAD_STREAM, deadSubject } from '#wire';
import type { DeadLetter, DeadLetters } from './broker.js';
import { DeadLetterHeader, deadLetterHeaders, eventIdText } from './dead-letter-headers.js';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { expectLastOfSubject, publishExpecting } from './nats-expecting-publish.js';
import { encodeHeaders, headersOf } from './nats-headers.js';
import { OrderedReader } from './nats-reader.js';
import { getStoredMessage } from './nats-stored-message.js';

/** The last dead letter of a cluster: the input it holds, and where it is in `VF_DEAD` (0: there is none). */
interface Last {
  readonly input?: { readonly stream: string; readonly sequence: number };
  readonly deadSequence: number;
}

/** How many of the stream's last messages are looked through for an event id. */
const LOOK_BACK = 10_000;
/** Refusals in a row without anybody else getting on, after which the server is to blame. */
const MAX_CONFLICTS = 20;

/** `VF_DEAD` in JetStream. */
export class NatsDeadLetters implements DeadLetters {
  /** What was last in, as far as this publisher knows; the expectation tells when it is wrong. */
  readonly #known = new Map<string, Last>();

  constructor(readonly link: NatsLink) {}

  async last(cluster: string): Promise<{ stream: string; sequence: number } | undefined> {
    return (await this.#readLast(cluster)).input;
  }

  async publish(cluster: string, letters: readonly DeadLetter[]): Promise<void> {
    let last = this.#known.get(cluster) ?? (await this.#readLast(cluster));
    // After a failure nobody knows what is in.
    this.#known.delete(cluster);
    for (const letter of letters) last = await this.#publishOnce(cluster, letter, last);
    this.#known.set(cluster, last);
  }

  async find(cluster: string, eventId: string): Promise<{ reason: string } | undefined> {
    const { deadSequence: end } = await this.#readLast(cluster);
    if (end === 0) return undefined;
    const wanted = eventIdText(eventId);
    let reason: string | undefined;
    let reader: OrderedReader | undefined;
    let onSilence: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const doing = `Looking through ${DEAD_STREAM}`;
        onSilence = setTimeout(
          () => reject(new BrokerError('UNAVAILABLE', `${doing} took too long; try again.`)),
          2 * this.link.requestTimeout,
        );
        reader = new OrderedReader(this.link, {
          stream: DEAD_STREAM,
          filter: [deadSubject(cluster)],
          after: Math.max(0, end - LOOK_BACK),
          headersOnly: true,
          whenReplaced: 'fail',
          onMessage: (message, sequence) => {
            const headers = headersOf(message);
            if (headers?.[DeadLetterHeader.eventId] === wanted)
              reason = headers[DeadLetterHeader.reason] ?? '';
            if (sequence >= end) resolve();
          },
          room: () => ({ messages: LOOK_BACK, bytes: 16 * 1024 * 1024 }),
          onFailed: (error) =>
            reject(new BrokerError('UNAVAILABLE', `${doing} failed; try again.`, { cause: error })),
        });
      });
    } finally {
      clearTimeout(onSilence);
      await reader?.close();
    }
    return reason === undefined ? undefined : { reason };
  }

  /** Stores one letter unless it is in already, by us or by somebody who was faster. */
  async #publishOnce(cluster: string, letter: DeadLetter, known: Last): Promise<Last> {
    let last = known;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      if (last.input?.stream === letter.stream && letter.sequence <= last.input.sequence) return last;
      const room = (this.link.connection.info?.max_payload ?? 1_048_576) - letter.payload.length;
      const headers = encodeHeaders(
        deadLetterHeaders(letter, [expectLastOfSubject(last.deadSequence)], room),
      );
      try {
        const deadSequence = await publishExpecting(this.link, deadSubject(cluster), letter.payload, headers);
        return { input: { stream: letter.stream, sequence: letter.sequence }, deadSequence };
      } catch (error) {
        if (!(error instanceof BrokerError) || error.code !== 'WRONG_SEQUENCE') throw error;
      }
      const before = last.deadSequence;
      last = await this.#readLast(cluster);
      if (last.deadSequence === before) await wait(25 * (conflicts + 1));
      else conflicts = 0;
    }
    throw new BrokerError(
      'UNAVAILABLE',
      `${DEAD_STREAM} refuses dead letter ${letter.sequence} of ${cluster} as out of order, although nobody else writes there. It is tried again.`,
    );
  }

  async #readLast(cluster: string): Promise<Last> {
    const message = await getStoredMessage(this.link, DEAD_STREAM, { last_by_subj: deadSubject(cluster) });
    if (!message) return { deadSequence: 0 };
    const stream = message.headers?.[DeadLetterHeader.stream];
    const sequence = Number(message.headers?.[DeadLetterHeader.sequence]);
    return stream !== undefined && Number.isSafeInteger(sequence)
      ? { input: { stream, sequence }, deadSequence: message.sequence }
      : { deadSequence: message.sequence };
  }
}
