import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  DECIDER_VERSION,
  decide,
  emptyState,
  evolve,
  viewAvailability,
  viewHost,
  viewVf,
  viewVm,
  type Input,
  type State,
} from '#domain';
import { MemoryLog } from '#log';
import { anyHistory, runsOf, saneHistories } from '../../domain/src/testing/arbitraries.js';
import { allocationId } from '../../domain/src/naming.js';
import { ReadModel } from './read-model.js';
import { mentioning, note, told } from './testing/naive-fold.js';
import { writeHistory, writeInputs, type Written } from './testing/written-log.js';

const SEED = runsOf(1).first;
const HISTORIES = 12;
const POSITIONS = 200;
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

let directory: string;
let log: MemoryLog;
let model: ReadModel;
let written: Written[];
/** Random moments: a history and a position in it. */
let moments: { history: Written; position: number }[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-read-'));
  log = new MemoryLog();
  const histories = [
    ...fc.sample(saneHistories, { seed: SEED, numRuns: HISTORIES / 2 }),
    ...fc.sample(anyHistory, { seed: SEED, numRuns: HISTORIES / 2 }),
  ];
  written = [];
  for (const [index, history] of histories.entries())
    written.push(await writeHistory(log, `c${index}`, history));
  model = await ReadModel.open({ directory, log, logger, rememberedInputs: 200_000 });
  for (const { cluster, events } of written) {
    model.follow(cluster);
    await model.until(cluster, events.length, 20_000);
  }
  moments = Array.from({ length: POSITIONS }, (_, index) => {
    const history = written[index % written.length] as Written;
    const random = Math.abs(Math.sin(SEED + index)) * (history.events.length + 1);
    // The last of each is now.
    return { history, position: index < written.length ? history.events.length : Math.floor(random) };
  });
  process.stdout.write(`read side against folds: VF_TEST_SEED=${SEED}\n`);
}, 60_000);

afterAll(async () => {
  await model.close();
  await rm(directory, { recursive: true, force: true });
});

const replayed = ({ cluster, events }: Written, position: number): State => {
  const state = emptyState(cluster);
  for (const event of events.slice(0, position)) evolve(state, event);
  return state;
};

const ask = async (cluster: string, name: string, request: object, position?: number) => {
  const answered = await model.ask({
    cluster,
    name,
    request,
    ...(position === undefined ? {} : { at: { position } }),
  });
  return JSON.parse(`{${answered.fields}}`) as Record<string, unknown>;
};

/** Within a decision, a VM's start is not accepted yet: then only its allocations are known. */
const settled = ({ events }: Written, position: number): boolean =>
  events[position]?.cause.id === undefined || events[position]?.cause.id !== events[position - 1]?.cause.id;

describe('at random positions of random histories, the tables answer as', () => {
  test('the pure readers do of a state that was replayed', async () => {
    for (const { history, position } of moments) {
      const state = replayed(history, position);
      const at = `${history.cluster} at ${position}`;
      expect([at, await ask(history.cluster, 'availability', {}, position)]).toEqual([
        at,
        json(viewAvailability(state)),
      ]);
      for (const name of ['physA', 'physB', 'bond0']) {
        const answer = await ask(history.cluster, 'availability', { physicalNetwork: name }, position);
        expect([at, name, answer]).toEqual([at, name, json(viewAvailability(state, { network: name }))]);
      }
      for (const host of state.hosts.values()) {
        const answer = await ask(history.cluster, 'host', { hostId: host.id }, position);
        expect([at, answer]).toEqual([at, { host: json(viewHost(host)) }]);
        const list = await ask(history.cluster, 'vfs', { hostId: host.id }, position);
        const expected = [...host.vfs.values()].map(viewVf).toSorted((a, b) => (a.vf < b.vf ? -1 : 1));
        if (settled(history, position)) expect([at, list]).toEqual([at, { vfs: json(expected) }]);
      }
      if (settled(history, position)) {
        const vms = [...state.vms.values()].map(viewVm).toSorted((a, b) => (a.vmId < b.vmId ? -1 : 1));
        expect([at, await ask(history.cluster, 'vms', {}, position)]).toEqual([at, { vms: json(vms) }]);
      }
      expect([at, await ask(history.cluster, 'policy', {}, position)]).toEqual([
        at,
        { policy: json(state.policy) },
      ]);
      const networks = (await ask(history.cluster, 'networks', {}, position))['networks'] as {
        layer: number;
      }[];
      expect([at, networks.filter(({ layer }) => layer === 3)]).toEqual([
        at,
        [...state.l3Networks.values()]
          .toSorted((a, b) => (a.l3Id < b.l3Id ? -1 : 1))
          .map((l3) => ({ id: l3.l3Id, layer: 3, ...(json(l3) as object) })),
      ]);
    }
  }, 60_000);

  test('an auditor would who notes down the events alone', async () => {
    for (const { history, position } of moments) {
      const { cluster, events } = history;
      const noted = note(events.slice(0, position));
      const at = `${cluster} at ${position}`;
      const availability = (await ask(cluster, 'availability', {}, position)) as unknown as {
        total: number;
        free: number;
        allocated: number;
        unavailable: number;
        pfs: { hostId: string; pf: string; allocated: number; total: number | '-' }[];
      };
      expect([at, availability.allocated]).toEqual([at, noted.holders.size]);
      expect(availability.total).toBe(availability.free + availability.allocated + availability.unavailable);
      for (const pf of availability.pfs) {
        expect([at, pf.pf, pf.allocated]).toEqual([at, pf.pf, noted.held.get(`${pf.hostId} ${pf.pf}`) ?? 0]);
      }
      for (const hostId of noted.hosts) {
        const { vfs } = (await ask(cluster, 'vfs', { hostId }, position)) as {
          vfs: { vf: string; holder?: object; state: string }[];
        };
        for (const vf of vfs) {
          const holder = noted.holders.get(`${hostId} ${vf.vf}`);
          expect([at, vf.vf, vf.holder]).toEqual([at, vf.vf, holder]);
          const state = holder === undefined ? undefined : noted.vmStates.get(holder.vmId);
          if (holder !== undefined) expect(vf.state).toBe(state === 'running' ? 'allocated' : 'pending');
          const tenancies = noted.tenants.filter(({ where }) => where === `${hostId} ${vf.vf}`);
          if (tenancies.length === 0) continue;
          const expected = tenancies.map(told);
          expect([at, await ask(cluster, 'tenants', { hostId, vf: vf.vf }, position)]).toEqual([
            at,
            { tenants: expected },
          ]);
        }
      }
      for (const [vmId, state] of noted.vmStates) {
        if (!settled(history, position)) continue;
        expect([at, vmId, await ask(cluster, 'vm', { vmId }, position)]).toMatchObject([
          at,
          vmId,
          { vm: { state } },
        ]);
      }
    }
  }, 60_000);

  test('the pure readers do of VFs that share an IOMMU group, or do no more', async () => {
    const report = (seq: number, groups: readonly number[]): Input =>
      ({
        id: `groups-${seq}`,
        type: 'HostReported',
        time: Date.UTC(2026, 0, 1) + seq * 1000,
        digest: '0',
        data: {
          hostId: 'h0',
          bootId: 'b',
          seq,
          iommu: { enabled: true, ready: true },
          interruptRemapping: true,
          pfs: [
            {
              pciAddress: '0000:82:00.0',
              ifname: 'em1',
              link: 'up',
              totalVfs: 8,
              vfs: groups.map((iommuGroup, index) => ({
                pciAddress: `0000:82:10.${index}`,
                index,
                iommuGroup,
              })),
            },
          ],
        },
      }) as unknown as Input;
    const shared = await writeInputs(log, 'groups', [report(1, [7, 7, 8]), report(2, [7, 9, 8])]);
    model.follow('groups');
    await model.until('groups', shared.events.length, 20_000);
    const states = async (position: number): Promise<unknown> =>
      ((await ask('groups', 'vfs', { hostId: 'h0' }, position))['vfs'] as { state: string }[]).map(
        ({ state }) => state,
      );
    expect(await states(1)).toEqual(['unavailable', 'unavailable', 'free']);
    expect(await states(shared.events.length)).toEqual(['free', 'free', 'free']);
    for (const position of [1, shared.events.length]) {
      const vfs = [...(replayed(shared, position).hosts.get('h0')?.vfs.values() ?? [])].map(viewVf);
      expect(await ask('groups', 'vfs', { hostId: 'h0' }, position)).toEqual({ vfs: json(vfs) });
    }
  });

  test('the pure readers do of a VF that an operator took from a VM which still uses it', async () => {
    const cluster = 'taken';
    const report = (seq: number, usedByVmId?: string): object => ({
      hostId: 'h0',
      bootId: 'b',
      seq,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: [
        {
          pciAddress: '0000:82:00.0',
          ifname: 'em1',
          link: 'up',
          totalVfs: 8,
          vfs: [{ pciAddress: '0000:82:10.0', index: 0, ...(usedByVmId && { usedByVmId }) }],
        },
      ],
    });
    const inputs = [
      ['HostReported', report(1)],
      ['VmStartRequested', { vmId: 'vm1', nics: [{ nicId: 'n0' }] }],
      ['VmStarted', { vmId: 'vm1' }],
      ['HostReported', report(2, 'vm1')],
      [
        'AllocationReleaseRequested',
        { hostId: 'h0', allocationId: allocationId(cluster, 2, `${cluster}:1`), reason: 'stuck' },
      ],
    ].map(
      ([type, data], index) =>
        ({ id: String(index), type, data, time: Date.UTC(2026, 0, 1) + index * 1000 }) as unknown as Input,
    );
    const taken = await writeInputs(log, cluster, inputs);
    expect(taken.events.at(-1)?.type).toBe('AllocationReleaseDone');
    model.follow(cluster);
    await model.until(cluster, taken.events.length, 20_000);
    const vfs = [...(replayed(taken, taken.events.length).hosts.get('h0')?.vfs.values() ?? [])].map(viewVf);
    expect(vfs).toMatchObject([{ state: 'unavailable' }]);
    expect(await ask(cluster, 'vfs', { hostId: 'h0' })).toEqual({ vfs: json(vfs) });
  });

  test('the events themselves say: history, by VM, host, PF, VF and type', async () => {
    for (const { cluster, events } of written) {
      const all = { first: 1, last: events.length, limit: 10_000 };
      const positions = async (request: object): Promise<unknown> =>
        ((await ask(cluster, 'history', { ...all, ...request }))['positions'] as [number, number][]).map(
          ([one]) => one,
        );
      expect(await positions({})).toEqual(events.map(({ position }) => position));
      for (const field of ['vmId', 'hostId', 'pf', 'vf'] as const) {
        const values = new Set(events.map(({ data }) => (data as Record<string, unknown>)[field] as string));
        values.delete(undefined as unknown as string);
        for (const value of values) {
          expect([field, value, await positions({ [field]: value })]).toEqual([
            field,
            value,
            mentioning(events, field, value),
          ]);
        }
      }
      const types = ['VfAllocated', 'VfReleased'];
      expect(await positions({ types })).toEqual(
        events.filter(({ type }) => types.includes(type)).map(({ position }) => position),
      );
      for (const { position, data, type } of events) {
        if (type !== 'VfAllocated') continue;
        expect(await positions({ mac: data.mac })).toContain(position);
      }
    }
  }, 30_000);

  test('the times of the events say: at a time is what its last event left', async () => {
    for (const { history } of moments.slice(0, 60)) {
      const { cluster, events } = history;
      for (const event of events.filter((_, index) => index % 7 === 0)) {
        for (const time of [event.at - 1, event.at, event.at + 1]) {
          const expected = events.filter(({ at }) => at <= time).length;
          expect(await model.positionOf(cluster, { time })).toBe(expected);
        }
      }
    }
  }, 30_000);

  test('adding up by hand does: VF-seconds', async () => {
    for (const { cluster, events } of written) {
      const begin = events[0]?.at ?? 0;
      const to = (events.at(-1)?.at ?? 0) + 1000;
      const from = begin + Math.floor((to - begin) / 4);
      const expected = new Map<string, number>();
      for (const { vmId, from: since, to: until } of note(events).tenants) {
        const end = until === undefined ? to : Date.parse(until);
        if (end <= from || Date.parse(since) >= to) continue;
        const millis = Math.min(to, end) - Math.max(from, Date.parse(since));
        expected.set(vmId, (expected.get(vmId) ?? 0) + millis);
      }
      const { usage } = (await ask(cluster, 'usage', { from, to, now: to, by: 'vm' })) as {
        usage: { vmId: string; vfSeconds: number }[];
      };
      // What is not yet is not counted, and a clock that was set back takes nothing away from what was.
      const ahead = { from, to: to + 3_600_000, by: 'vm' };
      expect(await ask(cluster, 'usage', { ...ahead, now: to })).toMatchObject({ usage });
      expect(await ask(cluster, 'usage', { ...ahead, now: 0 })).toEqual(
        await ask(cluster, 'usage', { from, to: events.at(-1)?.at ?? 0, now: to, by: 'vm' }),
      );
      const sums = new Map(usage.map(({ vmId, vfSeconds }) => [vmId, vfSeconds]));
      expect(sums.size).toBe(expected.size);
      for (const [vmId, millis] of expected) expect(sums.get(vmId)).toBeCloseTo(millis / 1000, 6);
    }
  });
});

describe('whole states of the past', () => {
  test('candidates: the first is what a start gets there', async () => {
    for (const { history, position } of moments.filter((_, index) => index % 5 === 0)) {
      const state = replayed(history, position);
      for (const nics of [[{ nicId: 'n0' }], [{ nicId: 'n0', networkId: 'net1' }, { nicId: 'n1' }]]) {
        const input = {
          id: 'x',
          type: 'VmStartRequested',
          time: state.clock,
          digest: '0',
          data: { vmId: 'new', nics },
        };
        const last = decide(state, input as unknown as Input).at(-1);
        const answered = await model.withState(history.cluster, position, (past) =>
          past.imagine('candidates', { nics }),
        );
        const { hosts, reason } = JSON.parse(`{${answered.fields}}`) as {
          hosts: { hostId: string; nics: { pf: string }[] }[];
          reason?: string;
        };
        if (last?.type === 'VmStartAccepted') {
          expect(hosts[0]?.hostId).toBe(last.data.hostId);
          expect(hosts[0]?.nics.map(({ pf }) => pf)).toEqual(last.data.nics.map(({ pf }) => pf));
        } else {
          expect([hosts, reason]).toEqual([[], (last?.data as { reason: string }).reason]);
        }
      }
    }
  }, 60_000);

  test('each decision, decided again at its place, is the same, or depends on what only was observed', async () => {
    for (const { cluster, events, inputs } of written.slice(0, 4)) {
      const byId = new Map(inputs.map((input) => [input.id, input]));
      const firsts = events.filter((event, index) => event.cause.id !== events[index - 1]?.cause.id);
      for (const first of firsts.filter((_, index) => index % 4 === 0)) {
        const input = byId.get(first.cause.id) as Input;
        const decided = events
          .filter(({ cause }) => cause.id === first.cause.id)
          .map(({ type, data }) => ({ type, data: json(data) }));
        const request = { input: { ...input, time: first.at }, decider: DECIDER_VERSION, events: decided };
        const answered = await model.withState(cluster, first.position - 1, (past) =>
          past.imagine('again', request),
        );
        const again = JSON.parse(`{${answered.fields}}`) as { same: boolean; code?: string };
        if (['Tick', 'HostReported', 'HostSeen'].includes(input.type))
          expect(again.code).not.toBe('DECISION_DIFFERS');
        else expect([input.type, again]).toEqual([input.type, { same: true, decider: DECIDER_VERSION }]);
      }
      const first = firsts.find(({ type }) => type === 'L2NetworkAccepted') as (typeof firsts)[number];
      const input = byId.get(first.cause.id) as Input;
      const forged = {
        input,
        decider: DECIDER_VERSION,
        events: [{ type: 'L2NetworkAccepted', data: { l2Id: 'x' } }],
      };
      const { fields } = await model.withState(cluster, first.position - 1, (past) =>
        past.imagine('again', forged),
      );
      expect(JSON.parse(`{${fields}}`)).toMatchObject({ same: false, code: 'DECISION_DIFFERS' });
    }
  }, 60_000);

  test('plan is what the decider does, one input after the other, and leaves no trace', async () => {
    const { cluster, events } = written[0] as Written;
    const before = await ask(cluster, 'availability', {});
    const inputs = [
      {
        type: 'VmStartRequested',
        data: { vmId: 'planned', nics: [{ nicId: 'n0', onExhaustion: 'fallback' }] },
      },
      { type: 'VmStopped', data: { vmId: 'planned' } },
    ];
    const { fields } = await model.withState(cluster, events.length, (state) =>
      state.imagine('plan', { inputs, time: 0 }),
    );
    const { results } = JSON.parse(`{${fields}}`) as {
      results: { events: { type: string; position: string }[] }[];
    };
    expect(results.map((result) => result.events.at(-1)?.type)).toEqual([
      expect.stringMatching(/^VmStart(Accepted|Failed)$/),
      expect.stringMatching(/^(VmStopped|InputIgnored)$/),
    ]);
    expect(results[0]?.events[0]?.position).toBe(String(events.length + 1));
    expect(await ask(cluster, 'availability', {})).toEqual(before);
    expect((await log.head(cluster)).position).toBe(events.length);
  });
});
