import type { ClusterStatus } from '#pipeline';

/** What `GET /health/ready` makes of how things stand. */
export interface Readiness {
  /** `degraded`: some clusters are served, and some are not. */
  readonly status: 'ok' | 'degraded' | 'unavailable';
  /** Each cluster that is not served, and why. */
  readonly troubled: Readonly<Record<string, string>>;
}

/**
 * Whether there is something that can be served: a cluster's trouble is its own, what all share is everybody's.
 *
 * @param connected whether NATS is there.
 * @param cluster only that one is asked for; it is among `clusters`.
 */
export function readiness(
  clusters: ReadonlyMap<string, ClusterStatus>,
  connected: boolean,
  cluster?: string,
): Readiness {
  const asked = [...clusters].filter(([name]) => cluster === undefined || name === cluster);
  const troubled: Record<string, string> = {};
  for (const [name, status] of asked) {
    const trouble = troubleOf(status);
    if (trouble !== undefined) troubled[name] = trouble;
  }
  const count = Object.keys(troubled).length;
  if (!connected || count === asked.length) return { status: 'unavailable', troubled };
  return { status: count === 0 ? 'ok' : 'degraded', troubled };
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
