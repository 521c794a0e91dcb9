import { describe, expect, test } from '@jest/globals';
import { MAX_INPUT_BYTES, quote, readCloudEvent, type EventRead } from './cloud-event.js';
import { bytes } from './testing/sample-inputs.js';

const ATTRIBUTES = {
  specversion: '1.0',
  id: 'id-1',
  source: '/compute/controller-1',
  type: 'VmStopped',
  time: '2026-08-01T12:00:00Z',
};
const event = (attributes: object = {}): string => JSON.stringify({ ...ATTRIBUTES, data: {}, ...attributes });
const read = (attributes: object): EventRead => readCloudEvent(bytes(event(attributes)));
const headers = (more: Record<string, string> = {}): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(ATTRIBUTES).map(([name, value]) => [`ce-${name}`, value])),
  ...more,
});

describe('structured mode', () => {
  test('gives the event and the text as it came', () => {
    const text = `\n${event({ ext: 1 })} `;
    expect(readCloudEvent(bytes(text))).toEqual({ event: { ...ATTRIBUTES, ext: 1, data: {} }, text });
  });

  test('a byte order mark is not part of the text', () => {
    expect(readCloudEvent(bytes(`\ufeff${event()}`))).toMatchObject({ text: event() });
  });

  test.each<Record<string, string>>([
    {},
    { 'Nats-Msg-Id': 'x' },
    { 'content-type': 'application/json' },
    { 'Content-Type': 'text/plain' },
  ])('headers that say nothing of the event: %j', (some) => {
    expect(readCloudEvent(bytes(event()), some)).toHaveProperty('event');
  });

  test.each([
    'application/cloudevents+json',
    'APPLICATION/CLOUDEVENTS',
    'application/cloudevents+json; charset=UTF-8',
  ])('content type %s', (type) => {
    const copies = {
      'Content-Type': type,
      'CE-ID': 'id-1',
      'ce-source': '/compute/controller%2D1',
      'ce-ext': 'x',
    };
    expect(readCloudEvent(bytes(event()), copies)).toMatchObject({ event: ATTRIBUTES, text: event() });
  });

  test.each([
    'application/json',
    'application/json;charset=utf-8',
    'application/cloudevents+json',
    'APPLICATION/X+JSON',
    null,
  ])('datacontenttype %s', (datacontenttype) => {
    expect(read({ datacontenttype })).toHaveProperty('event');
  });

  test.each([
    '2026-08-01T12:00:00Z',
    '2026-08-01t12:00:00z',
    '2026-08-01T12:00:00.1+05:30',
    '2024-02-29T00:00:00.123456789-12:00',
    '2000-02-29T00:00:00Z',
    '2016-12-31T23:59:60Z',
    '0001-01-01T00:00:00Z',
    '9999-12-31T23:59:59.999999999999Z',
  ])('time %s', (time) => {
    expect(read({ time })).toHaveProperty('event');
  });

  test.each(['1900-02-29T00:00:00Z', '2026-06-31T00:00:00Z', '2026-8-1T00:00:00Z', '-001-01-01T00:00:00Z'])(
    'no time: %s',
    (time) => {
      expect(read({ time })).toEqual({ problem: 'time must be an RFC 3339 time', id: 'id-1' });
    },
  );

  test('every sign that an id may have', () => {
    const id = 'AZaz09_:./-';
    expect(read({ id })).toMatchObject({ event: { id } });
  });

  test('attributes may be in any script', () => {
    const correlationid = 'Auftrag № 7 🛑';
    expect(read({ correlationid, source: '/münchen/计算' })).toMatchObject({ event: { correlationid } });
  });
});

describe('binary mode', () => {
  test('headers are attributes, decoded; the payload is data', () => {
    const { event: result, text } = readCloudEvent(
      bytes('{"vmId":"vm-1"}'),
      headers({
        'CE-Subject': 'vm%2Fvm-1',
        'ce-ext': '%C3%BC%20%25',
        'content-type': 'application/json',
        other: 'x',
      }),
    ) as Extract<EventRead, { text: string }>;
    const expected = {
      ...ATTRIBUTES,
      subject: 'vm/vm-1',
      ext: 'ü %',
      datacontenttype: 'application/json',
      data: { vmId: 'vm-1' },
    };
    expect(result).toEqual(expected);
    expect(JSON.parse(text)).toEqual(expected);
  });

  test('one ce- header makes it binary mode', () => {
    expect(readCloudEvent(bytes('{}'), { 'ce-id': 'id-1' })).toEqual({
      problem: 'it is not a CloudEvent: specversion must be "1.0"',
      id: 'id-1',
    });
  });

  test('the payload stays as it was sent, in the limits of an input', () => {
    const payload = `{"a":[${'1E20,'.repeat(50_000)}0]}`;
    const { text } = readCloudEvent(bytes(payload), headers()) as { text: string };
    expect(text.endsWith(`,"data":${payload}}`)).toBe(true);
    expect(text.length).toBeLessThan(MAX_INPUT_BYTES);
  });

  test('names that objects have are names like others', () => {
    const { event: result } = readCloudEvent(
      bytes('{}'),
      headers({ 'ce-constructor': 'x', 'ce-tostring': 'y', 'ce-hasownproperty': 'z' }),
    ) as { event: object };
    expect(Object.hasOwn(result, 'constructor')).toBe(true);
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
  });

  test('the id is named as it is meant', () => {
    const broken = { ...headers({ 'CE-Time': 'never' }), 'ce-time': 'never' };
    expect(readCloudEvent(bytes('{}'), { 'Ce-Id': 'a%2Fb' })).toMatchObject({ id: 'a/b' });
    expect(readCloudEvent(bytes('{'), { 'Ce-Id': 'a%2Fb' })).toMatchObject({ id: 'a/b' });
    expect(readCloudEvent(bytes('{}'), broken)).toMatchObject({ id: 'id-1' });
    expect(readCloudEvent(bytes('{}'), { 'ce-id': 'not an id' })).not.toHaveProperty('id');
  });
});

describe('the size', () => {
  const sized = (size: number): Uint8Array =>
    bytes(
      event({ x: '' })
        .replace('"x":""', `"x":"${'ö'.repeat(8)}"`)
        .padEnd(size - 8),
    );

  test('is counted in bytes', () => {
    expect(sized(MAX_INPUT_BYTES)).toHaveLength(MAX_INPUT_BYTES);
    expect(readCloudEvent(sized(MAX_INPUT_BYTES))).toHaveProperty('event');
    expect(readCloudEvent(sized(MAX_INPUT_BYTES + 1))).toEqual({
      problem: 'the payload has 262145 bytes; an input has at most 262144',
    });
    expect(readCloudEvent(sized(MAX_INPUT_BYTES + 1), headers())).toMatchObject({ id: 'id-1' });
  });

  test('in binary mode it is the payload’s', () => {
    const payload = bytes('{}'.padEnd(MAX_INPUT_BYTES));
    const large = headers({ 'ce-ext': 'x'.repeat(60_000) });
    expect(readCloudEvent(payload, large)).toHaveProperty('event');
    expect(readCloudEvent(payload, { ...large, 'ce-ext2': 'x'.repeat(6000) })).toMatchObject({
      problem: 'the ce- headers have more than 65536 characters',
      id: 'id-1',
    });
  });
});

test('what was sent is quoted on one line, and not at length', () => {
  expect(quote('a"\n\u0000')).toBe(String.raw`"a\"\n\u0000"`);
  expect(quote('\ud800')).toBe(String.raw`"\ud800"`);
  expect(quote('x'.repeat(1000))).toHaveLength(131);
});
