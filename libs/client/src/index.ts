export {
  VfScheduler,
  type AskOptions,
  type CallOptions,
  type Granted,
  type StartedVm,
  type VfSchedulerOptions,
} from './client.js';
export type { Stored } from './ask.js';
export { VfError, VfRefusal, type RefusalFacts, type VfErrorCode } from './errors.js';
export type { FollowOptions } from './follow.js';
export type { EventAttributes } from './input.js';
export {
  isRefusal,
  outcomeTypes,
  type AskableInput,
  type EventOf,
  type GrantedType,
  type SilentInput,
} from './outcomes.js';
export type { OutcomeReply, Positioned, QueryBase, QueryReplies } from './queries.js';
export type { DeadLetterOnRecord, OutputSpan } from '#broker';
export type { OutgoingEvent } from '#wire';
export type * from '#domain';
