import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { InputType } from '#domain';
import { INPUT_CATALOG, isInputType } from './inputs/catalog.js';
import { isReadable, readInput, type RawInput, type ReadInput } from './read-input.js';
import {
  attributesOf,
  binary,
  bytes,
  INPUT_TYPES,
  SAMPLES,
  STORED_AT,
  structured,
} from './testing/sample-inputs.js';

/** Reads a message that is good. */
function read(message: RawInput): ReadInput {
  const result = readInput(message);
  if (!isReadable(result)) throw new Error(result.problem);
  return result;
}

const digest = (type: InputType, data: object): string => read(structured(type, data)).input.digest;

const cases = INPUT_TYPES.flatMap((type) => [
  [type, 'minimal', SAMPLES[type].minimal] as const,
  [type, 'full', SAMPLES[type].full] as const,
]);

describe('every input of the contract', () => {
  test('the catalogue has them all', () => {
    expect(Object.keys(INPUT_CATALOG).toSorted()).toEqual([...INPUT_TYPES].toSorted());
    expect(INPUT_TYPES).toHaveLength(34);
    for (const type of INPUT_TYPES) expect(isInputType(type)).toBe(true);
    for (const other of ['toString', '__proto__', '', 'vmstarted', 'VfAllocated'])
      expect(isInputType(other)).toBe(false);
  });

  test.each(cases)('%s, %s, structured', (type, _size, data) => {
    const message = structured(type, data);
    expect(read(message)).toEqual({
      input: {
        id: `test:${type}`,
        type,
        data,
        time: STORED_AT,
        saidAt: Date.parse(attributesOf(type)['time'] as string),
        digest: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown,
      },
      correlationId: `test:${type}`,
      text: new TextDecoder().decode(message.payload),
    });
  });

  test.each(cases)('%s, %s, binary', (type, _size, data) => {
    const { input, correlationId, text } = read(binary(type, data));
    expect(input).toEqual(read(structured(type, data)).input);
    expect(correlationId).toBe(`test:${type}`);
    expect(JSON.parse(text)).toEqual({ ...attributesOf(type), datacontenttype: 'application/json', data });
  });

  test.each(cases)('%s, %s: what nobody knows is dropped, at any depth', (type, _size, data) => {
    const strange = withEverywhere(data, { unknown: { a: [1, null] }, x: 'y' });
    expect(read(structured(type, strange)).input).toEqual(read(structured(type, data)).input);
  });

  test.each(INPUT_TYPES)('%s: null is left out', (type) => {
    const { minimal, full } = SAMPLES[type];
    const nulls = Object.fromEntries(Object.keys(full).map((key) => [key, null]));
    expect(read(structured(type, { ...nulls, ...minimal })).input).toEqual(
      read(structured(type, minimal)).input,
    );
  });

  test.each(cases)('%s, %s: data is plain, and JSON without loss', (type, _size, data) => {
    const { input } = read(structured(type, data));
    expect(JSON.parse(JSON.stringify(input.data))).toStrictEqual(input.data);
    everyObject(input.data, (object) => {
      expect([Object.prototype, Array.prototype]).toContain(Object.getPrototypeOf(object));
      if (!Array.isArray(object)) expect(Object.values(object)).not.toContain(undefined);
    });
  });
});

/** Adds fields to every object that a class names; what is inside `qos` and `quotas` is the sender's. */
function withEverywhere(value: unknown, more: object): object {
  const add = (one: unknown): unknown => {
    if (Array.isArray(one)) return one.map(add);
    if (typeof one !== 'object' || one === null) return one;
    const members = Object.entries(one).map(([key, member]) => [
      key,
      key === 'qos' || key === 'quotas' ? (member as unknown) : add(member),
    ]);
    return { ...more, ...Object.fromEntries(members) };
  };
  return add(value) as object;
}

function everyObject(value: unknown, look: (object: object) => void): void {
  if (typeof value !== 'object' || value === null) return;
  look(value);
  for (const member of Object.values(value)) everyObject(member, look);
}

/** The same value with the keys of every object the other way round. */
function backwards(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(backwards);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, member]) => [key, backwards(member)]),
  );
}

describe('[EX-6 acts] the digest', () => {
  test.each(cases)(
    '%s, %s: the same for another order of keys, white space and unknown fields',
    (type, _size, data) => {
      const expected = digest(type, data);
      const message = structured(type, data);
      expect(digest(type, backwards(data) as object)).toBe(expected);
      expect(digest(type, withEverywhere(data, { zzz: 1 }))).toBe(expected);
      const spaced = JSON.stringify({ data, ...attributesOf(type) }, undefined, '\t');
      expect(read({ ...message, payload: bytes(`\n${spaced} `) }).input.digest).toBe(expected);
      expect(read(binary(type, data)).input.digest).toBe(expected);
    },
  );

  test('the same whatever the attributes are, and however numbers and texts are written', () => {
    const expected = digest('VmStopped', { vmId: 'vm-1', generation: 10, reason: 'ö' });
    const other = { id: 'other', source: '/other', time: '2027-01-01T00:00:00Z', correlationid: 'c' };
    const data = { vmId: 'vm-1', generation: 10, reason: 'ö' };
    expect(read(structured('VmStopped', data, other)).input.digest).toBe(expected);
    const message = structured('VmStopped', data);
    const text = new TextDecoder().decode(message.payload);
    const rewritten = text
      .replace(':10', ':1.0E1')
      .replace('ö', String.raw`\u00F6`)
      .replace('vm-1', String.raw`vm\u002d1`);
    expect(read({ ...message, payload: bytes(rewritten) }).input.digest).toBe(expected);
  });

  test('the same for -0 and 0, in what the sender makes up too', () => {
    const zero = structured('VmNicAttachRequested', {
      vmId: 'vm-1',
      nic: { nicId: 'n', qos: { a: [0] } },
      generation: 0,
    });
    const text = new TextDecoder().decode(zero.payload);
    const minus = { ...zero, payload: bytes(text.replaceAll(/(?<=[[:])0(?=[\]},])/g, '-0')) };
    expect(new TextDecoder().decode(minus.payload)).toContain('"a":[-0]');
    expect(read(minus).input).toStrictEqual(read(zero).input);
  });

  test('another for other content', () => {
    const samples = cases.map(([type, , data]) => `${type} ${digest(type, data)}`);
    const different = new Set(samples.map((one) => one.split(' ')[1]));
    const equalSamples = INPUT_TYPES.filter(
      (type) => JSON.stringify(SAMPLES[type].minimal) === JSON.stringify(SAMPLES[type].full),
    ).length;
    expect(different.size).toBe(samples.length - equalSamples);
    const start = (nics: object[]): string => digest('VmStartRequested', { vmId: 'vm-1', nics });
    expect(start([{ nicId: 'a' }, { nicId: 'b' }])).not.toBe(start([{ nicId: 'b' }, { nicId: 'a' }]));
    expect(start([])).not.toBe(digest('VmStartRequested', { vmId: 'vm-1' }));
    expect(start([{ nicId: 'a', guestSlot: 5 }])).not.toBe(
      start([{ nicId: 'a', guestSlot: '0000:00:05.0' }]),
    );
    expect(digest('VmStarted', { vmId: 'vm-1' })).not.toBe(digest('VmRebooted', { vmId: 'vm-1' }));
  });

  test('stays what it was: it is in the log', () => {
    expect(digest('VmStopped', SAMPLES.VmStopped.full)).toBe('d45ab1326d8fa3f3');
    expect(digest('HostReported', SAMPLES.HostReported.full)).toBe('949f29322d3d5ef5');
  });
});

describe('what is carried through', () => {
  test('the correlation is the sender’s, by default the id', () => {
    const stop = (attributes: object): string =>
      read(structured('VmStopped', { vmId: 'vm-1' }, attributes as Record<string, unknown>)).correlationId;
    expect(stop({ correlationid: 'request 7' })).toBe('request 7');
    expect(stop({ correlationid: null })).toBe('test:VmStopped');
    expect(stop({ id: 'other' })).toBe('other');
    const message = binary('VmStopped', { vmId: 'vm-1' }, { correlationid: 'ü 7' });
    expect(read(message).correlationId).toBe('ü 7');
  });

  test('traceparent is there when it was sent', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    expect(read(structured('Tick', {}, { traceparent })).traceparent).toBe(traceparent);
    expect(read(binary('Tick', {}, { traceparent })).traceparent).toBe(traceparent);
    expect(read(structured('Tick', {}))).not.toHaveProperty('traceparent');
    expect(read(structured('Tick', {}, { traceparent: null }))).not.toHaveProperty('traceparent');
  });

  test('the time of an input is when the stream stored it, not what its sender says', () => {
    const message = structured('Tick', {}, { time: '1999-12-31T23:59:59Z' });
    expect(read({ ...message, time: 12_345 }).input.time).toBe(12_345);
    // What he says is kept beside it: HOST-9 asks for it.
    expect(read(message).input.saidAt).toBe(Date.UTC(1999, 11, 31, 23, 59, 59));
  });

  test.each([
    ['2016-12-31T23:59:60.5Z', Date.UTC(2016, 11, 31, 23, 59, 59, 500)],
    ['0000-01-01t00:00:00+23:59', -62_167_305_540_000],
    ['9999-12-31T23:59:59.99999999999999999999999999999999-23:59', 253_402_387_139_999],
  ])("a sender's time of %s is a number", (time, saidAt) => {
    expect(read(structured('Tick', {}, { time })).input.saidAt).toBe(saidAt);
  });

  test('the text is what was sent, in structured mode byte for byte', () => {
    const message = structured('VmStopped', { vmId: 'vm-1' });
    const text = ` ${new TextDecoder().decode(message.payload).replace('"data"', '"ext": 1E2 ,\n"data"')}`;
    expect(read({ ...message, payload: bytes(text) }).text).toBe(text);
  });

  test('in binary mode the payload is put into an event as it was sent', () => {
    const { text } = read({
      ...binary('VmStopped', { vmId: 'vm-1' }, { ext: 'a b' }),
      payload: bytes('{ "vmId": "vm-1", "unknown": 1E20 }'),
    });
    expect(text).toMatch(/,"data":\{ "vmId": "vm-1", "unknown": 1E20 \}\}$/);
    expect(JSON.parse(text)).toMatchObject({ id: 'test:VmStopped', ext: 'a b', data: { vmId: 'vm-1' } });
  });
});

describe('[OUT-1 refuses] whatever is sent has an answer', () => {
  const answers = (message: RawInput): void => {
    const result = readInput(message);
    if (isReadable(result)) {
      expect(result.input.digest).toMatch(/^[0-9a-f]{16}$/);
    } else {
      expect(result.problem.length).toBeGreaterThan(5);
      expect(result.problem.length).toBeLessThan(3000);
    }
  };

  test('bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string({ maxLength: 40 }), (payload, subject) => {
        answers({ subject: `vf.in.${subject}`, payload, time: STORED_AT });
      }),
      { numRuns: 500 },
    );
  });

  test('any JSON as data', () => {
    fc.assert(
      fc.property(fc.constantFrom(...INPUT_TYPES), fc.jsonValue({ maxDepth: 6 }), (type, data) => {
        const { subject } = structured(type);
        answers({
          subject,
          payload: bytes(JSON.stringify({ ...attributesOf(type), data })),
          time: STORED_AT,
        });
      }),
      { numRuns: 500 },
    );
  });

  test('good events with damaged bytes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...cases),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0x20, max: 0x7e })), { minLength: 1, maxLength: 3 }),
        ([type, , data], damage) => {
          const message = structured(type, data);
          for (const [place, byte] of damage) message.payload[place % message.payload.length] = byte;
          answers(message);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('any headers', () => {
    const name = fc.oneof(
      fc.constantFrom(
        'ce-id',
        'CE-ID',
        'ce-type',
        'ce-',
        'ce-__proto__',
        'Content-Type',
        '__proto__',
        'ce-data',
      ),
      fc.string({ maxLength: 10 }).map((text) => `ce-${text}`),
    );
    fc.assert(
      fc.property(fc.dictionary(name, fc.string({ unit: 'binary', maxLength: 20 })), (headers) => {
        answers({ ...structured('Tick', {}), headers });
        const message = binary('Tick', {});
        answers({ ...message, headers: { ...message.headers, ...headers } });
      }),
      { numRuns: 500 },
    );
  });
});

test('prints what a message costs', () => {
  const vfs = (pf: number): object[] =>
    Array.from({ length: 64 }, (_, index) => ({
      pciAddress: `0000:8${pf}:${(2 + (index >> 3)).toString(16).padStart(2, '0')}.${index & 7}`,
      index,
      mac: '00:00:00:00:00:00',
      vlan: 0,
      iommuGroup: 100 + index,
      iommuGroupShared: false,
      boundDriver: 'vfio-pci',
    }));
  const [pf] = SAMPLES.HostReported.full.pfs;
  const pfs = [0, 1, 2, 3].map((index) => ({ ...pf, pciAddress: `0000:8${index}:00.0`, vfs: vfs(index) }));
  const start = {
    vmId: 'vm-1',
    generation: 1,
    tenant: 'blue',
    nics: [{ nicId: 'nic-1', type: 'vf', networkId: 'l3-1' }],
  };
  const lines = [
    costOf('a start with one NIC', structured('VmStartRequested', start), 20_000),
    costOf('a report of 4 × 64 VFs', structured('HostReported', { ...SAMPLES.HostReported.full, pfs }), 300),
  ];
  process.stdout.write(`readInput under jest: ${lines.join(', ')}\n`);
  expect(lines).toHaveLength(2);
});

/** CPU time of a message in the best of some runs: a machine that is busy otherwise does not count. */
function costOf(what: string, message: RawInput, times: number): string {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const begun = process.cpuUsage();
    for (let count = 0; count < times; count++) readInput(message);
    const { user, system } = process.cpuUsage(begun);
    best = Math.min(best, (user + system) / times);
  }
  return `${what} (${message.payload.length} bytes) ${best.toFixed(1)} µs`;
}
