import type { PlacedEvent } from '../events.js';
import type { Input } from '../inputs.js';
import { allocate, release } from './model/allocations.js';
import { order, outcome } from './model/decisions.js';
import { foldHost, foldPf } from './model/hosts.js';
import { Known, type Violation } from './model/known.js';
import { foldNetwork } from './model/networks.js';
import { refusals } from './model/refusals.js';
import { checkStale, heard, isNews, noteOrder, observeReport } from './model/reports.js';
import { afterTick, standing } from './model/standing.js';
import { foldVm } from './model/vms.js';

export type { Violation } from './model/known.js';

/**
 * What rules.md and wire.md say, told again from the inputs and the emitted events alone: plain maps, plain
 * searches, nothing of the domain's code. It says where a history breaks a rule, by the rule's id.
 */
export class InvariantModel {
  private readonly known = new Known();

  get violations(): readonly Violation[] {
    return this.known.violations;
  }

  /** What it has learned, for whoever has something else to hold against it. */
  get knowledge(): Readonly<Known> {
    return this.known;
  }

  /** What is known of an id: the pipeline asks before it decides (EX-6). */
  expectRecall(input: Input, recalled: string): void {
    const digest = this.known.ids.get(input.id);
    const expected = digest === undefined ? 'new' : digest === input.digest ? 'repeat' : 'conflict';
    this.known.check(
      'EX-6',
      recalled === expected,
      `input ${input.id} is ${expected}, and is taken as ${recalled}`,
    );
  }

  /** A new leader has begun: what was observed and is not in the log is forgotten (HOST-5). */
  tookOver(now: number): void {
    for (const host of this.known.hosts.values()) {
      host.heardAt = Math.max(host.heardAt, now);
      host.seq = host.logged.seq;
      host.said = host.logged.said;
      delete host.row;
    }
    this.known.toldStale.clear();
    for (const vm of this.known.vms.values()) vm.proofs = 0;
  }

  /** Judges a decision, and learns from it. */
  took(input: Input, events: readonly PlacedEvent[]): void {
    const { known } = this;
    const time = Math.max(input.time, known.clock);
    order(known, input, events, time);
    outcome(known, input, events);
    refusals(known, input, events, time);
    const news = isNews(known, input, time);
    checkStale(known, input, events, news);
    if (input.type === 'HostReported') observeReport(known, input.data, events, news, time);
    else if (input.type === 'HostSeen' && news === 'same-boot') heard(known, input.data, time);
    for (const event of events) fold(known, input, event, events);
    noteOrder(known, input, news, time, events.length);
    if (events.length > 0) known.ids.set(input.id, input.digest);
    if (input.type === 'Tick') afterTick(known, time);
    standing(known);
  }
}

function fold(known: Known, input: Input, event: PlacedEvent, decision: readonly PlacedEvent[]): void {
  switch (event.type) {
    case 'VfAllocated':
      return allocate(known, input, event.data, event.at, decision);
    case 'VfReleased':
      // A report's releases come before its inventory: they are folded with it.
      return input.type === 'HostReported' ? undefined : release(known, event.data, input.type);
    default:
      foldVm(known, input, event, decision);
      foldHost(known, event);
      foldPf(known, input, event);
      foldNetwork(known, event);
  }
}
