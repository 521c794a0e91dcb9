import type { EventLog } from '#log';

/**
 * What others have put where a cluster's log is kept, as health and `verify` say it: how many messages, and in a
 * sentence the last of them. No field, where there is none.
 */
export function passedOverOf(
  log: EventLog,
  cluster: string,
): {
  readonly passedOver?: {
    readonly count: number;
    readonly sequences: readonly number[];
    readonly last: string;
  };
} {
  const found = log.passedOver?.(cluster);
  const last = found?.last.at(-1);
  if (found === undefined || last === undefined) return {};
  const sequences = found.last.map(({ sequence }) => sequence);
  return { passedOver: { count: found.count, sequences, last: last.message } };
}
