import { DECIDER_VERSION, emptyState, EVENT_SCHEMA, step, type Input, type PlacedEvent } from '#domain';
import { canonicalJson, emptyHead, sealRecord, type EventLog, type StoredRecord } from '#log';
import { recall } from '../../../domain/src/decide.js';
import { World, type History } from '../../../domain/src/testing/world.js';

/** A history that was decided and written, with what it led to. */
export interface Written {
  readonly cluster: string;
  readonly events: readonly PlacedEvent[];
  readonly inputs: readonly Input[];
}

/** Plays a history through the real decider, and appends what it decides, as a leader does. */
export async function writeHistory(log: EventLog, cluster: string, history: History): Promise<Written> {
  const world = new World(history.shape);
  const state = emptyState(cluster);
  const events: PlacedEvent[] = [];
  const inputs: Input[] = [];
  let head = emptyHead(cluster);
  const decisions: StoredRecord[][] = [];
  const take = (made: Input): void => {
    // Ids are unique for the site.
    const input = { ...made, id: `${cluster}:${made.id}` } as Input;
    inputs.push(input);
    if (recall(state, input) !== 'new') return;
    const decided = step(state, input, { stream: 's', sequence: inputs.length });
    world.hear(decided);
    events.push(...decided);
    if (decided.length === 0) return;
    const records = sealEvents(head, input, decided);
    head = records.at(-1) as StoredRecord;
    decisions.push(records);
  };
  for (const input of world.opening()) take(input);
  for (const move of history.moves) take(world.next(move));
  if (decisions.length > 0) await log.append(cluster, 0, decisions);
  return { cluster, events, inputs };
}

/** The records of a decision behind a head. */
export function sealEvents(
  head: { readonly position: number; readonly hash: string },
  { id, type, data }: Pick<Input, 'id' | 'type' | 'data'>,
  events: readonly Omit<PlacedEvent, 'data'>[],
): StoredRecord[] {
  const records: StoredRecord[] = [];
  let last = head;
  for (const [index, event] of events.entries()) {
    const body = canonicalJson({
      cause: event.cause,
      correlationId: id,
      data: (event as PlacedEvent).data,
      decider: DECIDER_VERSION,
      position: event.position,
      schema: EVENT_SCHEMA,
      time: new Date(event.at).toISOString(),
      type: event.type,
    });
    const text = JSON.stringify({
      specversion: '1.0',
      id,
      source: '/test',
      type,
      time: '2026-01-01T00:00:00Z',
      data,
    });
    const record = sealRecord(last, body, index === 0 ? text : undefined);
    records.push(record);
    last = record;
  }
  return records;
}
