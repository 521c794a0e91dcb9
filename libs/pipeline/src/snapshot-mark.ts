import { hash } from 'node:crypto';
import type { EventBody, Snapshot, SnapshotMark, StoredRecord } from '#log';

/** What names a snapshot in the record that comes right behind it. */
export function markOf({ state, version }: Pick<Snapshot, 'state' | 'version'>): SnapshotMark {
  return { digest: hash('sha256', state), version };
}

/**
 * Whether the record right behind a snapshot's position names just this one. The record must be known to be a link of the
 * chain.
 */
export function isNamedBy(snapshot: Snapshot, record: StoredRecord | undefined): boolean {
  if (record?.position !== snapshot.position + 1) return false;
  const named = (JSON.parse(record.body) as EventBody).snapshot;
  if (named === undefined || named === null) return false;
  const { digest, version } = markOf(snapshot);
  return named.digest === digest && named.version === version;
}
