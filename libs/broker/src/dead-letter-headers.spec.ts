import { expect, test } from '@jest/globals';
import type { DeadLetter } from './broker.js';
import { deadLetterHeaders, headerText } from './dead-letter-headers.js';
import { encodeHeaders } from './nats-headers.js';

const letter = (more: Partial<DeadLetter> = {}): DeadLetter => ({
  stream: '2026-01-01T00:00:00.000000001Z',
  sequence: 7,
  subject: 'vf.in.a.vm.v.T',
  reason: 'It is no JSON.',
  payload: new Uint8Array(),
  ...more,
});

const LARGE = 1024 * 1024;

test('ours come first and the original ones beside them', () => {
  expect(
    deadLetterHeaders(letter({ eventId: 'e-1', headers: { 'ce-id': 'e-1' } }), [['First', '1']], LARGE),
  ).toEqual([
    ['First', '1'],
    ['Vf-Reason', 'It is no JSON.'],
    ['Vf-Subject', 'vf.in.a.vm.v.T'],
    ['Vf-Sequence', '7'],
    ['Vf-Stream', '2026-01-01T00:00:00.000000001Z'],
    ['Vf-Event-Id', 'e-1'],
    ['ce-id', 'e-1'],
  ]);
});

test('originals that mean something to the server or to us are kept under another name', () => {
  const headers = { 'Nats-Msg-Id': 'x', 'nats-expected-last-sequence': '5', 'VF-Reason': 'forged' };
  expect(deadLetterHeaders(letter({ headers }), [], LARGE).slice(4)).toEqual([
    ['Vf-Original-Nats-Msg-Id', 'x'],
    ['Vf-Original-nats-expected-last-sequence', '5'],
    ['Vf-Original-VF-Reason', 'forged'],
  ]);
});

test('a hostile text cannot begin another header', () => {
  const hostile = 'x\r\nNats-Msg-Id: y';
  const headers = deadLetterHeaders(
    letter({ reason: hostile, subject: hostile, eventId: hostile, stream: hostile, headers: { A: hostile } }),
    [],
    LARGE,
  );
  for (const [, value] of headers) expect(value).not.toMatch(/[\r\n]/);
  expect(Buffer.from(encodeHeaders(headers)).toString().split('\r\n')).toHaveLength(headers.length + 3);
});

test('names that cannot be headers are counted, not sent', () => {
  const headers = deadLetterHeaders(
    letter({ headers: { 'bad name': 'x', 'a:b': 'x', good: 'x' } }),
    [],
    LARGE,
  );
  expect(headers.slice(4)).toEqual([
    ['good', 'x'],
    ['Vf-Headers-Dropped', '2'],
  ]);
});

test('what does not fit is dropped from the originals, and the block keeps its bound', () => {
  const many = Object.fromEntries(Array.from({ length: 9_000 }, (_, n) => [`Nats-${n}`, 'v']));
  for (const bound of [LARGE, 20_000, 2_000]) {
    const headers = deadLetterHeaders(letter({ headers: many, reason: 'ü'.repeat(5_000) }), [], bound);
    expect(encodeHeaders(headers).length).toBeLessThanOrEqual(Math.min(bound, 65_535));
    const [name, dropped] = headers.at(-1)!;
    expect(name).toBe('Vf-Headers-Dropped');
    expect(headers.length - 5 + Number(dropped)).toBe(9_000);
  }
});

test('a long text is cut between two characters', () => {
  expect(headerText('ü'.repeat(600), 1_024)).toMatch(/^ü+…$/);
  expect(Buffer.byteLength(headerText('ü'.repeat(600), 1_024))).toBeLessThanOrEqual(1_024);
  expect(headerText('short', 1_024)).toBe('short');
});
