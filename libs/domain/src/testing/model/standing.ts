import type { Known } from './known.js';

/** What stands after each decision. */
export function standing(known: Known): void {
  for (const host of known.hosts.values()) {
    for (const pf of host.pfs.values()) {
      // What is not there, or is to be taken away, is asked for when it comes back.
      for (const { address, present, scrubFor } of pf.work === undefined ? pf.vfs.values() : [])
        known.check(
          'SCRUB-1',
          !present || scrubFor === undefined || known.scrubAsked.has(scrubFor),
          `${address} waits for a scrub that nobody was told to do`,
        );
    }
  }
  for (const allocation of known.allocations.values()) {
    const vm = known.vms.get(allocation.vmId);
    known.check(
      'VM-3',
      vm !== undefined && vm.state !== 'stopped',
      `${allocation.vmId} is stopped and holds VFs`,
    );
    known.check(
      'EX-5',
      vm?.hostId === allocation.hostId,
      `${allocation.vmId} is on ${vm?.hostId}, its VF on ${allocation.hostId}`,
    );
  }
}

/** HOST-5, VM-10, VM-12: what is due after a tick. */
export function afterTick(known: Known, time: number): void {
  for (const host of known.hosts.values()) {
    known.check(
      'HOST-5',
      host.lost || time - host.heardAt < known.hostTimeout * 1000,
      `${host.id} is silent for ${time - host.heardAt} ms and not lost`,
    );
  }
  for (const [vmId, vm] of known.vms) {
    if (vm.state !== 'pending' || vm.overdue) continue;
    const held = known.heldBy(vmId);
    known.check(
      'VM-12',
      held.length === 0 || held.some(({ at }) => time - at < known.startTimeout * 1000),
      `${vmId} is pending too long, and nobody is told`,
    );
  }
  if (!known.promotion) return;
  for (const [key, { vmId, nicId }] of known.degraded) {
    const vm = known.vms.get(vmId);
    const host = known.hosts.get(vm?.hostId ?? '');
    if (vm === undefined || host === undefined || known.quotaLeft(vm.tenant) < 1) continue;
    for (const pf of host.pfs.values()) {
      const room = known.obstacles(host, pf).size === 0 && known.freeOn(host, pf) > 0;
      known.check(
        'VM-10',
        !room || !known.fitsNic(vmId, nicId, pf),
        `${key} waits, and ${pf.address} has a free VF`,
      );
    }
  }
}
