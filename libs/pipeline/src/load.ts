import { emptyState, evolve, restoreState, STATE_VERSION, type State } from '#domain';
import { emptyHead, LogError, type EventLog, type Head } from '#log';
import type { Logger } from './logger.js';
import { placedEvent } from './seal.js';

export interface Loaded {
  readonly state: State;
  readonly head: Head;
  /** Position of the snapshot that was used; 0 for a replay from the first event. */
  readonly snapshot: number;
}

/**
 * The state at the end of a cluster's log: from the newest snapshot that fits, and the events behind it;
 * without one from the first event. Every link of the chain that is read is checked.
 *
 * @throws LogError `CORRUPT`, naming the position, when the chain does not hold.
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
      const state = restoreState(snapshot.state, options);
      return { ...(await replay(log, cluster, state, head)), snapshot: snapshot.position };
    } catch (error) {
      // Losing a snapshot is harmless; only the log itself is the truth, and the replay below tells whether
      // it is sound.
      if (error instanceof LogError && error.code !== 'CORRUPT') throw error;
      options.logger.warn(`the snapshot of '${cluster}' at ${snapshot.position} is left out`, { error });
    }
  }
  const state = emptyState(cluster, options);
  return { ...(await replay(log, cluster, state, emptyHead(cluster))), snapshot: 0 };
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
