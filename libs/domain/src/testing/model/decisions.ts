import { isRequest, MAY_LEAVE_NOTHING, OUTCOMES } from '#wire';
import type { EventType, PlacedEvent } from '../../events.js';
import type { Input, InputType } from '../../inputs.js';
import type { Known } from './known.js';

const RETOLD = ['InputIgnored', 'InputRejected'] as const;

/** The event that ends the decision of an input: the outcomes of a request, a fact's own name, or why not. */
function endings(type: InputType): readonly EventType[] {
  if (isRequest(type)) return OUTCOMES[type];
  if (MAY_LEAVE_NOTHING.has(type)) return [];
  return [type as EventType, ...(type === 'VfScrubbed' ? (['VfQuarantined'] as const) : []), ...RETOLD];
}

/** OUT-3. */
export function order(known: Known, input: Input, events: readonly PlacedEvent[], time: number): void {
  for (const event of events) {
    known.check(
      'OUT-3',
      event.position === known.position + 1,
      `position ${event.position} after ${known.position}`,
    );
    known.check('OUT-3', event.at === time, `an event of ${event.at} in a decision of ${time}`);
    known.check(
      'OUT-3',
      event.cause.id === input.id,
      `the cause of an event of ${input.id} is ${event.cause.id}`,
    );
    known.position = event.position;
  }
  if (events.length > 0) known.clock = time;
}

/** OUT-1, EX-6, VM-13: what a decision owes its input. */
export function outcome(known: Known, input: Input, events: readonly PlacedEvent[]): void {
  const kinds = endings(input.type);
  const names = events.map((event) => event.type).join(', ');
  if (kinds.length === 0) {
    known.check(
      'OUT-1',
      // A stale report, which is told once in a row (HOST-9).
      events.every(
        ({ type }) => type !== 'InputRejected' && (type !== 'InputIgnored' || events.length === 1),
      ) &&
        (input.type !== 'Tick' || events[0]?.type !== 'InputIgnored'),
      `${input.type} led to ${names}`,
    );
    return;
  }
  known.check('EX-6', events.length > 0, `${input.type} left no event`);
  const own = events.filter(
    (event) =>
      kinds.includes(event.type) &&
      // An operator's word frees a VF by the same event as a host's.
      !(event.type === 'VfScrubbed' && input.type !== 'VfScrubbed'),
  );
  known.check('OUT-1', own.length === 1 && own[0] === events.at(-1), `${input.type} led to ${names}`);
  const outcome = own[0];
  if (outcome === undefined) return;
  if (outcome.type === 'InputIgnored' || outcome.type === 'InputRejected') {
    known.check(
      'OUT-1',
      outcome.data.type === input.type,
      `${input.type} came out as that of ${outcome.data.type}`,
    );
  }
  for (const id of ['vmId', 'hostId', 'pf', 'nicId', 'allocationId', 'l2Id', 'l3Id', 'id'] as const) {
    const asked = (input.data as Record<string, unknown>)[id];
    const told = (outcome.data as unknown as Record<string, unknown>)[id];
    if (id === 'hostId' && (input.type === 'VmStarted' || input.type === 'VmStartRequested')) continue;
    if (asked !== undefined && told !== undefined)
      known.check(
        'OUT-1',
        asked === told,
        `${input.type} of ${id} ${String(asked)} came out as of ${String(told)}`,
      );
  }
  // VM-13
  if ('vmId' in input.data) {
    const { vmId, generation } = input.data;
    const newest = known.generations.get(vmId);
    if (generation !== undefined && newest !== undefined && generation < newest) {
      const { reason } = outcome.data as { reason?: string };
      known.check(
        'VM-13',
        events.length === 1 && (reason === 'GENERATION_STALE' || reason === 'stale'),
        `${input.type} of generation ${generation} after ${newest} led to ${names} (${reason})`,
      );
    }
    if (generation !== undefined) known.generations.set(vmId, Math.max(generation, newest ?? 0));
  }
}
