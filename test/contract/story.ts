import type { EventType, InputType } from '#domain';
import { emptyHead } from '#log';
import { sealDecision } from '#pipeline';
import {
  EM1,
  EM2,
  networks,
  nic,
  port,
  ports,
  reported,
  Scenario,
  say,
  start,
  started,
  stopped,
  vf,
  vfAddress,
  vfs,
  type Said,
} from '#testing';
import { INPUT_CATALOG, type OutgoingEvent } from '#wire';

/** An input of the story as its publisher sent it, and what came of it. */
export interface Exchange {
  readonly input: { readonly type: InputType; readonly [attribute: string]: unknown };
  readonly outputs: readonly OutgoingEvent[];
}

const CLUSTER = 'default';

/**
 * A conversation in which every input is published and every event comes out, decided by the real decider and
 * sealed as the pipeline seals. The documents take their examples from it.
 */
export function tellStory(): readonly Exchange[] {
  const scenario = new Scenario(CLUSTER);
  const exchanges: Exchange[] = [];
  let head = emptyHead(CLUSTER);
  for (const said of conversation(scenario)) {
    const before = scenario.log.length;
    scenario.when(said);
    const events = scenario.log.slice(before);
    const id = `${said.type}-${exchanges.length + 1}`;
    const input = envelope(said, id, scenario.at());
    const placed = events.map((event) => ({ ...event, cause: { ...event.cause, id } }));
    const read = { correlationId: id, text: JSON.stringify(input) };
    const sealed = sealDecision(CLUSTER, head, read, placed);
    head = sealed.head;
    exchanges.push({
      input,
      outputs: sealed.sealed.messages.map(({ payload }) => JSON.parse(String(payload)) as OutgoingEvent),
    });
  }
  return exchanges;
}

function envelope(said: Said, id: string, time: string): Exchange['input'] {
  const { kind } = INPUT_CATALOG[said.type];
  const source = { vm: '/compute/controller-1', host: '/agents', network: '/network', cluster: '/operators' }[
    kind
  ];
  return { specversion: '1.0', id, source, type: said.type, time, data: said.data };
}

/**
 * What is said, lazily: what comes later names allocations that were made before.
 *
 * @param cluster tells what was allocated until then.
 */
export function* conversation(cluster: {
  allocation(vmId: string, nicId: string): { readonly id: string };
}): Generator<Said> {
  const em1 = { hostId: 'host-1', pf: EM1 };
  const em2 = { hostId: 'host-1', pf: EM2 };
  const token = (vmId: string, nicId = 'eth0'): string => cluster.allocation(vmId, nicId).id;
  const onNetwork = (id: string): ReturnType<typeof nic> => ({ nicId: id, networkId: 'net1' });

  yield* networks();
  yield say('L2NetworkDefined', {
    l2Id: 'l2-9',
    type: 'VxlanNetwork',
    physicalInterface: 'em1',
    sriov: true,
  });
  yield say('L3NetworkDefined', { l3Id: 'net9', l2Id: 'l2-9', kind: 'flat', sriov: true });
  yield say('NetworkRemovalRequested', { id: 'l2-1' });
  yield say('ClusterPolicyChanged', { strategy: 'pack', promotion: true, quotas: { blue: 8 } });
  yield reported('host-1', { scrubs: true });
  yield say('PfVirtualizeRequested', { ...em1, numVfs: 4 });
  yield say('PfVirtualizeRequested', { ...em1, numVfs: 99 });
  yield say('PfVirtualized', { ...em1, vfs: vfs('em1', 4) });
  yield say('PfVirtualizeRequested', { ...em2, numVfs: 8 });
  yield say('PfVirtualizationFailed', { ...em2, reason: 'device or resource busy' });

  // A start, and all that can follow.
  yield start('vm-1', {
    tenant: 'blue',
    nics: [{ nicId: 'eth0', networkId: 'net1', guestSlot: 5 }],
  });
  yield started('vm-1', { hostId: 'host-1', bootId: 'boot-1' });
  yield start('vm-1');
  yield say('VmRebooted', { vmId: 'vm-1' });
  yield say('VmMigrationRequested', { vmId: 'vm-1', kind: 'live', targetHostId: 'host-2' });
  yield say('VmNicAttachRequested', { vmId: 'vm-1', nic: onNetwork('eth1') });
  yield say('VmNicAttachRequested', { vmId: 'vm-1', nic: onNetwork('eth1') });
  yield say('VmNicDetachRequested', { vmId: 'vm-1', nicId: 'eth1' });
  yield say('VmNicDetachRequested', { vmId: 'vm-1', nicId: 'eth7' });
  yield say('VmNicTypeChangeRequested', { vmId: 'vm-1', nicId: 'eth0', type: 'vnic' });
  const eth0 = { hostId: 'host-1', vf: vfAddress('em1', 0), allocationId: token('vm-1') };
  yield say('PfRestoreRequested', { ...em1, onBusy: 'reject' });
  yield say('HostRemovalRequested', { hostId: 'host-1' });
  yield stopped('vm-1');
  yield say('VfScrubbed', { ...eth0, clean: true });
  yield say('VmNicTypeChangeRequested', { vmId: 'vm-1', nicId: 'eth0', type: 'vnic' });
  yield say('VmMigrationRequested', { vmId: 'vm-1', kind: 'cold', targetHostId: 'host-1' });
  yield say('VmMigrated', { vmId: 'vm-1', hostId: 'host-1' });
  yield say('VmDestroyed', { vmId: 'vm-1' });
  yield stopped('vm-1');

  // A start that ends before it began, and a scrub that failed.
  yield start('vm-2');
  const aborted = { hostId: 'host-1', vf: vfAddress('em1', 0), allocationId: token('vm-2') };
  yield say('VmStartAborted', { vmId: 'vm-2', reason: 'no disk' });
  yield say('VfScrubbed', { ...aborted, clean: false, detail: 'the VLAN stays' });
  yield start('vm-2', { nics: [nic('eth0', { physicalNetwork: 'em2' })] });

  // A NIC that falls back, and is promoted.
  yield start('vm-3', { nics: [nic('eth0', { onExhaustion: 'fallback', physicalNetwork: 'em2' })] });
  yield started('vm-3', { hostId: 'host-1' });
  yield say('PfVirtualizeRequested', { ...em2, numVfs: 1 });
  yield say('PfVirtualized', { ...em2, vfs: vfs('em2', 1) });
  yield say('Tick', {});
  yield say('PfDriverLost', em2);
  yield say('PfLinkChanged', { ...em1, link: 'down' });
  yield say('PfLinkChanged', { ...em1, link: 'up' });
  yield say('PfCordoned', { ...em1, cordoned: true });
  yield say('PfCordoned', { ...em1, cordoned: false });
  yield say('HostCordoned', { hostId: 'host-1', cordoned: true });
  yield say('HostCordoned', { hostId: 'host-1', cordoned: false });

  // Overdue, and proved unused.
  yield start('vm-4');
  yield start('vm-5');
  yield say('AllocationReleaseRequested', { hostId: 'host-1', allocationId: 'none', reason: 'cleaning up' });
  yield say('AllocationReleaseRequested', {
    hostId: 'host-1',
    allocationId: token('vm-5'),
    reason: 'its VM is gone',
  });
  yield say('Tick', {});
  yield say('Tick', {}, { after: 400 });
  const report = (seq: number, fields = {}): Said =>
    reported('host-1', { seq, scrubs: true, vms: ['vm-3'], pfs: ports(4), ...fields });
  yield report(2, { pfs: ports(vfs('em1', 4, { 3: { usedByVmId: 'stranger' } })) });
  yield report(3);
  yield started('vm-4', { hostId: 'host-1' });
  yield say('HostSeen', { hostId: 'host-1', bootId: 'boot-1', seq: 4, digest: 'same-as-3' });

  // A restore that fails, one that is done, and a PF with other hardware.
  yield say('PfRestoreRequested', em1);
  yield say('PfRestoreFailed', { ...em1, reason: 'device or resource busy' });
  yield say('PfRestoreRequested', em1);
  yield say('PfRestored', em1);
  yield report(5, { pfs: [port('em1', 0, { serial: 'other' }), port('em2'), port('em3'), port('em4')] });
  yield report(6, {
    pfs: [port('em1', 0, { vendorId: '15b3' }), port('em2'), port('em3'), port('em4')],
  });
  yield say('PfAccepted', em1);
  // The agent of host-1 is restarted, and counts from one.
  for (const seq of [1, 2, 3])
    yield report(seq, { pfs: [port('em1', 0, { vendorId: '15b3' }), port('em2'), port('em3'), port('em4')] });

  // A living fleet is adopted; a host is fenced, comes back, and goes.
  yield reported('host-2', {
    vms: ['vm-6'],
    pfs: [port('em1', [vf('em1', 0, { usedByVmId: 'vm-6', mac: '52:54:00:00:00:06' }), vf('em1', 1)])],
  });
  yield say('VmAdopted', {
    vmId: 'vm-6',
    hostId: 'host-2',
    nics: [{ nicId: 'eth0', vf: vfAddress('em1', 0), mac: '52:54:00:00:00:06' }],
  });
  yield say('VmMigrated', { vmId: 'vm-6', hostId: 'host-1' });
  yield say('HostFenced', { hostId: 'host-2' });
  yield say('VmMigrated', { vmId: 'vm-6', hostId: 'host-1' });
  yield say('HostRemovalRequested', { hostId: 'host-2' });
  yield say('NetworkRemovalRequested', { id: 'net2' });
}

/** The first input of each type. */
export function inputExamples(story: readonly Exchange[]): ReadonlyMap<InputType, object> {
  const examples = new Map<InputType, object>();
  for (const { input } of story) if (!examples.has(input.type)) examples.set(input.type, input);
  return examples;
}

/** The first event of each type. */
export function outputExamples(story: readonly Exchange[]): ReadonlyMap<EventType, OutgoingEvent> {
  const examples = new Map<EventType, OutgoingEvent>();
  for (const { outputs } of story) {
    for (const event of outputs) {
      const type = event.type as EventType;
      if (!examples.has(type)) examples.set(type, event);
    }
  }
  return examples;
}
