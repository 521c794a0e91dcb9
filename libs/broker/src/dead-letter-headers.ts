import type { DeadLetter } from './broker.js';
import { isHeaderName, oneLine } from './nats-headers.js';

/** Names of the headers of a dead letter. */
export const DeadLetterHeader = {
  reason: 'Vf-Reason',
  subject: 'Vf-Subject',
  /** Place in `VF_IN`. */
  sequence: 'Vf-Sequence',
  /** Creation time of that `VF_IN`. */
  stream: 'Vf-Stream',
  eventId: 'Vf-Event-Id',
  /** How many of the original headers did not fit, or could not be headers. */
  dropped: 'Vf-Headers-Dropped',
} as const;

/** Stands before the name of an original header that would mean something here. */
const ORIGINAL = 'Vf-Original-';

const MAX_REASON = 1_024;
const MAX_SUBJECT = 4_096;
const MAX_EVENT_ID = 512;
/** JetStream stores no larger header block; see `maxBytes` for what else bounds it. */
const MAX_BLOCK = 65_535;
/** `NATS/1.0`, line ends, and the header that counts what was dropped. */
const FRAME = 64;

/** A text as a header's value: on one line, cut to a number of bytes between two characters. */
export function headerText(text: string, maxBytes: number): string {
  const line = oneLine(text);
  if (Buffer.byteLength(line) <= maxBytes) return line;
  const cut = Buffer.from(line)
    .subarray(0, maxBytes - 3)
    .toString();
  return `${cut.replace(/\uFFFD+$/, '').trimEnd()}…`;
}

/** A CloudEvent id as the header holds it. */
export const eventIdText = (eventId: string): string => headerText(eventId, MAX_EVENT_ID);

/**
 * The headers of a dead letter: ours, then the original ones beside them, as many as fit.
 *
 * Ours come first, because the server takes the first place where it finds a name for the header of that
 * name. An original that the server or we would understand (`Nats-Msg-Id`, `Nats-Expected-…`, `Vf-…`) is kept
 * as `Vf-Original-<name>`: it was meant for another publish.
 *
 * @param first headers for the server, put before all.
 * @param maxBytes what the payload leaves of the server's `max_payload`.
 */
export function deadLetterHeaders(
  letter: DeadLetter,
  first: ReadonlyArray<readonly [string, string]>,
  maxBytes: number,
): Array<readonly [string, string]> {
  const headers: Array<readonly [string, string]> = [
    ...first,
    [DeadLetterHeader.reason, headerText(letter.reason, MAX_REASON)],
    [DeadLetterHeader.subject, headerText(letter.subject, MAX_SUBJECT)],
    [DeadLetterHeader.sequence, String(letter.sequence)],
    [DeadLetterHeader.stream, oneLine(letter.stream)],
  ];
  if (letter.eventId !== undefined) headers.push([DeadLetterHeader.eventId, eventIdText(letter.eventId)]);

  let left = Math.min(maxBytes, MAX_BLOCK) - FRAME;
  for (const [name, value] of headers) left -= lineSize(name, value);
  let dropped = 0;
  for (const [originalName, originalValue] of Object.entries(letter.headers ?? {})) {
    const name = /^(nats|vf)-/i.test(originalName) ? ORIGINAL + originalName : originalName;
    const value = oneLine(originalValue);
    const size = lineSize(name, value);
    if (!isHeaderName(name) || size > left) {
      dropped++;
      continue;
    }
    left -= size;
    headers.push([name, value]);
  }
  if (dropped > 0) headers.push([DeadLetterHeader.dropped, String(dropped)]);
  return headers;
}

const lineSize = (name: string, value: string): number =>
  Buffer.byteLength(name) + Buffer.byteLength(value) + 4;
