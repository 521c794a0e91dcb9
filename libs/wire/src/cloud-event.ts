import { EVENT_ID } from './formats.js';
import { isAttributeText, isRfc3339, MAX_DEPTH } from './inputs/fields.js';

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

/** The most that the `ce-` headers of one event may hold, names and values, in characters. */
const MAX_HEADERS = 64 * 1024;
const MAX_ATTRIBUTE = 256;
const MAX_SOURCE = 1024;
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);
const utf8 = new TextDecoder('utf-8', { fatal: true });

export type EventRead =
  | { readonly event: IncomingEvent; readonly text: string }
  | { readonly problem: string; readonly id?: string };

type Headers = Readonly<Record<string, string>>;

/**
 * Reads a CloudEvent from a NATS message: structured mode (one JSON object), or binary mode (`ce-` headers,
 * the payload is `data`).
 *
 * @returns the event and its text in structured mode, as it is kept in the log; or a sentence that says what
 *   is wrong.
 */
export function readCloudEvent(payload: Uint8Array, headers?: Headers): EventRead {
  const ce = readHeaders(headers);
  const unreadable = (problem: string, event?: unknown): EventRead => ({
    problem,
    ...idOf(event, ce.attributes),
  });
  if (payload.length > MAX_INPUT_BYTES) {
    return unreadable(`the payload has ${payload.length} bytes; an input has at most ${MAX_INPUT_BYTES}`);
  }
  if (ce.problem !== undefined) return unreadable(ce.problem);
  if (payload.length === 0) return unreadable('the payload is empty; an event is JSON');
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(payload);
  } catch {
    return unreadable('the payload is not UTF-8');
  }
  try {
    value = JSON.parse(text);
  } catch (error) {
    return unreadable(
      `the payload is not JSON: ${oneLine(error instanceof Error ? error.message : String(error))}`,
    );
  }
  let event = value;
  if (ce.mode === 'binary') {
    if (isObject(value) && Object.hasOwn(value, 'specversion')) {
      return unreadable(
        'the ce- headers and the payload are an event each: it is either binary or structured mode',
      );
    }
    event = { ...ce.attributes, data: value };
    // The payload stays as it was sent: written again, numbers such as 1E20 would grow.
    text = `${JSON.stringify(ce.attributes).slice(0, -1)},"data":${text}}`;
  }
  const problem = problemOf(event) ?? disagreement(event as Record<string, unknown>, ce);
  return problem === undefined ? { event: event as IncomingEvent, text } : unreadable(problem, event);
}

/** The id, where there is one that can be named in a dead letter. */
function idOf(event: unknown, attributes: Headers | undefined): { id?: string } {
  for (const id of [isObject(event) ? event['id'] : undefined, attributes?.['id']]) {
    if (typeof id === 'string' && EVENT_ID.test(id)) return { id };
  }
  return {};
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A sentence of somebody else, in which what was sent may be quoted. */
// oxlint-disable-next-line no-control-regex
const oneLine = (sentence: string): string => sentence.replace(/[\u0000-\u001f\u007f]+/g, ' ');

/** What the headers say of the event. */
interface HeadersRead {
  readonly mode: 'structured' | 'binary';
  /** Of binary mode; in structured mode copies, for those who route. */
  readonly attributes?: Headers;
  readonly problem?: string;
}

const NO_HEADERS: HeadersRead = { mode: 'structured' };
const CONTENT_TYPE = 'content-type';
const CLOUD_EVENTS = /^application\/cloudevents/i;
const ONE_CLOUD_EVENT = /^application\/cloudevents(?:\+json)?\s*(?:;|$)/i;

/** Binary mode has `ce-` headers, unless the content type says that the payload is the whole event. */
function readHeaders(headers: Headers | undefined): HeadersRead {
  if (headers === undefined) return NO_HEADERS;
  const attributes: Record<string, string> = {};
  let contentType: string | undefined;
  let problem: string | undefined;
  let size = 0;
  let found = false;
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (lower === CONTENT_TYPE) contentType = headers[name];
    if (!lower.startsWith('ce-')) continue;
    found = true;
    const value = headers[name] as string;
    size += name.length + value.length;
    if (size > MAX_HEADERS) {
      problem ??= `the ce- headers have more than ${MAX_HEADERS} characters`;
      break;
    }
    problem ??= takeAttribute(attributes, name, lower.slice(3), value);
  }
  if (contentType !== undefined && CLOUD_EVENTS.test(contentType)) {
    if (!ONE_CLOUD_EVENT.test(contentType)) {
      problem ??= `content type ${quote(contentType)} is not read; one event is application/cloudevents+json`;
    }
    return { mode: 'structured', attributes, problem };
  }
  if (!found) return NO_HEADERS;
  if (contentType !== undefined) {
    if (!isJsonType(contentType)) problem ??= `content type ${quote(contentType)} is not application/json`;
    attributes['datacontenttype'] ??= contentType;
  }
  return { mode: 'binary', attributes, problem };
}

/** @returns what is wrong with the header. */
function takeAttribute(
  attributes: Record<string, string>,
  name: string,
  attribute: string,
  value: string,
): string | undefined {
  if (!/^[a-z0-9]+$/.test(attribute) || attribute === 'data') {
    return `header ${quote(name)} does not name a CloudEvents attribute`;
  }
  if (Object.hasOwn(attributes, attribute)) return `header ${quote(name)} is there twice`;
  try {
    // The NATS binding of CloudEvents writes header values percent-encoded.
    attributes[attribute] = decodeURIComponent(value);
  } catch {
    return `header ${quote(name)} is not percent-encoded as CloudEvents asks`;
  }
  return undefined;
}

/** Text that was sent, in a sentence: one line, and no longer than it helps. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text);

/** In structured mode headers may repeat attributes, for those who route; they are then the same. */
function disagreement(event: Record<string, unknown>, { mode, attributes }: HeadersRead): string | undefined {
  if (mode === 'binary' || attributes === undefined) return undefined;
  for (const [attribute, value] of Object.entries(attributes)) {
    const said = Object.hasOwn(event, attribute) ? event[attribute] : undefined;
    if (typeof said === 'string' && said !== value) {
      return `header ce-${attribute} says ${quote(value)}, the event in the payload ${quote(said)}`;
    }
  }
  return undefined;
}

function problemOf(event: unknown): string | undefined {
  if (!isObject(event)) return 'the payload is not a JSON object';
  if (Object.hasOwn(event, '__proto__')) return 'the event has an attribute "__proto__", which is refused';
  if (event['specversion'] !== '1.0') return 'it is not a CloudEvent: specversion must be "1.0"';
  const { id, source, type, time, data, datacontenttype } = event;
  if (typeof id !== 'string' || !EVENT_ID.test(id)) return 'id must be 1 to 128 of A-Z a-z 0-9 _ : . / -';
  if (!isAttribute(source, MAX_SOURCE)) {
    return `source must be a URI reference, 1 to ${MAX_SOURCE} characters, without control characters`;
  }
  if (typeof type !== 'string' || type.length === 0) return 'type must name the event';
  if (!isRfc3339(time)) return 'time must be an RFC 3339 time';
  for (const attribute of OPTIONAL_ATTRIBUTES) {
    const text = event[attribute];
    if (text !== undefined && text !== null && !isAttribute(text, MAX_ATTRIBUTE)) {
      return `${attribute} must be a text of 1 to ${MAX_ATTRIBUTE} characters, without control characters`;
    }
  }
  if (event['data_base64'] !== undefined && event['data_base64'] !== null)
    return 'data must be JSON, not data_base64';
  if (datacontenttype !== undefined && datacontenttype !== null && !isJsonType(datacontenttype)) {
    return 'datacontenttype must be application/json';
  }
  return isObject(data) ? hostileKey(data) : 'data must be an object';
}

const OPTIONAL_ATTRIBUTES = ['subject', 'correlationid', 'traceparent'] as const;

const isAttribute = (value: unknown, max: number): boolean =>
  typeof value === 'string' && value.length > 0 && value.length <= max && isAttributeText(value);

const isJsonType = (content: unknown): boolean =>
  typeof content === 'string' && /^application\/(?:[\w.+-]*\+)?json\s*(?:;.*)?$/i.test(content);

/** A key that would reach into prototypes, or nesting beyond any sense. */
function hostileKey(data: object, depth = 0): string | undefined {
  if (depth > MAX_DEPTH) return `data is nested more than ${MAX_DEPTH} deep`;
  if (Array.isArray(data)) {
    for (const member of data as readonly unknown[]) {
      const found = typeof member === 'object' && member !== null ? hostileKey(member, depth + 1) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }
  // Of what JSON.parse made: every key is the object's own.
  for (const key in data) {
    if (FORBIDDEN_KEYS.has(key)) return `data has a key ${JSON.stringify(key)}, which is refused`;
    const member = (data as Record<string, unknown>)[key];
    const found = typeof member === 'object' && member !== null ? hostileKey(member, depth + 1) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
