/** The one place where what NATS says becomes an error of the log port. */

import { errors } from '@nats-io/transport-node';
import { LogError, type LogErrorCode } from '../errors.js';

/** JetStream's own error numbers (`err_code`) that mean something to us. */
export const JsErrorCode = {
  accountResourcesExceeded: 10002,
  noPeers: 10005,
  insufficientResources: 10023,
  memoryResourcesExceeded: 10028,
  noMessageFound: 10037,
  notEnabledForAccount: 10039,
  storageResourcesExceeded: 10047,
  messageTooLarge: 10054,
  streamNameInUse: 10058,
  streamNotFound: 10059,
  subjectOverlap: 10065,
  wrongLastSequence: 10071,
  replicasNotSupported: 10074,
  notEnabled: 10076,
  streamStoreFailed: 10077,
  /** What three replicas answer instead of 10071 when another publish is on its way. */
  wrongLastSequenceInFlight: 10164,
} as const;

/** JetStream answered with an error of its own. */
export class JsApiError extends Error {
  override readonly name = 'JsApiError';
  readonly code: number;
  readonly status: number;

  constructor(answer: { readonly code?: number; readonly err_code?: number; readonly description?: string }) {
    super(answer.description ?? 'no description');
    this.code = answer.err_code ?? 0;
    this.status = answer.code ?? 500;
  }
}

/** The connection broke, or was closed, while an answer was awaited. */
export class ConnectionBroke extends Error {
  override readonly name = 'ConnectionBroke';
}

export const hasCode = (error: unknown, ...codes: readonly number[]): boolean =>
  error instanceof JsApiError && codes.includes(error.code);

export const isWrongSequence = (error: unknown): boolean =>
  hasCode(error, JsErrorCode.wrongLastSequence, JsErrorCode.wrongLastSequenceInFlight);

/** Nobody has heard the request: what it asked for is surely not done. */
export const nobodyHeard = (error: unknown): boolean =>
  error instanceof errors.NoRespondersError ||
  (error instanceof errors.RequestError && error.isNoResponders());

/**
 * The log's error for whatever the client threw.
 *
 * @param doing begins the sentence, e.g. `reading the log of 'c1'`.
 * @param outcome of what was tried when no answer came: `unknown` for an append that was sent.
 * @returns the error itself when it is a bug of ours (a TypeError and its kin).
 */
export function toLogError(error: unknown, doing: string, outcome: 'nothing' | 'unknown' = 'nothing'): Error {
  if (error instanceof LogError) return error;
  if (isBug(error)) return error;
  const reason = error instanceof Error ? error.message || error.name : String(error);
  const make = (code: LogErrorCode, advice: string): LogError =>
    new LogError(code, `${doing}: ${reason}. ${advice}`, { cause: error });

  if (error instanceof JsApiError) {
    const code = codeOf(error);
    if (code === 'FULL') {
      return make(
        code,
        "There is no room in JetStream; nothing is lost: make room on the disk of the nats-servers, or raise max_file_store or the account's limits. It then goes on",
      );
    }
    if (code === 'NOT_ALLOWED') return make(code, `JetStream refuses it (${error.code})`);
    // A replica may have stored what its leader could not.
    if (outcome === 'unknown' && error.code === JsErrorCode.streamStoreFailed) {
      return make('OUTCOME_UNKNOWN', 'It may be in: the same append again tells');
    }
    return make(code, 'JetStream cannot do it now; it is tried again');
  }
  if (
    error instanceof errors.PermissionViolationError ||
    error instanceof errors.AuthorizationError ||
    error instanceof errors.UserAuthenticationExpiredError
  ) {
    return make('NOT_ALLOWED', 'Check the credentials (VF_NATS_CREDS) and what they permit');
  }
  if (nobodyHeard(error) || error instanceof errors.ClosedConnectionError) {
    return make(
      'UNAVAILABLE',
      'Nobody answers for it: it has no leader now, or JetStream is not enabled on the server. It is tried again',
    );
  }
  return outcome === 'unknown'
    ? make('OUTCOME_UNKNOWN', 'It may be in: the same append again tells')
    : make('UNAVAILABLE', 'NATS does not answer now; it is tried again');
}

function isBug(error: unknown): error is Error {
  return (
    error instanceof Error &&
    ([TypeError, RangeError, ReferenceError, SyntaxError] as unknown[]).includes(error.constructor)
  );
}

function codeOf(error: JsApiError): LogErrorCode {
  switch (error.code) {
    case JsErrorCode.accountResourcesExceeded:
    case JsErrorCode.memoryResourcesExceeded:
    case JsErrorCode.storageResourcesExceeded:
    case JsErrorCode.insufficientResources:
      return 'FULL';
    case JsErrorCode.streamStoreFailed:
      return /no space|exceeded|maximum/i.test(error.message) ? 'FULL' : 'UNAVAILABLE';
    // "Not enabled" is also what one hears while there is no leader; a missing peer may come back.
    case JsErrorCode.notEnabled:
    case JsErrorCode.notEnabledForAccount:
    case JsErrorCode.noPeers:
    case JsErrorCode.streamNotFound:
      return 'UNAVAILABLE';
    case JsErrorCode.replicasNotSupported:
      return 'NOT_ALLOWED';
    default:
      return error.status >= 500 ? 'UNAVAILABLE' : 'NOT_ALLOWED';
  }
}
