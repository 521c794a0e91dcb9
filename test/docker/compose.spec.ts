import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { parse } from 'yaml';
import { readSettings } from '#wire';
import { readCopy, readDockerfile } from './dockerfile.js';

/**
 * What can be said of the compose files and of the image without a Docker engine. The schema is the Compose
 * Specification's own (github.com/compose-spec, Apache-2.0), as docker-compose 1.29 has it.
 */
const ROOT = resolve(import.meta.dirname, '../..');
const DOCKER = join(ROOT, 'docker');
const files = readdirSync(DOCKER).filter((name) => /^compose.*\.yaml$/.test(name));

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number | boolean>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, object>>;
  readonly healthcheck?: object;
  readonly user?: string;
  readonly read_only?: boolean;
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, unknown>>;
}

/** With the defaults of `${NAME:-default}` in place. */
const read = (name: string): Compose =>
  parse(readFileSync(join(DOCKER, name), 'utf8').replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1'), {
    merge: true,
  }) as Compose;

/** Its `id`s are of an older draft, and name nothing. */
const schema = JSON.parse(
  readFileSync(join(import.meta.dirname, 'compose-spec.schema.json'), 'utf8'),
  (key, value: unknown) => (['id', '$schema'].includes(key) && typeof value === 'string' ? undefined : value),
) as { properties: Record<string, unknown> };
// The schema is of 2021; a project's name came to the specification later.
schema.properties['name'] = { type: 'string', pattern: '^[a-z0-9][a-z0-9_-]*$' };
const isCompose = new Ajv2019({ strict: false, validateFormats: false }).compile(schema);

test('there are compose files for one machine, for KurrentDB and for a cluster', () => {
  expect(files).toEqual(
    expect.arrayContaining(['compose.cluster.yaml', 'compose.kurrentdb.yaml', 'compose.yaml']),
  );
});

test('the schema can tell: a service with a field that Compose does not know is refused', () => {
  expect(isCompose({ services: { a: { image: 'x', colour: 'red' } } })).toBe(false);
});

describe.each(files)('%s', (name) => {
  const compose = read(name);
  const services = Object.entries(compose.services);

  test('is a compose file', () => {
    expect(isCompose(compose) ? [] : isCompose.errors).toEqual([]);
  });

  test('its first lines say how to start it and what to look at', () => {
    const [first = '', second = ''] = readFileSync(join(DOCKER, name), 'utf8').split('\n');
    expect(first).toMatch(/^# \S/);
    expect(readFileSync(join(DOCKER, name), 'utf8')).toContain(`docker compose -f docker/${name} up`);
    expect(second).toMatch(/^#/);
  });

  test('every file that it mounts or builds from is there, and every volume is declared', () => {
    for (const [, { volumes = [], build }] of services) {
      for (const volume of volumes) {
        const [source = ''] = volume.split(':');
        if (source.startsWith('.'))
          expect([source, existsSync(join(DOCKER, source))]).toEqual([source, true]);
        else expect(Object.keys(compose.volumes ?? {})).toContain(source);
      }
      if (build !== undefined) {
        expect(existsSync(join(DOCKER, build.context, build.dockerfile))).toBe(true);
      }
    }
  });

  test('every VF_ variable is a setting, with a value that it takes', () => {
    let seen = 0;
    for (const [, { environment = {} }] of services) {
      const ours = Object.entries(environment).filter(([variable]) => variable.startsWith('VF_'));
      if (ours.length === 0) continue;
      readSettings(Object.fromEntries(ours.map(([variable, value]) => [variable, String(value)])));
      seen += ours.length;
    }
    if (services.some(([, { image }]) => image?.startsWith('vf-scheduler'))) expect(seen).toBeGreaterThan(0);
  });

  test('images are pinned, ports are published on this machine only, what is waited for is there and healthy', () => {
    for (const [service, { image = '', ports = [], depends_on: after = {} }] of services) {
      expect([service, image]).toEqual([service, expect.stringMatching(/:(?!latest)[\w.-]+$/)]);
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
      for (const other of Object.keys(after)) {
        expect(compose.services[other]?.healthcheck ?? other).toEqual(expect.any(Object));
      }
    }
  });

  test('the scheduler runs with a read-only file system, and runs a program that is built', () => {
    for (const [
      ,
      { image, read_only: readOnly, command = ['dist/apps/standalone/src/main.js'] },
    ] of services) {
      if (image?.startsWith('vf-scheduler') !== true) continue;
      expect(readOnly).toBe(true);
      const [program = ''] = command;
      expect(existsSync(join(ROOT, program.replace(/^dist\//, '').replace(/\.js$/, '.ts')))).toBe(true);
    }
  });
});

describe('the Dockerfile', () => {
  const stages = readDockerfile(readFileSync(join(DOCKER, 'Dockerfile'), 'utf8'));

  test('has two stages on the Node that users run, pinned', () => {
    const [major] = readFileSync(join(ROOT, '.nvmrc'), 'utf8').trim().split('.');
    expect(stages.map(({ image, alias }) => [image, alias])).toEqual([
      [`node:${major}-bookworm-slim`, 'build'],
      [`node:${major}-bookworm-slim`, undefined],
    ]);
  });

  test('copies what is there and what Dockerfile.dockerignore lets through', () => {
    const letThrough = readFileSync(join(DOCKER, 'Dockerfile.dockerignore'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    const sources = stages.flatMap(({ instructions }) =>
      instructions
        .filter(({ name }) => name === 'COPY')
        .flatMap(({ args }) => {
          const { from, sources: list } = readCopy(args);
          return from === undefined ? list : [];
        }),
    );
    expect(sources.length).toBeGreaterThan(5);
    for (const source of sources) expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
    expect(letThrough.sort()).toEqual(sources.sort());
  });
});
