/** The time between a release and the host's word that the VF is clean (SCRUB-1). */
export interface Scrub {
  readonly allocationId: string;
  readonly since: number;
  overdue: boolean;
}

/**
 * What is seldom true of a VF. Nearly all of the VFs of a large fleet have none of it: those share one object
 * ({@link NO_MARKS}), which saves a fifth of the state.
 */
export interface VfMarks {
  readonly scrub: Scrub | undefined;
  /** The allocation after which its scrub failed (SCRUB-2). */
  readonly quarantinedFor: string | undefined;
  /** While it is out for a scrub: its own MAC, which it had before the allocation, if it had one. */
  readonly macBefore: string | undefined;
  /** Held, or waiting for its scrub, and not in the host's last report (PF-14); or its PF is not in it. */
  readonly unseen: boolean;
  /** Not reported since its PF's driver was lost (PF-6). */
  readonly unknown: boolean;
  /** In use by somebody who does not hold it (HOST-7). */
  readonly stranger: boolean;
  /** Another device is in its IOMMU group, so that it cannot be passed to a guest alone (HOST-3). */
  readonly sharesGroup: boolean;
}

export const NO_MARKS: VfMarks = Object.freeze({
  scrub: undefined,
  quarantinedFor: undefined,
  macBefore: undefined,
  unseen: false,
  unknown: false,
  stranger: false,
  sharesGroup: false,
});

/** Changes what is marked on a VF. */
export function mark(vf: { marks: VfMarks }, changes: Partial<VfMarks>): void {
  vf.marks = marksWith(vf.marks, changes);
}

/** The marks with some changed: the shared ones, if that leaves none. */
export function marksWith(marks: VfMarks, changes: Partial<VfMarks>): VfMarks {
  const now = { ...marks, ...changes };
  const { scrub, quarantinedFor, unseen, unknown, stranger, sharesGroup } = now;
  const isOut = scrub !== undefined || quarantinedFor !== undefined;
  if (!isOut && !(unseen || unknown || stranger || sharesGroup)) return NO_MARKS;
  return isOut ? now : { ...now, macBefore: undefined };
}
