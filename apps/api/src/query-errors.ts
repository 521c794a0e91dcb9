export type QueryErrorCode =
  | 'QUERY_UNKNOWN'
  | 'BAD_REQUEST'
  | 'CLUSTER_UNKNOWN'
  | 'NOT_FOUND'
  | 'NOT_CAUGHT_UP'
  | 'BUSY'
  | 'STOPPED'
  | 'UNAVAILABLE'
  | 'NO_AUDIT_KEY'
  | 'SIGNED_HEAD_DIFFERS'
  | 'ANSWER_TOO_LARGE';

/** The HTTP status of each code. */
export const STATUS: Readonly<Record<QueryErrorCode, number>> = {
  QUERY_UNKNOWN: 404,
  CLUSTER_UNKNOWN: 404,
  NOT_FOUND: 404,
  BAD_REQUEST: 400,
  NO_AUDIT_KEY: 409,
  SIGNED_HEAD_DIFFERS: 409,
  ANSWER_TOO_LARGE: 413,
  NOT_CAUGHT_UP: 503,
  BUSY: 503,
  STOPPED: 503,
  UNAVAILABLE: 503,
};

/** A query that has no answer. The message is for a person. */
export class QueryError extends Error {
  override readonly name = 'QueryError';

  constructor(
    readonly code: QueryErrorCode,
    message: string,
  ) {
    super(message);
  }
}
