import type { AskableInput } from '#client';

export type Method = 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/**
 * An operator's or control plane's command over HTTP: an input of the contract, whose ids stand in the path and
 * whose other fields are the body.
 */
export interface Command {
  readonly method: Method;
  /** Below `/v1/clusters/{cluster}`; a name in braces is the field of the input. */
  readonly path: string;
  readonly type: AskableInput;
  readonly summary: string;
  /** Fields that the body may leave out, and what they then are. */
  readonly defaults?: Readonly<Record<string, unknown>>;
}

/** Every command. The controller, the OpenAPI document and its test are made from this table. */
export const COMMANDS: readonly Command[] = [
  {
    method: 'POST',
    path: 'hosts/{hostId}/pfs/{pf}/virtualize',
    type: 'PfVirtualizeRequested',
    summary: 'Order the split of a PF into VFs (PF-2); the host does it and reports PfVirtualized',
  },
  {
    method: 'POST',
    path: 'hosts/{hostId}/pfs/{pf}/restore',
    type: 'PfRestoreRequested',
    summary: 'Order the VFs of a PF away (PF-4); VMs that use them lose them, unless the policy is reject',
  },
  {
    method: 'POST',
    path: 'hosts/{hostId}/pfs/{pf}/cordon',
    type: 'PfCordoned',
    summary: 'Keep a PF from new allocations (HOST-6), or let it serve again',
    defaults: { cordoned: true },
  },
  {
    method: 'POST',
    path: 'hosts/{hostId}/pfs/{pf}/accept',
    type: 'PfAccepted',
    summary: 'Accept other hardware at a known address (PF-9)',
  },
  {
    method: 'POST',
    path: 'hosts/{hostId}/cordon',
    type: 'HostCordoned',
    summary: 'Keep a host from new allocations (HOST-6), or let it serve again',
    defaults: { cordoned: true },
  },
  {
    method: 'POST',
    path: 'hosts/{hostId}/fence',
    type: 'HostFenced',
    summary: 'Declare that nothing runs on a host any more (HOST-5): its allocations are released',
  },
  {
    method: 'DELETE',
    path: 'hosts/{hostId}',
    type: 'HostRemovalRequested',
    summary: 'Remove a host (HOST-8)',
  },
  {
    method: 'POST',
    path: 'hosts/{hostId}/allocations/{allocationId}/release',
    type: 'AllocationReleaseRequested',
    summary: 'End an allocation that nobody else ends (VM-17)',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/start',
    type: 'VmStartRequested',
    summary: 'Take a VF for each VF NIC of a VM, all on one host, or none (VM-1)',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/started',
    type: 'VmStarted',
    summary: 'Say that a VM runs (VM-12)',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/abort',
    type: 'VmStartAborted',
    summary: 'Say that a start came to nothing: its VFs are released',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/stop',
    type: 'VmStopped',
    summary: 'Say that a VM has stopped: its VFs are released (VM-3)',
  },
  {
    method: 'DELETE',
    path: 'vms/{vmId}',
    type: 'VmDestroyed',
    summary: 'Say that a VM is no more: its VFs and MACs are released (VM-3)',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/migrate',
    type: 'VmMigrationRequested',
    summary: 'Ask whether a VM may migrate (VM-9)',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/nics',
    type: 'VmNicAttachRequested',
    summary: 'Attach a NIC (VM-6)',
  },
  {
    method: 'DELETE',
    path: 'vms/{vmId}/nics/{nicId}',
    type: 'VmNicDetachRequested',
    summary: 'Detach a NIC: its VF is released (VM-7)',
  },
  {
    method: 'POST',
    path: 'vms/{vmId}/nics/{nicId}/type',
    type: 'VmNicTypeChangeRequested',
    summary: 'Change the type of a NIC of a stopped VM (VM-8)',
  },
  {
    method: 'PUT',
    path: 'networks/l2/{l2Id}',
    type: 'L2NetworkDefined',
    summary: 'Define an L2 network, or define it anew (NET-1, NET-7)',
  },
  {
    method: 'PUT',
    path: 'networks/l3/{l3Id}',
    type: 'L3NetworkDefined',
    summary: 'Define an L3 network, or define it anew (NET-2, NET-7)',
  },
  {
    method: 'DELETE',
    path: 'networks/{id}',
    type: 'NetworkRemovalRequested',
    summary: 'Remove an L2 or L3 network (NET-8)',
  },
  {
    method: 'PATCH',
    path: 'policy',
    type: 'ClusterPolicyChanged',
    summary: "Change the cluster's policy; what is left out stays as it is",
  },
];

/** The fields of the input that stand in the path. */
export const pathFields = (path: string): readonly string[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
