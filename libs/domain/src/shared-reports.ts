import type { VfReport } from './inputs.js';

/** More than the VFs of a host, so that hosts which are alike find each other's. */
const SLOTS = 4096;
const seen: (VfReport | undefined)[] = Array.from({ length: SLOTS }, () => undefined);

/**
 * The same report, or one that says the same and is kept already. The hosts of a fleet are much alike: a
 * VF that nobody uses is reported with the same address, index and group on each. What they say is then in
 * memory once. Only a memory, of a fixed size: it changes no result.
 */
export function sharedReport(report: VfReport): VfReport {
  const slot = slotOf(report.pciAddress);
  const known = seen[slot];
  if (known !== undefined && saysTheSame(known, report)) return known;
  seen[slot] = report;
  return report;
}

function slotOf(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (hash * 31 + text.charCodeAt(index)) | 0;
  return (hash ^ (hash >>> 12)) & (SLOTS - 1);
}

function saysTheSame(one: VfReport, other: VfReport): boolean {
  const fields = Object.keys(one) as (keyof VfReport)[];
  return (
    fields.length === Object.keys(other).length &&
    fields.every((field) => Object.hasOwn(other, field) && one[field] === other[field])
  );
}
