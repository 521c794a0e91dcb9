import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { findNatsServer } from '#broker';
import { VfScheduler } from '#client';
import { freePort, Programs, type Program } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(60_000);

const programs = new Programs();
afterAll(() => programs.end());

const PASSWORD = 's3cret@:/%,w0rd';
const TOKEN = 't0ken-of-theirs';
const ENCODED = encodeURIComponent(PASSWORD);

/** A nats-server with a user and a password, or a token. @returns its port. */
async function guarded(authorization: string): Promise<number> {
  const { path } = await findNatsServer();
  const directory = await programs.directory();
  const port = await freePort();
  const file = join(directory, 'nats-server.conf');
  await writeFile(
    file,
    `host: "127.0.0.1"\nport: ${port}\nmax_payload: 2097152\njetstream { store_dir: ${JSON.stringify(directory)} }\nauthorization { ${authorization} }\n`,
  );
  // Ended with its directory.
  spawn(path, ['-c', file], { stdio: 'ignore' });
  await until(
    'the server',
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true));
        socket.on('error', () => resolve(false)).on('connect', () => socket.end());
      }),
  );
  return port;
}

/** All that a process has said, and what others of this machine can see of it. */
const shownBy = (program: Program): string =>
  program.stdout +
  program.stderr +
  (program.running
    ? readFileSync(`/proc/${program.pid}/cmdline`, 'utf8') + readFileSync(`/proc/${program.pid}/comm`, 'utf8')
    : '');

const SECRETS = /s3cret|w0rd|t0ken|wr0ng/;

describe('a password in VF_NATS_URL', () => {
  test('logs in, by user and password or by a token, and is nowhere to be seen', async () => {
    const users = `users: [{ user: "vf", password: ${JSON.stringify(PASSWORD)} }]`;
    const withUser = await guarded(users);
    const another = await guarded(users);
    const withToken = await guarded(`token: ${JSON.stringify(TOKEN)}`);
    const user = `vf:${ENCODED}@127.0.0.1:${withUser}`;
    for (const [url, shown, log] of [
      [`nats://${user}`, `nats://127.0.0.1:${withUser}`, undefined],
      [`nats://${TOKEN}@127.0.0.1:${withToken}`, `nats://127.0.0.1:${withToken}`, undefined],
      // Several addresses of one cluster, one of which nobody answers; the log has a connection of its own.
      [
        `nats://vf:${ENCODED}@127.0.0.1:${another},nats://vf:${ENCODED}@127.0.0.1:1`,
        `nats://127.0.0.1:${another},nats://127.0.0.1:1`,
        'jetstream:',
      ],
    ] as const) {
      const program = await programs.start('allocator', {
        VF_NATS_URL: url,
        VF_LOG_LEVEL: 'trace',
        ...(log && { VF_EVENT_LOG: log }),
      });
      const ready = await program.ready();
      expect(ready.nats).toBe(shown);
      const health = await (await fetch(`${ready.http}/health/ready`)).text();
      const openApi = await (await fetch(`${ready.http}/openapi.json`)).text();
      const client = await VfScheduler.connect({ servers: url });
      expect((await client.ask('VmRebooted', { vmId: 'vm-1' })).ignored).toBe('unknown');
      await client.close();
      expect(await program.stop()).toEqual({ code: 0, signal: null });
      expect(shownBy(program) + health + openApi).not.toMatch(SECRETS);
    }
  });

  test('that is wrong, or cannot be read, is a sentence without it', async () => {
    const port = await guarded(`users: [{ user: "vf", password: ${JSON.stringify(PASSWORD)} }]`);
    const at = `127.0.0.1:${port}`;
    for (const [url, sentence, more] of [
      [`nats://vf:wr0ng@${at}`, /Authorization Violation.*user and password in VF_NATS_URL/i],
      [`nats://wr0ng@${at}`, /Authorization Violation/i],
      [`nats://${at}`, /Authorization Violation/i],
      [`nats://vf:wr0ng%zz@${at}`, /not percent-encoded/],
      [`nats://vf:wr0ng/more@${at}`, /VF_NATS_URL.*percent-encoded/],
      [`nats://vf:1/wr0ng@${at}`, /VF_NATS_URL.*percent-encoded/],
      [`nats://vf:1#wr0ng@${at}`, /VF_NATS_URL.*percent-encoded/],
      [`nats://vf:wr0ng,more@${at}`, /VF_NATS_URL.*percent-encoded/],
      [`nats://vf:wr0ng@${at},nats://vf:0ther@${at}`, /different users or passwords/],
      [`http://vf:wr0ng@${at}`, /VF_NATS_URL.*not a NATS URL/],
      [`nats://vf:wr0ng@${at}`, /give one of them/, { VF_NATS_CREDS: '/dev/null' }],
      [`nats://vf:wr0ng@${at}`, /Authorization Violation/i, { VF_EVENT_LOG: 'jetstream:' }],
    ] as const) {
      const program = await programs.start('allocator', { VF_NATS_URL: url, VF_LOG_LEVEL: 'trace', ...more });
      expect([url, (await program.exit()).code]).toEqual([url, 1]);
      expect(program.stderr.trimEnd().split('\n').at(-1)).toMatch(sentence);
      expect(shownBy(program)).not.toMatch(SECRETS);
    }
    const refused = await VfScheduler.connect({ servers: `nats://vf:wr0ng@${at}` }).catch(
      (error: unknown) => error,
    );
    expect(JSON.stringify([refused, String(refused), (refused as { facts?: object }).facts])).not.toMatch(
      SECRETS,
    );
  });
});
