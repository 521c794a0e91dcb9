import { isDeepStrictEqual } from 'node:util';
import type { DeadLetter, OutputMessage } from '#broker';
import type { StoredRecord } from '#log';
import { messageOf } from '#pipeline';
import { isRequest, MAY_LEAVE_NOTHING, OUTCOMES, type OutgoingEvent } from '#wire';

/** A message that was stored in `VF_IN`. */
export interface StoredMessage {
  readonly sequence: number;
  readonly id: string;
  readonly type: string;
  /** What it says, to tell a repeat from another content. */
  readonly content: string;
}

/** What is there after a run, to be judged. */
export interface Evidence {
  readonly cluster: string;
  readonly messages: readonly StoredMessage[];
  readonly records: readonly StoredRecord[];
  readonly outputs: readonly OutputMessage[];
  readonly dead: readonly DeadLetter[];
  readonly chain: { readonly ok: boolean; readonly message?: string };
  /** The state of the leader, and the one that its log replays into, as `dumpState` writes them. */
  readonly live: string | undefined;
  readonly replayed: string;
}

/** Where a run breaks a rule. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
}

interface Decided {
  readonly position: number;
  readonly type: string;
  readonly data: {
    readonly vmId?: string;
    readonly nicId?: string;
    readonly hostId?: string;
    readonly vf?: string;
    readonly allocationId?: string;
    readonly nics?: readonly { readonly type: string; readonly degraded?: boolean }[];
  };
  readonly cause: { readonly id: string; readonly sequence: number };
}

/**
 * Judges a run that has come to rest by the rules that hold whatever happens. @returns nothing when all is
 * well.
 */
export function violationsOf(evidence: Evidence): readonly Violation[] {
  const events = evidence.records.map(({ body }) => JSON.parse(body) as Decided);
  return [
    ...exclusivity(events),
    ...wholeStarts(events),
    ...oneOutcomeEach(evidence.messages, events, evidence.dead),
    ...sameAsTheLog(evidence),
    ...(evidence.chain.ok ? [] : [{ rule: 'chain', message: evidence.chain.message ?? 'it is broken' }]),
    ...(sameState(evidence)
      ? []
      : [{ rule: 'replay', message: 'the log replays into another state than the leader has' }]),
  ];
}

/** The order of keys aside, which depends on how a state came about. */
const sameState = ({ live, replayed }: Evidence): boolean =>
  live === replayed || (live !== undefined && isDeepStrictEqual(JSON.parse(live), JSON.parse(replayed)));

/** EX-1, EX-4: a VF has one holder at most, and is released by the allocation that it is held by. */
function* exclusivity(events: readonly Decided[]): Generator<Violation> {
  const holders = new Map<string, string>();
  const nics = new Map<string, string>();
  const ids = new Set<string>();
  for (const { type, data, position } of events) {
    if (type !== 'VfAllocated' && type !== 'VfReleased') continue;
    const vf = `${data.hostId} ${data.vf}`;
    const nic = `${data.vmId}/${data.nicId}`;
    const { allocationId = '' } = data;
    if (type === 'VfAllocated') {
      const holder = holders.get(vf);
      if (holder !== undefined) yield { rule: 'EX-1', message: `${position}: ${vf} is held by ${holder}` };
      if (nics.has(nic))
        yield { rule: 'EX-2', message: `${position}: ${nic} holds ${nics.get(nic)} already` };
      if (ids.has(allocationId))
        yield { rule: 'EX-4', message: `${position}: ${allocationId} is used twice` };
      ids.add(allocationId);
      holders.set(vf, allocationId);
      nics.set(nic, vf);
    } else {
      if (holders.get(vf) !== allocationId) {
        yield { rule: 'EX-4', message: `${position}: ${allocationId} does not hold ${vf}` };
      }
      holders.delete(vf);
      nics.delete(nic);
    }
  }
}

/** Events by the input that caused them. */
function decisionsOf(events: readonly Decided[]): ReadonlyMap<string, readonly Decided[]> {
  const decisions = new Map<string, Decided[]>();
  for (const event of events) {
    const decision = decisions.get(event.cause.id);
    if (decision === undefined) decisions.set(event.cause.id, [event]);
    else decision.push(event);
  }
  return decisions;
}

/**
 * EX-3: a start gets a VF for each VF NIC that does not fall back, all from its host; one that failed holds
 * nothing.
 */
function* wholeStarts(events: readonly Decided[]): Generator<Violation> {
  for (const [id, decision] of decisionsOf(events)) {
    const outcome = decision.find(({ type }) => type === 'VmStartAccepted' || type === 'VmStartFailed');
    if (outcome === undefined) continue;
    const got = decision.filter(({ type }) => type === 'VfAllocated');
    const due =
      outcome.type === 'VmStartFailed'
        ? 0
        : (outcome.data.nics ?? []).filter(({ type, degraded }) => type === 'vf' && degraded !== true).length;
    if (got.length !== due) yield { rule: 'EX-3', message: `${id} got ${got.length} VFs, not ${due}` };
    if (got.some(({ data }) => data.hostId !== outcome.data.hostId)) {
      yield { rule: 'EX-3', message: `${id} got VFs of another host than ${outcome.data.hostId}` };
    }
  }
}

/**
 * OUT-1, EX-6: each request has one outcome, each input took effect once, what could not be taken is a dead
 * letter once.
 */
export function* oneOutcomeEach(
  messages: readonly StoredMessage[],
  events: readonly Pick<Decided, 'position' | 'type' | 'cause'>[],
  dead: readonly DeadLetter[],
): Generator<Violation> {
  const decisions = decisionsOf(events as readonly Decided[]);
  const letters = new Map<string, number>();
  for (const { stream, sequence } of dead) {
    const place = `${stream} ${sequence}`;
    letters.set(place, (letters.get(place) ?? 0) + 1);
    if (letters.get(place) === 2) yield { rule: 'OUT-1', message: `${sequence} is dead-lettered twice` };
  }
  const deadSequences = new Set(dead.map(({ sequence }) => sequence));
  const byId = new Map<string, StoredMessage[]>();
  for (const message of messages) {
    const same = byId.get(message.id);
    if (same === undefined) byId.set(message.id, [message]);
    else same.push(message);
  }
  for (const [id, [first, ...more]] of byId) {
    if (first === undefined) continue;
    const { type, sequence } = first;
    const decision = decisions.get(id) ?? [];
    const outcomes = isRequest(type)
      ? decision.filter((event) => OUTCOMES[type].includes(event.type as never))
      : [];
    const buried = deadSequences.has(sequence);
    if (isRequest(type) && outcomes.length + (buried ? 1 : 0) !== 1) {
      const found = [...outcomes.map((event) => event.type), ...(buried ? ['a dead letter'] : [])];
      yield {
        rule: 'OUT-1',
        message: `${type} ${id} has ${found.length} outcomes: ${found.join(', ') || 'none'}`,
      };
    }
    if (decision.length === 0 && !buried && !MAY_LEAVE_NOTHING.has(type)) {
      yield { rule: 'EX-6', message: `${type} ${id} left no event` };
    }
    if (decision.some(({ position }, index) => position !== decision[0]!.position + index)) {
      yield {
        rule: 'OUT-3',
        message: `the events of ${type} ${id} are not neighbours: it took effect twice`,
      };
    }
    for (const other of more) {
      const conflicts = other.content !== first.content;
      if (conflicts !== deadSequences.has(other.sequence) && !buried && decision.length > 0) {
        yield {
          rule: 'EX-6',
          message: conflicts
            ? `${id} says something else at ${other.sequence}, and is no dead letter`
            : `the repeat of ${id} at ${other.sequence} is a dead letter`,
        };
      }
    }
  }
}

/** OUT-3: what went out is what the log holds, at its position, without a gap or a double. */
function* sameAsTheLog({ cluster, records, outputs }: Evidence): Generator<Violation> {
  if (records.length !== outputs.length) {
    yield { rule: 'OUT-3', message: `the log has ${records.length} events, ${outputs.length} went out` };
  }
  for (const [index, record] of records.entries()) {
    const output = outputs[index];
    if (output === undefined) return;
    const payload = writtenFor(cluster, record);
    const sent = typeof output.payload === 'string' ? output.payload : Buffer.from(output.payload).toString();
    if (output.position !== record.position || sent !== payload) {
      yield { rule: 'OUT-3', message: `position ${record.position} went out as ${output.position}: ${sent}` };
      return;
    }
  }
}

/** What goes out for a record, by its hash: the runs of one saga begin with the same records. */
const written = new Map<string, string>();

function writtenFor(cluster: string, record: StoredRecord): string {
  // Only a record that is what its hash says may be looked up by it; the chain's check tells.
  const key = `${record.hash} ${record.body.length} ${cluster}`;
  let payload = written.get(key);
  if (payload === undefined) {
    payload = String(messageOf(cluster, record).payload);
    if (written.size >= 10_000) written.clear();
    written.set(key, payload);
  }
  return payload;
}

/** Who holds which VF after these events: `vm/nic` → `host vf`. */
export function holdersAfter(
  events: readonly Pick<OutgoingEvent, 'type' | 'data'>[],
): Record<string, string> {
  const holders = new Map<string, string>();
  for (const { type, data } of events) {
    const { vmId, nicId, hostId, vf } = data as Decided['data'];
    if (type === 'VfAllocated') holders.set(`${vmId}/${nicId}`, `${hostId} ${vf}`);
    if (type === 'VfReleased') holders.delete(`${vmId}/${nicId}`);
  }
  return Object.fromEntries([...holders].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
