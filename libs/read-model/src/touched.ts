import type { Events, State } from '#domain';

export type Host = State['hosts'] extends Map<string, infer H> ? H : never;
export type Pf = Host['pfs'] extends Map<string, infer P> ? P : never;
export type Vf = Pf['vfs'][number];
export type Vm = State['vms'] extends Map<string, infer V> ? V : never;

/** What was in a host before an event. */
export interface Inventory {
  readonly pfs: readonly number[];
  readonly vfs: ReadonlyMap<string, string>;
}

/** What an event may have changed, to be looked at once it is in the state. */
export class Touched {
  readonly vms = new Set<string>();
  /** Hosts themselves, without their PFs. */
  readonly hosts = new Set<string>();
  readonly pfs = new Map<string, readonly [hostId: string, pf: string]>();
  readonly vfs = new Map<string, readonly [hostId: string, vf: string]>();
  /** Hosts whose PFs and VFs may have come, gone or changed, with the VFs as they were. */
  readonly inventories = new Map<string, Inventory>();
  readonly networks = new Set<string>();
  policy = false;
  allocated: Events['VfAllocated'] | undefined;
  released: Events['VfReleased'] | undefined;

  constructor(readonly state: State) {}

  clear(): void {
    this.vms.clear();
    this.hosts.clear();
    this.pfs.clear();
    this.vfs.clear();
    this.inventories.clear();
    this.networks.clear();
    this.policy = false;
    this.allocated = undefined;
    this.released = undefined;
  }

  vm(vmId: string): void {
    this.vms.add(vmId);
  }

  /** A refusal or the like: all that it can change is the generation that is known. */
  generation(data: { readonly vmId?: string; readonly generation?: number }): void {
    if (data.vmId !== undefined && data.generation !== undefined) this.vms.add(data.vmId);
  }

  host(hostId: string): void {
    this.hosts.add(hostId);
  }

  pf({ hostId, pf }: { readonly hostId: string; readonly pf: string }): void {
    this.pfs.set(`${hostId} ${pf}`, [hostId, pf]);
  }

  vf({ hostId, vf }: { readonly hostId: string; readonly vf: string }): void {
    this.vfs.set(`${hostId} ${vf}`, [hostId, vf]);
    const pf = this.state.hosts.get(hostId)?.vfs.get(vf)?.pf;
    if (pf !== undefined) this.pf({ hostId, pf: pf.address });
  }

  /** A host and the standing of its PFs. */
  standing(hostId: string): void {
    this.hosts.add(hostId);
    for (const pf of this.state.hosts.get(hostId)?.pfs.keys() ?? []) this.pf({ hostId, pf });
  }

  /** A host with all that is in it. */
  inventory(hostId: string): void {
    this.standing(hostId);
    const host = this.state.hosts.get(hostId);
    const pfs = [...(host?.pfs.values() ?? [])].map(({ ordinal }) => ordinal);
    this.inventories.set(hostId, { pfs, vfs: vfsOf(host) });
  }
}

/** The VFs of a host as they are kept, by address: what two of them have in common need not be written. */
export function vfsOf(host: Host | undefined): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [address, vf] of host?.vfs ?? [])
    found.set(address, `${vf.pf.ordinal} ${vf.report.index} ${ownState(vf)}`);
  return found;
}

/** The state of a VF apart from who holds it and from its PF. */
export function ownState(vf: Vf): 'free' | 'unavailable' | 'unknown' | 'quarantined' | 'scrubbing' {
  const { marks } = vf;
  if (marks.unknown) return 'unknown';
  if (marks.quarantinedFor !== undefined) return 'quarantined';
  if (marks.scrub !== undefined) return 'scrubbing';
  const barred = marks.unseen || marks.stranger || marks.sharesGroup || vf.report.hostUse !== undefined;
  return barred ? 'unavailable' : 'free';
}
