import assert from 'node:assert/strict';
import { decide, recall } from '../decide.js';
import type { DomainEvent, EventType, Events, PlacedEvent } from '../events.js';
import { evolve } from '../evolve.js';
import type { Input, Inputs, InputType } from '../inputs.js';
import { allocationId } from '../naming.js';
import { REFUSAL_CODES, type RefusalCode } from '../refusal-codes.js';
import { dumpState, restoreState } from '../snapshot.js';
import { emptyState, type Allocation, type Host, type Pf, type State, type Vf, type Vm } from '../state.js';
import { step } from '../step.js';

/** An input as a test says it. Id, digest and time come by themselves where they are left out. */
export type Said<T extends InputType = InputType> = {
  [K in T]: {
    readonly type: K;
    readonly data: Inputs[K];
    readonly id?: string;
    readonly digest?: string;
    /** Seconds since the input before; 1 by default. */
    readonly after?: number;
    /** How far the sender's clock is ahead of JetStream's, in seconds; none by default. */
    readonly clock?: number;
  };
}[T];

export const say = <T extends InputType>(
  type: T,
  data: Inputs[T],
  options?: {
    readonly id?: string;
    readonly digest?: string;
    readonly after?: number;
    readonly clock?: number;
  },
): Said => ({ type, data, ...options }) as Said;

/** When the first input of every scenario comes, less one second. */
export const BEGINNING = Date.UTC(2026, 0, 1);

/** What is left of a value on its way through JSON. */
const asJson = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/**
 * given / when / then for the decider of a cluster. It runs `recall` and `step` as the pipeline does, with
 * ids `in-1`, `in-2` … and a clock that goes a second with each input; every decision is checked to be pure,
 * and to be the same on a state from a snapshot.
 */
export class Scenario {
  state: State;
  /** All events so far, as the log has them. */
  readonly log: PlacedEvent[] = [];
  /** The events of the last input. */
  events: readonly DomainEvent[] = [];
  private time = BEGINNING;
  private said = 0;

  constructor(
    private readonly cluster = 'default',
    private readonly rememberedInputs = 1000,
  ) {
    this.state = emptyState(cluster, { rememberedInputs });
  }

  /** Inputs that came before. */
  given(...before: readonly Said[]): this {
    for (const said of before) this.when(said);
    return this;
  }

  /** Events that are in the log already, each a decision of its own. */
  givenEvents(...events: readonly DomainEvent[]): this {
    for (const event of events) {
      const { id, time } = this.next({});
      const cause = { stream: 'test', sequence: this.said, id, digest: digestOf(id) };
      const placed = { ...asJson(event), position: this.state.position + 1, at: time, cause } as PlacedEvent;
      evolve(this.state, placed);
      this.log.push(placed);
    }
    return this;
  }

  when(said: Said): this {
    const { id, time } = this.next(said);
    const data = asJson(said.data);
    const digest = said.digest ?? digestOf(JSON.stringify([said.type, data]));
    const saidAt = time + (said.clock ?? 0) * 1000;
    const input = { id, time, saidAt, digest, type: said.type, data } as unknown as Input;
    const known = recall(this.state, input);
    if (known !== 'new') {
      this.events = [];
      this.recalled = known;
      return this;
    }
    this.recalled = 'new';
    this.checkPurity(input);
    const placed = step(this.state, input, { stream: 'test', sequence: this.said });
    this.events = placed.map(({ type, data: fields }) => ({ type, data: fields }) as DomainEvent);
    this.log.push(...placed.map((event) => asJson(event)));
    return this;
  }

  /** What EX-6 said of the last input. */
  recalled: ReturnType<typeof recall> = 'new';

  /**
   * Exactly these events, in this order, and nothing else; a field that is undefined is a field that is left
   * out.
   */
  then(...expected: readonly DomainEvent[]): this {
    assert.deepEqual(asJson(this.events), asJson(expected));
    return this.checkLog();
  }

  thenTypes(...types: readonly EventType[]): this {
    assert.deepEqual(
      this.events.map(({ type }) => type),
      types,
    );
    return this.checkLog();
  }

  /**
   * The outcome is a refusal with this code and a sentence for a person, and nothing was handed out or taken.
   */
  thenRefused(code: RefusalCode): this {
    const last = this.events.at(-1);
    assert.match(last?.type ?? 'nothing', /(Failed|Rejected)$/);
    const { reason, message } = last?.data as { reason: string; message: string };
    assert.equal(reason, code, `refused for ${reason}: ${message}`);
    assert.ok(REFUSAL_CODES.includes(code));
    assert.ok(message.length > 10, 'a refusal has a sentence for a person');
    assert.deepEqual(
      this.events.filter(({ type }) => type === 'VfAllocated' || type === 'VfReleased'),
      [],
    );
    return this.checkLog();
  }

  thenIgnored(reason: string): this {
    assert.deepEqual(
      this.events.map(({ type, data }) => [type, (data as { reason?: string }).reason]),
      [['InputIgnored', reason]],
    );
    return this.checkLog();
  }

  thenNothing(): this {
    assert.deepEqual(this.events, []);
    return this.checkLog();
  }

  /** The fencing token that the next input will give with its `nth` event. */
  token(nth = 1, id = `in-${this.said + 1}`): string {
    return allocationId(this.cluster, this.state.position + nth, id);
  }

  /** When the last input came, and a time some seconds before or after. */
  at(seconds = 0): string {
    return new Date(this.time + seconds * 1000).toISOString();
  }

  vm(vmId: string): Vm {
    return found(this.state.vms.get(vmId), vmId);
  }
  host(hostId: string): Host {
    return found(this.state.hosts.get(hostId), hostId);
  }
  pf(hostId: string, address: string): Pf {
    return found(this.host(hostId).pfs.get(address), address);
  }
  vf(hostId: string, address: string): Vf {
    return found(this.host(hostId).vfs.get(address), address);
  }
  allocation(vmId: string, nicId = 'eth0'): Allocation {
    return found(this.vm(vmId).nics.get(nicId)?.allocation, `allocation of ${vmId}/${nicId}`);
  }
  holds(vmId: string): string[] {
    return [...(this.state.vms.get(vmId)?.nics.values() ?? [])].flatMap(
      (nic) => nic.allocation?.vf.report.pciAddress ?? [],
    );
  }

  /** The same cluster after a take-over: replayed from its log, with nothing of what was only observed. */
  takenOver(): this {
    this.state = this.replayed();
    return this;
  }

  private replayed(): State {
    const state = emptyState(this.cluster, { rememberedInputs: this.rememberedInputs });
    for (const event of this.log) evolve(state, event);
    return state;
  }

  private next(said: { readonly id?: string; readonly after?: number }): { id: string; time: number } {
    this.said++;
    this.time += (said.after ?? 1) * 1000;
    return { id: said.id ?? `in-${this.said}`, time: this.time };
  }

  /** decide changes nothing, loses nothing in JSON, and does not depend on how the state came about. */
  private checkPurity(input: Input): void {
    const timed = input.time < this.state.clock ? { ...input, time: this.state.clock } : input;
    const before = dumpState(this.state);
    const observed = JSON.stringify(observedOf(this.state));
    const heardInput = JSON.stringify(timed);
    const events = decide(this.state, timed);
    assert.equal(dumpState(this.state), before, `decide changed the state at ${input.type}`);
    assert.equal(JSON.stringify(observedOf(this.state)), observed);
    assert.equal(JSON.stringify(timed), heardInput, 'decide changed its input');
    assert.deepEqual(asJson(events), withoutUndefined(events), `${input.type}: not JSON without loss`);
    const twin = restoreState(before);
    assert.deepEqual(JSON.parse(dumpState(twin)), JSON.parse(before), 'a snapshot loses something');
    for (const [hostId, heard] of this.state.observed.heard) twin.observed.heard.set(hostId, heard);
    for (const [hostId, row] of this.state.observed.rows) twin.observed.rows.set(hostId, row);
    for (const [vmId, proofs] of this.state.observed.proofs) twin.observed.proofs.set(vmId, proofs);
    twin.observed.watching = this.state.observed.watching;
    assert.deepEqual(
      asJson(decide(twin, timed)),
      asJson(events),
      'a state from a snapshot decides otherwise',
    );
  }

  private checkLog(): this {
    assert.deepEqual(JSON.parse(dumpState(this.replayed())), JSON.parse(dumpState(this.state)));
    return this;
  }
}

const found = <T>(value: T | undefined, name: string): T => {
  assert.ok(value !== undefined, `there is no ${name}`);
  return value;
};

const observedOf = ({ observed }: State): unknown => [
  [...observed.heard],
  [...observed.rows],
  [...observed.proofs],
  observed.watching,
];

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, field]) =>
      field === undefined ? [] : [[key, withoutUndefined(field)]],
    ),
  );
}

/** 16 hex digits that stand for a text, good enough for tests. */
const digestOf = (text: string): string => {
  let hash = 7n;
  for (const char of text) hash = (hash * 1_099_511_628_211n + BigInt(char.codePointAt(0) ?? 0)) % 2n ** 64n;
  return hash.toString(16).padStart(16, '0');
};

export const scenario = (...before: readonly Said[]): Scenario => new Scenario().given(...before);

/** An expected event; the compiler checks its fields. */
export const expected = <T extends EventType>(type: T, data: Events[T]): DomainEvent =>
  ({ type, data }) as DomainEvent;
