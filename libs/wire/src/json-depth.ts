import { MAX_DEPTH } from './inputs/fields.js';

/** What a request may have around its data: `plan` has a list of inputs, each with its data. */
const AROUND = 8;
/** No request has JSON that is nested deeper. */
export const MAX_REQUEST_DEPTH = MAX_DEPTH + AROUND;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BRACKETS = { open: [0x5b, 0x7b], close: [0x5d, 0x7d] } as const;

/**
 * Why JSON is not read, where it is nested deeper than any request is; undefined where it is not. It looks at the
 * bytes, before anything is made of them: what walks through a value calls itself for each level, and a request of
 * a megabyte has half a million.
 *
 * @param json UTF-8; need not be JSON.
 */
export function tooDeep(json: Uint8Array): string | undefined {
  let depth = 0;
  let inText = false;
  for (let index = 0; index < json.length; index++) {
    const byte = json[index] as number;
    if (inText) {
      if (byte === BACKSLASH) index++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === BRACKETS.open[0] || byte === BRACKETS.open[1]) {
      if (++depth > MAX_REQUEST_DEPTH) return `it is nested more than ${MAX_REQUEST_DEPTH} deep`;
    } else if (byte === BRACKETS.close[0] || byte === BRACKETS.close[1]) depth--;
  }
  return undefined;
}
