import { LogError, type EventLog, type Head } from '#log';
import { recordAt } from '#read-model';

/** The first thing that is not as it was written, for a person. */
export interface Bad {
  readonly position: number;
  readonly message: string;
}

/** What came of a comparison. */
export interface Found {
  /** Up to where both tell the same; undefined where there was nothing to compare with. */
  readonly position?: string;
  readonly bad?: Bad;
}

/**
 * Compares the log with what somebody else knows of it.
 *
 * @param end the end of the log that was checked; it may have grown since.
 * @param position where `who` has the given hash.
 * @throws LogError when the log cannot be read now.
 */
export async function sameHistory(
  log: EventLog,
  cluster: string,
  end: Head,
  position: number,
  hash: string | undefined,
  who: string,
): Promise<Found> {
  if (position === 0) return {};
  let record: Awaited<ReturnType<typeof recordAt>>;
  try {
    record = await recordAt(log, cluster, position, { inputs: false });
  } catch (error) {
    // Damage is said by who checks the chain.
    if (!(error instanceof LogError) || error.code !== 'CORRUPT') throw error;
  }
  if (record === undefined) {
    const message = `${who} goes up to position ${position}, and the log ends at ${end.position}`;
    return { bad: { position: end.position + 1, message } };
  }
  if (record.hash !== hash) {
    return {
      bad: { position, message: `${who} and the log tell different histories: ${hash} and ${record.hash}` },
    };
  }
  return { position: String(position) };
}
