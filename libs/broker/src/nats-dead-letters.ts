import { setTimeout as wait } from 'node:timers/promises';
import type { StreamInfo } from '@nats-io/jetstream';
import { DEAD_STREAM, deadSubject, INPUT_STREAM } from '#wire';
import type { DeadLetter, DeadLetters } from './broker.js';
import { DeadLetterHeader, deadLetterHeaders, eventIdText } from './dead-letter-headers.js';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { expectLastOfSubject, publishExpecting } from './nats-expecting-publish.js';
import { encodeHeaders, headersOf } from './nats-headers.js';
import { OrderedReader } from './nats-reader.js';
import { getStoredMessage, type StoredMessage } from './nats-stored-message.js';
import { streamInfo } from './nats-streams.js';

/** What this publisher knows of a cluster's dead letters; the expectation tells when it is wrong. */
interface Known {
  /** Place of the last one in `VF_DEAD`; 0: there is none. */
  last: number;
  /** Only inputs that were stored from this time on are known. */
  readonly since: number;
  /** Places by the input that each one says it holds. Anybody may have written one: the bytes decide. */
  readonly places: Map<string, number[]>;
}

/** Where the clocks of servers differ, a dead letter seems to be older than its input, in milliseconds. */
const CLOCKS_DIFFER = 60_000;
/** So many are remembered; then it is looked anew. */
const MOST_KNOWN = 100_000;
/** How many of the stream's last messages are looked through for an event id. */
const LOOK_BACK = 10_000;
/** Refusals in a row without anybody else getting on, after which the server is to blame. */
const MAX_CONFLICTS = 20;

/** `VF_DEAD` in JetStream. */
export class NatsDeadLetters implements DeadLetters {
  readonly #known = new Map<string, Known>();

  constructor(readonly link: NatsLink) {}

  async publish(cluster: string, letters: readonly DeadLetter[], since: number): Promise<void> {
    let known = this.#known.get(cluster);
    if (known === undefined || known.since > since) known = await this.#look(cluster, since);
    // After a failure nobody knows what is in.
    this.#known.delete(cluster);
    for (const letter of letters) await this.#publishOnce(cluster, letter, known, since);
    if (known.places.size < MOST_KNOWN) this.#known.set(cluster, known);
  }

  async find(cluster: string, eventId: string): Promise<{ reason: string } | undefined> {
    const end = (await this.#last(cluster))?.sequence ?? 0;
    if (end === 0) return undefined;
    const wanted = eventIdText(eventId);
    const input = await streamInfo(this.link, INPUT_STREAM);
    let reason: string | undefined;
    await this.#readHeaders(cluster, { after: Math.max(0, end - LOOK_BACK) }, end, (headers) => {
      if (headers[DeadLetterHeader.eventId] === wanted && mayBe(headers, input))
        reason = headers[DeadLetterHeader.reason] ?? '';
    });
    return reason === undefined ? undefined : { reason };
  }

  /** Stores one letter unless it is in already, by us or by somebody who was faster. */
  async #publishOnce(cluster: string, letter: DeadLetter, known: Known, since: number): Promise<void> {
    const input = inputOf(letter.stream, letter.sequence);
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      if (await this.#isIn(letter, known.places.get(input))) return;
      const room = (this.link.connection.info?.max_payload ?? 1_048_576) - letter.payload.length;
      const headers = encodeHeaders(deadLetterHeaders(letter, [expectLastOfSubject(known.last)], room));
      try {
        const place = await publishExpecting(this.link, deadSubject(cluster), letter.payload, headers);
        note(known, input, place);
        return;
      } catch (error) {
        if (!(error instanceof BrokerError) || error.code !== 'WRONG_SEQUENCE') throw error;
      }
      const before = known.last;
      const now = await this.#look(cluster, since);
      known.last = now.last;
      for (const [one, places] of now.places) known.places.set(one, places);
      if (known.last === before) await wait(25 * (conflicts + 1));
      else conflicts = 0;
    }
    throw new BrokerError(
      'UNAVAILABLE',
      `${DEAD_STREAM} refuses dead letter ${letter.sequence} of ${cluster} as out of order, although nobody else writes there. It is tried again.`,
    );
  }

  /** Whether one of the places holds just this. */
  async #isIn(letter: DeadLetter, places: readonly number[] = []): Promise<boolean> {
    for (const seq of places) {
      const there = await getStoredMessage(this.link, DEAD_STREAM, { seq });
      if (there !== undefined && Buffer.compare(there.payload, letter.payload) === 0) return true;
    }
    return false;
  }

  /** What is in since a time. Whoever publishes there without a pause makes it longer, and not endless. */
  async #look(cluster: string, since: number): Promise<Known> {
    const last = await this.#last(cluster);
    const known: Known = { last: last?.sequence ?? 0, since, places: new Map() };
    if (last === undefined || last.time < since - CLOCKS_DIFFER) return known;
    const begin = { after: 0, since: Math.max(0, since - CLOCKS_DIFFER) };
    await this.#readHeaders(cluster, begin, last.sequence, (headers, place) => {
      const stream = headers[DeadLetterHeader.stream];
      const sequence = Number(headers[DeadLetterHeader.sequence]);
      if (stream !== undefined) note(known, inputOf(stream, sequence), place);
    });
    known.last = last.sequence;
    return known;
  }

  /** Reads the headers of a cluster's dead letters, up to a place that is there. */
  async #readHeaders(
    cluster: string,
    begin: { readonly after: number; readonly since?: number },
    end: number,
    onHeaders: (headers: Readonly<Record<string, string>>, place: number) => void,
  ): Promise<void> {
    const doing = `Looking through ${DEAD_STREAM}`;
    let reader: OrderedReader | undefined;
    let onSilence: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        onSilence = setTimeout(
          () => reject(new BrokerError('UNAVAILABLE', `${doing} took too long; try again.`)),
          2 * this.link.requestTimeout,
        );
        reader = new OrderedReader(this.link, {
          stream: DEAD_STREAM,
          filter: [deadSubject(cluster)],
          ...begin,
          headersOnly: true,
          whenReplaced: 'fail',
          onMessage: (message, sequence) => {
            onSilence?.refresh();
            const headers = headersOf(message);
            if (headers !== undefined && sequence <= end) onHeaders(headers, sequence);
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
  }

  #last(cluster: string): Promise<StoredMessage | undefined> {
    return getStoredMessage(this.link, DEAD_STREAM, { last_by_subj: deadSubject(cluster) });
  }
}

const inputOf = (stream: string, sequence: number): string => `${stream} ${sequence}`;

function note(known: Known, input: string, place: number): void {
  known.last = place;
  const places = known.places.get(input);
  if (places === undefined) known.places.set(input, [place]);
  else places.push(place);
}

/** Whether there can have been such an input: nobody dead-letters what has not come yet. */
function mayBe(headers: Readonly<Record<string, string>>, input: StreamInfo | undefined): boolean {
  const sequence = Number(headers[DeadLetterHeader.sequence]);
  if (!Number.isSafeInteger(sequence) || sequence < 1) return false;
  const isOfThis = input !== undefined && headers[DeadLetterHeader.stream] === input.created;
  return !isOfThis || sequence <= input.state.last_seq;
}
