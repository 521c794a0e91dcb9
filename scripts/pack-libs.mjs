/**
 * `npm run pack:libs [-- --to <directory>]`: packs the libraries for other projects, one tarball each, into `dist/packages`.
 *
 * A package holds what its entry points reach and nothing else, as ESM with types. The names with `#` by which the sources import each
 * other stay as they are: each package says in its own `imports` which package they are. What a package imports from others is what
 * it depends on, in the version of this project.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build, install, root } from './prepare.mjs';

const PACKAGES = {
  domain: {
    description: 'The rules of the VF scheduler as pure functions: decide, evolve, the state',
    entries: { '.': 'index', './testing': 'testing/index' },
  },
  wire: {
    description: 'The wire contract of the VF scheduler: CloudEvents, subjects, DTOs, settings',
    entries: { '.': 'index' },
  },
  log: {
    description: 'The log of the VF scheduler: an append-only hash chain, its port and its adapters',
    entries: { '.': 'index', './kurrentdb': 'kurrentdb/index' },
  },
  broker: {
    description: 'The broker port of the VF scheduler: NATS JetStream, and one in memory',
    entries: { '.': 'index' },
  },
  pipeline: {
    description: 'The pipeline of the VF scheduler: read, check, decide, append, relay',
    entries: { '.': 'index' },
  },
  testing: {
    description: 'Test sagas against the real pipeline of the VF scheduler, with crashes and lost messages',
    entries: { '.': 'index' },
  },
  client: {
    description: 'The client of the VF scheduler: ask for VFs, hear what is decided, query it',
    entries: { '.': 'index', './nest': 'nest' },
  },
};

/** What a project has already, if it needs it: it must be the same one. */
const PEERS = {
  expect: { range: '^29.4.0 || ^30.0.0' },
  '@nestjs/common': { range: '^12.0.0', optional: true },
  '@nestjs/core': { range: '^12.0.0', optional: true },
  rxjs: { range: '^7.8.0', optional: true },
};

const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const { values } = parseArgs({ options: { to: { type: 'string' } } });
const target = resolve(values.to ?? join(root, 'dist/packages'));
const isBuiltin = (name) => name.startsWith('node:') || builtinModules.includes(name);

/** Specifiers in a compiled file: of imports, of re-exports, of types, of workers. */
const SPECIFIERS =
  /(?:\bfrom\s*|\bimport\s*\(?\s*|\bdeclare module\s*|\bnew URL\(\s*(?=.\.))(['"])(#[\w/-]+|\.{1,2}\/[^'"\n]+|@?[a-z][\w./@-]*)\1/g;
/** Examples in comments import nothing. */
const withoutComments = (text) => text.replaceAll(/\/\*\*[^]*?\*\//g, '');
const specifiersOf = (text) =>
  [...withoutComments(text).matchAll(SPECIFIERS)].map(([, , specifier]) => specifier);

/** Everything that the entry points reach, and what it imports from elsewhere. */
function reach(from, entries) {
  const files = new Set();
  const foreign = new Set();
  const queue = Object.values(entries).flatMap((entry) => [`${entry}.js`, `${entry}.d.ts`]);
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (files.has(file)) continue;
    const path = join(from, file);
    // A `.d.ts` of the sources' own is not built: what it says is part of the types that were.
    if (!existsSync(path)) throw new Error(`${path} is not there, and something packed imports it`);
    files.add(file);
    for (const specifier of specifiersOf(readFileSync(path, 'utf8'))) {
      if (!specifier.startsWith('.')) {
        foreign.add(specifier);
        continue;
      }
      const other = relative(from, join(dirname(path), specifier));
      if (other.startsWith('..')) continue;
      if (!other.endsWith('.js')) continue;
      queue.push(other, other.replace(/\.js$/, '.d.ts'));
    }
  }
  return { files: [...files].sort(), foreign: [...foreign].sort() };
}

const nameOf = (specifier) =>
  specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : specifier.split('/')[0];

function manifestOf(name, { description, entries }, foreign) {
  const dependencies = {};
  const peerDependencies = {};
  const peerDependenciesMeta = {};
  const imports = {};
  for (const specifier of foreign) {
    if (isBuiltin(specifier)) continue;
    if (specifier.startsWith('#')) {
      const [library, ...rest] = specifier.slice(1).split('/');
      const subpath = rest.length === 0 ? '.' : `./${rest.join('/')}`;
      if (PACKAGES[library]?.entries[subpath] === undefined)
        throw new Error(`${name} imports ${specifier}, which is in no package`);
      imports[specifier] = `@vf-scheduler/${specifier.slice(1)}`;
      dependencies[`@vf-scheduler/${library}`] = own.version;
      continue;
    }
    const dependency = nameOf(specifier);
    const peer = PEERS[dependency];
    if (peer !== undefined) {
      peerDependencies[dependency] = peer.range;
      if (peer.optional) peerDependenciesMeta[dependency] = { optional: true };
      continue;
    }
    const version = own.dependencies[dependency];
    if (version === undefined)
      throw new Error(`${name} imports ${dependency}, which the project does not depend on`);
    dependencies[dependency] = version;
  }
  const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
  const some = (key, object) => (Object.keys(object).length === 0 ? undefined : { [key]: sorted(object) });
  return {
    name: `@vf-scheduler/${name}`,
    version: own.version,
    description,
    license: own.license,
    type: 'module',
    engines: own.engines,
    exports: Object.fromEntries(
      Object.entries(entries).map(([subpath, entry]) => [
        subpath,
        { types: `./lib/${entry}.d.ts`, default: `./lib/${entry}.js` },
      ]),
    ),
    ...some('imports', imports),
    ...some('dependencies', dependencies),
    ...some('peerDependencies', peerDependencies),
    ...some('peerDependenciesMeta', peerDependenciesMeta),
  };
}

function stage(name, parts) {
  const from = join(root, 'dist/libs', name, 'src');
  const place = join(target, name);
  const { files, foreign } = reach(from, parts.entries);
  for (const file of files) {
    mkdirSync(dirname(join(place, 'lib', file)), { recursive: true });
    // The maps point to sources that are not in the package.
    const text = readFileSync(join(from, file), 'utf8').replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '\n');
    writeFileSync(join(place, 'lib', file), text);
  }
  const manifest = manifestOf(name, parts, foreign);
  writeFileSync(join(place, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  cpSync(join(root, 'LICENSE'), join(place, 'LICENSE'));
  const readme = join(root, 'libs', name, 'README.md');
  if (existsSync(readme)) cpSync(readme, join(place, 'README.md'));
  else writeFileSync(join(place, 'README.md'), `# @vf-scheduler/${name}\n\n${parts.description}.\n`);
  return place;
}

install();
build();
mkdirSync(target, { recursive: true });
for (const [name, parts] of Object.entries(PACKAGES)) {
  const place = stage(name, parts);
  const npm = ['pack', '--pack-destination', target, '--ignore-scripts', '--loglevel=error'];
  const file = execFileSync('npm', npm, {
    cwd: place,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  rmSync(place, { recursive: true });
  process.stdout.write(`${join(target, file.trim())}\n`);
}
