import { overdueVms, showsUnused } from './host/unused.js';
import { lastReportOf, reportOrder, saidAt, staleRow } from './host/report-order.js';
import type { Input } from './inputs.js';
import type { State } from './state.js';

/**
 * Takes in what an input shows and the log does not keep: when a host was last heard, and how often in a row
 * an overdue VM was not in use. Call it after decide and before evolve. Losing it at a take-over only makes
 * the scheduler wait longer (HOST-5).
 */
export function observe(state: State, input: Input): void {
  const { heard, proofs, rows } = state.observed;
  if (input.type === 'Tick') {
    if (state.observed.watching) return;
    // After a take-over nobody is lost before one full timeout: who was not heard yet is heard now.
    state.observed.watching = true;
    for (const host of state.hosts.values()) {
      if (host.lostSince !== undefined || heard.has(host.id)) continue;
      const { at: reportedAt, ...last } = lastReportOf(state, host);
      heard.set(host.id, { ...last, reportedAt, at: input.time });
    }
    return;
  }
  if (input.type !== 'HostReported' && input.type !== 'HostSeen') return;
  const { hostId, bootId, seq } = input.data;
  const host = state.hosts.get(hostId);
  const now = { at: input.time, bootId, seq, said: saidAt(input), reportedAt: input.time };
  if (host === undefined) {
    if (input.type === 'HostSeen') return;
    if (state.fencedAway.get(hostId)?.earlierBoots.includes(bootId) === true) {
      rows.set(hostId, { bootId, seq, count: 0 });
      return;
    }
    rows.delete(hostId);
    heard.set(hostId, now);
    return;
  }
  const order = reportOrder(state, host, input);
  if (order === 'stale') rows.set(hostId, staleRow(state, host, input));
  if (order === 'stale' || (order === 'new-boot' && input.type === 'HostSeen')) return;
  rows.delete(hostId);
  // Taken out and put back: the map stays in order of time.
  heard.delete(hostId);
  heard.set(hostId, now);
  if (input.type === 'HostSeen') return;
  for (const vm of overdueVms(host)) {
    if (showsUnused(vm, input.data)) proofs.set(vm.id, (proofs.get(vm.id) ?? 0) + 1);
    else proofs.delete(vm.id);
  }
}

/** Forgets what was only observed: a state that is put aside for later must not believe what it once heard. */
export function forgetObserved({ observed }: State): void {
  observed.heard.clear();
  observed.rows.clear();
  observed.proofs.clear();
  observed.watching = false;
}
