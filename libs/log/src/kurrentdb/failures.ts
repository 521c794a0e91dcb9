import { LogError } from '../errors.js';

/**
 * What went wrong, whatever shape it came in: errors of the client have a `type` or a `code`, both or neither,
 * and the same trouble looks different on an append, a batch append and a read.
 */
export interface Failure {
  readonly what:
    | 'wrong-position'
    | 'missing-stream'
    | 'deleted-stream'
    | 'too-large'
    | 'not-allowed'
    | 'full'
    /** Passes by itself. */
    | 'away';
  /** Whether an append that failed like this may be in all the same. */
  readonly maybeIn: boolean;
  /** `fine`: the server itself said it. `not-leader`: so did a node that does not lead, or does not know who does. */
  readonly connection: 'fine' | 'broken' | 'not-leader';
  /** For people. */
  readonly why: string;
}

/** Nothing came within the time we wait. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';

  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
  }
}

/** Another client has taken the place of the one that was to answer. */
export class Replaced extends Error {
  override readonly name = 'Replaced';

  constructor() {
    super('the client was replaced before it answered');
  }
}

/** What the server refuses before it writes anything. */
const refusedUnwritten = /Server Is (Too )?Busy|Server Is Not Ready/i;
/** Nor does a node that does not lead. While a leader is elected this comes without the type that it has else. */
const notLeading = /No leader info|Leader info available|have no leader now/i;
/** There was no connection that an append could have gone through. */
const neverSent =
  /Failed to discover|Max discovery attempt|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|No connection established|client error \(Connect\)|Name resolution failed/i;
const noRoom = /no space left|disk is full|not enough space/i;

/** gRPC status codes. */
const permissionDenied = 7;
const unauthenticated = 16;

/** Tells what an error of the client means. */
export function failureOf(error: unknown): Failure {
  const { type, code, message } = error as { type?: unknown; code?: unknown; message?: unknown };
  const why = sentence(typeof message === 'string' ? message : '', type);
  const failure = (
    what: Failure['what'],
    maybeIn = false,
    connection: Failure['connection'] = 'fine',
  ): Failure => ({ what, maybeIn, connection, why });
  switch (type) {
    case 'wrong-expected-version':
      return failure('wrong-position');
    case 'stream-not-found':
    case 'no-stream':
      return failure('missing-stream');
    case 'stream-deleted':
    case 'stream-tombstoned':
      return failure('deleted-stream');
    case 'maximum-append-size-exceeded':
    case 'append-record-size-exceeded':
    case 'transaction-max-size-exceeded':
      return failure('too-large');
    case 'access-denied':
      return failure('not-allowed');
    case 'not-leader':
      return failure('away', false, 'not-leader');
    default:
      break;
  }
  if (code === permissionDenied || code === unauthenticated) return failure('not-allowed');
  if (/BadRequest|InvalidTransaction/.test(why)) return failure('not-allowed');
  if (noRoom.test(why)) return failure('full');
  if (notLeading.test(why)) return failure('away', false, 'not-leader');
  if (refusedUnwritten.test(why)) return failure('away');
  return failure('away', !neverSent.test(why), 'broken');
}

/** The error of the port for a failure of `doing` on a stream. */
export function logErrorOf(
  { what, why }: Failure,
  place: string,
  doing: string,
  options: { readonly cause: unknown; readonly maybeIn?: boolean },
): LogError {
  const { cause, maybeIn = false } = options;
  switch (what) {
    case 'not-allowed':
      return new LogError(
        'NOT_ALLOWED',
        `${place} does not allow us to ${doing} (${why}): give the user of VF_EVENT_LOG the right to read and write the streams vf…, and their metadata`,
        { cause },
      );
    case 'too-large':
      return new LogError(
        'NOT_ALLOWED',
        `${place} refuses to ${doing}: it is larger than the server takes at once (${why}). Raise KURRENTDB_MAX_APPEND_SIZE of the server, then start again`,
        { cause },
      );
    case 'deleted-stream':
      return new LogError(
        'CORRUPT',
        `${place} cannot ${doing}: the stream was deleted for good. Restore the database from a backup taken before`,
        { cause },
      );
    case 'full':
      return maybeIn
        ? new LogError('OUTCOME_UNKNOWN', `${place} did not say whether it could ${doing}: ${why}`, { cause })
        : new LogError('FULL', `${place} has no room to ${doing}: ${why}. Make room on its disk`, { cause });
    default:
      return maybeIn
        ? new LogError('OUTCOME_UNKNOWN', `${place} did not say whether it could ${doing}: ${why}`, { cause })
        : new LogError('UNAVAILABLE', `${place} cannot be reached to ${doing}: ${why}`, { cause });
  }
}

/** The client leaves some messages empty, and gives only the name of the class in others. */
function sentence(message: string, type: unknown): string {
  const text = message.replaceAll(/\s+/g, ' ').trim();
  if (text !== '' && !/^\w+Error$/.test(text)) return text.slice(0, 300);
  return typeof type === 'string' ? type.replaceAll('-', ' ') : 'it did not say why';
}
