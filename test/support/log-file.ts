import { mkdtemp, readdir, copyFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { emptyState, evolve, type State } from '#domain';
import { openNatsConnection } from '#broker';
import {
  JetStreamLog,
  SqliteLog,
  verifyStream,
  type EventLog,
  type StoredRecord,
  type Verification,
} from '#log';
import { messageOf, placedEvent } from '#pipeline';
import type { Relayed } from './nats-client.js';

export interface LogContents {
  readonly records: readonly StoredRecord[];
  readonly verification: Verification;
}

/** Reads a cluster's log from a copy of its SQLite file, so that the one in use is left alone. */
export async function readLogFile(file: string, cluster = 'default'): Promise<LogContents> {
  const directory = await mkdtemp(join(tmpdir(), 'vf-e2e-log-'));
  try {
    for (const name of await readdir(dirname(file))) {
      if (name.startsWith(basename(file)) && !name.endsWith('-shm')) {
        await copyFile(join(dirname(file), name), join(directory, name));
      }
    }
    const log = await SqliteLog.open(join(directory, basename(file)));
    return await contents(log, cluster);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Reads a cluster's log in JetStream. */
export async function readLogStream(url: string, cluster = 'default'): Promise<LogContents> {
  return contents(
    new JetStreamLog({ connection: await openNatsConnection({ url: url.split(',') }) }),
    cluster,
  );
}

/** All of it; the log is closed behind. */
async function contents(log: EventLog, cluster: string): Promise<LogContents> {
  try {
    const records: StoredRecord[] = [];
    for await (const some of log.read(cluster, 1)) records.push(...some);
    return { records, verification: await verifyStream(log, cluster) };
  } finally {
    await log.close();
  }
}

/** The state that the log gives when every event is taken in again from the first, without a snapshot. */
export function replayed(records: readonly StoredRecord[], cluster = 'default'): State {
  const state = emptyState(cluster, { rememberedInputs: 200_000 });
  for (const record of records) evolve(state, placedEvent(record));
  return state;
}

/** OUT-3: where `VF_OUT` differs from the log, from the stream's first event to its last; empty when it does not. */
export function differences(
  relayed: readonly Relayed[],
  records: readonly StoredRecord[],
  cluster = 'default',
): readonly string[] {
  const found: string[] = [];
  const first = relayed[0]?.sequence ?? 1;
  relayed.forEach(({ sequence, event, text, subject }, index) => {
    const record = records[sequence - 1];
    if (sequence !== first + index) found.push(`sequence ${sequence} stands at place ${index}`);
    if (event.position !== String(sequence))
      found.push(`sequence ${sequence} says position ${event.position}`);
    if (record === undefined) {
      found.push(`sequence ${sequence} is not in the log`);
      return;
    }
    const { hash, id } = record;
    if (event.hash !== hash || event.id !== id)
      found.push(`sequence ${sequence} has another id or hash than the log`);
    const body = JSON.parse(record.body) as { data: unknown; type: string; time: string };
    const same =
      body.type === event.type &&
      body.time === event.time &&
      JSON.stringify(body.data) === JSON.stringify(event.data);
    if (!same) found.push(`sequence ${sequence} says something else than the log`);
    const message = messageOf(cluster, record);
    if (message.payload !== text || message.subject !== subject) {
      found.push(`sequence ${sequence} has other bytes than the log's record gives`);
    }
  });
  if (records.length !== (relayed.at(-1)?.sequence ?? 0)) {
    found.push(`the log ends at ${records.length}, the stream at ${relayed.at(-1)?.sequence}`);
  }
  return found;
}
