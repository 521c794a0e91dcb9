import type { Kind } from './catalog.js';

/** A mark in the name of a test: `[VM-3 acts]`. */
export interface Mark {
  readonly rule: string;
  readonly kind: Kind;
}

const MARK = /\[([A-Z]+-\d+) (acts|refuses|quiet)\] ?/g;
/** A rule named in brackets without saying how it is proved. */
export const BARE_MARK = /\[[A-Z]+-\d+\]/;

export const marksIn = (name: string): readonly Mark[] =>
  [...name.matchAll(MARK)].map(([, rule, kind]) => ({ rule, kind }) as Mark);

/** The name for a reader, who sees rule and kind beside it. */
export const withoutMarks = (name: string): string => name.replace(MARK, '').trim();
