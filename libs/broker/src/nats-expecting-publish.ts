import { JetStreamApiError } from '@nats-io/jetstream';
import type { NatsLink } from './nats-connection.js';
import { encodedHeaders } from './nats-headers.js';

interface Answer {
  readonly seq?: number;
  readonly error?: { code: number; err_code: number; description: string };
}

/**
 * What makes a publish succeed only if this is the sequence of its subject's last message (0: there is none).
 */
export const expectLastOfSubject = (sequence: number): readonly [string, string] => [
  'Nats-Expected-Last-Subject-Sequence',
  String(sequence),
];

/**
 * Publishes one message with a header block of our own making.
 *
 * @returns its sequence in the stream.
 * @throws BrokerError `WRONG_SEQUENCE` when an expectation does not hold.
 */
export function publishExpecting(
  link: NatsLink,
  subject: string,
  payload: Uint8Array | string,
  headers: Uint8Array,
  timeout = link.requestTimeout,
): Promise<number> {
  return link.call(`Publishing ${subject}`, async () => {
    const reply = await link.connection.request(subject, payload, {
      timeout,
      headers: encodedHeaders(headers),
    });
    const { seq, error } = reply.json<Answer>();
    if (error) throw new JetStreamApiError(error);
    if (typeof seq !== 'number') throw new Error('the answer names no sequence');
    return seq;
  });
}
