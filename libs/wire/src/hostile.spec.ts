import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { deadCluster, isReadable, readInput, type RawInput } from './read-input.js';
import { hostileInputs, oddInputs } from './testing/hostile-inputs.js';
import { STORED_AT } from './testing/sample-inputs.js';

/** What a careful reader may take for a message, in parsings of {@link YARDSTICK}. */
const LONGEST = 8;
/** About 1 MiB, which is more than an input may have. */
const YARDSTICK = JSON.stringify(
  Array.from({ length: 16_000 }, (_, index) => ({ nicId: `nic-${index}`, pf: '0000:81:00.0', index })),
);

/**
 * How often the yardstick could have been parsed while a message was read: in the best of some pairs, one right
 * after the other, so that it is the same on a machine that is slow, or busy otherwise.
 */
function cost(message: RawInput): number {
  let best = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 10 && best >= LONGEST; attempt++) {
    const begun = performance.now();
    readInput(message);
    const read = performance.now();
    JSON.parse(YARDSTICK);
    best = Math.min(best, (read - begun) / (performance.now() - read));
  }
  return best;
}

const prototypesOf = (): string =>
  JSON.stringify(
    [Object.prototype, Array.prototype, Function.prototype, String.prototype].map((one) =>
      Object.getOwnPropertyNames(one).toSorted(),
    ),
  );

const corpus = hostileInputs();

describe('hostile messages', () => {
  test(`there are many kinds (${corpus.length}), each with a name of its own`, () => {
    expect(corpus.length).toBeGreaterThanOrEqual(120);
    const names = corpus.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  test('the corpus is the same each time', () => {
    const digest = (): string => {
      const all = hostileInputs().map((one) => [
        one.subject,
        one.headers,
        Buffer.from(one.payload).toString('base64'),
      ]);
      return createHash('sha256').update(JSON.stringify(all)).digest('hex');
    };
    expect(digest()).toBe(digest());
  });

  test.each(corpus)('refused: $name', ({ subject, headers, payload, reason, cluster }) => {
    const before = prototypesOf();
    const message = { subject, headers, payload, time: STORED_AT };
    const copy = Buffer.from(payload);
    const read = readInput(message);
    if (isReadable(read)) throw new Error(`it was taken: ${JSON.stringify(read.input)}`);
    expect(read.problem).toMatch(reason);
    // For a person, and for a header: one line, not the whole message again.
    expect(read.problem).not.toMatch(/[\p{Cc}\p{Surrogate}]|undefined|\[object/u);
    expect(read.problem.length).toBeLessThan(2000);
    expect(read.eventId ?? 'none').toMatch(/^[A-Za-z0-9_:./-]{1,128}$/);
    expect(deadCluster(subject)).toBe(cluster);
    expect(prototypesOf()).toBe(before);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(copy.equals(payload)).toBe(true);
    expect(cost(message)).toBeLessThan(LONGEST);
  });

  test('the id is named where it can be read', () => {
    const idOf = (name: string): string | undefined => {
      const { subject, headers, payload } = corpus.find(
        (one) => one.name === name,
      ) as (typeof corpus)[number];
      const read = readInput({ subject, headers, payload, time: STORED_AT });
      return isReadable(read) ? undefined : read.eventId;
    };
    expect(idOf('vmId 42')).toMatch(/^hostile:\d+$/);
    expect(idOf('subject vf.in.default.vm')).toMatch(/^hostile:\d+$/);
    expect(idOf('specversion "0.3"')).toMatch(/^hostile:\d+$/);
    expect(idOf('binary mode: data that is not JSON')).toMatch(/^hostile:\d+$/);
    expect(idOf('binary mode: broken percent encoding')).toMatch(/^hostile:\d+$/);
    expect(idOf('a truncated event')).toBeUndefined();
    expect(idOf('id "with blank"')).toBeUndefined();
  });

  test.each([
    ['vf.in.default', 'default'],
    ['vf.in.', '_'],
    ['vf.in', '_'],
    ['vf.in..vm.vm-1.VmStopped', '_'],
    ['vf.in._', '_'],
    ['vf.in.a b.vm.vm-1.VmStopped', '_'],
    ['vf.out.default.vm.vm-1.VmStopped', '_'],
    ['VF.IN.default.vm.vm-1.VmStopped', '_'],
    ['', '_'],
    ['vf.in.__proto__.x', '__proto__'],
    [`vf.in.${'x'.repeat(100_000)}.vm`, '_'],
  ])('no subject is too strange to be dead-lettered: %.40s', (subject, cluster) => {
    expect(deadCluster(subject)).toBe(cluster);
    const read = readInput({ subject, payload: new TextEncoder().encode('{}'), time: STORED_AT });
    expect(isReadable(read)).toBe(false);
  });
});

describe('odd messages that are good', () => {
  test.each(oddInputs())('taken: $name', ({ subject, headers, payload, cluster }) => {
    const before = prototypesOf();
    const message = { subject, headers, payload, time: STORED_AT };
    const read = readInput(message);
    if (!isReadable(read)) throw new Error(read.problem);
    // What is kept in the log can be read again, and says the same.
    const again = readInput({ subject, payload: new TextEncoder().encode(read.text), time: STORED_AT });
    if (payload.length < 200_000) expect(again).toMatchObject({ input: read.input });
    expect(read.input.digest).toMatch(/^[0-9a-f]{16}$/);
    expect(deadCluster(subject)).toBe(cluster);
    expect(prototypesOf()).toBe(before);
    expect(cost(message)).toBeLessThan(LONGEST);
  });
});
