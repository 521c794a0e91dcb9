import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ROOT } from '../contract/root.js';
import { marksIn, withoutMarks, type Mark } from './marks.js';
import type { Proof } from './proofs.js';

/** Where tests are written. Helpers hold tests that run in the files that call them. */
const TEST_FILE = /\.(spec|int-spec|e2e-spec)\.ts$/;
const HELPER = /(conformance|prove)[^/]*\.ts$/;

/** The files in which tests are written. */
export const testSources = (): readonly string[] =>
  ['apps', 'libs', 'test']
    .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .filter((file) => (TEST_FILE.test(file) || HELPER.test(file)) && !file.startsWith('test/rules/'));

/** A name in the sources that has marks; what is put in at run time matches anything. */
export interface Written extends Mark {
  readonly file: string;
  readonly helper: boolean;
  readonly text: string;
  readonly pattern: RegExp;
}

const LITERAL = /'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;

function literalsOf(file: string): readonly string[] {
  const code = readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  return [...code.matchAll(LITERAL)].map(([, single, double, template]) =>
    (single ?? double ?? template ?? '').replace(/\\(.)/g, '$1'),
  );
}

const patternOf = (text: string): RegExp =>
  new RegExp(
    `^${text
      .split(/\$\{[^}]*\}|%[sdijo]|\$\w+/)
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}`,
    's',
  );

/** Every mark in the sources. */
export const writtenMarks = (): readonly Written[] =>
  testSources().flatMap((file) =>
    literalsOf(file).flatMap((literal) =>
      marksIn(literal).map((mark) => {
        const text = withoutMarks(literal);
        return { ...mark, file, helper: !TEST_FILE.test(file), text, pattern: patternOf(text) };
      }),
    ),
  );

/** Whether a proof is of a test with that name. */
export const isOf = (proof: Proof, { rule, kind, file, helper, pattern }: Written): boolean =>
  proof.rule === rule && proof.kind === kind && (helper || proof.file === file) && pattern.test(proof.title);
