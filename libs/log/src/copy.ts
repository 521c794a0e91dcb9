import { emptyHead, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { EventLog } from './event-log.js';
import type { StoredDecision, StoredRecord } from './record.js';

/** What a copy has brought. */
export interface Copied {
  /** Records that were copied now; those of an earlier copy are not counted. */
  readonly records: number;
  /** Where the copy ends. */
  readonly head: Head;
  /** Why it ends there, when the log that was copied does not. */
  readonly damage?: LogError;
}

/** An append is made when it has so many bytes, or more by its last decision. */
const appendBytes = 512 * 1024;

/**
 * Copies a stream into another log, byte for byte, each link of its chain checked. A copy that broke off, or was made
 * before more was decided, is gone on with. Snapshots are not copied: they are made again.
 *
 * @throws LogError `WRONG_POSITION` when the other log has another history there; what keeps either from being used.
 */
export async function copyStream(from: EventLog, to: EventLog, stream: string): Promise<Copied> {
  let head = await to.head(stream);
  let records = 0;
  let waiting: StoredRecord[][] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    const last = waiting.at(-1)?.at(-1);
    if (last === undefined) return;
    await to.append(stream, head.position, waiting satisfies StoredDecision[]);
    records += last.position - head.position;
    head = { position: last.position, hash: last.hash };
    waiting = [];
    bytes = 0;
  };
  let damage: LogError | undefined;
  try {
    const verify = head.position === 0 ? emptyHead(stream) : head;
    for await (const chunk of from.read(stream, head.position + 1, { verify })) {
      for (const record of chunk) {
        const begins = record.input !== undefined || waiting.length === 0;
        // Decisions are never split.
        if (begins && bytes >= appendBytes) await flush();
        if (begins) waiting.push([record]);
        else waiting.at(-1)!.push(record);
        bytes += record.body.length + (record.input?.length ?? 0);
      }
    }
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== 'CORRUPT') throw error;
    if (records === 0 && error.position === head.position && head.position > 0) {
      throw new LogError(
        'WRONG_POSITION',
        `${to.name} has another history of '${stream}' than ${from.name} at position ${head.position}: copy into a log without it`,
        { cause: error, position: head.position },
      );
    }
    damage = error;
  }
  await flush();
  return { records, head, ...(damage !== undefined && { damage }) };
}
