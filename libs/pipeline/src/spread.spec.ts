import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Fleet } from '#broker';
import { hesitation, nextMove } from './spread.js';

/** A fleet by who leads what; everybody could lead everything, unless said otherwise. */
function fleetOf(leads: Record<string, string[]>, ready: Record<string, string[]> = {}): Fleet {
  const clusters = Object.values(leads).flat();
  return {
    members: new Map(Object.keys(leads).map((name) => [name, new Set(ready[name] ?? clusters)])),
    holders: new Map(Object.entries(leads).flatMap(([name, led]) => led.map((cluster) => [cluster, name]))),
    logs: new Map(),
  };
}

/** Makes the moves until none is left. */
function settle(fleet: Fleet): { readonly counts: readonly number[]; readonly moves: number } {
  const holders = new Map(fleet.holders);
  let moves = 0;
  for (;;) {
    const move = nextMove({ ...fleet, holders });
    if (move === undefined) break;
    expect(holders.get(move.cluster)).toBe(move.from);
    holders.set(move.cluster, move.to);
    moves++;
  }
  const counts = [...fleet.members.keys()].map(
    (name) => [...holders.values()].filter((holder) => holder === name).length,
  );
  return { counts, moves };
}

describe('the spread of clusters over instances', () => {
  it('six clusters of one instance end 2/2/2 when two others come, in four moves', () => {
    const six = ['a', 'b', 'c', 'd', 'e', 'f'];
    expect(settle(fleetOf({ one: six, two: [], three: [] }))).toEqual({ counts: [2, 2, 2], moves: 4 });
  });

  it('nothing moves when the difference is one, nor alone', () => {
    expect(nextMove(fleetOf({ one: ['a', 'b'], two: ['c'], three: ['d'] }))).toBeUndefined();
    expect(nextMove(fleetOf({ one: ['a', 'b', 'c'] }))).toBeUndefined();
    expect(nextMove(fleetOf({}))).toBeUndefined();
  });

  it('nothing moves while a cluster has no leader, or one who is gone', () => {
    const all = ['a', 'b', 'c', 'd'];
    const fleet = fleetOf({ one: ['a', 'b', 'c'], two: [] }, { one: all, two: all });
    expect(nextMove(fleet)).toEqual({ cluster: 'a', from: 'one', to: 'two' });
    expect(nextMove({ ...fleet, holders: new Map([...fleet.holders, ['d', undefined]]) })).toBeUndefined();
    expect(nextMove({ ...fleet, holders: new Map([...fleet.holders, ['d', 'gone']]) })).toBeUndefined();
    // A key that nobody waits for is a stranger's, and keeps nothing from moving.
    expect(nextMove({ ...fleet, holders: new Map([...fleet.holders, ['e', 'nobody']]) })).toBeDefined();
  });

  it('only a cluster that the other could lead at once moves', () => {
    const leads = { one: ['a', 'b', 'c'], two: [] };
    expect(nextMove(fleetOf(leads, { two: ['c', 'x'] }))).toEqual({ cluster: 'c', from: 'one', to: 'two' });
    expect(nextMove(fleetOf(leads, { two: [] }))).toBeUndefined();
  });

  it('any fleet comes to rest with a difference of one at most, whoever began with how many', () => {
    const sizes = fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, (begin) => {
        const leads = Object.fromEntries(
          begin.map((size, index) => [`i${index}`, Array.from({ length: size }, (_, n) => `c${index}-${n}`)]),
        );
        const { counts, moves } = settle(fleetOf(leads));
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
        expect(counts.reduce((sum, count) => sum + count)).toBe(begin.reduce((sum, size) => sum + size));
        // No cluster moves for nothing.
        const share = Math.floor(begin.reduce((sum, size) => sum + size) / begin.length);
        expect(moves).toBeLessThanOrEqual(begin.reduce((sum, size) => sum + Math.max(0, size - share), 0));
      }),
    );
  });

  it('who leads more leaves a free cluster longer to who leads less, and never for long', () => {
    const fleet = fleetOf({ one: ['a', 'b', 'c', 'd', 'e'], two: ['f'], three: [] }, { three: ['f'] });
    expect(hesitation(fleet, 'two', 'x', 1)).toBe(0);
    expect(hesitation(fleet, 'two', 'f', 1)).toBe(200);
    expect(hesitation(fleet, 'one', 'f', 5)).toBe(600);
    expect(hesitation(fleetOf({}), 'one', 'a', 3)).toBe(0);
  });
});
