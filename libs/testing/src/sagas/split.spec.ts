import { expect } from '@jest/globals';
import { EM1, EM2, EM3, fleet, say, start, type Simulation } from '../index.js';
import { deaf, prove, proveRefusals, reports, restarts, restore, split } from './prove.js';

const h1 = () => fleet().host('h1');

/** The scheduler sees the PF as it is on the host. */
const agrees = async (site: Simulation): Promise<void> => {
  const { hosts } = await site.replay();
  for (const pf of site.agent('h1').pfs) {
    const known = hosts.get('h1')?.pfs.get(pf.pciAddress);
    expect(known?.vfs.map(({ report }) => report.pciAddress)).toEqual(
      pf.vfs.map(({ pciAddress }) => pciAddress),
    );
    expect(known?.work).toBeUndefined();
  }
};
const truth = [restarts('h1'), reports('h1'), agrees];

await prove('[PF-2 acts]', {
  name: 'split: ordered, done, and a VM starts on it',
  fleet: h1,
  steps: [split(EM1, 4), start('vm1')],
  then: (site) => {
    expect(site.types).toEqual([
      'HostRegistered',
      'PfVirtualizationOrdered',
      'PfVirtualized',
      'VfAllocated',
      'VmStartAccepted',
    ]);
  },
  ending: truth,
});

await prove('[PF-2 acts]', {
  name: 'split of two PFs',
  fleet: h1,
  steps: [split(EM1, 4), split(EM2, 2)],
  then: (site) => expect(site.agent('h1').pfs.map(({ vfs }) => vfs.length)).toEqual([4, 2, 0, 0]),
  ending: truth,
});

await prove('[PF-15 acts]', {
  name: 'split that fails, and is asked for again',
  fleet: h1,
  before: [(site) => void site.agent('h1').will({ fail: 'no such file: sriov_numvfs' })],
  steps: [split(EM1, 4), split(EM1, 2)],
  then: (site) =>
    expect(site.types.slice(1)).toEqual([
      'PfVirtualizationOrdered',
      'PfVirtualizationFailed',
      'PfVirtualizationOrdered',
      'PfVirtualized',
    ]),
  ending: truth,
});

await prove('[PF-15 acts]', {
  name: 'split that makes fewer VFs than ordered',
  fleet: h1,
  before: [(site) => void site.agent('h1').will({ vfs: 3 })],
  steps: [split(EM1, 4)],
  then: (site) =>
    expect(site.types.slice(1)).toEqual(['PfVirtualizationOrdered', 'DriftDetected', 'PfVirtualized']),
  ending: truth,
});

const bonded = () =>
  fleet()
    .host('h1', { em1: 1, ports: { em1: { bond: 'bond0' }, em2: { bond: 'bond0' } } })
    .said(say('ClusterPolicyChanged', { bond: 'reject' }));

await proveRefusals('[PF-2 refuses] [PF-3 refuses] [OUT-2 refuses] split', [
  { code: 'HOST_UNKNOWN', fleet: h1, request: split(EM1, 2, 'h9') },
  { code: 'PF_UNKNOWN', fleet: h1, request: split('0000:99:00.0', 2) },
  { code: 'HOST_LOST', fleet: h1, before: [say('HostFenced', { hostId: 'h1' })], request: split(EM1, 2) },
  {
    code: 'PF_LOST',
    fleet: h1,
    before: [(site) => site.agent('h1').loseDriver(EM1)],
    request: split(EM1, 2),
  },
  {
    code: 'PF_IDENTITY_CHANGED',
    fleet: () => fleet().host('h1', { ports: { em1: { serial: 'one' } } }),
    before: [
      (site) => {
        site.agent('h1').changePf(EM1, { serial: 'two' });
        site.agent('h1').report();
      },
    ],
    request: split(EM1, 2),
  },
  { code: 'PF_NOT_VIRTUALIZABLE', fleet: h1, request: split(EM3, 2) },
  { code: 'PF_BUSY', fleet: h1, before: [deaf('h1'), split(EM1, 2)], request: split(EM1, 2) },
  {
    code: 'PF_RESTORING',
    fleet: () => fleet().host('h1', { em1: 2 }),
    before: [deaf('h1'), restore(EM1)],
    request: split(EM1, 2),
  },
  { code: 'PF_ALREADY_VIRTUALIZED', fleet: () => fleet().host('h1', { em1: 2 }), request: split(EM1, 4) },
  {
    code: 'HOST_NOT_READY',
    fleet: () => fleet().host('h1', { iommu: { enabled: true, ready: false } }),
    request: split(EM1, 2),
  },
  { code: 'VF_COUNT_OUT_OF_RANGE', why: '0', fleet: h1, request: split(EM1, 0) },
  { code: 'VF_COUNT_OUT_OF_RANGE', why: 'more than totalVfs', fleet: h1, request: split(EM1, 64) },
  {
    code: 'PF_LINK_DOWN',
    fleet: () => fleet().host('h1', { ports: { em1: { link: 'down' } } }),
    request: split(EM1, 2),
  },
  { code: 'PF_IN_BOND', fleet: bonded, request: split(EM2, 2) },
]);
