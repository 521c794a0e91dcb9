import { tooDeep } from '#wire';
import { Problem } from './problem.js';

/**
 * Looks at the bytes of a JSON body before they are parsed.
 *
 * @throws Problem 415 for another encoding than UTF-8, which JSON is not sent in (RFC 8259), 400 for what is nested
 *   deeper than any request.
 */
export function checkBody(_request: unknown, _response: unknown, body: Uint8Array, encoding: string): void {
  if (!/^utf-?8$/i.test(encoding))
    throw new Problem(415, 'NOT_JSON', `the body must be UTF-8, not ${encoding.slice(0, 32)}`);
  const problem = tooDeep(body);
  if (problem !== undefined) throw new Problem(400, 'BAD_REQUEST', `the body is not read: ${problem}`);
}
