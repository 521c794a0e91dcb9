import { beforeEach, describe, expect, test } from '@jest/globals';
import { MemoryBrokerServer, type MemoryBroker } from '#broker';
import { emptyState } from '#domain';
import { MemoryLog, emptyHead, sealRecord, type Head, type StoredRecord } from '#log';
import { silentLogger } from './logger.js';
import { identityOf, resumeAfter, verifyOutput } from './positions.js';
import { messageOf } from './seal.js';

const CLUSTER = 'default';
let server: MemoryBrokerServer;
let broker: MemoryBroker;

beforeEach(async () => {
  server = new MemoryBrokerServer(() => Date.parse('2026-11-21T00:00:00Z'));
  broker = server.connect();
  await broker.prepare();
});

describe('where a leader goes on in VF_IN', () => {
  const publish = (id: string): Promise<number> =>
    broker.input.publish(
      'vf.in.default.vm.vm-1.VmStopped',
      Buffer.from(
        JSON.stringify({
          specversion: '1.0',
          id,
          source: '/test',
          type: 'VmStopped',
          data: { vmId: 'vm-1' },
        }),
      ),
    );
  /** A state whose last input was that one. */
  const after = (stream: string, sequence: number, id: string) => {
    const state = emptyState(CLUSTER);
    state.lastCause = { id, digest: '0'.repeat(16), stream, sequence };
    return state;
  };

  test('from the first message where the log names no input', async () => {
    await publish('a');
    expect(await resumeAfter(broker, emptyState(CLUSTER), silentLogger)).toBe(0);
  });

  test('behind the last input that the log names, also when that is purged', async () => {
    for (const id of ['a', 'b', 'c']) await publish(id);
    const { created } = await broker.input.info();
    expect(await resumeAfter(broker, after(created, 2, 'b'), silentLogger)).toBe(2);
    await broker.input.purge(CLUSTER, 3);
    expect(await resumeAfter(broker, after(created, 2, 'b'), silentLogger)).toBe(2);
  });

  test('from the first message of a stream that was made again, whatever stands at the sequence there', async () => {
    await publish('a');
    const { created } = await broker.input.info();
    server.deleteInput();
    await broker.prepare();
    await publish('a');
    expect(await resumeAfter(broker, after(created, 1, 'a'), silentLogger)).toBe(0);
  });

  test('from the first message of a stream that has another one at the sequence, or ends before it', async () => {
    await publish('a');
    const { created } = await broker.input.info();
    expect(await resumeAfter(broker, after(created, 1, 'b'), silentLogger)).toBe(0);
    expect(await resumeAfter(broker, after(created, 2, 'a'), silentLogger)).toBe(0);
  });
});

describe('a log beside VF_OUT', () => {
  /** Records of a history of its own. */
  function history(name: string, length: number): StoredRecord[] {
    const records: StoredRecord[] = [];
    let head: Head = emptyHead(CLUSTER);
    for (let position = 1; position <= length; position++) {
      const cause = { digest: '0'.repeat(16), id: `${name}-${position}`, sequence: position, stream: 's' };
      const body = JSON.stringify({
        ...{ cause, correlationId: cause.id, data: { vmId: name }, decider: '1', position, schema: 1 },
        ...{ time: '2026-11-21T00:00:00.000Z', type: 'VmStopped' },
      });
      const record = sealRecord(head, body);
      records.push(record);
      head = record;
    }
    return records;
  }
  async function relayed(records: readonly StoredRecord[]): Promise<void> {
    await broker.output.create(CLUSTER, 1);
    await broker.output.publish(
      CLUSTER,
      records.map((record) => messageOf(CLUSTER, record)),
    );
  }
  async function logOf(records: readonly StoredRecord[]): Promise<MemoryLog> {
    const log = new MemoryLog();
    await log.append(
      CLUSTER,
      0,
      records.map((record) => [record]),
    );
    return log;
  }

  /** Compares a log with the stream as it is. */
  async function verify(log: MemoryLog): ReturnType<typeof verifyOutput> {
    const [state, head] = [await broker.output.state(CLUSTER), await log.head(CLUSTER)];
    return verifyOutput(state, { broker, log }, CLUSTER, head, await identityOf(log, CLUSTER));
  }

  test('what was relayed is a beginning of the log', async () => {
    const all = history('vm-1', 3);
    await relayed(all.slice(0, 2));
    expect(await verify(await logOf(all))).toEqual({ relayed: 2 });
  });

  test.each([
    ['in the place of an event', 2, 3],
    ['behind the last event', 3, 3],
    ['in the stream of an empty log', 0, 0],
  ])('what is surely no event of the cluster, %s, is left to the relay', async (_where, out, length) => {
    const all = history('vm-1', length);
    await broker.output.create(CLUSTER, 1);
    await relayed(all.slice(0, out));
    for (const stray of [
      '',
      'null',
      '[]',
      '{"id":"x"}',
      JSON.stringify({
        ...JSON.parse(String(messageOf(CLUSTER, history('vm-1', 1)[0]!).payload)),
        position: '77',
      }),
    ])
      server.strayOutput(CLUSTER, 'vf.out.default.vm.x.VmStopped', stray);
    expect(await verify(await logOf(all))).toEqual({ relayed: undefined });
  });

  test.each([
    ['an empty log', 0],
    ['a log that is shorter', 2],
    ['a log that is longer', 5],
  ])('OTHER_LOG: the stream takes the events of another one than %s', async (_what, length) => {
    const theirs = history('vm-1', 3);
    await broker.output.create(CLUSTER, 1, theirs[0]!.hash);
    await relayed(theirs);
    await expect(verify(await logOf(history('vm-2', length)))).rejects.toMatchObject({ code: 'OTHER_LOG' });
    server.purgeOutput(CLUSTER);
    await expect(verify(await logOf(history('vm-2', length)))).rejects.toMatchObject({ code: 'OTHER_LOG' });
  });

  test('a note that names another log is not believed where the events fit', async () => {
    const all = history('vm-1', 3);
    await broker.output.create(CLUSTER, 1, 'f'.repeat(64));
    await relayed(all);
    expect(await verify(await logOf(all))).toEqual({ relayed: 3 });
  });

  test('LOG_BEHIND: the log ends before what was relayed', async () => {
    const all = history('vm-1', 3);
    await relayed(all);
    const log = await logOf(all.slice(0, 2));
    await expect(verify(log)).rejects.toMatchObject({
      code: 'LOG_BEHIND',
    });
  });

  test('LOG_DIFFERS: the log tells another history at the position that was relayed last', async () => {
    await relayed(history('vm-1', 3));
    const log = await logOf(history('vm-2', 4));
    await expect(verify(log)).rejects.toMatchObject({
      code: 'LOG_DIFFERS',
      message: expect.stringMatching(/position 3/),
    });
  });
});
