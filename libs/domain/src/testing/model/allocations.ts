import type { PlacedEvent, VfAllocated, VfReleased } from '../../events.js';
import type { Input, InputType } from '../../inputs.js';
import { nicKey, vfKey, type Known, type MPf } from './known.js';
import { stop } from './vms.js';

/** EX-1 to EX-5, NET-9, SCRUB-1, SCRUB-2, and all that stands against a PF or a host. */
export function allocate(
  known: Known,
  input: Input,
  data: VfAllocated,
  at: number,
  decision: readonly PlacedEvent[],
): void {
  const { allocationId: id, vmId, nicId, hostId, vf: address } = data;
  const who = nicKey(vmId, nicId);
  known.check('EX-4', !known.everAllocated.has(id), `allocation id ${id} was given before`);
  known.check(
    'EX-1',
    !known.holders.has(vfKey(hostId, address)),
    `${address} of ${hostId} is held, and given to ${who}`,
  );
  known.check('EX-2', !known.nicHolds.has(who), `${who} holds a VF, and is given ${address}`);
  const away = known.heldBy(vmId).find((held) => held.hostId !== hostId);
  known.check(
    'EX-5',
    away === undefined,
    `${vmId} holds on ${away?.hostId}, and is given ${address} of ${hostId}`,
  );
  const owner = known.macs.get(data.mac);
  known.check('NET-9', owner === undefined || owner === who, `MAC ${data.mac} of ${who} belongs to ${owner}`);
  known.check('OUT-4', data.mac !== '' && data.physicalNetwork !== '', `${who} lacks what libvirt needs`);

  const host = known.hosts.get(hostId);
  const pf = host?.pfs.get(data.pf);
  const vf = pf?.vfs.get(address);
  known.check(
    'PF-7',
    vf !== undefined && vf.index === data.vfIndex,
    `${hostId} never told of VF ${address} of ${data.pf}`,
  );
  if (host !== undefined && pf !== undefined && vf !== undefined && data.reason !== 'adopted') {
    const where = `${data.reason} of ${who} on ${hostId} ${data.pf} ${address}`;
    known.check('HOST-1', host.ready, `${where}: the host is not ready`);
    known.check('HOST-5', !host.lost && !host.fenced, `${where}: the host is lost or fenced`);
    known.check('HOST-6', !host.cordoned && !pf.cordoned, `${where}: cordoned`);
    known.check('PF-5', pf.work === undefined, `${where}: the PF is ${pf.work}`);
    known.check('PF-6', !pf.lost && vf.present, `${where}: lost, or not reported since`);
    known.check('PF-9', !known.otherHardware(pf), `${where}: other hardware`);
    known.check('PF-13', pf.link === 'up', `${where}: down`);
    known.check('HOST-3', !vf.tied, `${where}: shared IOMMU group or used by the host`);
    known.check('HOST-7', !vf.stranger, `${where}: used by a stranger`);
    // A clean word frees the VF and hands it on in one decision; its own event comes last.
    const cleaned = decision.some((event) => event.type === 'VfScrubbed' && event.data.vf === address);
    known.check('SCRUB-1', vf.scrubFor === undefined || cleaned, `${where}: not scrubbed for ${vf.scrubFor}`);
    known.check('SCRUB-2', vf.quarantinedFor === undefined || cleaned, `${where}: quarantined`);
  }
  // SCRUB-1: a MAC of a guest's is nobody's own.
  if (vf !== undefined)
    vf.ownMac =
      data.reason === 'adopted' || vf.mac === data.mac || known.macs.has(vf.mac ?? '') ? undefined : vf.mac;
  // VM-19: who uses it is its holder now.
  if (vf !== undefined && data.reason === 'adopted') vf.stranger = false;
  known.allocations.set(id, { ...data, at });
  known.everAllocated.add(id);
  known.holders.set(vfKey(hostId, address), id);
  known.nicHolds.set(who, id);
  if (data.reason !== 'adopted' && data.tenant !== undefined && Object.hasOwn(known.quotas, data.tenant)) {
    const quota = known.quotas[data.tenant] as number;
    const held = known.heldByTenant(data.tenant);
    known.check('quota', held <= quota, `${data.reason}: tenant ${data.tenant} holds ${held} of ${quota}`);
  }
  if (data.reason === 'promotion') promoted(known, input, data, pf);
}

/** VM-10: oldest first, among those on this host that this VF fits and that may have it. */
function promoted(known: Known, input: Input, data: VfAllocated, pf: MPf | undefined): void {
  const who = nicKey(data.vmId, data.nicId);
  known.check('VM-10', known.promotion, `${who} was promoted against the policy`);
  known.check('VM-10', known.degraded.has(who), `${who} was promoted and was not degraded`);
  const beside = known.heldBy(data.vmId).filter((held) => held.pf === data.pf);
  known.check(
    'OUT-6',
    known.vms.get(data.vmId)?.separate !== true || beside.length === 1,
    `${who} was promoted to ${data.pf}, of which its VM has a VF already`,
  );
  const leaving =
    input.type === 'VmStopped' || input.type === 'VmStartAborted' || input.type === 'VmDestroyed';
  for (const [key, { vmId, nicId }] of known.degraded) {
    if (key === who) break;
    if (leaving && vmId === input.data.vmId) continue;
    const fits =
      known.vms.get(vmId)?.hostId === data.hostId && pf !== undefined && known.fitsNic(vmId, nicId, pf);
    if (known.nicHolds.has(key) || !fits || known.quotaLeft(known.vms.get(vmId)?.tenant) < 1) continue;
    known.check('VM-10', false, `${who} was promoted before ${key}, which waits longer`);
  }
}

/** EX-4, EX-7, PF-4. */
export function release(known: Known, data: VfReleased, cause: InputType): void {
  const allocation = known.allocations.get(data.allocationId);
  const fits =
    allocation !== undefined &&
    allocation.vmId === data.vmId &&
    allocation.nicId === data.nicId &&
    allocation.hostId === data.hostId &&
    allocation.pf === data.pf &&
    allocation.vf === data.vf;
  known.check(
    'EX-4',
    fits,
    `released ${data.allocationId} (${data.vf}), which is not the current allocation`,
  );
  const reasons: Partial<Record<InputType, readonly string[]>> = {
    VmStopped: ['vm-stopped'],
    VmDestroyed: ['vm-destroyed'],
    VmStartAborted: ['start-aborted'],
    VmNicDetachRequested: ['nic-detached'],
    VmNicTypeChangeRequested: ['nic-type-changed'],
    PfRestoreRequested: ['pf-restored'],
    PfRestored: ['pf-restored'],
    PfDriverLost: ['pf-driver-lost'],
    HostReported: ['host-rebooted', 'proved-unused'],
    HostFenced: ['host-fenced'],
    AllocationReleaseRequested: ['operator'],
  };
  known.check(
    'EX-7',
    reasons[cause]?.includes(data.reason) === true,
    `${cause} released with ${data.reason}`,
  );
  // VM-18: what is taken from a VM that runs on is taken by force.
  const runs = known.vms.get(data.vmId)?.state === 'running';
  const byForce =
    data.reason === 'pf-restored' || data.reason === 'pf-driver-lost' || (data.reason === 'operator' && runs);
  known.check(
    'PF-4',
    data.forced === byForce,
    `a release (${data.reason}) is said to be forced: ${data.forced}`,
  );
  if (allocation === undefined) return;
  known.check('VM-3', allocation.tenant === data.tenant, `the tenant of ${data.allocationId} changed`);
  known.allocations.delete(data.allocationId);
  known.holders.delete(vfKey(data.hostId, data.vf));
  known.nicHolds.delete(nicKey(data.vmId, data.nicId));
  const vf = known.vfOf(data.hostId, data.vf);
  if (vf !== undefined && known.hosts.get(data.hostId)?.scrubs === true) vf.scrubFor = data.allocationId;
  // HOST-7: in use by a VM that does not hold it.
  if (vf !== undefined && data.reason === 'operator' && runs) vf.stranger ||= vf.usedBy !== undefined;
  // VM-12: with its last VF a start is over. VM-15: a VM that runs is stopped by its own end only.
  const ended = (data.reason === 'operator' && !runs) || data.reason === 'proved-unused';
  if (ended && known.heldBy(data.vmId).length === 0) stop(known, data.vmId, data.reason);
}
