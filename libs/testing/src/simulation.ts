import { setImmediate as turn } from 'node:timers/promises';
import { BrokerError, MemoryBrokerServer, type DeadLetter } from '#broker';
import { dumpState, emptyState, evolve, type State } from '#domain';
import { LogError, MemoryLog, verifyStream, type StoredRecord } from '#log';
import { DEFAULT_CLUSTER, placedEvent, type Logger } from '#pipeline';
import { INPUT_CATALOG, inputSubject, type OutgoingEvent } from '#wire';
import { AllocatorProcess, type Crossings } from './allocator-process.js';
import { BEGINNING, type Said } from './decider.js';
import { FakeClock } from './fake-clock.js';
import type { Fleet } from './fleet-builder.js';
import { HostAgent, isOrder } from './host-agent.js';
import { holdersAfter, violationsOf, type StoredMessage, type Violation } from './invariants.js';
import { canFail, type Crossing, type Fate, type Mishap, type Mishaps } from './mishaps.js';

export interface SimulationOptions {
  /** What goes wrong, once the fleet is there. */
  readonly mishaps?: Mishaps;
  readonly cluster?: string;
  readonly rememberedInputs?: number;
  readonly logger?: Logger;
  /** Milliseconds that pass with each thing that is said; 100. */
  readonly pace?: number;
  /** Whether a process that died is started again by itself; it is. */
  readonly restarts?: boolean;
}

type Instruction = Extract<Mishap, { kind: 'fail' | 'crash' }> | undefined;

/** A process that waits at a crossing. */
interface Task {
  readonly process: AllocatorProcess;
  readonly call: string;
  readonly side: 'before' | 'after';
  readonly parts: number;
  readonly goOn: (instruction: Instruction) => void;
  /** It froze here: its mishap is over when it goes on. */
  frozen?: boolean;
}

interface Held {
  after: number;
  readonly arrive: () => void;
}

const isPassing = (error: unknown): boolean =>
  (error instanceof BrokerError || error instanceof LogError) && error.code === 'UNAVAILABLE';

const MOST_STEPS = 200_000;
const A_WHILE = 300_000;

/**
 * The real pipeline over the memory log and the memory broker, in a world of its own: with a clock that
 * nobody waits for, agents on the hosts that do what they are told, and a scheduler that lets one step happen
 * after the other and puts mishaps between them. The same options give the same run, to the byte.
 *
 * @example
 * const site = await simulate(fleet().host('h1', { em1: 2 }));
 * await site.say(start('vm1'));
 * await site.crash();
 * await site.say(stopped('vm1'));
 * expect(site).toHaveAllocated({});
 * await site.finish();
 */
export class Simulation implements Crossings {
  readonly clock = new FakeClock(BEGINNING);
  readonly server: MemoryBrokerServer;
  readonly log = new MemoryLog();
  readonly cluster: string;
  /** Every event that went out, in order. */
  readonly events: OutgoingEvent[] = [];
  /** Crossings since the mishaps began, in order. */
  readonly crossings: Crossing[] = [];
  /** Types of what was published since the mishaps began, in order. */
  readonly published: string[] = [];
  /** Types of the orders that reached agents since then, in order. */
  readonly ordered: string[] = [];
  /** Messages of `VF_IN` as they were stored. */
  readonly stored: StoredMessage[] = [];
  readonly agents = new Map<string, HostAgent>();
  #mishaps: Mishaps | undefined;
  #tasks: Task[] = [];
  #processes: AllocatorProcess[] = [];
  #launched = 0;
  #said = 0;
  #repeats = 0;
  #impaired = 0;
  #restarting: boolean;
  #heldMessages: Held[] = [];
  #heldOrders: Held[] = [];
  #lostOrders: OutgoingEvent[] = [];
  #problem: unknown;
  /** The log holds everything up to here. */
  #durable = 0;
  readonly #world = { asleepForGood: false };
  readonly #options: SimulationOptions;

  constructor(options: SimulationOptions = {}) {
    this.#options = options;
    this.cluster = options.cluster ?? DEFAULT_CLUSTER;
    this.#restarting = options.restarts ?? true;
    this.server = new MemoryBrokerServer(() => this.clock.now(), {
      schedule: (milliseconds, action) => this.clock.schedule(this.#world, milliseconds, action),
    });
  }

  /** Starts an allocator and brings the fleet up; the mishaps begin behind that. */
  async begin(fleet: Fleet): Promise<this> {
    this.launch();
    await this.settle();
    for (const [hostId, fields] of fleet.hosts) {
      const agent = new HostAgent(hostId, fields, (said) => void this.publish(said));
      this.agents.set(hostId, agent);
      agent.report();
    }
    for (const said of fleet.inputs) this.publish(said);
    await this.rest();
    return this;
  }

  /** From here on things go wrong as `mishaps` say. */
  arm(mishaps: Mishaps): void {
    this.#mishaps = mishaps;
  }

  /** From here on nothing goes wrong any more, but what is wrong stays so. */
  disarm(): void {
    this.#mishaps = undefined;
  }

  agent(hostId: string): HostAgent {
    const agent = this.agents.get(hostId);
    if (agent === undefined) throw new Error(`the fleet has no host ${hostId}`);
    return agent;
  }

  /** Types of what went out, in order. */
  get types(): string[] {
    return this.events.map(({ type }) => type);
  }

  /** Who holds what, by what went out: `vm/nic` → `host vf`. */
  get holders(): Record<string, string> {
    return holdersAfter(this.events);
  }

  get deadLetters(): readonly DeadLetter[] {
    return this.server.deadLetters(this.cluster);
  }

  /** The events that an input led to. */
  causedBy(id: string): readonly OutgoingEvent[] {
    return this.events.filter(({ causationid }) => causationid === id);
  }

  /**
   * Says something to the scheduler and waits until all that follows from it has happened. @returns its id.
   */
  async say(said: Said): Promise<string> {
    const id = this.publish(said);
    await this.advance((said.after ?? 0) * 1000 || (this.#options.pace ?? 100));
    await this.rest();
    return id;
  }

  /** Publishes an input, subject to what becomes of messages. @returns its id. */
  publish(said: Said): string {
    const id = said.id ?? `in-${++this.#said}`;
    const { kind, idField } = INPUT_CATALOG[said.type];
    const about = idField === undefined ? this.cluster : (said.data as never)[idField];
    const subject = inputSubject(this.cluster, kind, about, said.type);
    const { type, data } = said;
    const event = {
      specversion: '1.0',
      id,
      source: '/simulation',
      type,
      time: new Date(this.clock.now()).toISOString(),
      data,
    };
    const arrive = (): void => this.#store(subject, JSON.stringify(event), { id, type, data });
    if (this.#mishaps === undefined) {
      arrive();
      return id;
    }
    this.published.push(type);
    this.#send(this.#mishaps.ofMessage?.(this.published.length, type), arrive, this.#heldMessages);
    return id;
  }

  /** Stores any bytes under any subject, as anybody may. */
  raw(subject: string, text: string): number {
    return this.server.storeInput(subject, new TextEncoder().encode(text));
  }

  #store(subject: string, text: string, said: { id: string; type: string; data: object }): void {
    const sequence = this.raw(subject, text);
    const { id, type, data } = said;
    this.stored.push({ sequence, id, type, content: JSON.stringify([type, data]) });
  }

  #send(fate: Fate = { kind: 'arrives' }, arrive: () => void, held: Held[]): void {
    // What was held back for a while comes after this one.
    const due = held.filter((each) => --each.after <= 0);
    for (const each of due) held.splice(held.indexOf(each), 1);
    switch (fate.kind) {
      case 'lost':
        break;
      case 'repeated':
        this.#repeats++;
        this.clock.schedule(this.#world, fate.milliseconds, () => {
          this.#repeats--;
          arrive();
        });
        break;
      case 'late':
        held.push({ after: fate.after, arrive });
        break;
      case 'doubled':
        arrive();
        arrive();
        break;
      case 'doubled-late':
        arrive();
        held.push({ after: fate.after, arrive });
        break;
      case 'arrives':
        arrive();
        break;
    }
    for (const each of due) each.arrive();
  }

  /** Lets arrive what is still on its way, and has the agents read again what they lost. */
  async flush(): Promise<void> {
    for (const held of [this.#heldMessages, this.#heldOrders]) {
      for (const each of held.splice(0)) each.arrive();
    }
    await this.rest();
    for (const order of this.#lostOrders.splice(0)) this.#perceive(order);
    await this.rest();
  }

  /** Starts an allocator process; while another leads it stands by. */
  launch(): AllocatorProcess {
    const process = new AllocatorProcess({
      name: `allocator-${++this.#launched}`,
      connection: this.server.connect(),
      log: this.log.connect(),
      clock: this.clock,
      crossings: this,
      rememberedInputs: this.#options.rememberedInputs ?? 256,
      logger: this.#options.logger,
    });
    this.#processes.push(process);
    process.allocator.start().catch((error: unknown) => {
      if (process.dead) return;
      // It exits, and whoever watches over it starts it again; what only a person can mend ends the
      // simulation.
      if (isPassing(error)) process.kill();
      else this.#problem ??= error;
    });
    return process;
  }

  /** The process that leads the cluster now. */
  get leader(): AllocatorProcess | undefined {
    return this.#processes.find(
      (process) =>
        !process.dead && !process.frozen && process.allocator.status.get(this.cluster)?.role === 'leader',
    );
  }

  /** Kills the leader where it stands, and starts another one that takes over when the lease has run out. */
  async crash(): Promise<void> {
    const process = this.leader ?? this.#processes.find(({ dead }) => !dead);
    process?.kill();
    await this.settle();
  }

  /** Cuts the leader's connection for so many milliseconds. */
  cut(milliseconds: number, process = this.leader): void {
    if (process === undefined) return;
    process.connection.cut();
    this.#impaired++;
    this.clock.schedule(this.#world, milliseconds, () => {
      this.#impaired--;
      if (!process.dead && !process.frozen) process.connection.heal();
    });
  }

  /** Stops the leader where it stands for so many milliseconds, while another takes over. */
  freeze(milliseconds: number, process = this.leader): void {
    if (process === undefined || process.frozen) return;
    process.frozen = true;
    process.connection.cut();
    this.#impaired++;
    this.launch();
    this.clock.schedule(this.#world, milliseconds, () => {
      this.#impaired--;
      process.frozen = false;
      if (!process.dead) process.connection.heal();
    });
  }

  died(_process: AllocatorProcess): void {
    this.#tasks = this.#tasks.filter(({ process }) => !process.dead);
    if (this.#restarting) this.launch();
  }

  appended(position: number): void {
    this.#durable = Math.max(this.#durable, position);
  }

  reach(
    process: AllocatorProcess,
    call: string,
    side: 'before' | 'after',
    parts: number,
  ): Promise<Instruction> {
    return new Promise((goOn) => {
      if (!process.dead) this.#tasks.push({ process, call, side, parts, goOn });
    });
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    for (let steps = 0; steps < MOST_STEPS; steps++) {
      await turn();
      if (this.#problem !== undefined) throw this.#problem;
      this.#deliver();
      const ready = this.#tasks.filter(({ process }) => !process.frozen);
      if (ready.length === 0) return;
      const task = ready[ready.length === 1 ? 0 : (this.#mishaps?.pick?.(ready.length) ?? 0)]!;
      this.#tasks.splice(this.#tasks.indexOf(task), 1);
      this.#goOn(task);
    }
    throw new Error('it does not come to rest: the pipeline goes on and on without time passing');
  }

  #goOn(task: Task): void {
    const { process, call, side, parts, goOn, frozen } = task;
    if (this.#mishaps === undefined || frozen === true) return goOn(undefined);
    const crossing = { number: this.crossings.length + 1, call, side, parts };
    this.crossings.push(crossing);
    const mishap = this.#mishaps.atCrossing?.(crossing);
    switch (mishap?.kind) {
      case undefined:
        return goOn(undefined);
      case 'crash':
        if (mishap.parts !== undefined && side === 'before') return goOn(mishap);
        return process.kill();
      case 'fail':
        return goOn(canFail(call) ? mishap : undefined);
      case 'cut':
        this.cut(mishap.milliseconds, process);
        if (mishap.successor === true) this.launch();
        return goOn(undefined);
      case 'freeze':
        this.#tasks.push({ ...task, frozen: true });
        return this.freeze(mishap.milliseconds, process);
    }
  }

  /** Brings what went out to the agents. */
  #deliver(): void {
    const last = this.server.output(this.cluster)?.lastSequence ?? 0;
    if (last <= this.events.length) return;
    if (last > this.#durable) {
      throw new Error(`[OUT-3] position ${last} went out, and the log ends at ${this.#durable}`);
    }
    const fresh = this.server.outputs(this.cluster).slice(this.events.length);
    for (const { payload } of fresh) {
      const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString();
      const event = JSON.parse(text) as OutgoingEvent;
      this.events.push(event);
      if (!isOrder(event) || !this.agents.has(event.data.hostId)) continue;
      if (this.#mishaps === undefined) {
        this.#perceive(event);
        continue;
      }
      this.ordered.push(event.type);
      const fate = this.#mishaps.ofOrder?.(this.ordered.length, event.type);
      if (fate?.kind === 'lost') this.#lostOrders.push(event);
      this.#send(fate, () => this.#perceive(event), this.#heldOrders);
    }
  }

  /** Restarts the agent of a host: it reads its orders again, and says again what it did of the last ones. */
  async restartAgent(hostId: string): Promise<void> {
    const agent = this.agent(hostId);
    for (const event of [...this.events]) agent.perceive(event);
    await this.rest();
  }

  #perceive(event: OutgoingEvent): void {
    this.agents.get((event.data as { hostId: string }).hostId)?.perceive(event);
  }

  /** Lets time pass, and everything that comes with it happen. */
  async advance(milliseconds: number): Promise<void> {
    const until = this.clock.now() + milliseconds;
    do await this.settle();
    while (this.clock.advanceTo(until));
    await this.settle();
  }

  /** Lets time pass until a condition holds. */
  async until(what: string, holds: () => boolean, within = A_WHILE): Promise<void> {
    const end = this.clock.now() + within;
    for (;;) {
      await this.settle();
      if (holds()) return;
      const { next } = this.clock;
      if (next === undefined || next > end) {
        const status = this.#processes
          .filter(({ dead }) => !dead)
          .map(({ name, allocator }) => `${name}: ${JSON.stringify(allocator.status.get(this.cluster))}`);
        throw new Error(
          `it did not come to this within ${within} ms: ${what}\n${status.join('\n')}\nout: ${this.types.join(', ')}`,
        );
      }
      this.clock.advanceTo(next);
    }
  }

  /** Waits until all that was said is decided, durable and out, and nothing is to be said again. */
  async rest(): Promise<void> {
    await this.until('all is decided, durable and out', () => this.#atRest());
  }

  #atRest(): boolean {
    const status = this.leader?.allocator.status.get(this.cluster);
    if (status?.role !== 'leader' || this.#repeats > 0) return false;
    let last = 0;
    this.server.visitInputs(this.cluster, status.inputSequence, ({ sequence }) => {
      last = sequence;
      return false;
    });
    return last === 0 && status.durable === status.position && status.unrelayed === 0;
  }

  /** The state that the log replays into. */
  async replay(): Promise<State> {
    const state = emptyState(this.cluster, { rememberedInputs: this.#options.rememberedInputs ?? 256 });
    for (const record of await this.#records()) evolve(state, placedEvent(record));
    return state;
  }

  async #records(): Promise<StoredRecord[]> {
    const all: StoredRecord[] = [];
    for await (const records of this.log.read(this.cluster, 1)) all.push(...records);
    return all;
  }

  /**
   * Where the run breaks a rule: EX-1, EX-3, OUT-1, OUT-3, a state that replays otherwise, a broken chain.
   */
  async violations(): Promise<readonly Violation[]> {
    await this.rest();
    const live = await this.leader?.allocator.read(this.cluster, dumpState);
    const chain = await verifyStream(this.log, this.cluster);
    return violationsOf({
      cluster: this.cluster,
      messages: this.stored,
      records: await this.#records(),
      outputs: this.server.outputs(this.cluster),
      dead: this.deadLetters,
      chain: { ok: chain.ok, message: chain.firstBad?.message },
      live: live?.value,
      replayed: dumpState(await this.replay()),
    });
  }

  /**
   * Ends the run: no more mishaps; what is on its way arrives, who is cut off or frozen comes back, and the
   * invariants are checked.
   *
   * @throws when one of them does not hold.
   */
  async finish(): Promise<void> {
    this.disarm();
    await this.flush();
    await this.until('all are back', () => this.#impaired === 0);
    const violations = await this.violations();
    if (violations.length > 0) {
      const list = violations.map(({ rule, message }) => `[${rule}] ${message}`);
      throw new Error(`${list.join('\n')}\nout: ${this.types.join(', ')}`);
    }
  }

  /** Stops the allocators as SIGTERM does: they finish, relay, and give their leases up. */
  async stop(): Promise<void> {
    this.#restarting = false;
    let stopped = 0;
    const alive = this.#processes.filter(({ dead }) => !dead);
    for (const { allocator } of alive) void allocator.stop().then(() => stopped++);
    await this.until('the allocators have stopped', () => stopped === alive.length);
    this.#processes = [];
  }

  /** What happened, without what depends on when it did: for comparing two runs of one conversation. */
  get story(): readonly unknown[] {
    // The ids of allocations are made from those of their inputs, and a tick's is made from its time.
    const allocations = new Map<string, string>();
    const timeless = (key: string, value: unknown): unknown => {
      if (key === 'since') return undefined;
      if (key !== 'allocationId' || typeof value !== 'string') return value;
      if (!allocations.has(value)) allocations.set(value, `allocation ${allocations.size + 1}`);
      return allocations.get(value);
    };
    return this.events.map(({ type, data, causationid }) => [
      type,
      JSON.parse(JSON.stringify(data, timeless)),
      causationid.startsWith('tick:') ? 'tick' : causationid,
    ]);
  }
}

/** A fleet with its scheduler, up and running. */
export async function simulate(fleet: Fleet, options: SimulationOptions = {}): Promise<Simulation> {
  const simulation = await new Simulation(options).begin(fleet);
  if (options.mishaps !== undefined) simulation.arm(options.mishaps);
  return simulation;
}
