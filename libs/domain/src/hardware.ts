import type { PfReport, VfReport } from './inputs.js';
import type { Allocation, HardwareIdentity } from './state.js';

/** The MAC of a VF that nobody has given one. */
export const ZERO_MAC = '00:00:00:00:00:00';

/** Drivers that hand a device to a guest or to user space, and do not say so by their name. */
const PASS_THROUGH_DRIVERS: ReadonlySet<string> = new Set(['pci-stub', 'pciback', 'xen-pciback']);

/** HOST-7: also those of one vendor's hardware, as `mlx5_vfio_pci`, and of user space, as `igb_uio`. */
const isPassThrough = (driver: string): boolean =>
  driver.includes('vfio') || driver.includes('uio') || PASS_THROUGH_DRIVERS.has(driver);

const IDENTITY_FIELDS = ['vendorId', 'deviceId', 'serial', 'permanentMac'] as const;

/** What a report says of the hardware: only the fields that it has. */
export const identityOf = (report: Omit<PfReport, 'vfs'>): HardwareIdentity =>
  Object.fromEntries(
    IDENTITY_FIELDS.flatMap((field) => (report[field] === undefined ? [] : [[field, report[field]]])),
  );

/** Whether two identities contradict each other. A field that one side does not know says nothing. */
const identityDiffers = (known: HardwareIdentity, reported: HardwareIdentity): boolean =>
  IDENTITY_FIELDS.some(
    (field) =>
      known[field] !== undefined && reported[field] !== undefined && known[field] !== reported[field],
  );

/**
 * PF-9: whether other hardware than is known sits at the address. Once it does, a report that leaves out what is
 * known proves nothing: the known hardware must be seen again.
 *
 * @param was whether it did before this report.
 */
export const isOtherHardware = (known: HardwareIdentity, reported: HardwareIdentity, was: boolean): boolean =>
  identityDiffers(known, reported) ||
  (was && IDENTITY_FIELDS.some((field) => known[field] !== undefined && reported[field] === undefined));

/** An identity as a person reads it. */
export const describeIdentity = (identity: HardwareIdentity): string =>
  IDENTITY_FIELDS.flatMap((field) =>
    identity[field] === undefined ? [] : [`${field} ${identity[field]}`],
  ).join(', ');

/** HOST-7: in use by a VM that does not hold it, or bound to a pass-through driver while nobody holds it. */
export const isStranger = (
  report: VfReport,
  allocation: { readonly vm: Pick<Allocation['vm'], 'id'> } | undefined,
): boolean =>
  report.usedByVmId === undefined
    ? allocation === undefined && report.boundDriver !== undefined && isPassThrough(report.boundDriver)
    : report.usedByVmId !== allocation?.vm.id;

/** Whether a report shows the VF in somebody's hands. */
export const isInUse = (report: VfReport): boolean =>
  report.usedByVmId !== undefined || (report.boundDriver !== undefined && isPassThrough(report.boundDriver));

/**
 * SCRUB-1: whether a report says of a VF that it is clean after an allocation, and shows nothing else: not in
 * use, no VLAN, no guest's MAC.
 *
 * @param macBefore the MAC that it had before the allocation, if it had one of its own.
 */
export const isCleanFor = (report: VfReport, allocationId: string, macBefore: string | undefined): boolean =>
  report.scrubbedFor === allocationId &&
  !isInUse(report) &&
  (report.vlan ?? 0) === 0 &&
  (report.mac === undefined || report.mac === ZERO_MAC || report.mac === macBefore);
