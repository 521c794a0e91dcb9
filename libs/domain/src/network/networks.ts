import type { DomainEvent } from '../events.js';
import type { Input } from '../inputs.js';
import { refusal } from '../refusal.js';
import type { State } from '../state.js';

/** NET-1, NET-7: an L2 network, with or without SR-IOV; a VXLAN network never has it. */
export function decideL2(_state: State, { data }: Input<'L2NetworkDefined'>): readonly DomainEvent[] {
  if (data.sriov && data.type === 'VxlanNetwork') {
    const why = refusal(
      'NETWORK_TYPE_UNSUPPORTED',
      `L2 network ${data.l2Id} is a VxlanNetwork, which cannot have SR-IOV`,
    );
    return [{ type: 'L2NetworkRejected', data: { l2Id: data.l2Id, ...why } }];
  }
  return [{ type: 'L2NetworkAccepted', data }];
}

/** NET-2, NET-7: an L3 network may have SR-IOV only if its L2 network has it. */
export function decideL3(state: State, { data }: Input<'L3NetworkDefined'>): readonly DomainEvent[] {
  const l2 = state.l2Networks.get(data.l2Id);
  if (l2 === undefined) {
    const why = refusal(
      'NETWORK_UNKNOWN',
      `L3 network ${data.l3Id} is on L2 network ${data.l2Id}, which is not defined`,
    );
    return [{ type: 'L3NetworkRejected', data: { l3Id: data.l3Id, l2Id: data.l2Id, ...why } }];
  }
  if (data.sriov && !l2.sriov) {
    const why = refusal(
      'NETWORK_SRIOV_DISABLED',
      `L3 network ${data.l3Id} asks for SR-IOV, which its L2 network ${data.l2Id} does not have`,
    );
    return [{ type: 'L3NetworkRejected', data: { l3Id: data.l3Id, l2Id: data.l2Id, ...why } }];
  }
  return [{ type: 'L3NetworkAccepted', data }];
}

/** NET-8: what is used is not removed. */
export function decideNetworkRemoval(
  state: State,
  { data: { id } }: Input<'NetworkRemovalRequested'>,
): readonly DomainEvent[] {
  const reject = (reason: 'NETWORK_UNKNOWN' | 'NETWORK_IN_USE', message: string): readonly DomainEvent[] => [
    { type: 'NetworkRemovalRejected', data: { id, ...refusal(reason, message) } },
  ];
  if (!state.l2Networks.has(id) && !state.l3Networks.has(id)) {
    return reject('NETWORK_UNKNOWN', `network ${id} is not defined`);
  }
  const nics = state.nicsOnNetwork.get(id) ?? 0;
  if (nics > 0)
    return reject('NETWORK_IN_USE', `network ${id} is used by ${nics} NIC${nics === 1 ? '' : 's'}`);
  const users = [...state.l3Networks.values()].filter(({ l2Id }) => l2Id === id).map(({ l3Id }) => l3Id);
  // Where an L2 and an L3 network have one id, the L3 network is meant: it must go first anyway.
  if (users.length > 0 && !state.l3Networks.has(id))
    return reject('NETWORK_IN_USE', `L2 network ${id} is used by L3 network ${users.sort().join(', ')}`);
  return [{ type: 'NetworkRemoved', data: { id } }];
}
