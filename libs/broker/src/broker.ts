/** A message of `VF_IN` as it was stored. */
export interface InputMessage {
  /** Sequence in the `VF_IN` stream. */
  readonly sequence: number;
  /** When JetStream stored it, in milliseconds since 1970. It is the clock of the decision. */
  readonly time: number;
  readonly subject: string;
  /** Header names as sent, first value of each; undefined when there are none. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
}

/** Which `VF_IN` this is, and what it holds. */
export interface InputInfo {
  /** Creation time of the stream: RFC 3339 as JetStream gives it. */
  readonly created: string;
  /** First sequence that is still there; last + 1 when the stream is empty. */
  readonly firstSequence: number;
  readonly lastSequence: number;
}

/** One cluster's inputs, in order, from a place on. Survives reconnects by itself. */
export interface InputFollower {
  /** Why nothing can be read, when that has lasted for 5 s; undefined while it can. */
  readonly trouble?: string | undefined;
  /**
   * All that waits, at least one message, at most `maxMessages` or `maxBytes` (a single larger message comes
   * alone); waits while there is none. Never a timer: a lone message comes at once.
   *
   * @returns undefined once the follower is closed.
   * @throws BrokerError `INPUT_REPLACED` when the stream is not the one it was opened on.
   */
  take(): Promise<readonly InputMessage[] | undefined>;
  close(): Promise<void>;
}

/** `VF_IN`. */
export interface InputStream {
  info(): Promise<InputInfo>;
  /** The message at a sequence, or undefined when it is not there (purged, or not yet written). */
  get(sequence: number): Promise<InputMessage | undefined>;
  /**
   * Follows `vf.in.<cluster>.>` after a sequence of the stream that `info` told of. Reads ahead within
   * bounds.
   */
  follow(
    cluster: string,
    after: number,
    options?: { maxMessages?: number; maxBytes?: number },
  ): Promise<InputFollower>;
  /**
   * Tells of each subject that is stored under `vf.in.>`, headers only, from the stream's first message on,
   * until closed. Calls come in order, not awaited. A stream that was made again is followed from its first
   * message.
   */
  watch(
    onMessage: (message: { sequence: number; subject: string }) => void,
  ): Promise<{ close(): Promise<void> }>;
  /**
   * Stores an input. What is published twice is stored twice: the id in the input tells (EX-6), and no other.
   *
   * @returns its sequence.
   */
  publish(subject: string, payload: Uint8Array): Promise<number>;
  /** Purges the cluster's messages whose sequence is below `sequence`. */
  purge(cluster: string, sequence: number): Promise<void>;
  /** Removes one message, if it is there. */
  remove(sequence: number): Promise<void>;
}

/** An event on its way to `VF_OUT_<cluster>`. */
export interface OutputMessage {
  /** The log position; it becomes the stream sequence. */
  readonly position: number;
  readonly subject: string;
  /** The event's id, for messages to people; what excludes doubles is the position. */
  readonly id: string;
  readonly payload: Uint8Array | string;
}

/** Where `VF_OUT_<cluster>` stands. Whatever lies in it, anybody may have written. */
export interface OutputState {
  /** Creation time of the stream, as {@link InputInfo.created}. */
  readonly created: string;
  /** First sequence that is still there; last + 1 when the stream holds nothing. */
  readonly firstSequence: number;
  /** The stream's last sequence, also when its messages are all gone. It is no proof of what was relayed. */
  readonly lastSequence: number;
  /** How many messages are missing between the first and the last. */
  readonly holes: number;
  /** The last message's payload, when it is still there. */
  readonly lastPayload?: Uint8Array;
  /** Identity of the log whose events it takes, as it was noted there: the hash of the log's first record. */
  readonly log?: string;
  /** When it was last made again, in milliseconds since 1970, as it was noted there. */
  readonly remadeAt?: number;
  /** Whether consumers wait to be made again: see {@link OutputStreams.restoreConsumers}. */
  readonly restoring: boolean;
}

/** A message as `VF_OUT_<cluster>` keeps it. */
export interface StoredOutput {
  readonly position: number;
  readonly subject: string;
  readonly payload: Uint8Array;
}

/** How a stream is made again. */
export interface Remaking {
  /** Its first message gets this sequence. */
  readonly firstSequence: number;
  /** The first position at which something else than the log's event lay; who had read it reads it again. */
  readonly badPosition: number;
  /** Now, in milliseconds since 1970. */
  readonly at: number;
  readonly log: string | undefined;
}

/** The durable consumers of a stream that was made again, by name. */
export interface RemadeConsumers {
  /** They are made again, where they stood, by {@link OutputStreams.restoreConsumers}. */
  readonly kept: readonly string[];
  /** Too many to be noted: whoever owns them makes them again. */
  readonly lost: readonly string[];
}

/** `VF_OUT_<cluster>`. */
export interface OutputStreams {
  /** The state of the cluster's stream, asked from its leader; undefined when there is no such stream. */
  state(cluster: string): Promise<OutputState | undefined>;
  /**
   * Makes the cluster's stream if it is missing; its first message gets `firstSequence`. Notes the identity of the
   * log there, also in one that is there.
   */
  create(cluster: string, firstSequence: number, log?: string): Promise<void>;
  /**
   * What is stored from a position on, in order, at most `most` messages. What is missing is left out: it is asked for
   * from the stream's leader before it counts as missing.
   */
  read(cluster: string, from: number, most: number): Promise<readonly StoredOutput[]>;
  /** Deletes the stream and makes it again, empty. Its durable consumers are noted in it, to be made again later. */
  remake(cluster: string, how: Remaking): Promise<RemadeConsumers>;
  /** Makes the consumers that were noted again, where they stood, now that the stream has come to there. */
  restoreConsumers(cluster: string): Promise<void>;
  /**
   * Stores messages with neighbouring positions, pipelined, each with the expectation that the one before it
   * is the stream's last. On success all are stored. Nothing is stored of a publisher that is behind. Of
   * several that publish the same positions at once each position is stored once, by one of them: so publish
   * only what every publisher would publish there, which is what the log durably holds.
   *
   * @throws BrokerError `WRONG_SEQUENCE` or `UNAVAILABLE`; some of the messages may be stored then, also
   * after the error (what is still on its way), so that a later `WRONG_SEQUENCE` need not mean another
   * publisher.
   */
  publish(cluster: string, messages: readonly OutputMessage[]): Promise<void>;
}

/** What could not be taken, byte for byte. */
export interface DeadLetter {
  /** The `VF_IN` stream it was in, by creation time, and its sequence there. */
  readonly stream: string;
  readonly sequence: number;
  readonly subject: string;
  /** A sentence for a person. */
  readonly reason: string;
  /** CloudEvent id, where one could be read. */
  readonly eventId?: string;
  /** The original headers. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
}

/** `VF_DEAD`. */
export interface DeadLetters {
  /**
   * Stores dead letters in order under `vf.dead.<cluster>`, but for those that are in already: the same input, byte for
   * byte. What else lies there anybody may have written, and nothing is left out because of it.
   *
   * @param since when JetStream stored the first of the inputs, in milliseconds since 1970: none of the letters can be
   *   in from before that.
   */
  publish(cluster: string, letters: readonly DeadLetter[], since: number): Promise<void>;
  /**
   * The reason for which an input with this CloudEvent id was last dead-lettered, newest first, within a
   * bound.
   */
  find(cluster: string, eventId: string): Promise<{ reason: string } | undefined>;
}

/**
 * The right to work on a cluster. It saves wasted work and orders take-over; it is not what makes writing
 * safe.
 */
export interface Lease {
  readonly cluster: string;
  /** Aborts when the lease was lost or released. */
  readonly lost: AbortSignal;
  /** Gives it up, so that a standby takes over at once. */
  release(): Promise<void>;
}

/** The log that the holder of a lease works on, as he said with his last renewal. */
export interface LeaderLog {
  /** Its identity; undefined: it is empty. */
  readonly log: string | undefined;
  /** Grows with each renewal: by it one sees whether he has said so again. */
  readonly revision: number;
}

/** Who is there, and who leads what: as far as one instance has heard. It orders work, and is never proof. */
export interface Fleet {
  /** The instances that live, each with the clusters that it leads or could lead at once. */
  readonly members: ReadonlyMap<string, ReadonlySet<string>>;
  /**
   * Every cluster that has a lease, and who holds it; undefined: it is free, was not renewed in time, or no living
   * member says that it is his.
   */
  readonly holders: ReadonlyMap<string, string | undefined>;
  /** Of each cluster that has a living holder, the log that he works on. */
  readonly logs: ReadonlyMap<string, LeaderLog>;
}

export interface Leases {
  /**
   * Waits until the cluster's lease is ours, or `signal` aborts (then undefined). A lease counts while its holder, as a
   * living member, says that it is his: what a stranger writes there is passed over after the time in which a holder
   * that is gone is.
   *
   * @param hesitate for how many milliseconds a lease that is free is left to others; asked again whenever it
   *   matters, and 0 when left out.
   * @param log the identity of the log that the holder works on, said with each renewal; undefined: it is empty.
   */
  acquire(
    cluster: string,
    holder: string,
    signal: AbortSignal,
    hesitate?: () => number,
    log?: () => string | undefined,
  ): Promise<Lease | undefined>;
  /** Who leads a cluster now; undefined when nobody does who lives. */
  holder(cluster: string): Promise<string | undefined>;
  /**
   * The clusters that somebody leads who lives, each with the log that he works on, asked from the server. For who comes
   * anew, and has heard of nobody yet.
   */
  survey(): Promise<ReadonlyMap<string, LeaderLog>>;
  /**
   * Makes an instance known to the others until `signal` aborts, with the clusters that it leads or could
   * lead at once. One that falls silent is forgotten as a holder is that does not renew.
   */
  join(instance: string, ready: () => readonly string[], signal: AbortSignal): void;
  /** What was heard of the others until now. Empty before the first `join` or `acquire`. */
  fleet(): Fleet;
}

/** What is kept of a cluster in `VF_HEADS`. */
export interface KeptHead {
  /** 0: nothing was kept yet. */
  readonly revision: number;
  /** As it was written, by whoever may write there; undefined when there is none. */
  readonly text?: string;
}

/** `VF_HEADS`: signed heads of logs, away from the directory that the log may be in. What they say is not checked here. */
export interface Heads {
  /** @returns undefined when there is no such bucket. */
  read(cluster: string): Promise<KeptHead | undefined>;
  /**
   * Puts a text in the place of the one of that revision; makes the bucket if it is missing.
   *
   * @throws BrokerError `WRONG_SEQUENCE` when somebody else wrote meanwhile: read again.
   */
  write(cluster: string, text: string, revision: number): Promise<void>;
}

/** The broker: NATS in production, memory in tests. Every adapter passes `conformance.ts`. */
export interface Broker {
  /**
   * Makes `VF_IN` and `VF_DEAD` when missing, and checks what is there. Waits for a server that is starting;
   * not any longer once `signal` aborts.
   */
  prepare(signal?: AbortSignal): Promise<void>;
  /**
   * Looks once whether `VF_IN` and `VF_DEAD` are there and as they must be, and mends what can be mended.
   *
   * @throws BrokerError `REFUSED`: what is there is something else, or `VF_IN` is full; `UNAVAILABLE`.
   */
  check(): Promise<void>;
  readonly input: InputStream;
  readonly output: OutputStreams;
  readonly dead: DeadLetters;
  readonly leases: Leases;
  readonly heads: Heads;
  /** Whether the connection stands at this moment. */
  readonly connected: boolean;
  /**
   * The broker's time, in milliseconds since 1970: the clock that inputs are stored with. It is asked for now and
   * then, and goes on with what passes here, whatever is done to the clock of this process; only before the first
   * `prepare` it is that clock.
   */
  now(): number;
  close(): Promise<void>;
}
