import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mutant } from './mutant.js';

/** A mutant whose text is not in its file any more, or is in it twice. */
export class StaleMutant extends Error {
  override readonly name = 'StaleMutant';

  constructor(mutant: Mutant, found: number) {
    super(
      `mutant '${mutant.name}' is stale: ${JSON.stringify(mutant.find)} is ${found} times in ${mutant.file}, and must be there ` +
        'exactly once; say in test/mutants/catalog.ts how the same defect is planted now, or take it out with the rule',
    );
  }
}

/** @returns the text of the mutant's file with the defect in it. */
export function plant(root: string, mutant: Mutant): string {
  const text = readFileSync(join(root, mutant.file), 'utf8');
  const parts = text.split(mutant.find);
  if (parts.length !== 2) throw new StaleMutant(mutant, parts.length - 1);
  return parts.join(mutant.replace);
}
