import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const MINUTES = 60_000;

interface Ended {
  readonly code: number;
  readonly output: string;
}

const run = (cwd: string, command: string, ...args: string[]): Promise<Ended> =>
  new Promise((resolve) => {
    // What this test runner tells its own children is nothing to a stranger.
    const { NODE_OPTIONS: _, JEST_WORKER_ID: __, ...env } = process.env;
    execFile(command, args, { cwd, env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}\n${stderr}` });
    });
  });

/** docs/examples/saga-test as a stranger has it: somewhere else, with nothing but the packed libraries. */
describe('the packed libraries in a project of its own', () => {
  const place = mkdtempSync(join(tmpdir(), 'vf-saga-test-'));
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  beforeAll(async () => {
    const packed = await run(
      ROOT,
      process.execPath,
      'scripts/pack-libs.mjs',
      '--to',
      join(place, 'packages'),
    );
    expect(packed).toMatchObject({ code: 0, output: expect.stringContaining('vf-scheduler-testing-') });
    cpSync(join(ROOT, 'docs/examples/saga-test'), place, {
      recursive: true,
      filter: (source) => !source.includes('node_modules'),
    });
    const manifest = readFileSync(join(place, 'package.json'), 'utf8');
    writeFileSync(
      join(place, 'package.json'),
      manifest.replaceAll('file:../../../dist/packages/', 'file:./packages/'),
    );
    const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'];
    expect(await run(place, 'npm', 'install', ...quiet)).toMatchObject({ code: 0 });
  }, 5 * MINUTES);

  test(
    'the example passes as it is',
    async () => {
      const { code, output } = await run(place, 'npm', 'test');
      expect({ code, output }).toMatchObject({
        code: 0,
        output: expect.stringMatching(/Test Suites: 3 passed, 3 total/),
      });
      // The saga's file makes a test of each mishap.
      expect(output).toMatch(/Tests: +[1-9]\d+ passed/);
    },
    3 * MINUTES,
  );

  test(
    'an expectation that does not hold fails, and shows who holds what instead',
    async () => {
      const broken = `import { expect, test } from '@jest/globals';
        import { fleet, simulate, start } from '@vf-scheduler/testing';
        test('broken', async () => {
          const site = await simulate(fleet().host('h1', { em1: 2 }));
          await site.say(start('vm1'));
          expect(site).toHaveAllocated({ 'vm1/eth0': 'h1 0000:82:10.2' });
        });`;
      writeFileSync(join(place, 'test/broken.test.js'), broken);
      const { code, output } = await run(place, 'npm', 'test', '--', 'broken');
      rmSync(join(place, 'test/broken.test.js'));
      expect(code).not.toBe(0);
      expect(output).toMatch(
        /who holds which VF \(vm\/nic: host vf\):[^]*- .*"vm1\/eth0": "h1 0000:82:10\.2"[^]*\+ .*"vm1\/eth0": "h1 0000:82:10\.0"/,
      );
    },
    2 * MINUTES,
  );

  test(
    'the types of the kit and of its matchers come with it',
    async () => {
      writeFileSync(
        join(place, 'typed.ts'),
        `import { expect } from '@jest/globals';
        import { fleet, simulate, start, type NicSpec } from '@vf-scheduler/testing';
        const nic: NicSpec = { nicId: 'eth0', physicalNetwork: 'em1' };
        const site = await simulate(fleet().host('h1', { em1: 2 }));
        await site.say(start('vm1', { nics: [nic] }));
        expect(site).toHaveAllocated({ 'vm1/eth0': 'h1 0000:82:10.0' });
        expect(site).toHaveOneOutcomeEach();
        // @ts-expect-error a holder is told as text
        expect(site).toHaveAllocated({ 'vm1/eth0': 7 });`,
      );
      const options = [
        '--noEmit',
        '--strict',
        '--skipLibCheck',
        '--module',
        'nodenext',
        '--target',
        'es2023',
      ];
      const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
      const { code, output } = await run(place, process.execPath, tsc, ...options, ...types, 'typed.ts');
      expect({ code, output: output.trim() }).toEqual({ code: 0, output: '' });
    },
    2 * MINUTES,
  );

  test('a package has nothing of the tests in it', async () => {
    for (const name of ['domain', 'wire', 'log', 'broker', 'pipeline', 'testing', 'client']) {
      const { output } = await run(place, 'tar', 'tzf', `packages/vf-scheduler-${name}-0.1.0.tgz`);
      expect(output).toContain('package/package.json');
      expect(output).toContain('package/README.md');
      expect(output).not.toMatch(/spec\.|\.map$|conformance|test-servers|sample-|invariant-model/m);
    }
  });
});
