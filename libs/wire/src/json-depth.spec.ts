import { describe, expect, test } from '@jest/globals';
import { MAX_REQUEST_DEPTH, tooDeep } from './json-depth.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const nested = (levels: number, [open, close]: readonly [string, string], inside = ''): string =>
  open.repeat(levels) + inside + close.repeat(levels);

describe('JSON that is nested too deep', () => {
  test.each([
    ['lists', ['[', ']']],
    ['objects', ['{"a":', '}']],
  ] as const)('%s: as deep as may be is taken, one more is not', (_, around) => {
    expect(tooDeep(bytes(nested(MAX_REQUEST_DEPTH, around, '1')))).toBeUndefined();
    expect(tooDeep(bytes(nested(MAX_REQUEST_DEPTH + 1, around, '1')))).toMatch(/nested more than 40 deep/);
    expect(tooDeep(bytes(nested(1_000_000, around, '1')))).toBeDefined();
  });

  test('brackets in texts do not count, and those behind them do', () => {
    const text = JSON.stringify('[{'.repeat(500));
    expect(tooDeep(bytes(`{"reason":${text}}`))).toBeUndefined();
    expect(tooDeep(bytes(String.raw`{"a":"\"[[\\","b":[${text},${text}]}`))).toBeUndefined();
    expect(tooDeep(bytes(String.raw`["\\",${nested(50, ['[', ']'])}]`))).toBeDefined();
    expect(tooDeep(bytes(`["\\"]${'['.repeat(500)}"]`))).toBeUndefined();
  });

  test('many beside each other are not deep', () => {
    expect(tooDeep(bytes(`[${'[],'.repeat(10_000)}{}]`))).toBeUndefined();
    expect(tooDeep(bytes(''))).toBeUndefined();
  });
});
