import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { hostReported, input, vmStart, type Input } from './support/inputs.js';
import { headerOf, NatsClient, type OutFollower, type RawMessage } from './support/nats-client.js';
import { natsServersBelow, Programs, type Program } from './support/programs.js';
import { RawNats } from './support/raw-nats.js';
import { until } from './support/until.js';

/** A message that cannot be taken, and what is said of it. */
interface Hostile {
  readonly name: string;
  readonly subject: string | Buffer;
  readonly payload: string | Buffer;
  /** The lines of the header block. */
  readonly headers?: readonly string[];
  /** What the reason must say. */
  readonly reason: RegExp;
  /** `vf.dead.<this>`; `default` unless said. */
  readonly cluster?: string;
  /** In `Vf-Event-Id`, where there is an id that can be read. */
  readonly eventId?: string;
}

const SUBJECT = 'vf.in.default.vm.vm1.VmStartRequested';
const nic = { nicId: 'eth0', physicalNetwork: 'em1' };

/** An event of its own id that is good but for what `change` does to it. */
let numbers = 0;
function event(change: (event: Record<string, unknown>) => void = () => undefined): Record<string, unknown> {
  const { event: good } = vmStart('vm1', { id: `hostile-${++numbers}` });
  const changed: Record<string, unknown> = structuredClone(good);
  change(changed);
  return changed;
}

/** The same in structured mode, with its id expected in the header. */
function structured(
  name: string,
  reason: RegExp,
  change: (event: Record<string, unknown>) => void,
  subject: string | Buffer = SUBJECT,
  cluster = 'default',
): Hostile {
  const changed = event(change);
  const id = changed['id'];
  const eventId = typeof id === 'string' && /^[A-Za-z0-9_:./-]{1,128}$/.test(id) ? id : undefined;
  return { name, subject, payload: JSON.stringify(changed), reason, cluster, ...(eventId && { eventId }) };
}

const data =
  (fields: Record<string, unknown>) =>
  (one: Record<string, unknown>): void => {
    one['data'] = { ...(one['data'] as object), ...fields };
  };

const binary = (id: string, ...more: string[]): string[] => [
  'ce-specversion: 1.0',
  `ce-id: ${id}`,
  'ce-source: /hostile',
  'ce-type: VmStartRequested',
  'ce-time: 2026-01-02T03:04:05Z',
  ...more,
];
const goodData = JSON.stringify({ vmId: 'vm1', nics: [nic] });

const MANY_NICS = Array.from({ length: 10_000 }, (_, index) => ({ nicId: `eth${index}` }));
const DEEP = 100_000;

const KINDS: readonly Hostile[] = [
  { name: 'nothing at all', subject: SUBJECT, payload: '', reason: /empty|not JSON/ },
  { name: 'not JSON', subject: SUBJECT, payload: 'start vm1, please', reason: /not JSON/ },
  {
    name: 'JSON that ends too early',
    subject: SUBJECT,
    payload: '{"specversion":"1.0","id":"x"',
    reason: /not JSON/,
  },
  { name: 'zero bytes', subject: SUBJECT, payload: Buffer.alloc(64), reason: /not JSON/ },
  {
    name: 'bad UTF-8 in a good event',
    subject: SUBJECT,
    payload: Buffer.concat([
      Buffer.from('{"specversion":"1.0","id":"'),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('"}'),
    ]),
    reason: /UTF-8/,
  },
  { name: 'JSON that is no object', subject: SUBJECT, payload: '[1,2,3]', reason: /not a JSON object/ },
  { name: 'null', subject: SUBJECT, payload: 'null', reason: /not a JSON object/ },
  { name: 'not a CloudEvent', subject: SUBJECT, payload: goodData, reason: /CloudEvent/ },
  structured('another specversion', /specversion/, (one) => (one['specversion'] = '0.3')),
  structured('no id', /\bid\b/, (one) => delete one['id']),
  structured('an id that is a number', /\bid\b/, (one) => (one['id'] = 7)),
  structured(
    'an id with a line break and headers in it',
    /\bid\b/,
    (one) => (one['id'] = 'x\r\nNats-Rollup: all'),
  ),
  structured('a time that is none', /time/, (one) => (one['time'] = 'yesterday')),
  structured('data in base64', /data_base64/, (one) => {
    delete one['data'];
    one['data_base64'] = 'e30=';
  }),
  structured('data that is a list', /data must be an object/, (one) => (one['data'] = [])),
  structured(
    'a type that is unknown',
    /"VmExploded" is not an input/,
    (one) => (one['type'] = 'VmExploded'),
    'vf.in.default.vm.vm1.VmExploded',
  ),
  structured(
    'a type of Object.prototype',
    /"constructor" is not an input/,
    (one) => (one['type'] = 'constructor'),
    'vf.in.default.vm.vm1.constructor',
  ),
  structured('a subject with another VM', /"vm2"/, () => undefined, 'vf.in.default.vm.vm2.VmStartRequested'),
  structured('a subject with another type', /VmStopped/, () => undefined, 'vf.in.default.vm.vm1.VmStopped'),
  structured(
    'a subject with another kind',
    /'vm'.*'host'/,
    () => undefined,
    'vf.in.default.host.vm1.VmStartRequested',
  ),
  structured('a subject that is too short', /form/, () => undefined, 'vf.in.default.vm.vm1'),
  structured('a subject that is too long', /form/, () => undefined, `${SUBJECT}.really`),
  structured(
    'a subject with a kind that is none',
    /form/,
    () => undefined,
    'vf.in.default.switch.vm1.VmStartRequested',
  ),
  structured(
    'a subject with an id that is none',
    /form/,
    () => undefined,
    'vf.in.default.vm.vm$1.VmStartRequested',
  ),
  structured(
    'a cluster that cannot be one',
    /cluster/,
    () => undefined,
    'vf.in.de$fault.vm.vm1.VmStartRequested',
    '_',
  ),
  structured('the cluster _', /cluster/, () => undefined, 'vf.in._.vm.vm1.VmStartRequested', '_'),
  structured(
    'a cluster name of 65 letters',
    /cluster/,
    () => undefined,
    `vf.in.${'c'.repeat(65)}.vm.vm1.VmStartRequested`,
    '_',
  ),
  structured(
    'a subject that ends with a cluster that is known',
    /form|ends/,
    () => undefined,
    'vf.in.default',
  ),
  structured(
    'a subject that ends with one that is not',
    /form|ends/,
    () => undefined,
    'vf.in.nowhere',
    'nowhere',
  ),
  structured(
    'bytes in the subject that are no UTF-8',
    /form|cluster/,
    () => undefined,
    Buffer.from('vf.in.\xff\xfe.vm.vm1.VmStartRequested', 'latin1'),
    '_',
  ),
  {
    name: 'a key __proto__',
    subject: SUBJECT,
    payload: `{"specversion":"1.0","id":"proto-1","source":"/x","type":"VmStartRequested","time":"2026-01-02T03:04:05Z","data":{"vmId":"vm1","__proto__":{"admin":true}}}`,
    reason: /"__proto__"/,
    eventId: 'proto-1',
  },
  structured(
    'a key constructor deep inside',
    /"constructor"/,
    data({ nics: [{ ...nic, qos: { constructor: 1 } }] }),
  ),
  structured('10,000 NICs', /nics/, data({ nics: MANY_NICS })),
  structured('the same NIC twice', /nic/i, data({ nics: [nic, nic] })),
  structured('a NIC that is a text', /nics/, data({ nics: ['eth0'] })),
  structured('an address in another form', /mac/, data({ nics: [{ ...nic, mac: 'AA-BB-CC-DD-EE-FF' }] })),
  structured('a multicast MAC', /mac/, data({ nics: [{ ...nic, mac: '01:00:5e:00:00:01' }] })),
  structured(
    'half a VF',
    /numVfs/,
    (one) =>
      Object.assign(one, {
        type: 'PfVirtualizeRequested',
        data: { hostId: 'h1', pf: '0000:82:00.0', numVfs: 1.5 },
      }),
    'vf.in.default.host.h1.PfVirtualizeRequested',
  ),
  {
    name: 'nesting that would break a stack',
    subject: SUBJECT,
    payload: `{"specversion":"1.0","id":"deep-1","data":${'['.repeat(DEEP)}${']'.repeat(DEEP)}}`,
    // V8 reads it without a stack; what is read next is not there.
    reason: /\w/,
    eventId: 'deep-1',
  },
  structured('nesting of 60', /nested/, data({ extra: nested(60) })),
  {
    name: '300 KiB',
    subject: SUBJECT,
    payload: Buffer.alloc(300 * 1024, ' '),
    reason: /307200 bytes.*262144/,
  },
  {
    name: '1 MiB, which is the most that VF_IN takes',
    subject: SUBJECT,
    payload: Buffer.alloc(1024 * 1024 - 4096, '9'),
    reason: /bytes/,
  },
  {
    name: 'binary mode with an attribute that cannot be one',
    subject: SUBJECT,
    payload: goodData,
    headers: binary('binary-1', 'ce-Ünsinn: 1'),
    reason: /header|attribute/,
    eventId: 'binary-1',
  },
  {
    name: 'binary mode with a broken percent sign',
    subject: SUBJECT,
    payload: goodData,
    headers: binary('binary-2', 'ce-subject: 100%'),
    reason: /percent/,
    eventId: 'binary-2',
  },
  {
    name: 'binary mode without a type',
    subject: SUBJECT,
    payload: goodData,
    headers: ['ce-specversion: 1.0', 'ce-id: binary-3', 'ce-source: /x', 'ce-time: 2026-01-02T03:04:05Z'],
    reason: /type/,
    eventId: 'binary-3',
  },
  {
    name: 'binary mode whose payload is not JSON',
    subject: SUBJECT,
    payload: '<vm id="1"/>',
    headers: binary('binary-4', 'content-type: text/xml'),
    reason: /json/i,
    eventId: 'binary-4',
  },
  {
    name: 'headers that mean something to the server',
    subject: SUBJECT,
    payload: 'rolled up?',
    headers: [
      'Nats-Msg-Id: 1',
      'Vf-Reason: all is well',
      'Vf-Sequence: 1',
      'Vf-Event-Id: somebody-else',
      'X-Team: storage',
    ],
    reason: /not JSON/,
  },
  {
    name: 'header names that no program would write',
    subject: SUBJECT,
    payload: 'strange headers',
    headers: [
      '__proto__: polluted',
      'constructor: polluted',
      'a b: c',
      ': nameless',
      'no colon at all',
      'tab\there: 1',
      'X-Kept: yes',
    ],
    reason: /not JSON/,
  },
  {
    name: 'a header of 60 KiB',
    subject: SUBJECT,
    payload: 'large header',
    headers: [`X-Large: ${'x'.repeat(60 * 1024)}`, 'X-Kept: yes'],
    reason: /not JSON/,
  },
];

function nested(depth: number): object {
  return depth === 0 ? {} : { in: nested(depth - 1) };
}

const programs = new Programs();
let program: Program;
let client: NatsClient;
let raw: RawNats;
let out: OutFollower;
let dataDir: string;
/** Place in `VF_IN` of each kind. */
const sequences = new Map<string, number>();
let letters: readonly RawMessage[] = [];

const untilServed = async (next: Input): Promise<void> => {
  await client.publishUntilStored(next);
  await out.first(`what ${next.event.id} led to`, ({ causationid }) => causationid === next.event.id);
};

beforeAll(async () => {
  dataDir = await programs.directory();
  program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
  const { nats } = await program.ready();
  client = await NatsClient.connect(nats);
  raw = await RawNats.connect(nats);
  out = client.follow();
  await untilServed(hostReported('h1', 63));
  for (const kind of KINDS) {
    const payload = Buffer.from(kind.payload as string);
    sequences.set(kind.name, await raw.publish(kind.subject, payload, kind.headers?.join('\r\n')));
  }
  await untilServed(vmStart('marker'));
  const all = async (): Promise<boolean> =>
    ((await client.stream('VF_DEAD'))?.state.messages ?? 0) >= KINDS.length;
  // Where some are missing, their own tests say which.
  await until('all dead letters', all, { timeout: 10_000 }).catch(() => undefined);
  letters = await client.dead();
});

afterAll(async () => {
  raw?.close();
  await client?.close();
  await programs.end();
});

describe('what cannot be taken goes to VF_DEAD, byte for byte, with a reason', () => {
  test('there are at least 20 kinds, and each is there once', () => {
    expect(KINDS.length).toBeGreaterThanOrEqual(20);
    expect(letters).toHaveLength(KINDS.length);
  });

  test.each(KINDS)('$name', ({ name, subject, payload, headers, reason, cluster = 'default', eventId }) => {
    const sequence = String(sequences.get(name));
    const [letter, ...more] = letters.filter((one) => headerOf(one, 'Vf-Sequence') === sequence);
    expect(more).toEqual([]);
    expect(letter).toBeDefined();
    expect(letter!.subject).toBe(`vf.dead.${cluster}`);
    expect(letter!.payload.equals(Buffer.from(payload as string))).toBe(true);
    if (typeof subject === 'string') expect(headerOf(letter!, 'Vf-Subject')).toBe(subject);
    expect(headerOf(letter!, 'Vf-Event-Id')).toBe(eventId);
    // A sentence for a person, not a stack or a code.
    const said = headerOf(letter!, 'Vf-Reason') ?? '';
    expect(said).toMatch(reason);
    expect(said).not.toMatch(/\bat \w+.*:\d+|Error:|undefined|\[object/);
    if (headers?.includes('X-Kept: yes')) expect(headerOf(letter!, 'X-Kept')).toBe('yes');
    if (headers?.includes('X-Team: storage')) expect(headerOf(letter!, 'X-Team')).toBe('storage');
    for (const line of headers?.filter((one) => one.startsWith('ce-') && !one.includes('Ü')) ?? []) {
      const [header = '', value = ''] = line.split(': ');
      expect(headerOf(letter!, header)).toBe(value);
    }
  });

  test('none of it has left an event, or polluted anything', async () => {
    // The marker was heard of by the first event of its decision.
    await out.first('its outcome', ({ type }) => type === 'VmStartAccepted');
    expect(out.events.map(({ event: { type } }) => type)).toEqual([
      'HostRegistered',
      'VfAllocated',
      'VmStartAccepted',
    ]);
    expect(await client.query('vm', { vmId: 'vm1' })).toMatchObject({ error: { code: 'NOT_FOUND' } });
    expect(program.log(50)).toEqual([]);
  });

  test('the query outcome tells the reason', async () => {
    expect(await client.query('outcome', { id: 'binary-2' })).toMatchObject({
      dead: { reason: expect.stringMatching(/percent/) },
    });
  });
});

describe('an id is used once', () => {
  test('[EX-6 refuses] the same id with other content is dead, the same content in another order of keys is a repeat', async () => {
    const before = (await client.dead()).length;
    const first = input('VmStartRequested', { vmId: 'twice', nics: [nic] }, { id: 'twice-1' });
    await untilServed(first);
    const other = input(
      'VmStartRequested',
      { vmId: 'twice', nics: [{ ...nic, nicId: 'eth1' }] },
      { id: 'twice-1' },
    );
    await client.publish(other);
    const again = input('VmStartRequested', { nics: [nic], vmId: 'twice' }, { id: 'twice-1' });
    await client.publish(again);
    await untilServed(vmStart('after'));
    expect(out.of('twice-1').map(({ type }) => type)).toEqual(['VfAllocated', 'VmStartAccepted']);
    const dead = (await client.dead()).slice(before);
    expect(dead).toHaveLength(1);
    expect(dead[0]!.payload.toString()).toBe(JSON.stringify(other.event));
    expect(headerOf(dead[0]!, 'Vf-Reason')).toMatch(/twice-1.*other content/);
    expect(headerOf(dead[0]!, 'Vf-Event-Id')).toBe('twice-1');
  });
});

describe('once, whatever happens', () => {
  test('kill -9, twice, and nothing is dead-lettered again; the next good message is served', async () => {
    const before = await client.dead();
    raw.close();
    await client.close();
    for (let round = 0; round < 2; round++) {
      // The last one with its nats-server.
      if (round === 1) for (const pid of natsServersBelow(dataDir)) process.kill(pid, 'SIGKILL');
      await program.kill();
      program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
      const { nats } = await program.ready();
      client = await NatsClient.connect(nats);
      out = client.follow();
      await untilServed(vmStart(`after-kill-${round}`));
      expect(await client.dead()).toEqual(before);
      await client.close();
    }
    client = await NatsClient.connect((await program.ready()).nats);
  });

  test('killed while it dead-letters, each still comes once, and in order', async () => {
    const before = (await client.dead()).length;
    const bodies = Array.from({ length: 400 }, (_, index) => `garbage ${index}`);
    const publish = async (body: string): Promise<void> => {
      await client.publishBytes(SUBJECT, body);
    };
    await Promise.all(bodies.map(publish));
    await until(
      'some dead letters',
      async () => ((await client.stream('VF_DEAD'))?.state.messages ?? 0) > before,
      { every: 1 },
    );
    await program.kill();
    await client.close();
    program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
    client = await NatsClient.connect((await program.ready()).nats);
    out = client.follow();
    await untilServed(vmStart('at-last'));
    const dead = (await client.dead()).slice(before);
    expect(dead.map(({ payload }) => payload.toString()).sort()).toEqual([...bodies].sort());
    const places = dead.map((letter) => Number(headerOf(letter, 'Vf-Sequence')));
    expect(places).toEqual([...places].sort((one, other) => one - other));
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  });
});
