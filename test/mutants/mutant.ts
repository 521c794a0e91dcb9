/**
 * A defect to be planted. `find` occurs exactly once in its file, so that a mutant that has gone stale is noticed.
 */
export interface Mutant {
  readonly name: string;
  /** What it breaks: a rule of the domain, or a mechanism. */
  readonly breaks: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Paths of the tests that are to find it; those of its group where it says none. */
  readonly tests?: readonly string[];
}

/** Tests of a group, and the project of jest that they are in. */
export interface MutantGroup {
  readonly name: string;
  readonly project: 'spec' | 'int' | 'e2e';
  readonly tests: readonly string[];
  readonly mutants: readonly Mutant[];
}
