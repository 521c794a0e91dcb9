import {
  event,
  type AllocationReason,
  type DomainEvent,
  type Events,
  type EventType,
  type HolderRef,
  type ReleaseReason,
} from './events.js';
import { allocationId } from './naming.js';
import type { NicPlan } from './nic-plan.js';
import { physicalNetworkOf } from './standing.js';
import type { Allocation, Pf, State, Vf, Vm } from './state.js';

/** A time as events carry it: RFC 3339, UTC, milliseconds. */
export const isoTime = (millis: number): string => new Date(millis).toISOString();

export const holderOf = (allocation: Allocation): HolderRef => ({
  vmId: allocation.vm.id,
  nicId: allocation.nic.id,
  vf: allocation.vf.report.pciAddress,
  allocationId: allocation.id,
});

/** The allocations of a PF's VFs, in order of VF. */
export const allocationsOn = (pf: Pf): Allocation[] =>
  pf.held === 0 ? [] : pf.vfs.flatMap((vf) => vf.allocation ?? []);

/** The allocations of a VM, in the order of its NICs. */
export const allocationsOf = (vm: Vm): Allocation[] =>
  vm.held === 0 ? [] : [...vm.nics.values()].flatMap((nic) => nic.allocation ?? []);

/** Adds `generation` where the input had one, so that the log knows it (VM-13). */
export const withGeneration = <T extends object>(data: T, generation: number | undefined): T =>
  generation === undefined ? data : { ...data, generation };

/**
 * The events of one decision as they come together: facts first, the outcome last. Reads the state and
 * changes nothing.
 */
export class Decision {
  readonly events: DomainEvent[] = [];
  /** VFs that are free at once with this decision, in order. */
  readonly freed: Vf[] = [];

  constructor(
    readonly state: State,
    private readonly inputId: string,
  ) {}

  add<T extends EventType>(type: T, data: Events[T]): this {
    this.events.push(event(type, data));
    return this;
  }

  /** Hands a VF to a NIC. @returns the allocation's id, the fencing token (EX-4). */
  allocate(
    vm: { readonly id: string; readonly tenant?: string },
    nic: NicPlan,
    vf: Vf,
    reason: AllocationReason,
  ): string {
    const id = allocationId(this.state.cluster, this.state.position + this.events.length + 1, this.inputId);
    const { pf } = vf;
    this.add('VfAllocated', {
      allocationId: id,
      vmId: vm.id,
      nicId: nic.nicId,
      tenant: vm.tenant,
      hostId: pf.host.id,
      pf: pf.address,
      vf: vf.report.pciAddress,
      vfIndex: vf.report.index,
      networkId: nic.networkId,
      physicalNetwork: physicalNetworkOf(pf),
      vlanId: nic.vlanId,
      mac: nic.mac,
      guestSlot: nic.guestSlot,
      numaNode: pf.report.numaNode,
      reason,
    });
    return id;
  }

  /** Releases allocations, with what follows from each: a degraded NIC (VM-10), a scrub order (SCRUB-1). */
  release(allocations: readonly Allocation[], reason: ReleaseReason, forced = false): this {
    for (const allocation of allocations) {
      const { vf, vm, nic } = allocation;
      const where = { hostId: vf.pf.host.id, pf: vf.pf.address, vf: vf.report.pciAddress };
      this.add('VfReleased', {
        allocationId: allocation.id,
        vmId: vm.id,
        nicId: nic.id,
        tenant: vm.tenant,
        ...where,
        reason,
        forced,
      });
      if (forced && nic.onExhaustion === 'fallback')
        this.add('NicDegraded', { vmId: vm.id, nicId: nic.id, reason });
      // A PF that loses all its VFs has none left to scrub or to hand on.
      if (reason === 'pf-restored' || reason === 'pf-driver-lost') continue;
      if (vf.pf.host.scrubs) this.add('VfScrubRequested', { ...where, allocationId: allocation.id });
      else this.freed.push(vf);
    }
    return this;
  }
}
