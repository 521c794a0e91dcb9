import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readSettings } from '#wire';
import { readEarlierAuditKeys } from './read-side.js';

const publicPem = (key = generateKeyPairSync('ed25519').publicKey): string =>
  key.export({ type: 'spki', format: 'pem' }) as string;
const privatePem = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-keys-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

const named = (...files: readonly string[]) =>
  readEarlierAuditKeys(
    readSettings({ VF_AUDIT_EARLIER_KEYS: files.map((file) => join(directory, file)).join(', ') }),
  );

test('the earlier keys are all those of all files', async () => {
  const [one, two, three] = [publicPem(), publicPem(), publicPem()];
  await writeFile(join(directory, 'first.pub'), `of 2025:\n${one}of 2026:\n${two}`);
  await writeFile(join(directory, 'second.pub'), three.replaceAll('\n', '\r\n'));
  const found = await named('first.pub', 'second.pub');
  expect(found.map((key) => publicPem(key))).toEqual([one, two, three]);
  expect(await readEarlierAuditKeys(readSettings({}))).toEqual([]);
});

test.each<[string, string | undefined, RegExp]>([
  ['that is not there', undefined, /keys\.pub cannot be read \(ENOENT\)/],
  ['that is empty', '', /has no public key/],
  ['that is no key', 'hello', /has no public key/],
  ['with a private key', privatePem(), /has a private key/],
  ['with both', publicPem() + privatePem(), /has a private key/],
  [
    'with a key of another kind',
    publicPem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey),
    /has a key of ec, not of Ed25519/,
  ],
  ['with one that is torn', publicPem().replace(/MC./, ''), /has something that is no public key/],
])('a file of earlier keys %s is refused', async (_, content, sentence) => {
  const file = join(directory, 'keys.pub');
  await rm(file, { force: true });
  if (content !== undefined) await writeFile(file, content);
  await expect(named('keys.pub')).rejects.toThrow(sentence);
  await expect(named('keys.pub')).rejects.toMatchObject({ variable: 'VF_AUDIT_EARLIER_KEYS' });
});

test('a list of files with nothing between commas is refused', () => {
  for (const value of [',', 'a.pub,', ',a.pub', 'a.pub,,b.pub'])
    expect(() => readSettings({ VF_AUDIT_EARLIER_KEYS: value })).toThrow(
      /^VF_AUDIT_EARLIER_KEYS: .* has a comma/,
    );
});
