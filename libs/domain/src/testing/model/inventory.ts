import type { Inputs, PfReport, VfReport } from '../../inputs.js';
import { bound, vfKey, type Known, type MHost, type MPf, type MVf } from './known.js';

const identityOf = (pf: PfReport): Record<string, string> =>
  Object.fromEntries(
    (['vendorId', 'deviceId', 'serial', 'permanentMac'] as const).flatMap((field) =>
      pf[field] === undefined ? [] : [[field, pf[field]]],
    ),
  );

/** No clock is believed that is ahead. */
const bootTime = (bootedAt: string | undefined, now: number): number | undefined =>
  bootedAt === undefined ? undefined : Math.min(Date.parse(bootedAt), now);

/** What a report says of its host. */
export function takeInventory(known: Known, data: Inputs['HostReported'], news: string, time: number): void {
  let host = known.hosts.get(data.hostId);
  if (host === undefined) {
    const away = known.fencedAway.get(data.hostId);
    known.fencedAway.delete(data.hostId);
    const over = new Set(away?.earlierBoots);
    if (away !== undefined && away.bootId !== data.bootId) over.add(away.bootId);
    host = {
      id: data.hostId,
      bootId: data.bootId,
      earlierBoots: over,
      seq: data.seq,
      said: time,
      logged: { seq: data.seq, said: time },
      heardAt: time,
      ready: false,
      scrubs: false,
      cordoned: false,
      fenced: away?.bootId === data.bootId,
      lost: false,
      pfs: new Map(),
    };
    known.hosts.set(host.id, host);
    host.bootedAt = bootTime(data.bootedAt, time);
  }
  if (news === 'new-boot') {
    host.earlierBoots.add(host.bootId);
    host.bootId = data.bootId;
    host.bootedAt = bootTime(data.bootedAt, time);
    host.fenced = false;
  }
  host.heardAt = time;
  if (!host.fenced) host.lost = false;
  host.ready =
    data.iommu.enabled &&
    data.iommu.ready &&
    (data.interruptRemapping || data.unsafeInterruptsAllowed === true);
  host.scrubs = data.scrubs ?? false;
  const seen = new Set<string>();
  const spoken = spokenFor(known, host);
  for (const report of data.pfs) {
    seen.add(report.pciAddress);
    takePf(known, host, report, spoken);
  }
  for (const pf of host.pfs.values()) {
    if (seen.has(pf.address)) continue;
    pf.lost = true;
    if (pf.work === 'virtualizing') pf.work = undefined;
    for (const vf of pf.vfs.values()) vf.present = false;
  }
}

function takePf(known: Known, host: MHost, report: PfReport, spoken: ReadonlyMap<string, MPf>): void {
  let pf = host.pfs.get(report.pciAddress);
  if (pf === undefined) {
    pf = {
      address: report.pciAddress,
      names: [],
      physicalNetwork: '',
      totalVfs: 0,
      link: 'up',
      lost: false,
      cordoned: false,
      identity: identityOf(report),
      reported: {},
      other: false,
      vfs: new Map(),
    };
    host.pfs.set(pf.address, pf);
  }
  pf.physicalNetwork = report.physicalNetwork ?? report.ifname;
  pf.names = ['', pf.physicalNetwork, ...(report.bond === undefined ? [] : [report.bond])];
  pf.totalVfs = report.totalVfs;
  pf.link = report.link;
  pf.lost = false;
  pf.reported = identityOf(report);
  const { identity, reported } = pf;
  const differs = Object.keys(identity).some(
    (field) => reported[field] !== undefined && reported[field] !== identity[field],
  );
  const whole = Object.keys(identity).every((field) => reported[field] === identity[field]);
  pf.other = differs || (pf.other && !whole);
  if (!pf.other) pf.identity = { ...pf.identity, ...pf.reported };
  const had = pf.vfs.size;
  takeVfs(known, host, pf, report.vfs, spoken);
  // One that comes split is wanted as it is.
  if (had === 0 && report.vfs.length > 0) pf.wanted ??= pf.vfs.size;
  if (pf.work === 'virtualizing' && report.vfs.length > 0) pf.work = undefined;
  // PF-5: a report without VFs ends a restore.
  if (pf.work === 'restoring' && report.vfs.length === 0) pf.work = undefined;
}

/** The VFs of a PF as its host says, but for what is held or dirty. */
export function takeVfs(
  known: Known,
  host: MHost,
  pf: MPf,
  reports: readonly VfReport[],
  spoken = spokenFor(known, host),
): void {
  const seen = new Set<string>();
  for (const report of reports) {
    // An address is one VF (EX-1): what is held or dirty stays where it was handed out, whatever a report
    // says.
    if ((spoken.get(report.pciAddress) ?? pf) !== pf) continue;
    for (const other of host.pfs.values()) if (other !== pf) other.vfs.delete(report.pciAddress);
    seen.add(report.pciAddress);
    const vf: MVf = pf.vfs.get(report.pciAddress) ?? {
      address: report.pciAddress,
      index: 0,
      present: true,
      tied: false,
      stranger: false,
    };
    const holder = known.allocations.get(known.holders.get(vfKey(host.id, vf.address)) ?? '');
    vf.index = report.index;
    vf.present = true;
    vf.tied = report.iommuGroupShared === true || report.hostUse !== undefined;
    vf.stranger =
      report.usedByVmId === undefined
        ? holder === undefined && bound(report)
        : report.usedByVmId !== holder?.vmId;
    vf.mac = report.mac;
    vf.usedBy = report.usedByVmId;
    // SCRUB-1: detached, no guest's MAC (zero, or the one it had before), no VLAN.
    const clean =
      report.usedByVmId === undefined &&
      !bound(report) &&
      (report.vlan === undefined || report.vlan === 0) &&
      [undefined, '00:00:00:00:00:00', vf.ownMac].includes(report.mac);
    if (report.scrubbedFor !== undefined && clean) {
      if (report.scrubbedFor === vf.scrubFor) vf.scrubFor = undefined;
      if (report.scrubbedFor === vf.quarantinedFor) vf.quarantinedFor = undefined;
    }
    pf.vfs.set(vf.address, vf);
  }
  for (const vf of [...pf.vfs.values()]) {
    if (seen.has(vf.address)) continue;
    // A PF that shows no VF at all has been undivided: what comes after it are new devices. One VF that is
    // not shown is still dirty.
    const dirty = seen.size > 0 && (vf.scrubFor !== undefined || vf.quarantinedFor !== undefined);
    if (dirty || known.holders.has(vfKey(host.id, vf.address))) vf.present = false;
    else pf.vfs.delete(vf.address);
  }
}

/** The PFs of VFs that are held or dirty, by address. */
function spokenFor(known: Known, host: MHost): ReadonlyMap<string, MPf> {
  const found = new Map<string, MPf>();
  for (const pf of host.pfs.values()) {
    for (const vf of pf.vfs.values()) {
      const dirty = vf.scrubFor !== undefined || vf.quarantinedFor !== undefined;
      if (dirty || known.holders.has(vfKey(host.id, vf.address))) found.set(vf.address, pf);
    }
  }
  return found;
}
