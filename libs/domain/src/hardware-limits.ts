import type { HardwareLimit, PfReport } from './inputs.js';
import type { Policy, Vf } from './state.js';

/** Windows by its name, or by a short one (`win2k22`, `Win10`): a word that begins so, for `darwin` is none. */
const WINDOWS = ['windows', ' win'];

const BCM57810: Omit<HardwareLimit, 'match'> = {
  onSplit: 'BCM57810 (bnx2x) does not keep its VFs over a reboot by udev: the host is told to split it again',
  guests: { match: WINDOWS, warning: 'VFs of BCM57810 (bnx2x) are unreliable with Windows guests' },
};

/** What is known of hardware anyway (PF-12): data, not code. By model, driver, or vendor and device id. */
export const HARDWARE_LIMITS: readonly HardwareLimit[] = ['bcm57810', 'bnx2x', '14e4:168e'].map((match) => ({
  match,
  ...BCM57810,
}));

type Hardware = Pick<PfReport, 'model' | 'driver' | 'vendorId' | 'deviceId'>;

/** The first that matches; an operator's come first. */
function limitOf(
  { hardwareLimits }: Policy,
  { model = '', driver = '', vendorId = '', deviceId = '' }: Hardware,
): HardwareLimit | undefined {
  const text = `${model} ${driver} ${vendorId}:${deviceId}`.toLowerCase();
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
  // As it is, and its words, each after a space.
  const text = guestOs.toLowerCase();
  const guest = `${text} ${text.replaceAll(/[^a-z0-9]+/g, ' ')}`;

  const warnings = new Set<string>();
  for (const vf of vfs) {
    const guests = limitOf(policy, vf.pf.report)?.guests;
    if (guests?.match.some((name) => guest.includes(name.toLowerCase())) === true)
      warnings.add(guests.warning);
  }
  return [...warnings];
}
