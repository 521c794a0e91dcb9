/**
 * `npm run test:kurrentdb`: the tests of the log against a real KurrentDB. The server is the one that KURRENTDB_URL names; else one that
 * docker compose starts for it and removes again. Where there is neither, nothing was tested, and that is a failure.
 *
 * The tests write to streams of their own, which no scheduler reads, and delete them at the end. Where KURRENTDB_CONTROL names a command it
 * is called with `start`, `stop`, `kill`, `freeze` and `thaw`, to see the log go on after each; `start` returns when the server was started.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './prepare.mjs';

const say = (sentence) => process.stderr.write(`vf-scheduler: ${sentence}\n`);
const compose = (...args) =>
  spawnSync(
    'docker',
    ['compose', '-p', 'vf-test-kurrentdb', '-f', join(root, 'docker/compose.kurrentdb.yaml'), ...args],
    { stdio: 'inherit' },
  ).status;

const runTests = (url) =>
  spawnSync(
    process.execPath,
    [
      join(root, 'scripts/test.mjs'),
      '--selectProjects',
      'int',
      '--testNamePattern',
      'KURRENTDB_URL',
      // Each of them has the server to itself.
      '--runInBand',
      '--',
      'libs/log/src/kurrentdb/kurrent-(log|recovery)',
    ],
    { cwd: root, stdio: 'inherit', env: { ...process.env, KURRENTDB_URL: url } },
  ).status ?? 1;

const given = process.env.KURRENTDB_URL;
if (given) {
  if (!process.env.KURRENTDB_CONTROL)
    say(
      'KURRENTDB_CONTROL names no command that stops and freezes that server: what it does then is not tested',
    );
  process.exitCode = runTests(given);
} else if (spawnSync('docker', ['compose', 'version'], { stdio: 'ignore' }).status !== 0) {
  say(
    'nothing was tested: there is no docker compose here. Install Docker, or let KURRENTDB_URL name a server, such as kurrentdb://localhost:2113?tls=false',
  );
  process.exitCode = 1;
} else {
  if (compose('up', '--detach', '--wait', 'kurrentdb') === 0) {
    process.exitCode = runTests('kurrentdb://localhost:2113?tls=false');
  } else {
    say('nothing was tested: docker compose could not start KurrentDB; what it said stands above');
    process.exitCode = 1;
  }
  compose('down', '--volumes');
}
