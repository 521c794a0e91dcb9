import { expect } from '@jest/globals';
import {
  EM1,
  everyTwoCrashes,
  fleet,
  nic,
  port,
  say,
  start,
  started,
  stopped,
  vfAddress,
  type Saga,
  type SagaStep,
} from '../index.js';
import { deaf, prove, proveRefusals, reports, restore, split } from './prove.js';

const twoNics = { nics: [nic('eth0'), nic('eth1', { physicalNetwork: 'em2' })] };
const oneHost = () => fleet().host('h1', { em1: 2, em2: 2 });
const gone: readonly SagaStep[] = [say('VmDestroyed', { vmId: 'vm1' }), reports('h1')];

const started1: Saga = {
  name: 'start: two VFs are allocated, and the VM runs',
  fleet: oneHost,
  steps: [start('vm1', twoNics), started('vm1')],
  then: (site) => {
    expect(site.types.slice(1)).toEqual(['VfAllocated', 'VfAllocated', 'VmStartAccepted', 'VmStarted']);
    expect(site).toHaveAllocated({
      'vm1/eth0': `h1 ${vfAddress('em1', 0)}`,
      'vm1/eth1': `h1 ${vfAddress('em2', 0)}`,
    });
  },
  ending: gone,
  atLast: (site) => expect(site).toHaveAllocated({}),
};

await prove('[VM-1 acts] [EX-3 acts]', started1);
await prove('[OUT-1 acts] [EX-1 acts] twice:', started1, everyTwoCrashes);

await prove('[VM-3 acts]', {
  name: 'start, and the start is aborted',
  fleet: oneHost,
  steps: [start('vm1', twoNics), say('VmStartAborted', { vmId: 'vm1', reason: 'no memory' })],
  then: (site) => {
    expect(site.types.slice(4)).toEqual(['VfReleased', 'VfReleased', 'VmStartAborted']);
    expect(site).toHaveAllocated({});
  },
  ending: gone,
  atLast: (site) => expect(site).toHaveAllocated({}),
});

await prove('[EX-1 refuses]', {
  name: 'start: of two VMs that want the last VF one gets it, and the other when it is free',
  fleet: () => fleet().host('h1', { em1: 1 }),
  steps: [start('vm1'), start('vm2'), stopped('vm1'), start('vm2', { nics: [nic('eth0')] })],
  then: (site) => expect(site).toHaveAllocated({ 'vm2/eth0': `h1 ${vfAddress('em1', 0)}` }),
  ending: [...gone, say('VmDestroyed', { vmId: 'vm2' })],
  atLast: (site) => expect(site).toHaveAllocated({}),
});

await prove('[VM-10 acts]', {
  name: 'start: a NIC that falls back is promoted when a VF is free',
  fleet: () => fleet().host('h1', { em1: 1 }),
  steps: [
    start('vm1'),
    start('vm2', { nics: [nic('eth0', { onExhaustion: 'fallback' })] }),
    started('vm2'),
    stopped('vm1'),
  ],
  then: (site) => {
    expect(site.types).toContain('NicPromoted');
    expect(site).toHaveAllocated({ 'vm2/eth0': `h1 ${vfAddress('em1', 0)}` });
  },
  ending: [...gone, say('VmDestroyed', { vmId: 'vm2' })],
  atLast: (site) => expect(site).toHaveAllocated({}),
});

const h1 = (em1 = 1) => fleet().host('h1', { em1 });
const withPort = (fields: Parameters<typeof port>[2], em1 = 1) =>
  fleet().host('h1', { em1, ports: { em1: fields } });

await proveRefusals('[VM-2 refuses] [OUT-2 refuses] start', [
  { code: 'VF_EXHAUSTED', fleet: h1, before: [start('vm0')], request: start('vm1') },
  { code: 'HOST_UNKNOWN', fleet: h1, request: start('vm1', { hostId: 'h9' }) },
  {
    code: 'HOST_NOT_READY',
    fleet: () => fleet().host('h1', { em1: 1, iommu: { enabled: true, ready: false } }),
    request: start('vm1', { hostId: 'h1' }),
  },
  {
    code: 'HOST_LOST',
    why: 'fenced',
    fleet: h1,
    before: [say('HostFenced', { hostId: 'h1' })],
    request: start('vm1', { hostId: 'h1' }),
  },
  {
    code: 'HOST_LOST',
    why: 'silent for 90 s',
    fleet: h1,
    before: [(site) => site.advance(95_000)],
    request: start('vm1', { hostId: 'h1' }),
  },
  {
    code: 'HOST_CORDONED',
    fleet: h1,
    before: [say('HostCordoned', { hostId: 'h1', cordoned: true })],
    request: start('vm1', { hostId: 'h1' }),
  },
  {
    code: 'PF_NOT_VIRTUALIZABLE',
    fleet: h1,
    request: start('vm1', { nics: [nic('e', { physicalNetwork: 'em3' })] }),
  },
  { code: 'PF_NOT_VIRTUALIZED', fleet: () => h1(0), request: start('vm1') },
  { code: 'PF_LINK_DOWN', fleet: () => withPort({ link: 'down' }), request: start('vm1') },
  {
    code: 'PF_CORDONED',
    fleet: h1,
    before: [say('PfCordoned', { hostId: 'h1', pf: EM1, cordoned: true })],
    request: start('vm1'),
  },
  { code: 'PF_RESTORING', fleet: h1, before: [deaf('h1'), restore(EM1)], request: start('vm1') },
  { code: 'PF_BUSY', fleet: () => h1(0), before: [deaf('h1'), split(EM1, 2)], request: start('vm1') },
  {
    code: 'PF_LOST',
    fleet: h1,
    before: [(site) => site.agent('h1').loseDriver(EM1)],
    request: start('vm1'),
  },
  {
    code: 'PF_IDENTITY_CHANGED',
    fleet: () => withPort({ serial: 'one' }),
    before: [
      (site) => {
        site.agent('h1').changePf(EM1, { serial: 'two' });
        site.agent('h1').report();
      },
    ],
    request: start('vm1'),
  },
  {
    code: 'NETWORK_UNKNOWN',
    fleet: h1,
    request: start('vm1', { nics: [{ nicId: 'e', networkId: 'net9' }] }),
  },
  {
    code: 'NETWORK_SRIOV_DISABLED',
    fleet: () => h1().networks(),
    before: [say('L3NetworkDefined', { l3Id: 'net1', l2Id: 'l2-1', kind: 'flat', sriov: false })],
    request: start('vm1', { nics: [{ nicId: 'e', networkId: 'net1' }] }),
  },
  {
    code: 'SERVICE_UNSUPPORTED_ON_VF',
    fleet: () => h1().networks(),
    request: start('vm1', { nics: [{ nicId: 'e', networkId: 'net1', securityGroups: ['sg1'] }] }),
  },
  { code: 'VM_UNKNOWN', fleet: h1, request: say('VmStartRequested', { vmId: 'vm1' }) },
  { code: 'VM_RUNNING', fleet: h1, before: [start('vm1')], request: start('vm1') },
  {
    code: 'VM_RUNNING_ELSEWHERE',
    fleet: () => h1().host('h2', { em1: 1 }),
    before: [start('vm1', { hostId: 'h1' })],
    request: start('vm1', { hostId: 'h2' }),
  },
  {
    code: 'MAC_IN_USE',
    fleet: () => h1(2),
    before: [start('vm0', { nics: [nic('eth0', { mac: '02:00:00:00:00:01' })] })],
    request: start('vm1', { nics: [nic('eth0', { mac: '02:00:00:00:00:01' })] }),
  },
  {
    code: 'QUOTA_EXCEEDED',
    fleet: () => h1(2).quotas({ red: 0 }),
    request: start('vm1', { tenant: 'red' }),
  },
  {
    code: 'SEPARATE_PFS_IMPOSSIBLE',
    fleet: () => h1(2),
    request: start('vm1', { separatePfs: true, nics: [nic('eth0'), nic('eth1')] }),
  },
  {
    code: 'GENERATION_STALE',
    fleet: h1,
    before: [start('vm1', { generation: 5 }), stopped('vm1', { generation: 5 })],
    request: start('vm1', { generation: 4 }),
  },
]);

await prove('[OUT-1 refuses]', {
  name: 'start that cannot be read: its dead letter is its outcome, and the next start is served',
  fleet: () => h1(2),
  steps: [
    start('vm1', { nics: [nic('eth0', { guestSlot: 5 }), nic('eth1', { guestSlot: 5 })] }),
    start('vm2'),
  ],
  then: (site) => {
    // Said twice it is unreadable twice.
    const reasons = new Set(site.deadLetters.map(({ reason }) => reason));
    expect([...reasons]).toEqual([expect.stringContaining('guestSlot')]);
    expect(site).toHaveAllocated({ 'vm2/eth0': `h1 ${vfAddress('em1', 0)}` });
  },
});
