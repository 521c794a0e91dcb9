import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { MemoryBrokerServer } from '#broker';
import {
  DECIDER_VERSION,
  dumpState,
  emptyState,
  evolve,
  STATE_VERSION,
  step,
  type Input,
  type PlacedEvent,
  type State,
} from '#domain';
import { LogError, MemoryLog, type EventLog, type StoredRecord } from '#log';
import { messageOf, silentLogger, type Allocator } from '#pipeline';
import { ReadModel } from '#read-model';
import { anyHistory, runsOf, saneHistories } from '../../../libs/domain/src/testing/arbitraries.js';
import { InvariantModel } from '../../../libs/domain/src/testing/invariant-model.js';
import { ModelViews, placeOf } from '../../../libs/read-model/src/testing/model-views.js';
import { abouts, addUp, note, told, type About } from '../../../libs/read-model/src/testing/naive-fold.js';
import { writeHistory, writeInputs, type Written } from '../../../libs/read-model/src/testing/written-log.js';
import type { ApiParts } from './api-parts.js';
import { answerQuery, QUERIES } from './queries.js';

jest.setTimeout(120_000);

const SEED = runsOf(1).first;
const HISTORIES = 10;
const MOMENTS = 200;

type Fields = Record<string, unknown>;
const json = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

let directory: string;
let parts: ApiParts;
let written: Written[];
let records: Map<string, StoredRecord[]>;

/** A place between two decisions of a history, and all that is known of it without the scheduler. */
interface Moment {
  readonly history: Written;
  readonly position: number;
  /** How to say when: not at all for now, by the position, or by the time. */
  readonly at: { readonly at?: string };
  readonly events: readonly PlacedEvent[];
  readonly views: ModelViews;
  readonly model: InvariantModel['knowledge'];
  /** Draws one of several, the same at each run with a seed. */
  readonly pick: <T>(values: readonly T[]) => T | undefined;
  /** The state by replay, to be given to the decider; fresh at each call. */
  readonly state: () => State;
}

let moments: Moment[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-answers-'));
  const log = new MemoryLog();
  const histories = [
    ...fc.sample(saneHistories, { seed: SEED, numRuns: HISTORIES / 2 }),
    ...fc.sample(anyHistory, { seed: SEED, numRuns: HISTORIES / 2 }),
  ];
  const broker = new MemoryBrokerServer().connect();
  const readModel = await ReadModel.open({ directory, log, logger: silentLogger, rememberedInputs: 200_000 });
  // An instance that leads nothing: it asks the log where it ends.
  const allocator = {
    status: new Map(),
    lastReport: () => undefined,
    whyNotAsked: () => undefined,
  } as unknown as Allocator;
  parts = { allocator, broker, log, logger: silentLogger, readModel, dataDir: directory };
  written = [];
  records = new Map();
  for (const [index, history] of histories.entries()) {
    const cluster = `c${index}`;
    written.push(await writeHistory(log, cluster, history));
    const all = await recordsOf(cluster);
    records.set(cluster, all);
    await broker.output.create(cluster, 1);
    await broker.output.publish(
      cluster,
      all.map((record) => messageOf(cluster, record)),
    );
  }
  moments = written.flatMap((history, index) => momentsOf(history, index));
  process.stdout.write(`answers against folds: VF_TEST_SEED=${SEED}\n`);
});

afterAll(async () => {
  await parts.readModel.close();
  await rm(directory, { recursive: true, force: true });
});

/** Some moments of a history, in order; the last is now. */
function momentsOf(history: Written, which: number): Moment[] {
  const { cluster, decisions, events } = history;
  const random = (index: number): number => {
    const value = Math.sin(SEED + which * 7919 + index) * 1e6;
    return value - Math.floor(value);
  };
  const wanted = MOMENTS / HISTORIES;
  const chosen = new Set(
    Array.from({ length: wanted - 1 }, (_, index) => Math.floor(random(index) * decisions.length)),
  );
  chosen.add(decisions.length);
  const places = [...chosen].toSorted((a, b) => a - b);
  return places.map((count, index) => {
    const before = decisions.slice(0, count);
    const known = before.flatMap((decision) => decision.events);
    const position = known.length;
    const last = known.at(-1);
    const isNow = count === decisions.length;
    // Decisions may share a time: then it means the last of them.
    const byTime = index % 2 === 1 && last !== undefined && events[position]?.at !== last.at;
    let draws = 1000 * (index + 1);
    // The model is told again from the start: nothing of a later moment is in it.
    const model = new InvariantModel();
    for (const { input, events: led } of before) model.took(input, led);
    return {
      history,
      position,
      at: isNow ? {} : { at: byTime ? new Date(last.at).toISOString() : String(position) },
      events: known,
      views: new ModelViews(model.knowledge),
      model: model.knowledge,
      pick: (values) => values[Math.floor(random(++draws) * values.length)],
      state: () => {
        const state = emptyState(cluster);
        for (const event of events.slice(0, position)) evolve(state, event);
        return state;
      },
    };
  });
}

async function ask(moment: Moment, name: string, request: Fields): Promise<Fields> {
  const text = await answerQuery(parts, moment.history.cluster, name, { ...moment.at, ...request });
  return JSON.parse(text) as Fields;
}

/** Asks, and compares the answer, which is true at the moment's position. */
async function expectAnswer(moment: Moment, name: string, request: Fields, expected: Fields): Promise<void> {
  const where = `${moment.history.cluster} at ${moment.position}: ${name} ${JSON.stringify(request)}`;
  expect({ where, ...(await ask(moment, name, request)) }).toMatchObject(
    json({ where, position: String(moment.position), ...expected }),
  );
}

async function expectNothing(moment: Moment, name: string, request: Fields): Promise<void> {
  await expect(ask(moment, name, request)).rejects.toMatchObject({ code: 'NOT_FOUND' });
}

/** A list of things and the same in pages of three. */
async function expectList(
  moment: Moment,
  name: string,
  request: Fields,
  keyOf: (thing: Fields) => unknown,
  expected: readonly unknown[],
): Promise<readonly Fields[]> {
  const where = `${moment.history.cluster} at ${moment.position}: ${name} ${JSON.stringify(request)}`;
  const whole = (await ask(moment, name, { ...request, limit: 1000 }))[name] as Fields[];
  expect([where, whole.map(keyOf)]).toEqual([where, expected]);
  const paged: Fields[] = [];
  let cursor: unknown;
  do {
    const page = await ask(moment, name, { ...request, limit: 3, ...(cursor !== undefined && { cursor }) });
    paged.push(...(page[name] as Fields[]));
    cursor = page['cursor'];
  } while (cursor !== undefined);
  expect([where, paged]).toEqual([where, whole]);
  return whole;
}

const cloudEvents = (cluster: string, positions: readonly number[]): unknown[] =>
  positions.map((position) => {
    const record = (records.get(cluster) as StoredRecord[])[position - 1] as StoredRecord;
    return JSON.parse(messageOf(cluster, record).payload as string) as unknown;
  });

const NICS = [
  [{ nicId: 'n0' }],
  [{ nicId: 'n0', networkId: 'net1' }, { nicId: 'n1' }],
  [{ nicId: 'n0', physicalNetwork: 'physA', onExhaustion: 'fallback' }],
  [{ nicId: 'n0', type: 'vnic' }],
] as const;

const inputOf = (state: State, type: string, data: object, id: string): Input =>
  ({ id, type, time: state.clock, digest: '0', data }) as unknown as Input;

/** What a start would get. */
function started(state: State, data: Fields): { hostId?: string; reason?: string; nics?: readonly Fields[] } {
  const cause = { stream: 's', sequence: 0 };
  return step(state, inputOf(state, 'VmStartRequested', { vmId: 'new', ...data }, 'new'), cause).at(-1)
    ?.data as never;
}

/** Of each query: what it must answer at a moment. A query that has no fold here fails the first test. */
const FOLDS: Readonly<Record<string, (moment: Moment) => Promise<void>>> = {
  availability: async (moment) => {
    const { views, model } = moment;
    const filters: object[] = [
      {},
      ...['physA', 'physB', 'bond0'].map((physicalNetwork) => ({ physicalNetwork })),
    ];
    for (const hostId of views.hosts) filters.push({ hostId });
    for (const networkId of model.l3.keys()) filters.push({ networkId });
    for (const filter of filters) {
      const answer = await ask(moment, 'availability', { ...filter });
      const pfs = (answer['pfs'] as { hostId: string; pf: string }[]).toSorted((a, b) =>
        placeOf(a) < placeOf(b) ? -1 : 1,
      );
      const where = `${moment.history.cluster} at ${moment.position} ${JSON.stringify(filter)}`;
      const { position } = moment;
      const expected = { where, position: String(position), ...views.availability(filter) };
      expect({ where, ...answer, pfs }).toMatchObject(json(expected));
      const summary = await ask(moment, 'availability', { ...filter, summary: true });
      expect(summary).toEqual({ ...answer, pfs: [] });
    }
    await expectNothing(moment, 'availability', { hostId: 'nobody' });
  },
  vm: async (moment) => {
    for (const vmId of moment.views.vms) {
      const { vm } = (await ask(moment, 'vm', { vmId })) as { vm: { nics: { nicId: string }[] } };
      const nics = vm.nics.toSorted((a, b) => (a.nicId < b.nicId ? -1 : 1));
      const where = `${moment.history.cluster} at ${moment.position}`;
      expect({ where, ...vm, nics }).toMatchObject(json({ where, ...moment.views.vm(vmId) }));
    }
    await expectNothing(moment, 'vm', { vmId: 'nobody' });
  },
  vf: async (moment) => {
    const { views, history, position } = moment;
    for (const hostId of views.hosts) {
      const address = moment.pick(views.vfs(hostId));
      if (address === undefined) continue;
      const { states, view } = views.vf(hostId, address);
      const { vf } = (await ask(moment, 'vf', { hostId, vf: address })) as { vf: { state: string } };
      expect([history.cluster, position, address, states, { ...vf, state: '' }]).toEqual([
        history.cluster,
        position,
        address,
        expect.arrayContaining([vf.state]),
        { ...json(view), state: '' },
      ]);
    }
    await expectNothing(moment, 'vf', { hostId: 'h0', vf: '0000:ff:1f.7' });
  },
  host: async (moment) => {
    for (const hostId of moment.views.hosts) {
      await expectAnswer(moment, 'host', { hostId }, { host: moment.views.host(hostId) });
    }
    await expectNothing(moment, 'host', { hostId: 'nobody' });
  },
  hosts: async (moment) => {
    const { views } = moment;
    const found = await expectList(moment, 'hosts', {}, ({ hostId }) => hostId, views.hosts);
    for (const { hostId, total, free, allocated, unavailable, vms, state } of found) {
      const { vms: names, ...host } = views.host(hostId as string) as { vms: string[]; state: string };
      const { pfs: _, ...counts } = views.availability({ hostId: hostId as string }) as { pfs: unknown };
      expect([hostId, { total, free, allocated, unavailable }, vms, state]).toEqual([
        hostId,
        counts,
        names.length,
        host.state,
      ]);
    }
    const ready = views.hosts.filter((hostId) => (views.host(hostId) as Fields)['state'] === 'ready');
    await expectList(moment, 'hosts', { state: 'ready' }, ({ hostId }) => hostId, ready);
  },
  vms: async (moment) => {
    const { views } = moment;
    const all = views.vms.map((vmId) => views.vm(vmId) as Fields);
    await expectList(moment, 'vms', {}, ({ vmId }) => vmId, views.vms);
    for (const filter of [
      { tenant: 'red' },
      { state: 'running' },
      { hostId: 'h0' },
      { hostId: 'h1', state: 'stopped' },
    ]) {
      const expected = all
        .filter((vm) => Object.entries(filter).every(([field, value]) => vm[field] === value))
        .map(({ vmId }) => vmId);
      await expectList(moment, 'vms', filter, ({ vmId }) => vmId, expected);
    }
  },
  vfs: async (moment) => {
    const { views } = moment;
    const hostId = moment.pick(views.hosts);
    if (hostId === undefined) return;
    const found = await expectList(moment, 'vfs', { hostId }, ({ vf }) => vf, views.vfs(hostId));
    for (const vf of found) {
      const { states, view } = views.vf(hostId, vf['vf'] as string);
      expect(states).toContain(vf['state']);
      expect(vf).toMatchObject(json(view));
    }
    const free = found.filter(({ state }) => state === 'free').map(({ vf }) => vf);
    await expectList(moment, 'vfs', { hostId, state: 'free' }, ({ vf }) => vf, free);
    const pf = found[0]?.['pf'];
    const ofPf = found.filter((vf) => vf['pf'] === pf).map(({ vf }) => vf);
    if (pf !== undefined) await expectList(moment, 'vfs', { hostId, pf }, ({ vf }) => vf, ofPf);
  },
  networks: async (moment) => {
    const { networks } = (await ask(moment, 'networks', { limit: 1000 })) as { networks: object[] };
    expect(networks).toEqual(json(moment.views.networks()));
  },
  policy: async (moment) => {
    await expectAnswer(moment, 'policy', {}, { policy: moment.views.policy() });
  },
  candidates: async (moment) => {
    const nics = moment.pick(NICS);
    const answer = await ask(moment, 'candidates', { vmId: 'new', nics });
    const { hosts, reason, refused } = answer as {
      hosts: { hostId: string; nics: Fields[] }[];
      refused: { hostId: string }[];
      reason?: string;
    };
    const got = started(moment.state(), { nics });
    expect([JSON.stringify(nics), answer['position'], hosts[0]?.hostId, reason]).toEqual([
      JSON.stringify(nics),
      String(moment.position),
      got.hostId,
      got.reason,
    ]);
    expect(hosts[0]?.nics.map(({ pf }) => pf)).toEqual(got.nics?.map(({ pf }) => pf));
    // Each of the others is what a start would get that is pinned there, and who is not there gets none.
    for (const hostId of moment.views.hosts) {
      const pinned = started(moment.state(), { nics, hostId });
      const candidate = hosts.find((one) => one.hostId === hostId);
      expect([hostId, candidate?.nics.map(({ pf }) => pf)]).toEqual([
        hostId,
        pinned.nics?.map(({ pf }) => pf),
      ]);
      if (candidate === undefined) expect(refused.map((one) => one.hostId)).toContain(hostId);
    }
  },
  'restore-impact': async (moment) => {
    const { views, model } = moment;
    const hostId = moment.pick(views.hosts);
    const pf = moment.pick([...(model.hosts.get(hostId ?? '')?.pfs.keys() ?? [])]);
    if (hostId === undefined || pf === undefined) return;
    const held = model.heldOn(hostId, pf);
    const victims = [...new Set(held.map(({ vmId }) => vmId))].toSorted();
    const { vms } = (await ask(moment, 'restore-impact', { hostId, pf, onBusy: 'unload' })) as {
      vms: { vmId: string; nicIds: string[]; hosts: string[] }[];
    };
    expect(vms.map(({ vmId, nicIds }) => [vmId, nicIds])).toEqual(
      victims.map((victim) => [
        victim,
        held
          .filter(({ vmId }) => vmId === victim)
          .map(({ nicId }) => nicId)
          .toSorted(),
      ]),
    );
    for (const { hosts } of vms) expect(views.hosts).toEqual(expect.arrayContaining(hosts));
    await expectNothing(moment, 'restore-impact', { hostId, pf: '0000:ff:1f.7' });
  },
  plan: async (moment) => {
    const inputs = [
      { type: 'VmStartRequested', data: { vmId: 'planned', nics: moment.pick(NICS) } },
      { type: 'HostCordoned', data: { hostId: 'h0', cordoned: true } },
      { type: 'VmStartRequested', data: { vmId: 'planned-2', nics: moment.pick(NICS) } },
      { type: 'VmStopped', data: { vmId: 'planned' } },
    ];
    const state = moment.state();
    const decided = inputs.map(({ type, data }, index) =>
      step(state, inputOf(state, type, data, `plan-${index + 1}`), { stream: 's', sequence: 0 }).map(
        (event) => ({
          position: String(event.position),
          type: event.type,
          data: json(event.data),
        }),
      ),
    );
    // Now is later than the last event, and what is decided then may be something else that falls due.
    const request = { inputs, ...(moment.at.at === undefined && { at: String(moment.position) }) };
    const { results } = (await ask(moment, 'plan', request)) as { results: { events: Fields[] }[] };
    expect(
      results.map(({ events }) => events.map(({ position, type, data }) => ({ position, type, data }))),
    ).toEqual(decided);
  },
  // These two are about all of a history: an outcome that was once given stays.
  outcome: async (moment) => {
    const { history, pick } = moment;
    const { id } = (pick(history.decisions) as Written['decisions'][number]).input;
    // An input that left no event is not remembered: its id may be used again.
    const ofId = history.decisions.filter((one) => one.input.id === id);
    const { input, events } =
      ofId.findLast((one) => one.events.length > 0) ?? (ofId[0] as (typeof ofId)[number]);
    const answer = await ask({ ...moment, at: {} }, 'outcome', { id: input.id });
    const [last] = cloudEvents(
      history.cluster,
      events.slice(-1).map(({ position }) => position),
    );
    expect(answer).toEqual(
      last === undefined
        ? { position: String(history.events.length) }
        : { position: String(history.events.length), outcome: last, digest: input.digest },
    );
  },
  explain: async (moment) => {
    const { history, pick } = moment;
    const { input, events } = pick(
      history.decisions.filter((one) => one.events.length > 0),
    ) as Written['decisions'][number];
    const answer = await ask({ ...moment, at: {} }, 'explain', { id: input.id });
    const [first] = events as [PlacedEvent];
    expect(answer).toMatchObject({
      id: input.id,
      decided: { position: String(first.position), decider: DECIDER_VERSION },
      events: cloudEvents(
        history.cluster,
        events.map(({ position }) => position),
      ),
      input: { id: input.id, type: input.type },
    });
    // When hosts were last heard is not in the log: what depends on it may come out otherwise, and says so.
    const { same, code } = answer['again'] as { same: boolean; code?: string };
    const mayDiffer = ['Tick', 'HostReported', 'HostSeen'].includes(input.type);
    expect([input.type, same ? undefined : code]).toEqual([
      input.type,
      same || !mayDiffer ? undefined : 'NOT_REPEATABLE',
    ]);
  },
  history: async (moment) => {
    const { history, events, pick, position } = moment;
    const subjects = abouts(events);
    const field = pick(['vmId', 'hostId', 'pf', 'vf', 'tenant', 'mac'] as const)!;
    const value =
      field === 'mac'
        ? pick(subjects.flatMap(({ macs }) => macs))
        : pick(subjects.flatMap((about) => about[field] ?? []));
    const types = pick([undefined, ['VfAllocated', 'VfReleased'], ['VmStartAccepted']]);
    const from = pick(events);
    const isAbout = (about: About): boolean =>
      value === undefined || (field === 'mac' ? about.macs.includes(value) : about[field] === value);
    const expected = events.filter(
      (event, index) =>
        isAbout(subjects[index] as About) &&
        (types === undefined || types.includes(event.type)) &&
        (from === undefined || event.position >= from.position),
    );
    const request = {
      ...(value !== undefined && { [field]: value }),
      ...(types !== undefined && { types }),
      ...(from !== undefined && { from: String(from.position) }),
      to: moment.at.at ?? String(position),
    };
    const where = `${history.cluster} at ${position}: ${JSON.stringify(request)}`;
    const whole = await ask({ ...moment, at: {} }, 'history', { ...request, limit: 1000 });
    expect([where, whole['events']]).toEqual([
      where,
      cloudEvents(
        history.cluster,
        expected.map((event) => event.position),
      ),
    ]);
    const paged: unknown[] = [];
    let cursor: unknown;
    do {
      const page = await ask({ ...moment, at: {} }, 'history', {
        ...request,
        limit: 4,
        ...(cursor !== undefined && { cursor }),
      });
      paged.push(...(page['events'] as unknown[]));
      cursor = page['cursor'];
    } while (cursor !== undefined);
    expect([where, paged]).toEqual([where, whole['events']]);
  },
  tenants: async (moment) => {
    const { tenants } = note(moment.events);
    const where = moment.pick(tenants)?.where;
    if (where === undefined) return;
    const [hostId, vf] = where.split(' ') as [string, string];
    const expected = tenants.filter((one) => one.where === where).map(told);
    expect(await ask(moment, 'tenants', { hostId, vf })).toEqual({
      position: String(moment.position),
      tenants: expected,
    });
  },
  usage: async (moment) => {
    const { history, events } = moment;
    const from = moment.pick(history.events)?.at ?? 0;
    const to = (events.at(-1)?.at ?? 0) + 5;
    if (from >= to) return;
    for (const [by, keyOf, nameOf] of [
      ['vm', ({ vmId }) => vmId, ({ vmId }) => vmId],
      ['tenant', ({ tenant }) => tenant ?? '-', ({ tenant }) => tenant ?? '-'],
      ['pf', ({ pf }) => pf, ({ hostId, pf }) => `${String(hostId)} ${String(pf)}`],
    ] as [
      string,
      (one: { vmId: string; tenant?: string; pf: string }) => string,
      (one: Fields) => unknown,
    ][]) {
      const request = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), by };
      const { usage } = (await ask({ ...moment, at: {} }, 'usage', request)) as { usage: Fields[] };
      const expected = addUp(history.events, from, to, keyOf);
      expect(
        new Map(
          usage.map((one) => [
            nameOf(one),
            {
              allocations: one['allocations'],
              vfSeconds: Math.round((one['vfSeconds'] as number) * 1000) / 1000,
            },
          ]),
        ),
      ).toEqual(expected);
    }
  },
  // Of a whole log, and so of each history once.
  verify: async (moment) => {
    const { history, at, position } = moment;
    if (at.at !== undefined) return;
    const head = (records.get(history.cluster) as StoredRecord[]).at(-1) as StoredRecord;
    expect(await ask(moment, 'verify', {})).toMatchObject({
      ok: true,
      events: position,
      head: { position: String(position), hash: head.hash },
      checks: { states: { checked: [{ what: 'read side', position: String(position), same: true }] } },
    });
  },
};

describe('now and at 200 random past positions, the answer is that of a fold of the events', () => {
  test('each query has one here', () => {
    expect(Object.keys(FOLDS).toSorted()).toEqual(Object.keys(QUERIES).toSorted());
    expect(moments.length).toBeGreaterThan(MOMENTS * 0.8);
  });

  test.each(Object.keys(FOLDS))('%s', async (name) => {
    for (const moment of moments) await FOLDS[name]?.(moment);
  });
});

describe('a log that somebody has rewritten, hashes and all', () => {
  const start = {
    id: 'start',
    type: 'VmStartRequested',
    time: Date.UTC(2026, 0, 1),
    data: { vmId: 'vm1', nics: [] },
  } as unknown as Input;
  const report = (hostId: string): Input =>
    ({
      id: `report-${hostId}`,
      type: 'HostReported',
      time: Date.UTC(2026, 0, 1),
      data: {
        hostId,
        bootId: 'b',
        seq: 1,
        iommu: { enabled: true, ready: true },
        interruptRemapping: true,
        pfs: [],
      },
    }) as unknown as Input;

  /** The same inputs, and the start's outcome names another host. */
  async function rewritten(cluster: string): Promise<{ id: string; real: string; forged: string }> {
    const real = await writeInputs(parts.log, `${cluster}-real`, [report('h1'), report('h2'), start]);
    const { hostId } = real.events.at(-1)?.data as { hostId: string };
    const forged = hostId === 'h1' ? 'h2' : 'h1';
    await writeInputs(parts.log, cluster, [report('h1'), report('h2'), start], (event) =>
      event.type === 'VmStartAccepted'
        ? ({ ...event, data: { ...event.data, hostId: forged } } as PlacedEvent)
        : event,
    );
    return { id: `${cluster}:start`, real: hostId, forged };
  }

  test('is found by explain, which decides again and shouts', async () => {
    const { id, real, forged } = await rewritten('forged');
    const shouted: object[] = [];
    const logger = {
      ...silentLogger,
      error: (message: string, facts?: object) => shouted.push({ message, facts }),
    };
    const answer = JSON.parse(await answerQuery({ ...parts, logger }, 'forged', 'explain', { id })) as Fields;
    expect(answer).toMatchObject({
      outcome: { data: { hostId: forged } },
      again: {
        same: false,
        code: 'DECISION_DIFFERS',
        message: expect.stringMatching(/THE SAME DECIDER .* DECIDES OTHERWISE NOW/),
        events: [{ type: 'VmStartAccepted', data: { hostId: real } }],
      },
    });
    expect(shouted).toEqual([
      {
        message: expect.stringMatching(/^cluster 'forged', input forged:start: THE SAME DECIDER/),
        facts: { code: 'DECISION_DIFFERS', position: expect.any(Number) },
      },
    ]);
  });

  test('is found by verify where another history went out', async () => {
    const { broker } = parts;
    await rewritten('rewritten');
    await broker.output.create('rewritten', 1);
    const sent = await recordsOf('rewritten-real');
    await broker.output.publish(
      'rewritten',
      sent.map((record) => messageOf('rewritten', record)),
    );
    const end = sent.length;
    expect(JSON.parse(await answerQuery(parts, 'rewritten', 'verify', {}))).toMatchObject({
      ok: false,
      events: end,
      firstBad: {
        position: String(end),
        message: expect.stringMatching(/^VF_OUT_rewritten and the log tell different histories/),
      },
      checks: { chain: { ok: true }, output: { ok: false } },
    });
  });

  test('is not where VF_OUT keeps something else than the log: that is found by verify too', async () => {
    const { broker } = parts;
    await writeInputs(parts.log, 'stray', [report('h1'), report('h2'), start]);
    await broker.output.create('stray', 1);
    const sent = (await recordsOf('stray')).map((record) => messageOf('stray', record));
    await broker.output.publish(
      'stray',
      sent.map((message, index) => (index === 1 ? { ...message, payload: '{"id":"not ours"}' } : message)),
    );
    expect(JSON.parse(await answerQuery(parts, 'stray', 'verify', {}))).toMatchObject({
      ok: false,
      firstBad: {
        position: '2',
        message: expect.stringMatching(
          /^VF_OUT_stray does not hold the log's event at position 2, but a message that calls itself 'not ours'/,
        ),
      },
      checks: { chain: { ok: true }, output: { ok: false } },
    });
  });

  test('is found by verify where a hash was left as it was, or a leader kept another state', async () => {
    const tampered = parts.log as MemoryLog;
    await rewritten('edited');
    tampered.tamper('edited', (all) =>
      all.map((record) =>
        record.position === 2 ? { ...record, body: record.body.replace('h2', 'h9') } : record,
      ),
    );
    expect(JSON.parse(await answerQuery(parts, 'edited', 'verify', {}))).toMatchObject({
      ok: false,
      firstBad: { position: '2' },
      checks: { chain: { ok: false } },
    });
    const { events } = await writeInputs(tampered, 'kept', [report('h1'), start]);
    const state = emptyState('kept');
    for (const event of events.slice(0, 1)) evolve(state, event);
    const [first] = await recordsOf('kept');
    const kept = dumpState(state).replaceAll('"h1"', '"h9"');
    await tampered.saveSnapshot('kept', {
      position: 1,
      hash: first?.hash ?? '',
      version: STATE_VERSION,
      state: kept,
    });
    expect(JSON.parse(await answerQuery(parts, 'kept', 'verify', {}))).toMatchObject({
      ok: false,
      firstBad: {
        position: '1',
        message: 'replay gives another state at position 1 than the snapshot of a leader',
      },
      checks: { chain: { ok: true }, states: { ok: false } },
    });
  });

  test('is found by verify where the tail was cut off, by the read side and by a leader that knew it', async () => {
    const log = parts.log as MemoryLog;
    for (const cluster of ['cut', 'cut-kept']) {
      const { events } = await writeInputs(log, cluster, [report('h1'), report('h2'), start]);
      const end = events.length;
      if (cluster === 'cut') await answerQuery(parts, cluster, 'policy', { at: String(end) });
      else {
        const state = emptyState(cluster);
        for (const event of events) evolve(state, event);
        const { hash } = (await recordsOf(cluster)).at(-1) as StoredRecord;
        await log.saveSnapshot(cluster, {
          position: end,
          hash,
          version: STATE_VERSION,
          state: dumpState(state),
        });
      }
      log.tamper(cluster, (all) => all.slice(0, 2));
      const who = cluster === 'cut' ? 'read side' : 'snapshot of a leader';
      expect(JSON.parse(await answerQuery(parts, cluster, 'verify', {}))).toMatchObject({
        ok: false,
        head: { position: '2' },
        firstBad: {
          position: '3',
          message: `the ${who} goes up to position ${end}, and the log ends at 2`,
        },
        checks: { chain: { ok: true }, states: { ok: false } },
      });
    }
  });

  test('an id that is not in the log is UNAVAILABLE while VF_DEAD cannot be looked through', async () => {
    await writeInputs(parts.log, 'no-dead', [report('h1')]);
    const broker = new MemoryBrokerServer().connect();
    broker.cut();
    for (const query of ['outcome', 'explain']) {
      await expect(
        answerQuery({ ...parts, broker }, 'no-dead', query, { id: 'never' }),
      ).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringMatching(/^'never' is not in the log .* VF_DEAD cannot be looked through now/),
      });
    }
  });

  test('a log that is away is UNAVAILABLE, also to who asks for a cluster first', async () => {
    const away: EventLog = Object.assign(Object.create(parts.log) as EventLog, {
      head: () => Promise.reject(new LogError('UNAVAILABLE', 'the log is away')),
    });
    for (const [cluster, query] of [
      ['asked-first', 'availability'],
      ['asked-first', 'verify'],
    ] as const) {
      await expect(answerQuery({ ...parts, log: away }, cluster, query, {})).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: 'the log is away',
      });
    }
  });

  test('is not called good where VF_OUT cannot be asked', async () => {
    await writeInputs(parts.log, 'unheard', [report('h1')]);
    const cut = new MemoryBrokerServer().connect();
    cut.cut();
    await expect(answerQuery({ ...parts, broker: cut }, 'unheard', 'verify', {})).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/^VF_OUT_unheard cannot be compared with the log now/),
    });
  });
});

async function recordsOf(cluster: string): Promise<StoredRecord[]> {
  const all: StoredRecord[] = [];
  for await (const some of parts.log.read(cluster, 1)) all.push(...some);
  return all;
}
