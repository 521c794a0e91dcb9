import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { VfScheduler } from '#client';
import { startStandalone, type Standalone } from '#standalone';
import { readSettings } from '#wire';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMMANDS } from './commands.js';
import { QUERIES } from './queries.js';

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: object }[];
  readonly responses: Record<string, { content?: Record<string, { schema: object }> }>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { schemas: Record<string, object> };
}

const PF = '0000:82:00.0';
const ROOT = join(import.meta.dirname, '../../..');

let directory: string;
let standalone: Standalone;
let client: VfScheduler;
let document: Document;
let ajv: Ajv2020;

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
  document = (await (await fetch(`${standalone.ready.http}/openapi.json`)).json()) as Document;
  ajv = new Ajv2020({ strict: false, allErrors: true });
  // CommonJS: what is its default export depends on who loads it.
  const addFormats = ((formats as unknown as { default?: unknown }).default ?? formats) as (
    ajv: object,
  ) => void;
  addFormats(ajv);
  ajv.addSchema({ $id: 'openapi', components: document.components });
}, 30_000);

afterAll(async () => {
  await client.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

/** What an answer has that the document does not allow. */
function faultsOf(path: string, method: string, status: number, type: string, body: unknown): unknown {
  const response = document.paths[path]?.[method]?.responses[status];
  if (response === undefined) return `${method} ${path} may not answer ${status}: ${JSON.stringify(body)}`;
  const [kind = ''] = type.split(';');
  const schema = response.content?.[kind]?.schema;
  if (schema === undefined) return `${method} ${path} may not answer ${status} with ${kind}`;
  // References are to the document.
  const text = JSON.stringify(schema).replaceAll('"#/components/', '"openapi#/components/');
  const validate = ajv.compile(JSON.parse(text) as object);
  return validate(body) ? undefined : validate.errors;
}

async function check(
  path: string,
  method: string,
  values: Record<string, string>,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<number> {
  let address = path;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ cluster: 'default', ...values })) {
    if (address.includes(`{${name}}`)) address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (name !== 'cluster') query.set(name, value);
  }
  const response = await fetch(`${standalone.ready.http}${address}?${query}`, {
    method: method.toUpperCase(),
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const type = response.headers.get('content-type') ?? '';
  const said: unknown = await response.json();
  expect(faultsOf(path, method, response.status, type, said)).toBeUndefined();
  return response.status;
}

describe('the OpenAPI document', () => {
  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document) as never);
    expect(errors).toBeUndefined();
    expect([valid, validator.version]).toEqual([true, '3.1']);
  });

  test('is what `npm run docs` has written', async () => {
    const text = await readFile(join(ROOT, 'docs/reference/openapi.json'), 'utf8');
    expect(JSON.parse(text)).toEqual(document);
  });

  test('has every command and every query once, and every path parameter', () => {
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    );
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(
      expect.arrayContaining([...COMMANDS.map(({ type }) => type), ...Object.keys(QUERIES)]),
    );
    for (const { path, operation } of operations) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const described = (operation.parameters ?? [])
        .filter((one) => one.in === 'path')
        .map(({ name }) => name);
      expect(described).toEqual(named);
    }
  });

  test('knows every query that there is', async () => {
    const response = await fetch(`${standalone.ready.http}/v1/clusters/default/no-such-query`);
    const { detail } = (await response.json()) as { detail: string };
    const named = detail.replace(/^.*there are /, '').split(', ');
    expect(Object.keys(QUERIES)).toEqual(expect.arrayContaining(named));
  });
});

describe('what is answered', () => {
  const of = (type: string) => {
    const command = COMMANDS.find((one) => one.type === type);
    if (command === undefined) throw new Error(`there is no command ${type}`);
    return [`/v1/clusters/{cluster}/${command.path}`, command.method.toLowerCase()] as const;
  };

  test('to commands is as the document says', async () => {
    await client.publish('HostReported', {
      hostId: 'host-1',
      bootId: 'boot-1',
      seq: 1,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: [
        {
          pciAddress: PF,
          ifname: 'em1',
          model: 'Dell',
          speedMbps: 10_000,
          link: 'up',
          totalVfs: 8,
          vfs: [0, 1].map((index) => ({ pciAddress: `0000:82:10.${index}`, index })),
        },
        { pciAddress: '0000:83:00.0', ifname: 'em2', link: 'up', totalVfs: 8, vfs: [] },
      ],
    });
    const host = { hostId: 'host-1' };
    const em1 = { ...host, pf: PF };
    const em2 = { ...host, pf: '0000:83:00.0' };
    const vm = { vmId: 'vm-1' };
    const nic = { ...vm, nicId: 'nic-1' };
    const l2 = { type: 'L2VlanNetwork', physicalInterface: 'em1', vlanId: 7, sriov: true };
    const statuses = {
      l2: await check(...of('L2NetworkDefined'), { l2Id: 'l2-1' }, l2),
      l3: await check(
        ...of('L3NetworkDefined'),
        { l3Id: 'l3-1' },
        { l2Id: 'l2-1', kind: 'flat', sriov: true },
      ),
      start: await check(...of('VmStartRequested'), vm, { nics: [{ nicId: 'nic-0', networkId: 'l3-1' }] }),
      started: await check(...of('VmStarted'), vm, {}),
      attach: await check(...of('VmNicAttachRequested'), vm, { nic: { nicId: 'nic-1' } }),
      again: await check(...of('VmNicAttachRequested'), vm, { nic: { nicId: 'nic-1' } }),
      type: await check(...of('VmNicTypeChangeRequested'), nic, { type: 'vnic' }),
      detach: await check(...of('VmNicDetachRequested'), nic),
      migrate: await check(...of('VmMigrationRequested'), vm, { kind: 'live' }),
      split: await check(...of('PfVirtualizeRequested'), em2, { numVfs: 4 }),
      splitAgain: await check(...of('PfVirtualizeRequested'), em1, { numVfs: 4 }),
      unreadable: await check(...of('PfVirtualizeRequested'), em1, { numVfs: 'four' }),
      restore: await check(...of('PfRestoreRequested'), em1, { onBusy: 'reject' }),
      later: await check(...of('PfRestoreRequested'), em1, {}, { prefer: 'wait=0' }),
      cordonPf: await check(...of('PfCordoned'), em2, {}),
      accept: await check(...of('PfAccepted'), em2),
      cordon: await check(...of('HostCordoned'), host, { cordoned: true }),
      remove: await check(...of('HostRemovalRequested'), host),
      fence: await check(...of('HostFenced'), host),
      release: await check(
        ...of('AllocationReleaseRequested'),
        { ...host, allocationId: 'a-1' },
        { reason: 'x' },
      ),
      stop: await check(...of('VmStopped'), vm, { reason: 'done' }),
      abort: await check(...of('VmStartAborted'), vm),
      destroy: await check(...of('VmDestroyed'), vm),
      network: await check(...of('NetworkRemovalRequested'), { id: 'l3-1' }),
      policy: await check(...of('ClusterPolicyChanged'), {}, { bond: 'warn' }),
      nowhere: await check(...of('HostFenced'), { ...host, cluster: 'nowhere' }),
    };
    expect(statuses).toEqual({
      ...Object.fromEntries(Object.keys(statuses).map((name) => [name, 200])),
      ...{ again: 409, type: 409, migrate: 409, splitAgain: 409, unreadable: 400, restore: 409, later: 202 },
      ...{ remove: 200, release: 409, nowhere: 404 },
    });
  });

  test('to queries is as the document says', async () => {
    const ask = (name: string, values: Record<string, string> = {}) =>
      check(`/v1/clusters/{cluster}/${name}`, 'get', values);
    const post = (name: string, body: object) => check(`/v1/clusters/{cluster}/${name}`, 'post', {}, body);
    await check('/v1/clusters', 'get', {});
    await check('/health/live', 'get', {});
    await check('/health/ready', 'get', {});
    await check('/health/ready', 'get', { cluster: 'default' });
    await check('/health/ready', 'get', { cluster: 'nowhere' });
    await client.publish('HostReported', {
      hostId: 'host-2',
      bootId: 'b',
      seq: 1,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: [
        {
          pciAddress: PF,
          ifname: 'em1',
          link: 'up',
          totalVfs: 8,
          vfs: [{ pciAddress: '0000:82:10.0', index: 0 }],
        },
      ],
    });
    await client.startVm('vm-9', { nics: [] }, { id: 'start-9' });
    await client.startVm('vm-8', { nics: [{ nicId: 'n' }] });
    const statuses = [
      await ask('availability'),
      await ask('vm', { vmId: 'vm-8' }),
      await ask('vf', { hostId: 'host-2', vf: '0000:82:10.0' }),
      await ask('host', { hostId: 'host-2' }),
      await ask('outcome', { id: 'start-9' }),
      await ask('verify'),
      await ask('hosts'),
      await ask('vms'),
      await ask('vfs', { hostId: 'host-2' }),
      await ask('networks'),
      await ask('policy'),
      await ask('restore-impact', { hostId: 'host-2', pf: PF }),
      await ask('explain', { id: 'start-9' }),
      await ask('history', { vmId: 'vm-8', causes: 'true' }),
      await ask('tenants', { hostId: 'host-2', vf: '0000:82:10.0' }),
      await ask('usage', { from: '2026-01-01T00:00:00Z', to: '2126-01-01T00:00:00Z', by: 'pf' }),
      await post('candidates', { nics: [{ nicId: 'n' }] }),
      await post('plan', { inputs: [{ type: 'VmStopped', data: { vmId: 'vm-8' } }] }),
    ];
    expect(statuses).toEqual(Object.keys(QUERIES).map(() => 200));
    expect([
      await ask('vm', { vmId: 'nobody' }),
      await ask('vm'),
      await ask('vm', { vmId: 'vm-8', cluster: 'nowhere' }),
      await ask('hosts', { limit: '0' }),
      await post('candidates', {}),
    ]).toEqual([404, 400, 404, 400, 400]);
  });
});
