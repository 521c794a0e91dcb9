import type { ClusterStatus } from '#pipeline';
import type { ReadStatus } from '#read-model';

/** What `GET /health/ready` makes of how things stand. */
export interface Readiness {
  /** `degraded`: some clusters are served, and some are not. */
  readonly status: 'ok' | 'degraded' | 'unavailable';
  /** Each cluster that is not served, and why. */
  readonly troubled: Readonly<Record<string, string>>;
  /** What keeps all of them from being served. */
  readonly trouble?: string;
}

/** How things stand. */
export interface Standing {
  /** The clusters that are asked for. */
  readonly clusters: ReadonlyMap<string, ClusterStatus>;
  readonly readSide: ReadonlyMap<string, ReadStatus>;
  /** What all clusters share and that fails: NATS, its streams, the disk. */
  readonly shared: readonly string[];
}

/** Whether there is something that can be served: a cluster's trouble is its own, what all share is everybody's. */
export function readiness({ clusters, readSide, shared }: Standing): Readiness {
  const troubled: Record<string, string> = {};
  for (const [name, status] of clusters) {
    const trouble = troubleOf(status) ?? stopped(readSide.get(name));
    if (trouble !== undefined) troubled[name] = trouble;
  }
  const count = Object.keys(troubled).length;
  if (shared.length > 0) return { status: 'unavailable', troubled, trouble: shared.join('; ') };
  if (count === clusters.size) return { status: 'unavailable', troubled };
  return { status: count === 0 ? 'ok' : 'degraded', troubled };
}

/** A read side that stands still has found something in the log that cannot be; one that is behind will come. */
function stopped(status: ReadStatus | undefined): string | undefined {
  return status?.state === 'stopped'
    ? `its read side stands still: ${status.message ?? 'no reason'}`
    : undefined;
}

/** Why a cluster is not served; undefined when it is. */
function troubleOf(status: ClusterStatus): string | undefined {
  switch (status.role) {
    case 'leader':
    case 'standby':
      return status.trouble;
    case 'opening':
      return 'it is being opened';
    case 'failed':
      return status.message;
  }
}
