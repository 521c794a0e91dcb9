import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { VfScheduler } from '#client';
import { signedHeadLine, signHead, SqliteLog } from '#log';
import { startStandalone, type Standalone } from '#standalone';
import { readSettings } from '#wire';

// Processes and threads are started here, on machines that may be busy.
jest.setTimeout(60_000);

const BUCKET = 'VF_HEADS';
const SUBJECT = `$KV.${BUCKET}.default`;
const ours = generateKeyPairSync('ed25519');
const theirs = generateKeyPairSync('ed25519');
const TIME = '2026-11-25T00:00:00.000Z';

let directory: string;
let standalone: Standalone;
let nats: NatsConnection;
let manager: JetStreamManager;

interface Verified {
  readonly position: string;
  readonly ok: boolean;
  readonly head: { readonly position: string; readonly hash: string };
  readonly firstBad?: { readonly position: string; readonly message: string };
  readonly checks: { readonly signedHead: { ok: boolean; position?: string; message?: string } };
}

async function start(settings: Record<string, string> = {}): Promise<void> {
  standalone = await startStandalone(
    readSettings({
      VF_DATA_DIR: join(directory, 'data'),
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'silent',
      VF_AUDIT_KEY: join(directory, 'key.pem'),
      ...settings,
    }),
  );
  nats = await connect({ servers: standalone.ready.nats });
  manager = await jetstreamManager(nats);
}

async function stop(): Promise<void> {
  await nats.close();
  await standalone.stop();
}

async function writeKey(name: string, key: KeyObject): Promise<void> {
  const pem =
    key.type === 'private'
      ? key.export({ type: 'pkcs8', format: 'pem' })
      : key.export({ type: 'spki', format: 'pem' });
  await writeFile(join(directory, name), pem);
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-heads-'));
  await writeKey('key.pem', ours.privateKey);
  await writeKey('key.pub', ours.publicKey);
  await writeKey('new.pem', theirs.privateKey);
  await writeKey('new.pub', theirs.publicKey);
  await start();
});

afterAll(async () => {
  await stop();
  await rm(directory, { recursive: true, force: true });
});

const get = (path: string) => fetch(`${standalone.ready.http}/v1/clusters/${path}`);
const verify = async (cluster = 'default'): Promise<Verified> =>
  (await (await get(`${cluster}/verify`)).json()) as Verified;
async function happen(vmId: string, cluster = 'default'): Promise<void> {
  const client = await VfScheduler.connect({ servers: standalone.ready.nats, cluster });
  await client.ask('VmStopped', { vmId });
  await client.close();
}

/** What is in both places; undefined where there is nothing. */
interface Places {
  readonly file?: string | Uint8Array;
  readonly bucket?: string | Uint8Array;
}

const path = (): string => join(directory, 'data/signed-heads/default.json');

async function places(): Promise<Required<Places>> {
  const kept = await manager.streams.getMessage(`KV_${BUCKET}`, { last_by_subj: SUBJECT });
  return { file: await readFile(path(), 'utf8'), bucket: kept!.string() };
}

/** Puts something in both places, as whoever may do so. */
async function put({ file, bucket }: Places): Promise<void> {
  await rm(path(), { recursive: true, force: true });
  if (file !== undefined) await writeFile(path(), file);
  await new Kvm(nats).create(BUCKET, { history: 16 });
  if (bucket !== undefined) await nats.request(SUBJECT, bucket);
  else await manager.streams.purge(`KV_${BUCKET}`, { filter: SUBJECT });
}

test('an instance with a key and no head says so, and keeps what it signs in two places', async () => {
  await happen('vm-1');
  const first = await verify();
  expect(first.ok).toBe(true);
  expect(first.checks.signedHead).toEqual({
    ok: true,
    message: expect.stringMatching(
      /^there is none, and this instance has a key: nothing was signed yet, or both/,
    ),
  });
  // It is not for who only asks to change that.
  expect(await verify()).toEqual(first);
  await (await get('default/export')).text();
  const second = await verify();
  expect(second.checks.signedHead).toEqual({ ok: true, position: first.position });
  const { file, bucket } = await places();
  expect(bucket).toBe(file);
  expect((await manager.streams.info(`KV_${BUCKET}`)).config).toMatchObject({
    storage: 'file',
    num_replicas: 1,
  });
  // What was signed is not kept again.
  await (await get('default/export')).text();
  expect((await manager.streams.info(`KV_${BUCKET}`)).state.messages).toBe(1);
});

describe('verify and the signer are told apart', () => {
  /** Both true, the second of a longer log. */
  let older: Required<Places>;
  let good: Required<Places>;
  let position: string;
  let elsewhere: string;

  beforeAll(async () => {
    older = await places();
    await happen('vm-2');
    await happen('vm-2', 'other');
    expect((await get('default/export')).status).toBe(200);
    await (await get('default/export')).text();
    await (await get('other/export')).text();
    good = await places();
    ({ position } = await verify());
    elsewhere = await readFile(join(directory, 'data/signed-heads/other.json'), 'utf8');
    expect(position).toBe('2');
  });

  const signed = (key: KeyObject, at = 2, hash = '0'.repeat(64), cluster = 'default'): string =>
    `${signedHeadLine(signHead(cluster, { position: at, hash }, key, TIME)).slice(0, -1)},"keptBy":"0123456789abcdef"}\n`;
  /** As ours, of this very log, by a key of their own. */
  const forged = async (): Promise<string> => signed(theirs.privateKey, 2, (await verify()).head.hash);
  const rewritten = (text: string): string => text.replace(/"hash":"\w{64}"/, `"hash":"${'0'.repeat(64)}"`);

  type Attack = readonly [string, () => Places | Promise<Places>, RegExp];
  const garbage: readonly (readonly [string, string | Uint8Array])[] = [
    ['garbage', 'garbage'],
    ['nothing', ' '],
    ['null', 'null'],
    ['an empty object', '{}'],
    ['bytes that are no text', Uint8Array.of(0xff, 0, 0x80, 0x0a)],
    ['a head that is cut off', signed(ours.privateKey).slice(0, 200)],
    ['a head with a space', signed(ours.privateKey).replace(':', ': ')],
    ['a head with a key more', signed(ours.privateKey).replace('"keptBy"', '"x":1,"keptBy"')],
    ['two heads', signed(ours.privateKey) + signed(ours.privateKey)],
    ['64 KiB of zeros', new Uint8Array(65_536)],
    ['a deep list', '['.repeat(20_000)],
  ];
  const attacks: readonly Attack[] = [
    [
      'a head by another key in the file',
      async () => ({ ...good, file: await forged() }),
      /signature by another key \(SHA-256 \w{16}…\).*wrote it$/,
    ],
    [
      'a head by another key in VF_HEADS',
      async () => ({ ...good, bucket: await forged() }),
      /VF_HEADS .* signature by another key/,
    ],
    [
      'a head by another key in both',
      async () => ({ file: await forged(), bucket: await forged() }),
      /another key/,
    ],
    [
      'another hash in the file',
      () => ({ ...good, file: rewritten(good.file as string) }),
      /signature .* signed-heads\/default.json is not good: it was changed/,
    ],
    [
      'another hash in VF_HEADS',
      () => ({ ...good, bucket: rewritten(good.bucket as string) }),
      /signature .* VF_HEADS .* is not good/,
    ],
    [
      'an older true head in the file',
      () => ({ ...good, file: older.file }),
      /^VF_HEADS has a signed head at position 2, .* has one at 1: it was replaced by an older one/,
    ],
    [
      'an older true head in VF_HEADS',
      () => ({ ...good, bucket: older.bucket }),
      /^signed-heads\/default.json has a signed head at position 2.* has one at 1: it was replaced/,
    ],
    [
      'an older true head in both',
      () => older,
      /this process has seen a signed head at position 2 .*the last one there is at 1/,
    ],
    ['no file', () => ({ bucket: good.bucket }), /there is no such file: it was deleted/],
    [
      'a key that was purged from VF_HEADS',
      () => ({ file: good.file }),
      /which was kept in VF_HEADS too, and VF_HEADS .* has no head/,
    ],
    ['neither', () => ({}), /this process has seen a signed head at position 2 .*neither has one now/],
    [
      'a head of another cluster in the file',
      () => ({ ...good, file: elsewhere }),
      /signed-heads\/default.json is about cluster 'other'/,
    ],
    [
      'a head of another cluster in VF_HEADS',
      () => ({ ...good, bucket: elsewhere }),
      /VF_HEADS .* is about cluster 'other'/,
    ],
    [
      'a head of another log in the file',
      () => ({ ...good, file: signed(ours.privateKey) }),
      /signed-heads\/default.json\) and the log tell different histories/,
    ],
    [
      'a head of another log in VF_HEADS',
      () => ({ ...good, bucket: signed(ours.privateKey) }),
      /VF_HEADS .* and the log tell different histories/,
    ],
    [
      'a head of another log, longer',
      () => ({ ...good, bucket: signed(ours.privateKey, 99) }),
      /VF_HEADS .* goes up to position 99, and the log ends at 2/,
    ],
    ...garbage.map(([what, file]): Attack => [
      `${what} in the file`,
      () => ({ ...good, file }),
      /^the last signed head cannot be read: signed-heads\/default.json/,
    ]),
    ...garbage.map(([what, bucket]): Attack => [
      `${what} in VF_HEADS`,
      () => ({ ...good, bucket }),
      /^the last signed head cannot be read: VF_HEADS/,
    ]),
  ];

  test.each(attacks)('%s', async (_, attack, sentence) => {
    await put(good);
    expect((await verify()).checks.signedHead).toEqual({ ok: true, position });
    await put(await attack());
    const found = await verify();
    expect(found).toMatchObject({
      ok: false,
      firstBad: { message: expect.stringMatching(sentence) },
      checks: { chain: { ok: true }, signedHead: { ok: false, message: expect.stringMatching(sentence) } },
    });
    const refused = await get('default/export');
    expect([refused.status, await refused.json()]).toMatchObject([
      409,
      {
        code: 'SIGNED_HEAD_DIFFERS',
        detail: expect.stringMatching(/^nothing is signed, because another history was signed before/),
      },
    ]);
    await put(good);
    expect(await verify()).toMatchObject({ ok: true, checks: { signedHead: { ok: true, position } } });
  });

  test('the bucket deleted', async () => {
    await put(good);
    await manager.streams.delete(`KV_${BUCKET}`);
    expect((await verify()).firstBad?.message).toMatch(
      /VF_HEADS \(key default\) is not there: the bucket was deleted, or this is another NATS/,
    );
    await put(good);
    expect((await verify()).ok).toBe(true);
  });

  test('a directory in the place of the file', async () => {
    await put(good);
    await rm(path());
    await mkdir(path());
    expect((await verify()).firstBad?.message).toMatch(/^the last signed head cannot be read: .*EISDIR/);
    await put(good);
  });

  test('a crash between the two places is no attack: what was to be kept is there', async () => {
    await put({ file: older.file, bucket: good.bucket });
    await writeFile(`${path()}.next`, good.file);
    expect((await verify()).checks.signedHead).toEqual({ ok: true, position });
    // One that never came into the bucket counts for nothing.
    await put({ file: good.file, bucket: good.bucket });
    await writeFile(`${path()}.next`, signed(ours.privateKey, 7));
    expect((await verify()).checks.signedHead).toEqual({ ok: true, position });
    await rm(`${path()}.next`);
  });

  test('a file of a version that knew no bucket is taken as it is, until the next head', async () => {
    const plain = `${(good.file as string).replace(/,"keptBy":"\w+"/, '')}`;
    await put({ file: plain });
    expect((await verify()).checks.signedHead).toEqual({
      ok: true,
      position,
      message: expect.stringMatching(/of a version that knew no VF_HEADS/),
    });
    await put(good);
  });

  test('another instance that signed last explains an older file', async () => {
    const by = (text: string) => text.replace(/"keptBy":"\w+"/, '"keptBy":"fedcba9876543210"');
    await put({ file: older.file, bucket: by(good.bucket as string) });
    expect((await verify()).checks.signedHead).toEqual({
      ok: true,
      position,
      message: expect.stringMatching(/has one at 1: another instance signed last/),
    });
    await put(good);
  });

  test('a log that was written anew, hashes and all, is found by the head in VF_HEADS although the file is gone', async () => {
    await put({ bucket: good.bucket });
    await stop();
    // Whoever edits the data directory takes the streams that would tell with it, but for VF_HEADS.
    const log = await SqliteLog.open(join(directory, 'data/events.db'));
    const records = [];
    for await (const some of log.read('default', 1)) records.push(...some);
    await log.close();
    expect(records).toHaveLength(2);
    const { sealRecord, emptyHead } = await import('#log');
    const { default: Database } = await import('libsql');
    const db = new Database(join(directory, 'data/events.db'));
    let head = emptyHead('default');
    for (const { position: at, body, input } of records) {
      const record = sealRecord(head, body.replaceAll('vm-1', 'vm-9'), input);
      db.prepare(
        "UPDATE record SET body = ?, hash = ? WHERE position = ? AND stream = (SELECT id FROM stream WHERE name = 'default')",
      ).run(record.body, record.hash, at);
      head = record;
    }
    db.close();
    await start({ VF_CLUSTERS: 'other' });
    await manager.streams.delete('VF_OUT_default');
    await stop();
    await start();
    expect((await verify()).firstBad?.message).toMatch(
      /^the last signed head \(VF_HEADS .*\) and the log tell different histories/,
    );
    expect((await get('default/export')).status).toBe(409);
  });
});

test('a head by an earlier key is good where that key is listed, and where it is not, it is by another key', async () => {
  await happen('vm-3', 'keys');
  await (await get('keys/export')).text();
  expect((await verify('keys')).checks.signedHead).toEqual({ ok: true, position: '1' });
  await stop();
  await start({ VF_AUDIT_KEY: join(directory, 'new.pem') });
  expect((await verify('keys')).firstBad?.message).toMatch(
    /another key \(SHA-256 \w+…\), which is neither that of VF_AUDIT_KEY nor one of VF_AUDIT_EARLIER_KEYS/,
  );
  expect((await get('keys/export')).status).toBe(409);
  await stop();
  const earlier = `${join(directory, 'new.pub')}, ${join(directory, 'key.pub')}`;
  await start({ VF_AUDIT_KEY: join(directory, 'new.pem'), VF_AUDIT_EARLIER_KEYS: earlier });
  expect((await verify('keys')).checks.signedHead).toEqual({ ok: true, position: '1' });
  await happen('vm-4', 'keys');
  await (await get('keys/export')).text();
  await stop();
  // Without any key nothing is proven, and it is not called good.
  await start({ VF_AUDIT_KEY: '' });
  expect((await verify('keys')).checks.signedHead).toEqual({
    ok: true,
    message: expect.stringMatching(/position 2 is not proven: no key is known here/),
  });
  await stop();
  await start({ VF_AUDIT_KEY: '', VF_AUDIT_EARLIER_KEYS: join(directory, 'new.pub') });
  expect((await verify('keys')).checks.signedHead).toEqual({ ok: true, position: '2' });
});
