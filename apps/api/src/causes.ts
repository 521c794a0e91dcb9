import { hash53 } from '#domain';
import type { EventBody, StoredRecord } from '#log';
import { recordAt } from '#read-model';
import type { ApiParts } from './api-parts.js';

/** A step of a chain of causes: an input, who sent it, and where its decision is in the log. */
export interface Cause {
  readonly position: string;
  readonly input: {
    readonly id: string;
    readonly type: string;
    readonly source: string;
    readonly time: string;
  };
  /** The event that asked for it: the order that a host's report answers. */
  readonly answers?: { readonly position: string; readonly type: string };
}

/** Which events an input answers, and about what it must agree with them. */
const ANSWERS: Readonly<
  Record<string, { types: readonly string[]; fields: readonly ('vmId' | 'hostId' | 'pf' | 'vf')[] }>
> = {
  PfVirtualized: { types: ['PfVirtualizationOrdered'], fields: ['hostId', 'pf'] },
  PfVirtualizationFailed: { types: ['PfVirtualizationOrdered'], fields: ['hostId', 'pf'] },
  PfRestored: { types: ['PfRestoreOrdered'], fields: ['hostId', 'pf'] },
  PfRestoreFailed: { types: ['PfRestoreOrdered'], fields: ['hostId', 'pf'] },
  VfScrubbed: { types: ['VfScrubRequested'], fields: ['hostId', 'vf'] },
  VmStarted: { types: ['VmStartAccepted'], fields: ['vmId'] },
  VmStartAborted: { types: ['VmStartAccepted'], fields: ['vmId'] },
};

const MOST_STEPS = 16;

interface StoredInput {
  readonly id: string;
  readonly type: string;
  readonly source: string;
  readonly time: string;
  readonly correlationid?: string;
  readonly data: Readonly<Record<string, string>>;
}

const inputOf = (record: StoredRecord): StoredInput | undefined =>
  record.input === undefined ? undefined : (JSON.parse(record.input) as StoredInput);

/**
 * Why a decision was made: the input it is about; the order which that input answers, and whose order that
 * was; the request that it is correlated with.
 *
 * @param first the first record of the decision, with its input.
 */
export async function causesOf(
  parts: ApiParts,
  cluster: string,
  first: StoredRecord,
): Promise<readonly Cause[]> {
  const chain: Cause[] = [];
  const seen = new Set<number>();
  let record: StoredRecord | undefined = first;
  while (record !== undefined && !seen.has(record.position) && chain.length < MOST_STEPS) {
    seen.add(record.position);
    const input = inputOf(record);
    if (input === undefined) break;
    const { id, type, source, time } = input;
    const order = await orderOf(parts, cluster, record.position, input);
    chain.push({
      position: String(record.position),
      input: { id, type, source, time },
      ...(order === undefined
        ? undefined
        : { answers: { position: String(order.position), type: order.type } }),
    });
    const next: number | undefined = order?.decision ?? (await correlated(parts, cluster, record, input));
    record = next === undefined ? undefined : await recordAt(parts.readModel.log, cluster, next);
  }
  return chain;
}

async function orderOf(
  parts: ApiParts,
  cluster: string,
  position: number,
  { type, data }: StoredInput,
): Promise<{ position: number; type: string; decision: number } | undefined> {
  const answers = Object.hasOwn(ANSWERS, type) ? ANSWERS[type] : undefined;
  if (answers === undefined) return undefined;
  const about = Object.fromEntries(answers.fields.map((field) => [field, data[field]]));
  const { fields } = await parts.readModel.ask({
    cluster,
    name: 'last-before',
    request: { types: answers.types, ...about },
    at: { position },
  });
  const { found, decision } = JSON.parse(`{${fields}}`) as { found: number | null; decision: number };
  if (found === null) return undefined;
  const record = await recordAt(parts.readModel.log, cluster, found, { inputs: false });
  if (record === undefined) return undefined;
  return { position: found, type: (JSON.parse(record.body) as EventBody).type, decision };
}

/** Where the request was decided that an input is correlated with. */
async function correlated(
  parts: ApiParts,
  cluster: string,
  record: StoredRecord,
  input: StoredInput,
): Promise<number | undefined> {
  const { correlationid } = input;
  if (correlationid === undefined || correlationid === input.id) return undefined;
  const { fields } = await parts.readModel.ask({
    cluster,
    name: 'decisions',
    request: { input: hash53(correlationid) },
    at: { position: record.position - 1 },
  });
  const { positions } = JSON.parse(`{${fields}}`) as { positions: readonly number[] };
  for (const position of positions) {
    const found = await recordAt(parts.readModel.log, cluster, position);
    if (found !== undefined && inputOf(found)?.id === correlationid) return position;
  }
  return undefined;
}
