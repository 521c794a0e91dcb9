import { beforeAll, describe, expect, test } from '@jest/globals';
import { dumpState } from '#domain';
import { MemoryLog, type StoredRecord } from '#log';
import { fleet, simulate, start, violationsOf, type Evidence } from './index.js';

/** What stands in evidence that is forged is found: a check that finds nothing proves nothing. */
describe('the invariants', () => {
  let good: Evidence;
  beforeAll(async () => {
    const site = await simulate(fleet().host('h1', { em1: 2 }));
    await site.say(start('vm1'));
    await site.say(start('vm2'));
    const log: MemoryLog = site.log;
    const records: StoredRecord[] = [];
    for await (const chunk of log.read('default', 1)) records.push(...chunk);
    const state = dumpState(await site.replay());
    good = {
      cluster: 'default',
      messages: site.stored,
      records,
      outputs: site.server.outputs('default'),
      dead: [],
      chain: { ok: true },
      live: state,
      replayed: state,
    };
  });

  const rules = (forged: Partial<Evidence>): string[] => [
    ...new Set(violationsOf({ ...good, ...forged }).map(({ rule }) => rule)),
  ];
  const rewritten = (from: string | RegExp, to: string): StoredRecord[] =>
    good.records.map((record) => ({ ...record, body: record.body.replace(from, to) }));

  test('hold in a run in which nothing goes wrong', () => expect(rules({})).toEqual([]));
  test('EX-1: two holders of one VF', () => {
    const records = rewritten(/"vf":"0000:82:10.2"/g, '"vf":"0000:82:10.0"');
    expect(rules({ records })).toContain('EX-1');
  });
  test('EX-3: a start that got too little, or from elsewhere', () => {
    const cut = good.records.filter(({ position }) => position !== 2);
    expect(rules({ records: cut })).toContain('EX-3');
    const elsewhere = good.records.map((record) =>
      record.position === 2 ? { ...record, body: record.body.replace('"h1"', '"h2"') } : record,
    );
    expect(rules({ records: elsewhere })).toContain('EX-3');
  });
  test('OUT-1: a request without an outcome, with two, or decided and dead', () => {
    expect(rules({ records: good.records.slice(0, -1) })).toContain('OUT-1');
    expect(rules({ records: [...good.records, ...good.records.slice(-1)] })).toContain('OUT-1');
    const { sequence } = good.messages.at(-1)!;
    const letter = { stream: 's', sequence, subject: 'x', reason: 'no', payload: new Uint8Array() };
    expect(rules({ dead: [letter] })).toContain('OUT-1');
  });
  test('OUT-3: a gap, a double, an order, other bytes', () => {
    const { outputs } = good;
    expect(rules({ outputs: outputs.slice(0, -1) })).toEqual(['OUT-3']);
    expect(rules({ outputs: [...outputs, outputs.at(-1)!] })).toEqual(['OUT-3']);
    expect(rules({ outputs: outputs.toReversed() })).toEqual(['OUT-3']);
    expect(rules({ outputs: outputs.map((each) => ({ ...each, payload: '{}' })) })).toEqual(['OUT-3']);
  });
  test('a state that replays otherwise, and a broken chain', () => {
    expect(rules({ replayed: '{}' })).toEqual(['replay']);
    expect(rules({ live: undefined })).toEqual(['replay']);
    expect(rules({ chain: { ok: false } })).toEqual(['chain']);
  });
});
