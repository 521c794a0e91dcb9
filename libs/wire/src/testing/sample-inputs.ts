import type { InputType, Inputs } from '#domain';
import { INPUT_CATALOG } from '../inputs/catalog.js';
import type { RawInput } from '../read-input.js';
import { inputSubject } from '../subjects.js';

/** The smallest and the largest sensible data of every input: good ones, to be varied by tests. */
export const SAMPLES: {
  readonly [T in InputType]: { readonly minimal: Inputs[T]; readonly full: Required<Inputs[T]> };
} = {
  VmStartRequested: {
    minimal: { vmId: 'vm-1' },
    full: {
      vmId: 'vm-1',
      generation: 7,
      hostId: 'host-1',
      hosts: ['host-1', 'host-2'],
      nics: [
        {
          nicId: 'nic-1',
          type: 'vf',
          networkId: 'l3-1',
          onExhaustion: 'fallback',
          mac: '02:00:00:00:00:01',
          guestSlot: 5,
        },
        {
          nicId: 'nic-2',
          type: 'vnic',
          physicalNetwork: 'bond0',
          onExhaustion: 'fail',
          guestSlot: '0000:01:00.0',
          securityGroups: ['sg-1', 'sg-2'],
          elasticIp: 'eip-1',
          qos: { outboundMbps: 100, burst: { seconds: 1.5, classes: ['gold', null, true] } },
        },
      ],
      tenant: 'blue',
      strategy: 'spread',
      separatePfs: true,
      numaNode: 1,
      guestOs: 'Windows Server 2025',
    },
  },
  VmStarted: {
    minimal: { vmId: 'vm-1' },
    full: { vmId: 'vm-1', generation: 7, hostId: 'host-1', bootId: 'b6b5dc5e-boot' },
  },
  VmStartAborted: {
    minimal: { vmId: 'vm-1' },
    full: { vmId: 'vm-1', generation: 7, reason: 'no disk' },
  },
  VmStopped: {
    minimal: { vmId: 'vm-1' },
    full: { vmId: 'vm-1', generation: 7, reason: 'shut down\nby its user' },
  },
  VmDestroyed: { minimal: { vmId: 'vm-1' }, full: { vmId: 'vm-1', generation: 0 } },
  VmRebooted: { minimal: { vmId: 'vm-1' }, full: { vmId: 'vm-1', generation: Number.MAX_SAFE_INTEGER } },
  VmMigrated: {
    minimal: { vmId: 'vm-1', hostId: 'host-2' },
    full: { vmId: 'vm-1', generation: 7, hostId: 'host-2' },
  },
  VmAdopted: {
    minimal: { vmId: 'vm-1', hostId: 'host-1', nics: [] },
    full: {
      vmId: 'vm-1',
      generation: 7,
      hostId: 'host-1',
      tenant: 'blue',
      nics: [{ nicId: 'nic-1', vf: '0000:82:10.2', mac: '02:00:00:00:00:01', networkId: 'l3-1' }],
    },
  },
  VmNicAttachRequested: {
    minimal: { vmId: 'vm-1', nic: { nicId: 'nic-1' } },
    full: { vmId: 'vm-1', generation: 7, nic: { nicId: 'nic-1', type: 'vf', guestSlot: 31 } },
  },
  VmNicDetachRequested: {
    minimal: { vmId: 'vm-1', nicId: 'nic-1' },
    full: { vmId: 'vm-1', generation: 7, nicId: 'nic-1' },
  },
  VmNicTypeChangeRequested: {
    minimal: { vmId: 'vm-1', nicId: 'nic-1', type: 'vnic' },
    full: { vmId: 'vm-1', generation: 7, nicId: 'nic-1', type: 'vf' },
  },
  VmMigrationRequested: {
    minimal: { vmId: 'vm-1', kind: 'live' },
    full: { vmId: 'vm-1', generation: 7, kind: 'cold', targetHostId: 'host-2' },
  },
  HostReported: {
    minimal: {
      hostId: 'host-1',
      bootId: 'boot-1',
      seq: 0,
      iommu: { enabled: true, ready: false },
      interruptRemapping: false,
      pfs: [],
    },
    full: {
      hostId: 'host-1',
      bootId: 'boot-1',
      seq: 42,
      bootedAt: '2026-07-31T23:59:59.123456789+02:00',
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      unsafeInterruptsAllowed: false,
      scrubs: true,
      vms: ['vm-1', 'vm-2'],
      pfs: [
        {
          pciAddress: '0000:82:00.0',
          ifname: 'ens1f0',
          model: 'Ethernet Controller X710 für 10GbE',
          driver: 'i40e',
          vendorId: '8086',
          deviceId: '1572',
          serial: '68-05-ca-ff-ff-36-2b-10',
          permanentMac: '3c:fd:fe:00:00:01',
          numaNode: -1,
          link: 'up',
          speedMbps: 10_000,
          totalVfs: 64,
          physicalNetwork: 'physnet1',
          bond: 'bond0',
          vfs: [
            {
              pciAddress: '0000:82:10.0',
              index: 0,
              mac: '00:00:00:00:00:00',
              vlan: 0,
              iommuGroup: 101,
              iommuGroupShared: false,
              hostUse: 'bridge',
              boundDriver: 'vfio-pci',
              usedByVmId: 'vm-1',
              scrubbedFor: 'a-1',
            },
            { pciAddress: '0000:82:10.2', index: 1 },
          ],
        },
        { pciAddress: '0000:82:00.1', ifname: 'ens1f1', link: 'down', totalVfs: 0, vfs: [] },
      ],
    },
  },
  HostSeen: {
    minimal: { hostId: 'host-1', bootId: 'boot-1', seq: 1, digest: 'd' },
    full: { hostId: 'host-1', bootId: 'boot-1', seq: 43, digest: 'sha256:abc' },
  },
  HostCordoned: {
    minimal: { hostId: 'host-1', cordoned: false },
    full: { hostId: 'host-1', cordoned: true },
  },
  HostFenced: { minimal: { hostId: 'host-1' }, full: { hostId: 'host-1' } },
  HostRemovalRequested: { minimal: { hostId: 'host-1' }, full: { hostId: 'host-1' } },
  PfVirtualizeRequested: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0', numVfs: -1 },
    full: { hostId: 'host-1', pf: '0000:82:00.0', numVfs: 64 },
  },
  PfVirtualized: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0', vfs: [] },
    full: {
      hostId: 'host-1',
      pf: '0000:82:00.0',
      vfs: [
        { pciAddress: '0000:82:10.0', index: 0, mac: '02:00:00:00:00:01', vlan: 100 },
        { pciAddress: '0000:82:10.2', index: 1 },
      ],
    },
  },
  PfVirtualizationFailed: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0', reason: 'write error: Cannot allocate memory' },
    full: { hostId: 'host-1', pf: '0000:82:00.0', reason: 'no room', numVfs: 64 },
  },
  PfRestoreRequested: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0' },
    full: { hostId: 'host-1', pf: '0000:82:00.0', onBusy: 'reject' },
  },
  PfRestored: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0' },
    full: { hostId: 'host-1', pf: 'ffff:ff:1f.7' },
  },
  PfRestoreFailed: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0', reason: 'busy' },
    full: { hostId: 'host-1', pf: '0000:82:00.0', reason: 'busy' },
  },
  PfDriverLost: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0' },
    full: { hostId: 'host-1', pf: '0000:82:00.0' },
  },
  PfLinkChanged: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0', link: 'up' },
    full: { hostId: 'host-1', pf: '0000:82:00.0', link: 'down' },
  },
  PfCordoned: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0', cordoned: true },
    full: { hostId: 'host-1', pf: '0000:82:00.0', cordoned: false },
  },
  PfAccepted: {
    minimal: { hostId: 'host-1', pf: '0000:82:00.0' },
    full: { hostId: 'host-1', pf: '0000:82:00.0' },
  },
  VfScrubbed: {
    minimal: { hostId: 'host-1', vf: '0000:82:10.0', allocationId: 'a-1', clean: true },
    full: {
      hostId: 'host-1',
      vf: '0000:82:10.0',
      allocationId: 'a-1',
      clean: false,
      detail: 'VLAN 7 is set',
    },
  },
  AllocationReleaseRequested: {
    minimal: { hostId: 'host-1', allocationId: 'a-1', reason: 'lost' },
    full: { hostId: 'host-1', allocationId: 'a-1', reason: 'the VM is gone, ticket 4711' },
  },
  L2NetworkDefined: {
    minimal: { l2Id: 'l2-1', type: 'L2NoVlanNetwork', physicalInterface: 'ens1f0', sriov: false },
    full: { l2Id: 'l2-1', type: 'L2VlanNetwork', physicalInterface: 'bond0', vlanId: 4094, sriov: true },
  },
  L3NetworkDefined: {
    minimal: { l3Id: 'l3-1', l2Id: 'l2-1', kind: 'flat', sriov: false },
    full: { l3Id: 'l3-1', l2Id: 'l2-1', kind: 'vpc', sriov: true },
  },
  NetworkRemovalRequested: { minimal: { id: 'l3-1' }, full: { id: 'l3-1' } },
  ClusterPolicyChanged: {
    minimal: {},
    full: {
      restoreOnBusy: 'reject',
      bond: 'warn',
      promotion: false,
      startTimeoutSeconds: 1,
      scrubTimeoutSeconds: 60,
      hostTimeoutSeconds: 31_536_000,
      strategy: 'pack',
      quotas: { blue: 0, red: 1000 },
      hardwareLimits: [
        { match: 'X710', onSplit: 'old firmware', guests: { match: ['freebsd'], warning: 'no link' } },
      ],
    },
  },
  Tick: { minimal: {}, full: {} },
};

export const INPUT_TYPES = Object.keys(SAMPLES) as readonly InputType[];

/** The attributes of a good event. */
export const attributesOf = (type: string, id = `test:${type}`): Record<string, unknown> => ({
  specversion: '1.0',
  id,
  source: '/compute/controller-1',
  type,
  time: '2026-08-01T12:00:00.000Z',
});

const encoder = new TextEncoder();
export const bytes = (text: string): Uint8Array => encoder.encode(text);

/** The subject that an input with such data has. */
export function subjectFor(type: InputType, data: object, cluster = 'default'): string {
  const { kind, idField } = INPUT_CATALOG[type];
  const id = idField === undefined ? cluster : (data as Record<string, string>)[idField];
  return inputSubject(cluster, kind, String(id), type);
}

/** Milliseconds since 1970 at which the samples were stored. */
export const STORED_AT = 1_785_585_600_000;

/** A good event in structured mode; `data` need not be what the type takes. */
export const structured = (
  type: InputType,
  data: object = SAMPLES[type].minimal,
  attributes: Record<string, unknown> = {},
): RawInput => ({
  subject: subjectFor(type, { ...SAMPLES[type].minimal, ...data }),
  payload: bytes(JSON.stringify({ ...attributesOf(type), ...attributes, data })),
  time: STORED_AT,
});

/** The same in binary mode. */
export function binary(type: InputType, data: object, attributes: Record<string, unknown> = {}): RawInput {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' };
  for (const [name, value] of Object.entries({ ...attributesOf(type), ...attributes })) {
    headers[`ce-${name}`] = encodeURIComponent(String(value));
  }
  return { subject: subjectFor(type, data), headers, payload: bytes(JSON.stringify(data)), time: STORED_AT };
}
