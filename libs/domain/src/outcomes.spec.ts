import { describe, expect, test } from '@jest/globals';
import { isOutcome, OUTCOMES, type RequestType } from '#wire';
import { REFUSAL_CODES } from './refusal-codes.js';
import { EM1, networks, nic, ports, reported, start, started, stopped } from './testing/fleet.js';
import { say, scenario, type Said, type Scenario } from './testing/scenario.js';

/** Two hosts; vm1 runs on h1 with a VF, vm2 is stopped. */
const world = (): Scenario =>
  scenario(...networks(), reported('h1', { pfs: ports(3) }), reported('h2')).given(
    start('vm1'),
    started('vm1'),
    start('vm2'),
    stopped('vm2'),
  );

const l2 = { l2Id: 'l2-9', physicalInterface: 'em1', sriov: true } as const;
const l3 = { l3Id: 'net9', kind: 'flat', sriov: true } as const;

/** For each request one that is granted and one that is refused. */
const CASES: Record<RequestType, (cluster: Scenario) => readonly [granted: Said, refused: Said]> = {
  VmStartRequested: () => [start('vm3'), start('vm1')],
  VmNicAttachRequested: () => [
    say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1') }),
    say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth0') }),
  ],
  VmNicDetachRequested: () => [
    say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth0' }),
    say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth7' }),
  ],
  VmNicTypeChangeRequested: () => [
    say('VmNicTypeChangeRequested', { vmId: 'vm2', nicId: 'eth0', type: 'vnic' }),
    say('VmNicTypeChangeRequested', { vmId: 'vm1', nicId: 'eth0', type: 'vnic' }),
  ],
  VmMigrationRequested: () => [
    say('VmMigrationRequested', { vmId: 'vm2', kind: 'cold' }),
    say('VmMigrationRequested', { vmId: 'vm1', kind: 'live' }),
  ],
  HostRemovalRequested: () => [
    say('HostRemovalRequested', { hostId: 'h2' }),
    say('HostRemovalRequested', { hostId: 'h1' }),
  ],
  PfVirtualizeRequested: () => [
    say('PfVirtualizeRequested', { hostId: 'h2', pf: EM1, numVfs: 4 }),
    say('PfVirtualizeRequested', { hostId: 'h1', pf: EM1, numVfs: 4 }),
  ],
  PfRestoreRequested: () => [
    say('PfRestoreRequested', { hostId: 'h1', pf: EM1 }),
    say('PfRestoreRequested', { hostId: 'h2', pf: EM1 }),
  ],
  AllocationReleaseRequested: (cluster) => [
    say('AllocationReleaseRequested', {
      hostId: 'h1',
      allocationId: cluster.allocation('vm1').id,
      reason: 'lost',
    }),
    say('AllocationReleaseRequested', { hostId: 'h1', allocationId: 'none', reason: 'lost' }),
  ],
  L2NetworkDefined: () => [
    say('L2NetworkDefined', { ...l2, type: 'L2NoVlanNetwork' }),
    say('L2NetworkDefined', { ...l2, type: 'VxlanNetwork' }),
  ],
  L3NetworkDefined: () => [
    say('L3NetworkDefined', { ...l3, l2Id: 'l2-1' }),
    say('L3NetworkDefined', { ...l3, l2Id: 'none' }),
  ],
  NetworkRemovalRequested: () => [
    say('NetworkRemovalRequested', { id: 'net1' }),
    say('NetworkRemovalRequested', { id: 'l2-1' }),
  ],
};

describe.each(Object.keys(CASES) as RequestType[])('%s', (type) => {
  test('[OUT-1 acts] granted, it has exactly one outcome, which comes last', () => {
    const cluster = world();
    const [granted] = CASES[type](cluster);
    expect(granted.type).toBe(type);
    cluster.when(granted);
    const outcomes = cluster.events.filter((event) => isOutcome(event.type));
    expect(outcomes.map((event) => event.type)).toEqual([OUTCOMES[type][0]]);
    expect(cluster.events.at(-1)).toBe(outcomes[0]);
  });

  test('[OUT-2 quiet] granted, its outcome carries no message', () => {
    const cluster = world();
    const [granted] = CASES[type](cluster);
    cluster.when(granted);
    expect(cluster.events.at(-1)?.data).not.toHaveProperty('message');
  });

  test('[OUT-1 refuses] [OUT-2 refuses] refused, it has exactly one outcome: a stable code and a sentence for a person', () => {
    const cluster = world();
    const [, refused] = CASES[type](cluster);
    cluster.when(refused);
    expect(cluster.events.map((event) => event.type)).toEqual([OUTCOMES[type][1]]);
    const { reason, message } = cluster.events[0]?.data as { reason: string; message: string };
    expect(REFUSAL_CODES).toContain(reason);
    expect(message).toMatch(/^[A-Za-z].* .*[^.]$/);
    // The ids of the request are those of its refusal.
    const ids = ['vmId', 'hostId', 'pf', 'nicId', 'allocationId', 'l2Id', 'l3Id', 'id', 'numVfs'];
    for (const id of ids.filter((name) => name in refused.data && type !== 'VmStartRequested'))
      expect(cluster.events[0]?.data).toMatchObject({ [id]: (refused.data as never)[id] });
  });

  test('[OUT-1 quiet] [EX-6 quiet] repeated, it has none', () => {
    const cluster = world();
    for (const said of CASES[type](cluster)) {
      cluster.when({ ...said, id: `${type}-${said.digest ?? JSON.stringify(said.data)}` });
      expect(cluster.events.length).toBeGreaterThan(0);
      cluster.when({ ...said, id: `${type}-${said.digest ?? JSON.stringify(said.data)}` }).thenNothing();
    }
  });
});

describe('codes', () => {
  test('[OUT-2 acts] are those of wire.md, to the letter', () => {
    const listed = `VF_EXHAUSTED HOST_UNKNOWN HOST_NOT_READY HOST_LOST HOST_CORDONED HOST_IN_USE PF_UNKNOWN
      PF_NOT_VIRTUALIZABLE PF_NOT_VIRTUALIZED PF_ALREADY_VIRTUALIZED PF_BUSY PF_LINK_DOWN PF_CORDONED PF_RESTORING
      PF_LOST PF_IDENTITY_CHANGED PF_IN_BOND VF_COUNT_OUT_OF_RANGE VF_NOT_FREE NETWORK_UNKNOWN NETWORK_IN_USE
      NETWORK_SRIOV_DISABLED NETWORK_TYPE_UNSUPPORTED SERVICE_UNSUPPORTED_ON_VF VM_UNKNOWN VM_RUNNING
      VM_RUNNING_ELSEWHERE VM_HOLDS_VFS NIC_UNKNOWN NIC_EXISTS MAC_IN_USE QUOTA_EXCEEDED SEPARATE_PFS_IMPOSSIBLE
      GENERATION_STALE ALLOCATION_UNKNOWN`;
    expect([...REFUSAL_CODES].sort()).toEqual(listed.split(/\s+/).sort());
  });

  test('[OUT-2 acts] a refusal carries the facts behind it', () => {
    const cluster = world().when(say('HostRemovalRequested', { hostId: 'h1' }));
    const { id } = cluster.allocation('vm1');
    expect(cluster.events[0]?.data).toMatchObject({
      holders: [{ vmId: 'vm1', nicId: 'eth0', vf: '0000:82:10.0', allocationId: id }],
    });
  });
});

describe('facts', () => {
  test('[EX-6 acts] every fact but HostReported, HostSeen and Tick leaves an event, whatever it is about', () => {
    const pf = { hostId: 'h1', pf: EM1 };
    const facts: readonly Said[] = [
      say('VmStarted', { vmId: 'vm9' }),
      say('VmStartAborted', { vmId: 'vm9' }),
      say('VmStopped', { vmId: 'vm9' }),
      say('VmDestroyed', { vmId: 'vm9' }),
      say('VmRebooted', { vmId: 'vm9' }),
      say('VmMigrated', { vmId: 'vm9', hostId: 'h1' }),
      say('VmAdopted', { vmId: 'vm9', hostId: 'h9', nics: [] }),
      say('HostCordoned', { hostId: 'h9', cordoned: true }),
      say('HostFenced', { hostId: 'h9' }),
      say('PfVirtualized', { ...pf, vfs: [] }),
      say('PfVirtualizationFailed', { ...pf, reason: 'x' }),
      say('PfRestored', { hostId: 'h2', pf: EM1 }),
      say('PfRestoreFailed', { ...pf, reason: 'x' }),
      say('PfDriverLost', { hostId: 'h9', pf: EM1 }),
      say('PfLinkChanged', { ...pf, link: 'up' }),
      say('PfCordoned', { ...pf, cordoned: false }),
      say('PfAccepted', pf),
      say('VfScrubbed', { hostId: 'h1', vf: '0000:82:10.0', allocationId: 'none', clean: true }),
      say('ClusterPolicyChanged', {}),
    ];
    for (const fact of facts) {
      const cluster = world().when({ ...fact, id: 'fact' });
      expect([fact.type, cluster.events.length]).toEqual([fact.type, 1]);
      expect(cluster.events[0]?.type).toMatch(/^Input(Ignored|Rejected)$|^ClusterPolicyChanged$/);
      cluster.when({ ...fact, id: 'fact' }).thenNothing();
      expect(cluster.recalled).toBe('repeat');
    }
  });
});
