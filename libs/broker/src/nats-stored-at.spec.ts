import { expect, test } from '@jest/globals';
import { storedAt } from './nats-stored-at.js';

test('an acknowledgement of VF_IN says where the input is', () => {
  expect(storedAt({ stream: 'VF_IN', domain: '', seq: 7, duplicate: false })).toBe(7);
});

test.each([
  ['of a duplicate', { stream: 'VF_IN', domain: '', seq: 7, duplicate: true }],
  ['of another stream', { stream: 'THEIRS', domain: '', seq: 7, duplicate: false }],
  ['of no sequence', { stream: 'VF_IN', domain: '', seq: 0, duplicate: false }],
])('one %s is none: the input is published again', (_, ack) => {
  expect(() => storedAt(ack)).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }));
});
