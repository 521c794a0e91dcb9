/** Where a delivered message stands, as its reply subject says. */
export interface Delivery {
  /** Sequence in the stream. */
  readonly streamSequence: number;
  /** Count of the messages that this consumer delivered. */
  readonly consumerSequence: number;
  /** Milliseconds since 1970 when it was stored. */
  readonly time: number;
}

const DOT = 46;
const ZERO = 48;

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, or the newer
 * form with domain and account after `ACK`. One pass without splitting: it is done for every message read.
 *
 * @returns undefined when it is no such subject.
 */
export function parseDelivery(reply: string): Delivery | undefined {
  if (!reply.startsWith('$JS.ACK.')) return undefined;
  let dots = 0;
  for (let i = 0; i < reply.length; i++) if (reply.charCodeAt(i) === DOT) dots++;
  if (dots < 8) return undefined;
  const first = dots === 8 ? 5 : 7;

  let token = 0;
  let streamSequence = 0;
  let consumerSequence = 0;
  let time = 0;
  let start = 0;
  for (let i = 0; i < reply.length && token < first + 3; i++) {
    if (reply.charCodeAt(i) !== DOT) continue;
    // The time is in nanoseconds, more than a number holds: the last six digits are left out.
    if (token === first) streamSequence = digits(reply, start, i);
    else if (token === first + 1) consumerSequence = digits(reply, start, i);
    else if (token === first + 2) time = digits(reply, start, i - 6);
    token++;
    start = i + 1;
  }
  return { streamSequence, consumerSequence, time };
}

function digits(text: string, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < end; i++) value = value * 10 + text.charCodeAt(i) - ZERO;
  return value;
}
