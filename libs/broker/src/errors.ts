/**
 * What can go wrong with the broker, whatever its adapter:
 *
 * - `UNAVAILABLE`: no answer, no leader, not connected; try again.
 * - `WRONG_SEQUENCE`: the output stream does not stand where the publisher thinks; look at its last message.
 * - `INPUT_REPLACED`: `VF_IN` was deleted, or deleted and made again; load again and verify positions.
 * - `LEASE_LOST`: somebody else leads the cluster.
 * - `REFUSED`: the server refuses for good (too old, permissions, a stream with other settings); a person
 *   must look.
 */
export type BrokerErrorCode = 'UNAVAILABLE' | 'WRONG_SEQUENCE' | 'INPUT_REPLACED' | 'LEASE_LOST' | 'REFUSED';

/** An error of the broker. The message says what, why and what to do. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError';

  constructor(
    readonly code: BrokerErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
