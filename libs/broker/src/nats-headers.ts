/**
 * Header blocks (`NATS/1.0`) written and read without the client's own class: that one throws on names that
 * others may send, which inside a subscription ends the connection's reading, and takes quadratic time on
 * many headers.
 */

import type { Msg, MsgHdrs } from '@nats-io/transport-node';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const BEGINNING = 'NATS/1.0\r\n';

/** Whether a text can be a header's name: printable ASCII without a colon. */
export const isHeaderName = (name: string): boolean => /^[!-9;-~]+$/.test(name);

/** A header's value on one line. */
export const oneLine = (value: string): string => value.replace(/[\r\n\0]+/g, ' ').trim();

/** The bytes of a header block; names and values must be safe already. */
export function encodeHeaders(headers: Iterable<readonly [string, string]>): Uint8Array {
  let block = BEGINNING;
  for (const [name, value] of headers) block += `${name}: ${value}\r\n`;
  return encoder.encode(`${block}\r\n`);
}

/** Gives bytes to the client as headers. Publishing asks nothing of headers but `encode`. */
export const encodedHeaders = (block: Uint8Array): MsgHdrs => ({ encode: () => block }) as unknown as MsgHdrs;

/** The headers of a block: names as sent, first value of each; undefined when there are none. */
export function decodeHeaders(block: Uint8Array): Record<string, string> | undefined {
  const text = decoder.decode(block);
  let headers: Record<string, string> | undefined;
  let start = text.indexOf('\r\n');
  while (start !== -1) {
    start += 2;
    const next = text.indexOf('\r\n', start);
    const end = next === -1 ? text.length : next;
    const colon = text.indexOf(':', start);
    if (colon > start && colon < end) {
      const name = text.slice(start, colon);
      headers ??= {};
      if (!Object.hasOwn(headers, name)) {
        const value = text.slice(colon + 1, end).trim();
        // Assigning to this one name would set the prototype.
        if (name === '__proto__') Object.defineProperty(headers, name, { value, enumerable: true });
        else headers[name] = value;
      }
    }
    start = next;
  }
  return headers;
}

/** The fields of the client's message that hold the bytes as they came. */
interface RawMessage {
  readonly _msg?: { readonly hdr: number };
  readonly _rdata?: Uint8Array;
}

/** The headers of a message that came; never throws, whatever was sent. */
export function headersOf(message: Msg): Record<string, string> | undefined {
  const { _msg: parsed, _rdata: bytes } = message as unknown as RawMessage;
  if (parsed && bytes) return parsed.hdr > 0 ? decodeHeaders(bytes.subarray(0, parsed.hdr)) : undefined;
  // Another version of the client: take what it can read.
  try {
    if (!message.headers) return undefined;
    const headers: Record<string, string> = {};
    for (const name of message.headers.keys()) headers[name] = message.headers.get(name);
    return Object.keys(headers).length > 0 ? headers : undefined;
  } catch {
    return undefined;
  }
}

/** Code and text of a status message of the server, e.g. `100 Idle Heartbeat`; code 0 when it is none. */
export function statusOf(message: Msg): { code: number; text: string } {
  try {
    return { code: message.headers?.code ?? 0, text: message.headers?.description ?? '' };
  } catch {
    return { code: 0, text: '' };
  }
}
