import { JetStreamApiError } from '@nats-io/jetstream';
import { jetStreamErrorCode, JetStreamErrorCode } from './nats-errors.js';
import type { NatsLink } from './nats-connection.js';
import { decodeHeaders } from './nats-headers.js';

/** A message as a stream keeps it. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly headers?: Record<string, string>;
  readonly payload: Uint8Array;
}

interface GetResponse {
  readonly error?: { code: number; err_code: number; description: string };
  readonly message?: { subject: string; seq: number; time: string; hdrs?: string; data?: string };
}

const base64 = (text: string): Uint8Array => {
  const bytes = Buffer.from(text, 'base64');
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};

/** RFC 3339 with nanoseconds to milliseconds, rounded down as the times of a consumer are. */
const milliseconds = (time: string): number => Date.parse(time.replace(/(\.\d{3})\d+/, '$1'));

/**
 * Asks the stream's leader for a message; never a direct get, which may sit on a replica that lags. Own code
 * because the client's reader of headers throws on names that others may send.
 *
 * @returns undefined when there is no such message.
 */
export function getStoredMessage(
  link: NatsLink,
  stream: string,
  query: { seq: number } | { last_by_subj: string } | { seq: number; next_by_subj: string },
): Promise<StoredMessage | undefined> {
  return link.call(`Reading a message of ${stream}`, async () => {
    const answer = await link.connection.request(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify(query), {
      timeout: link.requestTimeout,
    });
    const { error, message } = answer.json<GetResponse>();
    if (error) {
      if (error.err_code === JetStreamErrorCode.noMessageFound) return undefined;
      throw new JetStreamApiError(error);
    }
    if (!message) return undefined;
    const headers = message.hdrs ? decodeHeaders(base64(message.hdrs)) : undefined;
    return {
      subject: message.subject,
      sequence: message.seq,
      time: milliseconds(message.time),
      ...(headers && { headers }),
      payload: base64(message.data ?? ''),
    };
  });
}

/** Runs a JetStream request; undefined when the stream, or the message asked for, does not exist. */
export async function orMissing<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    const code = jetStreamErrorCode(error);
    if (code === JetStreamErrorCode.streamNotFound || code === JetStreamErrorCode.noMessageFound)
      return undefined;
    throw error;
  }
}
