import { describe, expect, test } from '@jest/globals';
import { plainToInstance } from 'class-transformer';
import {
  IsDefined,
  IsInt,
  IsString,
  Matches,
  MinLength,
  ValidateIf,
  ValidateNested,
  validateSync,
} from 'class-validator';
import fc from 'fast-check';
import { INPUT_TYPES, SAMPLES } from '../testing/sample-inputs.js';
import { INPUT_CATALOG } from './catalog.js';
import { DataChecker } from './data-checker.js';
import { AdoptedNicDto, NicDto } from './vm.dto.js';
import { IommuDto, PfDto, VfDto } from './host.dto.js';

type Plain = Record<string, unknown>;
type Dto = new () => object;

/**
 * A copy of JSON-like data in this realm, which `structuredClone` under jest is not; -0 and infinities stay.
 */
function clone<T>(value: T): T {
  if (Array.isArray(value)) return value.map(clone) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, clone(member as unknown)]),
  ) as T;
}

/** What class-validator says, the slow way: undefined for no. */
function judge(dto: Dto, value: object): unknown {
  const instance = plainToInstance(dto, clone(value));
  const errors = validateSync(instance, { whitelist: true, forbidUnknownValues: false });
  return errors.length > 0 ? undefined : plainOf(instance);
}

/** An instance as the contract has it: what is null or empty is left out of what a class names, -0 is 0. */
function plainOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainOf);
  if (typeof value !== 'object' || value === null) return value === 0 ? 0 : value;
  const isDto = value.constructor !== Object;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => !isDto || (member !== undefined && member !== null && member !== ''))
      .map(([key, member]) => [key, plainOf(member)]),
  );
}

const { full: start } = SAMPLES.VmStartRequested;
const { full: report } = SAMPLES.HostReported;

/** Every class with good data to start from. */
const CLASSES: readonly (readonly [name: string, dto: Dto, samples: readonly object[]])[] = [
  ...INPUT_TYPES.map(
    (type) => [type, INPUT_CATALOG[type].dto, [SAMPLES[type].minimal, SAMPLES[type].full]] as const,
  ),
  ['a NIC', NicDto, [{ nicId: 'nic-1' }, ...start.nics]],
  ['an adopted NIC', AdoptedNicDto, SAMPLES.VmAdopted.full.nics],
  ['an IOMMU', IommuDto, [report.iommu]],
  ['a PF', PfDto, report.pfs],
  ['a VF', VfDto, report.pfs.flatMap((pf) => pf.vfs)],
];

const NASTY: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  1,
  -1,
  5,
  31,
  32,
  1.5,
  4094,
  4095,
  65_536,
  Number.MAX_SAFE_INTEGER,
  2 ** 53,
  1e300,
  Number.POSITIVE_INFINITY,
  Number.NaN,
  '',
  '5',
  'x',
  'vf',
  'up',
  'unload',
  'toString',
  'vm 1',
  'a\u0000b',
  '\ud800',
  '0000:82:00.0',
  '0000:00:05.0',
  '0000:8A:00.0',
  '02:00:00:00:00:01',
  '01:00:5e:00:00:01',
  '2026-02-28T00:00:00Z',
  '2026-02-30T00:00:00Z',
  '2016-12-31T23:59:60Z',
  'x'.repeat(64),
  'x'.repeat(65),
  'x'.repeat(1025),
  [],
  [[]],
  [null],
  ['a'],
  ['a', 'b c'],
  [{}],
  [{ nicId: 'n' }],
  [[{ nicId: 'n' }]],
  [{ nicId: 'n' }, { nicId: 'n' }],
  [{ pciAddress: '0000:82:10.0', index: 0 }],
  Array.from({ length: 65 }, (_, index) => ({ nicId: `n${index}` })),
  Array.from({ length: 65 }, () => 'a'),
  {},
  { length: 1, 0: 'a' },
  { enabled: true, ready: true },
  { nicId: 'n', mac: null },
  { a: 1, b: -1 },
  { 10: 1, 9: 2 },
  { a: { b: [Number.NEGATIVE_INFINITY] } },
  { 'bad name': 1 },
];

/** class-transformer loses what is called like something that every object has; DataChecker does not. */
const losesNothing = (value: unknown): boolean =>
  !Object.getOwnPropertyNames(Object.prototype).some((name) => JSON.stringify(value)?.includes(name));

const anything = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }).filter(losesNothing) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 70 }) },
  { weight: 1, arbitrary: fc.double() },
);

/** What to do at which place; places are counted, so that it fits any data. */
const mutation = fc.record({
  place: fc.nat(200),
  action: fc.constantFrom('replace', 'remove', 'add', 'wrap', 'twice'),
  value: anything,
  key: fc.constantFrom('unknown', 'type', 'mac', 'nicId', 'generation', 'hostId', '0', 'nics', 'vfs'),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

function mutate(root: object, { place, action, value: drawn, key }: Mutation): void {
  // The drawn value is shared by many runs.
  const value = clone(drawn);
  const places: { holder: Plain | unknown[]; name: string }[] = [];
  const visit = (holder: Plain | unknown[]): void => {
    for (const [name, member] of Object.entries(holder)) {
      places.push({ holder, name });
      if (typeof member === 'object' && member !== null) visit(member as Plain);
    }
  };
  visit(root as Plain);
  const at = places[place % Math.max(places.length, 1)];
  if (at === undefined) {
    (root as Plain)[key] = value;
    return;
  }
  const { name } = at;
  const holder = at.holder as Plain;
  const found = holder[name];
  if (action === 'replace') holder[name] = value;
  else if (action === 'wrap') holder[name] = [found];
  else if (action === 'twice' && Array.isArray(found)) found.push(...clone(found));
  else if (Array.isArray(at.holder)) {
    if (action === 'remove') at.holder.splice(Number(name), 1);
    else at.holder.push(value);
  } else if (action === 'remove') delete holder[name];
  else holder[key] = value;
}

describe('DataChecker and class-validator', () => {
  test.each(CLASSES)('agree about %s', (_name, dto, samples) => {
    const checker = new DataChecker(dto);
    let taken = 0;
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.array(mutation, { maxLength: 3 }), (sample, mutations) => {
        const value = clone(sample);
        for (const one of mutations) mutate(value, one);
        const expected = judge(dto, value);
        const checked = checker.check(value);
        if ('data' in checked) {
          taken++;
          expect(checked.data).toEqual(expected);
        } else {
          expect(expected).toBeUndefined();
          expect(checked.problem).toMatch(/^(data\.|the members of data\.)/);
        }
      }),
      { numRuns: 250 },
    );
    expect(taken).toBeGreaterThan(0);
  });

  test.each(CLASSES)('agree about %s as it is', (_name, dto, samples) => {
    const checker = new DataChecker(dto);
    for (const sample of samples) {
      expect(checker.check(sample)).toEqual({ data: sample });
      expect(judge(dto, sample)).toEqual(sample);
    }
  });
});

describe('DataChecker', () => {
  const nic = new DataChecker(NicDto);

  test.each([undefined, null, 'x', 42, [], [{ nicId: 'n' }]])('%j is no data', (value) => {
    expect(nic.check(value)).toEqual({ problem: 'data must be an object' });
  });

  test('takes over what the class names, without null and undefined, in order of the names', () => {
    const checked = nic.check({ type: 'vf', unknown: { a: 1 }, mac: null, guestSlot: undefined, nicId: 'n' });
    expect(JSON.stringify(checked)).toBe('{"data":{"nicId":"n","type":"vf"}}');
  });

  test('an object with anything in it is taken whole, nulls too, in order of its keys, -0 as 0', () => {
    const qos = { b: { d: null, c: [-0, { f: 1, e: 2 }] }, a: 'x' };
    const checked = nic.check({ qos, nicId: 'n' });
    expect(JSON.stringify(checked)).toBe(
      '{"data":{"nicId":"n","qos":{"a":"x","b":{"c":[0,{"e":2,"f":1}],"d":null}}}}',
    );
    expect(checked).toEqual({
      data: { nicId: 'n', qos: { a: 'x', b: { c: [0, { e: 2, f: 1 }], d: null } } },
    });
  });

  test('a tenant may be called like something that every object has', () => {
    const policy = new DataChecker(INPUT_CATALOG.ClusterPolicyChanged.dto);
    const quotas = { toString: 1, hasOwnProperty: 2 };
    expect(policy.check({ quotas })).toEqual({ data: { quotas } });
    expect(policy.check({ quotas: { toString: 'many' } })).toHaveProperty('problem');
  });

  test.each(['VmStopped', 'PfRestoreFailed', 'AllocationReleaseRequested'] as const)(
    'no %s is lost for its free text: an empty one is left out, of a long one the beginning is kept',
    (type) => {
      const checker = new DataChecker(INPUT_CATALOG[type].dto);
      const { minimal } = SAMPLES[type];
      const kept = (reason: string) =>
        (checker.check({ ...minimal, reason }) as { data: { reason?: string } }).data.reason;
      expect(kept('')).toBeUndefined();
      expect(kept('x'.repeat(200_000))).toHaveLength(1024);
      expect(kept('x'.repeat(1024))).toBe('x'.repeat(1024));
      expect(kept('x'.repeat(1025))).toBe(`${'x'.repeat(1023)}…`);
      expect(kept(`${'x'.repeat(1022)}\u{1f600}${'x'.repeat(9)}`)).toBe(`${'x'.repeat(1022)}…`);
      expect(kept('line\n\tbreak')).toBe('line\n\tbreak');
      expect(checker.check({ ...minimal, reason: 'a\u0000b' })).toHaveProperty('problem');
    },
  );

  test('does not touch what it is given', () => {
    const value = Object.freeze({ nicId: 'n', qos: Object.freeze({ b: 1, a: -0 }), unknown: 1 });
    nic.check(value);
    expect(value).toEqual({ nicId: 'n', qos: { b: 1, a: -0 }, unknown: 1 });
  });

  test('keys that reach into prototypes reach nothing', () => {
    const value = JSON.parse(
      '{"nicId":"n","__proto__":{"polluted":1},"qos":{"__proto__":{"polluted":1},"constructor":{"a":1}}}',
    ) as unknown;
    const checked = nic.check(value) as { data: { qos: object } };
    expect(Object.hasOwn(checked.data, '__proto__')).toBe(false);
    expect(Object.getPrototypeOf(checked.data.qos)).toBe(Object.prototype);
    expect(({} as Plain)['polluted']).toBeUndefined();
  });

  test('says where, and what is missing', () => {
    const checker = new DataChecker(PfDto);
    const checked = checker.check({
      pciAddress: '0000:82:00.0',
      ifname: 'ens1',
      link: 'sideways',
      vfs: [
        { pciAddress: '0000:82:10.0', index: 0 },
        { pciAddress: '0000:82:10.2', index: '1' },
      ],
    });
    expect(checked).toEqual({
      problem:
        'data.link must be one of up, down; ' +
        'data.totalVfs must be a whole number from 0 to 65535 (it is missing); ' +
        'data.vfs[1].index must be a whole number from 0 to 65535',
    });
  });

  test('says five things at most', () => {
    const checked = new DataChecker(VfDto).check({
      mac: 1,
      vlan: -1,
      hostUse: 'x',
      boundDriver: '',
      usedByVmId: ' ',
    });
    expect((checked as { problem: string }).problem.split('; ')).toHaveLength(5);
  });

  test('a sentence is not a place for what was sent', () => {
    class Words {
      @Matches(/^\$&$/, { message: '$property must be $constraint1' }) word!: string;
    }
    expect(new DataChecker(Words).check({ word: '$value $property $1' })).toEqual({
      problem: String.raw`data.word must be /^\$&$/`,
    });
  });

  test('decorators of class-validator itself work', () => {
    class Bare {
      @IsDefined() anything!: unknown;
      @IsString() @MinLength(2) text!: string;
      @IsInt({ each: true }) numbers!: number[];
    }
    const checker = new DataChecker(Bare);
    const good = { anything: [], text: 'ab', numbers: [1, 2] };
    expect(checker.check(good)).toEqual({ data: good });
    for (const wrong of [
      { anything: null },
      { text: 'a' },
      { text: 1 },
      { numbers: [1, 1.5] },
      { numbers: undefined },
    ]) {
      expect(judge(Bare, { ...good, ...wrong })).toBeUndefined();
      expect(checker.check({ ...good, ...wrong })).toHaveProperty('problem');
    }
    expect(checker.check({ ...good, numbers: [1, 'x'] })).toEqual({
      problem: expect.stringContaining('data.numbers[1]') as unknown,
    });
  });

  test('what it cannot do stops the start, not the check', () => {
    class Conditional {
      @ValidateIf(() => true) @IsInt() a!: number;
    }
    class Grouped {
      @IsInt({ groups: ['create'] }) a!: number;
    }
    class Untyped {
      @ValidateNested() a!: object;
    }
    class Inherited {
      @IsInt() toString!: never;
    }
    expect(() => new DataChecker(Conditional)).toThrow(
      'Conditional.a has a decorator that DataChecker does not know',
    );
    expect(() => new DataChecker(Grouped)).toThrow(
      'Grouped.a has a decorator that DataChecker does not know',
    );
    expect(() => new DataChecker(Untyped)).toThrow('Untyped.a is nested and has no @Type');
    expect(() => new DataChecker(Inherited)).toThrow('Inherited.toString is a name that every object has');
  });
});
