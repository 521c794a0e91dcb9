import type { InvariantModel } from '../../../domain/src/testing/invariant-model.js';
import { nicKey, vfKey, type MHost, type MPf } from '../../../domain/src/testing/model/known.js';

type Known = InvariantModel['knowledge'];

/**
 * What queries have to answer of a cluster, by the model that is told inputs and events and shares no code with
 * the scheduler.
 */
export class ModelViews {
  constructor(private readonly known: Known) {}

  get hosts(): readonly string[] {
    return [...this.known.hosts.keys()].toSorted();
  }

  get vms(): readonly string[] {
    return [...this.known.vms.keys()].toSorted();
  }

  availability(filter: { hostId?: string; physicalNetwork?: string; networkId?: string } = {}): object {
    const { known } = this;
    const l2 =
      filter.networkId === undefined ? undefined : known.l2.get(known.l3.get(filter.networkId)?.l2Id ?? '');
    const name = l2?.physicalInterface ?? filter.physicalNetwork ?? '';
    const pfs = [...known.hosts.values()]
      .filter(({ id }) => filter.hostId === undefined || id === filter.hostId)
      .flatMap((host) => [...host.pfs.values()].map((pf) => ({ host, pf })))
      .filter(({ pf }) => pf.names.includes(name));
    const sum = (count: (host: MHost, pf: MPf) => number): number =>
      pfs.reduce((total, { host, pf }) => total + count(host, pf), 0);
    const total = sum((_, pf) => pf.vfs.size);
    const free = sum((host, pf) => this.freeOf(host, pf));
    const allocated = sum((host, pf) => known.heldOn(host.id, pf.address).length);
    return {
      total,
      free,
      allocated,
      unavailable: total - free - allocated,
      pfs: pfs
        .map(({ host, pf }) => this.pf(host, pf))
        .toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1)),
    };
  }

  private freeOf(host: MHost, pf: MPf): number {
    return this.known.obstacles(host, pf).size > 0 ? 0 : this.known.freeOn(host, pf);
  }

  private pf(host: MHost, pf: MPf): { hostId: string; pf: string } & Record<string, unknown> {
    const split = pf.vfs.size > 0;
    // With a reboot an order is void, and given anew once the link is up (PF-10): the model does not tell the two apart.
    const mayWait = pf.work === 'virtualizing' && pf.link === 'down' && !pf.lost;
    const state = pf.lost
      ? 'lost'
      : (pf.work ?? (split ? 'virtualized' : pf.totalVfs === 0 ? 'not-virtualizable' : 'virtualizable'));
    return {
      hostId: host.id,
      pf: pf.address,
      state: mayWait ? undefined : state,
      link: pf.link,
      totalVfs: pf.totalVfs,
      physicalNetwork: pf.physicalNetwork,
      cordoned: pf.cordoned,
      total: split ? pf.vfs.size : '-',
      free: split ? this.freeOf(host, pf) : '-',
      allocated: this.known.heldOn(host.id, pf.address).length,
    };
  }

  /** Of a host: addresses, in order. */
  vfs(hostId: string): readonly string[] {
    return [...(this.known.hosts.get(hostId)?.pfs.values() ?? [])]
      .flatMap((pf) => [...pf.vfs.keys()])
      .toSorted();
  }

  /** A VF; `states` are those that it may be in: the model does not tell a VF that is not known from one unseen. */
  vf(hostId: string, address: string): { states: readonly string[]; view: object } {
    const { known } = this;
    const host = known.hosts.get(hostId) as MHost;
    const pf = [...host.pfs.values()].find(({ vfs }) => vfs.has(address)) as MPf;
    const vf = pf.vfs.get(address)!;
    const allocation = known.allocations.get(known.holders.get(vfKey(hostId, address)) ?? '');
    const view = { hostId, pf: pf.address, vf: address, index: vf.index };
    if (allocation !== undefined) {
      const { vmId, nicId, allocationId, mac, vlanId } = allocation;
      return {
        states: [known.vms.get(vmId)?.state === 'running' ? 'allocated' : 'pending'],
        view: { ...view, holder: { vmId, nicId, allocationId }, mac, ...(vlanId && { vlanId }) },
      };
    }
    const dirty =
      vf.quarantinedFor === undefined ? (vf.scrubFor === undefined ? undefined : 'scrubbing') : 'quarantined';
    if (!vf.present) return { states: ['unknown', dirty ?? 'unavailable'], view };
    const barred = vf.tied || vf.stranger || known.obstacles(host, pf).size > 0;
    return { states: [dirty ?? (barred ? 'unavailable' : 'free')], view };
  }

  vm(vmId: string): object {
    const { known } = this;
    const vm = known.vms.get(vmId)!;
    const held = known.heldBy(vmId);
    const nics = [...vm.nics.values()].map(({ nicId, type, mac, networkId, physicalNetwork }) => {
      const allocation = known.allocations.get(known.nicHolds.get(nicKey(vmId, nicId)) ?? '');
      const state =
        type === 'vnic'
          ? 'vnic'
          : known.degraded.has(nicKey(vmId, nicId))
            ? 'degraded'
            : vm.state === 'stopped'
              ? 'stopped'
              : 'detached-by-force';
      const about = { nicId, type, mac, networkId, physicalNetwork };
      if (allocation === undefined) return { ...about, state };
      const { allocationId, hostId, pf, vf, vlanId } = allocation;
      return { ...about, state: 'vf', allocationId, hostId, pf, vf, vlanId };
    });
    return {
      vmId,
      state: vm.state,
      hostId: vm.hostId,
      tenant: vm.tenant,
      nics: nics.toSorted((a, b) => (a.nicId < b.nicId ? -1 : 1)),
      memoryPinned: held.length > 0,
      migratable: held.length === 0,
    };
  }

  host(hostId: string): object {
    const host = this.known.hosts.get(hostId)!;
    return {
      hostId,
      state: host.fenced
        ? 'fenced'
        : host.lost
          ? 'lost'
          : host.cordoned
            ? 'cordoned'
            : host.ready
              ? 'ready'
              : 'not-ready',
      bootId: host.bootId,
      cordoned: host.cordoned,
      scrubs: host.scrubs,
      vms: [...this.known.vms]
        .filter(([, vm]) => vm.state !== 'stopped' && vm.hostId === hostId)
        .map(([vmId]) => vmId)
        .toSorted(),
    };
  }

  networks(): object[] {
    const { l2, l3 } = this.known;
    return [
      ...[...l2].map(([id, network]) => ({ id, layer: 2, ...network })),
      ...[...l3].map(([id, network]) => ({ id, layer: 3, ...network })),
    ].toSorted((a, b) => (a.id === b.id ? a.layer - b.layer : a.id < b.id ? -1 : 1));
  }

  policy(): object {
    const { quotas, promotion, startTimeout, hostTimeout } = this.known;
    return { quotas, promotion, startTimeoutSeconds: startTimeout, hostTimeoutSeconds: hostTimeout };
  }
}

export const placeOf = ({ hostId, pf }: { hostId: string; pf: string }): string => `${hostId} ${pf}`;
