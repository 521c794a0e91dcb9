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
  readonly vmId: string;
  readonly nicId: string;
  readonly tenant?: string;
  readonly mac: string;
  readonly allocationId: string;
  readonly from: string;
  to?: string;
  reason?: string;
}

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
        tenants.push({ where, vmId, nicId, tenant, mac, allocationId, from: iso(at) });
        break;
      }
      case 'VfReleased': {
        const { hostId, vf, pf, allocationId, vmId, reason } = data;
        holders.delete(`${hostId} ${vf}`);
        held.set(`${hostId} ${pf}`, (held.get(`${hostId} ${pf}`) ?? 0) - 1);
        const tenancy = tenants.find((one) => one.allocationId === allocationId);
        if (tenancy !== undefined) Object.assign(tenancy, { to: iso(at), reason });
        const rest = [...holders.values()].some((holder) => holder.vmId === vmId);
        // VM-12, VM-17: nothing of the VM's own ended it, but it is not there any more.
        if ((reason === 'proved-unused' || reason === 'operator') && !rest) end(vmId);
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
