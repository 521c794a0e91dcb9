import { dumpState, emptyState, STATE_VERSION, step, type Input, type State } from '#domain';
import { emptyHead, type EventLog, type Head, type Snapshot, type StoredDecision } from '#log';
import { markOf, sealDecision } from '#pipeline';

export const CLUSTER = 'bench';
const HOSTS = 1000;
/** Creation time of the `VF_IN` that the log names. */
export const STREAM = '2026-11-21T00:00:00.000000000Z';
const BEGIN = Date.parse('2026-11-21T00:00:00Z');

/** A host with two split PFs, as it reports. */
export const hostReport = (index: number): Input => {
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

/** 1,000 hosts, then 20,000 VMs that start and stop in turn. */
function* inputs(): Generator<Input> {
  for (let index = 0; index < HOSTS; index++) yield hostReport(index);
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

/**
 * Takes a snapshot at the end of a log, as a leader does: one more decision, whose record names it, and then it is saved.
 */
export async function addSnapshot(
  log: EventLog,
  { state, head }: { readonly state: State; readonly head: Head },
): Promise<Snapshot> {
  const snapshot = { ...head, version: STATE_VERSION, state: dumpState(state) };
  const input: Input = {
    id: 'names-the-snapshot',
    digest: '0123456789abcdef',
    time: state.clock,
    type: 'VmStopped',
    data: { vmId: 'never-seen' },
  };
  const placed = step(state, input, { stream: STREAM, sequence: Number.MAX_SAFE_INTEGER - 1 });
  const said = { correlationId: input.id, text: '{}' };
  const { sealed } = sealDecision(CLUSTER, head, said, placed, markOf(snapshot));
  await log.append(CLUSTER, head.position, [sealed.records]);
  await log.saveSnapshot(CLUSTER, snapshot);
  return snapshot;
}

/** Writes a log of at least so many events, by the real decider and sealer. */
export async function writeLog(log: EventLog, events: number): Promise<{ state: State; head: Head }> {
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
