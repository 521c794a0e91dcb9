import { describe, expect, test } from '@jest/globals';
import type { Events, EventType } from '#domain';
import { SAMPLES } from './testing/sample-inputs.js';
import { subjectOf, writeEvent, type RelayedRecord } from './write-event.js';

const ofVm = { vmId: 'vm-1', generation: 3 };
const ofNic = { ...ofVm, nicId: 'nic-1' };
const ofHost = { hostId: 'host-1' };
const ofPf = { ...ofHost, pf: '0000:82:00.0' };
const scrub = { ...ofPf, vf: '0000:82:10.0', allocationId: 'a-1' };
const since = '2026-08-01T12:00:00.000Z';
const no = { reason: 'PF_BUSY', message: 'it is busy' } as const;
const vm = 'vm/vm-1';
const host = 'host/host-1';

/** Every event with the subject that wire.md gives it. */
const EVENTS: { readonly [T in EventType]: readonly (readonly [about: string, data: Events[T]])[] } = {
  VfAllocated: [
    [
      vm,
      { ...scrub, ...ofNic, vfIndex: 0, physicalNetwork: 'ens1', mac: '02:00:00:00:00:01', reason: 'start' },
    ],
  ],
  VfReleased: [[vm, { ...scrub, ...ofNic, reason: 'pf-restored', forced: true }]],
  VmStartAccepted: [
    [vm, { ...ofVm, ...ofHost, nics: [], why: { strategy: 'pack', score: 1, candidates: 1 } }],
  ],
  VmStartFailed: [[vm, { ...ofVm, ...ofHost, ...no, summary: {}, considered: [] }]],
  VmStarted: [[vm, { ...ofVm, ...ofHost }]],
  VmStartAborted: [[vm, ofVm]],
  VmStopped: [[vm, ofVm]],
  VmDestroyed: [[vm, ofVm]],
  VmRebooted: [[vm, ofVm]],
  VmMigrated: [[vm, { ...ofVm, ...ofHost }]],
  VmAdopted: [[vm, { ...ofVm, ...ofHost, nics: [] }]],
  VmNicAttached: [[vm, { ...ofVm, nic: { nicId: 'nic-1', type: 'vf' } }]],
  VmNicAttachFailed: [[vm, { ...ofNic, ...no }]],
  VmNicDetached: [[vm, ofNic]],
  VmNicDetachFailed: [[vm, { ...ofNic, ...no }]],
  VmNicTypeChanged: [[vm, { ...ofNic, type: 'vf' }]],
  VmNicTypeChangeRejected: [[vm, { ...ofNic, type: 'vf', ...no }]],
  VmMigrationAllowed: [[vm, { ...ofVm, kind: 'live', targetHostId: 'host-2' }]],
  VmMigrationRejected: [[vm, { ...ofVm, kind: 'live', ...no }]],
  NicDegraded: [[vm, ofNic]],
  NicPromoted: [[vm, ofNic]],
  VmStartedWithoutVf: [[vm, { ...ofNic, ...ofHost, allocationId: 'a-1' }]],
  HostRegistered: [[host, SAMPLES.HostReported.minimal]],
  HostChanged: [[host, { ...ofHost, bootId: 'b', seq: 1 }]],
  HostAgentRestarted: [[host, { ...ofHost, bootId: 'b', seq: 3, lastSeq: 9 }]],
  HostBack: [[host, { ...ofHost, since }]],
  HostLost: [[host, { ...ofHost, since }]],
  HostCordoned: [[host, { ...ofHost, cordoned: true }]],
  HostFenced: [[host, { ...ofHost, stoppedVms: ['vm-1'] }]],
  HostRemoved: [[host, ofHost]],
  HostRemovalRejected: [[host, { ...ofHost, ...no }]],
  PfVirtualizationOrdered: [[host, { ...ofPf, numVfs: 4 }]],
  PfVirtualizationRejected: [[host, { ...ofPf, numVfs: 4, ...no }]],
  PfVirtualized: [[host, { ...ofPf, vfs: [] }]],
  PfVirtualizationFailed: [[host, { ...ofPf, reason: 'no memory' }]],
  PfRestoreOrdered: [[host, ofPf]],
  PfRestoreRejected: [[host, { ...ofPf, ...no }]],
  PfRestored: [[host, ofPf]],
  PfRestoreFailed: [[host, { ...ofPf, reason: 'busy' }]],
  PfDriverLost: [[host, ofPf]],
  PfLinkChanged: [[host, { ...ofPf, link: 'down' }]],
  PfCordoned: [[host, { ...ofPf, cordoned: true }]],
  PfAccepted: [[host, ofPf]],
  VfScrubRequested: [[host, scrub]],
  VfScrubbed: [[host, { ...scrub, clean: true }]],
  VfQuarantined: [[host, scrub]],
  AllocationOverdue: [[vm, { ...scrub, ...ofVm, since }]],
  ScrubOverdue: [
    [host, { ...scrub, since }],
    [host, { ...scrub, ...ofVm, since }],
  ],
  AllocationReleaseDone: [[host, { ...ofHost, allocationId: 'a-1', reason: 'lost' }]],
  AllocationReleaseRejected: [[host, { ...ofHost, allocationId: 'a-1', ...no }]],
  DriftDetected: [
    [host, { ...ofPf, kind: 'VF_COUNT' }],
    [host, { ...ofPf, vmId: 'vm-1', kind: 'VM_UNSEEN' }],
  ],
  DriftResolved: [[host, { ...ofPf, vmId: 'vm-1', kind: 'VM_ELSEWHERE' }]],
  L2NetworkAccepted: [['network/l2-1', SAMPLES.L2NetworkDefined.full]],
  L2NetworkRejected: [['network/l2-1', { l2Id: 'l2-1', ...no }]],
  L3NetworkAccepted: [['network/l3-1', SAMPLES.L3NetworkDefined.full]],
  L3NetworkRejected: [['network/l3-1', { l3Id: 'l3-1', l2Id: 'l2-1', ...no }]],
  NetworkRemoved: [['network/l3-1', { id: 'l3-1' }]],
  NetworkRemovalRejected: [['network/l3-1', { id: 'l3-1', ...no }]],
  ClusterPolicyChanged: [
    ['cluster/site-1', SAMPLES.ClusterPolicyChanged.full],
    ['cluster/site-1', {}],
  ],
  InputIgnored: [
    [vm, { type: 'VmStopped', reason: 'stale', ...ofVm }],
    [host, { type: 'HostFenced', reason: 'unknown', ...ofHost }],
    ['network/l3-1', { type: 'NetworkRemovalRequested', reason: 'unknown', id: 'l3-1' }],
    ['cluster/site-1', { type: 'ClusterPolicyChanged', reason: 'nothing new' }],
  ],
  InputRejected: [
    [vm, { type: 'VmAdopted', ...ofVm, ...no }],
    [host, { type: 'PfVirtualized', ...ofHost, ...no }],
  ],
};

const cases = Object.entries(EVENTS).flatMap(([type, all]) =>
  all.map(([about, data]) => [type, about, data as object] as const),
);

const record = (type: string, data: object, more: Partial<RelayedRecord> = {}): RelayedRecord => ({
  position: 12_345_678_901,
  id: '0190c0de-0000-8000-8000-000000000001',
  hash: 'ab'.repeat(32),
  type,
  time: since,
  correlationId: 'request "7"',
  cause: { id: 'cause-1' },
  data,
  ...more,
});

describe('events go out as wire.md says', () => {
  test.each(cases)('%s under %s', (type, about, data) => {
    const [kind, id] = about.split('/') as [string, string];
    expect(subjectOf('site-1', type, data)).toEqual({ kind, id });
    const { subject, payload } = writeEvent('site-1', record(type, data));
    expect(subject).toBe(`vf.out.site-1.${kind}.${id}.${type}`);
    expect(JSON.parse(payload)).toEqual({
      specversion: '1.0',
      id: '0190c0de-0000-8000-8000-000000000001',
      source: '/vf-scheduler/site-1',
      type,
      time: since,
      subject: about,
      datacontenttype: 'application/json',
      correlationid: 'request "7"',
      causationid: 'cause-1',
      position: '12345678901',
      hash: 'ab'.repeat(32),
      data,
    });
  });

  test('ids that are names of every object are ids like others', () => {
    for (const id of ['constructor', '__proto__', 'toString']) {
      expect(subjectOf('default', 'VmStopped', { vmId: id })).toEqual({ kind: 'vm', id });
      expect(subjectOf(id, 'ClusterPolicyChanged', {})).toEqual({ kind: 'cluster', id });
    }
  });

  test('traceparent is there when there is one', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const data = { vmId: 'vm-1' };
    expect(
      JSON.parse(writeEvent('default', record('VmStopped', data, { traceparent })).payload),
    ).toHaveProperty('traceparent', traceparent);
    expect(writeEvent('default', record('VmStopped', data)).payload).not.toContain('traceparent');
  });

  test('the text of data goes out byte for byte', () => {
    const text = '{"vmId":"vm-1","a":1E2, "b":"\\u00f6ö$&"}';
    const { payload } = writeEvent('default', record('VmStopped', { vmId: 'vm-1' }), text);
    expect(payload.endsWith(`,"data":${text}}`)).toBe(true);
    expect(JSON.parse(payload)).toMatchObject({ data: { vmId: 'vm-1', a: 100, b: 'öö$&' } });
  });

  test('attributes are escaped, and cannot add others', () => {
    const correlationId = '","position":"1","x":"\u2028';
    const { payload } = writeEvent('default', record('VmStopped', { vmId: 'vm-1' }, { correlationId }));
    expect(JSON.parse(payload)).toMatchObject({ correlationid: correlationId, position: '12345678901' });
    expect(JSON.parse(payload)).not.toHaveProperty('x');
  });
});
