import { chainHash, emptyHead, eventId, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { EventLog } from './event-log.js';
import type { StoredDecision, StoredRecord } from './record.js';

const loneSurrogate = /\p{Surrogate}/u;

/**
 * The records of an append in order, as every adapter takes them.
 *
 * @throws TypeError for a call that no log may accept, whatever stands in it: that is a bug of the caller.
 */
export function recordsOf(
  expectedPosition: number,
  decisions: readonly StoredDecision[],
): readonly StoredRecord[] {
  const records: StoredRecord[] = [];
  for (const decision of decisions) {
    if (decision.length === 0) throw new TypeError('a decision without events cannot be appended');
    for (const record of decision) {
      const position = expectedPosition + records.length + 1;
      if (record.position !== position) {
        throw new TypeError(`the record for position ${position} says position ${record.position}`);
      }
      if (record.id !== eventId(record.hash)) {
        throw new TypeError(
          `the id ${record.id} at position ${position} is not made from the hash ${record.hash}`,
        );
      }
      // A lone surrogate has no UTF-8 form: it would come back as another character than was hashed.
      if (
        loneSurrogate.test(record.body) ||
        (record.input !== undefined && loneSurrogate.test(record.input))
      ) {
        throw new TypeError(
          `the record at position ${position} has a lone surrogate, which cannot be stored as it is`,
        );
      }
      records.push(record);
    }
  }
  return records;
}

/**
 * What of an append is not in the log yet: all of it, what an earlier and equal call left out, or nothing.
 *
 * The first record to add must also link to the head as it is: a log restored from a backup can stand at the
 * expected position with another history.
 *
 * @param head of the stream now.
 * @param hashes of the stream's records, `from` and `to` inclusive.
 * @throws LogError `WRONG_POSITION`
 */
export function recordsToAdd(
  stream: string,
  head: Head,
  expectedPosition: number,
  records: readonly StoredRecord[],
  hashes: (from: number, to: number) => readonly string[],
): readonly StoredRecord[] {
  if (head.position < expectedPosition) throw LogError.wrongPosition(stream, expectedPosition, head.position);
  const overlap = Math.min(head.position - expectedPosition, records.length);
  if (overlap > 0) {
    const stored = hashes(expectedPosition + 1, expectedPosition + overlap);
    if (records.slice(0, overlap).some((record, index) => record.hash !== stored[index])) {
      throw LogError.wrongPosition(stream, expectedPosition, head.position);
    }
  }
  const missing = records.slice(overlap);
  const [first] = missing;
  if (first !== undefined && first.hash !== chainHash(head.hash, first.body, first.input)) {
    throw new LogError(
      'WRONG_POSITION',
      `the log of '${stream}' has another history up to position ${head.position} than these records were made on`,
      { position: head.position },
    );
  }
  return missing;
}

/** @throws RangeError when a read is asked for something that no log has: a bug of the caller. */
export function checkRead(from: number, verify: Head | undefined): void {
  if (!Number.isSafeInteger(from) || from < 1)
    throw new RangeError(`a log is read from position 1, not from ${from}`);
  if (verify !== undefined && verify.position !== from - 1) {
    throw new RangeError(
      `a read from ${from} is verified against position ${from - 1}, not ${verify.position}`,
    );
  }
}

/** Says how a log differs from the head that a read was to be verified against. */
export function otherHead(expected: Head, stored: string | undefined): string {
  return stored === undefined
    ? 'the record is missing'
    : `its hash is ${stored}, and was ${expected.hash} before`;
}

/** What any log shows of its beginning when it is read: the answer of {@link EventLog.incomplete}. */
export async function damageAtBeginning(
  log: Pick<EventLog, 'read'>,
  stream: string,
): Promise<string | undefined> {
  try {
    for await (const _ of log.read(stream, 1, { most: 1, inputs: false, verify: emptyHead(stream) })) break;
    return undefined;
  } catch (error) {
    if (error instanceof LogError && error.code === 'CORRUPT') return error.message;
    throw error;
  }
}
