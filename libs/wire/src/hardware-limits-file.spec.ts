import { describe, expect, test } from '@jest/globals';
import { readHardwareLimits } from './hardware-limits-file.js';

const LIMITS = [
  { match: 'X710', onSplit: 'old firmware', guests: { match: ['freebsd'], warning: 'lose link' } },
  { match: 'mlx5' },
];

describe("an operator's file of hardware limits", () => {
  test('is a list', () => {
    expect(readHardwareLimits(JSON.stringify(LIMITS))).toEqual(LIMITS);
    expect(readHardwareLimits('[]')).toEqual([]);
  });

  test.each([
    ['{', /^it is not JSON: /],
    ['{}', /^it must be a list$/],
    ['[1]', /^the list must be a list of at most 100 objects$/],
    ['[{}]', /^the list\[0\]\.match must be a text .*missing/],
    ['[{"match":"a"},{"match":""}]', /^the list\[1\]\.match must be a text/],
    ['[{"match":"a","guests":{"match":["x"]}}]', /^the list\[0\]\.guests\.warning must be a text/],
    [
      '[{"match":"a","guests":{"match":[1],"warning":"w"}}]',
      /^the list\[0\]\.guests\.match\[0\] must be a text/,
    ],
    ['[{"match":"a","onsplit":"b"}]', /^the list\[0\] has an unknown field 'onsplit'$/],
    ['[{"match":"a","guests":{"match":[],"warning":"w","warn":1}}]', /unknown field 'warn'/],
    [JSON.stringify(Array.from({ length: 101 }, () => ({ match: 'a' }))), /at most 100/],
  ])('%s is refused, and what is wrong is named', (text, problem) => {
    expect(readHardwareLimits(text)).toEqual({ problem: expect.stringMatching(problem) as unknown });
  });
});
