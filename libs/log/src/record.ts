/** What made an event: the input of `VF_IN` that was decided. */
export interface Cause {
  /**
   * Creation time of the `VF_IN` stream (RFC 3339, as JetStream gives it): tells a re-made stream from the
   * one before.
   */
  readonly stream: string;
  /** Sequence of the input in that stream. */
  readonly sequence: number;
  /** CloudEvent id of the input. */
  readonly id: string;
  /**
   * The first 64 bits (16 hex digits) of SHA-256 over what the input says: tells a repeat from another
   * content (EX-6).
   */
  readonly digest: string;
}

/**
 * Names a snapshot in the log: by it, and by the chain that it is a link of, a snapshot that was changed is told from
 * the one that was taken.
 */
export interface SnapshotMark {
  /** SHA-256 (64 hex digits) over the snapshot's `state`, in UTF-8. */
  readonly digest: string;
  /** The snapshot's `version`. */
  readonly version: string;
}

/** An event as it was decided, before it has its place in the hash chain. */
export interface EventBody<Type extends string = string, Data = unknown> {
  /** Place in the cluster's log, from 1, without gaps. */
  readonly position: number;
  readonly type: Type;
  /** Version of the shape of `data`. */
  readonly schema: number;
  /** When it was decided: RFC 3339, UTC, milliseconds; never goes back within a log. */
  readonly time: string;
  readonly data: Data;
  readonly correlationId: string;
  /** W3C trace context, carried through. */
  readonly traceparent?: string;
  readonly cause: Cause;
  /** Version of the decider that decided. */
  readonly decider: string;
  /**
   * On the record right behind the position of a snapshot: which one was taken there. Neither part of the decision nor
   * of the event that goes out.
   */
  readonly snapshot?: SnapshotMark;
}

/**
 * A record as the log keeps it. `body` and `input` are the stored bytes: they are hashed, compared and
 * copied, never made again from a parsed form.
 */
export interface StoredRecord {
  readonly position: number;
  /** UUID version 8, lower case, made from `hash`: the same id means the same bytes on the same history. */
  readonly id: string;
  /** SHA-256, 64 hex digits, over the previous hash, `body` and `input`. */
  readonly hash: string;
  /** Canonical JSON (RFC 8785) of the {@link EventBody}. */
  readonly body: string;
  /**
   * On the first event of its decision: the input's CloudEvent as it was read (structured mode, JSON), so
   * that the decision can be explained and run again. Not relayed.
   */
  readonly input?: string;
}

/** All events of one decision: appended together or not at all. Never empty. */
export type StoredDecision = readonly StoredRecord[];

/** A record read back: the parsed body with its identity. */
export interface LogRecord<Type extends string = string, Data = unknown> extends EventBody<Type, Data> {
  readonly id: string;
  readonly hash: string;
  readonly input?: string;
}

/** Parses a stored record. */
export function openRecord(record: StoredRecord): LogRecord {
  const body = JSON.parse(record.body) as EventBody;
  return record.input === undefined
    ? { ...body, id: record.id, hash: record.hash }
    : { ...body, id: record.id, hash: record.hash, input: record.input };
}
