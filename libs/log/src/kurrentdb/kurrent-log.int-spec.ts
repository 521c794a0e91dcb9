import { afterAll, describe, test } from '@jest/globals';
import { logConformance, type LogUnderTest } from '../conformance.js';
import type { StoredRecord } from '../record.js';
import { KurrentDouble, type DoubleOptions } from './double.js';
import { KurrentLog, type KurrentLogOptions } from './kurrent-log.js';
import { eventOf, recordOf } from './record-form.js';
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
  logConformance(
    'KurrentLog on KURRENTDB_URL',
    async () => {
      const opened: KurrentLog[] = [];
      const open = async (): Promise<KurrentLog> => {
        const log = await KurrentLog.open(url);
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
