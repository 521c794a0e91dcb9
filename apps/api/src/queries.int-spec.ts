import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Svcm } from '@nats-io/services';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { checkExport } from '#log';
import { VfScheduler } from '#client';
import { startStandalone, type Standalone } from '#standalone';
import { readSettings } from '#wire';
import { QUERIES } from './queries.js';
import { columnsOf } from './reply-schemas.js';

// Processes and threads are started here, on machines that may be busy.
jest.setTimeout(60_000);

const PF = '0000:82:00.0';
const VF = '0000:82:10.0';
const { privateKey, publicKey } = generateKeyPairSync('ed25519');

let directory: string;
let standalone: Standalone;
let client: VfScheduler;
let nats: NatsConnection;
let startId: string;
let refusedId: string;

type Answer = Record<string, unknown> & { position: string; error?: { code: string; message: string } };

const report = (hostId: string) => ({
  hostId,
  bootId: 'b1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: [
    {
      pciAddress: PF,
      ifname: 'em1',
      link: 'up' as const,
      totalVfs: 8,
      vfs: Array.from({ length: 4 }, (_, index) => ({ pciAddress: `0000:82:10.${index}`, index })),
    },
  ],
});

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-api-'));
  const key = join(directory, 'key.pem');
  await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  standalone = await startStandalone(
    readSettings({
      VF_DATA_DIR: directory,
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'silent',
      VF_AUDIT_KEY: key,
    }),
  );
  client = await VfScheduler.connect({ servers: standalone.ready.nats });
  nats = await connect({ servers: standalone.ready.nats });
  for (const hostId of ['h1', 'h2']) await client.publish('HostReported', report(hostId));
  const start = { vmId: 'vm1', tenant: 'red', nics: [{ nicId: 'n0', physicalNetwork: 'em1' }] };
  startId = (await client.ask('VmStartRequested', start)).id;
  await client.ask('VmStarted', { vmId: 'vm1' });
  refusedId = 'refused-1';
  const refused = { vmId: 'vm2', nics: [{ nicId: 'n0', physicalNetwork: 'nowhere' }] };
  await client.ask('VmStartRequested', refused, { id: refusedId }).catch(() => undefined);
  await client.ask('PfRestoreRequested', { hostId: 'h1', pf: PF }, { id: 'operator-1' });
  await client.ask('PfRestored', { hostId: 'h1', pf: PF }, { id: 'agent-1' });
}, 60_000);

afterAll(async () => {
  await nats.close();
  await client.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

async function overNats(name: string, request: object = {}, cluster = 'default'): Promise<Answer> {
  const reply = await nats.request(`vf.query.${cluster}.${name}`, JSON.stringify(request), {
    timeout: 10_000,
  });
  const answer = reply.json<Answer>();
  expect(reply.headers?.get('Nats-Service-Error-Code') ?? '').toBe(answer.error?.code ?? '');
  return answer;
}

const get = (path: string, init?: RequestInit) => fetch(`${standalone.ready.http}/v1/clusters/${path}`, init);

async function overHttp(name: string, request: object, cluster = 'default'): Promise<Response> {
  if (QUERIES[name]?.post === true) {
    return get(`${cluster}/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
  }
  const fields = Object.entries(request).map(([field, value]) => [field, String(value)]);
  return get(
    `${cluster}/${name}?${new URLSearchParams(Object.fromEntries(fields) as Record<string, string>)}`,
  );
}

const EXAMPLES: Readonly<Record<string, readonly object[]>> = {
  availability: [{}, { hostId: 'h1' }, { at: '4' }, { physicalNetwork: 'em1', summary: true }],
  vm: [{ vmId: 'vm1' }, { vmId: 'vm1', at: '4' }],
  vf: [
    { hostId: 'h2', vf: VF },
    { hostId: 'h1', vf: VF, at: '5' },
  ],
  host: [{ hostId: 'h1' }],
  hosts: [{}, { limit: 1 }, { state: 'ready' }],
  vms: [{}, { hostId: 'h1' }, { tenant: 'nobody' }],
  vfs: [{ hostId: 'h2', limit: 3 }],
  networks: [{}],
  policy: [{}],
  candidates: [{ nics: [{ nicId: 'n0', physicalNetwork: 'em1' }] }, { nics: [{ nicId: 'n0' }], at: '2' }],
  'restore-impact': [{ hostId: 'h1', pf: PF, at: '5' }],
  outcome: [{ id: 'operator-1' }, { id: 'never' }],
  explain: [{ id: 'operator-1' }],
  history: [{ vmId: 'vm1' }, { hostId: 'h1', pf: PF }, { from: '2', to: '4' }, { types: ['VfAllocated'] }],
  tenants: [{ hostId: 'h1', vf: VF }],
  usage: [{ from: '2026-01-01T00:00:00Z', to: '2126-01-01T00:00:00Z', by: 'vm' }],
  verify: [{}],
  plan: [{ inputs: [{ type: 'HostCordoned', data: { hostId: 'h2', cordoned: true } }], at: '3' }],
};

describe('every query', () => {
  test('has an example here', () => {
    expect(Object.keys(EXAMPLES).toSorted()).toEqual(Object.keys(QUERIES).toSorted());
  });

  test.each(Object.keys(QUERIES))('%s answers the same over NATS and HTTP', async (name) => {
    for (const request of EXAMPLES[name] ?? []) {
      const answer = await overNats(name, request);
      expect(answer.error).toBeUndefined();
      expect(answer.position).toMatch(/^\d+$/);
      const response = await overHttp(name, request);
      expect(response.status).toBe(200);
      const same = (await response.json()) as Answer;
      // What has not ended goes on while we look.
      expect(name === 'usage' ? Object.keys(same) : same).toEqual(
        name === 'usage' ? Object.keys(answer) : answer,
      );
    }
  });

  test('can be discovered', async () => {
    const found = [];
    for await (const info of await new Svcm(nats as never).client().info('vf-query')) found.push(info);
    const subjects = found[0]?.endpoints.map(({ subject }) => subject) ?? [];
    expect(subjects).toEqual(
      expect.arrayContaining([
        ...Object.keys(QUERIES).map((name) => `vf.query.*.${name}`),
        'vf.query._.clusters',
      ]),
    );
    expect(new Set(found[0]?.endpoints.map(({ queue_group }) => queue_group))).toEqual(new Set(['vf-query']));
  });

  test('shows what was just decided, without being told to wait', async () => {
    for (let round = 0; round < 20; round++) {
      const vmId = `fresh-${round}`;
      await client.ask('VmStartRequested', { vmId, nics: [] });
      expect(await overNats('vm', { vmId })).toMatchObject({ vm: { vmId, state: 'pending' } });
      await client.ask('VmStopped', { vmId });
      expect(await overNats('vm', { vmId })).toMatchObject({ vm: { vmId, state: 'stopped' } });
    }
  });
});

describe('what only the past tells', () => {
  test('who had this VF, and why it was taken', async () => {
    expect(await overNats('tenants', { hostId: 'h1', vf: VF })).toMatchObject({
      tenants: [
        { vmId: 'vm1', nicId: 'n0', tenant: 'red', reason: 'pf-restored', to: expect.stringMatching(/Z$/) },
      ],
    });
    const { events, causes } = (await overNats('history', {
      vmId: 'vm1',
      types: ['VfReleased'],
      causes: true,
    })) as unknown as {
      events: { id: string; causationid: string }[];
      causes: Record<string, object[]>;
    };
    expect(events).toHaveLength(1);
    expect(causes[events[0]?.id as string]).toMatchObject([
      { input: { id: 'operator-1', type: 'PfRestoreRequested' } },
    ]);
    const restored = await overNats('explain', { id: 'agent-1' });
    expect(restored['because']).toMatchObject([
      { input: { id: 'agent-1', type: 'PfRestored' }, answers: { type: 'PfRestoreOrdered' } },
      { input: { id: 'operator-1', type: 'PfRestoreRequested' } },
    ]);
  });

  test('why a start failed, and that it would fail again', async () => {
    expect(await overNats('explain', { id: refusedId })).toMatchObject({
      id: refusedId,
      reason: 'PF_UNKNOWN',
      message: expect.stringMatching(/nowhere/),
      again: { same: true },
      outcome: { type: 'VmStartFailed', causationid: refusedId },
      input: { id: refusedId, type: 'VmStartRequested' },
    });
    expect(await overNats('explain', { id: startId })).toMatchObject({ again: { same: true } });
    expect(await overNats('explain', { id: 'never' })).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });

  test('who would lose a NIC by a restore, and where each could go', async () => {
    expect(await overNats('restore-impact', { hostId: 'h1', pf: PF, at: '5' })).toMatchObject({
      vms: [{ vmId: 'vm1', nicIds: ['n0'], hosts: ['h2'] }],
    });
    // A polite order would be refused, and take nothing from anybody.
    const polite = { hostId: 'h1', pf: PF, at: '5', onBusy: 'reject' };
    expect(await overNats('restore-impact', polite)).toMatchObject({
      reason: 'PF_BUSY',
      message: expect.stringMatching(/./),
      holders: [{ vmId: 'vm1', nicId: 'n0' }],
      vms: [],
    });
  });

  test('verify looks at the chain, the states, VF_OUT and the last signed head', async () => {
    const text = await (await get('default/export')).text();
    const checked = await checkExport(piece(text), publicKey);
    expect(checked).toMatchObject({ ok: true, cluster: 'default', signature: 'good' });
    const verified = await overNats('verify');
    expect(verified).toMatchObject({
      ok: true,
      events: Number(verified.position),
      checks: {
        chain: { ok: true },
        states: { ok: true },
        output: { ok: true },
        signedHead: { ok: true, position: String(checked.events) },
      },
    });
    // A head that was signed for another history is noticed.
    const file = join(directory, 'signed-heads', 'default.json');
    const kept = await readFile(file, 'utf8');
    await writeFile(file, kept.replace(/"hash":"\w{64}"/, `"hash":"${'0'.repeat(64)}"`));
    expect(await overNats('verify')).toMatchObject({
      ok: false,
      firstBad: { position: String(checked.events), message: expect.stringMatching(/signature/) },
    });
    // Nothing is signed that contradicts what was signed before, and verify goes on to say so.
    const refused = await get('default/export');
    expect([refused.status, await refused.json()]).toMatchObject([
      409,
      { code: 'SIGNED_HEAD_DIFFERS', detail: expect.stringMatching(/another history was signed before/) },
    ]);
    await writeFile(file, 'garbage');
    expect(await overNats('verify')).toMatchObject({
      ok: false,
      firstBad: { message: expect.stringMatching(/^the last signed head cannot be read/) },
    });
    await writeFile(file, kept);
    expect(await overNats('verify')).toMatchObject({
      ok: true,
      checks: {
        versions: { ok: true },
        signedHead: { ok: true, position: String(checked.events) },
        readSide: { ok: true, message: expect.stringMatching(/^not checked: /) },
      },
    });
  });

  test('a moment is a position or a time, in any zone', async () => {
    const { events } = (await overNats('history', { vmId: 'vm1', types: ['VmStarted'] })) as unknown as {
      events: { time: string; position: string }[];
    };
    const [{ time, position }] = events as [{ time: string; position: string }];
    const inParis = new Date(Date.parse(time) + 3_600_000).toISOString().replace('Z', '+01:00');
    const before = new Date(Date.parse(time) - 1).toISOString();
    for (const at of [position, time, inParis]) {
      const then = { position, vm: { state: 'running' } };
      expect(await overNats('vm', { vmId: 'vm1', at })).toMatchObject(then);
      expect(await (await overHttp('vm', { vmId: 'vm1', at })).json()).toMatchObject(then);
      expect(await overNats('vm', { vmId: 'vm1', at, atLeast: position })).toMatchObject(then);
    }
    expect(await overNats('vm', { vmId: 'vm1', at: before })).toMatchObject({ vm: { state: 'pending' } });
    const range = await overNats('history', { from: time, to: time });
    expect(range['events']).toMatchObject([{ type: 'VmStarted' }]);
    // What was decided a microsecond before is not after it.
    const later = time.replace('Z', '001Z');
    expect((await overNats('history', { from: later, limit: 1 }))['events']).not.toMatchObject([
      { position },
    ]);
    expect((await overNats('history', { from: time, limit: 1 }))['events']).toMatchObject([{ position }]);
    expect(await overNats('availability', { at: '2000-01-01T00:00:00Z' })).toMatchObject({
      position: '0',
      total: 0,
      pfs: [],
    });
  });

  test('a plan is about now, or a past moment, and several inputs see each other', async () => {
    const start = (vmId: string) => ({
      type: 'VmStartRequested',
      data: { vmId, hostId: 'h1', nics: [{ nicId: 'n0', physicalNetwork: 'em1' }] },
    });
    const split = { type: 'PfVirtualizeRequested', data: { hostId: 'h1', pf: PF, numVfs: 2 } };
    const done = {
      type: 'PfVirtualized',
      data: {
        hostId: 'h1',
        pf: PF,
        vfs: [0, 1].map((index) => ({ pciAddress: `0000:82:10.${index}`, index })),
      },
    };
    const outcomes = async (request: object): Promise<string[]> =>
      ((await overNats('plan', request))['results'] as { events: { type: string }[] }[]).map(
        ({ events }) => events.at(-1)?.type ?? '',
      );
    // h1 was restored: there is nothing to start on, until it would be split again.
    expect(await outcomes({ inputs: [start('p1')] })).toEqual(['VmStartFailed']);
    expect(await outcomes({ inputs: [split, done, start('p1'), start('p2'), start('p3')] })).toEqual([
      'PfVirtualizationOrdered',
      'PfVirtualized',
      'VmStartAccepted',
      'VmStartAccepted',
      'VmStartFailed',
    ]);
    expect(await outcomes({ inputs: [start('p1')], at: '2' })).toEqual(['VmStartAccepted']);
  });
});

async function* piece(text: string): AsyncGenerator<string> {
  yield text;
}

describe('lists', () => {
  test('come in pages that are all about one position, without a cursor on the last', async () => {
    const first = await overNats('vfs', { hostId: 'h2', limit: 3 });
    expect(first['vfs']).toHaveLength(3);
    await client.ask('VmStartRequested', {
      vmId: 'between',
      nics: [{ nicId: 'n0', physicalNetwork: 'em1' }],
    });
    const second = await overNats('vfs', { hostId: 'h2', limit: 3, cursor: first['cursor'] });
    expect(second.position).toBe(first.position);
    expect(second['vfs']).toHaveLength(1);
    expect(second['cursor']).toBeUndefined();
    const all: unknown[] = [];
    let cursor: unknown;
    do {
      const page = await overNats('history', { limit: 7, ...(cursor === undefined ? {} : { cursor }) });
      all.push(...(page['events'] as unknown[]));
      cursor = page['cursor'];
    } while (cursor !== undefined);
    const whole = await overNats('history', { limit: 1000 });
    expect(all).toEqual(whole['events']);
    expect((whole['events'] as { position: string }[]).map(({ position }) => Number(position))).toEqual(
      all.map((_, index) => index + 1),
    );
  });

  test('are lines of JSON or a table for spreadsheets when that is asked for', async () => {
    const lines = await get('default/history?vmId=vm1', { headers: { accept: 'application/x-ndjson' } });
    expect(lines.headers.get('content-type')).toBe('application/x-ndjson');
    const events = (await lines.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(events).toEqual((await overNats('history', { vmId: 'vm1' }))['events']);
    const table = await get('default/availability', { headers: { accept: 'text/csv' } });
    expect(table.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    const rows = (await table.text()).trimEnd().split('\r\n');
    expect(rows).toHaveLength(3);
    expect(rows[0]).toBe(
      'hostId,pf,ifname,model,link,speedMbps,state,free,total,allocated,totalVfs,physicalNetwork,bond,numaNode,cordoned,obstacle',
    );
    const vm = await get('default/vm?vmId=vm1', { headers: { accept: 'text/csv' } });
    expect(vm.status).toBe(406);
    // What only a row of a later page has is a column all the same.
    const pages = await get('default/vms?limit=1', { headers: { accept: 'text/csv' } });
    const all = await get('default/vms', { headers: { accept: 'text/csv' } });
    const [head] = (await all.text()).split('\r\n');
    expect([head, (await pages.text()).split('\r\n')[0]]).toEqual([
      'vmId,state,hostId,tenant,generation,nics,memoryPinned,migratable,overdueSince',
      head,
    ]);
  });

  test('have a column for each field that a row ever had here', async () => {
    for (const [name, { table }] of Object.entries(QUERIES)) {
      for (const request of table === undefined ? [] : (EXAMPLES[name] ?? [])) {
        const rows = (await overNats(name, request))[table as string] as object[];
        const fields = [...new Set(rows.flatMap((row) => Object.keys(row)))];
        expect([name, columnsOf(name, table as string)]).toEqual([name, expect.arrayContaining(fields)]);
      }
    }
  });
});

describe('bad input has a clear answer', () => {
  test.each([
    ['vm', { vmId: 'nobody' }, 404, 'NOT_FOUND', /there is no VM 'nobody' at position \d+/],
    ['vf', { hostId: 'h1', vf: '0000:ff:1f.7' }, 404, 'NOT_FOUND', /no VF 0000:ff:1f\.7 of host 'h1' at/],
    [
      'tenants',
      { hostId: 'h1', vf: '0000:ff:1f.7' },
      404,
      'NOT_FOUND',
      /^there was no VF 0000:ff:1f.7 of host 'h1' up to position \d+$/,
    ],
    ['availability', { networkId: 'nix' }, 404, 'NOT_FOUND', /no network 'nix'/],
    ['vm', { vmId: 'vm1', at: '999999' }, 400, 'BAD_REQUEST', /beyond the log, which ends at \d+/],
    ['vm', { vmId: 'vm1', at: '2136-01-01T00:00:00Z' }, 400, 'BAD_REQUEST', /in the future/],
    [
      'vm',
      { vmId: 'vm1', at: 'yesterday' },
      400,
      'BAD_REQUEST',
      /at must be a position \(digits\) or a time/,
    ],
    ['vm', {}, 400, 'BAD_REQUEST', /^vmId must be 1 to 64 of A-Z a-z 0-9 _ - \(it is missing\)$/],
    ['vm', { vmId: 'vm1', at: '2026-11-25T10:99:00Z' }, 400, 'BAD_REQUEST', /^at must be a position/],
    ['vm', { vmId: 'vm1', at: '2026-11-25T10:00:00+99:99' }, 400, 'BAD_REQUEST', /^at must be/],
    ['history', { from: '2026-11-31T00:00:00Z' }, 400, 'BAD_REQUEST', /^from must be a position/],
    ['history', { to: '2026-13-01T00:00:00Z' }, 400, 'BAD_REQUEST', /^to must be a position/],
    ['history', { from: '5', to: '4' }, 400, 'BAD_REQUEST', /^from \(5\) is after to \(4\)$/],
    [
      'history',
      { from: '2026-11-25T10:00:00.000002Z', to: '2026-11-25T10:00:00.000001Z' },
      400,
      'BAD_REQUEST',
      /^from .* is after to/,
    ],
    [
      'usage',
      { from: '2026-11-01T00:00:00Z', to: '2026-11-31T00:00:00Z', by: 'vm' },
      400,
      'BAD_REQUEST',
      /^to must be a time/,
    ],
    [
      'candidates',
      { nics: [{ nicId: 'n' }, { nicId: 'n' }] },
      400,
      'BAD_REQUEST',
      /the members of nics must differ in nicId/,
    ],
    ['candidates', { nics: [], hosts: 'h1' }, 400, 'BAD_REQUEST', /^hosts must be a list/],
    ['vm', { vmId: 'vm1', atLeast: '999999' }, 503, 'NOT_CAUGHT_UP', /is not in the read side after 5 s/],
    ['hosts', { limit: 100_000 }, 400, 'BAD_REQUEST', /limit must be a whole number from 1 to 1000/],
    ['hosts', { cursor: 'AAAA' }, 400, 'BAD_REQUEST', /cursor/],
    [
      'usage',
      { from: '2030-01-01T00:00:00Z', to: '2020-01-01T00:00:00Z', by: 'vm' },
      400,
      'BAD_REQUEST',
      /from is after to/,
    ],
    [
      'plan',
      { inputs: [{ type: 'Nix', data: {} }] },
      400,
      'BAD_REQUEST',
      /inputs\[0\]: type 'Nix' is not an input/,
    ],
    ['plan', { inputs: [{ type: 'VmStopped', data: {} }] }, 400, 'BAD_REQUEST', /inputs\[0\]: data\.vmId/],
    ['candidates', {}, 400, 'BAD_REQUEST', /name the NICs/],
    [
      'history',
      { vmid: 'vm1' },
      400,
      'BAD_REQUEST',
      /^the query 'history' has no field 'vmid'; it has atLeast, causes, cursor, from, hostId, /,
    ],
    ['outcome', { id: 'x', at: '1' }, 400, 'BAD_REQUEST', /has no field 'at'/],
    ['nix', {}, 404, 'QUERY_UNKNOWN', /there is no query 'nix'; there are availability, /],
  ] as const)(
    '%s %j',
    async (name, request, status, code, sentence) => {
      const expected = { code, message: expect.stringMatching(sentence) as unknown as string };
      expect(await overNats(name, request)).toEqual({ error: expected });
      const response = await overHttp(name, request);
      expect([response.status, await response.json()]).toMatchObject([
        status,
        { code, detail: expected.message },
      ]);
    },
    20_000,
  );

  test('a cluster that is not there, a cursor of another query, what is no JSON, and a body of 10 MB', async () => {
    expect(await overNats('vm', { vmId: 'vm1' }, 'nope')).toMatchObject({
      error: { code: 'CLUSTER_UNKNOWN' },
    });
    expect((await overHttp('vm', { vmId: 'vm1' }, 'nope')).status).toBe(404);
    const { cursor } = await overNats('vfs', { hostId: 'h2', limit: 1 });
    for (const [name, request] of [
      ['vfs', { hostId: 'h1', cursor }],
      ['hosts', { cursor }],
      ['history', { cursor }],
    ] as const) {
      expect(await overNats(name, request)).toMatchObject({
        error: {
          code: 'BAD_REQUEST',
          message: 'cursor belongs to another query, or to other filters: begin without it',
        },
      });
    }
    // In an address a text is a list of one.
    expect(await overNats('history', { types: 'VmStarted' })).toMatchObject({
      error: { code: 'BAD_REQUEST', message: expect.stringMatching(/^types must be a list/) },
    });
    for (const [type, more] of [
      ['vmstarted', '; is VmStarted meant?'],
      ['VmStart', ''],
      ['VmStartRequested', ': it is what is asked for, and the log has what was decided'],
    ] as const) {
      expect(await overNats('history', { types: ['VmStopped', type] })).toMatchObject({
        error: { code: 'BAD_REQUEST', message: `types: there is no event ${type}${more}` },
      });
    }
    const reply = await nats.request('vf.query.default.vm', '{', { timeout: 5000 });
    expect(reply.json()).toMatchObject({
      error: { code: 'BAD_REQUEST', message: 'the request is not JSON' },
    });
    const huge = await get('default/plan', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"inputs":"${'x'.repeat(10e6)}"}`,
    });
    expect(huge.status).toBe(413);
    expect((await get('default/candidates')).status).toBe(405);
  });

  test('clusters has no fields, and two networks at once are no PF of both', async () => {
    expect(await overNats('clusters', { nix: 1 }, '_')).toMatchObject({
      error: { code: 'BAD_REQUEST', message: "the query 'clusters' has no field 'nix'; it has atLeast" },
    });
    expect((await fetch(`${standalone.ready.http}/v1/clusters?nix=1`)).status).toBe(400);
    const l2 = { l2Id: 'l2', type: 'L2NoVlanNetwork' as const, physicalInterface: 'em1', sriov: true };
    await client.ask('L2NetworkDefined', l2);
    await client.ask('L3NetworkDefined', { l3Id: 'l3', l2Id: 'l2', kind: 'flat', sriov: true });
    const pfs = async (request: object) => (await overNats('availability', request))['pfs'] as object[];
    expect(await pfs({ networkId: 'l3', physicalNetwork: 'em1' })).toEqual(await pfs({ networkId: 'l3' }));
    expect(await pfs({ networkId: 'l3' })).not.toEqual([]);
    expect(await pfs({ networkId: 'l3', physicalNetwork: 'em2' })).toEqual([]);
  });

  test('a range of ten years, and a filter that matches nothing, are empty answers', async () => {
    const range = { from: '2010-01-01T00:00:00Z', to: '2020-01-01T00:00:00Z' };
    expect(await overNats('history', range)).toMatchObject({ events: [] });
    expect(await overNats('usage', { ...range, by: 'tenant' })).toMatchObject({ usage: [] });
    expect(await overNats('history', { mac: '02:00:00:00:00:01' })).toMatchObject({ events: [] });
    const empty = await get('default/vms?tenant=nobody', { headers: { accept: 'text/csv' } });
    expect([empty.status, (await empty.text()).trim().split('\r\n')]).toEqual([
      200,
      [expect.stringMatching(/^vmId,state,/)],
    ]);
  });
});

test('a key that is not one keeps the process from starting', async () => {
  const file = join(directory, 'rsa.pem');
  const { privateKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(file, rsa.export({ type: 'pkcs8', format: 'pem' }));
  for (const [path, why] of [
    [file, /is a key of rsa, not of Ed25519/],
    [join(directory, 'missing.pem'), /cannot be read \(ENOENT\)/],
    [join(directory, 'read.db'), /is not a private key/],
  ] as const) {
    const settings = readSettings({
      VF_DATA_DIR: await mkdtemp(join(directory, 'other-')),
      VF_EVENT_LOG: 'memory:',
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'silent',
      VF_AUDIT_KEY: path,
    });
    await expect(startStandalone(settings)).rejects.toThrow(why);
  }
}, 30_000);
