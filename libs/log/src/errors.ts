/**
 * What can go wrong in a log, whatever its adapter:
 *
 * - `WRONG_POSITION`: somebody else has written; drop what was decided and load again.
 * - `OUTCOME_UNKNOWN`: the append may be in; append the same bytes again.
 * - `UNAVAILABLE`: the log cannot be reached now; nothing was written; try again.
 * - `FULL`: there is no room; nothing was written; try again when there is.
 * - `CORRUPT`: what is stored is not what was appended; a person must look.
 * - `NOT_ALLOWED`: the log refuses us (permissions, a version we do not know); a person must look.
 */
export type LogErrorCode =
  'WRONG_POSITION' | 'OUTCOME_UNKNOWN' | 'UNAVAILABLE' | 'FULL' | 'CORRUPT' | 'NOT_ALLOWED';

/** An error of the event log. The message says what, where and what to do. */
export class LogError extends Error {
  override readonly name = 'LogError';

  constructor(
    readonly code: LogErrorCode,
    message: string,
    options?: { cause?: unknown; position?: number },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    if (options?.position !== undefined) this.position = options.position;
  }

  /** The position the error is about, where there is one. */
  readonly position?: number;

  static wrongPosition(stream: string, expected: number, actual: number): LogError {
    return new LogError(
      'WRONG_POSITION',
      `the log of '${stream}' stands at position ${actual}, not at ${expected}: another allocator has written to it`,
      { position: actual },
    );
  }

  static corrupt(stream: string, position: number, what: string): LogError {
    return new LogError(
      'CORRUPT',
      `the log of '${stream}' is damaged at position ${position}: ${what}. ` +
        'It was edited or torn: restore it from a backup taken before, or ask for help with the file as it is',
      { position },
    );
  }
}

/** Whether trying the same append or read again can succeed without a person. */
export function isTransient(error: unknown): error is LogError {
  return (
    error instanceof LogError &&
    (error.code === 'OUTCOME_UNKNOWN' || error.code === 'UNAVAILABLE' || error.code === 'FULL')
  );
}
