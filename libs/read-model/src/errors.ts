/**
 * - `NOT_FOUND`: there was nothing of that name then.
 * - `BAD_REQUEST`: the question cannot be answered as it was put.
 * - `NOT_CAUGHT_UP`: the read side has not taken in yet what the answer needs; ask again.
 * - `BUSY`: too many heavy questions wait already; ask again later.
 * - `STOPPED`: the read side of this cluster stands still until a person has looked.
 * - `TWO_HOLDERS`: the same, because the log hands one VF out twice (EX-1).
 * - `UNAVAILABLE`: the read side is closed, or its thread was lost; ask again.
 */
export type ReadErrorCode =
  'NOT_FOUND' | 'BAD_REQUEST' | 'NOT_CAUGHT_UP' | 'BUSY' | 'STOPPED' | 'TWO_HOLDERS' | 'UNAVAILABLE';

/** A question that has no answer. The message is for a person. */
export class ReadError extends Error {
  override readonly name = 'ReadError';

  constructor(
    readonly code: ReadErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
