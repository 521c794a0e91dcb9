import type { PlacedEvent } from '#domain';

/**
 * What the contract says of a cluster after some of its events, and nothing of how the scheduler keeps it:
 * only who was given what, as an auditor with a pencil would note it down.
 */
export interface Noted {
  /** By `host vf`. */
  readonly holders: ReadonlyMap<string, { vmId: string; nicId: string; allocationId: string }>;
  /** By VM: started, and not ended since. */
  readonly vmStates: ReadonlyMap<string, string>;
  /** VFs held, by `host pf`. */
  readonly held: ReadonlyMap<string, number>;
  readonly tenants: readonly Tenancy[];
  readonly hosts: ReadonlySet<string>;
}

export interface Tenancy {
  readonly where: string;
  readonly pf: string;
  readonly vmId: string;
  readonly nicId: string;
  readonly tenant?: string;
  readonly mac: string;
  readonly allocationId: string;
  readonly from: string;
  to?: string;
  reason?: string;
}

/** As the query `tenants` tells it. */
export const told = ({ vmId, nicId, tenant, mac, allocationId, from, to, reason }: Tenancy): object =>
  JSON.parse(JSON.stringify({ vmId, nicId, tenant, mac, allocationId, from, to, reason })) as object;

const iso = (at: number): string => new Date(at).toISOString();

export function note(events: readonly PlacedEvent[]): Noted {
  const holders = new Map<string, { vmId: string; nicId: string; allocationId: string }>();
  const vmStates = new Map<string, string>();
  const held = new Map<string, number>();
  const tenants: Tenancy[] = [];
  const hosts = new Set<string>();
  const end = (vmId: string): void => {
    if (vmStates.has(vmId)) vmStates.set(vmId, 'stopped');
  };
  for (const { type, data, at } of events) {
    switch (type) {
      case 'VfAllocated': {
        const { vmId, nicId, allocationId, hostId, vf, pf, tenant, mac } = data;
        const where = `${hostId} ${vf}`;
        if (holders.has(where)) throw new Error(`EX-1: ${where} is handed out twice`);
        holders.set(where, { vmId, nicId, allocationId });
        held.set(`${hostId} ${pf}`, (held.get(`${hostId} ${pf}`) ?? 0) + 1);
        tenants.push({ where, pf: `${hostId} ${pf}`, vmId, nicId, tenant, mac, allocationId, from: iso(at) });
        break;
      }
      case 'VfReleased': {
        const { hostId, vf, pf, allocationId, vmId, reason, forced } = data;
        holders.delete(`${hostId} ${vf}`);
        held.set(`${hostId} ${pf}`, (held.get(`${hostId} ${pf}`) ?? 0) - 1);
        const tenancy = tenants.find((one) => one.allocationId === allocationId);
        if (tenancy !== undefined) Object.assign(tenancy, { to: iso(at), reason });
        const rest = [...holders.values()].some((holder) => holder.vmId === vmId);
        // VM-12: a start that lost its last VF is over. VM-15: a VM that runs goes on.
        if ((reason === 'proved-unused' || (reason === 'operator' && !forced)) && !rest) end(vmId);
        break;
      }
      case 'VmStartAccepted':
        vmStates.set(data.vmId, 'pending');
        break;
      case 'VmStarted':
      case 'VmAdopted':
        vmStates.set(data.vmId, 'running');
        break;
      case 'VmStopped':
      case 'VmStartAborted':
        end(data.vmId);
        break;
      case 'VmDestroyed':
        vmStates.delete(data.vmId);
        break;
      case 'HostChanged':
      case 'HostFenced':
        for (const vmId of data.stoppedVms ?? []) end(vmId);
        break;
      case 'HostRegistered':
        hosts.add(data.hostId);
        break;
      case 'HostRemoved':
        hosts.delete(data.hostId);
        break;
      default:
        break;
    }
  }
  return { holders, vmStates, held, tenants, hosts };
}

/** The events about something, by what their data says. */
export const mentioning = (
  events: readonly PlacedEvent[],
  field: 'vmId' | 'hostId' | 'pf' | 'vf',
  value: string,
): readonly number[] =>
  events
    .filter(({ data }) => (data as Readonly<Record<string, unknown>>)[field] === value)
    .map(({ position }) => position);

interface Said {
  readonly vmId?: string;
  readonly nicId?: string;
  readonly hostId?: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly mac?: string;
  readonly tenant?: string;
  readonly nics?: readonly { readonly nicId: string; readonly mac?: string }[];
  readonly nic?: { readonly nicId: string; readonly mac?: string };
}

/** What an event is about: what its data names, and the tenant of the VM and the MAC of the NIC that it names. */
export interface About {
  readonly vmId?: string;
  readonly hostId?: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly tenant?: string;
  readonly macs: readonly string[];
}

/** What each event is about, in their order. */
export function abouts(events: readonly PlacedEvent[]): readonly About[] {
  const tenants = new Map<string, string>();
  const macs = new Map<string, Map<string, string>>();
  return events.map(({ type, data }) => {
    const { vmId, nicId, hostId, pf, vf, mac, tenant, nics, nic } = data as Said;
    const known = vmId === undefined || nicId === undefined ? undefined : macs.get(vmId)?.get(nicId);
    const named = nics ?? (nic === undefined ? undefined : [nic]);
    const about = {
      vmId,
      hostId,
      pf,
      vf,
      tenant: tenant ?? tenants.get(vmId ?? ''),
      macs:
        mac !== undefined
          ? [mac]
          : named !== undefined
            ? named.flatMap((one) => one.mac ?? [])
            : known === undefined
              ? []
              : [known],
    };
    if (vmId !== undefined) {
      const isStart = type === 'VmStartAccepted' || type === 'VmAdopted';
      if (isStart && tenant !== undefined) tenants.set(vmId, tenant);
      // The first that is heard of a VM may be what it is given.
      if (type === 'VfAllocated' && tenant !== undefined) tenants.set(vmId, tenant);
      // A start names all the NICs that the VM has from then on.
      if (type === 'VmStartAccepted') macs.set(vmId, new Map());
      if (isStart || type === 'VmNicAttached') {
        const ofVm = macs.get(vmId) ?? new Map<string, string>();
        for (const one of named ?? []) if (one.mac !== undefined) ofVm.set(one.nicId, one.mac);
        macs.set(vmId, ofVm);
      }
      if (type === 'VmNicDetached') macs.get(vmId)?.delete(nicId ?? '');
      if (type === 'VmDestroyed') {
        tenants.delete(vmId);
        macs.delete(vmId);
      }
    }
    return about;
  });
}

/** VF-seconds by a key, added up by hand. */
export function addUp(
  events: readonly PlacedEvent[],
  from: number,
  to: number,
  keyOf: (tenancy: Tenancy) => string,
): ReadonlyMap<string, { allocations: number; vfSeconds: number }> {
  const sums = new Map<string, { allocations: number; vfSeconds: number }>();
  for (const tenancy of note(events).tenants) {
    const begin = Math.max(from, Date.parse(tenancy.from));
    const end = Math.min(to, tenancy.to === undefined ? to : Date.parse(tenancy.to));
    // What ended before the period, or began after it, has no part in it.
    if (Date.parse(tenancy.from) >= to || (tenancy.to !== undefined && Date.parse(tenancy.to) <= from))
      continue;
    const sum = sums.get(keyOf(tenancy)) ?? { allocations: 0, vfSeconds: 0 };
    sum.allocations++;
    sum.vfSeconds = Math.round(sum.vfSeconds * 1000 + end - begin) / 1000;
    sums.set(keyOf(tenancy), sum);
  }
  return sums;
}
