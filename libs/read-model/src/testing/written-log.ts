import { DECIDER_VERSION, emptyState, EVENT_SCHEMA, step, type Input, type PlacedEvent } from '#domain';
import { canonicalJson, emptyHead, sealRecord, type EventLog, type StoredRecord } from '#log';
import { INPUT_CATALOG, inputSubject, isReadable, readInput } from '#wire';
import { recall } from '../../../domain/src/decide.js';
import { World, type History } from '../../../domain/src/testing/world.js';

/** A history that was decided and written, with what it led to. */
export interface Written {
  readonly cluster: string;
  readonly events: readonly PlacedEvent[];
  readonly inputs: readonly Input[];
  /** The inputs that took effect once, each with what it led to, which may be nothing. */
  readonly decisions: readonly { readonly input: Input; readonly events: readonly PlacedEvent[] }[];
}

/** Plays a history through the real decider, and appends what it decides, as a leader does. */
export async function writeHistory(log: EventLog, cluster: string, history: History): Promise<Written> {
  const world = new World(history.shape);
  return write(log, cluster, (take) => {
    for (const input of world.opening()) world.hear(take(input));
    for (const move of history.moves) world.hear(take(world.next(move)));
  });
}

/** The same of inputs that are known beforehand. */
export async function writeInputs(
  log: EventLog,
  cluster: string,
  inputs: readonly Input[],
  /** What is written in the place of an event, by whoever wants to deceive. */
  forge: (event: PlacedEvent) => PlacedEvent = (event) => event,
): Promise<Written> {
  return write(log, cluster, (take) => inputs.forEach(take), forge);
}

async function write(
  log: EventLog,
  cluster: string,
  tell: (take: (input: Input) => readonly PlacedEvent[]) => void,
  forge: (event: PlacedEvent) => PlacedEvent = (event) => event,
): Promise<Written> {
  const state = emptyState(cluster);
  const events: PlacedEvent[] = [];
  const inputs: Input[] = [];
  let head = emptyHead(cluster);
  const sealed: StoredRecord[][] = [];
  const decisions: { input: Input; events: readonly PlacedEvent[] }[] = [];
  tell((made) => {
    const read = readMade(cluster, made);
    // Nobody decides what cannot be read.
    if (!isReadable(read)) return [];
    const { input } = read;
    inputs.push(input);
    if (recall(state, input) !== 'new') return [];
    const decided = step(state, input, { stream: 's', sequence: inputs.length });
    events.push(...decided);
    decisions.push({ input, events: decided });
    if (decided.length === 0) return decided;
    const records = sealEvents(head, input, decided.map(forge), read.text);
    head = records.at(-1) as StoredRecord;
    sealed.push(records);
    return decided;
  });
  if (sealed.length > 0) await log.append(cluster, 0, sealed);
  return { cluster, events, inputs, decisions };
}

/** An input as it comes over the wire. */
function readMade(cluster: string, { id, type, data, time }: Input): ReturnType<typeof readInput> {
  const { kind, idField } = INPUT_CATALOG[type];
  const about = idField === undefined ? cluster : (data as unknown as Record<string, string>)[idField];
  const subject = inputSubject(cluster, kind, about ?? '', type);
  const payload = Buffer.from(writeInput({ id: `${cluster}:${id}`, type, data }));
  return readInput({ subject, payload, time });
}

/** As a publisher writes it; ids are unique for the site. */
const writeInput = ({ id, type, data }: Pick<Input, 'id' | 'type' | 'data'>): string =>
  JSON.stringify({ specversion: '1.0', id, source: '/test', type, time: '2026-01-01T00:00:00Z', data });

/** The records of a decision behind a head. */
export function sealEvents(
  head: { readonly position: number; readonly hash: string },
  input: Pick<Input, 'id' | 'type' | 'data'>,
  events: readonly Omit<PlacedEvent, 'data'>[],
  text = writeInput(input),
): StoredRecord[] {
  const records: StoredRecord[] = [];
  let last = head;
  for (const [index, event] of events.entries()) {
    const body = canonicalJson({
      cause: event.cause,
      correlationId: input.id,
      data: (event as PlacedEvent).data,
      decider: DECIDER_VERSION,
      position: event.position,
      schema: EVENT_SCHEMA,
      time: new Date(event.at).toISOString(),
      type: event.type,
    });
    const record = sealRecord(last, body, index === 0 ? text : undefined);
    records.push(record);
    last = record;
  }
  return records;
}
