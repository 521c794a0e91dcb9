import { generateKeyPairSync } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { sealRecord, SqliteLog, type Snapshot } from '#log';
import { health } from './support/conversation.js';
import { hostReported, input, vfAddress, vmStart } from './support/inputs.js';
import { NatsClient } from './support/nats-client.js';
import { Programs, type Program } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(120_000);

const VFCTL = resolve(import.meta.dirname, '../dist/apps/vfctl/src/main.js');
/** More than a leader's first snapshot is taken after. */
const EVENTS = 1500;

const programs = new Programs();
const clients: NatsClient[] = [];
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await programs.end();
});

interface Verified {
  readonly ok: boolean;
  readonly position: string;
  readonly firstBad?: { readonly position: string; readonly message: string };
  readonly checks: Readonly<Record<string, { ok: boolean; position?: string; message?: string }>> & {
    readonly states: { readonly checked: readonly Record<string, unknown>[] };
  };
}

/** A standalone with a key, that is ended and started again on the same directory. */
class Site {
  program!: Program;
  http = '';
  nats!: NatsClient;

  private constructor(readonly directory: string) {}

  static async make(): Promise<Site> {
    const site = new Site(await programs.directory());
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    await writeFile(site.in('key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(site.in('key.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    return site;
  }

  readonly in = (name: string): string => join(this.directory, name);

  async start(): Promise<void> {
    this.program = await programs.start('standalone', {
      VF_DATA_DIR: this.in('data'),
      VF_AUDIT_KEY: this.in('key.pem'),
      // Nobody pulls the plug here.
      VF_NATS_SYNC: '2m',
    });
    const ready = await this.program.ready();
    this.http = ready.http;
    this.nats = await NatsClient.connect(ready.nats);
    clients.push(this.nats);
  }

  async stop(): Promise<void> {
    await this.nats.close();
    expect(await this.program.stop()).toMatchObject({ code: 0 });
  }

  /** The log of a process that has ended, to be read and changed as whoever has the file can. */
  async withLog<T>(work: (log: SqliteLog) => Promise<T>): Promise<T> {
    const log = await SqliteLog.open(this.in('data/events.db'));
    try {
      return await work(log);
    } finally {
      await log.close();
    }
  }

  verify(cluster = 'default'): Promise<Verified> {
    return this.nats.query<Verified>('verify', {}, cluster);
  }

  /** From which snapshot it began to lead. */
  get snapshotUsed(): unknown {
    return this.program.log().find(({ msg }) => msg.startsWith("leading cluster 'default'"))?.['snapshot'];
  }

  /** What it warned of its snapshots. */
  get notBelieved(): readonly string[] {
    return this.program
      .log(40)
      .map(({ msg }) => msg)
      .filter((msg) => /^the snapshot of 'default' at \d+ is not believed/.test(msg));
  }
}

/** One host with one VF, which vm-1 has; then so much that a snapshot was taken. */
async function held(site: Site): Promise<void> {
  await site.start();
  const { nats } = site;
  await nats.publish(hostReported('host-1', 1));
  const start = vmStart('vm-1');
  await nats.publish(start);
  expect((await nats.outcome(start.event.id)).type).toBe('VmStartAccepted');
  const last = input('VmStopped', { vmId: 'nobody' });
  for (let index = 0; index < EVENTS; index++) {
    const { subject, event } = input('VmStopped', { vmId: 'nobody' });
    nats.connection.publish(subject, JSON.stringify(event));
  }
  await nats.publishUntilStored(last, { timeout: 60_000 });
  await nats.outcome(last.event.id, 'default', { timeout: 60_000 });
}

/** As a leader would have dumped it, had nobody a VF. */
function freed(state: string): string {
  const dump = JSON.parse(state) as { vms: { nics: { held?: object }[] }[] };
  for (const { nics } of dump.vms) for (const nic of nics) delete nic.held;
  return JSON.stringify(dump);
}

describe('a snapshot is bound to the log', () => {
  const lies: readonly (readonly [string, (snapshot: Snapshot) => Snapshot])[] = [
    ['a held VF made free', (snapshot) => ({ ...snapshot, state: freed(snapshot.state) })],
    [
      'another VM as the holder',
      (snapshot) => ({ ...snapshot, state: snapshot.state.replaceAll('"vm-1"', '"vm-9"') }),
    ],
    [
      'the inputs forgotten',
      (snapshot) => {
        const dump = JSON.parse(snapshot.state) as { inputs: { entries: unknown[] } };
        dump.inputs.entries = [];
        return { ...snapshot, state: JSON.stringify(dump) };
      },
    ],
  ];

  test('one that was taken is used, and one that was changed, its own digest made anew, is not believed', async () => {
    const site = await Site.make();
    await held(site);
    const before = await site.verify();
    expect(before.ok).toBe(true);
    await site.stop();
    const honest = await site.withLog((log) => log.snapshots('default'));
    expect(honest).toHaveLength(1);
    const [snapshot] = honest as [Snapshot];

    for (const [what, lie] of lies) {
      await site.withLog((log) => log.saveSnapshot('default', lie(snapshot)));
      await site.start();
      expect([what, site.snapshotUsed]).toEqual([what, 0]);
      expect(site.notBelieved).toHaveLength(1);
      // There is no second VF: whoever gets one gets that of vm-1.
      const start = vmStart(`vm-${what.length}`);
      await site.nats.publish(start);
      expect([what, (await site.nats.outcome(start.event.id)).data['reason']]).toEqual([
        what,
        'VF_EXHAUSTED',
      ]);
      const { vf } = await site.nats.query<{ vf: { holder?: { vmId: string } } }>('vf', {
        hostId: 'host-1',
        vf: vfAddress(0),
      });
      expect([what, vf.holder?.vmId]).toEqual([what, 'vm-1']);
      if (what === 'a held VF made free') {
        const verified = await site.verify();
        expect(verified).toMatchObject({
          ok: false,
          firstBad: {
            position: String(snapshot.position),
            message: expect.stringMatching(
              /^replay gives another state at position \d+ than the snapshot of a leader$/,
            ),
          },
          checks: { chain: { ok: true }, states: { ok: false } },
        });
        expect(verified.checks.states.checked).toContainEqual({
          what: 'snapshot of a leader',
          position: String(snapshot.position),
          same: false,
          named: false,
        });
      }
      await site.stop();
      await site.withLog((log) => log.saveSnapshot('default', snapshot));
    }

    // Put back, it is what it was.
    await site.start();
    expect([site.snapshotUsed, site.notBelieved]).toEqual([snapshot.position, []]);
    await site.stop();
  });
});

describe('heads are signed without being asked, and exports are checked byte for byte', () => {
  test('when a leader begins, into the data directory and VF_HEADS', async () => {
    const site = await Site.make();
    await site.start();
    const start = input('VmStopped', { vmId: 'nobody' });
    await site.nats.publish(start);
    await site.nats.outcome(start.event.id);
    await site.stop();
    await site.start();
    const file = site.in('data/signed-heads/default.json');
    const signed = await until('a signed head', () => readFile(file, 'utf8').catch(() => undefined));
    expect(JSON.parse(signed)).toMatchObject({ manifest: { cluster: 'default', head: { position: 1 } } });
    const { manager } = site.nats;
    const kept = await manager.streams.getMessage('KV_VF_HEADS', { last_by_subj: '$KV.VF_HEADS.default' });
    expect(kept?.string()).toBe(signed);
    expect((await site.verify()).checks['signedHead']).toEqual({ ok: true, position: '1' });

    // What is checked without any server is the file itself.
    const exported = await (await fetch(`${site.http}/v1/clusters/default/export`)).text();
    const check = async (text: string): Promise<readonly [number | null, string]> => {
      await writeFile(site.in('export.ndjson'), text);
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [VFCTL, 'audit', 'check', site.in('export.ndjson'), '--key', site.in('key.pub')],
        { encoding: 'utf8' },
      );
      return [status, stdout + stderr];
    };
    expect(await check(exported)).toEqual([0, expect.stringMatching(/^Good: 1 events/)]);
    for (const [edited, sentence] of [
      [exported.replaceAll('\n', '\r\n'), /^NOT good: line 1 is not byte for byte .* carriage return/],
      [exported.trimEnd(), /^NOT good: line 2 .* no line feed at its end/],
    ] as const) {
      expect(await check(edited)).toEqual([7, expect.stringMatching(sentence)]);
    }

    // Both witnesses changed while nobody runs.
    await site.stop();
    await rm(file);
    await site.start();
    expect((await site.verify()).firstBad?.message).toMatch(/there is no such file: it was deleted/);
    await until('it says that it signs no more', () =>
      site.program
        .log(50)
        .some(({ msg }) => /^the head of cluster 'default' is not signed: .*it was deleted/.test(msg)),
    );
    await site.stop();
  });
});

describe('an event of a newer version', () => {
  test('is not led, by a leader that comes upon it or by one that starts, and the other clusters are', async () => {
    const site = await Site.make();
    await site.start();
    for (const cluster of ['default', 'newer']) {
      const one = input('VmStopped', { vmId: 'nobody' }, { cluster });
      await site.nats.publish(one);
      await site.nats.outcome(one.event.id, cluster);
    }
    // A newer release appends while this one leads.
    await site.withLog(async (log) => {
      const head = await log.head('newer');
      for await (const [record] of log.read('newer', 1)) {
        const body = record!.body
          .replace('"position":1', '"position":2')
          .replace(/"decider":"\d+"/, '"decider":"99"');
        await log.append('newer', head.position, [[sealRecord(head, body)]]);
      }
    });
    const sentence =
      /event 2, a 'InputIgnored', was decided by version 99 of the decider, which this version does not know \(schemas up to \d+, deciders up to \d+\): run a newer version/;
    const status = async () =>
      (await health(site.http)).clusters['newer'] as { role: string; message?: string; final?: boolean };
    const refused = { role: 'failed', final: true, message: expect.stringMatching(sentence) };
    // At first it only sees that somebody else writes.
    await until('it is not led any more', async () => (await status()).final === true);
    expect(await status()).toMatchObject(refused);
    expect((await site.nats.stream('VF_OUT_newer'))?.state.last_seq).toBe(1);
    await site.stop();

    await site.start();
    expect(await status()).toMatchObject(refused);
    expect((await health(site.http)).clusters['default']).toMatchObject({ role: 'leader' });
    expect(await site.verify('newer')).toMatchObject({
      ok: false,
      firstBad: { position: '2', message: expect.stringMatching(sentence) },
      checks: { chain: { ok: true }, versions: { ok: false }, states: { ok: false } },
    });
    expect(await site.nats.query('availability', {}, 'newer')).toMatchObject({
      error: { code: 'STOPPED', message: expect.stringMatching(sentence) },
    });
    const ignored = input('VmStopped', { vmId: 'nobody' }, { cluster: 'newer' });
    await site.nats.publish(ignored);
    const decided = input('VmStopped', { vmId: 'nobody' });
    await site.nats.publish(decided);
    await site.nats.outcome(decided.event.id);
    expect((await site.nats.stream('VF_OUT_newer'))?.state.last_seq).toBe(1);
    await site.stop();
  });
});
