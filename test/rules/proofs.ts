import { relative } from 'node:path';
import { ROOT } from '../contract/root.js';
import type { Mark } from './marks.js';
import { marksIn, withoutMarks } from './marks.js';

/** A test, or a group of tests with one mark, that was run and passed. */
export interface Proof extends Mark {
  /** From the project's folder, with `/`. */
  readonly file: string;
  readonly title: string;
}

/** What this needs of `jest --json`. */
export interface TestRun {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly fullName: string;
      readonly status: string;
    }[];
  }[];
}

/**
 * The proofs of a run, each once, in order of file and title.
 *
 * @throws Error naming the tests that did not pass: a rule is proved by a test that was run.
 */
export function proofsOf(run: TestRun): readonly Proof[] {
  const failed: string[] = [];
  const proofs = new Map<string, Proof>();
  for (const { name, status, message, assertionResults } of run.testResults) {
    const file = relative(ROOT, name).replaceAll('\\', '/');
    if (status === 'failed' && assertionResults.length === 0) failed.push(`${file}: ${message}`);
    for (const test of assertionResults) {
      const path = [...test.ancestorTitles, test.title];
      const marked = path.findIndex((title) => marksIn(title).length > 0);
      if (marked === -1) continue;
      // Those that a filter left out.
      if (test.status === 'pending') continue;
      if (test.status !== 'passed') failed.push(`${file}: ${test.fullName} (${test.status})`);
      for (const title of path) {
        for (const mark of marksIn(title)) {
          const proof = { ...mark, file, title: withoutMarks(title) };
          proofs.set(JSON.stringify(proof), proof);
        }
      }
    }
  }
  if (failed.length > 0) throw new Error(`tests of rules that did not pass:\n${failed.join('\n')}`);
  const order = ({ file, title }: Proof): string => `${file}\n${title}`;
  return [...proofs.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1));
}
