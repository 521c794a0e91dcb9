import {
  evolve,
  hash53,
  hostFacts,
  pfFacts,
  unknownVersion,
  type EventType,
  type PlacedEvent,
  type State,
} from '#domain';
import type { EventBody, Head } from '#log';
import { PendingRows, type Value } from './pending-rows.js';
import { PROJECTIONS } from './projections.js';
import { ownState, Touched, vfsOf, type Pf, type Vm } from './touched.js';

/** What was last written of a VM: what is the same again is not written again. */
interface LastOfVm {
  json: string;
  detail: number;
  host: string | undefined;
  from: number;
}

/**
 * The projection of one cluster: takes events into a state, as the leader does, and writes of each thing that
 * an event changed how it is now.
 */
export class ClusterProjection {
  /** What is not in the file yet. */
  readonly rows = new PendingRows();
  private readonly touched: Touched;
  private readonly vms = new Map<string, LastOfVm>();
  private readonly pfDetails: { json: string; detail: number }[] = [];
  private decision = 0;

  constructor(
    /** The cluster's number in the file. */
    readonly id: number,
    readonly state: State,
    public head: Head,
    /** Numbers of the texts that many versions share. */
    private readonly nextDetail: () => number,
  ) {
    this.touched = new Touched(state);
    this.decision = state.position;
    for (const vmId of state.vms.keys())
      this.vms.set(vmId, { json: '', detail: 0, host: undefined, from: 0 });
  }

  /** Where a VM is since when, as a file of an earlier run says. */
  rememberStay(vmId: string, host: string, from: number): void {
    this.vms.set(vmId, { json: '', detail: 0, host, from });
  }

  /** Position of the first event of the decision that the last event belongs to, for a state of an earlier run. */
  rememberDecision(position: number): void {
    this.decision = position;
  }

  /**
   * Takes the next event in.
   *
   * @throws Error for one that this version does not know.
   */
  take(body: EventBody): void {
    const event = placed(body);
    const { state, touched } = this;
    const first = state.lastCause === undefined || event.cause.id !== state.lastCause.id;
    if (first) this.decision = event.position;
    this.writeEvent(event);
    touched.clear();
    // HOST-9: whatever a report leads to, its host was heard.
    if (first && event.cause.report !== undefined) touched.host(event.cause.report.hostId);
    (PROJECTIONS[event.type] as (touched: Touched, data: object) => void)(touched, event.data);
    evolve(state, event);
    this.writeTouched(event);
  }

  private writeEvent(event: PlacedEvent): void {
    const { id, rows, state } = this;
    const data = event.data as Mentions;
    const tenant =
      data.tenant ?? (data.vmId === undefined ? undefined : state.vms.get(data.vmId)?.tenant) ?? null;
    const first = this.decision === event.position;
    rows.add(
      'event',
      id,
      event.position,
      this.decision,
      event.at,
      event.type,
      data.vmId ?? null,
      data.hostId ?? null,
      data.pf ?? null,
      data.vf ?? null,
      tenant,
      first ? hash53(event.cause.id) : null,
    );
    for (const mac of macsOf(state, event.type, data)) rows.add('mac_event', id, mac, event.position);
  }

  private writeTouched({ position, at }: PlacedEvent): void {
    const { touched, rows, id } = this;
    const { allocated, released } = touched;
    if (allocated !== undefined) {
      const { allocationId, vmId, nicId, tenant, hostId, pf, vf, vlanId, mac, reason } = allocated;
      rows.beginAllocation(id, position, [
        allocationId,
        vmId,
        nicId,
        tenant ?? null,
        hostId,
        pf,
        vf,
        vlanId ?? null,
        mac,
        at,
        reason,
      ]);
    }
    if (released !== undefined) {
      rows.finishAllocation(id, positionOf(released.allocationId), position, at, released.reason);
      // What it is left with, a scrub or a stranger, is its own from now on (SCRUB-1, HOST-7).
      const { hostId, vf: address } = released;
      const vf = this.state.hosts.get(hostId)?.vfs.get(address);
      if (vf !== undefined && ownState(vf) !== 'free') touched.vf(released);
    }
    for (const hostId of touched.inventories.keys()) this.writeInventory(hostId, position);
    for (const hostId of touched.hosts) this.writeHost(hostId, position);
    for (const [hostId, address] of touched.pfs.values()) {
      if (touched.inventories.has(hostId)) continue;
      const pf = this.state.hosts.get(hostId)?.pfs.get(address);
      if (pf !== undefined) this.writePf(pf, position);
    }
    for (const [hostId, address] of touched.vfs.values()) {
      if (!touched.inventories.has(hostId)) this.writeVf(hostId, address, position);
    }
    for (const vmId of touched.vms) this.writeVm(vmId, position);
    for (const networkId of touched.networks) this.writeNetwork(networkId, position);
    if (touched.policy) rows.add('policy_version', id, position, JSON.stringify(this.state.policy));
  }

  private writeHost(hostId: string, position: number): void {
    const host = this.state.hosts.get(hostId);
    if (host === undefined) {
      this.rows.add('host_version', this.id, hostId, position, null, null);
      return;
    }
    this.rows.add('host_version', this.id, hostId, position, host.ordinal, JSON.stringify(hostFacts(host)));
  }

  private writeInventory(hostId: string, position: number): void {
    const before = this.touched.inventories.get(hostId);
    const host = this.state.hosts.get(hostId);
    if (host !== undefined) this.rows.add('known_host', this.id, hostId);
    const now = vfsOf(host);
    for (const pf of host?.pfs.values() ?? []) this.writePf(pf, position);
    const still = new Set([...(host?.pfs.values() ?? [])].map(({ ordinal }) => ordinal));
    for (const ordinal of before?.pfs ?? []) {
      if (!still.has(ordinal)) {
        this.rows.add('pf_version', this.id, ordinal, position, null, null, null, null);
        delete this.pfDetails[ordinal];
      }
    }
    for (const [address, facts] of now) {
      if (before?.vfs.get(address) !== facts) this.writeVf(hostId, address, position);
    }
    for (const address of before?.vfs.keys() ?? []) {
      if (!now.has(address)) this.writeVf(hostId, address, position);
    }
  }

  private writePf(pf: Pf, position: number): void {
    const { obstacle, ...facts } = pfFacts(pf);
    const json = JSON.stringify(obstacle === undefined ? facts : { ...facts, obstacle });
    let last = this.pfDetails[pf.ordinal];
    if (last?.json !== json) {
      if (last === undefined) {
        this.rows.add('known_pf', this.id, pf.ordinal, pf.host.id, pf.host.ordinal, pf.address);
      }
      last = { json, detail: this.addDetail(json) };
      this.pfDetails[pf.ordinal] = last;
    }
    const free = obstacle === undefined ? pf.free.size : 0;
    this.rows.add('pf_version', this.id, pf.ordinal, position, pf.vfs.length, free, pf.held, last.detail);
  }

  private writeVf(hostId: string, address: string, position: number): void {
    const vf = this.state.hosts.get(hostId)?.vfs.get(address);
    const row: Value[] =
      vf === undefined ? [null, null, null] : [vf.pf.ordinal, vf.report.index, ownState(vf)];
    this.rows.add('vf_version', this.id, hostId, address, position, ...row);
  }

  private writeVm(vmId: string, position: number): void {
    const { rows, id } = this;
    const vm = this.state.vms.get(vmId);
    let last = this.vms.get(vmId);
    if (vm === undefined) {
      // A refusal about a VM that nobody knows changes nothing.
      if (last === undefined) return;
      this.moveVm(vmId, last, undefined, position);
      this.vms.delete(vmId);
      rows.add('vm_version', id, vmId, position, null, null, null, null, null, null, null);
      return;
    }
    const json = identitiesOf(vm);
    if (last === undefined) {
      last = { json: '', detail: 0, host: undefined, from: 0 };
      this.vms.set(vmId, last);
      rows.add('known_vm', id, vmId);
    }
    if (last.json !== json) {
      last.json = json;
      last.detail = this.addDetail(json);
    }
    this.moveVm(vmId, last, vm.state === 'stopped' ? undefined : vm.hostId, position);
    rows.add(
      'vm_version',
      id,
      vmId,
      position,
      vm.state,
      vm.hostId ?? null,
      vm.tenant ?? null,
      vm.generation ?? null,
      vm.overdueSince ?? null,
      connectionsOf(vm),
      last.detail,
    );
  }

  private moveVm(vmId: string, last: LastOfVm, host: string | undefined, position: number): void {
    if (last.host === host) return;
    if (last.host !== undefined) this.rows.finishStay(this.id, last.host, last.from, vmId, position);
    last.host = host;
    last.from = position;
    if (host !== undefined) this.rows.beginStay(this.id, host, position, vmId);
  }

  private addDetail(json: string): number {
    const detail = this.nextDetail();
    this.rows.add('detail', detail, json);
    return detail;
  }

  private writeNetwork(networkId: string, position: number): void {
    const { l2Networks, l3Networks } = this.state;
    for (const [layer, network] of [
      [2, l2Networks.get(networkId)],
      [3, l3Networks.get(networkId)],
    ] as const) {
      const json = network === undefined ? null : JSON.stringify(network);
      this.rows.add('network_version', this.id, networkId, position, layer, json);
    }
  }
}

/** Fields by which an event may be about something. */
interface Mentions {
  readonly vmId?: string;
  readonly nicId?: string;
  readonly hostId?: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly mac?: string;
  readonly tenant?: string;
  readonly allocationId?: string;
  readonly nics?: readonly { readonly mac?: string }[];
  readonly nic?: { readonly mac?: string };
}

/** The MACs that an event is about: those that it names, and that of the NIC that it is about. */
function macsOf(state: State, type: EventType, data: Mentions): readonly string[] {
  if (data.mac !== undefined) return [data.mac];
  if (data.nics !== undefined) return data.nics.flatMap(({ mac }) => mac ?? []);
  if (data.nic !== undefined) return data.nic.mac === undefined ? [] : [data.nic.mac];
  if (type === 'HostRegistered' || data.vmId === undefined || data.nicId === undefined) return [];
  const mac = state.vms.get(data.vmId)?.nics.get(data.nicId)?.mac;
  return mac === undefined || mac === '' ? [] : [mac];
}

/** What NICs are for as long as the VM keeps them. */
function identitiesOf(vm: Vm): string {
  const nics = [];
  for (const nic of vm.nics.values()) {
    const { id: nicId, type, mac, networkId, physicalNetwork, guestSlot } = nic;
    nics.push({ nicId, type, mac, networkId, physicalNetwork, guestSlot });
  }
  return JSON.stringify(nics);
}

/**
 * How each NIC is connected, in their order: the position of its allocation, or `n` for a vNIC, `d` degraded,
 * `f` detached by force, `s` stopped.
 */
function connectionsOf(vm: Vm): string {
  const connections: (string | number)[] = [];
  for (const nic of vm.nics.values()) {
    if (nic.allocation !== undefined) connections.push(positionOf(nic.allocation.id));
    else if (nic.type === 'vnic') connections.push('n');
    else if (nic.degraded) connections.push('d');
    else connections.push(nic.detachedByForce ? 'f' : 's');
  }
  return connections.join(',');
}

/** The position at which an allocation was made: the first part of its id (EX-4). */
export const positionOf = (allocationId: string): number =>
  Number(allocationId.slice(0, allocationId.indexOf('-')));

/** @throws Error for an event, or a form of one, that this version does not know. */
export function placed(body: EventBody): PlacedEvent {
  const { position, type, data, time, cause, schema, decider } = body;
  if (!Object.hasOwn(PROJECTIONS, type)) {
    throw new Error(
      `event ${position} is a '${type}', which this version does not know: run a newer version`,
    );
  }
  const unknown = unknownVersion(position, type, schema, decider);
  if (unknown !== undefined) throw new Error(unknown);
  return { position, type, data, at: Date.parse(time), cause } as PlacedEvent;
}
