import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { VfScheduler } from '#client';
import { startStandalone, type Standalone } from '#standalone';
import { INPUT_CATALOG, readSettings } from '#wire';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMMANDS, pathFields } from './commands.js';

const PF = '0000:82:00.0';
let directory: string;
let standalone: Standalone;
let client: VfScheduler;

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // A test reads any answer.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${standalone.ready.http}/v1/clusters/${path}`, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
  };
}

const post = (path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> =>
  call('POST', `default/${path}`, body, headers);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-api-'));
  standalone = await startStandalone(
    readSettings({
      VF_DATA_DIR: directory,
      VF_EVENT_LOG: 'memory:',
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'silent',
    }),
  );
  client = await VfScheduler.connect({ servers: standalone.ready.nats });
  await client.publish('HostReported', {
    hostId: 'host-1',
    bootId: 'boot-1',
    seq: 1,
    iommu: { enabled: true, ready: true },
    interruptRemapping: true,
    pfs: [{ pciAddress: PF, ifname: 'em1', link: 'up', totalVfs: 8, vfs: [] }],
  });
}, 30_000);

afterAll(async () => {
  await client.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

describe('a command over HTTP', () => {
  test('[PF-2 acts] [PF-8 acts] is an event, and its outcome the answer', async () => {
    const { status, body } = await post('hosts/host-1/pfs/0000:82:00.0/virtualize', { numVfs: 2 });
    expect([status, body]).toEqual([
      200,
      {
        id: expect.any(String),
        position: expect.any(String),
        outcome: expect.objectContaining({
          type: 'PfVirtualizationOrdered',
          data: { hostId: 'host-1', pf: PF, numVfs: 2 },
        }),
        events: [expect.objectContaining({ type: 'PfVirtualizationOrdered' })],
      },
    ]);
    expect(body.outcome.causationid).toBe(body.id);
    // The host does it.
    await client.ask('PfVirtualized', {
      hostId: 'host-1',
      pf: PF,
      vfs: [0, 1].map((index) => ({ pciAddress: `0000:82:10.${index}`, index })),
    });
    const again = await post('hosts/host-1/pfs/pci_0000_82_00_0/virtualize', { numVfs: 2 });
    expect([again.status, again.body.code]).toEqual([409, 'PF_ALREADY_VIRTUALIZED']);
  });

  test('[OUT-2 refuses] refused it is a problem with the code and the facts', async () => {
    await post('vms/vm-1/start', { nics: [{ nicId: 'a' }, { nicId: 'b' }] });
    const { status, headers, body } = await post('vms/vm-2/start', { nics: [{ nicId: 'a' }] });
    expect([status, headers.get('content-type')]).toEqual([
      409,
      expect.stringContaining('application/problem+json'),
    ]);
    expect(body).toEqual({
      type: 'about:blank',
      title: 'The scheduler decided against it',
      status: 409,
      detail: expect.stringContaining('no free VF is left'),
      code: 'VF_EXHAUSTED',
      error: { code: 'VF_EXHAUSTED', message: body.detail },
      facts: expect.objectContaining({ vmId: 'vm-2', summary: { VF_EXHAUSTED: 1 } }),
    });
  });

  test('[PF-4 acts] a restore answers with each VM that lost a VF', async () => {
    const { body } = await post(`hosts/host-1/pfs/${PF}/restore`);
    const released = body.events.filter(({ type }: { type: string }) => type === 'VfReleased');
    expect(released.map(({ data }: { data: object }) => data)).toEqual([
      expect.objectContaining({ vmId: 'vm-1', nicId: 'a', reason: 'pf-restored', forced: true }),
      expect.objectContaining({ vmId: 'vm-1', nicId: 'b', reason: 'pf-restored', forced: true }),
    ]);
    expect(body.outcome.type).toBe('PfRestoreOrdered');
  });

  test('[EX-6 quiet] a fact that changes nothing says why', async () => {
    const { status, body } = await call('DELETE', 'default/vms/vm-nobody');
    expect([status, body.ignored]).toEqual([200, 'unknown']);
  });
});

describe('Idempotency-Key', () => {
  test('[EX-6 quiet] the same key and body have the same answer, however often', async () => {
    const cordon = () =>
      post('hosts/host-1/cordon', { cordoned: false }, { 'idempotency-key': '"uncordon-1"' });
    const answers = await Promise.all([cordon(), cordon(), cordon()]);
    answers.push(await cordon());
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(new Set(answers.map(({ body }) => body.position)).size).toBe(1);
    expect(answers[0]?.body.id).toBe('uncordon-1');
  });

  test('[EX-6 refuses] the same key with another body is 422, and changes nothing', async () => {
    const key = { 'idempotency-key': 'uncordon-2' };
    await post('hosts/host-1/cordon', { cordoned: false }, key);
    const other = await post('hosts/host-1/cordon', { cordoned: true }, key);
    expect([other.status, other.body.code]).toEqual([422, 'ID_REUSED']);
    const elsewhere = await post('hosts/host-2/cordon', { cordoned: false }, key);
    expect([elsewhere.status, elsewhere.body.code]).toEqual([422, 'ID_REUSED']);
    expect((await client.query('host', { hostId: 'host-1' })).host.cordoned).toBe(false);
  });

  test('a key that is no event id is 400', async () => {
    const { status, body } = await post('hosts/host-1/cordon', {}, { 'idempotency-key': 'a key' });
    expect([status, body.detail]).toEqual([400, expect.stringContaining('Idempotency-Key must be')]);
  });
});

describe('Prefer: wait', () => {
  test('0 is answered as soon as it is stored: 202, and where the outcome will be', async () => {
    const { status, headers, body } = await post(
      'hosts/host-1/cordon',
      { cordoned: false },
      { prefer: 'wait=0' },
    );
    expect([status, headers.get('preference-applied')]).toEqual([202, 'wait=0']);
    expect(body).toEqual({ id: expect.any(String), outcome: null, location: headers.get('location') });
    const found = await fetch(new URL(body.location as string, standalone.ready.http));
    expect(found.status).toBe(200);
    let outcome: { type: string } | undefined;
    while (outcome === undefined) {
      const reply = await fetch(new URL(body.location as string, standalone.ready.http));
      ({ outcome } = (await reply.json()) as { outcome?: { type: string } });
    }
    expect(outcome.type).toBe('InputIgnored');
  });
});

describe('bad requests', () => {
  test.each([
    ['a body that is not JSON', 'vms/vm-1/start', '{"nics"', {}, 400, 'the body is not JSON'],
    ['a list', 'vms/vm-1/start', '[]', {}, 400, 'must be a JSON object'],
    [
      'a field of the wrong form',
      'vms/vm-1/start',
      { nics: 3 },
      {},
      400,
      'nics must be a list of at most 64 objects',
    ],
    [
      'a field that is missing',
      `hosts/host-1/pfs/${PF}/virtualize`,
      {},
      {},
      400,
      'numVfs must be a whole number',
    ],
    ['an id that is none', 'vms/vm%201/stop', {}, {}, 400, 'vmId must be 1 to 64'],
    ['an address that is none', 'hosts/host-1/pfs/em1/accept', {}, {}, 400, 'pf must be a PCI address'],
    ['two opinions', 'vms/vm-1/stop', { vmId: 'vm-2' }, {}, 400, 'in the path'],
    ['a prototype', 'vms/vm-1/stop', '{"__proto__":{"vmId":"x"}}', {}, 400, '__proto__'],
    [
      'a form',
      'vms/vm-1/stop',
      'reason=x',
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'must be JSON',
    ],
    ['another site', 'vms/vm-1/stop', {}, { origin: 'http://evil.example' }, 403, 'another site'],
    ['too much', 'vms/vm-1/stop', { reason: 'x'.repeat(300_000) }, {}, 400, 'at most 262144'],
    ['far too much', 'vms/vm-1/stop', { reason: 'x'.repeat(10_000_000) }, {}, 413, 'too large'],
  ])('%s', async (_, path, body, headers: Record<string, string>, status, detail) => {
    const answer = await post(path, body, headers);
    expect([answer.status, answer.body.detail]).toEqual([status, expect.stringContaining(detail)]);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.body.error).toEqual({ code: answer.body.code, message: answer.body.detail });
  });

  test('a cluster that is not there is 404, and is not made', async () => {
    const { status, body } = await call('POST', 'nowhere/vms/vm-1/stop', {});
    expect([status, body.code]).toEqual([404, 'CLUSTER_UNKNOWN']);
    expect((await client.clusters()).map(({ cluster }) => cluster)).toEqual(['default']);
    expect((await call('POST', '_/vms/vm-1/stop', {})).status).toBe(404);
  });

  test('what is nowhere is 404', async () => {
    expect((await post('vms/vm-1/dance', {})).status).toBe(404);
    expect((await call('GET', 'default/vm?vmId=nobody')).body).toMatchObject({
      status: 404,
      code: 'NOT_FOUND',
    });
  });
});

test('each command names an input, and the ids of its subject stand in its path', () => {
  for (const { path, type } of COMMANDS) {
    const { idField } = INPUT_CATALOG[type];
    expect(idField === undefined || pathFields(path).includes(idField)).toBe(true);
  }
  expect(new Set(COMMANDS.map(({ type }) => type)).size).toBe(COMMANDS.length);
});
