import type { HardwareLimit, PfReport } from './inputs.js';
import type { Policy, Vf } from './state.js';

/** What is known of hardware anyway (PF-12): data, not code. */
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

type Hardware = Pick<PfReport, 'model' | 'driver'>;

/** The first that matches; an operator's come first. */
function limitOf(
  { hardwareLimits }: Policy,
  { model = '', driver = '' }: Hardware,
): HardwareLimit | undefined {
  const text = `${model} ${driver}`.toLowerCase();
  const matches = ({ match }: HardwareLimit): boolean => text.includes(match.toLowerCase());
  return hardwareLimits.find(matches) ?? HARDWARE_LIMITS.find(matches);
}

/** What to say when such a PF is split. */
export const splitWarning = (policy: Policy, hardware: Hardware): string | undefined =>
  limitOf(policy, hardware)?.onSplit;

/** Warnings for a start with VFs of PFs that are known to be unreliable with the guest's system. */
export function hardwareWarnings(
  policy: Policy,
  vfs: readonly Vf[],
  guestOs: string | undefined,
): readonly string[] {
  if (guestOs === undefined) return [];
  const guest = guestOs.toLowerCase();
  const warnings = new Set<string>();
  for (const vf of vfs) {
    const guests = limitOf(policy, vf.pf.report)?.guests;
    if (guests?.match.some((part) => guest.includes(part.toLowerCase())) === true)
      warnings.add(guests.warning);
  }
  return [...warnings];
}
