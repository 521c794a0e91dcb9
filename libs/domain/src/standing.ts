import type { PfReport } from './inputs.js';
import type { Obstacle } from './refusal-codes.js';
import type { Host, Pf, Vf } from './state.js';

/** HOST-1 and HOST-2: whether the host can hand devices to guests. */
export const isHostReady = (host: Host): boolean =>
  host.iommu.enabled && host.iommu.ready && (host.interruptRemapping || host.unsafeInterruptsAllowed);

/** HOST-1, HOST-2: which of the facts is missing, said of the host by name. */
export function whyNotReady({ id, iommu }: Host): string {
  if (!iommu.enabled) return `host ${id} has its IOMMU switched off`;
  if (!iommu.ready) return `host ${id} has its IOMMU enabled but not ready: reboot pending or firmware off`;
  return `host ${id} has no interrupt remapping, and unsafe interrupts are not allowed`;
}

/** Why a host takes no VM at all. */
export function hostObstacle(host: Host): 'HOST_LOST' | 'HOST_CORDONED' | undefined {
  if (host.fenced || host.lostSince !== undefined) return 'HOST_LOST';
  return host.cordoned ? 'HOST_CORDONED' : undefined;
}

/** Why a PF cannot serve now, apart from having no free VF; undefined when it can. */
export function pfObstacle(pf: Pf): Obstacle | undefined {
  const host = hostObstacle(pf.host);
  if (host !== undefined) return host;
  if (!isHostReady(pf.host)) return 'HOST_NOT_READY';
  if (pf.lost) return 'PF_LOST';
  if (pf.identityChanged) return 'PF_IDENTITY_CHANGED';
  if (pf.report.totalVfs === 0) return 'PF_NOT_VIRTUALIZABLE';
  if (pf.work === 'restoring') return 'PF_RESTORING';
  if (pf.work === 'virtualizing') return 'PF_BUSY';
  if (pf.vfs.length === 0) return 'PF_NOT_VIRTUALIZED';
  if (pf.cordoned) return 'PF_CORDONED';
  return pf.report.link === 'down' ? 'PF_LINK_DOWN' : undefined;
}

/** States of a PF (PF-1). */
export type PfState =
  'not-virtualizable' | 'virtualizable' | 'virtualizing' | 'virtualized' | 'restoring' | 'lost';

export function pfState(pf: Pf): PfState {
  if (pf.lost) return 'lost';
  if (pf.work !== undefined) return pf.work;
  if (pf.vfs.length > 0) return 'virtualized';
  return pf.report.totalVfs === 0 ? 'not-virtualizable' : 'virtualizable';
}

/** Whether nothing about the VF itself stands against handing it out. */
export const isVfFree = (vf: Vf): boolean =>
  vf.allocation === undefined &&
  vf.marks.scrub === undefined &&
  vf.marks.quarantinedFor === undefined &&
  !vf.marks.unseen &&
  !vf.marks.unknown &&
  !vf.marks.stranger &&
  // HOST-3
  !vf.marks.sharesGroup &&
  vf.report.hostUse === undefined;

/** Whether the VF is held, or kept out for a scrub: then it belongs to its PF whatever a report says. */
export const isSpokenFor = (vf: Vf): boolean =>
  vf.allocation !== undefined || vf.marks.scrub !== undefined || vf.marks.quarantinedFor !== undefined;

/** The name under which a NIC's VFs are counted; '' for any PF. */
export const ANY_NETWORK = '';

/** The name a PF's physical network goes by (NET-3). */
export const physicalNetworkOf = (pf: Pf): string => pf.report.physicalNetwork ?? pf.report.ifname;

/** The names under which a NIC may ask for a PF (NET-3). */
export function networkNames(report: Omit<PfReport, 'vfs'>): readonly string[] {
  const physical = report.physicalNetwork ?? report.ifname;
  return report.bond === undefined || report.bond === physical
    ? [ANY_NETWORK, physical]
    : [ANY_NETWORK, physical, report.bond];
}
