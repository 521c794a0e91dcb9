import { checkLink, emptyHead, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { EventLog } from './event-log.js';

/** The result of checking a whole chain. */
export interface Verification {
  /** Number of records in the stream. */
  readonly events: number;
  readonly ok: boolean;
  /** The last position and hash of the good part. */
  readonly head: Head;
  /** The first position that does not fit, and why. */
  readonly firstBad?: { readonly position: number; readonly message: string };
}

/**
 * Checks the hash chain of a stream from its first record. Bytes that cannot be read at all end the check
 * there.
 */
export async function verifyStream(log: EventLog, stream: string): Promise<Verification> {
  let head = emptyHead(stream);
  let events = 0;
  let firstBad: Verification['firstBad'];
  try {
    for await (const records of log.read(stream, 1)) {
      events += records.length;
      if (firstBad !== undefined) continue;
      for (const record of records) {
        try {
          head = checkLink(stream, head, record);
        } catch (error) {
          firstBad = damage(error, head);
          break;
        }
      }
    }
  } catch (error) {
    firstBad ??= damage(error, head);
  }
  return firstBad === undefined ? { events, ok: true, head } : { events, ok: false, head, firstBad };
}

function damage(error: unknown, head: Head): NonNullable<Verification['firstBad']> {
  if (!(error instanceof LogError) || error.code !== 'CORRUPT') throw error;
  return { position: error.position ?? head.position + 1, message: error.message };
}
