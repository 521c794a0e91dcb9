import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reportHosts } from './support/conversation.js';
import { NatsClient } from './support/nats-client.js';
import { Programs, type Program } from './support/programs.js';

jest.setTimeout(60_000);

const programs = new Programs();
const umask = process.umask();
afterAll(async () => {
  process.umask(umask);
  await programs.end();
});

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

/** What in a directory others may do anything with, and itself. */
function open(path: string): readonly string[] {
  const found = lstatSync(path);
  const here = (found.mode & 0o077) === 0 ? [] : [`${path} ${modeOf(path)}`];
  return found.isDirectory()
    ? [...here, ...readdirSync(path).flatMap((name) => open(join(path, name)))]
    : here;
}

const warnings = (program: Program): readonly string[] =>
  program.log(40).flatMap(({ msg }) => (/open to others/.test(msg) ? [msg] : []));

async function inUse(data: string): Promise<Program> {
  const program = await programs.start('standalone', { VF_DATA_DIR: data });
  const { nats } = await program.ready();
  const client = await NatsClient.connect(nats);
  await reportHosts(client);
  await client.close();
  return program;
}

describe('what is kept is nobody else’s', () => {
  test.each([0o000, 0o077])('with umask %o: directories 700, files 600, while it runs', async (mask) => {
    process.umask(mask);
    const data = join(await programs.directory(), 'deep', 'data');
    const program = await inUse(data);
    process.umask(umask);
    expect(modeOf(data)).toBe('700');
    expect(open(data)).toEqual([]);
    // SQLite's own files are among them.
    expect(readdirSync(data)).toEqual(
      expect.arrayContaining(['events.db', 'events.db-wal', 'nats', 'read.db']),
    );
    expect(warnings(program)).toEqual([]);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(open(data)).toEqual([]);
  });

  test('what was left open before is narrowed, and it is said; the second time there is nothing to say', async () => {
    const data = join(await programs.directory(), 'data');
    const first = await inUse(data);
    await first.stop();
    const widen = (path: string): void => {
      const directory = lstatSync(path).isDirectory();
      chmodSync(path, directory ? 0o755 : 0o644);
      if (directory) for (const name of readdirSync(path)) widen(join(path, name));
    };
    mkdirSync(join(data, 'signed-heads'));
    writeFileSync(join(data, 'signed-heads', 'default.json'), '{}');
    widen(data);
    const second = await inUse(data);
    expect(open(data)).toEqual([]);
    expect(warnings(second)).toEqual([
      `the data directory ${data} was open to others (mode 755): it is 700 now`,
      expect.stringMatching(/^\d+ files in .* were open to others: they are not any more$/),
    ]);
    await second.stop();
    const third = await inUse(data);
    expect(warnings(third)).toEqual([]);
    await third.stop();
  });

  test('a directory with other things in it is left as it is, and it is said; what is ours is narrowed', async () => {
    const data = await programs.directory();
    writeFileSync(join(data, 'letter.txt'), 'to somebody');
    writeFileSync(join(data, 'events.db-notes.txt'), 'not SQLite’s');
    chmodSync(join(data, 'letter.txt'), 0o755);
    chmodSync(data, 0o755);
    const program = await inUse(data);
    expect(modeOf(data)).toBe('755');
    expect(modeOf(join(data, 'letter.txt'))).toBe('755');
    expect(open(data).filter((line) => !/letter|notes|755$/.test(line))).toEqual([]);
    expect(warnings(program)).toEqual([
      expect.stringMatching(/is left as it is, because there are other things in it/),
    ]);
    await program.stop();
  });

  test('a directory of another user is left to that user, and it is said', async () => {
    if (process.getuid?.() !== 0) return;
    const data = await programs.directory();
    chownSync(data, 12_345, 0);
    chmodSync(data, 0o777);
    const program = await inUse(data);
    expect(modeOf(data)).toBe('777');
    expect(warnings(program)).toEqual([expect.stringMatching(/because it belongs to user 12345/)]);
    await program.stop();
  });

  test('an allocator beside a nats-server of its own keeps to it, too', async () => {
    const server = await programs.natsServer();
    process.umask(0o000);
    const data = join(await programs.directory(), 'data');
    const program = await programs.start('allocator', { VF_DATA_DIR: data, VF_NATS_URL: server.url });
    await program.ready();
    process.umask(umask);
    expect(open(data)).toEqual([]);
    expect(readdirSync(data)).toContain('events.db');
    await program.stop();
  });
});
