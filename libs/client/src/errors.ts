import type { HolderRef, RefusalCode } from '#domain';
import type { OutgoingEvent } from '#wire';

/**
 * What can come between a call and its answer:
 *
 * - `BAD_INPUT`: what was to be sent cannot be read by the contract, or an option makes no sense. Nothing was sent.
 * - `ID_REUSED`: the id was used before, for another request. This one took no effect.
 * - `DEAD_LETTERED`: the scheduler could not take the input; it is in `VF_DEAD`, with the reason.
 * - `NOT_STORED`: NATS refuses the input (`VF_IN` is full, no permission). It took no effect.
 * - `OUTCOME_UNKNOWN`: the time is over. The request may have taken effect, or may still: call again with the
 *   same id, or ask for the `outcome` of the id.
 * - `UNAVAILABLE`: no connection, or nobody answered in time. Nothing was changed by it.
 * - `EVENTS_GONE`: `VF_OUT` no longer holds the events asked for; `facts.first` is the oldest it has.
 * - `CLOSED`: the client was closed, before the call or during it. What was on its way may have arrived.
 * - `CLUSTER_UNKNOWN`, `NOT_FOUND`, `BAD_REQUEST`, `NOT_CAUGHT_UP` …: the code of a query's error.
 */
export type VfErrorCode =
  | 'BAD_INPUT'
  | 'ID_REUSED'
  | 'DEAD_LETTERED'
  | 'NOT_STORED'
  | 'OUTCOME_UNKNOWN'
  | 'UNAVAILABLE'
  | 'EVENTS_GONE'
  | 'CLOSED'
  | (string & {});

/** What a call of the client throws. The message says what, why, and what to do next. */
export class VfError extends Error {
  override readonly name: string = 'VfError';

  constructor(
    readonly code: VfErrorCode,
    message: string,
    /** What a program can act on: the `id` of the request, say. */
    readonly facts: Readonly<Record<string, unknown>> = {},
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The facts of a refusal: the ids of the request, and what stood in its way. */
export interface RefusalFacts {
  readonly reason: RefusalCode;
  readonly message: string;
  readonly holders?: readonly HolderRef[];
  readonly [fact: string]: unknown;
}

/** The scheduler decided, and the answer is no (OUT-2). Nothing is held by a request that was refused. */
export class VfRefusal extends VfError {
  override readonly name = 'VfRefusal';
  declare readonly code: RefusalCode;
  declare readonly facts: RefusalFacts;

  constructor(readonly event: OutgoingEvent) {
    const facts = event.data as RefusalFacts;
    super(facts.reason, facts.message, facts);
  }
}
