import { expect, test } from '@jest/globals';
import { decodeHeaders, encodeHeaders, isHeaderName, oneLine } from './nats-headers.js';

const block = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

test('what is encoded is decoded', () => {
  const headers = { 'ce-id': 'a:b/c', 'X-Ünïcode': 'dürfen', Empty: '' };
  expect(decodeHeaders(encodeHeaders(Object.entries(headers)))).toEqual(headers);
});

test('keeps the first value of a name, and names as sent', () => {
  expect(decodeHeaders(block('NATS/1.0\r\nA: 1\r\na: 2\r\nA: 3\r\n\r\n'))).toEqual({ A: '1', a: '2' });
});

test('a block without headers has none', () => {
  expect(decodeHeaders(block('NATS/1.0\r\n\r\n'))).toBeUndefined();
  expect(decodeHeaders(block('NATS/1.0 503\r\n\r\n'))).toBeUndefined();
  expect(decodeHeaders(block(''))).toBeUndefined();
});

test('reads what others may send without throwing', () => {
  const headers = decodeHeaders(
    block('NATS/1.0\r\nbad name: x\r\n: none\r\nno colon\r\n__proto__: p\r\ntail: lone\rCR\r\nlast: cut'),
  )!;
  expect(headers['bad name']).toBe('x');
  expect(Object.entries(headers)).toContainEqual(['__proto__', 'p']);
  expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
  expect(headers['tail']).toBe('lone\rCR');
  expect(headers['last']).toBe('cut');
});

test('reads many headers in no time', () => {
  const many = 'a: b\r\n'.repeat(10_000) + Array.from({ length: 50_000 }, (_, n) => `h${n}: v\r\n`).join('');
  const began = performance.now();
  expect(Object.keys(decodeHeaders(block(`NATS/1.0\r\n${many}\r\n`))!)).toHaveLength(50_001);
  expect(performance.now() - began).toBeLessThan(1_000);
});

test('knows what can be a name, and puts values on one line', () => {
  expect(['ce-id', 'a.b_c', '!#$%'].every(isHeaderName)).toBe(true);
  expect(['', 'a b', 'a:b', 'ü', 'a\r\nb'].some(isHeaderName)).toBe(false);
  expect(oneLine(' a\r\nNats-Msg-Id: b\0 ')).toBe('a Nats-Msg-Id: b');
});
