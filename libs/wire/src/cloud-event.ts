import { EVENT_ID, isRfc3339 } from './inputs/fields.js';

/** A CloudEvent 1.0 as it comes in: what the scheduler reads of it. */
export interface IncomingEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly time: string;
  readonly subject?: string;
  readonly correlationid?: string;
  readonly traceparent?: string;
  readonly data: unknown;
}

/** A CloudEvent 1.0 as it goes out. */
export interface OutgoingEvent {
  readonly specversion: '1.0';
  /** UUID version 8, lower case. */
  readonly id: string;
  /** `/vf-scheduler/<cluster>`. */
  readonly source: string;
  readonly type: string;
  readonly time: string;
  /** `vm/<vmId>`, `host/<hostId>`, `network/<id>` or `cluster/<cluster>`. */
  readonly subject: string;
  readonly datacontenttype: 'application/json';
  readonly correlationid: string;
  /** Id of the input that caused it. */
  readonly causationid: string;
  /** Position in the cluster's log: digits. */
  readonly position: string;
  /** The log's chain hash at this event. */
  readonly hash: string;
  readonly traceparent?: string;
  readonly data: unknown;
}

/** The largest payload of an input, in bytes. */
export const MAX_INPUT_BYTES = 256 * 1024;

/** Deeper nesting than any input has. */
const MAX_DEPTH = 32;
const MAX_ATTRIBUTE = 256;
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);
const utf8 = new TextDecoder('utf-8', { fatal: true });

export type EventRead = { readonly event: IncomingEvent; readonly text: string } | { readonly problem: string; readonly id?: string };

/**
 * Reads a CloudEvent from a NATS message: structured mode (one JSON object), or binary mode (`ce-` headers, the payload is `data`).
 *
 * @returns the event and its text in structured mode, as it is kept in the log; or a sentence that says what is wrong.
 */
export function readCloudEvent(payload: Uint8Array, headers?: Readonly<Record<string, string>>): EventRead {
  if (payload.length > MAX_INPUT_BYTES) {
    return { problem: `the payload has ${payload.length} bytes; an input has at most ${MAX_INPUT_BYTES}`, ...idOf(undefined, headers) };
  }
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(payload);
  } catch {
    return { problem: 'the payload is not UTF-8', ...idOf(undefined, headers) };
  }
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { problem: `the payload is not JSON: ${error instanceof Error ? error.message : ''}`, ...idOf(undefined, headers) };
  }
  const attributes = binaryAttributes(headers);
  if (attributes !== undefined) {
    if (attributes instanceof HeaderProblem) return { problem: attributes.message, ...idOf(undefined, headers) };
    value = { ...attributes, data: value };
    text = JSON.stringify(value);
  }
  const problem = problemOf(value);
  if (problem !== undefined) return { problem, ...idOf(value, headers) };
  return { event: value as IncomingEvent, text };
}

/** The id, where there is one that can be named in a dead letter. */
function idOf(value: unknown, headers?: Readonly<Record<string, string>>): { id?: string } {
  const id = typeof value === 'object' && value !== null ? (value as { id?: unknown }).id : undefined;
  if (typeof id === 'string' && EVENT_ID.test(id)) return { id };
  const header = headers?.['ce-id'];
  return header !== undefined && EVENT_ID.test(header) ? { id: header } : {};
}

class HeaderProblem {
  constructor(readonly message: string) {}
}

/** The attributes of binary mode; undefined in structured mode. */
function binaryAttributes(
  headers: Readonly<Record<string, string>> | undefined,
): Record<string, string> | HeaderProblem | undefined {
  if (headers === undefined) return undefined;
  const attributes: Record<string, string> = {};
  let found = false;
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (lower === 'content-type') attributes['datacontenttype'] = value;
    if (!lower.startsWith('ce-')) continue;
    found = true;
    const attribute = lower.slice(3);
    if (!/^[a-z0-9]+$/.test(attribute) || attribute === 'data') {
      return new HeaderProblem(`header ${JSON.stringify(name)} does not name a CloudEvents attribute`);
    }
    try {
      // The NATS binding of CloudEvents writes header values percent-encoded.
      attributes[attribute] = decodeURIComponent(value);
    } catch {
      return new HeaderProblem(`header ${name} is not percent-encoded as CloudEvents asks`);
    }
  }
  return found ? attributes : undefined;
}

function problemOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'the payload is not a JSON object';
  const event = value as Record<string, unknown>;
  if (event['specversion'] !== '1.0') return 'it is not a CloudEvent: specversion must be "1.0"';
  const { id, source, type, time } = event;
  if (typeof id !== 'string' || !EVENT_ID.test(id)) return 'id must be 1 to 128 of A-Z a-z 0-9 _ : . / -';
  if (typeof source !== 'string' || source.length === 0 || source.length > 1024) {
    return 'source must be a URI reference, 1 to 1024 characters';
  }
  if (typeof type !== 'string' || type.length === 0) return 'type must name the event';
  if (!isRfc3339(time)) return 'time must be an RFC 3339 time';
  for (const attribute of ['subject', 'correlationid', 'traceparent'] as const) {
    const text = event[attribute];
    if (text === undefined || text === null) continue;
    if (typeof text !== 'string' || text.length === 0 || text.length > MAX_ATTRIBUTE) {
      return `${attribute} must be a text of 1 to ${MAX_ATTRIBUTE} characters`;
    }
  }
  if (event['data_base64'] !== undefined) return 'data must be JSON, not data_base64';
  const content = event['datacontenttype'];
  if (content !== undefined && content !== null && !isJsonType(content)) {
    return 'datacontenttype must be application/json';
  }
  if (typeof event['data'] !== 'object' || event['data'] === null || Array.isArray(event['data'])) {
    return 'data must be an object';
  }
  return hostileKey(event['data']);
}

const isJsonType = (content: unknown): boolean =>
  typeof content === 'string' && /^application\/(?:[\w.+-]*\+)?json\s*(?:;.*)?$/i.test(content);

/** A key that would reach into prototypes, or nesting beyond any sense; looked for without recursion. */
function hostileKey(data: object): string | undefined {
  let level: object[] = [data];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return `data is nested more than ${MAX_DEPTH} deep`;
    const next: object[] = [];
    for (const object of level) {
      if (Array.isArray(object)) {
        for (const member of object) if (typeof member === 'object' && member !== null) next.push(member as object);
        continue;
      }
      for (const key of Object.keys(object)) {
        if (FORBIDDEN_KEYS.has(key)) return `data has a key ${JSON.stringify(key)}, which is refused`;
        const member = (object as Record<string, unknown>)[key];
        if (typeof member === 'object' && member !== null) next.push(member);
      }
    }
    level = next;
  }
  return undefined;
}
