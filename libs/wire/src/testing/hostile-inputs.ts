import { attributesOf, bytes, SAMPLES, subjectFor } from './sample-inputs.js';

/** A message of `VF_IN` that cannot be taken, and why. */
export interface HostileInput {
  readonly name: string;
  readonly subject: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
  /** Matches the sentence that the sender gets. */
  readonly reason: RegExp;
  /** Under which it is dead-lettered; `_` when its subject names none. */
  readonly cluster: string;
}

/** Strange, and good: a careful reader takes these. */
export type OddInput = Omit<HostileInput, 'reason'>;

type Data = Record<string, unknown>;

const KIB = 1024;
const LIMIT = 256 * KIB;
const HOST = 'vf.in.default.host.host-1.';
const VM = 'vf.in.default.vm.vm-1.';

let count = 0;
const nextId = (): string => `hostile:${++count}`;

/** An event's text, with the given attributes instead of good ones; undefined takes one out. */
const text = (type: string, data: unknown, attributes: Data = {}): string =>
  JSON.stringify({ ...attributesOf(type, nextId()), ...attributes, data });

const hostile = (
  name: string,
  subject: string,
  payload: string | Uint8Array,
  reason: RegExp,
  more: Partial<HostileInput> = {},
): HostileInput => ({
  name,
  subject,
  payload: typeof payload === 'string' ? bytes(payload) : payload,
  reason,
  cluster: 'default',
  ...more,
});

const start = (name: string, data: Data, reason: RegExp): HostileInput =>
  hostile(name, `${VM}VmStartRequested`, text('VmStartRequested', { vmId: 'vm-1', ...data }), reason);

const startWithNic = (name: string, nic: unknown, reason: RegExp): HostileInput =>
  start(name, { nics: [nic] }, reason);

const report = (name: string, data: Data, reason: RegExp): HostileInput =>
  hostile(
    name,
    `${HOST}HostReported`,
    text('HostReported', { ...SAMPLES.HostReported.minimal, ...data }),
    reason,
  );

/** An event with a good type and subject, and data changed from the sample's. */
const changed = (name: string, type: keyof typeof SAMPLES, data: Data, reason: RegExp): HostileInput => {
  const sample = SAMPLES[type].minimal;
  return hostile(name, subjectFor(type, sample), text(type, { ...sample, ...data }), reason);
};

const tick = (name: string, attributes: Data, reason: RegExp): HostileInput =>
  hostile(name, 'vf.in.default.cluster.default.Tick', text('Tick', {}, attributes), reason);

const repeated = <T>(times: number, make: (index: number) => T): T[] =>
  Array.from({ length: times }, (_, index) => make(index));

const nested = (depth: number, open: string, close: string, middle: string): string =>
  open.repeat(depth) + middle + close.repeat(depth);

const pf = (index: number, vfs: unknown[] = []): Data => ({
  pciAddress: `0000:${index.toString(16).padStart(2, '0')}:00.0`,
  ifname: `ens${index}`,
  link: 'up',
  totalVfs: 1024,
  vfs,
});

const vf = (index: number, domain = 1): Data => ({
  pciAddress: `${domain.toString(16).padStart(4, '0')}:${(index >> 8).toString(16).padStart(2, '0')}:${((index >> 3) & 31).toString(16).padStart(2, '0')}.${index & 7}`,
  index,
});

/** Fills an event up to a number of bytes with a field that nobody knows. */
function padded(type: string, data: Data, size: number): string {
  const bare = text(type, { ...data, padding: '' });
  return bare.replace('"padding":""', () => `"padding":"${'x'.repeat(size - bytes(bare).length)}"`);
}

function notJson(): HostileInput[] {
  const subject = `${VM}VmStopped`;
  const good = text('VmStopped', { vmId: 'vm-1' });
  const not = /^the payload is not JSON: /;
  const utf16 = new Uint8Array([0xff, 0xfe, ...[...good].flatMap((char) => [char.charCodeAt(0), 0])]);
  return [
    hostile('an empty payload', subject, '', /^the payload is empty/),
    hostile('blanks', subject, '  \n', not),
    hostile('prose', subject, 'please stop vm-1', not),
    hostile('a truncated event', subject, good.slice(0, -10), not),
    hostile('an event with a tail', subject, `${good}x`, not),
    hostile('two events', subject, good + good, not),
    hostile('single quotes', subject, good.replaceAll('"', "'"), not),
    hostile('a trailing comma', subject, good.replace(/\}$/, ',}'), not),
    hostile('a comment', subject, `/* stop */${good}`, not),
    hostile('NaN', subject, good.replace('"vm-1"', 'NaN'), not),
    hostile('a raw line break in a string', subject, good.replace('"vm-1"', '"vm\n1"'), not),
    hostile('a raw NUL in a string', subject, good.replace('"vm-1"', '"vm\u00001"'), not),
    hostile('NUL bytes', subject, new Uint8Array(64), not),
    hostile('a byte order mark alone', subject, '\ufeff', not),
    hostile('two byte order marks', subject, `\ufeff\ufeff${good}`, not),
    hostile('a byte order mark behind a blank', subject, ` \ufeff${good}`, not),
    hostile('XML', subject, '<event type="VmStopped"/>', not),
    hostile('base64', subject, Buffer.from(good).toString('base64'), not),
    hostile('UTF-16', subject, utf16, /^the payload is not UTF-8/),
    hostile(
      'Latin-1',
      subject,
      Buffer.from(good.replace('vm-1', 'vm-é'), 'latin1'),
      /^the payload is not UTF-8/,
    ),
    hostile(
      'an overlong slash',
      subject,
      new Uint8Array([0x22, 0xc0, 0xaf, 0x22]),
      /^the payload is not UTF-8/,
    ),
    hostile(
      'half a surrogate pair in UTF-8',
      subject,
      new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]),
      /^the payload is not UTF-8/,
    ),
    hostile(
      'half a character at the end',
      subject,
      new Uint8Array([0x22, 0xe2, 0x82]),
      /^the payload is not UTF-8/,
    ),
    hostile('gzip', subject, new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), /^the payload is not UTF-8/),
    ...['[]', '42', '"VmStopped"', 'null', 'true', '1e400', `[${good}]`].map((payload) =>
      hostile(
        `${payload.slice(0, 12)} instead of an event`,
        subject,
        payload,
        /^the payload is not a JSON object/,
      ),
    ),
    hostile('an empty object', subject, '{}', /specversion/),
  ];
}

function attributes(): HostileInput[] {
  const time = /^time must be an RFC 3339 time/;
  const id = /^id must be/;
  const source = /^source must be/;
  const wrong = [42, true, null, [], {}, ''] as const;
  const say = (value: unknown): string => JSON.stringify(value) ?? 'nothing';
  return [
    ...[undefined, '1.1', '0.3', 1, '1', ' 1.0', null, ['1.0']].map((specversion) =>
      tick(`specversion ${say(specversion)}`, { specversion }, /specversion must be "1\.0"/),
    ),
    ...[
      undefined,
      ...wrong,
      'with blank',
      'ümlaut',
      'new\nline',
      'a\u0000b',
      'x'.repeat(129),
      '"',
      '<id>',
    ].map((value) => tick(`id ${say(value).slice(0, 20)}`, { id: value }, id)),
    ...[undefined, ...wrong, 'x'.repeat(1025), '/a\u0000b', '/a\r\nVf-Reason: b', '/\ud800'].map((value) =>
      tick(`source ${say(value).slice(0, 20)}`, { source: value }, source),
    ),
    ...[undefined, ...wrong].map((type) => tick(`type ${say(type)}`, { type }, /^type must name the event/)),
    ...[
      undefined,
      ...wrong,
      '2026-08-01',
      '2026-08-01T12:00:00',
      '2026-08-01 12:00:00Z',
      '01.08.2026 12:00',
      '2026-08-01T12:00Z',
      '2026-08-01T24:00:00Z',
      '2026-08-01T12:60:00Z',
      '2026-08-01T12:00:61Z',
      '2026-08-01T12:00:00.Z',
      '2026-08-01T12:00:00+2',
      '2026-08-01T12:00:00+24:00',
      '2026-13-01T12:00:00Z',
      '2026-00-01T12:00:00Z',
      '2026-02-30T12:00:00Z',
      '2026-02-29T12:00:00Z',
      '2026-04-31T12:00:00Z',
      '+002026-08-01T12:00:00Z',
      '2026-W31-6T12:00:00Z',
      '2026-08-01T12:00:00Z\n',
      `2026-08-01T12:00:00.${'1'.repeat(5000)}Z`,
      'Sat, 01 Aug 2026 12:00:00 GMT',
      1_785_585_600_000,
    ].map((value) => tick(`time ${say(value).slice(0, 40)}`, { time: value }, time)),
    ...(['subject', 'correlationid', 'traceparent'] as const).flatMap((attribute) =>
      [42, true, [], {}, '', 'x'.repeat(257), 'a\u0000b', 'a\nb', '\udc00'].map((value) =>
        tick(
          `${attribute} ${say(value).slice(0, 20)}`,
          { [attribute]: value },
          new RegExp(`^${attribute} must be a text of 1 to 256`),
        ),
      ),
    ),
    ...['application/xml', 'text/plain', 'json', '', 'application/jsonx', 42, {}].map((datacontenttype) =>
      tick(
        `content type ${say(datacontenttype)}`,
        { datacontenttype },
        /^datacontenttype must be application\/json/,
      ),
    ),
    ...['e30=', '', {}].map((data_base64) =>
      tick(`data_base64 ${say(data_base64)}`, { data_base64 }, /data_base64/),
    ),
    hostile(
      'an attribute __proto__',
      'vf.in.default.cluster.default.Tick',
      text('Tick', {}).replace(/^\{/, '{"__proto__":{"specversion":"1.0","id":"x"},'),
      /"__proto__"/,
    ),
    ...[undefined, null, [], 'e30=', '{}', 42, true, [{}]].map((data) =>
      hostile(
        `data ${say(data)}`,
        'vf.in.default.cluster.default.Tick',
        text('Tick', data),
        /^data must be an object/,
      ),
    ),
  ];
}

function subjects(): HostileInput[] {
  const form = /subject .*vf\.in\.<cluster>/;
  const stop = (): string => text('VmStopped', { vmId: 'vm-1' });
  const none = { cluster: '_' };
  const long = 'x'.repeat(65);
  const at = (subject: string, more: Partial<HostileInput> = {}): HostileInput =>
    hostile(`subject ${subject.slice(0, 60)}`, subject, stop(), form, more);
  return [
    at('vf.in.default'),
    at('vf.in.default.vm'),
    at('vf.in.default.vm.vm-1'),
    at('vf.in.default.vm.vm-1.VmStopped.again'),
    at('vf.in.default.vm.vm.1.VmStopped'),
    at('vf.in.default.VM.vm-1.VmStopped'),
    at('vf.in.default.toString.vm-1.VmStopped'),
    at('vf.in.default.__proto__.vm-1.VmStopped'),
    at('vf.in.default.disk.vm-1.VmStopped'),
    at(`vf.in.default.vm.${long}.VmStopped`),
    at('vf.in.default.vm.vm:1.VmStopped'),
    at('vf.in.default.vm.vm$1.VmStopped'),
    at('vf.in.site:1.vm.vm-1.VmStopped', none),
    at(`vf.in.${long}.vm.vm-1.VmStopped`, none),
    at('vf.in._.vm.vm-1.VmStopped', none),
    at('vf.in.größe.vm.vm-1.VmStopped', none),
    at('vf.in.$SYS.vm.vm-1.VmStopped', none),
    hostile('a payload as bad as its subject', 'vf.in.default.vm', 'x', /^the payload is not JSON/),
    hostile(
      'another type in the subject',
      `${VM}VmDestroyed`,
      stop(),
      /subject says "VmDestroyed".*VmStopped/,
    ),
    hostile('another case in the subject', `${VM}vmstopped`, stop(), /subject says "vmstopped".*VmStopped/),
    hostile(
      'a VM input under host',
      'vf.in.default.host.vm-1.VmStopped',
      stop(),
      /belongs under 'vm'.*'host'/,
    ),
    hostile(
      'a VM input under cluster',
      'vf.in.default.cluster.default.VmStopped',
      stop(),
      /belongs under 'vm'.*'cluster'/,
    ),
    hostile(
      'a host input under vm',
      'vf.in.default.vm.host-1.HostFenced',
      text('HostFenced', { hostId: 'host-1' }),
      /belongs under 'host'.*'vm'/,
    ),
    hostile('another VM in data', 'vf.in.default.vm.vm-2.VmStopped', stop(), /data\.vmId is "vm-1".*"vm-2"/),
    hostile(
      'a VM in another case',
      'vf.in.default.vm.VM-1.VmStopped',
      stop(),
      /data\.vmId is "vm-1".*"VM-1"/,
    ),
    hostile(
      'another host in data',
      `${HOST}HostFenced`,
      text('HostFenced', { hostId: 'host-2' }),
      /data\.hostId is "host-2".*"host-1"/,
    ),
    hostile(
      'the L2 network instead of the L3 network',
      'vf.in.default.network.l2-1.L3NetworkDefined',
      text('L3NetworkDefined', SAMPLES.L3NetworkDefined.minimal),
      /data\.l3Id is "l3-1".*"l2-1"/,
    ),
    hostile(
      'another cluster as id',
      'vf.in.default.cluster.other.Tick',
      text('Tick', {}),
      /cluster is "default".*"other"/,
    ),
    ...[
      'toString',
      '__proto__',
      'constructor',
      'hasOwnProperty',
      'VmStartAccepted',
      'VfAllocated',
      'vmStopped',
      'VmStopped ',
      'VmStopped\u0000',
      'com.example.VmStopped',
      'x'.repeat(100_000),
    ].map((type) =>
      hostile(
        `type ${JSON.stringify(type.slice(0, 40))}`,
        `${VM}${/^\w{1,40}$/.test(type) ? type : 'VmStopped'}`,
        text(type, { vmId: 'vm-1' }),
        /^type .* is not an input/,
      ),
    ),
  ];
}

function prototypes(): HostileInput[] {
  const reason = /^data has a key "(__proto__|constructor|prototype)", which is refused/;
  return ['__proto__', 'constructor', 'prototype'].flatMap((key) => {
    const evil = `${JSON.stringify(key)}:{"polluted":true,"prototype":{"polluted":true}}`;
    const places: [string, string][] = [
      ['in data', `{"vmId":"vm-1",${evil}}`],
      ['in an unknown field', `{"vmId":"vm-1","unknown":{"deep":[{${evil}}]}}`],
      ['in a NIC', `{"vmId":"vm-1","nics":[{"nicId":"nic-1",${evil}}]}`],
      ['in qos', `{"vmId":"vm-1","nics":[{"nicId":"nic-1","qos":{"a":{"b":[[{${evil}}]]}}}]}`],
      ['twice', `{"vmId":"vm-1",${evil},${evil}}`],
    ];
    return places.map(([place, data]) =>
      hostile(
        `${key} ${place}`,
        `${VM}VmStartRequested`,
        text('VmStartRequested', 0).replace(/"data":0/, () => `"data":${data}`),
        reason,
      ),
    );
  });
}

function escapedPrototype(): HostileInput {
  const event = text('VmStopped', { vmId: 'vm-1', hidden: 1 });
  return hostile(
    '__proto__ written with escapes',
    `${VM}VmStopped`,
    event.replace('"hidden"', String.raw`"\u005f_proto\u005f\u005f"`),
    /"__proto__"/,
  );
}

function monsters(): HostileInput[] {
  const deepData = (type: string, data: string): string =>
    text(type, 0).replace(/"data":0/, () => `"data":${data}`);
  const deep = /nested more than 32 deep/;
  const levels = 40_000;
  const nic = (index: number): Data => ({ nicId: `nic-${index}` });
  return [
    hostile(
      'arrays, 130,000 deep, instead of an event',
      `${VM}VmStopped`,
      nested(130_000, '[', ']', ''),
      /not a JSON object/,
    ),
    hostile('brackets that never close', `${VM}VmStopped`, '['.repeat(LIMIT), /not JSON/),
    hostile('braces that never close', `${VM}VmStopped`, '{"a":'.repeat(50_000), /not JSON/),
    hostile(
      'data, 40,000 objects deep',
      `${VM}VmStopped`,
      deepData('VmStopped', nested(levels, '{"a":', '}', '1')),
      deep,
    ),
    hostile(
      'data, 100,000 arrays deep in an unknown field',
      `${VM}VmStopped`,
      deepData('VmStopped', `{"vmId":"vm-1","a":${nested(100_000, '[', ']', '')}}`),
      deep,
    ),
    hostile(
      'qos, 40,000 objects deep',
      `${VM}VmStartRequested`,
      deepData(
        'VmStartRequested',
        `{"vmId":"vm-1","nics":[{"nicId":"n","qos":${nested(levels, '{"a":', '}', '1')}}]}`,
      ),
      deep,
    ),
    hostile(
      'data just too deep',
      `${VM}VmStopped`,
      deepData('VmStopped', nested(33, '{"a":', '}', '{}')),
      deep,
    ),
    hostile(
      'data, 40,000 objects deep in binary mode',
      'vf.in.default.cluster.default.Tick',
      nested(levels, '{"a":', '}', '1'),
      deep,
      { headers: binaryHeaders('Tick') },
    ),
    hostile(
      'arrays, 130,000 deep, in binary mode',
      'vf.in.default.cluster.default.Tick',
      nested(130_000, '[', ']', ''),
      /data must be an object/,
      { headers: binaryHeaders('Tick') },
    ),
    start('65 NICs', { nics: repeated(65, nic) }, /data\.nics must be a list of at most 64/),
    start('10,000 NICs', { nics: repeated(10_000, nic) }, /data\.nics must be a list of at most 64/),
    start(
      '80,000 empty NICs',
      { nics: repeated(80_000, () => ({})) },
      /data\.nics must be a list of at most 64/,
    ),
    start('64 wrong NICs', { nics: repeated(64, () => ({ mac: 1, type: 2, qos: 3 })) }, /data\.nics\[0\]\./),
    start(
      '10,001 hosts',
      { hosts: repeated(10_001, (index) => `h${index}`) },
      /data\.hosts must be a list of at most/,
    ),
    start('120,000 zeros as hosts', { hosts: repeated(120_000, () => 0) }, /data\.hosts must be a list/),
    start('a host name of 200 KB', { hostId: 'h'.repeat(200_000) }, /data\.hostId must be 1 to 64/),
    startWithNic(
      '65 security groups',
      { nicId: 'n', securityGroups: repeated(65, (index) => `g${index}`) },
      /securityGroups must be a list of at most 64/,
    ),
    startWithNic('a MAC of 200 KB', { nicId: 'n', mac: '02:'.repeat(66_000) }, /nics\[0\]\.mac must be/),
    startWithNic(
      'an address of 200 KB',
      { nicId: 'n', guestSlot: '0000:'.repeat(40_000) },
      /nics\[0\]\.guestSlot must be/,
    ),
    hostile(
      'numbers that grow when written',
      `${VM}VmStartRequested`,
      deepData(
        'VmStartRequested',
        `{"vmId":"vm-1","nics":[{"nicId":"n","type":"vnic","qos":{"a":[${'1E20,'.repeat(50_000)}1]}}]}`,
      ),
      /^data has \d+ characters with its numbers written out/,
    ),
    report('65 PFs', { pfs: repeated(65, (index) => pf(index)) }, /data\.pfs must be a list of at most 64/),
    report(
      '1,025 VFs of one PF',
      {
        pfs: [
          pf(
            0,
            repeated(1025, (index) => vf(index)),
          ),
        ],
      },
      /vfs must be a list of at most 1024/,
    ),
    report(
      '1,025 VFs over two PFs',
      {
        pfs: [
          pf(
            0,
            repeated(512, (index) => vf(index)),
          ),
          pf(
            1,
            repeated(513, (index) => vf(index, 2)),
          ),
        ],
      },
      /data\.pfs has 1025 VFs; a host has at most 1024/,
    ),
    report(
      '1,024 VFs, the last one wrong',
      {
        pfs: [pf(0, [...repeated(1023, (index) => vf(index)), { ...vf(1023), index: -1 }])],
      },
      /data\.pfs\[0\]\.vfs\[1023\]\.index must be/,
    ),
    report(
      '1,024 VFs, all wrong',
      {
        pfs: [
          pf(
            0,
            repeated(1024, () => ({})),
          ),
        ],
      },
      /data\.pfs\[0\]\.vfs\[0\]\.index/,
    ),
    report(
      '10,001 VMs',
      { vms: repeated(10_001, (index) => `v${index}`) },
      /data\.vms must be a list of at most/,
    ),
    changed(
      '1,025 VFs of a split',
      'PfVirtualized',
      { vfs: repeated(1025, (index) => vf(index)) },
      /data\.vfs must be a list of at most 1024/,
    ),
    changed(
      '10,001 quotas',
      'ClusterPolicyChanged',
      { quotas: Object.fromEntries(repeated(10_001, (index) => [`t${index}`, 1])) },
      /data\.quotas must give/,
    ),
    hostile(
      'one byte more than 256 KiB',
      `${VM}VmStopped`,
      padded('VmStopped', { vmId: 'vm-1' }, LIMIT + 1),
      /^the payload has 262145 bytes; an input has at most 262144/,
    ),
    hostile(
      '500 KiB',
      `${VM}VmStopped`,
      padded('VmStopped', { vmId: 'vm-1' }, 500 * KIB),
      /^the payload has 512000 bytes/,
    ),
    hostile(
      '256 KiB of blanks and one byte',
      `${VM}VmStopped`,
      ' '.repeat(LIMIT + 1),
      /^the payload has 262145 bytes/,
    ),
  ];
}

function fields(): HostileInput[] {
  const identifier = /data\.vmId must be 1 to 64 of A-Z a-z 0-9 _ -/;
  const pfAddress = /data\.pf must be a PCI address dddd:bb:dd\.f/;
  const vms = [
    undefined,
    null,
    '',
    42,
    [],
    {},
    'vm 1',
    'vm.1',
    'vm/1',
    'vm\u0000',
    'vm-1\n',
    'ⅴm',
    'x'.repeat(65),
  ];
  const addresses = [
    '0000:82:00.0 ',
    '0000:8A:00.0',
    '0000_82_00_0',
    'pci_0000_82_00_0',
    '82:00.0',
    '0000:130:00.0',
    '00000:82:00.0',
    '0000:82:20.0',
    '0000:82:00.8',
    '0000:82:00',
    '0x82',
    '0000:82:00.0\n',
    '',
    null,
    42,
    { domain: 0, bus: 130, slot: 0, function: 0 },
    ['0000:82:00.0'],
  ];
  const macs = [
    '01:00:5e:00:00:01',
    'ff:ff:ff:ff:ff:ff',
    '00:00:00:00:00:00',
    '02:00:00:00:00:0A',
    '02-00-00-00-00-01',
    '020000000001',
    '02:00:00:00:00',
    '02:00:00:00:00:01:02',
    '',
    42,
  ];
  const slots = [0, 32, -1, 1.5, '5', 'x', '', '00:05.0', '0000:00:1F.0', true, [5], {}];
  const twice = (what: object): Data => ({
    nics: [
      { nicId: 'a', ...what },
      { nicId: 'b', ...what },
    ],
  });
  const whole = /data\.numVfs must be a whole number/;
  const generation = /data\.generation must be a whole number from 0/;
  return [
    ...vms.map((vmId) =>
      hostile(
        `vmId ${String(JSON.stringify(vmId)).slice(0, 20)}`,
        `${VM}VmStopped`,
        text('VmStopped', { vmId }),
        identifier,
      ),
    ),
    ...addresses.map((address) =>
      changed(`PCI address ${JSON.stringify(address)}`, 'PfAccepted', { pf: address }, pfAddress),
    ),
    ...macs.map((mac) =>
      startWithNic(`MAC ${mac}`, { nicId: 'n', mac }, /data\.nics\[0\]\.mac must be a unicast MAC/),
    ),
    ...slots.map((guestSlot) =>
      startWithNic(
        `guest slot ${JSON.stringify(guestSlot)}`,
        { nicId: 'n', guestSlot },
        /nics\[0\]\.guestSlot must be a slot 1 to 31/,
      ),
    ),
    start(
      'a NIC twice',
      { nics: [{ nicId: 'n' }, { nicId: 'n' }] },
      /members of data\.nics must differ in nicId/,
    ),
    start('a guest slot twice', twice({ guestSlot: 5 }), /members of data\.nics must differ in guestSlot/),
    start('a guest address twice', twice({ guestSlot: '0000:01:00.0' }), /must differ in guestSlot/),
    start(
      'a guest slot as number and as address',
      {
        nics: [
          { nicId: 'a', guestSlot: 10 },
          { nicId: 'b', guestSlot: '0000:00:0a.0' },
        ],
      },
      /must differ in guestSlot/,
    ),
    start('nics is an object', { nics: { 0: { nicId: 'n' }, length: 1 } }, /data\.nics must be a list/),
    start('nics is text', { nics: 'nic-1' }, /data\.nics must be a list/),
    start(
      'NICs in a list in the list',
      { nics: [[{ nicId: 'n' }]] },
      /data\.nics must be a list of at most 64 objects/,
    ),
    start('an empty list as NIC', { nics: [[]] }, /data\.nics must be a list of at most 64 objects/),
    start('null as NIC', { nics: [null] }, /data\.nics must be a list of at most 64 objects/),
    start('a text as NIC', { nics: ['nic-1'] }, /data\.nics must be a list of at most 64 objects/),
    startWithNic('a NIC without id', {}, /data\.nics\[0\]\.nicId must be .*missing/),
    startWithNic('NIC type VF', { nicId: 'n', type: 'VF' }, /nics\[0\]\.type must be one of vf, vnic/),
    startWithNic('NIC type toString', { nicId: 'n', type: 'toString' }, /nics\[0\]\.type must be one of/),
    startWithNic('NIC type as list', { nicId: 'n', type: ['vf'] }, /nics\[0\]\.type must be one of/),
    startWithNic(
      'onExhaustion ignore',
      { nicId: 'n', onExhaustion: 'ignore' },
      /onExhaustion must be one of fail, fallback/,
    ),
    startWithNic(
      'securityGroups is text',
      { nicId: 'n', securityGroups: 'sg-1' },
      /securityGroups must be a list/,
    ),
    startWithNic(
      'a security group with a blank',
      { nicId: 'n', securityGroups: ['a', 'b c'] },
      /securityGroups\[1\] must be 1 to 64/,
    ),
    startWithNic(
      'null as security group',
      { nicId: 'n', securityGroups: [null] },
      /securityGroups\[0\] must be/,
    ),
    startWithNic('qos is a list', { nicId: 'n', qos: [1] }, /nics\[0\]\.qos must be an object/),
    startWithNic('qos is text', { nicId: 'n', qos: 'fast' }, /nics\[0\]\.qos must be an object/),
    startWithNic(
      'NUL in qos',
      { nicId: 'n', qos: { a: ['b\u0000'] } },
      /nics\[0\]\.qos must be an object of texts/,
    ),
    startWithNic('NUL in a key of qos', { nicId: 'n', qos: { 'a\u0000': 1 } }, /nics\[0\]\.qos must be/),
    startWithNic(
      'half a surrogate pair in qos',
      { nicId: 'n', qos: { a: '\ud800' } },
      /nics\[0\]\.qos must be/,
    ),
    hostile(
      'a number in qos that is too large',
      `${VM}VmStartRequested`,
      text('VmStartRequested', { vmId: 'vm-1', nics: [{ nicId: 'n', qos: { mbps: 'HUGE' } }] }).replace(
        '"HUGE"',
        '1e400',
      ),
      /nics\[0\]\.qos must be an object of texts and finite numbers/,
    ),
    startWithNic(
      'NUL in a network name',
      { nicId: 'n', physicalNetwork: 'net\u0000' },
      /physicalNetwork must be a text/,
    ),
    changed(
      'NUL in a reason',
      'VmStopped',
      { reason: 'a\u0000b' },
      /data\.reason must be a text .*without control/,
    ),
    changed(
      'an escape sequence in a reason',
      'VmStopped',
      { reason: '\u001b[2J' },
      /data\.reason must be a text/,
    ),
    changed(
      'half a surrogate pair in a reason',
      'VmStopped',
      { reason: 'a\udfffb' },
      /data\.reason must be a text/,
    ),
    ...[-1, 1.5, 2 ** 60, '3', true, [], {}].map((value) =>
      changed(`generation ${JSON.stringify(value)}`, 'VmStopped', { generation: value }, generation),
    ),
    hostile(
      'generation 1e400',
      `${VM}VmStopped`,
      text('VmStopped', { vmId: 'vm-1', generation: 0 }).replace('"generation":0', '"generation":1e400'),
      generation,
    ),
    ...[1.5, '3', null, undefined, 'NaN', true, [1], {}].map((numVfs) =>
      changed(`numVfs ${JSON.stringify(numVfs)}`, 'PfVirtualizeRequested', { numVfs }, whole),
    ),
    hostile(
      'numVfs 1e400',
      `${HOST}PfVirtualizeRequested`,
      text('PfVirtualizeRequested', { ...SAMPLES.PfVirtualizeRequested.minimal, numVfs: 0 }).replace(
        '"numVfs":0',
        '"numVfs":1e400',
      ),
      whole,
    ),
    ...[-1, 1.5, '1', null].map((seq) =>
      report(`seq ${JSON.stringify(seq)}`, { seq }, /data\.seq must be a whole number/),
    ),
    report('iommu is a list', { iommu: [{ enabled: true, ready: true }] }, /data\.iommu must be an object/),
    report('iommu is left out', { iommu: null }, /data\.iommu must be an object/),
    report('half an iommu', { iommu: { enabled: true } }, /data\.iommu\.ready must be true or false/),
    report('"yes" for true', { interruptRemapping: 'yes' }, /data\.interruptRemapping must be true or false/),
    report('1 for true', { scrubs: 1 }, /data\.scrubs must be true or false/),
    report('pfs left out', { pfs: undefined }, /data\.pfs must be a list .*missing/),
    report('pfs is null', { pfs: null }, /data\.pfs must be a list/),
    report('PFs in a list in the list', { pfs: [[pf(0)]] }, /data\.pfs must be a list of at most 64 objects/),
    report('a PF twice', { pfs: [pf(0), pf(0)] }, /members of data\.pfs must differ in pciAddress/),
    report(
      'a VF twice on a PF',
      { pfs: [pf(0, [vf(1), vf(1)])] },
      /members of data\.pfs\[0\]\.vfs must differ in pciAddress/,
    ),
    report(
      'a VF on two PFs',
      { pfs: [pf(0, [vf(1)]), pf(1, [vf(1)])] },
      /data\.pfs names 0001:00:00\.1 twice/,
    ),
    report(
      'a VF at the address of a PF',
      { pfs: [pf(0, [{ pciAddress: '0000:00:00.0', index: 0 }])] },
      /data\.pfs names 0000:00:00\.0 twice/,
    ),
    report('link UP', { pfs: [{ ...pf(0), link: 'UP' }] }, /data\.pfs\[0\]\.link must be one of up, down/),
    report('totalVfs -1', { pfs: [{ ...pf(0), totalVfs: -1 }] }, /data\.pfs\[0\]\.totalVfs must be/),
    report(
      'hostUse idle',
      { pfs: [pf(0, [{ ...vf(0), hostUse: 'idle' }])] },
      /data\.pfs\[0\]\.vfs\[0\]\.hostUse must be one of/,
    ),
    report('VLAN 4096 on a VF', { pfs: [pf(0, [{ ...vf(0), vlan: 4096 }])] }, /vfs\[0\]\.vlan must be/),
    report('a VM with a bad name', { vms: ['vm-1', 'vm 2'] }, /data\.vms\[1\] must be 1 to 64/),
    report('bootedAt in February', { bootedAt: '2026-02-30T00:00:00Z' }, /data\.bootedAt must be a time/),
    report(
      'bootedAt in a leap second',
      { bootedAt: '2016-12-31T23:59:60Z' },
      /data\.bootedAt must be a time/,
    ),
    report('bootedAt as a number', { bootedAt: 1_785_585_600 }, /data\.bootedAt must be a time/),
    report('an empty boot id', { bootId: '' }, /data\.bootId must be a text/),
    changed('an empty digest', 'HostSeen', { digest: '' }, /data\.digest must be a text/),
    changed(
      'onBusy force',
      'PfRestoreRequested',
      { onBusy: 'force' },
      /data\.onBusy must be one of unload, reject/,
    ),
    changed(
      'kind hot',
      'VmMigrationRequested',
      { kind: 'hot' },
      /data\.kind must be one of live, storage, cold/,
    ),
    changed(
      'strategy random',
      'ClusterPolicyChanged',
      { strategy: 'random' },
      /data\.strategy must be one of pack, spread/,
    ),
    changed('clean as text', 'VfScrubbed', { clean: 'true' }, /data\.clean must be true or false/),
    changed(
      'an allocation id with a blank',
      'VfScrubbed',
      { allocationId: 'a 1' },
      /data\.allocationId must be/,
    ),
    changed(
      'a release without a reason',
      'AllocationReleaseRequested',
      { reason: null },
      /data\.reason must be a text/,
    ),
    changed(
      'nic is a list',
      'VmNicAttachRequested',
      { nic: [{ nicId: 'n' }] },
      /data\.nic must be an object/,
    ),
    changed('nic is null', 'VmNicAttachRequested', { nic: null }, /data\.nic must be an object/),
    changed(
      'a VF twice',
      'VmAdopted',
      {
        nics: [
          { nicId: 'a', vf: '0000:82:10.0', mac: '02:00:00:00:00:01' },
          { nicId: 'b', vf: '0000:82:10.0', mac: '02:00:00:00:00:02' },
        ],
      },
      /members of data\.nics must differ in vf/,
    ),
    changed(
      'an adopted NIC without MAC',
      'VmAdopted',
      { nics: [{ nicId: 'a', vf: '0000:82:10.0' }] },
      /nics\[0\]\.mac must be .*missing/,
    ),
    ...[0, 4095, -1, 1.5, '7'].map((vlanId) =>
      changed(
        `vlanId ${JSON.stringify(vlanId)}`,
        'L2NetworkDefined',
        { vlanId },
        /data\.vlanId must be a whole number from 1 to 4094/,
      ),
    ),
    changed(
      'an unknown L2 type',
      'L2NetworkDefined',
      { type: 'GreNetwork' },
      /data\.type must be one of L2NoVlanNetwork/,
    ),
    changed('an unknown L3 kind', 'L3NetworkDefined', { kind: 'Flat' }, /data\.kind must be one of public/),
    ...[0, -5, 1.5, '60', 1e10].map((startTimeoutSeconds) =>
      changed(
        `a timeout of ${JSON.stringify(startTimeoutSeconds)}`,
        'ClusterPolicyChanged',
        { startTimeoutSeconds },
        /data\.startTimeoutSeconds must be a whole number from 1/,
      ),
    ),
    ...[
      { 'bad name': 1 },
      { '': 1 },
      { blue: -1 },
      { blue: 1.5 },
      { blue: '3' },
      { blue: null },
      [1],
      'blue',
      3,
    ].map((quotas) =>
      changed(
        `quotas ${JSON.stringify(quotas)}`,
        'ClusterPolicyChanged',
        { quotas },
        /data\.quotas must give whole numbers/,
      ),
    ),
    hostile(
      'a good key and then a bad one of the same name',
      `${VM}VmStopped`,
      text('VmStopped', { vmId: 'vm-1' }).replace('"vmId":"vm-1"', '"vmId":"vm-1","vmId":"vm-2"'),
      /data\.vmId is "vm-2"/,
    ),
  ];
}

/** The headers of a good event in binary mode. */
function binaryHeaders(
  type: string,
  changes: Record<string, string | undefined> = {},
): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  for (const [name, value] of Object.entries(attributesOf(type, nextId())))
    headers[`ce-${name}`] = String(value);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete headers[name];
    else headers[name] = value;
  }
  return headers;
}

function binaryMode(): HostileInput[] {
  const subject = 'vf.in.default.cluster.default.Tick';
  const inBinary = (
    name: string,
    changes: Record<string, string | undefined>,
    reason: RegExp,
    payload = '{}',
  ): HostileInput =>
    hostile(`binary mode: ${name}`, subject, payload, reason, { headers: binaryHeaders('Tick', changes) });
  return [
    inBinary('broken percent encoding', { 'ce-source': '/a%2' }, /header "ce-source" is not percent-encoded/),
    inBinary(
      'percent encoding that is not UTF-8',
      { 'ce-source': '/%ff' },
      /header "ce-source" is not percent-encoded/,
    ),
    inBinary(
      'a line break in percent encoding',
      { 'ce-traceparent': 'a%0D%0Ab' },
      /^traceparent must be a text/,
    ),
    inBinary('NUL in percent encoding', { 'ce-source': '/a%00' }, /^source must be/),
    inBinary('no specversion', { 'ce-specversion': undefined }, /specversion must be "1\.0"/),
    inBinary('no id', { 'ce-id': undefined }, /^id must be/),
    inBinary('no source', { 'ce-source': undefined }, /^source must be/),
    inBinary('no type', { 'ce-type': undefined }, /^type must name/),
    inBinary('no time', { 'ce-time': undefined }, /^time must be/),
    inBinary('an empty id', { 'ce-id': '' }, /^id must be/),
    inBinary('another type than the subject', { 'ce-type': 'VmStopped' }, /subject says "Tick".*VmStopped/),
    inBinary('data in a header', { 'ce-data': '{}' }, /header "ce-data" does not name/),
    inBinary(
      'data_base64 in a header',
      { 'ce-data_base64': 'e30=' },
      /header "ce-data_base64" does not name/,
    ),
    inBinary('__proto__ in a header', { 'ce-__proto__': 'x' }, /header "ce-__proto__" does not name/),
    inBinary('a header without a name', { 'ce-': 'x' }, /header "ce-" does not name/),
    inBinary('an attribute twice', { 'CE-ID': 'other' }, /header "CE-ID" is there twice/),
    inBinary(
      'content type XML',
      { 'content-type': 'application/xml' },
      /content type "application\/xml" is not/,
    ),
    inBinary(
      'another content type in ce-',
      { 'ce-datacontenttype': 'text/plain' },
      /datacontenttype must be application\/json/,
    ),
    inBinary(
      'a content type twice',
      { 'content-type': 'text/plain', 'ce-datacontenttype': 'application/json' },
      /content type "text\/plain"/,
    ),
    inBinary('70 KB of headers', { 'ce-ext': 'x'.repeat(70_000) }, /ce- headers have more than 65536/),
    inBinary('an empty payload', {}, /^the payload is empty/, ''),
    inBinary('a list as data', {}, /^data must be an object/, '[]'),
    inBinary('null as data', {}, /^data must be an object/, 'null'),
    inBinary('text as data', {}, /^data must be an object/, '"{}"'),
    inBinary('data that is not JSON', {}, /^the payload is not JSON/, '{'),
    inBinary('__proto__ in data', {}, /data has a key "__proto__"/, '{"__proto__":{"polluted":1}}'),
    inBinary('a whole event as data', {}, /either binary or structured mode/, text('Tick', {})),
    hostile('headers without the required attributes', subject, '{}', /specversion must be "1\.0"/, {
      headers: { 'ce-id': nextId() },
    }),
    hostile(
      'a structured event and a ce- header of another',
      subject,
      text('Tick', {}),
      /header ce-id says "other"/,
      {
        headers: { 'content-type': 'application/cloudevents+json', 'ce-id': 'other' },
      },
    ),
    hostile(
      'a batch of events',
      subject,
      `[${text('Tick', {})}]`,
      /content type "application\/cloudevents-batch\+json" is not read/,
      {
        headers: { 'content-type': 'application/cloudevents-batch+json' },
      },
    ),
    hostile(
      'an event in XML',
      subject,
      text('Tick', {}),
      /content type "application\/cloudevents\+xml; charset=utf-8" is not read/,
      {
        headers: { 'content-type': 'application/cloudevents+xml; charset=utf-8' },
      },
    ),
  ];
}

/** Every kind of message that must not be taken. Each call gives the same messages with the same ids. */
export function hostileInputs(): HostileInput[] {
  count = 0;
  return [
    ...notJson(),
    ...attributes(),
    ...subjects(),
    ...prototypes(),
    escapedPrototype(),
    ...monsters(),
    ...fields(),
    ...binaryMode(),
  ];
}

/** What looks hostile and must be taken. */
export function oddInputs(): OddInput[] {
  count = 0;
  const odd = (
    name: string,
    subject: string,
    payload: string | Uint8Array,
    more: Partial<OddInput> = {},
  ): OddInput => ({
    name,
    subject,
    payload: typeof payload === 'string' ? bytes(payload) : payload,
    cluster: 'default',
    ...more,
  });
  const id = (): string => `odd:${++count}`;
  const stopped = (data: Data = {}, more: Data = {}): string =>
    text('VmStopped', { vmId: 'vm-1', ...data }, { id: id(), ...more });
  const stop = `${VM}VmStopped`;
  const words = ['__proto__', 'constructor', 'prototype', 'toString', 'null', '-', '_', '0', 'x'.repeat(64)];
  return [
    ...words.map((word) =>
      odd(`a VM called ${word}`, `vf.in.default.vm.${word}.VmStopped`, stopped({ vmId: word })),
    ),
    ...words.map((word) =>
      odd(
        `a NIC, a host, a tenant called ${word}`,
        `${VM}VmStartRequested`,
        text(
          'VmStartRequested',
          { vmId: 'vm-1', hosts: [word], tenant: word, nics: [{ nicId: word, networkId: word }] },
          { id: id() },
        ),
      ),
    ),
    odd('a cluster called __proto__', 'vf.in.__proto__.vm.vm-1.VmStopped', stopped(), {
      cluster: '__proto__',
    }),
    odd('exactly 256 KiB', stop, padded('VmStopped', { vmId: 'vm-1' }, LIMIT)),
    odd('256 KiB, most of it blanks', stop, stopped().padEnd(LIMIT, ' ')),
    odd('a byte order mark', stop, `\ufeff${stopped()}`),
    odd('line breaks and tabs', stop, `\r\n\t${stopped().replaceAll(',', ' ,\n\t')}\n`),
    odd('text with line breaks', stop, stopped({ reason: 'one\r\n\ttwo' })),
    odd('text in other scripts', stop, stopped({ reason: 'शटडाउन 关机 🛑 e\u0301' })),
    odd(
      'null attributes',
      stop,
      stopped(
        {},
        { subject: null, correlationid: null, traceparent: null, datacontenttype: null, data_base64: null },
      ),
    ),
    odd(
      'attributes that nobody knows',
      stop,
      stopped({}, { ext: 'x', constructor: 'x', prototype: 1, deep: [[[{}]]] }),
    ),
    odd(
      'any JSON in an unknown field',
      stop,
      stopped({ unknown: [null, { a: [1.5] }, '\u0000', '\ud800'], 7: 1 }),
    ),
    odd(
      'a huge number in an unknown field',
      stop,
      stopped({ unknown: 0 }).replace('"unknown":0', '"unknown":1e400'),
    ),
    odd(
      'the same key twice, the last one right',
      stop,
      stopped().replace('"vmId":', '"vmId":"vm-2","vmId":'),
    ),
    odd('generation -0', stop, stopped({ generation: 0 }).replace('"generation":0', '"generation":-0')),
    odd('generation 1e3', stop, stopped({ generation: 0 }).replace('"generation":0', '"generation":1e3')),
    odd(
      'content type with parameters',
      stop,
      stopped({}, { datacontenttype: 'Application/JSON; charset=utf-8' }),
    ),
    odd('a suffix as content type', stop, stopped({}, { datacontenttype: 'application/vnd.vf+json' })),
    ...[
      '2026-08-01t12:00:00z',
      '2024-02-29T00:00:00-00:00',
      '2016-12-31T23:59:60Z',
      '2026-08-01T12:00:00.123456789012+14:00',
    ].map((time) => odd(`time ${time}`, stop, stopped({}, { time }))),
    odd('the longest id', stop, stopped({}, { id: 'a'.repeat(128) })),
    odd(
      'tenants with numbers for names',
      'vf.in.default.cluster.default.ClusterPolicyChanged',
      text('ClusterPolicyChanged', { quotas: { 10: 1, 9: 2, b: 3 } }, { id: id() }),
    ),
    odd(
      'two NICs without a guest slot',
      `${VM}VmStartRequested`,
      text(
        'VmStartRequested',
        {
          vmId: 'vm-1',
          nics: [
            { nicId: 'a', guestSlot: null },
            { nicId: 'b', guestSlot: null },
          ],
        },
        { id: id() },
      ),
    ),
    odd(
      '64 NICs',
      `${VM}VmStartRequested`,
      text(
        'VmStartRequested',
        { vmId: 'vm-1', nics: repeated(64, (index) => ({ nicId: `nic-${index}` })) },
        { id: id() },
      ),
    ),
    odd(
      '1,024 VFs',
      `${HOST}HostReported`,
      text(
        'HostReported',
        {
          ...SAMPLES.HostReported.minimal,
          pfs: repeated(4, (index) =>
            pf(
              index,
              repeated(256, (one) => vf(one, index + 1)),
            ),
          ),
        },
        { id: id() },
      ),
    ),
    odd(
      'data as deep as it may be',
      stop,
      stopped({ a: 0 }).replace('"a":0', () => `"a":${nested(31, '{"a":', '}', '{}')}`),
    ),
    odd(
      '1e300 VFs: whole, and for the decider to refuse',
      `${HOST}PfVirtualizeRequested`,
      text(
        'PfVirtualizeRequested',
        { ...SAMPLES.PfVirtualizeRequested.minimal, numVfs: 1e300 },
        { id: id() },
      ),
    ),
    odd('binary mode', stop, '{"vmId":"vm-1"}', {
      headers: binaryHeaders('VmStopped', { 'ce-id': id(), 'ce-correlationid': 'a%20b' }),
    }),
    odd('binary mode in capitals', stop, '{"vmId":"vm-1"}', {
      headers: Object.fromEntries(
        Object.entries(binaryHeaders('VmStopped', { 'ce-id': id() })).map(([name, value]) => [
          name.toUpperCase(),
          value,
        ]),
      ),
    }),
    odd('headers that say nothing of the event', stop, stopped(), {
      headers: { 'Nats-Msg-Id': 'x', 'Content-Type': 'text/plain', ['__proto__']: 'x' },
    }),
    odd('structured mode with the headers of routers', stop, stopped({}, { id: 'odd:copy' }), {
      headers: {
        'content-type': 'application/cloudevents+json; charset=utf-8',
        'ce-id': 'odd:copy',
        'ce-type': 'VmStopped',
      },
    }),
  ];
}
