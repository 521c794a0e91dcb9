import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { existsSync, readdirSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Programs } from '../support/programs.js';
import { ask, difference, type Answered } from './answers.js';
import { recordLog } from './record.js';

const FIXTURES = resolve(import.meta.dirname, '../fixtures');
const KEY = join(import.meta.dirname, 'audit-key.pem');

jest.setTimeout(180_000);

let programs: Programs;
beforeEach(() => {
  programs = new Programs();
});
afterEach(() => programs.end());

const unpacked = async (file: string): Promise<Buffer> => gunzipSync(await readFile(file));

const names = readdirSync(FIXTURES, { withFileTypes: true }).flatMap((one) =>
  one.isDirectory() ? [one.name] : [],
);

for (const name of names) {
  describe(`the log ${name} of an earlier version`, () => {
    test('opens, and answers what it answered then', async () => {
      const from = join(FIXTURES, name);
      const data = await programs.directory();
      await writeFile(join(data, 'events.db'), await unpacked(join(from, 'events.db.gz')));
      await cp(join(from, 'signed-heads'), join(data, 'signed-heads'), { recursive: true });
      const text = (await unpacked(join(from, 'answers.json.gz'))).toString();
      const recorded = text.split('\n').map((line) => JSON.parse(line) as Answered);
      expect(recorded.length).toBeGreaterThan(500);
      // Dear questions have to wait for one another, and what comes behind the story is much alike.
      const answers = recorded.filter(
        ({ request: { id } }, index) => id === undefined || id.startsWith('story') || index % 7 === 0,
      );
      const program = await programs.start('standalone', { VF_DATA_DIR: data, VF_AUDIT_KEY: KEY });
      const { http } = await program.ready();
      const differences: string[] = [];
      for (const { query, request, answer } of answers) {
        const now = await ask(http, query, then(request, answer));
        const found = difference(asLasting(answer), now);
        if (found !== undefined) differences.push(`${query} ${JSON.stringify(request)} ${found}`);
      }
      expect(differences.slice(0, 10)).toEqual([]);
      expect(answers.length).toBeGreaterThan(300);
      expect(await ask(http, 'verify')).toMatchObject({ ok: true });
      expect((await program.stop()).code).toBe(0);
    });
  });
}

/** The same question about the log as it was: what is due falls due when it is opened years later, and is appended. */
function then(request: Readonly<Record<string, string>>, answer: unknown): Readonly<Record<string, string>> {
  const { events } = answer as { events?: readonly { readonly position: string }[] };
  if (request['limit'] === undefined) return request;
  return { ...request, to: events?.at(-1)?.position ?? '1' };
}

/** An answer without how far the log went, and what says which version gave it: the decider that decided again. */
function asLasting(answer: unknown): unknown {
  const { position: _, again, checks, ...rest } = answer as Readonly<Record<string, unknown>>;
  // Of verify only what it says of the log; how it looks is another version's.
  if (checks !== undefined) return { ok: rest['ok'] };
  if (again === undefined) return rest;
  const { decider: __, ...verdict } = again as { decider?: string };
  return { ...rest, again: verdict };
}

// Before a change of what is stored: VF_TEST_RECORD=<name> npm test -- old-logs
const record = process.env['VF_TEST_RECORD'];
if (record !== undefined && !existsSync(join(FIXTURES, record))) {
  test('records a log of this version', () => recordLog(programs, join(FIXTURES, record)));
}
