import { expect, test } from '@jest/globals';
import { parseDelivery } from './nats-delivery.js';

test('reads the reply subject of a delivered message', () => {
  expect(parseDelivery('$JS.ACK.VF_IN.vf-ABC.1.1234567.89.1764000000123456789.42')).toEqual({
    streamSequence: 1_234_567,
    consumerSequence: 89,
    time: 1_764_000_000_123,
  });
});

test('reads the form with domain and account, with and without the random last token', () => {
  const expected = { streamSequence: 7, consumerSequence: 8, time: 1_764_000_000_123 };
  expect(parseDelivery('$JS.ACK.hub.ACCHASH.VF_IN.vf-ABC.1.7.8.1764000000123999999.0')).toEqual(expected);
  expect(parseDelivery('$JS.ACK.hub.ACCHASH.VF_IN.vf-ABC.1.7.8.1764000000123999999.0.rnd')).toEqual(expected);
});

test('is silent about other subjects', () => {
  expect(parseDelivery('')).toBeUndefined();
  expect(parseDelivery('_INBOX.abc.1')).toBeUndefined();
  expect(parseDelivery('$JS.ACK.VF_IN.vf-ABC.1.2.3')).toBeUndefined();
});
