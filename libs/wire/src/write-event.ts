import type { EventType } from '#domain';
import { outputSubject, type SubjectKind } from './subjects.js';

/** What an event is about, as the subject it goes out under. */
export interface EventSubject {
  readonly kind: SubjectKind;
  readonly id: string;
}

/**
 * Work for a host, and what is about its devices, goes out under the host, so that an agent reads only its
 * own.
 */
const UNDER_HOST: ReadonlySet<string> = new Set<EventType>([
  'PfVirtualizationOrdered',
  'PfRestoreOrdered',
  'VfScrubRequested',
  'VfScrubbed',
  'VfQuarantined',
  'ScrubOverdue',
  'DriftDetected',
  'DriftResolved',
  'AllocationReleaseDone',
  'AllocationReleaseRejected',
]);

interface Ids {
  readonly vmId?: string;
  readonly hostId?: string;
  readonly l2Id?: string;
  readonly l3Id?: string;
  readonly id?: string;
}

/** The subject of an event, from its type and the ids in its data. */
export function subjectOf(cluster: string, type: string, data: object): EventSubject {
  const ids = data as Ids;
  if (ids.vmId !== undefined && !UNDER_HOST.has(type)) return { kind: 'vm', id: ids.vmId };
  if (ids.hostId !== undefined) return { kind: 'host', id: ids.hostId };
  // An L3 network names its L2 network too.
  const network = ids.l3Id ?? ids.l2Id ?? ids.id;
  return network === undefined ? { kind: 'cluster', id: cluster } : { kind: 'network', id: network };
}

/** A record of the log, parsed: what goes out of it. */
export interface RelayedRecord {
  readonly position: number;
  readonly id: string;
  readonly hash: string;
  readonly type: string;
  readonly time: string;
  readonly correlationId: string;
  readonly traceparent?: string;
  readonly cause: { readonly id: string };
  readonly data: object;
}

/**
 * A record as the CloudEvent that `VF_OUT_<cluster>` carries, and its NATS subject.
 *
 * @param dataText the JSON text of `record.data`, where it is at hand already.
 */
export function writeEvent(
  cluster: string,
  record: RelayedRecord,
  dataText = JSON.stringify(record.data),
): { readonly subject: string; readonly payload: string } {
  const about = subjectOf(cluster, record.type, record.data);
  const attributes = JSON.stringify({
    specversion: '1.0',
    id: record.id,
    source: `/vf-scheduler/${cluster}`,
    type: record.type,
    time: record.time,
    subject: `${about.kind}/${about.id}`,
    datacontenttype: 'application/json',
    correlationid: record.correlationId,
    causationid: record.cause.id,
    position: String(record.position),
    hash: record.hash,
    traceparent: record.traceparent,
  });
  return {
    subject: outputSubject(cluster, about.kind, about.id, record.type),
    payload: `${attributes.slice(0, -1)},"data":${dataText}}`,
  };
}
