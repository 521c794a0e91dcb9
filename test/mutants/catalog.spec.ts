import { describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { GROUPS } from './catalog.js';
import type { Mutant } from './mutant.js';
import { plant, StaleMutant } from './plant.js';

const ROOT = join(import.meta.dirname, '../..');
const mutants = GROUPS.flatMap((group) => group.mutants);

describe('the mutants', () => {
  test.each(mutants.map((mutant) => [mutant.name, mutant] as const))('%s can be planted', (_name, mutant) => {
    expect(plant(ROOT, mutant)).toContain(mutant.replace);
    expect(mutant.replace).not.toBe(mutant.find);
  });

  test('have names of their own', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
    expect(mutants.length).toBeGreaterThanOrEqual(25);
  });

  test('one that is stale says what to do', () => {
    const stale: Mutant = { ...mutants[0]!, find: 'what no file says' };
    expect(() => plant(ROOT, stale)).toThrow(StaleMutant);
    expect(() => plant(ROOT, stale)).toThrow(/stale: "what no file says" is 0 times .*catalog\.ts/);
    expect(() => plant(ROOT, { ...stale, find: 'quota' })).toThrow(/\d+ times/);
  });
});
