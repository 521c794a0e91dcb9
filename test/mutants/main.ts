/**
 * `npm run test:mutants [-- --only <part of a name>] [--parallel 2]`: plants each defect of the catalogue in a
 * copy of the sources, runs the tests that are to find it, and says which test did. Exit code 1 when one
 * survives or is stale.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { GROUPS } from './catalog.js';
import type { Mutant, MutantGroup } from './mutant.js';
import { plant, StaleMutant } from './plant.js';

const ROOT = join(import.meta.dirname, '../../..');
/** A test run that takes longer is a mutant that hangs: nobody would merge it, so it is killed. */
const PATIENCE = 240_000;

interface Verdict {
  readonly mutant: Mutant;
  readonly group: string;
  readonly outcome: 'killed' | 'survived' | 'stale';
  /** The test that killed it; else what happened instead. */
  readonly by: string;
  readonly seconds: number;
}

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, parallel: { type: 'string', default: '2' } },
});

const COMPILER_OPTIONS = ['tsconfig.json', 'tsconfig.build.json'];

/** Compiles a copy: what threads and processes of the tests run is not the source but what was built from it. */
function build(place: string): void {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  // A defect need not please the types.
  const built = spawnSync(
    process.execPath,
    [compiler, '-p', 'tsconfig.build.json', '--noEmitOnError', 'false'],
    {
      cwd: place,
    },
  );
  if (!existsSync(join(place, 'dist'))) throw new Error(`it cannot be built:\n${built.stdout.toString()}`);
}

/** A copy of what the tests need, in which a file can be changed. */
function copySources(): string {
  const place = mkdtempSync(join(tmpdir(), 'vf-mutants-'));
  for (const name of ['apps', 'libs', 'test', 'docs', 'package.json', 'jest.config.js', ...COMPILER_OPTIONS])
    cpSync(join(ROOT, name), join(place, name), { recursive: true });
  for (const name of ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'])
    cpSync(join(ROOT, name), join(place, name));
  symlinkSync(join(ROOT, 'node_modules'), join(place, 'node_modules'));
  // A build meanwhile takes the reporter away from where this program runs.
  cpSync(join(import.meta.dirname, 'first-failure.js'), join(place, 'first-failure.js'));
  return place;
}

/** @returns the test that failed first; undefined when none did. */
async function runTests(
  place: string,
  project: string,
  tests: readonly string[],
): Promise<string | undefined> {
  const found = join(place, 'first-failure.txt');
  rmSync(found, { force: true });
  const child = spawn(
    process.execPath,
    [
      ...['--experimental-vm-modules', '--no-warnings', join(ROOT, 'node_modules/jest/bin/jest.js')],
      ...['--selectProjects', project, '--bail', '--runInBand', '--silent'],
      ...[`--reporters=${join(place, 'first-failure.js')}`, '--', ...tests],
    ],
    {
      cwd: place,
      stdio: ['ignore', 'ignore', 'pipe'],
      // A tenth of the random histories: what they alone find takes too long to count on.
      env: { ...process.env, VF_TEST_RUNS: '0.1', VF_TEST_SEED: '1', VF_FIRST_FAILURE: found },
    },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-4000)));
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (...how) => resolve(how));
  });
  clearTimeout(timer);
  if (signal === 'SIGKILL') return 'it hangs';
  const text = existsSync(found) ? readFileSync(found, 'utf8') : '';
  if (code !== 0 && text !== '') return text;
  if (code === 0 && Number(text) > 0) return undefined;
  throw new Error(
    `jest ended with ${code} and ran ${text === '' ? 'nothing' : `${text} tests`} of ${tests.join(', ')}\n${said}`,
  );
}

async function judge(place: string, group: MutantGroup, mutant: Mutant): Promise<Verdict> {
  const begun = performance.now();
  const verdict = (outcome: Verdict['outcome'], by: string): Verdict => ({
    mutant,
    group: group.name,
    outcome,
    by,
    seconds: (performance.now() - begun) / 1000,
  });
  const path = join(place, mutant.file);
  const sound = readFileSync(path);
  try {
    writeFileSync(path, plant(ROOT, mutant));
    // What their processes and threads run is what was built.
    if (group.project !== 'spec') build(place);
    const killer = await runTests(place, group.project, mutant.tests ?? group.tests);
    return killer === undefined ? verdict('survived', 'no test notices it') : verdict('killed', killer);
  } catch (error) {
    if (error instanceof StaleMutant) return verdict('stale', error.message);
    throw error;
  } finally {
    writeFileSync(path, sound);
  }
}

const waiting = GROUPS.flatMap((group) => group.mutants.map((mutant) => ({ group, mutant }))).filter(
  ({ mutant, group }) => `${group.name} ${mutant.name} ${mutant.breaks}`.includes(values.only),
);
const verdicts: Verdict[] = [];
const total = waiting.length;
const begun = performance.now();

async function work(): Promise<void> {
  const place = copySources();
  try {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const verdict = await judge(place, next.group, next.mutant);
      verdicts.push(verdict);
      const { mutant, outcome, by, seconds } = verdict;
      process.stdout.write(
        `${String(verdicts.length).padStart(3)}/${total}  ${outcome.padEnd(8)}  ${seconds.toFixed(0).padStart(3)} s  ${mutant.breaks}: ${mutant.name}\n` +
          `          ${by}\n`,
      );
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

if (total === 0) {
  process.stderr.write(
    `test:mutants: no mutant has '${values.only}' in its name, its group or what it breaks\n`,
  );
  process.exitCode = 1;
} else {
  await Promise.all(Array.from({ length: Math.max(1, Number(values.parallel) || 1) }, work));
  const count = (outcome: Verdict['outcome']): number =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const alive = verdicts.filter(({ outcome }) => outcome !== 'killed');
  for (const { mutant, outcome, by } of alive) process.stdout.write(`${outcome}: ${mutant.name}: ${by}\n`);
  process.stdout.write(
    `${count('killed')} killed, ${count('survived')} survived, ${count('stale')} stale, of ${total}; ` +
      `${Math.round((performance.now() - begun) / 1000)} s\n`,
  );
  if (alive.length > 0) process.exitCode = 1;
}
