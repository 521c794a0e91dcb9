import type { Input } from '../inputs.js';
import type { Host, State } from '../state.js';

/** So many stale reports in a row, each later than the one before, are an agent that was restarted (HOST-9). */
export const RESTARTED_AFTER = 3;

type Report = Input<'HostReported' | 'HostSeen'>;
export type ReportOrder = 'same-boot' | 'new-boot' | 'stale';

/** Stale reports of one host since the last one that was taken. */
export interface StaleRow {
  /** Whose reports are counted: those that may be of a restarted agent. */
  readonly bootId: string;
  /** Of the last one that was counted. */
  readonly seq: number;
  readonly count: number;
}

/** The last report of a host that was taken, a sign of life included. */
export interface LastReport {
  readonly bootId: string;
  readonly seq: number;
  /** When its sender says it was, never later than JetStream's time; in milliseconds. */
  readonly said: number;
  /** When JetStream stored it, in milliseconds. */
  readonly at: number;
}

/** What the leader heard itself; after a take-over, until it hears the host, what the log says. */
export function lastReportOf(state: State, host: Host): LastReport {
  const heard = state.observed.heard.get(host.id);
  return heard?.bootId === host.bootId
    ? { bootId: heard.bootId, seq: heard.seq, said: heard.said, at: heard.reportedAt }
    : { bootId: host.bootId, seq: host.seq, said: host.saidAt, at: host.reportedAt };
}

/** A sender's clock is a claim: one that is ahead counts as JetStream's. */
export const saidAt = (input: Pick<Input, 'saidAt' | 'time'>): number =>
  input.saidAt === undefined ? input.time : Math.min(input.saidAt, input.time);

/** When a host booted, in milliseconds: one that says that it did in the future booted now, at the latest. */
export const bootTime = (bootedAt: string | undefined, now: number): number | undefined =>
  bootedAt === undefined ? undefined : Math.min(Date.parse(bootedAt), now);

/**
 * HOST-9: whether a report is news: of the boot that is known and later than the last, of a new boot, or
 * `stale`. A boot is new when it was not seen before and, where both say when they booted, did not boot earlier.
 *
 * What would be stale for ever, because a number or a clock was wrong once, is taken when it comes the third time
 * in a row. Only a whole report is: a sign of life says nothing of what the reports before it said.
 */
export function reportOrder(state: State, host: Host, input: Report): ReportOrder {
  const { bootId } = input.data;
  const order = plainOrder(state, host, input);
  if (order !== 'stale' || input.type === 'HostSeen') return order;
  const row = countedRow(state, host, input);
  if (row === undefined || row.count < RESTARTED_AFTER) return 'stale';
  return bootId === host.bootId ? 'same-boot' : 'new-boot';
}

function plainOrder(state: State, host: Host, { data, time }: Report): ReportOrder {
  if (data.bootId === host.bootId) return data.seq > lastReportOf(state, host).seq ? 'same-boot' : 'stale';
  if (host.earlierBoots.includes(data.bootId)) return 'stale';
  const booted = 'bootedAt' in data ? bootTime(data.bootedAt, time) : undefined;
  return booted !== undefined && host.bootedAt !== undefined && booted < host.bootedAt ? 'stale' : 'new-boot';
}

/** The row of stale reports of a host after this one. */
export function staleRow(state: State, host: Host, input: Report): StaleRow {
  const { bootId, seq } = input.data;
  return countedRow(state, host, input) ?? state.observed.rows.get(host.id) ?? { bootId, seq, count: 0 };
}

/**
 * The row with this report counted in. Undefined for one that does not count, and is in no way of those that do:
 * a message of old, which was sent before the last report that was taken, and a word of a boot that is surely over.
 */
function countedRow(state: State, host: Host, input: Report): StaleRow | undefined {
  const { bootId, seq } = input.data;
  if (host.earlierBoots.includes(bootId) || saidAt(input) <= lastReportOf(state, host).said) return undefined;
  const row = state.observed.rows.get(host.id);
  const goesOn = row !== undefined && row.bootId === bootId && seq > row.seq;
  return { bootId, seq, count: goesOn ? row.count + 1 : 1 };
}
