import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dumpState, emptyState, evolve, STATE_VERSION, step, type Input, type State } from '#domain';
import { emptyHead, SqliteLog, type EventLog, type Head, type StoredDecision } from '#log';
import { loadState, placedEvent, sealDecision, silentLogger } from '#pipeline';
import type { Figure } from './figure.js';

const CLUSTER = 'bench';
const HOSTS = 1000;
const STREAM = '2026-11-21T00:00:00.000000000Z';
const BEGIN = Date.parse('2026-11-21T00:00:00Z');

const host = (index: number): Input => {
  const pf = (bus: number) => ({
    pciAddress: `0000:${bus.toString(16)}:00.0`,
    ifname: `em${bus - 0x7f}`,
    link: 'up' as const,
    totalVfs: 64,
    vfs: Array.from({ length: 64 }, (_, vf) => ({
      pciAddress: `0000:${bus.toString(16)}:${(2 + (vf >> 3)).toString(16).padStart(2, '0')}.${vf & 7}`,
      index: vf,
    })),
  });
  return {
    id: `host-${index}`,
    type: 'HostReported',
    time: BEGIN,
    digest: '0123456789abcdef',
    data: {
      hostId: `host-${index}`,
      bootId: 'boot-1',
      seq: 1,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: [pf(0x80), pf(0x81)],
    },
  };
};

function* inputs(): Generator<Input> {
  for (let index = 0; index < HOSTS; index++) yield host(index);
  for (let turn = 0; ; turn++) {
    const vmId = `vm-${turn % 20_000}`;
    const common = { time: BEGIN + turn, digest: '0123456789abcdef' };
    yield {
      ...common,
      id: `start-${turn}`,
      type: 'VmStartRequested',
      data: { vmId, nics: [{ nicId: 'n0' }] },
    };
    yield { ...common, id: `stop-${turn}`, type: 'VmStopped', data: { vmId } };
  }
}

/** Writes a log by the real decider and sealer. */
async function writeLog(log: EventLog, events: number): Promise<{ state: State; head: Head }> {
  const state = emptyState(CLUSTER);
  let head = emptyHead(CLUSTER);
  let batch: StoredDecision[] = [];
  let from = 0;
  let sequence = 0;
  for (const input of inputs()) {
    if (state.position >= events) break;
    const placed = step(state, input, { stream: STREAM, sequence: ++sequence });
    const text = JSON.stringify({
      specversion: '1.0',
      id: input.id,
      source: '/bench',
      type: input.type,
      data: input.data,
    });
    const next = sealDecision(CLUSTER, head, { correlationId: input.id, text }, placed);
    batch.push(next.sealed.records);
    head = next.head;
    if (batch.length < 500) continue;
    await log.append(CLUSTER, from, batch);
    batch = [];
    from = head.position;
  }
  await log.append(CLUSTER, from, batch);
  return { state, head };
}

/** Replay with and without checking the chain, and a start from a snapshot. */
export async function benchReplay(events: number): Promise<readonly Figure[]> {
  const directory = await mkdtemp(join(tmpdir(), 'vf-bench-'));
  const log = await SqliteLog.open(join(directory, 'events.db'));
  try {
    const { state, head } = await writeLog(log, events);
    const perSecond = (begun: number): number => head.position / ((performance.now() - begun) / 1000);

    let begun = performance.now();
    await loadState(log, CLUSTER, { rememberedInputs: 200_000, logger: silentLogger });
    const checked = perSecond(begun);

    begun = performance.now();
    const replayed = emptyState(CLUSTER);
    for await (const records of log.read(CLUSTER, 1, { inputs: false })) {
      for (const record of records) evolve(replayed, placedEvent(record));
    }
    const unchecked = perSecond(begun);

    await log.saveSnapshot(CLUSTER, { ...head, version: STATE_VERSION, state: dumpState(state) });
    begun = performance.now();
    const loaded = await loadState(log, CLUSTER, { rememberedInputs: 200_000, logger: silentLogger });
    step(loaded.state, host(HOSTS), { stream: STREAM, sequence: Number.MAX_SAFE_INTEGER });
    const start = performance.now() - begun;
    return [
      {
        figure: `replay of ${head.position} events, hashes checked`,
        value: checked,
        unit: 'events/s',
        goal: '≥ 200,000',
      },
      {
        figure: `replay of ${head.position} events, not checked`,
        value: unchecked,
        unit: 'events/s',
        goal: '≥ 400,000',
      },
      {
        figure: 'start-up from a snapshot, to the first decision',
        value: start,
        unit: 'ms',
        goal: '< 1,000',
      },
    ];
  } finally {
    await log.close();
    await rm(directory, { recursive: true, force: true });
  }
}
