import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, cp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { userInfo } from 'node:os';
import Database from 'libsql';
import { findNatsServer } from '#broker';
import { hostReported, vmStart } from './support/inputs.js';
import { NatsClient } from './support/nats-client.js';
import { freePort, natsServersBelow, Programs, type ProgramName, type Settings } from './support/programs.js';

const programs = new Programs();
const listeners: Server[] = [];
const others: ChildProcess[] = [];
afterAll(async () => {
  for (const other of others) other.kill('SIGKILL');
  await Promise.all(listeners.map((server) => new Promise((done) => server.close(done))));
  await programs.end();
});

interface Refusal {
  /** What it said to the person who started it. */
  readonly sentence: string;
  readonly code: number | null;
}

/** Starts a program that must not start. */
async function refused(
  name: ProgramName,
  settings: Settings,
  options: { user?: number; timeout?: number } = {},
): Promise<Refusal> {
  const dataDir = settings['VF_DATA_DIR'] ?? (await programs.directory());
  const program = await programs.start(name, { ...settings, VF_DATA_DIR: dataDir }, options);
  const { code } = await program.exit(options.timeout ?? 20_000);
  expect(program.stdout).toBe('');
  // The log is JSON; what is not is for the person.
  const said = program.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  expect(said).toHaveLength(1);
  expect(natsServersBelow(dataDir)).toEqual([]);
  return { sentence: said[0] as string, code };
}

/** Ends with 1, and a sentence in which all of this is found. */
function expectRefusal({ sentence, code }: Refusal, ...parts: readonly (string | RegExp)[]): void {
  expect(sentence).toMatch(/^vf-scheduler: \S+/);
  expect(sentence.length).toBeLessThan(1000);
  for (const part of parts)
    expect(sentence).toEqual(expect.stringMatching(part instanceof RegExp ? part : literally(part)));
  expect(code).toBe(1);
}

const literally = (text: string): RegExp => new RegExp(text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'));

/** Something that listens on a port of its own. */
async function listener(greeting?: string): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    // Read, so that its end is seen and the listener can be closed.
    if (greeting === undefined) return void socket.resume();
    socket.write(greeting);
    socket.on('data', (data) => {
      if (data.includes('PING')) socket.write('PONG\r\n');
    });
  });
  listeners.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as { port: number }).port;
}

/** By name: the settings, and what the sentence must say. The variable is named always. */
const BAD_VALUES: ReadonlyArray<readonly [variable: string, value: string, ...says: (string | RegExp)[]]> = [
  ['VF_DATADIR', '/tmp', 'no such setting', 'VF_DATA_DIR'],
  ['VF_NATS_URL', 'http://127.0.0.1:4222', "'http://127.0.0.1:4222'", 'nats://'],
  ['VF_NATS_SERVER', '/does/not/exist', '/does/not/exist', '2.11'],
  ['VF_NATS_SERVER', 'no-such-command', 'no-such-command', '2.11'],
  ['VF_NATS_SYNC', 'sometimes', "'sometimes'", 'always'],
  ['VF_NATS_PORT', '70000', '65535'],
  ['VF_NATS_PORT', '42.5', "'42.5'"],
  ['VF_NATS_CREDS', '/does/not/exist.creds', '/does/not/exist.creds'],
  ['VF_EVENT_LOG', 'postgres://localhost', "'postgres://localhost'", 'sqlite:<file>'],
  ['VF_EVENT_LOG', 'sqlite:/dev/null/events.db', '/dev/null/events.db'],
  ['VF_DATA_DIR', '/dev/null/data', '/dev/null/data'],
  ['VF_HTTP_HOST', '203.0.113.77', '203.0.113.77'],
  ['VF_HTTP_HOST', 'no such host', 'no such host'],
  ['VF_HTTP_PORT', 'http', "'http'"],
  ['VF_CLUSTERS', 'east, we st', "'we st'"],
  ['VF_CLUSTERS', '_', "'_'"],
  ['VF_MAX_CLUSTERS', '0', "'0'"],
  ['VF_MAX_CLUSTERS', '1e3', "'1e3'"],
  ['VF_IN_MAX_BYTES', '10 parsecs', "'10 parsecs'", 'GiB'],
  ['VF_IN_MAX_BYTES', '1000', '1MiB'],
  ['VF_IN_MAX_BYTES', '4000TiB', /lower|too/i],
  ['VF_OUT_MAX_BYTES', '-4GiB', "'-4GiB'"],
  ['VF_OUT_MAX_AGE', '30', "'30'", /\bd\b/],
  ['VF_OUT_MAX_AGE', '1y', "'1y'"],
  ['VF_OUT_MAX_AGE', '1ms', '100ms'],
  ['VF_LOG_LEVEL', 'loud', "'loud'", 'info'],
];

/** What takes long is begun at once: most of a start is the loading of code, and a NATS that does not answer is waited for. */
const badValues = new Map<string, Promise<Refusal>>();
let nobody: Promise<Refusal>;
let withoutJetStream: Promise<Refusal>;
let mute: Promise<Refusal>;
let silentPort: number;

beforeAll(async () => {
  silentPort = await freePort();
  const plain = await freePort();
  const { path } = await findNatsServer();
  others.push(spawn(path, ['-a', '127.0.0.1', '-p', String(plain)], { stdio: 'ignore' }));
  nobody = refused('standalone', { VF_NATS_URL: `nats://127.0.0.1:${silentPort}` }, { timeout: 60_000 });
  withoutJetStream = refused('standalone', { VF_NATS_URL: `nats://127.0.0.1:${plain}` }, { timeout: 60_000 });
  const deaf = `kurrentdb://127.0.0.1:${await listener()}?tls=false`;
  mute = refused('standalone', { VF_EVENT_LOG: deaf }, { timeout: 90_000 });
  const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve(), Promise.resolve()];
  BAD_VALUES.forEach(([variable, value], index) => {
    const lane = index % lanes.length;
    const result = lanes[lane]!.then(() => refused('standalone', { [variable]: value }));
    badValues.set(`${variable}=${value}`, result);
    lanes[lane] = result.catch(() => undefined);
  });
  for (const refusal of [nobody, withoutJetStream, mute]) refusal.catch(() => undefined);
});

describe('a setting that makes no sense is refused, with its name', () => {
  test.each(
    BAD_VALUES.map(([variable, value, ...says]) => ({ setting: `${variable}=${value}`, variable, says })),
  )(
    '$setting',
    async ({ setting, variable, says }) => {
      // What is wrong is named: the variable, or the path that it gives.
      const isPath = says.some((part) => typeof part === 'string' && part.startsWith('/'));
      expectRefusal(await badValues.get(setting)!, ...(isPath ? [] : [variable]), ...says);
    },
    60_000,
  );

  test('a KurrentDB that is away, and what it is called has no password in it', async () => {
    const port = await freePort();
    const away = await refused(
      'standalone',
      { VF_EVENT_LOG: `kurrentdb://user:hunter2@127.0.0.1:${port}?tls=false` },
      { timeout: 60_000 },
    );
    expectRefusal(away, 'VF_EVENT_LOG', `no KurrentDB answers at kurrentdb://127.0.0.1:${port} (`);
    expect(away.sentence).not.toContain('hunter2');
  }, 60_000);

  test('something at the place of KurrentDB that never answers, and it ends all the same', async () => {
    expectRefusal(await mute, 'VF_EVENT_LOG', 'no KurrentDB answers at kurrentdb://127.0.0.1:');
  }, 90_000);

  test('a connection string of KurrentDB that says what there is not', async () => {
    const typo = await refused('standalone', { VF_EVENT_LOG: 'kurrentdb://user:hunter2@a:2113?tsl=false' });
    expectRefusal(typo, 'VF_EVENT_LOG', "there is no parameter 'tsl'", 'tlsVerifyCert');
    expect(typo.sentence).not.toContain('hunter2');
  });

  test('files for TLS that are not there, or without a server that they are for', async () => {
    const file = '/does/not/exist.pem';
    const VF_NATS_URL = 'nats://127.0.0.1:1';
    expectRefusal(await refused('standalone', { VF_NATS_URL, VF_NATS_TLS_CA: file }), 'VF_NATS_TLS_CA', file);
    expectRefusal(await refused('standalone', { VF_NATS_URL, VF_NATS_TLS_KEY: file }), 'VF_NATS_TLS_CERT');
    expectRefusal(await refused('standalone', { VF_NATS_TLS_CA: file }), 'VF_NATS_URL', 'VF_NATS_TLS_');
  });

  test('replicas without a cluster of nats-servers to keep them', async () => {
    const refusal = await refused('standalone', { VF_NATS_REPLICAS: '3' });
    expectRefusal(refusal, 'VF_NATS_REPLICAS', 'VF_NATS_URL');
  });

  test('the allocator without VF_NATS_URL', async () => {
    expectRefusal(await refused('allocator', {}), 'VF_NATS_URL', 'nats://127.0.0.1:4222');
  });

  test('VF_NATS_SERVER that is too old', async () => {
    const server = join(await programs.directory(), 'nats-server');
    await writeFile(server, '#!/bin/sh\necho "nats-server: v2.9.10"\n', { mode: 0o755 });
    expectRefusal(
      await refused('standalone', { VF_NATS_SERVER: server }),
      'VF_NATS_SERVER',
      server,
      '2.9.10',
      '2.11',
    );
  });

  test('VF_NATS_SERVER that is something else', async () => {
    expectRefusal(
      await refused('standalone', { VF_NATS_SERVER: '/bin/true' }),
      'VF_NATS_SERVER',
      '/bin/true',
    );
  });

  test('VF_NATS_SERVER that dies at once', async () => {
    const server = join(await programs.directory(), 'nats-server');
    const script =
      '#!/bin/sh\n[ "$1" = --version ] && { echo "nats-server: v2.14.0"; exit 0; }\necho "no luck today" >&2; exit 3\n';
    await writeFile(server, script, { mode: 0o755 });
    expectRefusal(await refused('standalone', { VF_NATS_SERVER: server }), server, 'no luck today');
  });
});

describe('what others hold is refused, and they are left alone', () => {
  test('the port of NATS', async () => {
    const port = String(await listener());
    expectRefusal(await refused('standalone', { VF_NATS_PORT: port }), port, 'VF_NATS_PORT');
  });

  test('the port of HTTP', async () => {
    const port = String(await listener());
    expectRefusal(await refused('standalone', { VF_HTTP_PORT: port }), port, 'VF_HTTP_PORT');
  });

  test('the data directory of a standalone that runs', async () => {
    const dataDir = await programs.directory();
    const first = await programs.start('standalone', { VF_DATA_DIR: dataDir });
    const { nats } = await first.ready();
    const [server] = natsServersBelow(dataDir);
    for (let attempt = 0; attempt < 2; attempt++) {
      const second = await programs.start('standalone', { VF_DATA_DIR: dataDir });
      const { code } = await second.exit();
      expectRefusal({ sentence: second.stderr.trim(), code }, dataDir, 'VF_DATA_DIR', 'another standalone');
    }
    expect(natsServersBelow(dataDir)).toEqual([server]);
    const client = await NatsClient.connect(nats);
    await client.publish(hostReported('h1', 2));
    const start = vmStart('vm1');
    await client.publish(start);
    expect(await client.follow().outcome(start.event.id)).toMatchObject({ type: 'VmStartAccepted' });
    await client.close();
    expect((await first.stop()).code).toBe(0);
  });
});

describe('a data directory that cannot be used is refused, with its path', () => {
  test('a file', async () => {
    const file = join(await programs.directory(), 'data');
    await writeFile(file, 'not a directory');
    expectRefusal(
      await refused('standalone', { VF_DATA_DIR: file }),
      file,
      'VF_DATA_DIR',
      /not a directory|a file/,
    );
    expect(await readFile(file, 'utf8')).toBe('not a directory');
  });

  test('one without permission to write', async () => {
    const directory = await programs.directory();
    await chmod(directory, 0o555);
    // Root may write everywhere: then the program runs as nobody.
    const user = userInfo().uid === 0 ? 65_534 : undefined;
    const scratch = await programs.directory();
    await chmod(scratch, 0o755);
    if (user !== undefined) await chown(scratch, user, user);
    const settings = { VF_DATA_DIR: directory, TMPDIR: scratch };
    expectRefusal(
      await refused('standalone', settings, { ...(user && { user }) }),
      directory,
      'VF_DATA_DIR',
      'permission',
    );
  });

  test('one whose log belongs to somebody else', async () => {
    if (userInfo().uid !== 0) {
      process.stderr.write('skipped: only root can make a file that another user may not write\n');
      return;
    }
    const directory = await programs.directory();
    await chown(directory, 65_534, 65_534);
    await writeFile(join(directory, 'events.db'), '', { mode: 0o444 });
    expectRefusal(
      await refused('standalone', { VF_DATA_DIR: directory }, { user: 65_534 }),
      join(directory, 'events.db'),
      /permi|write/,
    );
  });
});

describe('a log that is not what it was is refused, and is not changed', () => {
  let base: string;
  let older: string;
  let events = 0;

  /** A data directory with a host and some starts. */
  async function made(dataDir: string, starts: readonly string[]): Promise<number> {
    const program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
    const client = await NatsClient.connect((await program.ready()).nats);
    await client.publish(hostReported('h1', 8));
    for (const vmId of starts) {
      const start = vmStart(vmId);
      await client.publish(start);
      await client.follow().outcome(start.event.id);
    }
    const all = await client.readOut();
    await client.close();
    await program.stop();
    return all.length;
  }

  beforeAll(async () => {
    base = await programs.directory();
    await made(base, ['vm1', 'vm2']);
    older = join(await programs.directory(), 'events.db');
    await copyFile(join(base, 'events.db'), older);
    events = await made(base, ['vm3', 'vm4']);
  });

  /** A copy of the base with something done to it, and what a start there says. */
  async function startOn(
    change: (file: string, dataDir: string) => Promise<void>,
  ): Promise<Refusal & { file: string }> {
    const dataDir = await programs.directory();
    await cp(base, dataDir, { recursive: true });
    const file = join(dataDir, 'events.db');
    await change(file, dataDir);
    const before = existsSync(file) ? await readFile(file) : undefined;
    const refusal = await refused('standalone', { VF_DATA_DIR: dataDir });
    if (before !== undefined) expect((await readFile(file)).equals(before)).toBe(true);
    return { ...refusal, file };
  }

  const sql = async (file: string, statement: string): Promise<void> => {
    const database = new Database(file);
    database.exec(statement);
    // Into the one file, so that it can be compared.
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    database.close();
  };

  test('an event was edited: names its position', async () => {
    const refusal = await startOn((file) =>
      sql(file, `UPDATE record SET body = replace(body, 'vm2', 'vm9') WHERE position = 5`),
    );
    expectRefusal(refusal, /position 5\b/, "'default'", 'backup');
  });

  test('an event was taken out: names its position', async () => {
    const refusal = await startOn((file) => sql(file, 'DELETE FROM record WHERE position = 3'));
    expectRefusal(refusal, /position 3\b/, 'backup');
  });

  test('a hash was edited: names its position', async () => {
    const refusal = await startOn((file) =>
      sql(file, `UPDATE record SET hash = substr(hash, 2) || '0' WHERE position = 2`),
    );
    expectRefusal(refusal, /position [23]\b/, 'backup');
  });

  test('a byte of an input was flipped in the file: names the position or the file', async () => {
    const refusal = await startOn(async (file) => {
      const bytes = await readFile(file);
      // Everywhere: a page may have a copy of what was moved from it, which nobody reads.
      let flipped = 0;
      for (let at = -1; (at = bytes.indexOf('/e2e/control-plane', at + 1)) >= 0; flipped++)
        bytes[at + 2]! ^= 1;
      expect(flipped).toBeGreaterThan(0);
      await writeFile(file, bytes);
    });
    expectRefusal(refusal, /position \d|events\.db/, 'backup');
  });

  test('garbage: names the file', async () => {
    const refusal = await startOn((file) => writeFile(file, Buffer.alloc(64 * 1024, 'garbage ')));
    expectRefusal(refusal, refusal.file);
  });

  test('its end is torn off: names the file or a position', async () => {
    const refusal = await startOn(async (file) => {
      const { size } = await (await open(file)).stat();
      await truncate(file, size - 8192);
    });
    expectRefusal(refusal, /events\.db|position \d/);
  });

  test('pages in the middle are overwritten: names the file or a position', async () => {
    const refusal = await startOn(async (file) => {
      const handle = await open(file, 'r+');
      const { size } = await handle.stat();
      for (let page = 1; page < size / 8192; page++)
        await handle.write(Buffer.alloc(4096, 0xa5), 0, 4096, page * 8192);
      await handle.close();
    });
    expectRefusal(refusal, /events\.db|position \d/);
  });

  test('a file of another application: names the file', async () => {
    const refusal = await startOn(async (file) => {
      await rm(file);
      await sql(file, 'CREATE TABLE bookmarks (url TEXT); PRAGMA application_id = 7;');
    });
    expectRefusal(refusal, refusal.file, 'application');
  });

  test('an older copy was put back: the log is behind VF_OUT', async () => {
    const refusal = await startOn((file) => copyFile(older, file));
    expectRefusal(
      refusal,
      'VF_OUT_default',
      'behind',
      new RegExp(`position \\d+, and VF_OUT_default at ${events}\\b`),
      'VF_DATA_DIR',
    );
  });

  test('it was deleted: a new one is not the log that belongs to VF_OUT', async () => {
    const refusal = await startOn((file) => rm(file));
    expectRefusal(refusal, 'VF_OUT_default', 'is empty', 'not the log that belongs to this NATS');
  });

  test('it is the log of another history: names both', async () => {
    const other = await programs.directory();
    const length = await made(other, ['vm1', 'vm2', 'vm3', 'vm4', 'vm5']);
    expect(length).toBeGreaterThan(events);
    const refusal = await startOn((file) => copyFile(join(other, 'events.db'), file));
    expectRefusal(
      refusal,
      'VF_OUT_default',
      /begins with [0-9a-f]{64}, and .* begins with [0-9a-f]{64}/,
      'not the log that belongs to this NATS',
    );
  });

  test('the same on a NATS of others, with an allocator', async () => {
    const server = await programs.natsServer();
    const dataDir = await programs.directory();
    const program = await programs.start('allocator', { VF_NATS_URL: server.url, VF_DATA_DIR: dataDir });
    await program.ready();
    const client = await NatsClient.connect(server.url);
    await client.publish(hostReported('h1', 2));
    await client.follow().first('the host', () => true);
    await client.close();
    await program.stop();
    const refusal = await refused('allocator', { VF_NATS_URL: server.url });
    expectRefusal(refusal, 'VF_OUT_default', 'is empty', 'VF_EVENT_LOG');
  });

  test('the untouched copy starts', async () => {
    const dataDir = await programs.directory();
    await cp(base, dataDir, { recursive: true });
    const program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
    await program.ready();
    await program.stop();
  });
});

describe('a NATS that will not do is refused (VF_NATS_URL)', () => {
  test('one that is too old', async () => {
    const info = {
      server_id: 'old',
      version: '2.9.10',
      proto: 1,
      headers: true,
      max_payload: 1_048_576,
      jetstream: true,
    };
    const old = await listener(`INFO ${JSON.stringify(info)}\r\n`);
    expectRefusal(
      await refused('standalone', { VF_NATS_URL: `nats://127.0.0.1:${old}` }),
      '2.9.10',
      '2.11',
      String(old),
    );
  });

  test('nobody answers', async () => {
    expectRefusal(await nobody, `127.0.0.1:${silentPort}`, 'VF_NATS_URL');
  }, 60_000);

  test('one without JetStream', async () => {
    expectRefusal(await withoutJetStream, 'JetStream', /-js\b/);
  }, 60_000);
});
