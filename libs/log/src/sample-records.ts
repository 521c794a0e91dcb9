import { canonicalJson } from './canonical-json.js';
import { sealRecord, type Head } from './chain.js';
import type { StoredDecision, StoredRecord } from './record.js';

/** How the decisions of a test look. */
export interface SampleOptions {
  readonly decisions?: number;
  /** Events of each decision. */
  readonly events?: number;
  /** Goes into the data of each event: other content means other records. */
  readonly data?: unknown;
  /** The input of each decision as it was read; by default it holds `data`. */
  readonly input?: string;
}

/** Decisions for tests, sealed behind `head`: the same arguments give the same bytes. */
export function sampleDecisions(head: Head, options: SampleOptions = {}): StoredDecision[] {
  const { decisions = 1, events = 1, data = 'sample' } = options;
  let previous = head;
  return Array.from({ length: decisions }, (_unused, index) => {
    const id = `input-${head.position}-${index}`;
    const input =
      options.input ?? JSON.stringify({ specversion: '1.0', id, type: 'vf.sample', data }, null, 1);
    return Array.from({ length: events }, (_none, event) => {
      const position = previous.position + 1;
      const body = canonicalJson({
        position,
        type: 'Sampled',
        schema: 1,
        time: new Date(Date.UTC(2026, 0, 1) + position).toISOString(),
        data: { event, sample: data },
        correlationId: `correlation-${index}`,
        cause: { stream: '2026-01-01T00:00:00Z', sequence: position, id, digest: '0123456789abcdef' },
        decider: '1.0.0',
      });
      const record = sealRecord(previous, body, event === 0 ? input : undefined);
      previous = { position: record.position, hash: record.hash };
      return record;
    });
  });
}

/** The head behind some decisions. */
export function headAfter(head: Head, decisions: readonly StoredDecision[]): Head {
  const last = decisions.at(-1)?.at(-1);
  return last === undefined ? head : { position: last.position, hash: last.hash };
}

/** Everything of a read in one array. */
export async function collect(chunks: AsyncIterable<readonly StoredRecord[]>): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  for await (const chunk of chunks) records.push(...chunk);
  return records;
}
