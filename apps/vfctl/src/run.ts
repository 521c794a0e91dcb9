import type { Session } from './session.js';

/** What a command does with its words and options. */
export type Action<Options> = (
  session: Session,
  words: readonly (string | undefined)[],
  options: Options,
) => Promise<void>;

/** Makes a commander action of one that works with a session. */
export type Run = <Options extends object>(action: Action<Options>) => (...args: unknown[]) => Promise<void>;
