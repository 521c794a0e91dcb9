import type { Obstacle } from '../refusal-codes.js';
import { hostObstacle, isVfFree, pfObstacle } from '../standing.js';
import type { Host, Pf, State } from '../state.js';

/**
 * Counts everything again that the state keeps counted, from what it is counted of, and says where the two
 * differ.
 */
export function recount(state: State): readonly string[] {
  const differences: string[] = [];
  const same = (what: string, kept: unknown, counted: unknown): void => {
    const [a, b] = [JSON.stringify(kept), JSON.stringify(counted)];
    if (a !== b) differences.push(`${what} is ${a}, and should be ${b}`);
  };
  const byKey = <T>(map: ReadonlyMap<string, T>): [string, T][] =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1));

  const allocations = new Map<string, string>();
  const macs = new Map<string, string>();
  const tenants = new Map<string, number>();
  const networks = new Map<string, number>();
  for (const vm of state.vms.values()) {
    let held = 0;
    for (const nic of vm.nics.values()) {
      const name = `${vm.id}/${nic.id}`;
      same(`the VM of ${name}`, nic.vm === vm, true);
      if (nic.mac !== '') macs.set(nic.mac, name);
      if (nic.networkId !== undefined) networks.set(nic.networkId, (networks.get(nic.networkId) ?? 0) + 1);
      same(`whether ${name} waits`, state.degraded.get(name) === nic, nic.degraded);
      const { allocation } = nic;
      if (allocation === undefined) continue;
      held++;
      allocations.set(allocation.id, name);
      same(`the ends of ${allocation.id}`, [allocation.nic === nic, allocation.vm === vm], [true, true]);
      same(`the holder of ${allocation.vf.report.pciAddress}`, allocation.vf.allocation?.id, allocation.id);
      same(`${name} is degraded`, nic.degraded, false);
      if (vm.tenant !== undefined) tenants.set(vm.tenant, (tenants.get(vm.tenant) ?? 0) + 1);
    }
    same(`VFs held by ${vm.id}`, vm.held, held);
  }
  const names = (map: ReadonlyMap<string, { vm: { id: string }; id: string }>): Map<string, string> =>
    new Map([...map].map(([key, nic]) => [key, `${nic.vm.id}/${nic.id}`]));
  same('MACs', byKey(names(state.macs)), byKey(macs));
  same('VFs by tenant', byKey(state.heldByTenant), byKey(tenants));
  same('NICs by network', byKey(state.nicsOnNetwork), byKey(networks));
  same('allocations', [...state.allocations.keys()].sort(), [...allocations.keys()].sort());

  const open: number[] = [];
  const scrubbing: string[] = [];
  let heldVfs = 0;
  for (const host of state.hosts.values()) {
    same(`the host of ordinal ${host.ordinal}`, state.hostByOrdinal[host.ordinal]?.id, host.id);
    if (hostObstacle(host) === undefined) open.push(host.ordinal);
    const here = [...state.vms.values()].filter((vm) => vm.hostId === host.id && vm.state !== 'stopped');
    same(`VMs on ${host.id}`, [...host.vms].map((vm) => vm.id).sort(), here.map((vm) => vm.id).sort());
    const addresses: string[] = [];
    for (const pf of host.pfs.values()) {
      same(`the PF of ordinal ${pf.ordinal}`, state.pfByOrdinal[pf.ordinal] === pf, true);
      const free: number[] = [];
      let held = 0;
      for (const [slot, vf] of pf.vfs.entries()) {
        addresses.push(vf.report.pciAddress);
        same(`the slot of ${vf.report.pciAddress}`, vf.slot, slot);
        same(
          `${host.id} ${vf.report.pciAddress} by address`,
          host.vfs.get(vf.report.pciAddress) === vf,
          true,
        );
        const { iommuGroup: group, iommuGroupShared } = vf.report;
        const neighbours = [...host.vfs.values()].filter(
          (other) => other !== vf && group !== undefined && other.report.iommuGroup === group,
        );
        same(
          `whether ${vf.report.pciAddress} shares its IOMMU group`,
          vf.marks.sharesGroup,
          iommuGroupShared ?? neighbours.length > 0,
        );
        if (isVfFree(vf)) free.push(slot);
        if (vf.allocation !== undefined) held++;
        if (vf.marks.scrub !== undefined && state.scrubbing.get(vf.marks.scrub.allocationId) === vf)
          scrubbing.push(vf.marks.scrub.allocationId);
      }
      heldVfs += held;
      same(`free VFs of ${host.id} ${pf.address}`, [...pf.free], free);
      same(`held VFs of ${host.id} ${pf.address}`, pf.held, held);
    }
    same(`VFs of ${host.id}`, [...host.vfs.keys()].sort(), addresses.sort());
  }
  same('held VFs', heldVfs, allocations.size);
  same(
    'open hosts',
    [...state.openHosts],
    open.sort((a, b) => a - b),
  );
  same('scrubbing VFs', [...state.scrubbing.keys()].sort(), scrubbing.sort());
  recountCapacity(state, same);
  return differences;
}

function recountCapacity(state: State, same: (what: string, kept: unknown, counted: unknown) => void): void {
  const names = new Set(['', 'physA', 'physB', 'physC', 'bond0', 'ens0', 'ens1', 'ens2', 'ens3']);
  for (const name of names) {
    const pfs: Pf[] = [];
    const offered = new Map<Host, number>();
    const serving: number[] = [];
    const stopped = new Map<Obstacle, number[]>();
    for (const host of state.hosts.values()) {
      for (const pf of host.pfs.values()) {
        if (!pf.networks.includes(name)) continue;
        pfs.push(pf);
        const against = pfObstacle(pf) ?? (pf.free.size === 0 ? 'VF_EXHAUSTED' : undefined);
        if (against === undefined) serving.push(pf.ordinal);
        else stopped.set(against, [...(stopped.get(against) ?? []), pf.ordinal]);
        offered.set(host, (offered.get(host) ?? 0) + (against === undefined ? pf.free.size : 0));
      }
      same(`VFs of ${host.id} on '${name}'`, host.offered.get(name) ?? 0, offered.get(host) ?? 0);
    }
    const capacity = state.capacity.on(name);
    same(`PFs of '${name}'`, capacity?.pfs ?? 0, pfs.length);
    if (capacity === undefined) continue;
    const ascending = (numbers: number[]): number[] => numbers.sort((a, b) => a - b);
    same(`serving PFs of '${name}'`, [...capacity.servingPfs], ascending(serving));
    for (const [obstacle, ordinals] of capacity.pfsByObstacle)
      same(`PFs of '${name}': ${obstacle}`, [...ordinals], ascending(stopped.get(obstacle) ?? []));
    for (const needed of [1, 2, 3, 9]) {
      const enough = [...offered].filter(([, free]) => free >= needed);
      same(`hosts with ${needed} VFs of '${name}'`, capacity.countCandidates(needed), enough.length);
      const byFree = (direction: number): number[] =>
        enough
          .toSorted(([a, x], [b, y]) => direction * (x - y) || a.ordinal - b.ordinal)
          .map(([host]) => host.ordinal);
      same(`'${name}' packed`, [...capacity.candidates(needed, 'pack')], byFree(1));
      same(`'${name}' spread`, [...capacity.candidates(needed, 'spread')], byFree(-1));
    }
    const closed = [...offered.keys()].filter(
      (host) =>
        ![...host.pfs.values()].some((pf) => pf.networks.includes(name) && serving.includes(pf.ordinal)),
    );
    const counted = [...capacity.hostsByObstacle.values()].flatMap((hosts) => [...hosts]);
    same(
      `hosts that do not serve '${name}'`,
      ascending(counted),
      ascending(closed.map((host) => host.ordinal)),
    );
  }
}
