import { emptyState, evolve, restoreState, STATE_VERSION, type State } from '#domain';
import { emptyHead, LogError, type EventLog, type Head, type StoredRecord } from '#log';
import { PipelineError } from './errors.js';
import type { Logger } from './logger.js';
import { placedEvent } from './seal.js';
import { isNamedBy } from './snapshot-mark.js';

export interface Loaded {
  readonly state: State;
  readonly head: Head;
  /** Position of the snapshot that was used; 0 for a replay from the first event. */
  readonly snapshot: number;
}

/**
 * The state at the end of a cluster's log: from the newest snapshot that the log itself names, and the events behind it;
 * without one from the first event. Every link of the chain that is read is checked.
 *
 * @throws LogError `CORRUPT`, naming the position, when the chain does not hold; PipelineError `UNKNOWN_VERSION`.
 */
export async function loadState(
  log: EventLog,
  cluster: string,
  options: { readonly rememberedInputs: number; readonly logger: Logger },
): Promise<Loaded> {
  for (const snapshot of await log.snapshots(cluster)) {
    if (snapshot.version !== STATE_VERSION) continue;
    const head = { position: snapshot.position, hash: snapshot.hash };
    try {
      // Whoever can write beside the log can write a digest there too: what counts is the one in the chain.
      if (!isNamedBy(snapshot, await recordBehind(log, cluster, head))) {
        options.logger.warn(
          `the snapshot of '${cluster}' at ${snapshot.position} is not believed, for the log does not name it: it was changed, or is of an earlier version; an older one is used, or all is replayed`,
        );
        continue;
      }
      const state = restoreState(snapshot.state, options);
      return { ...(await replay(log, cluster, state, head)), snapshot: snapshot.position };
    } catch (error) {
      // Losing a snapshot is harmless; only the log itself is the truth, and the replay below tells whether
      // it is sound.
      if (error instanceof PipelineError || (error instanceof LogError && error.code !== 'CORRUPT'))
        throw error;
      options.logger.warn(`the snapshot of '${cluster}' at ${snapshot.position} is left out`, { error });
    }
  }
  const state = emptyState(cluster, options);
  return { ...(await replay(log, cluster, state, emptyHead(cluster))), snapshot: 0 };
}

/** The record behind a head; undefined at the log's end. */
async function recordBehind(log: EventLog, cluster: string, head: Head): Promise<StoredRecord | undefined> {
  const options = { inputs: false, verify: head, most: 1 };
  for await (const [record] of log.read(cluster, head.position + 1, options)) return record;
  return undefined;
}

async function replay(
  log: EventLog,
  cluster: string,
  state: State,
  from: Head,
): Promise<Omit<Loaded, 'snapshot'>> {
  let head = from;
  for await (const records of log.read(cluster, from.position + 1, { inputs: false, verify: from })) {
    for (const record of records) {
      evolve(state, placedEvent(record));
      head = { position: record.position, hash: record.hash };
    }
  }
  return { state, head };
}
