import { beforeAll, describe, expect, test } from '@jest/globals';
import type { EventType, PlacedEvent } from './events.js';
import {
  EM1,
  EM2,
  networks,
  nic,
  port,
  ports,
  reported,
  start,
  started,
  stopped,
  vf,
  vfAddress,
  vfs,
} from './testing/fleet.js';
import { say, scenario } from './testing/scenario.js';

/** The fields of the decisions in wire.md, as they are written there; `?` marks one that may be left out. */
const FIELDS: Partial<Record<EventType, string>> = {
  VfAllocated:
    'allocationId vmId nicId tenant? hostId pf vf vfIndex networkId? physicalNetwork vlanId? mac guestSlot? numaNode? reason',
  VfReleased: 'allocationId vmId nicId tenant? hostId pf vf reason forced',
  VmStartAccepted: 'vmId hostId nics why warnings? separatePfs? bondHints?',
  VmStartFailed: 'vmId hostId? reason message summary considered truncated? holders?',
  VmNicAttachFailed: 'vmId nicId reason message holders?',
  VmNicDetachFailed: 'vmId nicId reason message',
  VmMigrationRejected: 'vmId kind targetHostId? reason message holders?',
  HostRemovalRejected: 'hostId reason message holders?',
  PfVirtualizationRejected: 'hostId pf numVfs reason message holders?',
  PfRestoreRejected: 'hostId pf reason message holders?',
  PfVirtualizationOrdered: 'hostId pf numVfs warnings?',
  PfRestoreOrdered: 'hostId pf',
  VfScrubRequested: 'hostId pf vf allocationId',
  NicDegraded: 'vmId nicId reason?',
  NicPromoted: 'vmId nicId',
  VmStartedWithoutVf: 'vmId hostId nicId allocationId',
  VfQuarantined: 'hostId pf vf allocationId detail?',
  AllocationOverdue: 'allocationId vmId hostId vf since',
  ScrubOverdue: 'allocationId hostId vf since',
  HostLost: 'hostId since',
  HostBack: 'hostId since',
  DriftDetected: 'hostId pf? vf? vmId? kind expected? observed?',
  DriftResolved: 'hostId pf? vf? vmId? kind expected? observed?',
  HostAgentRestarted: 'hostId bootId seq lastSeq',
  InputIgnored: 'type reason vmId? hostId? bootId? lastSeq?',
  InputRejected: 'type reason message vmId? hostId? holders?',
};

const RELEASE_REASONS =
  'vm-stopped vm-destroyed start-aborted nic-detached pf-restored pf-driver-lost host-rebooted host-fenced proved-unused operator';

describe('what goes out', () => {
  let log: readonly PlacedEvent[] = [];

  beforeAll(() => {
    const em1 = { hostId: 'h1', pf: EM1 };
    const bcm = port('em2', 4, { driver: 'bnx2x', bond: 'b0' });
    const cluster = scenario(
      ...networks(),
      reported('h1', { scrubs: true, pfs: ports(6) }),
      reported('h2', { pfs: [port('em1', 4, { bond: 'b0' }), bcm] }),
      start('vm1', {
        hostId: 'h1',
        tenant: 't1',
        nics: [{ nicId: 'eth0', networkId: 'net1', guestSlot: 5 }],
      }),
      started('vm1', { hostId: 'h1', bootId: 'boot-1' }),
      start('vm1', { hostId: 'h2' }),
      start('vm2', {
        hostId: 'h2',
        separatePfs: true,
        guestOs: 'windows',
        nics: ['a', 'b'].map((id) => nic(id, { physicalNetwork: 'b0' })),
      }),
      start('vm3', {
        hostId: 'h1',
        nics: [nic('eth0', { onExhaustion: 'fallback', physicalNetwork: 'none' })],
      }),
      say('VmMigrationRequested', { vmId: 'vm1', kind: 'live', targetHostId: 'h2' }),
      say('VmMigrated', { vmId: 'vm1', hostId: 'h2' }),
      say('VmNicAttachRequested', { vmId: 'vm1', nic: nic('eth1', { mac: cluster0Mac }) }),
      say('VmNicAttachRequested', { vmId: 'vm2', nic: nic('c', { mac: cluster0Mac }) }),
      say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth7' }),
      say('VmNicDetachRequested', { vmId: 'vm1', nicId: 'eth1' }),
      say('HostRemovalRequested', { hostId: 'h1' }),
      say('PfVirtualizeRequested', { ...em1, numVfs: 3 }),
      say('PfVirtualizeRequested', { hostId: 'h1', pf: EM2, numVfs: 3 }),
      say('PfRestoreRequested', { ...em1, onBusy: 'reject' }),
      start('vm4', { hostId: 'h1', nics: [nic('eth0')] }),
      say('VmStartAborted', { vmId: 'vm4', reason: 'no memory' }),
    );
    const aborted = cluster.log.at(-2)?.data as { allocationId: string };
    cluster.given(
      say('VfScrubbed', {
        hostId: 'h1',
        vf: (aborted as unknown as { vf: string }).vf,
        allocationId: aborted.allocationId,
        clean: false,
        detail: 'VLAN stays',
      }),
      start('vm5', { hostId: 'h1', nics: [nic('eth0')] }),
      say('Tick', {}),
      say('Tick', {}, { after: 400 }),
      reported('h1', {
        seq: 2,
        scrubs: true,
        vms: [],
        pfs: ports(vfs('em1', 6, { 5: { usedByVmId: 'x' } })),
      }),
      reported('h1', { seq: 3, scrubs: true, vms: [], pfs: ports(6) }),
      started('vm5', { hostId: 'h1' }),
      say('AllocationReleaseRequested', {
        hostId: 'h1',
        allocationId: cluster.allocation('vm1').id,
        reason: 'x',
      }),
      reported('h2', { seq: 2, pfs: [port('em1', [vf('em1', 0)], { bond: 'b0' }), bcm] }),
      say('PfDriverLost', { hostId: 'h2', pf: EM1 }),
      say('PfVirtualized', { hostId: 'h1', pf: EM1, vfs: [] }),
      say('PfRestoreRequested', { hostId: 'h2', pf: EM2 }),
      start('vm6', { hostId: 'h1', nics: [nic('eth0')] }),
      say('VmDestroyed', { vmId: 'vm6' }),
      start('vm7', { hostId: 'h1', nics: [nic('eth0')] }),
      reported('h1', { bootId: 'boot-2', scrubs: true, pfs: ports(0) }),
      say('PfVirtualized', { ...em1, vfs: vfs('em1', 6) }),
      start('vm8', { hostId: 'h1', nics: [nic('eth0')] }),
      say('HostFenced', { hostId: 'h1' }),
      stopped('nobody'),
      say('HostFenced', { hostId: 'nowhere' }),
      reported('h4', { pfs: [bcm] }),
      reported('h4', { bootId: 'boot-2', pfs: [{ ...bcm, vfs: [] }] }),
      ...Array.from({ length: 33 }, (_, i) => reported(`n${i}`)),
      start('vm9'),
      start('vm10', { hostId: 'n0', nics: [nic('eth0', { onExhaustion: 'fallback' })] }),
      reported('n0', { seq: 2, pfs: ports(1) }),
      ...[9, 1, 2, 3].map((seq) => reported('n1', { seq })),
      say('Tick', {}),
      stopped('vm10'),
    );
    log = cluster.log;
  });

  test.each(Object.entries(FIELDS) as [EventType, string][])('%s has its fields', (type, list) => {
    const events = log.filter((event) => event.type === type);
    expect(events.length).toBeGreaterThan(0);
    const seen = new Set<string>();
    for (const { data } of events) {
      const there = Object.keys(data);
      for (const field of there) seen.add(field);
      for (const field of list.split(' ').filter((name) => !name.endsWith('?')))
        expect(there).toContain(field);
    }
    // A field that may be left out is there at least once, under the very name.
    for (const field of list.split(' ')) expect([...seen]).toContain(field.replace('?', ''));
  });

  test('the reasons of a release are those of wire.md', () => {
    const reasons = log.flatMap((event) => (event.type === 'VfReleased' ? [event.data.reason] : []));
    expect([...new Set(reasons)].sort()).toEqual(RELEASE_REASONS.split(' ').sort());
    for (const event of log) {
      if (event.type !== 'VfReleased') continue;
      // The operator's word in this history is on a VM that runs.
      expect(event.data.forced).toBe(
        ['pf-restored', 'pf-driver-lost', 'operator'].includes(event.data.reason),
      );
    }
  });

  test('[OUT-3 acts] positions go up by one, times never back, and each event has its cause', () => {
    expect(log.map(({ position }) => position)).toEqual(log.map((_, index) => index + 1));
    for (const [index, { at, cause }] of log.entries()) {
      expect(at).toBeGreaterThanOrEqual(log[index - 1]?.at ?? 0);
      expect(cause.id).toMatch(/^in-\d+$/);
    }
  });

  test('[OUT-3 quiet] what leaves no event takes no position', () => {
    const cluster = scenario(reported('h1', { pfs: ports(1) }));
    const { position } = cluster.state;
    cluster.given(reported('h1', { seq: 2, pfs: ports(1) }), say('Tick', {}));
    expect(cluster.state.position).toBe(position);
  });

  test('[OUT-1 acts] VfAllocated of a start come before its acceptance, neighbours of one cause', () => {
    const [first, second, third] = log.filter(({ data }) => (data as { vmId?: string }).vmId === 'vm2');
    expect([first?.type, second?.type, third?.type]).toEqual([
      'VfAllocated',
      'VfAllocated',
      'VmStartAccepted',
    ]);
    expect(new Set([first, second, third].map((event) => event?.cause.id)).size).toBe(1);
    expect(third?.position).toBe((first?.position ?? 0) + 2);
  });

  test('a degraded NIC is a vf, degraded, and without allocationId', () => {
    const accepted = log.find((event) => event.type === 'VmStartAccepted' && event.data.vmId === 'vm3');
    const [first] = (accepted?.data as { nics: readonly object[] }).nics;
    expect(first).toMatchObject({ nicId: 'eth0', type: 'vf', degraded: true });
    expect(first).not.toHaveProperty('allocationId');
    expect(first).not.toHaveProperty('vf');
  });

  test('[PF-8 acts] every address and MAC is written as the wire has it', () => {
    const text = JSON.stringify(log);
    for (const [, address] of text.matchAll(/"(?:pf|vf|pciAddress)":"([^"]+)"/g))
      expect(address).toMatch(/^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/);
    for (const [, mac] of text.matchAll(/"mac":"([^"]+)"/g))
      expect(mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    expect(text).toContain(vfAddress('em1', 0));
  });
});

const cluster0Mac = '52:54:00:00:00:77';
