import type { Head } from './chain.js';
import type { StoredDecision, StoredRecord } from './record.js';

/**
 * A state saved beside the log, so that a start need not replay everything. Losing one is harmless. Whether to believe one
 * is for its owner to find out: an adapter only keeps what is torn from being given out.
 */
export interface Snapshot {
  /** The position and hash of the log's record up to which the state holds. */
  readonly position: number;
  readonly hash: string;
  /** Version of evolve and of the state's form; a snapshot of another version is ignored. */
  readonly version: string;
  /** The state, serialised by its owner. */
  readonly state: string;
}

/** What a reader does not need, and what it wants to be sure of. */
export interface ReadOptions {
  /** `false` leaves `input` out of the records, which a replay does not need. Default: `true`. */
  readonly inputs?: boolean;
  /**
   * The head that the first record must follow, at position `from - 1` ({@link emptyHead} for a read from 1):
   * every record is then checked against the one before, off the main thread where the adapter can. The good
   * part is delivered, then the read fails with `CORRUPT`, naming the position. So does the read of a log
   * that has another record, or none, at this head.
   */
  readonly verify?: Head;
  /**
   * The reader takes so many records at a time, and may stop then: an adapter need not fetch more at once. It may
   * give more, and gives the rest to a reader that goes on.
   */
  readonly most?: number;
}

/** What stands in a stream and is not part of its log. */
export interface PassedOver {
  /** Of those that this process has come upon: all of them, once it has read the log from its beginning. */
  readonly count: number;
  /** The last few, in order. */
  readonly last: readonly {
    /** The store's own number of the message. */
    readonly sequence: number;
    /** A sentence for a person: which message of what, and what is wrong with it. */
    readonly message: string;
  }[];
}

/**
 * The append-only log: one stream for each cluster. It is the only truth of the scheduler and its outbox.
 *
 * Every adapter passes `conformance.ts`.
 */
export interface EventLog {
  /** How a person would name it, without secrets: `sqlite:/var/lib/vf/log.db`. */
  readonly name: string;

  /** Why the store cannot be used now, where the adapter knows that by itself; undefined while it can. */
  readonly trouble?: string | undefined;

  /**
   * Appends decisions behind `expectedPosition`, in order. One call is one write: on success everything is
   * durable. An adapter that must split a write splits between decisions only.
   *
   * The same call again is a success that writes nothing (ids are compared), so that an append with an
   * unknown outcome is simply tried again; what was only partly in is completed.
   *
   * @throws LogError `WRONG_POSITION`, `OUTCOME_UNKNOWN`, `UNAVAILABLE`, `FULL`, `NOT_ALLOWED`, `CORRUPT`.
   * @throws TypeError for records that are not numbered behind `expectedPosition`, or that no log could keep:
   *   a bug.
   */
  append(stream: string, expectedPosition: number, decisions: readonly StoredDecision[]): Promise<void>;

  /** The last position and hash; position 0 and the genesis hash for a stream without records. */
  head(stream: string): Promise<Head>;

  /**
   * Reads records from `from` (inclusive, from 1) to the end as it is when the read comes there, in chunks of
   * the adapter's choosing. Hashes are not verified unless asked for: see {@link ReadOptions} and {@link
   * verifyStream}.
   *
   * @throws LogError `UNAVAILABLE`; `CORRUPT` when a record cannot be read at all or is missing, after what
   *   is good
   *   before it.
   */
  read(stream: string, from: number, options?: ReadOptions): AsyncIterable<readonly StoredRecord[]>;

  /**
   * Like {@link read}, and then goes on with what is appended later, by any process, until `signal` aborts.
   */
  follow(
    stream: string,
    after: number,
    signal: AbortSignal,
    options?: ReadOptions,
  ): AsyncIterable<readonly StoredRecord[]>;

  /**
   * The streams that have at least one record, in order of name. One whose records cannot be read is among them: that
   * is its own trouble.
   */
  streams(): Promise<readonly string[]>;

  /**
   * Looks whether something takes, or will take, the beginning of a stream's history away, or all of it: a setting of
   * the store, a deletion.
   *
   * @returns what does, and how it is taken back, for a person; undefined when nothing does.
   * @throws LogError as {@link read}.
   */
  incomplete(stream: string): Promise<string | undefined>;

  /**
   * What others have put into a stream, where the store lets them: it is no part of the log, and every reader passes it
   * over. Undefined while nothing of the kind was seen.
   */
  passedOver?(stream: string): PassedOver | undefined;

  /** Saves a snapshot; older ones of the stream may be removed, the two saved last are kept. */
  saveSnapshot(stream: string, snapshot: Snapshot): Promise<void>;

  /** The snapshots of a stream, the one saved last first. Unreadable ones are left out. */
  snapshots(stream: string): Promise<readonly Snapshot[]>;

  /**
   * Finishes what is being written and lets go. Every later call, and every follower, fails with
   * `UNAVAILABLE`.
   */
  close(): Promise<void>;
}
