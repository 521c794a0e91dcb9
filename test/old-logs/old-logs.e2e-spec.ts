import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync, readdirSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Programs } from '../support/programs.js';
import { ask, difference, type Answered } from './answers.js';
import { recordLog } from './record.js';

const FIXTURES = resolve(import.meta.dirname, '../fixtures');
const KEY = join(import.meta.dirname, 'audit-key.pem');

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
      const answers = text.split('\n').map((line) => JSON.parse(line) as Answered);
      const program = await programs.start('standalone', { VF_DATA_DIR: data, VF_AUDIT_KEY: KEY });
      const { http } = await program.ready();
      const differences: string[] = [];
      for (const { query, request, answer } of answers) {
        const now = await ask(http, query, request);
        const found = difference(asLasting(answer), now);
        if (found !== undefined) differences.push(`${query} ${JSON.stringify(request)} ${found}`);
      }
      expect(differences.slice(0, 10)).toEqual([]);
      expect(answers.length).toBeGreaterThan(500);
      expect(await ask(http, 'verify')).toMatchObject({ ok: true });
      expect((await program.stop()).code).toBe(0);
    });
  });
}

/** An answer without what says which version gave it: the decider that decided again, and what verify looked at. */
function asLasting(answer: unknown): unknown {
  const { again, checks: _, ...rest } = answer as { again?: { decider?: string }; checks?: object };
  if (again === undefined) return rest;
  const { decider: __, ...verdict } = again;
  return { ...rest, again: verdict };
}

// Before a change of what is stored: VF_TEST_RECORD=<name> npm test -- old-logs
const record = process.env['VF_TEST_RECORD'];
if (record !== undefined && !existsSync(join(FIXTURES, record))) {
  test('records a log of this version', () => recordLog(programs, join(FIXTURES, record)));
}
