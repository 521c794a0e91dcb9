import { afterAll, describe, expect, test } from '@jest/globals';
import { emptyHead } from '../chain.js';
import { logConformance, type LogUnderTest } from '../conformance.js';
import type { StoredRecord } from '../record.js';
import { collect, sampleDecisions } from '../sample-records.js';
import { KurrentDouble, type DoubleOptions } from './double.js';
import { KurrentLog, type KurrentLogOptions } from './kurrent-log.js';
import { eventOf, recordOf } from './record-form.js';
import { guestStreams, removeGuestStreams } from './guest-streams.js';
import { StreamNames } from './stream-names.js';

const streamName = (cluster: string): string => new StreamNames().log(cluster);

const doubles: KurrentDouble[] = [];
afterAll(() => Promise.all(doubles.map((double) => double.stop())));

const quick: KurrentLogOptions = { firstWait: 10, longestWait: 100, lookEvery: 500 };

/** Many logs of one suite on one double; each test uses streams of its own. */
function onDouble(options: DoubleOptions, logOptions: KurrentLogOptions = {}): () => Promise<LogUnderTest> {
  const double = new KurrentDouble(options);
  doubles.push(double);
  return async () => {
    if (double.port === 0) await double.start();
    const opened: KurrentLog[] = [];
    const open = async (): Promise<KurrentLog> => {
      const log = await KurrentLog.open(double.url('', '&discoveryInterval=10'), { ...quick, ...logOptions });
      opened.push(log);
      return log;
    };
    const log = await open();
    return {
      log,
      second: open,
      reopen: async () => {
        await log.close();
        return open();
      },
      tamper: async (stream, change) => tamper(double, stream, change),
      dispose: async () => {
        await Promise.all(opened.map((one) => one.close()));
      },
    };
  };
}

logConformance('KurrentLog on the double', onDouble({}));

describe('KurrentLog on a real server', () => {
  const url = process.env['KURRENTDB_URL'];
  if (url === undefined || url === '') {
    test.todo('not run: KURRENTDB_URL names no server; `npm run test:kurrentdb` starts one');
    return;
  }
  // A guest on that server: where it writes no scheduler looks, and it takes away what it wrote.
  const names = guestStreams();
  afterAll(() => removeGuestStreams(url, names), 60_000);
  logConformance(
    'KurrentLog on KURRENTDB_URL',
    async () => {
      const opened: KurrentLog[] = [];
      const open = async (): Promise<KurrentLog> => {
        const log = await KurrentLog.open(url, { names });
        opened.push(log);
        return log;
      };
      const log = await open();
      return {
        log,
        second: open,
        reopen: async () => {
          await log.close();
          return open();
        },
        dispose: async () => {
          await Promise.all(opened.map((one) => one.close()));
        },
      };
    },
    { tampering: false },
  );

  test('KURRENTDB_URL: what cuts a history is told, and taken back it is whole', async () => {
    const log = await KurrentLog.open(url, { names });
    const { KurrentDBClient } = await import('@kurrent/kurrentdb-client');
    const client = KurrentDBClient.connectionString(url);
    const cluster = 'cut';
    const name = names.log(cluster);
    try {
      await log.append(cluster, 0, sampleDecisions(emptyHead(cluster), { decisions: 3 }));
      // Where there are users the stream has rights of its own, and they stay.
      const { metadata: rights } = await client.getStreamMetadata(name);
      for (const [values, why] of [
        [{ maxCount: 2 }, '$maxCount 2'],
        [{ maxAge: 3600 }, '$maxAge 3600'],
        [{ truncateBefore: 1 }, '$tb 1'],
      ] as const) {
        await client.setStreamMetadata(name, { ...rights, ...values });
        expect(await log.incomplete(cluster)).toContain(why);
      }
      await client.deleteStream(name);
      expect(await log.incomplete(cluster)).toContain('was deleted');
      await client.setStreamMetadata(name, { ...rights });
      expect(await log.incomplete(cluster)).toBeUndefined();
      expect(await collect(log.read(cluster, 1, { verify: emptyHead(cluster) }))).toHaveLength(3);
    } finally {
      await log.close();
      await client.dispose();
    }
  }, 60_000);
});

function tamper(
  double: KurrentDouble,
  stream: string,
  change: (records: readonly StoredRecord[]) => readonly StoredRecord[],
): void {
  double.storage.tamper(streamName(stream), (events) => {
    const records = events.map(({ id, revision, data, metadata }) =>
      recordOf(
        stream,
        {
          event: {
            id,
            data,
            metadata: JSON.parse(Buffer.from(metadata).toString('utf8')) as { hash: string },
            isJson: false,
            revision: BigInt(revision),
            streamId: '',
            type: '',
            created: new Date(),
          },
        },
        true,
      ),
    );
    return change(records).map((record) => {
      const { id, type, contentType, data, metadata } = eventOf(record);
      const revision = record.position - 1;
      return { id, type, contentType, data, metadata: metadata as Uint8Array, revision, created: 0 };
    });
  });
}
