import type { Head } from '#log';
import type { ReadErrorCode } from './errors.js';

/** The moment that a question is about: undefined is now. */
export type At = { readonly position: number } | { readonly time: number } | undefined;

/** A question about a cluster. */
export interface Question {
  readonly cluster: string;
  readonly name: string;
  readonly request: object;
  readonly at?: At;
  /** Of a list: the key of the last item that was given. */
  readonly after?: string;
  readonly limit?: number;
}

/** The answer: JSON text, without the outer braces, so that it is never parsed on its way out. */
export interface Answered {
  readonly position: number;
  readonly fields: string;
  /** Of a list: the key of the last item, when there are more. */
  readonly next?: string;
}

/** What a thread is asked, and what it answers. */
export interface Calls {
  open: {
    ask: { directory: string; rememberedInputs: number };
    answer: { path: string; madeAgain?: string };
  };
  standing: { ask: { cluster: string }; answer: Head | undefined };
  /** @returns the position behind which records are to be given. */
  begin: { ask: { cluster: string; again: boolean }; answer: number };
  /** `bodies`: a JSON list; `hashes`: 64 characters each. */
  take: { ask: { cluster: string; bodies: string; hashes: string }; answer: number };
  ask: { ask: Question; answer: Answered };
  /** Writes what is pending. @returns the position of the cluster. */
  flush: { ask: { cluster: string }; answer: number };
  /** The state as text; undefined while the projection is being brought to it. */
  dump: { ask: { cluster: string }; answer: { position: number; state: string } | undefined };
  /** The state at the nearest place before a position. @returns its position. */
  restore: { ask: { cluster: string; position: number; empty?: boolean }; answer: number };
  /** Takes records into the restored state. */
  evolve: { ask: { bodies: string }; answer: number };
  /** Asks something of the restored state. */
  imagine: { ask: { name: string; request: object }; answer: { position: number; fields: string } };
  close: { ask: Record<never, never>; answer: void };
}

export type CallName = keyof Calls;
export type Request = { [Name in CallName]: { id: number; call: Name } & Calls[Name]['ask'] }[CallName];

/** An error in a form that crosses threads. Without `code` it is a defect, or the file's. */
export interface SentError {
  readonly code?: ReadErrorCode;
  readonly message: string;
  readonly stack?: string;
}

export type Reply =
  { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly error: SentError };
