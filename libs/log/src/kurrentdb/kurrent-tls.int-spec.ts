import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { emptyHead } from '../chain.js';
import type { StoredRecord } from '../record.js';
import { collect, sampleDecisions } from '../sample-records.js';
import { KurrentDouble } from './double.js';
import { KurrentLog, type KurrentLogOptions } from './kurrent-log.js';

const users = {
  vf: { password: 'p@ss:w/rd%' },
  reader: { password: 'reader', writes: false },
};
const user = `vf:${encodeURIComponent(users.vf.password)}`;
const quick = { timeout: 2000, firstWait: 10, patience: 1, tries: 2 };

let directory: string;
let ca: string;
let otherCa: string;
let tls: { key: string; cert: string };
let double: KurrentDouble;
const logs: KurrentLog[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-kurrent-tls-'));
  ca = authority('ca');
  otherCa = authority('other');
  const [key, request, cert] = ['node.key', 'node.csr', 'node.pem'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const names = join(directory, 'names');
  await writeFile(names, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', request, '-subj', '/CN=localhost');
  const signer = ['-CA', ca, '-CAkey', join(directory, 'ca.key'), '-CAcreateserial'];
  openssl('x509', '-req', '-in', request, ...signer, '-out', cert, '-days', '2', '-extfile', names);
  tls = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
  double = await new KurrentDouble({ tls, users }).start();
}, 60_000);

afterEach(async () => {
  await Promise.all(logs.splice(0).map((log) => log.close()));
});
afterAll(async () => {
  await double?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('over TLS, with an authority of our own', () => {
  test.each([
    ['of the connection string, by BatchAppend', user, {}, 'batchAppend'],
    [
      'given with each call, by Append',
      '',
      { credentials: { username: 'vf', password: users.vf.password } },
      'append',
    ],
  ] as const)('a user %s appends, reads and follows', async (what, name, options, path) => {
    const log = await open(name, ca, options);
    expect(log.name).toBe(`kurrentdb://127.0.0.1:${double.port}`);
    const before = { ...double.calls };
    const stream = `tls-${path}`;
    const decisions = sampleDecisions(emptyHead(stream), { decisions: 2, data: what });
    await log.append(stream, 0, decisions);
    await log.append(stream, 0, decisions);
    expect(await collect(log.read(stream, 1))).toEqual(decisions.flat());
    const stop = new AbortController();
    const seen: StoredRecord[] = [];
    for await (const records of log.follow(stream, 1, stop.signal)) {
      seen.push(...records);
      if (seen.length === 1) await log.append(stream, 2, sampleDecisions(await log.head(stream)));
      else stop.abort();
    }
    expect(seen.map(({ position }) => position)).toEqual([2, 3]);
    await log.saveSnapshot(stream, { position: 1, hash: 'a', version: '1', state: '{}' });
    expect(await log.snapshots(stream)).toHaveLength(1);
    expect(double.calls[path]).toBeGreaterThan(before[path]);
    const other = path === 'append' ? 'batchAppend' : 'append';
    expect(double.calls[other]).toBe(before[other]);
  });

  test('a password that is wrong, or a user who is not known, is NOT_ALLOWED, and is not said', async () => {
    for (const wrong of ['vf:hunter2', 'nobody:hunter2']) {
      const opening = open(wrong, ca);
      await expect(opening).rejects.toMatchObject({
        code: 'NOT_ALLOWED',
        message: expect.stringMatching(/does not allow us to read(?!.*hunter2)/),
      });
    }
  });

  test('a user who may only read is told so at the first append', async () => {
    const log = await open('reader:reader', ca);
    await expect(log.append('mine', 0, sampleDecisions(emptyHead('mine')))).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
      message: expect.stringContaining('the right to read and write the streams vf…'),
    });
  });

  test('a server that another authority vouches for is not trusted, and the sentence says why', async () => {
    await expect(open(user, otherCa)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/^no KurrentDB answers at .*certificate/),
    });
  });

  test('a server that does not speak TLS, and one that only speaks it, are not taken for each other', async () => {
    const plain = await new KurrentDouble().start();
    try {
      await expect(
        KurrentLog.open(`kurrentdb://127.0.0.1:${plain.port}?tls=true&discoveryInterval=10`, quick),
      ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await expect(
        KurrentLog.open(`kurrentdb://127.0.0.1:${double.port}?tls=false&discoveryInterval=10`, quick),
      ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    } finally {
      await plain.stop();
    }
  });
});

async function open(
  name: string,
  authorityFile: string,
  options: KurrentLogOptions = {},
): Promise<KurrentLog> {
  const query = `&discoveryInterval=10&tlsCAFile=${encodeURIComponent(authorityFile)}`;
  const log = await KurrentLog.open(double.url(name, query), { ...quick, ...options });
  logs.push(log);
  return log;
}

/** A certificate authority of its own; gives the file of its certificate. */
function authority(name: string): string {
  const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.pem`)];
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    key,
    '-out',
    cert,
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
  );
  return cert;
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
