import { NestFactory } from '@nestjs/core';
import { transform } from '@swc/core';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Standalone } from '#standalone';
import { VfScheduler } from './client.js';
import * as client from './index.js';
import * as nest from './nest.js';
import { hostWith, startScheduler } from './testing/scheduler.js';

/** The examples of the README, in order, each with the text before it. */
const README = await readFile(join(import.meta.dirname, '../README.md'), 'utf8');
const EXAMPLES = [...README.matchAll(/^## (.+?)$(?:(?!^## )[^])*?```ts\n([^]*?)```/gm)].map(
  ([, title = '', code = '']) => ({ title, code }),
);

let standalone: Standalone;
let directory: string;

beforeAll(async () => {
  standalone = await startScheduler();
  directory = await mkdtemp(join(import.meta.dirname, '.readme-'));
  const scheduler = await VfScheduler.connect({ servers: standalone.ready.nats });
  await scheduler.publish('HostReported', hostWith('host-1', 4));
  await scheduler.close();
}, 30_000);

afterAll(async () => {
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

/**
 * Runs an example as it is written, but for the names of its imports and for the server, which is on a free
 * port here.
 */
async function run(code: string): Promise<{ printed: unknown[][]; exported: Record<string, unknown> }> {
  const printed: unknown[][] = [];
  const url = standalone.ready.nats;
  const here = {
    connect: (options: object = {}) => VfScheduler.connect({ ...options, servers: url }),
  };
  Object.assign(globalThis, {
    example: {
      client: { ...client, VfScheduler: code.includes('@Inject') ? VfScheduler : here },
      nest,
      console: { log: (...words: unknown[]) => printed.push(words) },
    },
  });
  const source = code
    .replace(/import \{ (.+) \} from '@vf-scheduler\/client';/, 'const { $1 } = globalThis.example.client;')
    .replace(
      /import \{ (.+) \} from '@vf-scheduler\/client\/nest';/,
      'const { $1 } = globalThis.example.nest;',
    )
    .replaceAll('console.log', 'globalThis.example.console.log')
    .replaceAll('nats://127.0.0.1:4222', url);
  const { code: javaScript } = await transform(source, {
    jsc: {
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      target: 'es2023',
    },
    module: { type: 'es6' },
  });
  const file = join(directory, `${Math.random().toString(36).slice(2)}.mjs`);
  await writeFile(file, javaScript);
  const exported = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  return { printed, exported };
}

const example = (title: string): string => {
  const found = EXAMPLES.find((one) => one.title === title);
  if (found === undefined) throw new Error(`the README has no example under '${title}'`);
  return found.code;
};

test('each section with an example is tried here', () => {
  expect(EXAMPLES.map(({ title }) => title)).toEqual([
    'Start a VM',
    'When the answer is no',
    'Again, after any doubt',
    'Follow',
    'Ask',
    'In a Nest application',
  ]);
});

test('Start a VM', async () => {
  const { printed } = await run(example('Start a VM'));
  expect(printed).toEqual([
    ['host-1', 'nic-0', expect.stringMatching(/^0000:82:1/), expect.stringMatching(/^02:/), undefined],
  ]);
});

test('When the answer is no', async () => {
  const { printed } = await run(example('When the answer is no'));
  expect(printed).toEqual([['PF_UNKNOWN', expect.any(String), expect.any(Array)]]);
});

test('Again, after any doubt', async () => {
  const { printed } = await run(example('Again, after any doubt'));
  expect(printed).toEqual([[true]]);
});

test('Follow', async () => {
  const { printed } = await run(example('Follow'));
  expect(printed.map(([position]) => position)).toEqual(printed.map((_, index) => String(index + 1)));
  expect(printed.at(-1)?.[1]).toBe('VmStopped');
});

test('Ask', async () => {
  const { printed } = await run(example('Ask'));
  expect(printed).toEqual([['HostCordoned', 0]]);
});

test('In a Nest application', async () => {
  const { exported } = await run(example('In a Nest application'));
  const app = await NestFactory.create(exported['AppModule'] as never, { logger: false });
  await app.listen(0, '127.0.0.1');
  try {
    const answer = await fetch(`${await app.getUrl()}/vms/vm-9/start`, { method: 'POST' });
    expect([answer.status, await answer.json()]).toEqual([
      201,
      expect.objectContaining({ vmId: 'vm-9', hostId: 'host-1' }),
    ]);
  } finally {
    await app.close();
  }
});
