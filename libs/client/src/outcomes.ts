import type { Events, EventType, InputType } from '#domain';
import { isRequest, OUTCOMES, type OutgoingEvent, type RequestType } from '#wire';

/** Inputs that need not leave an event, so that nobody can wait for one. */
export type SilentInput = 'HostReported' | 'HostSeen' | 'Tick';

/** Inputs that can be asked: each has exactly one outcome (OUT-1, EX-6). */
export type AskableInput = Exclude<InputType, SilentInput>;

/** The event that says yes: of a fact it has the fact's own name. */
export type GrantedType<T extends AskableInput> = T extends RequestType
  ? (typeof OUTCOMES)[T][0]
  : T extends 'VfScrubbed'
    ? 'VfScrubbed' | 'VfQuarantined'
    : Extract<T, EventType>;

/** An event with the data that its type has. */
export type EventOf<T extends EventType> = {
  [K in T]: Omit<OutgoingEvent, 'type' | 'data'> & { readonly type: K; readonly data: Events[K] };
}[T];

/** The types of the events that grant an input. */
export function grantedTypes(type: AskableInput): readonly string[] {
  if (isRequest(type)) return [OUTCOMES[type][0]];
  return type === 'VfScrubbed' ? ['VfScrubbed', 'VfQuarantined'] : [type];
}

/** The types of the events that answer an input, whatever they say. */
export function outcomeTypes(type: AskableInput): readonly string[] {
  if (isRequest(type)) return OUTCOMES[type];
  return [...grantedTypes(type), 'InputIgnored', 'InputRejected'];
}

/** Whether an outcome says no. A fact that is ignored changes nothing, and is no refusal. */
export const isRefusal = (type: AskableInput, outcome: string): boolean =>
  outcome !== 'InputIgnored' && !grantedTypes(type).includes(outcome);
