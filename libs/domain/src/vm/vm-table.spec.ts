import { describe, expect, test } from '@jest/globals';
import { decide } from '../decide.js';
import type { EventType } from '../events.js';
import type { Input, VmInputType } from '../inputs.js';
import { dumpState } from '../snapshot.js';
import { vmState, type VmState } from '../state.js';
import { nic, ports, reported, start, started, stopped, vfAddress } from '../testing/fleet.js';
import { say, scenario, type Said, type Scenario } from '../testing/scenario.js';
import { VM_TABLE } from './vm-table.js';

const STATES = ['unknown', 'pending', 'running', 'stopped'] as const;

/**
 * vm1 in each state; it holds a VF of h1 where it is pending or running, and has held it where it is stopped.
 */
const IN_STATE: Record<VmState, () => Scenario> = {
  unknown: () => scenario(reported('h1', { pfs: ports(3) }), reported('h2')),
  pending: () => IN_STATE.unknown().given(start('vm1')),
  running: () => IN_STATE.pending().given(started('vm1')),
  stopped: () => IN_STATE.running().given(stopped('vm1')),
};

const about = { vmId: 'vm1' };
const INPUTS: { readonly [T in VmInputType]: Said } = {
  VmStartRequested: start('vm1'),
  VmStarted: say('VmStarted', about),
  VmStartAborted: say('VmStartAborted', about),
  VmStopped: say('VmStopped', about),
  VmDestroyed: say('VmDestroyed', about),
  VmRebooted: say('VmRebooted', about),
  VmMigrated: say('VmMigrated', { ...about, hostId: 'h2' }),
  VmAdopted: say('VmAdopted', {
    ...about,
    hostId: 'h1',
    nics: [{ nicId: 'eth0', vf: vfAddress('em1', 2), mac: '52:54:00:00:00:01' }],
  }),
  VmNicAttachRequested: say('VmNicAttachRequested', { ...about, nic: nic('eth1') }),
  VmNicDetachRequested: say('VmNicDetachRequested', { ...about, nicId: 'eth0' }),
  VmNicTypeChangeRequested: say('VmNicTypeChangeRequested', { ...about, nicId: 'eth0', type: 'vnic' }),
  VmMigrationRequested: say('VmMigrationRequested', { ...about, kind: 'live', targetHostId: 'h2' }),
};

/**
 * Written by hand from rules.md and wire.md: what each input leads to in each state, facts first and the
 * outcome last.
 */
const CELLS: { readonly [T in VmInputType]: { readonly [S in VmState]: readonly EventType[] } } = {
  VmStartRequested: {
    unknown: ['VfAllocated', 'VmStartAccepted'],
    pending: ['VmStartFailed'],
    running: ['VmStartFailed'],
    stopped: ['VfAllocated', 'VmStartAccepted'],
  },
  VmStarted: {
    unknown: ['InputIgnored'],
    pending: ['VmStarted'],
    running: ['InputIgnored'],
    stopped: ['InputIgnored'],
  },
  VmStartAborted: {
    unknown: ['InputIgnored'],
    pending: ['VfReleased', 'VmStartAborted'],
    running: ['VfReleased', 'VmStartAborted'],
    stopped: ['InputIgnored'],
  },
  VmStopped: {
    unknown: ['InputIgnored'],
    pending: ['VfReleased', 'VmStopped'],
    running: ['VfReleased', 'VmStopped'],
    stopped: ['InputIgnored'],
  },
  VmDestroyed: {
    unknown: ['InputIgnored'],
    pending: ['VfReleased', 'VmDestroyed'],
    running: ['VfReleased', 'VmDestroyed'],
    stopped: ['VmDestroyed'],
  },
  VmRebooted: {
    unknown: ['InputIgnored'],
    pending: ['VmRebooted'],
    running: ['VmRebooted'],
    stopped: ['InputIgnored'],
  },
  VmMigrated: {
    unknown: ['InputIgnored'],
    pending: ['DriftDetected', 'InputRejected'],
    running: ['DriftDetected', 'InputRejected'],
    stopped: ['VmMigrated'],
  },
  VmAdopted: {
    unknown: ['VfAllocated', 'VmAdopted'],
    // Of another VF than it has.
    pending: ['InputRejected'],
    running: ['InputRejected'],
    stopped: ['VfAllocated', 'VmAdopted'],
  },
  VmNicAttachRequested: {
    unknown: ['VmNicAttachFailed'],
    pending: ['VfAllocated', 'VmNicAttached'],
    running: ['VfAllocated', 'VmNicAttached'],
    stopped: ['VmNicAttached'],
  },
  VmNicDetachRequested: {
    unknown: ['VmNicDetachFailed'],
    pending: ['VfReleased', 'VmNicDetached'],
    running: ['VfReleased', 'VmNicDetached'],
    stopped: ['VmNicDetached'],
  },
  VmNicTypeChangeRequested: {
    unknown: ['VmNicTypeChangeRejected'],
    pending: ['VmNicTypeChangeRejected'],
    running: ['VmNicTypeChangeRejected'],
    stopped: ['VmNicTypeChanged'],
  },
  VmMigrationRequested: {
    unknown: ['VmMigrationRejected'],
    pending: ['VmMigrationRejected'],
    running: ['VmMigrationRejected'],
    stopped: ['VmMigrationAllowed'],
  },
};

/** The state in which each cell leaves the VM, where it is another. */
const LEADS_TO: Partial<Record<VmInputType, Partial<Record<VmState, VmState>>>> = {
  VmStartRequested: { unknown: 'pending', stopped: 'pending' },
  VmStarted: { pending: 'running' },
  VmStartAborted: { pending: 'stopped', running: 'stopped' },
  VmStopped: { pending: 'stopped', running: 'stopped' },
  VmDestroyed: { pending: 'unknown', running: 'unknown', stopped: 'unknown' },
  VmAdopted: { unknown: 'running', stopped: 'running' },
};

test('the table has every input about a VM, in every state', () => {
  expect(Object.keys(VM_TABLE).sort()).toEqual(Object.keys(CELLS).sort());
  for (const row of Object.values(VM_TABLE)) expect(Object.keys(row).sort()).toEqual([...STATES].sort());
});

describe.each(STATES)('a VM that is %s', (state) => {
  test.each(Object.keys(CELLS) as VmInputType[])('%s', (type) => {
    const cluster = IN_STATE[state]();
    expect(vmState(cluster.state, 'vm1')).toBe(state);
    cluster.when(INPUTS[type]).thenTypes(...CELLS[type][state]);
    expect(vmState(cluster.state, 'vm1')).toBe(LEADS_TO[type]?.[state] ?? state);
    // The input's own subject is named by what it left.
    expect(cluster.events.at(-1)?.data).toMatchObject(about);
  });

  test.each(Object.keys(CELLS) as VmInputType[])('[VM-13 refuses] a stale %s changes nothing', (type) => {
    const cluster = IN_STATE[state]().given(say('VmStarted', { vmId: 'vm1', generation: 9 }));
    if (state === 'pending') cluster.given(stopped('vm1'), start('vm1'));
    expect(vmState(cluster.state, 'vm1')).toBe(state);
    const said = INPUTS[type];
    const held = cluster.holds('vm1');
    cluster.when({ ...said, data: { ...said.data, generation: 8 } } as Said);
    if (type.endsWith('Requested')) cluster.thenRefused('GENERATION_STALE');
    else cluster.thenIgnored('stale');
    expect(cluster.holds('vm1')).toEqual(held);
    expect(vmState(cluster.state, 'vm1')).toBe(state);
  });

  test('deciding changes nothing, twice gives the same, and the events are JSON without loss', () => {
    for (const { type, data } of Object.values(INPUTS)) {
      const { state: before } = IN_STATE[state]();
      const input = { id: 'x', type, data, time: before.clock + 1, digest: '0123456789abcdef' } as Input;
      const dump = dumpState(before);
      const events = decide(before, input);
      expect(dumpState(before)).toBe(dump);
      expect(decide(before, input)).toEqual(events);
      expect(JSON.parse(JSON.stringify(events))).toEqual(events);
    }
  });

  test('[EX-6 acts] every input leaves an event, and its repeat none', () => {
    for (const said of Object.values(INPUTS)) {
      const cluster = IN_STATE[state]().when({ ...said, id: 'once' });
      expect(cluster.events.length).toBeGreaterThan(0);
      cluster.when({ ...said, id: 'once' }).thenNothing();
      expect(cluster.recalled).toBe('repeat');
    }
  });
});
