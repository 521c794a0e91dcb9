import { expect } from '@jest/globals';
import {
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
import { prove, proveRefusals, reports } from './prove.js';

const VF = vfAddress('em1', 0);
const twoHosts = () => fleet().host('h1', { em1: 1 }).host('h2', { em1: 1 });
const runs: readonly SagaStep[] = [start('vm1', { hostId: 'h1' }), started('vm1')];
const migrate = (
  kind: 'live' | 'storage' | 'cold',
  targetHostId?: string,
  vmId = 'vm1',
  generation?: number,
) => say('VmMigrationRequested', { vmId, kind, targetHostId, generation });
const detached = say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' });
const moved = say('VmMigrated', { vmId: 'vm1', hostId: 'h2' });
const gone = [say('VmDestroyed', { vmId: 'vm1' }), reports('h1'), reports('h2')];
const nothingHeld = (site: Simulation): void => expect(site).toHaveAllocated({});

await prove('[VM-9 acts] [VM-14 acts]', {
  name: 'migrate: detach, migrate, attach: the VM has a VF of the host where it is',
  fleet: twoHosts,
  before: runs,
  steps: [
    detached,
    migrate('live', 'h2'),
    moved,
    say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth0') }),
  ],
  then: (site) => {
    expect(site.types.slice(5)).toEqual([
      ...['VfReleased', 'VmNicDetached', 'VmMigrationAllowed', 'VmMigrated'],
      ...['VfAllocated', 'VmNicAttached'],
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': `h2 ${VF}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-9 acts]', {
  name: 'migrate: stopped, moved while cold, and started where it is',
  fleet: twoHosts,
  before: runs,
  steps: [stopped('vm1'), migrate('cold', 'h2'), moved, start('vm1', { hostId: 'h2' })],
  then: (site) => {
    expect(site.types.slice(5)).toEqual([
      ...['VfReleased', 'VmStopped', 'VmMigrationAllowed', 'VmMigrated'],
      ...['VfAllocated', 'VmStartAccepted'],
    ]);
    expect(site).toHaveAllocated({ 'vm1/eth0': `h2 ${VF}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

await prove('[VM-14 refuses]', {
  name: 'migrate: a VM that holds a VF is reported elsewhere: drift, and nothing is released until it is back',
  fleet: twoHosts,
  before: runs,
  steps: [moved, say('VmMigrated', { vmId: 'vm1', hostId: 'h1' })],
  then: (site) => {
    expect(site.types.slice(5)).toEqual(['DriftDetected', 'InputRejected', 'DriftResolved', 'VmMigrated']);
    expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${VF}` });
  },
  ending: gone,
  atLast: nothingHeld,
});

const vnic = { nics: [nic('eth0', { type: 'vnic' })] };
await proveRefusals('[VM-9 refuses] [OUT-2 refuses] migrate', [
  { code: 'VM_HOLDS_VFS', why: 'live', fleet: twoHosts, before: runs, request: migrate('live', 'h2') },
  { code: 'VM_HOLDS_VFS', why: 'its storage', fleet: twoHosts, before: runs, request: migrate('storage') },
  { code: 'VM_HOLDS_VFS', why: 'cold', fleet: twoHosts, before: runs, request: migrate('cold', 'h2') },
  { code: 'VM_UNKNOWN', fleet: twoHosts, request: migrate('live', 'h2', 'vm9') },
  { code: 'HOST_UNKNOWN', fleet: twoHosts, before: [start('vm1', vnic)], request: migrate('live', 'h9') },
  {
    code: 'HOST_LOST',
    fleet: twoHosts,
    before: [start('vm1', { ...vnic, hostId: 'h1' }), say('HostFenced', { hostId: 'h2' })],
    request: migrate('live', 'h2'),
  },
  {
    code: 'HOST_CORDONED',
    fleet: twoHosts,
    before: [start('vm1', { ...vnic, hostId: 'h1' }), say('HostCordoned', { hostId: 'h2', cordoned: true })],
    request: migrate('live', 'h2'),
  },
  {
    code: 'VM_RUNNING',
    why: 'cold',
    fleet: twoHosts,
    before: [start('vm1', vnic)],
    request: migrate('cold', 'h2'),
  },
  {
    code: 'GENERATION_STALE',
    fleet: twoHosts,
    before: [start('vm1', { ...vnic, generation: 5 })],
    request: migrate('live', 'h2', 'vm1', 4),
  },
]);
