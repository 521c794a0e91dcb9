import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { emptyHead, type Head } from '../chain.js';
import type { LogUnderTest } from '../conformance.js';
import { isTransient, type LogErrorCode } from '../errors.js';
import type { StoredDecision, StoredRecord } from '../record.js';
import { collect } from '../sample-records.js';
import { batchMessages } from './batch-message.js';
import { JetStreamLog, type JetStreamLogOptions } from './jetstream-log.js';
import { logPlan, logStream, logSubject } from './log-stream.js';

/** A log on a real server, or on several (URLs with commas), as the conformance suite wants it. */
export async function jetStreamUnderTest(
  url: string,
  options: Omit<JetStreamLogOptions, 'connection'> = {},
): Promise<LogUnderTest> {
  const opened: JetStreamLog[] = [];
  const open = async (): Promise<JetStreamLog> => {
    const log = await openJetStreamLog(url, options);
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
    tamper: async (stream, change) => {
      const records = change(await collect((await open()).read(stream, 1)));
      await replaceLog(url, stream, records, options.replicas ?? 1);
    },
    dispose: async () => {
      await Promise.all(opened.map((one) => one.close()));
    },
  };
}

/** A log with a connection of its own. */
export async function openJetStreamLog(
  url: string,
  options: Omit<JetStreamLogOptions, 'connection'> = {},
): Promise<JetStreamLog> {
  const connection = await connect({
    servers: url.split(','),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    ignoreAuthErrorAbort: true,
  });
  return new JetStreamLog({ connection, pollInterval: 500, ...options });
}

/** Deletes a log's stream and makes another in its place, as somebody with NATS's own tools can. */
export async function replaceLog(
  url: string,
  stream: string,
  records: readonly StoredRecord[],
  replicas = 1,
): Promise<void> {
  const connection = await connect({ servers: url.split(',') });
  try {
    const { streams } = await jetstreamManager(connection, { checkAPI: false });
    await streams.delete(logStream(stream)).catch(() => undefined);
    await streams.add(logPlan(stream, replicas));
    // Where a position is missing another message begins: one holds neighbours only.
    let run: StoredDecision[] = [];
    let head: Head = emptyHead(stream);
    let before = head;
    const flush = async (): Promise<void> => {
      for await (const { data } of batchMessages(stream, before, run, 1_000_000)) {
        await connection.request(logSubject(stream), data, { timeout: 5_000 });
      }
      run = [];
    };
    for (const record of records) {
      if (record.position !== head.position + 1 || run.length === 0) {
        await flush();
        before = { position: record.position - 1, hash: head.hash };
      }
      run.push([record]);
      head = { position: record.position, hash: record.hash };
    }
    await flush();
  } finally {
    await connection.close();
  }
}

/**
 * Appends as the pipeline does: the same bytes until they are in.
 *
 * @returns what it was told before that.
 */
export async function untilIn(
  log: JetStreamLog,
  stream: string,
  position: number,
  decisions: readonly StoredDecision[],
): Promise<LogErrorCode[]> {
  const failures: LogErrorCode[] = [];
  for (;;) {
    try {
      await log.append(stream, position, decisions);
      return failures;
    } catch (error) {
      if (!isTransient(error)) throw error;
      failures.push(error.code);
      // Without a connection it fails at once: the client must come to connect again.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
