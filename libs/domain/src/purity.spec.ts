import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { decide } from './decide.js';
import type { Input, InputType, Inputs } from './inputs.js';
import { dumpState } from './snapshot.js';
import { emptyState } from './state.js';
import { EM1, host, nic, vfAddress } from './testing/fleet.js';

const about = { vmId: 'vm1' };
const pf = { hostId: 'h1', pf: EM1 };
const INPUTS: Inputs = {
  VmStartRequested: { ...about, nics: [nic()] },
  VmStarted: about,
  VmStartAborted: about,
  VmStopped: about,
  VmDestroyed: about,
  VmRebooted: about,
  VmMigrated: { ...about, hostId: 'h1' },
  VmAdopted: { ...about, hostId: 'h1', nics: [] },
  VmNicAttachRequested: { ...about, nic: nic() },
  VmNicDetachRequested: { ...about, nicId: 'eth0' },
  VmNicTypeChangeRequested: { ...about, nicId: 'eth0', type: 'vf' },
  VmMigrationRequested: { ...about, kind: 'live' },
  HostReported: host('h1'),
  HostSeen: { hostId: 'h1', bootId: 'b', seq: 1, digest: 'd' },
  HostCordoned: { hostId: 'h1', cordoned: true },
  HostFenced: { hostId: 'h1' },
  HostRemovalRequested: { hostId: 'h1' },
  PfVirtualizeRequested: { ...pf, numVfs: 1 },
  PfVirtualized: { ...pf, vfs: [] },
  PfVirtualizationFailed: { ...pf, reason: 'x' },
  PfRestoreRequested: pf,
  PfRestored: pf,
  PfRestoreFailed: { ...pf, reason: 'x' },
  PfDriverLost: pf,
  PfLinkChanged: { ...pf, link: 'up' },
  PfCordoned: { ...pf, cordoned: true },
  PfAccepted: pf,
  VfScrubbed: { hostId: 'h1', vf: vfAddress('em1', 0), allocationId: 'a', clean: true },
  AllocationReleaseRequested: { hostId: 'h1', allocationId: 'a', reason: 'x' },
  L2NetworkDefined: { l2Id: 'l2', type: 'L2NoVlanNetwork', physicalInterface: 'em1', sriov: true },
  L3NetworkDefined: { l3Id: 'l3', l2Id: 'l2', kind: 'flat', sriov: true },
  NetworkRemovalRequested: { id: 'l3' },
  ClusterPolicyChanged: {},
  Tick: {},
};

test.each(Object.keys(INPUTS) as InputType[])('%s is decided in a cluster that knows nothing', (type) => {
  const state = emptyState('default', { rememberedInputs: 10 });
  const before = dumpState(state);
  const input = { id: 'a', type, data: INPUTS[type], time: 1, digest: '00' } as Input;
  const events = decide(state, input);
  expect(dumpState(state)).toBe(before);
  expect(decide(state, input)).toEqual(events);
  expect(events.length).toBe(['HostSeen', 'Tick'].includes(type) ? 0 : 1);
});

test('the domain reads no clock, no chance and no world, and imports nothing but itself', () => {
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.spec.ts') && !name.startsWith('testing'),
  );
  expect(files.length).toBeGreaterThan(30);
  for (const name of files) {
    const text = readFileSync(`${import.meta.dirname}/${name}`, 'utf8');
    const impure = /Date\.now|new Date\(\)|Math\.random|performance\.|process\.|setTimeout|from '[^.]/.exec(
      text,
    );
    expect([name, impure?.[0]]).toEqual([name, undefined]);
  }
});
