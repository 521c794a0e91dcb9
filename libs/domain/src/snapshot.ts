import type { VfReport } from './inputs.js';
import { OrdinalSet } from './ordinal-set.js';
import { sharedReport } from './shared-reports.js';
import { hostObstacle, isVfFree, networkNames } from './standing.js';
import {
  emptyState,
  type Allocation,
  type Host,
  type Nic,
  type Pf,
  type State,
  type Vf,
  type Vm,
} from './state.js';
import { marksWith, NO_MARKS, type Scrub } from './vf-marks.js';

/**
 * A state as text and back. What can be derived is left out and made again: indexes, counts, references. What
 * is observed and not in the log (`state.observed`) is left out too: a state that comes from a snapshot is
 * like one that comes from replay.
 *
 * The same state gives the same JSON value (the order of keys aside), however it came about: two states are
 * compared by it.
 */

const byText =
  <T>(key: (value: T) => string) =>
  (a: T, b: T) =>
    key(a) < key(b) ? -1 : 1;

function dumpPf(pf: Pf) {
  const { ordinal, address, report, wanted, work, owed, lost, cordoned, identity, identityChanged } = pf;
  return {
    ordinal,
    address,
    report,
    wanted,
    work,
    owed,
    lost,
    cordoned,
    identity,
    identityChanged,
    vfs: pf.vfs.map(({ report: vf, marks }) => [
      vf,
      (marks.unseen ? 1 : 0) |
        (marks.unknown ? 2 : 0) |
        (marks.stranger ? 4 : 0) |
        (marks.sharesGroup ? 8 : 0),
      marks.scrub ?? 0,
      marks.quarantinedFor ?? 0,
      ...(marks.macBefore === undefined ? [] : [marks.macBefore]),
    ]),
  };
}
type PfDump = ReturnType<typeof dumpPf>;

function dumpHost(host: Host) {
  const { pfs, vfs: _vfs, vms: _vms, drifts, offered: _offered, ...own } = host;
  return { ...own, drifts: [...drifts], pfs: [...pfs.values()].map(dumpPf) };
}
type HostDump = ReturnType<typeof dumpHost>;

function dumpNic(nic: Nic) {
  const { vm: _vm, allocation, ...own } = nic;
  if (allocation === undefined) return own;
  const { id, vf, networkId, physicalNetwork, vlanId, macBefore, since } = allocation;
  const held = {
    id,
    hostId: vf.pf.host.id,
    vf: vf.report.pciAddress,
    networkId,
    physicalNetwork,
    vlanId,
    macBefore,
    since,
  };
  return { ...own, held };
}
type NicDump = ReturnType<typeof dumpNic>;

function dumpVm(vm: Vm) {
  const { nics, held: _held, ...own } = vm;
  return { ...own, nics: [...nics.values()].map(dumpNic) };
}
type VmDump = ReturnType<typeof dumpVm>;

function dump(state: State) {
  return {
    cluster: state.cluster,
    position: state.position,
    clock: state.clock,
    policy: state.policy,
    nextHost: state.hostByOrdinal.length,
    nextPf: state.pfByOrdinal.length,
    hosts: [...state.hosts.values()].sort((a, b) => a.ordinal - b.ordinal).map(dumpHost),
    fencedAway: [...state.fencedAway].sort(byText(([hostId]) => hostId)),
    vms: [...state.vms.values()].sort(byText((vm) => vm.id)).map(dumpVm),
    l2Networks: [...state.l2Networks.values()].sort(byText((l2) => l2.l2Id)),
    l3Networks: [...state.l3Networks.values()].sort(byText((l3) => l3.l3Id)),
    // In order of time, which is part of what they are.
    starting: [...state.starting],
    scrubbing: [...state.scrubbing].map(([id, vf]) => [id, vf.pf.host.id, vf.report.pciAddress] as const),
    degraded: [...state.degraded.values()].map((nic) => [nic.vm.id, nic.id] as const),
    generations: [...state.generations],
    inputs: { capacity: state.inputs.capacity, ...state.inputs.dump() },
    lastCause: state.lastCause,
  };
}
type StateDump = ReturnType<typeof dump>;

/** The state as JSON text. */
export const dumpState = (state: State): string => JSON.stringify(dump(state));

/** The state that {@link dumpState} gave, ready to go on. */
export function restoreState(text: string, options?: { rememberedInputs?: number }): State {
  const saved = JSON.parse(text) as StateDump;
  const state = emptyState(saved.cluster, {
    rememberedInputs: options?.rememberedInputs ?? saved.inputs.capacity,
  });
  state.position = saved.position;
  state.clock = saved.clock;
  state.policy = saved.policy;
  state.lastCause = saved.lastCause;
  state.hostByOrdinal.length = saved.nextHost;
  state.pfByOrdinal.length = saved.nextPf;
  for (const host of saved.hosts) restoreHost(state, host);
  for (const [hostId, boots] of saved.fencedAway) state.fencedAway.set(hostId, boots);
  for (const vm of saved.vms) restoreVm(state, vm);
  for (const l2 of saved.l2Networks) state.l2Networks.set(l2.l2Id, l2);
  for (const l3 of saved.l3Networks) state.l3Networks.set(l3.l3Id, l3);
  for (const [vmId, since] of saved.starting) state.starting.set(vmId, since);
  for (const [id, hostId, address] of saved.scrubbing) {
    const vf = state.hosts.get(hostId)?.vfs.get(address);
    if (vf !== undefined) state.scrubbing.set(id, vf);
  }
  for (const [vmId, nicId] of saved.degraded) {
    const nic = state.vms.get(vmId)?.nics.get(nicId);
    if (nic !== undefined) state.degraded.set(`${vmId}/${nicId}`, nic);
  }
  for (const [vmId, known] of saved.generations) state.generations.set(vmId, known);
  state.inputs.restore(saved.inputs);
  for (const host of state.hosts.values()) {
    if (hostObstacle(host) === undefined) state.openHosts.add(host.ordinal);
    for (const pf of host.pfs.values()) {
      for (const vf of pf.vfs) if (isVfFree(vf)) pf.free.add(vf.slot);
      state.capacity.refresh(pf);
    }
  }
  return state;
}

function restoreHost(state: State, saved: HostDump): void {
  const host: Host = {
    ...saved,
    bootedAt: saved.bootedAt,
    lostSince: saved.lostSince,
    drifts: new Map(saved.drifts),
    pfs: new Map(),
    vfs: new Map(),
    vms: new Set(),
    offered: new Map(),
  };
  state.hosts.set(host.id, host);
  state.hostByOrdinal[host.ordinal] = host;
  for (const pf of saved.pfs) restorePf(state, host, pf);
}

function restorePf(state: State, host: Host, { vfs, ...saved }: PfDump): void {
  const pf: Pf = {
    ...saved,
    wanted: saved.wanted,
    work: saved.work,
    host,
    networks: networkNames(saved.report),
    vfs: [],
    free: new OrdinalSet(),
    held: 0,
    indexed: undefined,
  };
  host.pfs.set(pf.address, pf);
  state.pfByOrdinal[pf.ordinal] = pf;
  pf.vfs = (vfs as [VfReport, number, Scrub | 0, string | 0, string?][]).map(
    ([report, flags, scrub, quarantinedFor, macBefore], slot) => {
      const vf: Vf = {
        pf,
        slot,
        report: sharedReport(report),
        allocation: undefined,
        marks: marksWith(NO_MARKS, {
          scrub: scrub === 0 ? undefined : scrub,
          quarantinedFor: quarantinedFor === 0 ? undefined : quarantinedFor,
          macBefore,
          unseen: (flags & 1) !== 0,
          unknown: (flags & 2) !== 0,
          stranger: (flags & 4) !== 0,
          sharesGroup: (flags & 8) !== 0,
        }),
      };
      host.vfs.set(report.pciAddress, vf);
      return vf;
    },
  );
}

function restoreVm(state: State, saved: VmDump): void {
  const { nics, ...own } = saved;
  const vm: Vm = { ...emptyVm, ...own, nics: new Map(), held: 0 };
  state.vms.set(vm.id, vm);
  if (vm.state !== 'stopped' && vm.hostId !== undefined) state.hosts.get(vm.hostId)?.vms.add(vm);
  for (const nic of nics) restoreNic(state, vm, nic);
}

const emptyVm = {
  hostId: undefined,
  tenant: undefined,
  bootId: undefined,
  generation: undefined,
  overdueSince: undefined,
  endedBy: undefined,
  elsewhere: undefined,
  separatePfs: undefined,
};

const emptyNic = {
  networkId: undefined,
  physicalNetwork: undefined,
  guestSlot: undefined,
  services: undefined,
  allocation: undefined,
  last: undefined,
};

function restoreNic(state: State, vm: Vm, saved: NicDump): void {
  const { held, ...own } = saved as typeof saved & { held?: HeldDump };
  const nic: Nic = { ...emptyNic, ...own, vm };
  vm.nics.set(nic.id, nic);
  if (nic.mac !== '') state.macs.set(nic.mac, nic);
  if (nic.networkId !== undefined) {
    state.nicsOnNetwork.set(nic.networkId, (state.nicsOnNetwork.get(nic.networkId) ?? 0) + 1);
  }
  if (held === undefined) return;
  const vf = state.hosts.get(held.hostId)?.vfs.get(held.vf);
  if (vf === undefined)
    throw new Error(`the snapshot hands out VF ${held.vf} of host ${held.hostId}, which is not in it`);
  const { id, networkId, physicalNetwork, vlanId, macBefore, since } = held;
  const allocation: Allocation = {
    id,
    vm,
    nic,
    vf,
    physicalNetwork,
    since,
    ...(networkId === undefined ? undefined : { networkId }),
    ...(vlanId === undefined ? undefined : { vlanId }),
    ...(macBefore === undefined ? undefined : { macBefore }),
  };
  nic.allocation = allocation;
  vf.allocation = allocation;
  vf.pf.held++;
  vm.held++;
  state.allocations.set(id, allocation);
  if (vm.tenant !== undefined)
    state.heldByTenant.set(vm.tenant, (state.heldByTenant.get(vm.tenant) ?? 0) + 1);
}

interface HeldDump extends Pick<
  Allocation,
  'id' | 'networkId' | 'physicalNetwork' | 'vlanId' | 'macBefore' | 'since'
> {
  readonly hostId: string;
  readonly vf: string;
}
