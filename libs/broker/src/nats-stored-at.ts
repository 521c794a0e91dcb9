import type { PubAck } from '@nats-io/jetstream';
import { INPUT_STREAM } from '#wire';
import { BrokerError } from './errors.js';

/**
 * Where an input lies, by the acknowledgement of its publish.
 *
 * Inputs are published without a `Nats-Msg-Id`: anybody may have used that id a moment before, and the server would
 * then acknowledge ours and store nothing. An acknowledgement that says 'duplicate' all the same, or that is of
 * another stream, is one of something else.
 *
 * @returns the sequence in `VF_IN`.
 * @throws BrokerError `UNAVAILABLE` when the input is not stored by this: publish it again.
 */
export function storedAt({ stream, seq, duplicate }: PubAck): number {
  if (stream === INPUT_STREAM && !duplicate && Number.isSafeInteger(seq) && seq > 0) return seq;
  const why = duplicate ? 'as a duplicate of another message' : `for ${stream} ${seq}`;
  throw new BrokerError(
    'UNAVAILABLE',
    `An input was acknowledged ${why}, and is not known to be in ${INPUT_STREAM}. It is published again.`,
  );
}
