import type { Refusal, StartedNic } from './events.js';
import type { L3Kind, NicSpec, NicType, OnExhaustion } from './inputs.js';
import { generatedMac } from './naming.js';
import { refusal } from './refusal.js';
import { ANY_NETWORK } from './standing.js';
import { lastVf, type Nic, type State } from './state.js';

/** A NIC that was asked for, with everything known about it: what a start or an attach works with. */
export interface NicPlan {
  readonly nicId: string;
  readonly type: NicType;
  readonly networkId?: string;
  readonly physicalNetwork?: string;
  readonly onExhaustion: OnExhaustion;
  readonly mac: string;
  readonly guestSlot?: number | string;
  readonly services?: Nic['services'];
  /** The name its PF must go by; '' for any. */
  readonly network: string;
  readonly vlanId?: number;
  readonly last?: Nic['last'];
}

export const isRefusal = <T extends object>(result: T | Refusal): result is Refusal => 'reason' in result;

type GuestSlot = NicSpec['guestSlot'];

/** The place of a slot as an address: slot 5 is function 0 of device 5 on guest bus 0. */
const guestAddress = (slot: GuestSlot): string | undefined =>
  typeof slot === 'number' ? `0000:00:${slot.toString(16).padStart(2, '0')}.0` : slot;

/** Whether two NICs would sit at one place of the guest, however it is written. */
export const isSameSlot = (one: GuestSlot, other: GuestSlot): boolean =>
  one !== undefined && guestAddress(one) === guestAddress(other);

/** What a NIC says of itself, to be asked for again: a restart without `nics` (VM-4). */
export const specOf = (nic: Nic): NicSpec => ({
  nicId: nic.id,
  type: nic.type,
  networkId: nic.networkId,
  physicalNetwork: nic.physicalNetwork,
  onExhaustion: nic.onExhaustion,
  mac: nic.mac,
  guestSlot: nic.guestSlot,
  ...nic.services,
});

/**
 * Completes the NICs that a VM asks for: identity from before (VM-4), network and VLAN (NET-3), services
 * (NET-5, NET-6) and MAC (NET-9).
 *
 * @returns the plans in order, or the first reason against.
 */
export function planNics(
  state: State,
  vmId: string,
  specs: readonly NicSpec[],
): readonly NicPlan[] | Refusal {
  const plans: NicPlan[] = [];
  const macs = new Set<string>();
  for (const spec of specs) {
    const plan = planNic(state, vmId, spec, macs);
    if (isRefusal(plan)) return plan;
    const neighbour = plans.find(({ guestSlot }) => isSameSlot(guestSlot, plan.guestSlot));
    if (neighbour !== undefined) {
      const message = `guest slot ${plan.guestSlot} is taken by NIC ${neighbour.nicId}`;
      return refusal('NIC_EXISTS', message);
    }
    macs.add(plan.mac);
    plans.push(plan);
  }
  return plans;
}

function planNic(state: State, vmId: string, spec: NicSpec, taken: ReadonlySet<string>): NicPlan | Refusal {
  const known = state.vms.get(vmId)?.nics.get(spec.nicId);
  const type = spec.type ?? 'vf';
  const network = type === 'vf' ? resolveNetwork(state, spec) : { network: ANY_NETWORK };
  if (isRefusal(network)) return network;
  const mac = chooseMac(state, vmId, spec, known, taken);
  if (typeof mac !== 'string') return mac;
  const { securityGroups, elasticIp, qos } = spec;
  return {
    nicId: spec.nicId,
    type,
    networkId: spec.networkId,
    physicalNetwork: spec.physicalNetwork,
    onExhaustion: spec.onExhaustion ?? 'fail',
    mac,
    guestSlot: spec.guestSlot ?? known?.guestSlot,
    services:
      securityGroups === undefined && elasticIp === undefined && qos === undefined
        ? undefined
        : { securityGroups, elasticIp, qos },
    network: network.network,
    vlanId: network.vlanId,
    last: known && lastVf(known),
  };
}

/** NET-9: the MAC that was asked for, or the one it has had, or a generated one; nobody else's. */
function chooseMac(
  state: State,
  vmId: string,
  spec: NicSpec,
  known: Nic | undefined,
  taken: ReadonlySet<string>,
): string | Refusal {
  const isMine = (holder: Nic | undefined): boolean =>
    holder === undefined || (holder.vm.id === vmId && holder.id === spec.nicId);
  const asked = spec.mac ?? (known?.mac || undefined);
  if (asked !== undefined) {
    const holder = state.macs.get(asked);
    if (!isMine(holder)) {
      return refusal('MAC_IN_USE', `MAC ${asked} belongs to NIC ${holder?.id} of VM ${holder?.vm.id}`, [
        { vmId: holder?.vm.id ?? '', nicId: holder?.id ?? '' },
      ]);
    }
    if (taken.has(asked)) return refusal('MAC_IN_USE', `MAC ${asked} is asked for by two NICs of VM ${vmId}`);
    return asked;
  }
  for (let attempt = 0; ; attempt++) {
    const mac = generatedMac(state.cluster, vmId, spec.nicId, attempt);
    if (isMine(state.macs.get(mac)) && !taken.has(mac)) return mac;
  }
}

/** NET-3, NET-7: the name and VLAN under which a VF NIC is served. */
function resolveNetwork(state: State, spec: NicSpec): { network: string; vlanId?: number } | Refusal {
  if (spec.networkId === undefined) {
    return serviceRefusal(spec, undefined) ?? { network: spec.physicalNetwork ?? ANY_NETWORK };
  }
  const l3 = state.l3Networks.get(spec.networkId);
  const l2 = l3 === undefined ? undefined : state.l2Networks.get(l3.l2Id);
  if (l3 === undefined || l2 === undefined) {
    return refusal(
      'NETWORK_UNKNOWN',
      `NIC ${spec.nicId} asks for network ${spec.networkId}, which is not defined`,
    );
  }
  if (!l3.sriov || !l2.sriov) {
    const off = l3.sriov ? `its L2 network ${l2.l2Id}` : `network ${l3.l3Id}`;
    return refusal(
      'NETWORK_SRIOV_DISABLED',
      `NIC ${spec.nicId} needs a VF, but SR-IOV is switched off on ${off}`,
    );
  }
  return serviceRefusal(spec, l3.kind) ?? { network: l2.physicalInterface, vlanId: l2.vlanId };
}

/** NET-5, NET-6: services work on the host's data path, which a VF goes around. */
function serviceRefusal(spec: NicSpec, kind: L3Kind | undefined): Refusal | undefined {
  const refuse = (service: string): Refusal =>
    refusal(
      'SERVICE_UNSUPPORTED_ON_VF',
      `NIC ${spec.nicId} is a VF NIC${kind === undefined ? '' : ` on a ${kind} network`}: it takes no ${service}`,
    );
  if (spec.qos !== undefined && Object.keys(spec.qos).length > 0) return refuse('QoS limit');
  if (kind !== undefined && (spec.securityGroups?.length ?? 0) > 0) return refuse('security group');
  if ((kind === 'public' || kind === 'flat') && spec.elasticIp !== undefined) return refuse('elastic IP');
  return undefined;
}

/** A plan as the answer to a start carries it, so that the next start knows it. */
export const startedNic = (plan: NicPlan, extra?: Partial<StartedNic>): StartedNic => ({
  nicId: plan.nicId,
  type: plan.type,
  ...extra,
  mac: plan.mac,
  networkId: plan.networkId,
  physicalNetwork: plan.physicalNetwork,
  onExhaustion: plan.onExhaustion === 'fail' ? undefined : plan.onExhaustion,
  guestSlot: plan.guestSlot,
  ...plan.services,
});
