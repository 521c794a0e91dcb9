import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ROOT } from '../contract/root.js';
import { DOCUMENT_FILE, KINDS, readCatalog, rulesOf } from './catalog.js';
import { listedIn, rulesDocument } from './document.js';
import { BARE_MARK } from './marks.js';
import { proofsOf, type TestRun } from './proofs.js';
import { isOf, testSources, writtenMarks } from './written.js';

const sources = testSources();
const written = writtenMarks();

describe('the catalogue of rules', () => {
  const rules = rulesOf(readCatalog());

  test('has each rule once, with a text and a source that it names', () => {
    const { sources: named } = readCatalog();
    expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length);
    for (const { id, text, from } of rules) {
      expect(id).toMatch(/^[A-Z]+-\d+$/);
      expect(text.length).toBeGreaterThan(10);
      expect(from.map((key) => named[key])).not.toContain(undefined);
    }
  });

  test('each rule has a test of each kind, or a reason why it cannot have one', () => {
    const missing = rules.flatMap(({ id, without }) =>
      KINDS.filter(
        (kind) =>
          (without?.[kind] === undefined) !== written.some((name) => name.rule === id && name.kind === kind),
      ).map((kind) => `${id} ${kind}`),
    );
    // Also one that has both, a test and a reason why there is none.
    expect(missing).toEqual([]);
  });

  test('each mark names a rule that there is', () => {
    const ids = new Set(rules.map(({ id }) => id));
    expect(written.filter(({ rule }) => !ids.has(rule)).map(({ file, rule }) => `${file} ${rule}`)).toEqual(
      [],
    );
  });

  test('the name of a test that proves a rule says how: acts, refuses or quiet', () => {
    const bare = sources.flatMap((file) =>
      readFileSync(join(ROOT, file), 'utf8')
        .split('\n')
        .filter((line) => BARE_MARK.test(line) && /\b(test|it|describe|prove\w*)\b[.\w]*\(/.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
    expect(bare).toEqual([]);
  });
});

describe('docs/rules.md', () => {
  const document = readFileSync(join(ROOT, DOCUMENT_FILE), 'utf8');
  const listed = listedIn(document);

  test('lists the tests that are in the sources, and no others: npm run docs:rules', () => {
    const notListed = written.filter((name) => !listed.some((proof) => isOf(proof, name)));
    const notWritten = listed.filter((proof) => !written.some((name) => isOf(proof, name)));
    expect(notListed.map(({ file, rule, kind, text }) => `${file} [${rule} ${kind}] ${text}`)).toEqual([]);
    expect(notWritten.map(({ file, rule, kind, title }) => `${file} [${rule} ${kind}] ${title}`)).toEqual([]);
  });

  test('says each rule as the catalogue does', () => {
    const plain = (text: string): string => text.replace(/[\\*_`\s]/g, '');
    const said = plain(document);
    for (const { id, text, without } of rulesOf(readCatalog())) {
      expect(said).toContain(`###${id}${plain(text)}`);
      for (const why of Object.values(without ?? {})) expect(said).toContain(plain(why));
    }
  });
});

describe('what is made of a test run', () => {
  const run = (tests: readonly { path: readonly string[]; status?: string }[]): TestRun => ({
    testResults: [
      {
        name: join(ROOT, 'libs/a.spec.ts'),
        status: 'passed',
        message: '',
        assertionResults: tests.map(({ path, status = 'passed' }) => ({
          ancestorTitles: path.slice(0, -1),
          title: path.at(-1) as string,
          fullName: path.join(' '),
          status,
        })),
      },
    ],
  });
  const catalog = {
    sources: { peer: 'somebody' },
    groups: [
      { title: 'G', rules: [{ id: 'X-1', text: 'It does.', from: ['peer'], without: { quiet: 'Never.' } }] },
    ],
  };

  test('a group with a mark is one proof, and a mark on a test in it another', () => {
    const proofs = proofsOf(
      run([
        { path: ['[X-1 acts] group', 'one'] },
        { path: ['[X-1 acts] group', '[X-1 refuses] two'] },
        { path: ['plain', 'three'] },
        { path: ['[X-1 quiet] left out by a filter'], status: 'pending' },
      ]),
    );
    expect(proofs.map(({ rule, kind, title }) => [rule, kind, title])).toEqual([
      ['X-1', 'acts', 'group'],
      ['X-1', 'refuses', 'two'],
    ]);
    expect(listedIn(rulesDocument(proofs, catalog))).toEqual(proofs);
    expect(rulesDocument(proofs, catalog)).toContain('no test. Never.');
  });

  test('a test that failed proves nothing', () => {
    expect(() => proofsOf(run([{ path: ['[X-1 acts] a'], status: 'failed' }]))).toThrow(
      'libs/a.spec.ts: [X-1 acts] a (failed)',
    );
  });

  test('a rule without a test, and a test without a rule, stop it', () => {
    const acts = proofsOf(run([{ path: ['[X-1 acts] a'] }]));
    expect(() => rulesDocument(acts, catalog)).toThrow('[X-1 refuses]');
    const other = proofsOf(run([{ path: ['[X-2 acts] a'] }]));
    expect(() => rulesDocument(other, catalog)).toThrow('X-2');
  });
});
