import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MemoryBrokerServer, type MemoryBroker } from '#broker';
import { emptyHead, MemoryLog, sealRecord, type Head, type StoredRecord } from '#log';
import { silentLogger, type Clock } from './index.js';
import { Relay } from './relay.js';
import { messageOf } from './seal.js';

const CLUSTER = 'default';
const SUBJECT = 'vf.out.default.vm.vm-1.VmStopped';

/** Time passes only for those who sleep: each turn wakes the one who is due next. */
class Turns implements Clock {
  private time = Date.parse('2026-11-30T00:00:00.000Z');
  private sleepers: { readonly until: number; readonly wake: () => void }[] = [];

  now(): number {
    return this.time;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const sleeper = { until: this.time + ms, wake: () => resolve() };
      this.sleepers.push(sleeper);
      signal?.addEventListener('abort', () => {
        this.sleepers = this.sleepers.filter((one) => one !== sleeper);
        resolve();
      });
    });
  }

  next(): void {
    const [first] = this.sleepers.toSorted((one, other) => one.until - other.until);
    if (first === undefined) return;
    this.sleepers = this.sleepers.filter((one) => one !== first);
    this.time = Math.max(this.time, first.until);
    first.wake();
  }
}

describe('the relay, in a stream to which others publish', () => {
  let server: MemoryBrokerServer;
  let broker: MemoryBroker;
  let log: MemoryLog;
  let clock: Turns;
  let relay: Relay;
  let records: StoredRecord[];

  const head = (): Head => records.at(-1) ?? emptyHead(CLUSTER);

  async function append(count: number): Promise<void> {
    const from = records.length;
    for (let position = from + 1; position <= from + count; position++) {
      const cause = { digest: '0'.repeat(16), id: `id-${position}`, sequence: position, stream: 's' };
      const body = JSON.stringify({
        ...{ cause, correlationId: cause.id, data: { vmId: 'vm-1' }, decider: '1', position, schema: 1 },
        ...{ time: '2026-11-30T00:00:00.000Z', type: 'VmStopped' },
      });
      records.push(sealRecord(head(), body));
    }
    const added = records.slice(from);
    await log.append(
      CLUSTER,
      from,
      added.map((record) => [record]),
    );
    relay.offer(added.map((record) => messageOf(CLUSTER, record)));
  }

  /** What the stream should hold, and what it does. */
  const expected = (from = 1): readonly string[] =>
    records.slice(from - 1).map((record) => String(messageOf(CLUSTER, record).payload));
  const held = (): readonly string[] =>
    server.outputs(CLUSTER).map(({ payload }) => Buffer.from(payload as Uint8Array).toString());

  async function until(what: string, condition: () => boolean): Promise<void> {
    for (let turns = 0; turns < 3000; turns++) {
      for (let calls = 0; calls < 50; calls++) await Promise.resolve();
      if (condition()) return;
      clock.next();
    }
    throw new Error(
      `it did not come to this: ${what}; ${relay.trouble ?? 'no trouble'}; ${held().join('\n')}`,
    );
  }
  const sound = (): boolean => JSON.stringify(held()) === JSON.stringify(expected());

  beforeEach(async () => {
    clock = new Turns();
    server = new MemoryBrokerServer(() => clock.now());
    broker = server.connect();
    log = new MemoryLog();
    records = [];
    await broker.output.create(CLUSTER, 1);
    relay = new Relay(
      {
        ...{ broker, log, cluster: CLUSTER, clock, logger: silentLogger, outMaxAge: 3_600_000 },
        ...{ identity: () => records[0]?.hash, head },
      },
      0,
      0,
    );
    relay.start();
  });
  afterEach(() => relay.stop());

  test.each(['', 'hello', 'null', '{}', '{"id":"x","position":"4"}'])(
    '[OUT-3 acts] %j at its end is found while nothing is relayed, and taken out',
    async (stray) => {
      await append(3);
      await until('3 are out', sound);
      const { created } = server.output(CLUSTER)!;
      server.strayOutput(CLUSTER, SUBJECT, stray);
      await until('it is said', () => relay.trouble?.includes('made again from the log') === true);
      const said = clock.now();
      expect(server.output(CLUSTER)!.created).toBe(created);
      await until('the stray is gone', sound);
      expect(clock.now() - said).toBeGreaterThanOrEqual(2000);
      await until('it is well', () => relay.trouble === undefined);
      await append(2);
      await until('5 are out', sound);
    },
  );

  test('[OUT-3 acts] one that takes the place of an event takes it for no longer than it is noticed', async () => {
    await append(2);
    await until('2 are out', sound);
    server.strayOutput(CLUSTER, SUBJECT, 'stray');
    await append(3);
    await until('5 are out', sound);
    expect(relay.backlog).toBe(0);
  });

  test('[OUT-3 acts] an event of the cluster that lies at another place is a stranger too', async () => {
    await append(3);
    await until('3 are out', sound);
    server.strayOutput(CLUSTER, SUBJECT, String(messageOf(CLUSTER, records[1]!).payload));
    await until('it is gone', sound);
  });

  test('[OUT-3 acts] the next event that comes before its time is not what was relayed', async () => {
    await append(1);
    await until('1 is out', sound);
    const ahead = sealRecord(head(), records[0]!.body.replace('"position":1', '"position":2'));
    server.strayOutput(CLUSTER, SUBJECT, String(messageOf(CLUSTER, ahead).payload));
    await until('it is gone', sound);
    expect(relay.backlog).toBe(0);
  });

  test('[OUT-3 acts] in a cluster that has no event yet it does not keep the first from coming', async () => {
    server.strayOutput(CLUSTER, SUBJECT, 'first!');
    await append(2);
    await until('2 are out', sound);
  });

  test('a hole is found, and filled', async () => {
    await append(6);
    await until('6 are out', sound);
    const compared = clock.now() + 10_000;
    await until('all was compared, and is not again for a while', () => clock.now() > compared);
    server.removeOutput(CLUSTER, 3);
    const removed = clock.now();
    await until('it is filled', sound);
    expect(clock.now() - removed).toBeLessThan(10_000);
  });

  test('a stream that somebody else has made, with a history of his own, is made again', async () => {
    await append(900);
    await until('900 are out', sound);
    const looked = clock.now() + 5000;
    await until('it was looked at', () => clock.now() > looked);
    server.remakeOutput(CLUSTER, { firstSequence: 1, badPosition: 1, at: 0, log: undefined });
    const forged = sealRecord(records[797]!, records[798]!.body.replaceAll('vm-1', 'vm-2'));
    for (const record of records.with(798, forged))
      server.strayOutput(CLUSTER, SUBJECT, String(messageOf(CLUSTER, record).payload));
    const made = clock.now();
    await until('it is said', () => relay.trouble !== undefined);
    expect(relay.trouble).toContain("the log's event at position 799");
    // All of it is compared at the first look, and not as slowly as what this relay has stored itself.
    expect(clock.now() - made).toBeLessThan(4000);
    await until('it is the history again', sound);
  });

  test('it is made again once a minute at most, and what is wrong is said until then', async () => {
    await append(2);
    await until('2 are out', sound);
    server.strayOutput(CLUSTER, SUBJECT, 'one');
    await until('it is put right', sound);
    const first = clock.now();
    server.strayOutput(CLUSTER, SUBJECT, 'two');
    await until('it is said', () => relay.trouble !== undefined);
    expect(relay.trouble).toMatch(
      /does not hold the log's event at position 3, but a message under .*made again in \d+ s/,
    );
    await append(1);
    await until('it is put right again', sound);
    expect(clock.now() - first).toBeGreaterThanOrEqual(58_000);
    await until('it is well', () => relay.trouble === undefined);
  });

  test('where the log is not what it was, the stream is the witness, and is left as it is', async () => {
    await append(5);
    await until('5 are out', sound);
    const before = held();
    log.tamper(CLUSTER, (all) => all.slice(0, 3));
    server.strayOutput(CLUSTER, SUBJECT, 'stray');
    await until('it is said', () => relay.trouble !== undefined);
    expect(relay.trouble).toMatch(/the log is not what it was/);
    expect(held().slice(0, 5)).toEqual(before);
  });

  test('what is sound is never made again', async () => {
    await append(30);
    await until('30 are out', sound);
    const { created } = server.output(CLUSTER)!;
    const end = clock.now() + 3_600_000;
    await until('an hour is over', () => clock.now() > end);
    expect(server.output(CLUSTER)!.created).toBe(created);
    expect(relay.trouble).toBeUndefined();
  });

  test('what the limits of the stream let go is no hole', async () => {
    await append(5);
    await until('5 are out', sound);
    const { created } = server.output(CLUSTER)!;
    for (const position of [1, 2, 3]) server.removeOutput(CLUSTER, position);
    await append(1);
    await until('6 is out', () => held().length === 3);
    const end = clock.now() + 3_600_000;
    await until('an hour is over', () => clock.now() > end);
    expect(server.output(CLUSTER)!.created).toBe(created);
    expect(held()).toEqual(expected(4));
  });
});
