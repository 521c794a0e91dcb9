import { describe, expect, test } from '@jest/globals';
import { readNatsAddress, withoutLogin } from './nats-address.js';

describe('the address of NATS', () => {
  test.each([
    ['nats://h:4222', ['nats://h:4222'], undefined],
    ['nats://u:p@h:4222', ['nats://h:4222'], { user: 'u', pass: 'p' }],
    ['u:p@h', ['h'], { user: 'u', pass: 'p' }],
    ['nats://t0ken@h', ['nats://h'], { token: 't0ken' }],
    ['tls://u:p%40ss%3Aw%2Frd%25@[::1]:4222', ['tls://[::1]:4222'], { user: 'u', pass: 'p@ss:w/rd%' }],
    ['nats://u:a:b@h', ['nats://h'], { user: 'u', pass: 'a:b' }],
    ['nats://u:a@b@h', ['nats://h'], { user: 'u', pass: 'a@b' }],
    ['nats://u:@h', ['nats://h'], { user: 'u', pass: '' }],
    [
      'nats://u:p@a:1, nats://u:p@b:2,nats://c:3',
      ['nats://a:1', 'nats://b:2', 'nats://c:3'],
      { user: 'u', pass: 'p' },
    ],
  ])('%s', (url, servers, login) => {
    expect(readNatsAddress(url)).toEqual({ servers, ...(login && { login }) });
  });

  test.each([
    ['nats://u:s3cret@a,nats://u:0ther@b', /different users or passwords/],
    ['nats://u:s3cret%zz@a', /not percent-encoded/],
  ])('%s is refused, without its password', (url, sentence) => {
    expect(() => readNatsAddress(url)).toThrow(sentence);
    expect(() => readNatsAddress(url)).not.toThrow(/s3cret|0ther/);
  });

  test('nothing that stands before the @ is shown', () => {
    expect(withoutLogin('wss://u:p@h/path@x')).toBe('wss://h/path@x');
    expect(withoutLogin('h:4222')).toBe('h:4222');
    expect(withoutLogin('nats://u:p@a:1, u:p@b')).toBe('nats://a:1,b');
  });
});
