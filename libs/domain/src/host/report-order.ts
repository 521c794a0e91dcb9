import type { HostReported, HostSeen } from '../inputs.js';
import type { Host, State } from '../state.js';

/**
 * HOST-9: whether a report is news: of the boot that is known and later than the last, of a new boot, or
 * `stale`. A boot is new when it was not seen before and, where both say when they booted, booted later.
 */
export function reportOrder(
  state: State,
  host: Host,
  report: Pick<HostReported, 'bootId' | 'seq' | 'bootedAt'> | HostSeen,
): 'same-boot' | 'new-boot' | 'stale' {
  if (report.bootId === host.bootId) {
    const heard = state.observed.heard.get(host.id);
    const last = heard?.bootId === host.bootId ? Math.max(heard.seq, host.seq) : host.seq;
    return report.seq > last ? 'same-boot' : 'stale';
  }
  if (host.earlierBoots.includes(report.bootId)) return 'stale';
  const bootedAt =
    'bootedAt' in report && report.bootedAt !== undefined ? Date.parse(report.bootedAt) : undefined;
  return bootedAt !== undefined && host.bootedAt !== undefined && bootedAt < host.bootedAt
    ? 'stale'
    : 'new-boot';
}
