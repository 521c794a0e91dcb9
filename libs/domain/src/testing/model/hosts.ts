import type { PlacedEvent } from '../../events.js';
import type { Input, Inputs } from '../../inputs.js';
import { takeVfs } from './inventory.js';
import type { Known } from './known.js';
import { stop } from './vms.js';

/** What events say of hosts. */
export function foldHost(known: Known, event: PlacedEvent): void {
  switch (event.type) {
    case 'HostLost': {
      const host = known.hosts.get(event.data.hostId);
      known.check(
        'HOST-5',
        host !== undefined && event.at - host.heardAt >= known.hostTimeout * 1000,
        `${event.data.hostId} is lost ${event.at - (host?.heardAt ?? 0)} ms after it was heard`,
      );
      if (host !== undefined) host.lost = true;
      return;
    }
    case 'HostBack': {
      const host = known.hosts.get(event.data.hostId);
      if (host !== undefined) host.lost = false;
      return;
    }
    case 'HostCordoned': {
      const host = known.hosts.get(event.data.hostId);
      if (host !== undefined) host.cordoned = event.data.cordoned;
      return;
    }
    case 'HostFenced': {
      const { hostId, stoppedVms } = event.data;
      const host = known.hosts.get(hostId);
      if (host !== undefined) host.fenced = true;
      known.check('HOST-5', known.heldOn(hostId).length === 0, `${hostId} is fenced and VFs of it are held`);
      for (const [vmId, vm] of known.vms)
        if (vm.hostId === hostId && vm.state !== 'stopped')
          known.check('VM-16', stoppedVms?.includes(vmId) === true, `${vmId} runs on after a fence`);
      for (const vmId of stoppedVms ?? []) stop(known, vmId, 'a fence');
      return;
    }
    case 'HostChanged':
      for (const vmId of event.data.stoppedVms ?? []) stop(known, vmId, 'a reboot');
      return;
    case 'HostRemoved':
      known.check(
        'HOST-8',
        known.heldOn(event.data.hostId).length === 0,
        `${event.data.hostId} is removed while held`,
      );
      {
        const host = known.hosts.get(event.data.hostId);
        if (host?.fenced === true) known.fencedAway.set(host.id, host);
      }
      known.hosts.delete(event.data.hostId);
      known.toldStale.delete(event.data.hostId);
      return;
    case 'HostRemovalRejected':
      if (event.data.reason === 'HOST_IN_USE')
        known.check(
          'HOST-8',
          event.data.holders?.length === known.heldOn(event.data.hostId).length &&
            event.data.holders.length > 0,
          `the holders of ${event.data.hostId} are not listed`,
        );
      return;
    default:
      return;
  }
}

/** What events say of PFs and their VFs. */
export function foldPf(known: Known, input: Input, event: PlacedEvent): void {
  switch (event.type) {
    case 'PfVirtualizationOrdered': {
      const host = known.hosts.get(event.data.hostId);
      const pf = known.pfOf(event.data);
      const { numVfs } = event.data;
      known.check('PF-2', pf !== undefined && host?.ready === true, `a split was ordered of an unready host`);
      known.check(
        'PF-2',
        pf?.link === 'up' || input.type === 'PfLinkChanged',
        `a split of a PF without link`,
      );
      known.check(
        'PF-2',
        input.type !== 'PfVirtualizeRequested' || (numVfs >= 1 && numVfs <= (pf?.totalVfs ?? 0)),
        `a split into ${numVfs} of ${pf?.totalVfs}`,
      );
      known.check(
        'PF-3',
        [...(pf?.vfs.values() ?? [])].every((vf) => !vf.present),
        `a split was ordered of a split PF`,
      );
      if (pf === undefined) return;
      known.check(
        'PF-10',
        input.type === 'PfVirtualizeRequested' || numVfs === pf.wanted,
        `${pf.address} is to be split into ${numVfs} again, and ${pf.wanted} are wanted`,
      );
      pf.work = 'virtualizing';
      pf.wanted = numVfs;
      return;
    }
    case 'PfRestoreOrdered': {
      const pf = known.pfOf(event.data);
      known.check(
        'PF-4',
        known.heldOn(event.data.hostId, event.data.pf).length === 0,
        `${event.data.pf} is to be restored and its VFs are held`,
      );
      const { onBusy = known.restoreOnBusy } = input.data as Inputs['PfRestoreRequested'];
      const user = [...(pf?.vfs.values() ?? [])].find((vf) => vf.stranger && vf.usedBy !== undefined);
      known.check(
        'PF-4',
        onBusy !== 'reject' || user === undefined,
        `${event.data.pf} is to be restored while ${user?.usedBy} uses ${user?.address}`,
      );
      if (pf === undefined) return;
      pf.work = 'restoring';
      pf.wanted = 0;
      return;
    }
    case 'PfVirtualized': {
      const host = known.hosts.get(event.data.hostId);
      const pf = known.pfOf(event.data);
      if (host === undefined || pf === undefined) return;
      known.check('PF-5', pf.work !== 'restoring', `${pf.address} is being restored, and is taken as split`);
      pf.work = undefined;
      pf.wanted ??= event.data.vfs.length;
      takeVfs(known, host, pf, event.data.vfs);
      return;
    }
    case 'PfVirtualizationFailed':
    case 'PfRestoreFailed': {
      const pf = known.pfOf(event.data);
      if (pf !== undefined) pf.work = undefined;
      return;
    }
    case 'PfRestored': {
      const host = known.hosts.get(event.data.hostId);
      const pf = known.pfOf(event.data);
      if (host === undefined || pf === undefined) return;
      known.check(
        'PF-4',
        known.heldOn(host.id, pf.address).length === 0,
        `${pf.address} is restored while held`,
      );
      pf.work = undefined;
      takeVfs(known, host, pf, []);
      return;
    }
    case 'PfDriverLost': {
      const pf = known.pfOf(event.data);
      known.check(
        'PF-6',
        known.heldOn(event.data.hostId, event.data.pf).length === 0,
        `the driver of ${event.data.pf} is gone and its VFs are held`,
      );
      if (pf === undefined) return;
      pf.lost = true;
      if (pf.work === 'virtualizing') pf.work = undefined;
      for (const vf of pf.vfs.values()) vf.present = false;
      return;
    }
    case 'PfLinkChanged': {
      const pf = known.pfOf(event.data);
      if (pf !== undefined) pf.link = event.data.link;
      return;
    }
    case 'PfCordoned': {
      const pf = known.pfOf(event.data);
      if (pf !== undefined) pf.cordoned = event.data.cordoned;
      return;
    }
    case 'PfAccepted': {
      const pf = known.pfOf(event.data);
      if (pf !== undefined) {
        pf.identity = pf.reported;
        pf.other = false;
      }
      return;
    }
    case 'VfScrubRequested':
      known.scrubAsked.add(event.data.allocationId);
      return;
    case 'VfScrubbed':
    case 'VfQuarantined': {
      const vf = known.vfOf(event.data.hostId, event.data.vf);
      const { allocationId } = event.data;
      known.check(
        'EX-4',
        vf === undefined || vf.scrubFor === allocationId || vf.quarantinedFor === allocationId,
        `${event.data.vf} waits for ${vf?.scrubFor}, and the word on ${allocationId} was taken`,
      );
      if (vf === undefined) return;
      vf.scrubFor = undefined;
      vf.quarantinedFor = event.type === 'VfQuarantined' ? allocationId : undefined;
      return;
    }
    default:
      return;
  }
}
