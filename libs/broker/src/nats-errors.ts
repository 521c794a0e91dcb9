/** The one place where errors of the NATS client become errors of the broker port. */

import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { BrokerError, type BrokerErrorCode } from './errors.js';

/** JetStream's own error numbers (`err_code`) that mean something to us. */
export const JetStreamErrorCode = {
  insufficientResources: 10023,
  noMessageFound: 10037,
  insufficientStorage: 10047,
  messageTooLarge: 10054,
  streamNameInUse: 10058,
  streamNotFound: 10059,
  subjectOverlap: 10065,
  wrongLastSequence: 10071,
  streamStoreFailed: 10077,
  /** What three replicas answer instead of 10071 when another publish is on its way. */
  wrongLastSequenceOfReplicas: 10164,
} as const;

/** JetStream's error number behind an error, wherever it hides. */
export function jetStreamErrorCode(error: unknown): number | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof JetStreamApiError) return cause.code;
  }
  return undefined;
}

/** Whether an expected sequence was not the last one. */
export const isWrongSequence = (errorCode: number | undefined): boolean =>
  errorCode === JetStreamErrorCode.wrongLastSequence ||
  errorCode === JetStreamErrorCode.wrongLastSequenceOfReplicas;

/** What a JetStream error number (and its HTTP-like status) means for the caller. */
export function brokerErrorCodeOf(errorCode: number, status: number): BrokerErrorCode {
  if (isWrongSequence(errorCode)) return 'WRONG_SEQUENCE';
  switch (errorCode) {
    // A stream that is missing may be made again, one that is full may be emptied.
    case JetStreamErrorCode.streamNotFound:
    case JetStreamErrorCode.streamStoreFailed:
      return 'UNAVAILABLE';
    case JetStreamErrorCode.insufficientStorage:
    case JetStreamErrorCode.messageTooLarge:
      return 'REFUSED';
    default:
      return status >= 500 ? 'UNAVAILABLE' : 'REFUSED';
  }
}

const LANGUAGE_ERRORS: readonly unknown[] = [TypeError, RangeError, ReferenceError, SyntaxError];

/**
 * The broker's error for whatever the client threw.
 *
 * @param doing what was tried, e.g. `Reading VF_IN`; begins the message.
 * @returns the error itself when it is a bug of ours (a TypeError and its kin): nobody shall retry that.
 */
export function toBrokerError(error: unknown, doing: string): Error {
  if (error instanceof BrokerError) return error;
  if (error instanceof Error && LANGUAGE_ERRORS.includes(error.constructor)) return error;
  const reason = error instanceof Error ? error.message || error.name : String(error);
  const make = (code: BrokerErrorCode, advice: string) =>
    new BrokerError(code, `${doing}: ${reason}. ${advice}`, { cause: error });

  if (error instanceof JetStreamApiError) {
    const code = brokerErrorCodeOf(error.code, error.status);
    if (code === 'WRONG_SEQUENCE') return make(code, 'Somebody else wrote there; look at the last message.');
    if (error.code === JetStreamErrorCode.insufficientStorage)
      return make(
        code,
        'Lower the stream limits (VF_IN_MAX_BYTES, VF_OUT_MAX_BYTES) or raise max_file_store.',
      );
    return make(code, code === 'UNAVAILABLE' ? 'It is tried again.' : 'The server refuses it for good.');
  }
  if (
    error instanceof errors.AuthorizationError ||
    error instanceof errors.UserAuthenticationExpiredError ||
    error instanceof errors.PermissionViolationError
  ) {
    return make(
      'REFUSED',
      'Check the credentials (VF_NATS_CREDS, or user and password in VF_NATS_URL) and what they permit.',
    );
  }
  if (error instanceof errors.InvalidSubjectError || error instanceof errors.InvalidArgumentError) {
    return make('REFUSED', 'The client refuses to send it.');
  }
  // "Not enabled" is also what one hears while there is no leader, so it is no verdict.
  if (error instanceof Error && error.name === 'JetStreamNotEnabled') {
    return make('UNAVAILABLE', 'JetStream has no leader now, or is not enabled on the server.');
  }
  if (error instanceof JetStreamError) return make('UNAVAILABLE', 'It is tried again.');
  return make('UNAVAILABLE', 'NATS does not answer now; it is tried again.');
}
