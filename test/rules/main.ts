/**
 * Writes `docs/rules.md` from a run of the tests that prove rules: run by `npm run docs:rules`. `VF_TEST_RESULTS` names
 * what runs of `npm test -- --json --outputFile=…` wrote, with commas, if those are to be used.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { ROOT } from '../contract/root.js';
import { DOCUMENT_FILE } from './catalog.js';
import { rulesDocument } from './document.js';
import { proofsOf, type Proof, type TestRun } from './proofs.js';
import { isOf, writtenMarks } from './written.js';

function runTests(): TestRun {
  const folder = mkdtempSync(join(tmpdir(), 'vf-rules-'));
  try {
    const file = join(folder, 'results.json');
    const jest = join(ROOT, 'node_modules/jest/bin/jest.js');
    const options = ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning'];
    const filter = ['-t', String.raw`\[[A-Z]+-\d+ (acts|refuses|quiet)\]`];
    spawnSync(process.execPath, [...options, jest, '--json', `--outputFile=${file}`, ...filter], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return JSON.parse(readFileSync(file, 'utf8')) as TestRun;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const { VF_TEST_RESULTS: results } = process.env;
const run: TestRun =
  results === undefined
    ? runTests()
    : {
        testResults: results
          .split(',')
          .flatMap((one) => (JSON.parse(readFileSync(one, 'utf8')) as TestRun).testResults),
      };
const file = join(ROOT, DOCUMENT_FILE);
const proofs = proofsOf(run);
const notRun = new Map<string, Proof>();
for (const name of writtenMarks()) {
  if (proofs.some((proof) => isOf(proof, name))) continue;
  const { rule, kind, file: where, text } = name;
  const proof: Proof = { rule, kind, file: where, title: text === '' ? 'a saga' : text };
  notRun.set(JSON.stringify(proof), proof);
}
writeFileSync(
  file,
  await format(rulesDocument(proofs, undefined, [...notRun.values()]), {
    ...(await resolveConfig(file)),
    filepath: file,
  }),
);
process.stderr.write(`${DOCUMENT_FILE}: ${proofs.length} proofs, ${notRun.size} not in this run\n`);
