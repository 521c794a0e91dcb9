import { hash } from 'node:crypto';
import { QueryError } from './query-errors.js';

/** Where a page ended: the position that the whole list is about, and the key of the last thing on it. */
export interface Place {
  readonly position: number;
  readonly after: string;
}

/** A cursor belongs to one query with its filters: it says so, and is refused elsewhere. */
const mark = (question: object): string => hash('sha256', JSON.stringify(question)).slice(0, 12);

export const writeCursor = (question: object, { position, after }: Place): string =>
  Buffer.from(JSON.stringify([mark(question), position, after])).toString('base64url');

/** @throws QueryError `BAD_REQUEST` */
export function readCursor(question: object, cursor: string): Place {
  let read: unknown;
  try {
    read = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw new QueryError('BAD_REQUEST', 'cursor is not one that a page ended with');
  }
  const [whose, position, after] = Array.isArray(read) ? (read as unknown[]) : [];
  if (typeof whose !== 'string' || !Number.isSafeInteger(position) || typeof after !== 'string') {
    throw new QueryError('BAD_REQUEST', 'cursor is not one that a page ended with');
  }
  if (whose !== mark(question)) {
    throw new QueryError(
      'BAD_REQUEST',
      'cursor belongs to another query, or to other filters: begin without it',
    );
  }
  return { position: position as number, after };
}
