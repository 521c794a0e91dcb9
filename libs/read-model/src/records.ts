import type { EventLog, ReadOptions, StoredRecord } from '#log';

/** Batches that may be on their way to a thread at the same time. */
const WINDOW = 3;

/** Records as they are sent to a thread. */
export interface Batch {
  /** A JSON list. */
  readonly bodies: string;
  readonly hashes: string;
}

export const toBatch = (records: readonly StoredRecord[]): Batch => ({
  bodies: `[${records.map(({ body }) => body).join(',')}]`,
  hashes: records.map(({ hash }) => hash).join(''),
});

/** Sends batches without waiting for each answer; never more than a few at a time. */
export class Pump {
  private readonly sent: Promise<unknown>[] = [];

  constructor(private readonly send: (records: readonly StoredRecord[]) => Promise<unknown>) {}

  async take(records: readonly StoredRecord[]): Promise<void> {
    const answer = this.send(records);
    // Awaited below.
    answer.catch(() => undefined);
    this.sent.push(answer);
    if (this.sent.length >= WINDOW) await this.sent.shift();
  }

  async finish(): Promise<void> {
    for (const answer of this.sent.splice(0)) await answer;
  }
}

/** One record, or none where the log ends before. */
export async function recordAt(
  log: EventLog,
  cluster: string,
  position: number,
  options: ReadOptions = {},
): Promise<StoredRecord | undefined> {
  if (position < 1) return undefined;
  for await (const [record] of log.read(cluster, position, { ...options, most: 1 })) return record;
  return undefined;
}

/** The records at positions, in their order; neighbours are read together. */
export async function recordsAt(
  log: EventLog,
  cluster: string,
  positions: readonly number[],
): Promise<readonly StoredRecord[]> {
  const found: StoredRecord[] = [];
  for (let index = 0; index < positions.length;) {
    const first = positions[index] as number;
    let count = 1;
    while (positions[index + count] === first + count) count++;
    let missing = count;
    for await (const records of log.read(cluster, first, { inputs: false, most: count })) {
      const some = records.slice(0, missing);
      found.push(...some);
      missing -= some.length;
      if (missing === 0) break;
    }
    index += count;
  }
  return found;
}

/** The records of a decision, from its first. */
export async function decisionAt(
  log: EventLog,
  cluster: string,
  position: number,
  options: ReadOptions = {},
): Promise<readonly StoredRecord[]> {
  const decision: StoredRecord[] = [];
  let id: string | undefined;
  for await (const records of log.read(cluster, position, { ...options, most: 16 })) {
    for (const record of records) {
      const { cause } = JSON.parse(record.body) as { cause: { id: string } };
      id ??= cause.id;
      if (cause.id !== id) return decision;
      decision.push(record);
    }
  }
  return decision;
}
