import { describe, expect, test } from '@jest/globals';
import { emptyHead } from './chain.js';
import { logConformance } from './conformance.js';
import { MemoryLog } from './memory-log.js';
import { collect, sampleDecisions } from './sample-records.js';

logConformance('MemoryLog', async () => {
  const log = new MemoryLog();
  return {
    log,
    second: async () => log.connect(),
    reopen: async () => {
      await log.close();
      return log.connect();
    },
    tamper: async (stream, change) => log.tamper(stream, change),
    dispose: () => log.close(),
  };
});

describe('MemoryLog fails when told to', () => {
  const head = emptyHead('c1');
  const decisions = sampleDecisions(head, { decisions: 3, events: 2 });

  test.each(['UNAVAILABLE', 'FULL'] as const)(
    '%s: nothing is written, and the next append succeeds',
    async (code) => {
      const log = new MemoryLog();
      log.failNextAppend({ code });
      await expect(log.append('c1', 0, decisions)).rejects.toMatchObject({ code });
      expect(await log.head('c1')).toEqual(head);
      await log.append('c1', 0, decisions);
      expect(await collect(log.read('c1', 1))).toEqual(decisions.flat());
    },
  );

  test.each([
    { written: undefined, position: 6 },
    { written: 1, position: 2 },
    { written: 0, position: 0 },
  ])('OUTCOME_UNKNOWN with $written decisions in: the same append again completes it', async (given) => {
    const log = new MemoryLog();
    log.failNextAppend({ code: 'OUTCOME_UNKNOWN', decisions: given.written });
    await expect(log.append('c1', 0, decisions)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect((await log.head('c1')).position).toBe(given.position);
    await log.append('c1', 0, decisions);
    expect(await collect(log.read('c1', 1))).toEqual(decisions.flat());
  });

  test('faults are used up in order, and only by the handle that was told', async () => {
    const log = new MemoryLog();
    log.failNextAppend({ code: 'FULL' });
    log.failNextAppend({ code: 'UNAVAILABLE' });
    await expect(log.append('c1', 0, decisions)).rejects.toMatchObject({ code: 'FULL' });
    await log.connect().append('c1', 0, decisions);
    await expect(log.append('c1', 0, decisions)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await log.append('c1', 0, decisions);
  });

  test('held appends are written in order once they are let go', async () => {
    const log = new MemoryLog();
    const release = log.holdAppends();
    const appending = Promise.all([
      log.append('c1', 0, decisions.slice(0, 1)),
      log.append('c1', 2, decisions.slice(1)),
    ]);
    expect((await log.head('c1')).position).toBe(0);
    release();
    await appending;
    expect((await log.head('c1')).position).toBe(6);
  });

  test('a handle that is closed leaves the others open', async () => {
    const log = new MemoryLog();
    const other = log.connect();
    await log.close();
    await other.append('c1', 0, decisions);
    await expect(log.head('c1')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect((await other.head('c1')).position).toBe(6);
  });
});
