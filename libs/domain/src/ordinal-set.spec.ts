import { describe, expect, test } from '@jest/globals';
import { OrdinalSet } from './ordinal-set.js';

const of = (...members: readonly number[]): OrdinalSet => {
  const set = new OrdinalSet();
  for (const member of members) set.add(member);
  return set;
};

describe('an ordinal set', () => {
  test('empty, it has nothing', () => {
    const set = of();
    expect([set.size, set.next(), set.next(5000), set.pick(3, 10), set.has(0)]).toEqual([
      0,
      -1,
      -1,
      -1,
      false,
    ]);
    set.delete(7);
    expect([...set]).toEqual([]);
  });

  test('gives its members in order, across words and summaries', () => {
    const members = [0, 1, 31, 32, 33, 63, 64, 1023, 1024, 1055, 2047, 2048, 33_000, 99_999];
    const set = of(...[...members].reverse());
    expect([...set]).toEqual(members);
    expect(set.size).toBe(members.length);
    for (let from = 0; from < 2100; from++)
      expect(set.next(from)).toBe(members.find((member) => member >= from));
    expect(set.next(100_000)).toBe(-1);
  });

  test('adding and deleting twice is once', () => {
    const set = of(5, 5, 31, 31);
    expect(set.size).toBe(2);
    set.delete(5);
    set.delete(5);
    expect([set.size, set.has(5), set.next()]).toEqual([1, false, 31]);
    set.delete(31);
    expect([set.size, set.next()]).toEqual([0, -1]);
    set.add(31);
    expect(set.next()).toBe(31);
    set.clear();
    expect([set.size, set.has(31), set.next()]).toEqual([0, false, -1]);
  });

  test('is as a sorted list of numbers would be, after any history', () => {
    const set = new OrdinalSet();
    const list = new Set<number>();
    let seed = 12345;
    for (let i = 0; i < 20_000; i++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      const member = (seed >>> 8) % 3000;
      if (seed % 3 === 0) {
        set.delete(member);
        list.delete(member);
      } else {
        set.add(member);
        list.add(member);
      }
    }
    const sorted = [...list].sort((a, b) => a - b);
    expect([...set]).toEqual(sorted);
    expect(set.size).toBe(sorted.length);
  });

  test('a pick depends on the seed alone', () => {
    const set = of(3, 8, 9);
    expect([0, 3, 4, 8, 9, 10, 2 ** 52].map((seed) => set.pick(seed, 10))).toEqual([3, 3, 8, 8, 9, 3, 8]);
    set.add(50);
    set.delete(50);
    expect(set.pick(4, 10)).toBe(8);
  });
});
