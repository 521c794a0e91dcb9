import { describe, expect, test } from '@jest/globals';
import { failureOf, logErrorOf, NoAnswer, Replaced } from './failures.js';

const error = (message: string, facts: object = {}): Error => Object.assign(new Error(message), facts);

describe('the shapes in which the client tells of one trouble', () => {
  test.each([
    [
      'a closed port, on an append',
      error('14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED', { code: 14 }),
      'UNAVAILABLE',
    ],
    ['a closed port, on a read', error('client error (Connect)', { type: 'unavailable' }), 'UNAVAILABLE'],
    ['discovery', error('Failed to discover after 10 attempts.'), 'UNAVAILABLE'],
    [
      'discovery, on a read',
      error('Max discovery attempt count reached. count: 10', { type: 'unavailable' }),
      'UNAVAILABLE',
    ],
    [
      'not the leader',
      error('5 NOT_FOUND: Leader info available.', { type: 'not-leader', code: 5 }),
      'UNAVAILABLE',
    ],
    [
      'too busy, in a batch append',
      error('Could not recognize Server Is Busy', { type: 'unknown' }),
      'UNAVAILABLE',
    ],
    [
      'too busy, in an append',
      error('14 UNAVAILABLE: Server Is Too Busy', { type: 'unavailable', code: 14 }),
      'UNAVAILABLE',
    ],
    ['not ready', error('Could not recognize Server Is Not Ready', { type: 'unknown' }), 'UNAVAILABLE'],
    [
      'a connection that broke',
      error('14 UNAVAILABLE: Connection dropped', { type: 'unavailable', code: 14 }),
      'OUTCOME_UNKNOWN',
    ],
    ['a plain error with a code', error('13 INTERNAL: Received RST_STREAM', { code: 13 }), 'OUTCOME_UNKNOWN'],
    [
      'too many requests',
      error('8 RESOURCE_EXHAUSTED: later', { code: 8, type: 'unknown' }),
      'OUTCOME_UNKNOWN',
    ],
    ['cancelled', error('1 CANCELLED', { type: 'cancelled', code: 1 }), 'OUTCOME_UNKNOWN'],
    [
      'a time-out of the server',
      error('10 ABORTED: Operation timed out', { type: 'timeout', code: 10 }),
      'OUTCOME_UNKNOWN',
    ],
    ['a deadline', error('', { type: 'deadline-exceeded' }), 'OUTCOME_UNKNOWN'],
    ['unknown', error('', { type: 'unknown' }), 'OUTCOME_UNKNOWN'],
    ['no answer', new NoAnswer(5000), 'OUTCOME_UNKNOWN'],
    [
      'a defect of the client',
      new TypeError("Cannot read properties of undefined (reading 'toString')"),
      'OUTCOME_UNKNOWN',
    ],
    ['no room', error('Could not recognize No space left on device', { type: 'unknown' }), 'FULL'],
    ['denied', error('', { type: 'access-denied' }), 'NOT_ALLOWED'],
    ['denied, a plain error', error('7 PERMISSION_DENIED: Access Denied', { code: 7 }), 'NOT_ALLOWED'],
    ['not known', error('16 UNAUTHENTICATED', { code: 16 }), 'NOT_ALLOWED'],
    ['too large', error('', { type: 'maximum-append-size-exceeded', maxAppendSize: 1 }), 'NOT_ALLOWED'],
    ['a bad request', error('Could not recognize BadRequest', { type: 'unknown' }), 'NOT_ALLOWED'],
    ['deleted for good', error('', { type: 'stream-deleted' }), 'CORRUPT'],
  ])('%s', (_what, thrown, code) => {
    const failure = failureOf(thrown);
    const told = logErrorOf(failure, 'kurrentdb://a', "append to the log of 'c1'", {
      cause: thrown,
      maybeIn: failure.maybeIn,
    });
    expect(told).toMatchObject({ name: 'LogError', code, cause: thrown });
    expect(told.message).toMatch(/kurrentdb:\/\/a .*append to the log of 'c1'/);
    expect(told.message).not.toContain('()');
  });

  test('a wrong version, whose message is empty, is one', () => {
    expect(failureOf(error('', { type: 'wrong-expected-version' })).what).toBe('wrong-position');
  });

  test('a client that did not answer, or has given the server up, is replaced; one that passed an answer on is not', () => {
    const connection = (thrown: Error): string => failureOf(thrown).connection;
    expect(connection(new NoAnswer(1))).toBe('broken');
    expect(connection(new Replaced())).toBe('broken');
    expect(connection(error('8 RESOURCE_EXHAUSTED', { code: 8 }))).toBe('broken');
    expect(connection(error('', { type: 'unavailable' }))).toBe('broken');
    expect(connection(error('Server Is Too Busy', { type: 'unknown' }))).toBe('fine');
    expect(connection(error('', { type: 'not-leader' }))).toBe('not-leader');
    expect(connection(error('5 NOT_FOUND: Leader info available', { code: 5 }))).toBe('not-leader');
  });
});
