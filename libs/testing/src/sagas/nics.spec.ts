import { expect } from '@jest/globals';
import type { NicSpec } from '#domain';
import {
  EM1,
  fleet,
  nic,
  say,
  start,
  started,
  stopped,
  vfAddress,
  type SagaStep,
  type Simulation,
} from '../index.js';
import { deaf, prove, proveRefusals, reports, restore, split } from './prove.js';

const [ZERO, ONE] = [`h1 ${vfAddress('em1', 0)}`, `h1 ${vfAddress('em1', 1)}`];
const h1 = (em1 = 2) => fleet().host('h1', { em1 });
const runs: readonly SagaStep[] = [start('vm1'), started('vm1')];
const attach = (spec: NicSpec = nic('eth1'), vmId = 'vm1', generation?: number) =>
  say('VmNicAttachRequested', { vmId, nic: spec, generation });
const detach = (nicId = 'eth1', vmId = 'vm1', generation?: number) =>
  say('VmNicDetachRequested', { vmId, nicId, generation });
const retype = (type: 'vf' | 'vnic', nicId = 'eth0', vmId = 'vm1', generation?: number) =>
  say('VmNicTypeChangeRequested', { vmId, nicId, type, generation });
const restart = say('VmStartRequested', { vmId: 'vm1' });
const gone = [say('VmDestroyed', { vmId: 'vm1' }), say('VmDestroyed', { vmId: 'vm2' }), reports('h1')];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[VM-6 acts] [VM-7 acts]', {
  name: 'attach: a NIC comes to a VM that runs, goes, and its VF goes to the next VM',
  fleet: h1,
  before: runs,
  steps: [attach(), detach(), start('vm2')],
  then: (site) => {
    expect(site.types.slice(4)).toEqual([
      'VfAllocated',
      'VmNicAttached',
      'VfReleased',
      'VmNicDetached',
      'VfAllocated',
      'VmStartAccepted',
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': ZERO, 'vm2/eth0': ONE });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-6 acts]', {
  name: 'attach: a NIC comes to a VM that is stopped, and has its VF with the next start',
  fleet: h1,
  before: [...runs, stopped('vm1')],
  steps: [attach(), restart, started('vm1')],
  then: (site) => {
    expect(site.types.slice(6)).toEqual([
      'VmNicAttached',
      'VfAllocated',
      'VfAllocated',
      'VmStartAccepted',
      'VmStarted',
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': ZERO, 'vm1/eth1': ONE });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-8 acts]', {
  name: 'type: a VF NIC becomes a vNIC while the VM is stopped, and a VF NIC again',
  fleet: h1,
  before: [...runs, stopped('vm1')],
  steps: [retype('vnic'), restart, stopped('vm1'), retype('vf'), { ...restart, id: 'again' } as SagaStep],
  then: (site) => {
    expect(site.types.slice(6)).toEqual([
      'VmNicTypeChanged',
      'VmStartAccepted',
      'VmStopped',
      'VmNicTypeChanged',
      'VfAllocated',
      'VmStartAccepted',
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': ZERO });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-10 acts]', {
  name: 'attach: a NIC that may fall back is degraded, and promoted by the detach of another',
  fleet: h1,
  before: [start('vm1'), started('vm1'), start('vm2')],
  steps: [attach(nic('eth1', { onExhaustion: 'fallback' })), detach('eth0', 'vm2')],
  then: (site) => {
    expect(site.types.slice(6)).toEqual([
      'NicDegraded',
      'VmNicAttached',
      'VfReleased',
      'VfAllocated',
      'NicPromoted',
      'VmNicDetached',
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': ZERO, 'vm1/eth1': ONE });
  },
  ending: gone,
  atLast: nothingHeld,
});

const MAC = '02:00:00:00:00:01';
const withPort = (fields: object, em1 = 2) => fleet().host('h1', { em1, ports: { em1: fields } });
const onEm2 = nic('eth1', { physicalNetwork: 'em2' });
const onNet1: NicSpec = { nicId: 'eth1', networkId: 'net1' };

await proveRefusals('[VM-6 refuses] [OUT-2 refuses] attach', [
  { code: 'VM_UNKNOWN', fleet: h1, request: attach(nic('eth1'), 'vm9') },
  { code: 'NIC_EXISTS', fleet: h1, before: runs, request: attach(nic('eth0')) },
  {
    code: 'NIC_EXISTS',
    why: 'its slot is taken',
    fleet: h1,
    before: [start('vm1', { nics: [nic('eth0', { guestSlot: 5 })] })],
    request: attach(nic('eth1', { guestSlot: 5 })),
  },
  {
    code: 'MAC_IN_USE',
    fleet: h1,
    before: [...runs, start('vm2', { nics: [nic('eth0', { mac: MAC, type: 'vnic' })] })],
    request: attach(nic('eth1', { mac: MAC })),
  },
  { code: 'VF_EXHAUSTED', fleet: () => h1(1), before: runs, request: attach() },
  {
    code: 'QUOTA_EXCEEDED',
    fleet: () => h1().quotas({ red: 1 }),
    before: [start('vm1', { tenant: 'red' })],
    request: attach(),
  },
  { code: 'NETWORK_UNKNOWN', fleet: h1, before: runs, request: attach({ nicId: 'eth1', networkId: 'net9' }) },
  {
    code: 'NETWORK_SRIOV_DISABLED',
    fleet: () => h1().networks(),
    before: [...runs, say('L3NetworkDefined', { l3Id: 'net1', l2Id: 'l2-1', kind: 'flat', sriov: false })],
    request: attach(onNet1),
  },
  {
    code: 'SERVICE_UNSUPPORTED_ON_VF',
    fleet: () => h1().networks(),
    before: runs,
    request: attach({ ...onNet1, securityGroups: ['sg1'] }),
  },
  {
    code: 'HOST_LOST',
    fleet: h1,
    before: [...runs, (site) => site.advance(95_000)],
    request: attach(),
  },
  {
    code: 'HOST_CORDONED',
    fleet: h1,
    before: [...runs, say('HostCordoned', { hostId: 'h1', cordoned: true })],
    request: attach(),
  },
  {
    code: 'HOST_NOT_READY',
    fleet: h1,
    before: [
      ...runs,
      (site) => {
        site.agent('h1').change({ iommu: { enabled: true, ready: false } });
        site.agent('h1').report();
      },
    ],
    request: attach(),
  },
  { code: 'PF_NOT_VIRTUALIZED', fleet: h1, before: runs, request: attach(onEm2) },
  {
    code: 'PF_NOT_VIRTUALIZABLE',
    fleet: h1,
    before: runs,
    request: attach(nic('eth1', { physicalNetwork: 'em3' })),
  },
  {
    code: 'PF_BUSY',
    fleet: h1,
    before: [...runs, deaf('h1'), split('0000:82:00.1', 2)],
    request: attach(onEm2),
  },
  { code: 'PF_RESTORING', fleet: h1, before: [...runs, deaf('h1'), restore(EM1)], request: attach() },
  {
    code: 'PF_CORDONED',
    fleet: h1,
    before: [...runs, say('PfCordoned', { hostId: 'h1', pf: EM1, cordoned: true })],
    request: attach(),
  },
  {
    code: 'PF_LINK_DOWN',
    fleet: h1,
    before: [...runs, say('PfLinkChanged', { hostId: 'h1', pf: EM1, link: 'down' })],
    request: attach(),
  },
  {
    code: 'PF_LOST',
    fleet: h1,
    before: [...runs, (site) => site.agent('h1').loseDriver(EM1)],
    request: attach(),
  },
  {
    code: 'PF_IDENTITY_CHANGED',
    fleet: () => withPort({ serial: 'one' }),
    before: [
      ...runs,
      (site) => {
        site.agent('h1').changePf(EM1, { serial: 'two' });
        site.agent('h1').report();
      },
    ],
    request: attach(),
  },
  {
    code: 'GENERATION_STALE',
    fleet: h1,
    before: [start('vm1', { generation: 5 })],
    request: attach(nic('eth1'), 'vm1', 4),
  },
]);

await proveRefusals('[VM-7 refuses] [OUT-2 refuses] detach', [
  { code: 'VM_UNKNOWN', fleet: h1, request: detach('eth0', 'vm9') },
  { code: 'NIC_UNKNOWN', fleet: h1, before: runs, request: detach('eth7') },
  {
    code: 'GENERATION_STALE',
    fleet: h1,
    before: [start('vm1', { generation: 5 })],
    request: detach('eth0', 'vm1', 4),
  },
]);

await proveRefusals('[VM-8 refuses] [OUT-2 refuses] type', [
  { code: 'VM_UNKNOWN', fleet: h1, request: retype('vnic', 'eth0', 'vm9') },
  { code: 'NIC_UNKNOWN', fleet: h1, before: [...runs, stopped('vm1')], request: retype('vnic', 'eth7') },
  { code: 'VM_RUNNING', fleet: h1, before: runs, request: retype('vnic') },
  { code: 'VM_RUNNING', why: 'pending', fleet: h1, before: [start('vm1')], request: retype('vnic') },
  {
    code: 'SERVICE_UNSUPPORTED_ON_VF',
    fleet: () => h1().networks(),
    before: [
      start('vm1', { nics: [{ nicId: 'eth0', type: 'vnic', networkId: 'net1', securityGroups: ['sg'] }] }),
      stopped('vm1'),
    ],
    request: retype('vf'),
  },
  {
    code: 'GENERATION_STALE',
    fleet: h1,
    before: [start('vm1', { generation: 5 }), stopped('vm1')],
    request: retype('vnic', 'eth0', 'vm1', 4),
  },
]);
