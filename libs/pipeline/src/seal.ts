import { DECIDER_VERSION, EVENT_SCHEMA, unknownVersion, type PlacedEvent } from '#domain';
import {
  canonicalJson,
  sealRecord,
  type EventBody,
  type Head,
  type SnapshotMark,
  type StoredRecord,
} from '#log';
import { writeEvent, type ReadInput } from '#wire';
import type { OutputMessage } from '#broker';
import { PipelineError } from './errors.js';

/** A decision on its way: its records for the log, and what goes out once they are durable. */
export interface SealedDecision {
  readonly records: readonly StoredRecord[];
  readonly messages: readonly OutputMessage[];
}

/**
 * Puts the events of one decision in their places in the hash chain, behind `head`.
 *
 * The body is put together from its parts, in the order of canonical JSON (RFC 8785), so that `data` is
 * written once for the log and for the wire.
 *
 * @param snapshot names the snapshot that was taken at `head`, in the first record.
 */
export function sealDecision(
  cluster: string,
  head: Head,
  read: Pick<ReadInput, 'correlationId' | 'traceparent' | 'text'>,
  events: readonly PlacedEvent[],
  snapshot?: SnapshotMark,
): { readonly sealed: SealedDecision; readonly head: Head } {
  const records: StoredRecord[] = [];
  const messages: OutputMessage[] = [];
  const { correlationId, traceparent } = read;
  const before = `,"correlationId":${JSON.stringify(correlationId)},"data":`;
  const trace = traceparent === undefined ? '' : `,"traceparent":${JSON.stringify(traceparent)}`;
  let mark = snapshot === undefined ? '' : `,"snapshot":${canonicalJson(snapshot)}`;
  let last = head;
  let cause = '';
  for (const event of events) {
    if (cause === '') cause = `{"cause":${canonicalJson(event.cause)}`;
    const data = canonicalJson(event.data);
    const time = new Date(event.at).toISOString();
    const body =
      `${cause}${before}${data},"decider":"${DECIDER_VERSION}","position":${event.position}` +
      `,"schema":${EVENT_SCHEMA}${mark},"time":"${time}"${trace},"type":"${event.type}"}`;
    mark = '';
    const record = sealRecord(last, body, records.length === 0 ? read.text : undefined);
    records.push(record);
    messages.push({
      position: record.position,
      id: record.id,
      ...writeEvent(
        cluster,
        {
          position: record.position,
          id: record.id,
          hash: record.hash,
          type: event.type,
          time,
          correlationId,
          traceparent,
          cause: event.cause,
          data: event.data,
        },
        data,
      ),
    });
    last = record;
  }
  return { sealed: { records, messages }, head: { position: last.position, hash: last.hash } };
}

/** A stored record as the message that goes out for it: the same bytes as when it was decided. */
export function messageOf(cluster: string, record: StoredRecord): OutputMessage {
  const body = JSON.parse(record.body) as EventBody<string, object>;
  const { id, hash, position } = record;
  return { position, id, ...writeEvent(cluster, { ...body, id, hash }, dataText(record.body, body)) };
}

/** The text of an event's data: cut out of a body that is canonical, because that of a large host takes long to write. */
function dataText(text: string, body: EventBody<string, object>): string {
  const { cause, correlationId, data, ...after } = body;
  const start = `{"cause":${canonicalJson(cause)},"correlationId":${JSON.stringify(correlationId)},"data":`;
  const end = `,${canonicalJson(after).slice(1)}`;
  return text.startsWith(start) && text.endsWith(end)
    ? text.slice(start.length, -end.length)
    : canonicalJson(data);
}

/** The time that was read last: the events of a decision share theirs. It changes no result. */
let lastTime = { text: '', millis: 0 };

/**
 * A stored record as evolve takes it.
 *
 * @throws PipelineError `UNKNOWN_VERSION` for one of a newer schema or decider, also where it could be taken in.
 */
export function placedEvent(record: StoredRecord): PlacedEvent {
  // To cut out what evolve needs, about half of it, takes as long as to parse all of it: measured.
  const { position, type, data, time, cause, schema, decider } = JSON.parse(record.body) as EventBody;
  const unknown = unknownVersion(record.position, type, schema, decider);
  if (unknown !== undefined) throw new PipelineError('UNKNOWN_VERSION', unknown);
  if (time !== lastTime.text) lastTime = { text: time, millis: Date.parse(time) };
  return { position, type, data, at: lastTime.millis, cause } as PlacedEvent;
}
