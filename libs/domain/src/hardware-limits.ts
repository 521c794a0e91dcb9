import type { Vf } from './state.js';

/** A known limit of a kind of hardware (PF-12): data, not code. */
export interface HardwareLimit {
  /** Part of the PF's model or driver by which it is recognised, lower case. */
  readonly match: string;
  /** What a person should know when such a PF is split. */
  readonly onSplit?: string;
  /**
   * Guest systems with which its VFs are unreliable, as parts of `guestOs` in lower case, and what to say
   * then.
   */
  readonly guests?: { readonly match: readonly string[]; readonly warning: string };
}

export const HARDWARE_LIMITS: readonly HardwareLimit[] = [
  {
    match: 'bcm57810',
    onSplit:
      'BCM57810 (bnx2x) does not keep its VFs over a reboot by udev: the host is told to split it again',
    guests: { match: ['windows'], warning: 'VFs of BCM57810 (bnx2x) are unreliable with Windows guests' },
  },
  {
    match: 'bnx2x',
    onSplit:
      'BCM57810 (bnx2x) does not keep its VFs over a reboot by udev: the host is told to split it again',
    guests: { match: ['windows'], warning: 'VFs of BCM57810 (bnx2x) are unreliable with Windows guests' },
  },
];

const limitsOf = (report: {
  readonly model?: string;
  readonly driver?: string;
}): HardwareLimit | undefined => {
  const text = `${report.model ?? ''} ${report.driver ?? ''}`.toLowerCase();
  return HARDWARE_LIMITS.find((limit) => text.includes(limit.match));
};

/** What to say when such a PF is split. */
export const splitWarning = (report: {
  readonly model?: string;
  readonly driver?: string;
}): string | undefined => limitsOf(report)?.onSplit;

/** Warnings for a start with VFs of PFs that are known to be unreliable with the guest's system. */
export function hardwareWarnings(vfs: readonly Vf[], guestOs: string | undefined): readonly string[] {
  if (guestOs === undefined) return [];
  const guest = guestOs.toLowerCase();
  const warnings = new Set<string>();
  for (const vf of vfs) {
    const guests = limitsOf(vf.pf.report)?.guests;
    if (guests?.match.some((part) => guest.includes(part)) === true) warnings.add(guests.warning);
  }
  return [...warnings];
}
