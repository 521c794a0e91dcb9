import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findNatsServer } from '#broker';
import { Programs } from '../support/programs.js';
import { readCopy, readDockerfile, readEnv, type Stage } from './dockerfile.js';

/**
 * No Docker engine runs in CI. So the Dockerfile's own steps are carried out in a clean folder: what it copies
 * is copied, what it runs is run, and what would be the image is started as it would be.
 */
const ROOT = resolve(import.meta.dirname, '../..');
const stages = readDockerfile(readFileSync(join(ROOT, 'docker/Dockerfile'), 'utf8'));
const [build, image] = stages as [Stage, Stage];

const folder = mkdtempSync(join(tmpdir(), 'vf-image-'));
const places = new Map([
  ['build', join(folder, 'build')],
  ['image', join(folder, 'image')],
]);
const place = (stage: string): string => places.get(stage) as string;

/** A file that `Dockerfile.dockerignore` leaves out. */
const isLeftOut = (path: string): boolean => /\.(int-|e2e-)?spec\.ts$/.test(path);

function carryOut(stage: Stage, name: string): void {
  const app = place(name);
  mkdirSync(app, { recursive: true });
  for (const { name: verb, args } of stage.instructions) {
    if (verb === 'COPY') {
      const { from, sources, target } = readCopy(args);
      for (const source of sources) {
        const path =
          from === undefined ? join(ROOT, source) : join(place(from), source.replace(/^\/app\//, ''));
        const to = target.endsWith('/') ? join(app, target, basename(path)) : join(app, target);
        cpSync(path, to, { recursive: true, filter: (file) => !isLeftOut(file) });
      }
    } else if (verb === 'RUN' && !/^mkdir (--mode=\d+ )?\/data\b/.test(args)) {
      const { status, stderr, stdout } = spawnSync('sh', ['-ec', args], {
        cwd: app,
        encoding: 'utf8',
        // As in the image, and from npm's cache where it has one.
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], npm_config_prefer_offline: 'true' },
      });
      if (status !== 0) throw new Error(`RUN ${args}: exit code ${status}\n${stdout}\n${stderr}`);
    }
  }
}

const contents = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => !file.startsWith('node_modules'))
    .map((file) => `${file} ${statSync(join(directory, file)).mtimeMs}`)
    .sort();

const programs = new Programs();

beforeAll(() => {
  carryOut(build, 'build');
  carryOut(image, 'image');
}, 300_000);

afterAll(async () => {
  await programs.end();
  rmSync(folder, { recursive: true, force: true });
});

const last = (name: string): string => image.instructions.findLast((one) => one.name === name)?.args ?? '';

describe('the image', () => {
  test('has what runs, and nothing of the tests or of the tools', () => {
    const app = place('image');
    const installed = readdirSync(join(app, 'node_modules'));
    expect(installed).toEqual(expect.arrayContaining(['@nats-io', '@nestjs', 'libsql', 'pino']));
    expect(installed).not.toEqual(expect.arrayContaining(['jest']));
    for (const tool of ['jest', 'typescript', 'fast-check', 'prettier', 'oxlint'])
      expect(installed).not.toContain(tool);
    expect(contents(app).filter((file) => file.includes('spec.'))).toEqual([]);
  });

  test('does not run as root, keeps its data in /data, and is asked for its health', () => {
    expect(last('USER')).toBe('node');
    expect(last('VOLUME')).toBe('/data');
    expect(image.instructions.flatMap(({ name, args }) => (name === 'ENV' ? [readEnv(args)] : []))).toEqual([
      { NODE_ENV: 'production', VF_DATA_DIR: '/data', VF_HTTP_HOST: '0.0.0.0' },
    ]);
    expect(last('HEALTHCHECK')).toContain('/health/live');
  });

  test('serves, answers its health check, writes only below its data directory, and ends with 0', async () => {
    const app = place('image');
    const before = contents(app);
    const [main = ''] = JSON.parse(last('CMD')) as string[];
    // On Node 20 npm leaves the image's own nats-server out; the image has Node 24.
    const { path: server } = await findNatsServer();
    const program = await programs.start('standalone', { VF_NATS_SERVER: server }, { main: join(app, main) });
    const { http } = await program.ready();
    const command = JSON.parse(last('HEALTHCHECK').replace(/^.*CMD /, '')) as string[];
    const check = (port: string): number | null =>
      spawnSync(command[0] as string, command.slice(1), { env: { ...process.env, VF_HTTP_PORT: port } })
        .status;
    expect(check(new URL(http).port)).toBe(0);
    expect((await program.stop()).code).toBe(0);
    expect(check(new URL(http).port)).toBe(1);
    expect(contents(app)).toEqual(before);
  });
});
