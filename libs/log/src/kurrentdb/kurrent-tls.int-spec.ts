import { execFileSync } from 'node:child_process';
import { createConnection, createServer, type AddressInfo } from 'node:net';
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
const quick = { timeout: 2000, firstWait: 10, patience: 10_000, tries: 2 };

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

  test.each([
    ['that another authority vouches for', () => otherCa, '127.0.0.1', 'is signed by an unknown authority'],
    ['whose certificate has other names', () => ca, '127.0.0.2', 'is for other names'],
  ])('a server %s is NOT_ALLOWED at once, and the sentence says why', async (_, authorityFile, host, why) => {
    // A double listens on one address; the other is a wire to it.
    const wire = createServer((near) => {
      const far = createConnection(double.port, '127.0.0.1');
      for (const socket of [near, far]) socket.on('error', () => undefined);
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((listening) => wire.listen(0, host, listening));
    const { port } = wire.address() as AddressInfo;
    const begun = performance.now();
    try {
      const url = `kurrentdb://${user}@${host}:${port}?tlsCAFile=${encodeURIComponent(authorityFile())}`;
      await expect(KurrentLog.open(url, { ...quick, patience: 60_000 })).rejects.toMatchObject({
        code: 'NOT_ALLOWED',
        message: expect.stringMatching(new RegExp(`^kurrentdb://${host}:${port} cannot be used: .*${why}`)),
      });
    } finally {
      await new Promise((closed) => wire.close(closed));
    }
    expect(performance.now() - begun).toBeLessThan(30_000);
  });

  test('a server that does not speak TLS, and one that only speaks it, are told apart at once', async () => {
    const plain = await new KurrentDouble().start();
    try {
      for (const [url, why] of [
        [`kurrentdb://127.0.0.1:${plain.port}?tls=true`, 'does not speak TLS: write tls=false'],
        [`kurrentdb://127.0.0.1:${double.port}?tls=false`, 'takes TLS only: write tls=true'],
      ] as const) {
        const begun = performance.now();
        // Sooner than an answer is given up.
        const opening = KurrentLog.open(url, { ...quick, timeout: 30_000, patience: 60_000 });
        await expect(opening).rejects.toMatchObject({
          code: 'NOT_ALLOWED',
          message: expect.stringContaining(why),
        });
        expect(performance.now() - begun).toBeLessThan(20_000);
      }
    } finally {
      await plain.stop();
    }
  });

  test('a file that is no certificate is said, with the parameters that name files', async () => {
    const text = join(directory, 'names');
    const url = `kurrentdb://127.0.0.1:${double.port}?userCertFile=${text}&userKeyFile=${text}`;
    await expect(KurrentLog.open(url, quick)).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
      message: expect.stringMatching(/not a certificate or key in PEM.*userCertFile/),
    });
  });

  test('a stream that begins lets only our user and the administrators write; rights that are there stay', async () => {
    const log = await open(user, ca);
    await log.append('guarded', 0, sampleDecisions(emptyHead('guarded')));
    const ours = ['vf', '$admins'];
    expect(double.storage.metadata('vfCluster-guarded')).toEqual({
      $acl: { $w: ours, $d: ['$admins'], $mw: ours },
    });
    const theirs = { $acl: { $w: ['vf', 'another'] }, note: 'by the operator' };
    double.storage.setMetadata('vfCluster-given', theirs);
    await log.append('given', 0, sampleDecisions(emptyHead('given')));
    expect(double.storage.metadata('vfCluster-given')).toEqual(theirs);
    expect(await log.incomplete('guarded')).toBeUndefined();
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
