import { hash53 } from '#domain';
import { Pace, type EventBody, type StoredRecord } from '#log';
import { decisionAt, EVENT_TYPES, recordAt, recordsAt, type At } from '#read-model';
import { INPUT_CATALOG, inputSubject, isInputType, isPosition, isReadable, readInput } from '#wire';
import { messageOf } from '#pipeline';
import type { ApiParts } from './api-parts.js';
import { causesOf } from './causes.js';
import { readCursor, writeCursor } from './cursor.js';
import { millisOf, momentOf } from './freshness.js';
import type { Asked } from './asked.js';
import type { HistoryQuery } from './query.dto.js';
import { QueryError } from './query-errors.js';

/** So many records are read and written for a history before decisions have a turn. */
const SLICE = 25;
/** A page ends with the event that makes it this long, in characters: it is one text, and sent as one. */
const LONGEST_PAGE = 8 * 1024 * 1024;

/** A record as the CloudEvent that went out: its text. */
const eventText = (cluster: string, record: StoredRecord): string =>
  messageOf(cluster, record).payload as string;

/** The answer of a question to the tables, read. */
export async function askTables<T>(
  { readModel }: ApiParts,
  cluster: string,
  name: string,
  request: object,
  at?: At,
): Promise<T & { readonly position: number }> {
  const { position, fields } = await readModel.ask({ cluster, name, request, at });
  return { position, ...(JSON.parse(`{${fields}}`) as T) };
}

interface Decision {
  readonly position: number;
  readonly records: readonly StoredRecord[];
  readonly body: EventBody;
}

/** The decision that an input led to; the last one, where an id that is forgotten was used again. */
async function decisionOf(
  parts: ApiParts,
  cluster: string,
  id: string,
): Promise<{ position: number; decision?: Decision }> {
  const { position, positions } = await askTables<{ positions: readonly number[] }>(
    parts,
    cluster,
    'decisions',
    {
      input: hash53(id),
    },
  );
  for (const first of positions) {
    const records = await decisionAt(parts.readModel.log, cluster, first);
    const [record] = records;
    if (record === undefined) continue;
    const body = JSON.parse(record.body) as EventBody;
    if (body.cause.id === id) return { position, decision: { position: first, records, body } };
  }
  return { position };
}

/** @throws QueryError `UNAVAILABLE`: without `VF_DEAD` nobody knows whether the input is one that was not taken. */
async function deadLetter(
  { broker }: ApiParts,
  cluster: string,
  id: string,
): Promise<{ reason: string } | undefined> {
  try {
    return await broker.dead.find(cluster, id);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new QueryError(
      'UNAVAILABLE',
      `'${id}' is not in the log of cluster '${cluster}', and VF_DEAD cannot be looked through now: ${why}`,
    );
  }
}

/**
 * EX-6: what a request led to: the last event of its decision, or its place in `VF_DEAD`; with the digest of
 * the input, by which whoever used the id for something else notices.
 */
export async function outcome({ parts, cluster, request }: Asked): Promise<string> {
  const id = request['id'] as string;
  const { position, decision } = await decisionOf(parts, cluster, id);
  if (decision === undefined) {
    const dead = await deadLetter(parts, cluster, id);
    return JSON.stringify({ position: String(position), ...(dead && { dead: { reason: dead.reason } }) });
  }
  const last = eventText(cluster, decision.records.at(-1) as StoredRecord);
  return `{"position":"${position}","outcome":${last},"digest":"${decision.body.cause.digest}"}`;
}

/** Why a request led to what it led to: what is stored, and the same decided again. */
export async function explain({ parts, cluster, request }: Asked): Promise<string> {
  const id = request['id'] as string;
  const { position, decision } = await decisionOf(parts, cluster, id);
  if (decision === undefined) {
    const dead = await deadLetter(parts, cluster, id);
    if (dead !== undefined)
      return JSON.stringify({ position: String(position), id, dead: { reason: dead.reason } });
    throw new QueryError(
      'NOT_FOUND',
      `cluster '${cluster}' has taken no input with the id '${id}', or it left no event`,
    );
  }
  const bodies = decision.records.map(({ body }) => JSON.parse(body) as EventBody<string, Refused>);
  const last = bodies.at(-1) as EventBody<string, Refused>;
  const events = decision.records.map((record) => eventText(cluster, record));
  const { input } = decision.records[0] as StoredRecord;
  const facts = {
    id,
    decided: {
      position: String(decision.position),
      time: decision.body.time,
      decider: decision.body.decider,
    },
    ...(last.data.reason === undefined ? undefined : { reason: last.data.reason }),
    ...(last.data.message === undefined ? undefined : { message: last.data.message }),
    again: await again(parts, cluster, decision, bodies),
    because: await causesOf(parts, cluster, decision.records[0] as StoredRecord),
  };
  return (
    `{"position":"${position}",${JSON.stringify(facts).slice(1, -1)},"input":${input ?? 'null'},` +
    `"events":[${events.join(',')}],"outcome":${events.at(-1)}}`
  );
}

interface Refused {
  readonly reason?: string;
  readonly message?: string;
}

async function again(
  parts: ApiParts,
  cluster: string,
  { position, records, body }: Decision,
  bodies: readonly EventBody[],
): Promise<object> {
  const text = (records[0] as StoredRecord).input;
  const event =
    text === undefined ? undefined : (JSON.parse(text) as { type: string; data: Record<string, string> });
  if (text === undefined || event === undefined || !isInputType(event.type)) {
    return {
      same: false,
      code: 'NO_INPUT',
      message: 'its input is not in the log, so it cannot be decided again',
    };
  }
  const { kind, idField } = INPUT_CATALOG[event.type];
  const about = idField === undefined ? cluster : (event.data[idField] ?? '');
  const read = readInput({
    subject: inputSubject(cluster, kind, about, event.type),
    payload: Buffer.from(text),
    time: Date.parse(body.time),
  });
  if (!isReadable(read)) {
    return {
      same: false,
      code: 'NOT_READABLE',
      message: `this version does not take the input: ${read.problem}`,
    };
  }
  if (read.input.digest !== body.cause.digest) {
    return {
      same: false,
      code: 'INPUT_DIFFERS',
      message: 'the stored input is not the one that was decided',
    };
  }
  const events = bodies.map(({ type, data }) => ({ type, data }));
  const { fields } = await parts.readModel.withState(cluster, position - 1, (state) =>
    state.imagine('again', { input: read.input, decider: body.decider, events }),
  );
  const result = JSON.parse(`{${fields}}`) as { code?: string; message?: string };
  if (result.code === 'DECISION_DIFFERS') {
    parts.logger.error(`cluster '${cluster}', input ${body.cause.id}: ${result.message}`, {
      code: result.code,
      position,
    });
  }
  return result;
}

/** The events about something, as they went out; ascending. */
export async function history({ parts, cluster, request }: Asked): Promise<string> {
  const { cursor, limit = 100, atLeast: _, ...asked } = request as Partial<HistoryQuery>;
  const { from, to, causes, ...filters } = asked;
  const question = { name: 'history', cluster, filters: asked };
  const place = cursor === undefined ? undefined : readCursor(question, cursor);
  const begin = from === undefined ? undefined : momentOf(from);
  const end = to === undefined ? undefined : momentOf(to);
  refuseBackwards(from, to);
  refuseUnknownTypes(filters.types);
  const { position, positions } = await askTables<{ positions: readonly (readonly [number, number])[] }>(
    parts,
    cluster,
    'history',
    {
      ...filters,
      first: Math.max(
        1,
        begin !== undefined && 'position' in begin ? begin.position : 1,
        Number(place?.after ?? 0) + 1,
      ),
      last: end !== undefined && 'position' in end ? end.position : Number.MAX_SAFE_INTEGER,
      // The first event that was decided at that time or after it.
      ...(begin !== undefined && 'time' in begin
        ? { fromTime: Math.ceil(millisOf(from as string)) }
        : undefined),
      ...(end !== undefined && 'time' in end ? { toTime: end.time } : undefined),
      limit,
    },
    // A list that goes on is about the time when it began.
    place === undefined ? undefined : { position: place.position },
  );
  const wanted = positions.slice(0, limit);
  const records: StoredRecord[] = [];
  const events: string[] = [];
  const pace = new Pace();
  let length = 0;
  for (let index = 0; index < wanted.length && length < LONGEST_PAGE; index += SLICE) {
    const places = wanted.slice(index, index + SLICE).map(([one]) => one);
    for (const record of await recordsAt(parts.readModel.log, cluster, places)) {
      if (length >= LONGEST_PAGE) break;
      const event = eventText(cluster, record);
      records.push(record);
      events.push(event);
      length += event.length;
      // The first report of a large host is as long as a hundred other events.
      await pace.rest();
    }
  }
  const shown = wanted.slice(0, records.length);
  const next =
    positions.length > shown.length
      ? `,"cursor":"${writeCursor(question, { position, after: String(shown.at(-1)?.[0]) })}"`
      : '';
  const chains = causes === true ? `,"causes":${await chainsOf(parts, cluster, records, shown)}` : '';
  return `{"position":"${position}","events":[${events.join(',')}]${chains}${next}}`;
}

/** Positions and times cannot be compared with one another: a range of both is what it is. */
function refuseBackwards(from: string | undefined, to: string | undefined): void {
  if (from === undefined || to === undefined || isPosition(from) !== isPosition(to)) return;
  const order = isPosition(from) ? Number : millisOf;
  if (order(from) > order(to)) throw new QueryError('BAD_REQUEST', `from (${from}) is after to (${to})`);
}

/** A type that is misspelt would find nothing, and say nothing. */
function refuseUnknownTypes(types: readonly string[] = []): void {
  const unknown = types.filter((type) => !EVENT_TYPES.has(type));
  if (unknown.length === 0) return;
  const near = [...EVENT_TYPES].find((type) =>
    unknown.some((one) => one.toLowerCase() === type.toLowerCase()),
  );
  const inputs = unknown.every(isInputType)
    ? ': it is what is asked for, and the log has what was decided'
    : '';
  throw new QueryError(
    'BAD_REQUEST',
    `types: there is no event ${unknown.join(', ')}${near === undefined ? inputs : `; is ${near} meant?`}`,
  );
}

/** The causes of events, by their ids. */
async function chainsOf(
  parts: ApiParts,
  cluster: string,
  records: readonly StoredRecord[],
  places: readonly (readonly [number, number])[],
): Promise<string> {
  const byDecision = new Map<number, Promise<readonly object[]>>();
  const chains: Record<string, readonly object[]> = {};
  const pace = new Pace();
  for (const [index, { id }] of records.entries()) {
    await pace.rest();
    const decision = (places[index] as readonly [number, number])[1];
    let chain = byDecision.get(decision);
    if (chain === undefined) {
      const first = await recordAt(parts.readModel.log, cluster, decision);
      chain = first === undefined ? Promise.resolve([]) : causesOf(parts, cluster, first);
      byDecision.set(decision, chain);
    }
    chains[id] = await chain;
  }
  return JSON.stringify(chains);
}
