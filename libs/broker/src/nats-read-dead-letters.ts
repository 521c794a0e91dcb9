import { jetstream } from '@nats-io/jetstream';
import { DEAD_STREAM } from '#wire';
import { DeadLetterHeader } from './dead-letter-headers.js';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { encodedHeaders, encodeHeaders } from './nats-headers.js';
import { storedAt } from './nats-stored-at.js';
import { getStoredMessage } from './nats-stored-message.js';
import { streamInfo } from './nats-streams.js';

/** A dead letter as a person looks at it. */
export interface DeadLetterOnRecord {
  /** Sequence in `VF_DEAD`. */
  readonly deadSequence: number;
  /** Milliseconds since 1970 when it was put aside. */
  readonly time: number;
  /** `_` where it could not be read. */
  readonly cluster: string;
  /** A sentence that says why. */
  readonly reason: string;
  /** Where it was published. */
  readonly subject: string;
  /** Its sequence in `VF_IN`. */
  readonly sequence: number;
  readonly eventId?: string;
  /** The headers with which it was published. */
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
}

const OURS: ReadonlySet<string> = new Set(Object.values(DeadLetterHeader));

/** The dead letter at a sequence of `VF_DEAD`; undefined when there is none. */
export async function readDeadLetter(
  link: NatsLink,
  deadSequence: number,
): Promise<DeadLetterOnRecord | undefined> {
  if (deadSequence < 1) return undefined;
  const found = await getStoredMessage(link, DEAD_STREAM, { seq: deadSequence });
  if (found === undefined) return undefined;
  const { time, payload, headers: all = {} } = found;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(all)) {
    // Those of the server, and those that meant something at the first publish, are not for another one.
    if (!OURS.has(name) && !/^(nats|vf)-/i.test(name)) headers[name] = value;
  }
  const eventId = all[DeadLetterHeader.eventId];
  return {
    deadSequence,
    time,
    cluster: found.subject.slice('vf.dead.'.length),
    reason: all[DeadLetterHeader.reason] ?? '',
    subject: all[DeadLetterHeader.subject] ?? '',
    sequence: Number(all[DeadLetterHeader.sequence] ?? 0),
    ...(eventId !== undefined && { eventId }),
    headers,
    payload,
  };
}

/** The dead letters of a cluster, or of all, newest first, from a sequence of `VF_DEAD` downwards. */
export async function* deadLettersBackwards(
  link: NatsLink,
  options: { readonly cluster?: string; readonly from?: number; readonly lookBack?: number } = {},
): AsyncGenerator<DeadLetterOnRecord, void, undefined> {
  const info = await streamInfo(link, DEAD_STREAM);
  if (info === undefined || info.state.messages === 0) return;
  const { first_seq: first, last_seq: last } = info.state;
  const start = Math.min(options.from ?? last, last);
  const end = Math.max(first, start - (options.lookBack ?? 10_000) + 1);
  for (let sequence = start; sequence >= end; sequence--) {
    const letter = await readDeadLetter(link, sequence);
    if (letter === undefined) continue;
    if (options.cluster === undefined || letter.cluster === options.cluster) yield letter;
  }
}

/** Publishes what a dead letter holds once more, byte for byte. @returns its new sequence in `VF_IN`. */
export async function publishAgain(link: NatsLink, letter: DeadLetterOnRecord): Promise<number> {
  if (!letter.subject.startsWith('vf.in.'))
    throw new BrokerError('REFUSED', `It was published under '${letter.subject}', which is not below vf.in.`);
  const block = encodeHeaders(Object.entries(letter.headers));
  const headers = Object.keys(letter.headers).length === 0 ? undefined : encodedHeaders(block);
  return link.call(`Publishing ${letter.subject}`, async () =>
    storedAt(
      await jetstream(link.connection).publish(letter.subject, letter.payload, {
        timeout: link.requestTimeout,
        ...(headers && { headers }),
      }),
    ),
  );
}
