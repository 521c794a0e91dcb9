import type { DomainEvent, VfAllocated, VfReleased } from '../events.js';
import type { HostReported, NicSpec, PfReport, VfReport, VmStartRequested } from '../inputs.js';
import { generatedMac } from '../naming.js';
import { expected, say, type Said } from './scenario.js';

/**
 * The fleet of the ZStack manual: two Dell 82599ES ports of 10 Gb with SR-IOV, two Intel I350 ports without.
 */
export type Port = 'em1' | 'em2' | 'em3' | 'em4';

export const EM1 = '0000:82:00.0';
export const EM2 = '0000:82:00.1';
export const EM3 = '0000:06:00.0';
export const EM4 = '0000:06:00.1';

const PORTS: Record<Port, Omit<PfReport, 'vfs'>> = {
  em1: {
    pciAddress: EM1,
    ifname: 'em1',
    model: '82599ES 10-Gigabit SFI/SFP+ Network Connection',
    driver: 'ixgbe',
    vendorId: '8086',
    deviceId: '10fb',
    numaNode: 1,
    link: 'up',
    speedMbps: 10_000,
    totalVfs: 63,
  },
  em2: {
    pciAddress: EM2,
    ifname: 'em2',
    model: '82599ES 10-Gigabit SFI/SFP+ Network Connection',
    driver: 'ixgbe',
    vendorId: '8086',
    deviceId: '10fb',
    numaNode: 1,
    link: 'up',
    speedMbps: 10_000,
    totalVfs: 63,
  },
  em3: {
    pciAddress: EM3,
    ifname: 'em3',
    model: 'I350 Gigabit Network Connection',
    driver: 'igb',
    numaNode: 0,
    link: 'up',
    speedMbps: 1000,
    totalVfs: 0,
  },
  em4: {
    pciAddress: EM4,
    ifname: 'em4',
    model: 'I350 Gigabit Network Connection',
    driver: 'igb',
    numaNode: 0,
    link: 'down',
    totalVfs: 0,
  },
};

/**
 * Address of a VF of em1 or em2. The ports' VFs interleave (PF-7): 82:10.0, 82:10.2 … and 82:10.1, 82:10.3 …
 */
export function vfAddress(port: 'em1' | 'em2', index: number): string {
  const place = index * 2 + (port === 'em1' ? 0 : 1);
  return `0000:82:${(0x10 + (place >> 3)).toString(16)}.${place & 7}`;
}

type VfFields = Partial<VfReport>;

/** A VF of em1 or em2 as a host reports it. */
export const vf = (port: 'em1' | 'em2', index: number, fields?: VfFields): VfReport => ({
  pciAddress: vfAddress(port, index),
  index,
  ...fields,
});

/** The first `count` VFs of a port; `fields` by index. */
export const vfs = (
  port: 'em1' | 'em2',
  count: number,
  fields: Readonly<Record<number, VfFields>> = {},
): VfReport[] => Array.from({ length: count }, (_, index) => vf(port, index, fields[index]));

/** A port of a host; a number instead of its VFs: as many as that. */
export function port(
  name: Port,
  split: number | readonly VfReport[] = 0,
  fields?: Partial<Omit<PfReport, 'vfs'>>,
): PfReport {
  const list = typeof split === 'number' ? vfs(name === 'em2' ? 'em2' : 'em1', split) : split;
  return { ...PORTS[name], ...fields, vfs: list };
}

/** The four ports, em1 and em2 split as said. */
export const ports = (
  em1: number | readonly VfReport[],
  em2: number | readonly VfReport[] = 0,
): PfReport[] => [port('em1', em1), port('em2', em2), port('em3'), port('em4')];

/** A host's inventory, ready for VFs unless it says otherwise. */
export const host = (hostId: string, fields?: Partial<Omit<HostReported, 'hostId'>>): HostReported => ({
  hostId,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: ports(0),
  ...fields,
});

export const reported = (
  hostId: string,
  fields?: Partial<Omit<HostReported, 'hostId'>>,
  options?: { readonly after?: number; readonly clock?: number },
): Said => say('HostReported', host(hostId, fields), options);

/** A VF NIC on em1 unless it says otherwise. */
export const nic = (nicId = 'eth0', fields?: Partial<NicSpec>): NicSpec => ({
  nicId,
  physicalNetwork: 'em1',
  ...fields,
});

/** A start with one VF NIC on em1 unless it says otherwise. */
export const start = (
  vmId: string,
  fields?: Partial<VmStartRequested>,
  options?: { readonly id?: string; readonly after?: number },
): Said => say('VmStartRequested', { vmId, nics: [nic()], ...fields }, options);

export const started = (
  vmId: string,
  fields?: { readonly hostId?: string; readonly bootId?: string },
): Said => say('VmStarted', { vmId, ...fields });

export const stopped = (vmId: string, fields?: { readonly generation?: number }): Said =>
  say('VmStopped', { vmId, ...fields });

/** A VLAN network `net1` on em1 and a flat one `net2` on em2, both with SR-IOV. */
export const networks = (): Said[] => [
  say('L2NetworkDefined', {
    l2Id: 'l2-1',
    type: 'L2VlanNetwork',
    physicalInterface: 'em1',
    vlanId: 100,
    sriov: true,
  }),
  say('L3NetworkDefined', { l3Id: 'net1', l2Id: 'l2-1', kind: 'flat', sriov: true }),
  say('L2NetworkDefined', { l2Id: 'l2-2', type: 'L2NoVlanNetwork', physicalInterface: 'em2', sriov: true }),
  say('L3NetworkDefined', { l3Id: 'net2', l2Id: 'l2-2', kind: 'vpc', sriov: true }),
];

/** The MAC of a NIC that asked for none. */
export const macOf = (vmId: string, nicId = 'eth0'): string => generatedMac('default', vmId, nicId, 0);

const numberOf = (address: string): number =>
  Number.parseInt(address.slice(8, 10), 16) * 8 + Number(address.slice(-1)) - 0x80;

/** The expected `VfAllocated` of eth0 on the first VF of em1 of h1, unless it says otherwise. */
export function allocated(
  fields: Pick<VfAllocated, 'allocationId' | 'vmId'> & Partial<VfAllocated>,
): DomainEvent {
  const { vmId, nicId = 'eth0', vf: address = vfAddress('em1', 0) } = fields;
  const onEm1 = numberOf(address) % 2 === 0;
  return expected('VfAllocated', {
    nicId,
    hostId: 'h1',
    pf: onEm1 ? EM1 : EM2,
    vf: address,
    vfIndex: numberOf(address) >> 1,
    physicalNetwork: onEm1 ? 'em1' : 'em2',
    mac: macOf(vmId, nicId),
    numaNode: 1,
    reason: 'start',
    ...fields,
  });
}

/** The expected `VfReleased` of eth0 from the first VF of em1 of h1, unless it says otherwise. */
export function released(
  fields: Pick<VfReleased, 'allocationId' | 'vmId' | 'reason'> & Partial<VfReleased>,
): DomainEvent {
  const { vf: address = vfAddress('em1', 0) } = fields;
  return expected('VfReleased', {
    nicId: 'eth0',
    hostId: 'h1',
    pf: numberOf(address) % 2 === 0 ? EM1 : EM2,
    vf: address,
    forced: false,
    ...fields,
  });
}
