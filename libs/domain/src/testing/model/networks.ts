import type { PlacedEvent } from '../../events.js';
import type { Known } from './known.js';

/** What events say of networks, and of the cluster's policy. */
export function foldNetwork(known: Known, event: PlacedEvent): void {
  switch (event.type) {
    case 'L2NetworkAccepted':
      known.check('NET-1', !event.data.sriov || event.data.type !== 'VxlanNetwork', 'SR-IOV on VXLAN');
      known.l2.set(event.data.l2Id, event.data);
      return;
    case 'L3NetworkAccepted':
      known.check(
        'NET-2',
        !event.data.sriov || known.l2.get(event.data.l2Id)?.sriov === true,
        `${event.data.l3Id} has SR-IOV and its L2 network has not`,
      );
      known.l3.set(event.data.l3Id, event.data);
      return;
    case 'NetworkRemoved': {
      const { id } = event.data;
      const users = [...known.vms.values()].some((vm) =>
        [...vm.nics.values()].some((nic) => nic.networkId === id),
      );
      // A name may stand for an L2 and an L3 network: neither may be in use.
      known.check('NET-8', !users && ![...known.l3.values()].some((l3) => l3.l2Id === id), `${id} is in use`);
      known.l2.delete(id);
      known.l3.delete(id);
      return;
    }
    case 'ClusterPolicyChanged':
      known.quotas = event.data.quotas ?? known.quotas;
      known.restoreOnBusy = event.data.restoreOnBusy ?? known.restoreOnBusy;
      known.promotion = event.data.promotion ?? known.promotion;
      known.startTimeout = event.data.startTimeoutSeconds ?? known.startTimeout;
      known.hostTimeout = event.data.hostTimeoutSeconds ?? known.hostTimeout;
      return;
    default:
      return;
  }
}
