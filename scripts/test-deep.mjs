/**
 * `npm run test:deep [-- --runs 1000] [--chunk 50]`: the property tests in depth, for the night. Each run has a seed of its own, one
 * after the other from `VF_TEST_SEED` on, and at least 1,000 inputs; the pipeline's simulations go along, with the same seeds. When
 * a run fails, its history is shrunk and printed, and the command that goes on from there.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { install, root } from './prepare.mjs';

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '1000' }, chunk: { type: 'string', default: '50' } },
});
const runs = wholeNumber('--runs', values.runs);
const chunk = wholeNumber('--chunk', values.chunk);
const { VF_TEST_SEED = String(Date.now() % 1_000_000_000) } = process.env;
const first = wholeNumber('VF_TEST_SEED', VF_TEST_SEED);

function wholeNumber(name, text) {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  process.stderr.write(`test:deep: ${name} is '${text}', and must be a whole number from 1\n`);
  process.exit(1);
}

const SPECS = ['libs/domain/src/invariants.property.spec.ts', 'libs/testing/src/simulation.spec.ts'];

install();
process.stderr.write(`test:deep: ${runs} runs from VF_TEST_SEED=${first} on\n`);
const begun = Date.now();
for (let done = 0; done < runs;) {
  const count = Math.min(chunk, runs - done);
  const seed = first + done;
  const jest = [join(root, 'node_modules/jest/bin/jest.js'), '--selectProjects', 'spec', '--'];
  const { status, error, stdout, stderr } = spawnSync(
    process.execPath,
    ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning', ...jest, ...SPECS],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      // 100 runs are what `npm test` does.
      env: { ...process.env, VF_TEST_SEED: String(seed), VF_TEST_RUNS: String(count / 100) },
    },
  );
  for (const line of stderr.split('\n'))
    if (line.startsWith('invariants: ')) process.stderr.write(`${line}\n`);
  if (status !== 0) {
    process.stderr.write(`${stdout}\n${stderr}\n${error === undefined ? '' : `${error.message}\n`}`);
    process.stderr.write(
      `test:deep: failed in the runs from seed ${seed} to ${seed + count - 1}, of which the history above is the least. Once more:\n` +
        `  VF_TEST_SEED=${seed} npm run test:deep -- --runs ${count}\n` +
        `On from here, when it is mended:\n  VF_TEST_SEED=${seed} npm run test:deep -- --runs ${runs - done}\n`,
    );
    process.exit(1);
  }
  done += count;
  process.stderr.write(
    `test:deep: ${done} of ${runs} runs passed, ${Math.round((Date.now() - begun) / 1000)} s\n`,
  );
}
