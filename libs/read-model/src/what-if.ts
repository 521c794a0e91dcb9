import {
  decide,
  pfObstacle,
  hostObstacle,
  isHostReady,
  OBSTACLES_BY_NEARNESS,
  step,
  type DomainEvent,
  type Events,
  type Input,
  type Inputs,
  type InputType,
  type NearMiss,
  type NicSpec,
  type PlacedEvent,
  type RefusalCode,
  type State,
  type Strategy,
} from '#domain';
import { ReadError } from './errors.js';
import type { Host, Pf, Vm } from './touched.js';

/** A NIC of a VM that could start somewhere, and how many VFs its PF has free now. */
export interface CandidateNic {
  readonly nicId: string;
  readonly pf?: string;
  readonly free?: number;
  readonly degraded?: boolean;
}

export interface Candidate {
  readonly hostId: string;
  readonly score: number;
  readonly nics: readonly CandidateNic[];
}

export interface CandidatesRequest {
  readonly nics?: readonly NicSpec[];
  /** A VM that is known, to be started again; its NICs are used where none are given. */
  readonly vmId?: string;
  readonly hosts?: readonly string[];
  readonly strategy?: Strategy;
  readonly separatePfs?: boolean;
  readonly numaNode?: number;
  readonly tenant?: string;
  readonly limit?: number;
}

/** An input that nobody sent, at the moment of the state. */
function imagined<T extends InputType>(
  state: State,
  type: T,
  data: Inputs[T],
  id: string,
  time = state.clock,
): Input<T> {
  return {
    id,
    type,
    data,
    time: Math.max(time, state.clock),
    digest: '0000000000000000',
  } as unknown as Input<T>;
}

/** A name that no VM has. */
function strangerIn(state: State): string {
  let name = 'candidate';
  while (state.vms.has(name)) name += '-';
  return name;
}

type Placed = Events['VmStartAccepted'];

function decideStart(state: State, data: Inputs['VmStartRequested']): Placed | Events['VmStartFailed'] {
  const last = decide(state, imagined(state, 'VmStartRequested', data, 'what-if')).at(-1);
  if (last?.type === 'VmStartAccepted' || last?.type === 'VmStartFailed') return last.data;
  throw new Error(`a start led to ${last?.type ?? 'nothing'}`);
}

const isAccepted = (outcome: Placed | Events['VmStartFailed']): outcome is Placed => 'why' in outcome;

function toCandidate(state: State, { hostId, why, nics }: Placed): Candidate {
  const pfs = state.hosts.get(hostId)?.pfs;
  return {
    hostId,
    score: why.score,
    nics: nics.map(({ nicId, pf, degraded }) => ({
      nicId,
      ...(pf === undefined ? undefined : { pf, free: pfs?.get(pf)?.free.size ?? 0 }),
      ...(degraded === true ? { degraded } : undefined),
    })),
  };
}

/**
 * Where a VM could start, best first, by the decider itself: the first is what a start would get, the others
 * what it would get if it were pinned there.
 */
export function candidates(
  state: State,
  request: CandidatesRequest,
): { hosts: readonly Candidate[]; refused: readonly NearMiss[]; reason?: RefusalCode; message?: string } {
  const { limit = 100, hosts: named, ...wish } = request;
  const vm = request.vmId === undefined ? undefined : state.vms.get(request.vmId);
  if (request.nics === undefined && vm === undefined) {
    throw request.vmId === undefined
      ? new ReadError('BAD_REQUEST', 'name the NICs in `nics`, or a VM that is known in `vmId`')
      : new ReadError(
          'NOT_FOUND',
          `there is no VM '${request.vmId}' at position ${state.position}, and no NICs are named`,
        );
  }
  const data = startOf(state, wish, vm);
  const best = decideStart(state, named === undefined ? data : { ...data, hosts: named });
  const found: Placed[] = [];
  const refused: NearMiss[] = [];
  const known = named === undefined ? [...state.hosts.keys()] : [...new Set(named)];
  for (const hostId of known) {
    if (isAccepted(best) && hostId === best.hostId) continue;
    const outcome = decideStart(state, { ...data, hostId });
    if (isAccepted(outcome)) found.push(outcome);
    else refused.push(...nearMisses(state.hosts.get(hostId), hostId, outcome));
  }
  const strategy = request.strategy ?? state.policy.strategy;
  const direction = strategy === 'pack' ? 1 : -1;
  const lacking = ({ nics }: Placed): number => nics.filter(({ degraded }) => degraded === true).length;
  const ordinal = ({ hostId }: Placed): number => state.hosts.get(hostId)?.ordinal ?? 0;
  found.sort(
    (a, b) => lacking(a) - lacking(b) || direction * (a.why.score - b.why.score) || ordinal(a) - ordinal(b),
  );
  const all = isAccepted(best) ? [best, ...found] : found;
  const rank = (miss: NearMiss): number => (OBSTACLES_BY_NEARNESS as readonly string[]).indexOf(miss.reason);
  return {
    hosts: all.slice(0, limit).map((placed) => toCandidate(state, placed)),
    refused: refused.toSorted((a, b) => rank(a) - rank(b)).slice(0, limit),
    ...(isAccepted(best) ? undefined : { reason: best.reason, message: best.message }),
  };
}

function startOf(
  state: State,
  wish: Omit<CandidatesRequest, 'limit' | 'hosts'>,
  vm: Vm | undefined,
): Inputs['VmStartRequested'] {
  // A start without VF NICs goes where the VM's name sends it, so one that is named keeps its name.
  if (vm === undefined) return { ...wish, nics: wish.nics ?? [], vmId: wish.vmId ?? strangerIn(state) };
  // One that runs is asked for as if it were new: a start of it would only be told that it runs.
  if (vm.state !== 'stopped') return { ...wish, nics: wish.nics ?? specsOf(vm), vmId: strangerIn(state) };
  return { ...wish, vmId: vm.id };
}

/** A VM's NICs, to be had once more beside themselves: without the MACs, which they have. */
const specsOf = (vm: Vm): NicSpec[] =>
  [...vm.nics.values()].map(({ id, type, networkId, physicalNetwork, onExhaustion, services }) => ({
    nicId: id,
    type,
    networkId,
    physicalNetwork,
    onExhaustion,
    ...services,
  }));

function nearMisses(
  host: Host | undefined,
  hostId: string,
  { reason, considered }: Events['VmStartFailed'],
): readonly NearMiss[] {
  if (considered.length > 0) return considered;
  const obstacle =
    host === undefined ? reason : (hostObstacle(host) ?? (isHostReady(host) ? reason : 'HOST_NOT_READY'));
  return [{ hostId, reason: obstacle }];
}

export interface RestoreImpactRequest {
  readonly hostId: string;
  readonly pf: string;
  /** What the order would say; left out, the policy decides. */
  readonly onBusy?: 'unload' | 'reject';
}

/**
 * Who would lose a NIC if a PF were restored now, and where each VM could go: nobody, where the order would be
 * refused because it is busy. Changes the state.
 */
export function restoreImpact(state: State, request: RestoreImpactRequest): object {
  const pf: Pf | undefined = state.hosts.get(request.hostId)?.pfs.get(request.pf);
  if (pf === undefined) {
    throw new ReadError(
      'NOT_FOUND',
      `there is no PF ${request.pf} of host '${request.hostId}' at position ${state.position}`,
    );
  }
  const obstacle = pfObstacle(pf);
  const victims = new Map<Vm, string[]>();
  for (const { allocation } of pf.vfs) {
    if (allocation === undefined) continue;
    victims.set(allocation.vm, [...(victims.get(allocation.vm) ?? []), allocation.nic.id]);
  }
  const restore = imagined(state, 'PfRestoreRequested', request, 'what-if:restore');
  const outcome = step(state, restore, NOWHERE).at(-1) as DomainEvent;
  const refusal =
    outcome.type === 'PfRestoreRejected'
      ? { reason: outcome.data.reason, message: outcome.data.message, holders: outcome.data.holders }
      : undefined;
  // Whoever holds a VF of a PF that is being restored loses it, whatever a second order is told.
  if (refusal?.reason === 'PF_BUSY') victims.clear();
  return {
    ...(obstacle === undefined ? undefined : { obstacle }),
    ...refusal,
    vms: [...victims]
      .toSorted(([a], [b]) => (a.id < b.id ? -1 : 1))
      .map(([vm, nicIds]) => {
        const found = candidates(state, { vmId: vm.id, limit: 32 });
        return {
          vmId: vm.id,
          tenant: vm.tenant,
          nicIds: nicIds.toSorted(),
          hosts: found.hosts
            .filter(({ nics }) => nics.every(({ degraded }) => degraded !== true))
            .map(({ hostId }) => hostId),
        };
      }),
  };
}

/** Of inputs that nobody sent. */
const NOWHERE = { stream: 'what-if', sequence: 0 };

/** An input of a plan, checked by its contract. */
export interface PlannedInput {
  readonly type: InputType;
  readonly data: object;
  readonly id?: string;
}

/** The events that inputs would lead to, one after the other, by the decider itself. Changes the state. */
export function plan(
  state: State,
  request: { readonly inputs: readonly PlannedInput[]; readonly time: number },
): object {
  const results = request.inputs.map(({ type, data, id }, index) => {
    const name = id ?? `plan-${index + 1}`;
    if (state.inputs.recall(name, '') !== 'new') {
      throw new ReadError(
        'BAD_REQUEST',
        `the id '${name}' of input ${index + 1} was used before: leave it out, or give another`,
      );
    }
    const events = step(state, imagined(state, type, data as never, name, request.time), NOWHERE);
    return { id: name, type, events: events.map(shown) };
  });
  const events = results.flatMap((result) => result.events);
  return { results, events };
}

const shown = ({ position, type, at, data }: PlacedEvent): object => ({
  position: String(position),
  type,
  time: new Date(at).toISOString(),
  data,
});

/** Inputs whose decision may depend on when hosts were last heard, which the log does not keep (HOST-5, VM-12). */
const OBSERVING: ReadonlySet<InputType> = new Set(['Tick', 'HostReported', 'HostSeen']);

export interface StoredDecision {
  readonly input: Input;
  readonly decider: string;
  readonly events: readonly { readonly type: string; readonly data: object }[];
}

/** Decides an input again at its place, and compares. Changes the state. */
export function decideAgain(
  state: State,
  stored: StoredDecision,
  version: string,
): {
  readonly same: boolean;
  readonly decider: string;
  readonly code?: string;
  readonly message?: string;
  readonly events?: readonly object[];
} {
  const events = step(state, stored.input, NOWHERE).map(({ type, data }) => ({ type, data }));
  const same = sameJson(events, stored.events);
  if (same) return { same, decider: version };
  if (stored.decider !== version) {
    return {
      same,
      decider: version,
      code: 'OTHER_DECIDER',
      message: `it was decided by version ${stored.decider}; version ${version} decides it otherwise`,
      events,
    };
  }
  if (OBSERVING.has(stored.input.type)) {
    return {
      same,
      decider: version,
      code: 'NOT_REPEATABLE',
      message:
        'it depends on when hosts were last heard, which the log does not keep: it cannot be decided again with certainty',
      events,
    };
  }
  return {
    same,
    decider: version,
    code: 'DECISION_DIFFERS',
    message: `THE SAME DECIDER (version ${version}) DECIDES OTHERWISE NOW: the log, the state or the decider is not what it was; run verify, and ask for help`,
    events,
  };
}

/** Whether two values are the same as JSON, whatever the order of keys. */
export function sameJson(one: unknown, other: unknown): boolean {
  return sorted(one) === sorted(other);
}

const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
