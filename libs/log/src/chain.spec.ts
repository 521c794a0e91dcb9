import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { chainHash, checkLink, emptyHead, eventId, sealRecord, type Head } from './chain.js';

const sha256 = (text: string): string => createHash('sha256').update(Buffer.from(text, 'utf8')).digest('hex');

describe('the hash chain', () => {
  test('an empty log has position 0 and a hash made from its name', () => {
    expect(emptyHead('c1')).toEqual({ position: 0, hash: sha256('vf-scheduler log 1 c1') });
    // Written down, so that a change of the algorithm, which would end every log there is, is noticed.
    expect(emptyHead('c1').hash).toBe('8dcae4903271660fbe79a793104a6d5c4c4b63d8fe0b6c8589bd57b23f81522b');
  });

  test('a hash is SHA-256 over the previous hash, the body and the input, each on a line', () => {
    const previous = 'a'.repeat(64);
    expect(chainHash(previous, '{"n":"ä😀"}')).toBe(sha256(`${previous}\n{"n":"ä😀"}`));
    expect(chainHash(previous, '{}', '{"in":\n1}')).toBe(sha256(`${previous}\n{}\n{"in":\n1}`));
    expect(chainHash(previous, '{}', '')).not.toBe(chainHash(previous, '{}'));
  });

  test('an id is a UUID version 8, variant 1, from the first 128 bits of the hash', () => {
    expect(eventId('0123456789abcdef0123456789abcdef' + 'f'.repeat(32))).toBe(
      '01234567-89ab-8def-8123-456789abcdef',
    );
    const hashes = Array.from({ length: 256 }, (_, n) => sha256(String(n)));
    for (const hash of hashes) {
      expect(eventId(hash)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
    expect(new Set(hashes.map(eventId)).size).toBe(256);
  });

  test('a sealed record is the next link, and its head is its own place', () => {
    const head = emptyHead('c1');
    const first = sealRecord(head, '{"n":1}', '{"in":1}');
    expect(first).toStrictEqual({
      position: 1,
      id: eventId(first.hash),
      hash: sha256(`${head.hash}\n{"n":1}\n{"in":1}`),
      body: '{"n":1}',
      input: '{"in":1}',
    });
    const second = sealRecord({ position: 1, hash: first.hash }, '{"n":2}');
    expect(Object.keys(second)).not.toContain('input');
    expect(checkLink('c1', checkLink('c1', head, first), second)).toEqual({ position: 2, hash: second.hash });
  });

  test('the same events in another stream have other ids', () => {
    expect(sealRecord(emptyHead('c1'), '{}').id).not.toBe(sealRecord(emptyHead('c2'), '{}').id);
  });

  describe('a record that is not the next link is CORRUPT, with its position and what does not fit', () => {
    const head: Head = { position: 6, hash: sha256('six') };
    const good = sealRecord(head, '{"n":7}', '{"in":7}');
    test.each([
      ['another position', { ...good, position: 8 }, /says position 8/],
      ['another body', { ...good, body: '{"n":0}' }, /bytes hash to [0-9a-f]{64}/],
      ['another input', { ...good, input: '{}' }, /bytes hash to/],
      ['no input', { ...good, input: undefined }, /bytes hash to/],
      ['another hash', { ...good, hash: sha256('x') }, /the record says/],
      ['another id', { ...good, id: eventId(sha256('x')) }, /its id .* is not made from its hash/],
    ])('%s', (_what, record, sentence) => {
      expect(() => checkLink('c1', head, record)).toThrow(
        expect.objectContaining({
          name: 'LogError',
          code: 'CORRUPT',
          position: 7,
          message: expect.stringMatching(sentence) as unknown as string,
        }) as unknown as Error,
      );
    });

    test('another record before it', () => {
      expect(() => checkLink('c1', { ...head, hash: sha256('5') }, good)).toThrow(
        /'c1' is damaged at position 7/,
      );
    });
  });
});
