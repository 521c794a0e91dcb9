import canonicalizeValue from 'canonicalize';

/**
 * The canonical JSON text (RFC 8785) of a value that is JSON without loss.
 *
 * @throws TypeError when the value has no JSON form (`undefined`, a function) or holds NaN or an infinity.
 */
export function canonicalJson(value: unknown): string {
  let text: string | undefined;
  try {
    text = canonicalizeValue(value);
  } catch (error) {
    throw new TypeError('the value has no JSON form', { cause: error });
  }
  if (text === undefined) throw new TypeError('the value has no JSON form');
  return text;
}
