import { describe, expect, test } from '@jest/globals';
import { emptyHead } from './chain.js';
import { copyStream } from './copy.js';
import { MemoryLog } from './memory-log.js';
import { collect, headAfter, sampleDecisions } from './sample-records.js';

const stream = 'c1';

async function filled(decisions: number, data: unknown = 'sample'): Promise<MemoryLog> {
  const log = new MemoryLog({ name: 'memory:one' });
  await log.append(stream, 0, sampleDecisions(emptyHead(stream), { decisions, events: 3, data }));
  return log;
}

describe('a copy of a log', () => {
  test('is the same byte for byte, its decisions whole, and goes on where it broke off', async () => {
    const from = await filled(1500, 'x'.repeat(500));
    const to = new MemoryLog({ name: 'memory:other' });
    const appended: number[] = [];
    const append = to.append.bind(to);
    to.append = async (name, position, decisions) => {
      for (const decision of decisions) expect(decision).toHaveLength(3);
      appended.push(position);
      await append(name, position, decisions);
    };
    expect(await copyStream(from, to, stream)).toEqual({ records: 4500, head: await from.head(stream) });
    expect(appended.length).toBeGreaterThan(2);
    expect(await collect(to.read(stream, 1))).toEqual(await collect(from.read(stream, 1)));
    const head = await from.head(stream);
    await from.append(stream, head.position, sampleDecisions(head, { events: 3, data: 'more' }));
    expect(await copyStream(from, to, stream)).toMatchObject({ records: 3, head: { position: 4503 } });
    expect(await copyStream(from, to, stream)).toMatchObject({ records: 0, head: { position: 4503 } });
  });

  test('of one that is damaged ends before the damage, and says which', async () => {
    const from = await filled(100);
    from.tamper(stream, (records) => records.with(250, { ...records[250]!, body: '{"forged":true}' }));
    const to = new MemoryLog();
    const copied = await copyStream(from, to, stream);
    expect(copied).toMatchObject({
      records: 250,
      head: { position: 250 },
      damage: { code: 'CORRUPT', position: 251 },
    });
    expect(await collect(to.read(stream, 1, { verify: emptyHead(stream) }))).toHaveLength(250);
  });

  test('into another history is refused, and nothing is written', async () => {
    const from = await filled(10);
    const to = new MemoryLog({ name: 'memory:other' });
    const other = sampleDecisions(emptyHead(stream), { decisions: 2, data: 'other' });
    await to.append(stream, 0, other);
    await expect(copyStream(from, to, stream)).rejects.toMatchObject({
      code: 'WRONG_POSITION',
      message: expect.stringContaining('memory:other has another history'),
    });
    expect(await to.head(stream)).toEqual(headAfter(emptyHead(stream), other));
    // Nor into one that is longer.
    const longer = await filled(20);
    await expect(copyStream(from, longer, stream)).rejects.toMatchObject({ code: 'WRONG_POSITION' });
  });
});
