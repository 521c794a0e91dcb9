import { setTimeout as wait } from 'node:timers/promises';
import { AckPolicy, DeliverPolicy, type ConsumerConfig } from '@nats-io/jetstream';
import { createInbox, nanos, nuid, type Msg, type Subscription } from '@nats-io/transport-node';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { parseDelivery } from './nats-delivery.js';
import { jetStreamErrorCode, JetStreamErrorCode } from './nats-errors.js';
import { statusOf } from './nats-headers.js';
import { streamInfo } from './nats-streams.js';

/** A message as it came, its place in the stream and when it was stored (milliseconds since 1970). */
export type OnMessage = (message: Msg, sequence: number, time: number) => void;

/** How much may be asked for now. */
export interface Room {
  readonly messages: number;
  readonly bytes: number;
}

export interface ReaderOptions {
  readonly stream: string;
  /** Subjects to read. */
  readonly filter: readonly string[];
  /** Reads what comes after this sequence. */
  readonly after: number;
  /** With `after: 0`: reads what was stored from this time on, in milliseconds since 1970. */
  readonly since?: number;
  /** Creation time of the stream that `after` belongs to; unknown, it is the stream that is found first. */
  readonly created?: string;
  readonly headersOnly?: boolean;
  /**
   * What to do when the stream is not the one it was: give up, or read the new one from its first message.
   */
  readonly whenReplaced: 'fail' | 'restart';
  /** Called for each message, in order, without gap or double. Must not throw. */
  readonly onMessage: OnMessage;
  /** How much may be asked for now; undefined: nothing until `pull` is called. */
  readonly room: () => Room | undefined;
  /** Called once when the reader gives up (`whenReplaced: 'fail'`). */
  readonly onFailed: (error: BrokerError) => void;
}

const EXPIRES = 30_000;
const HEARTBEAT = 2_500;
/** A consumer that nobody asks for this long goes away by itself. */
const INACTIVE = 60_000;
/** Reading in vain for so long is trouble, in milliseconds. */
const TROUBLE_AFTER = 5_000;
const SHORTEST_WAIT = 50;
const LONGEST_WAIT = 2_000;
/**
 * A stream that cannot be found is looked for so often before it counts as deleted: servers that start may
 * need a moment.
 */
const NOT_FOUND_LIMIT = 3;

/**
 * Reads a stream in order, whatever happens to connection, server, leader or consumer: it asks for batches
 * from a consumer that is made again after the last message received when anything about it is in doubt. Own
 * code instead of the client's ordered consumer for three reasons: that one reads on whatever happens to the
 * *stream* (deleted and made again), cannot be held back by bytes and messages, and waits for up to a minute
 * before it notices.
 */
export class OrderedReader {
  #last: number;
  #created: string | undefined;
  #closed = false;
  #attempt: Attempt | undefined;
  /** Why it cannot read, and since when. */
  #failing: { readonly since: number; readonly why: string } | undefined;
  readonly #stop = new AbortController();
  readonly #stopped = new Promise<void>((resolve) => {
    this.#stop.signal.addEventListener('abort', () => resolve());
  });
  readonly #done: Promise<void>;

  constructor(
    readonly link: NatsLink,
    readonly options: ReaderOptions,
  ) {
    this.#last = options.after;
    this.#created = options.created;
    this.#done = this.#run();
  }

  /** Why nothing can be read, when that has lasted; undefined while it can. */
  get trouble(): string | undefined {
    const failing = this.#failing;
    return failing !== undefined && performance.now() - failing.since >= TROUBLE_AFTER
      ? failing.why
      : undefined;
  }

  /** Asks for more, if there is room and nothing is asked for already. */
  pull(): void {
    this.#attempt?.pull();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stop.abort();
    this.#attempt?.end('closed');
    await this.#done;
  }

  async #run(): Promise<void> {
    const { stream, whenReplaced } = this.options;
    let failures = 0;
    let notFound = 0;
    while (!this.#closed && !this.link.closed) {
      // Who closes it must not wait for a server that is away.
      await Promise.race([this.link.whenConnected(), this.#stopped]);
      if (this.#closed || this.link.closed) break;
      const before = this.#last;
      try {
        const reason = await this.#attemptOnce();
        if (this.#closed) break;
        this.link.log('debug', `Reading ${stream} again: ${reason}`, { after: this.#last });
        notFound = 0;
      } catch (failure) {
        if (this.#closed) break;
        const error = await this.#replacedOr(failure);
        const why = `Cannot read ${stream}: ${error instanceof Error ? error.message : String(error)}`;
        this.#failing = { since: this.#failing?.since ?? performance.now(), why };
        if (error instanceof ReplacedError) {
          if (whenReplaced === 'fail') return this.options.onFailed(error.toBrokerError(stream));
          this.link.log('warn', `${stream} was made again; reading it from its first message`);
          this.#last = 0;
          this.#created = undefined;
          failures = 0;
          continue;
        }
        if (jetStreamErrorCode(error) === JetStreamErrorCode.streamNotFound) {
          if (++notFound >= NOT_FOUND_LIMIT && whenReplaced === 'fail') {
            return this.options.onFailed(new ReplacedError('it does not exist').toBrokerError(stream));
          }
        } else {
          notFound = 0;
        }
        const refused = error instanceof BrokerError && error.code === 'REFUSED';
        this.link.log(failures % 20 === (refused ? 0 : 19) ? 'warn' : 'debug', `Cannot read ${stream} now`, {
          error: String(error),
        });
      }
      // What moved is healthy: only vain attempts wait longer and longer.
      failures = this.#last > before ? 0 : failures + 1;
      const pause = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** Math.min(failures, 10));
      await wait(pause * (0.75 + Math.random() / 2), undefined, { signal: this.#stop.signal }).catch(
        () => {},
      );
    }
  }

  /** @returns why it ended. */
  async #attemptOnce(): Promise<string> {
    const attempt = new Attempt(this.link, this.options, this.#last, (sequence) => {
      this.#last = sequence;
    });
    this.#attempt = attempt;
    try {
      await attempt.makeConsumer();
      // Asked after the consumer was made: it sits on this stream, or went away with the one before.
      await this.#checkStream();
      this.#failing = undefined;
      if (this.#closed) return 'closed';
      attempt.pull();
      return await attempt.ended;
    } finally {
      this.#attempt = undefined;
      attempt.dispose();
    }
  }

  /** What made a stream of the same name refuse: that it is another one says more than how it refuses. */
  async #replacedOr(failure: unknown): Promise<unknown> {
    if (failure instanceof ReplacedError) return failure;
    try {
      await this.#checkStream();
      return failure;
    } catch (error) {
      return error instanceof ReplacedError ? error : failure;
    }
  }

  async #checkStream(): Promise<void> {
    const info = await streamInfo(this.link, this.options.stream);
    // Deleted in between: making the consumer fails next time.
    if (!info) throw new BrokerError('UNAVAILABLE', `Stream ${this.options.stream} is not there.`);
    if (this.#created !== undefined && info.created !== this.#created) {
      throw new ReplacedError(`it was made again at ${info.created}`);
    }
    if (info.state.last_seq < this.#last) {
      throw new ReplacedError(`it ends at ${info.state.last_seq}, before the ${this.#last} that was read`);
    }
    this.#created = info.created;
  }
}

class ReplacedError extends Error {
  toBrokerError(stream: string): BrokerError {
    return new BrokerError(
      'INPUT_REPLACED',
      `${stream} is not the stream that was read: ${this.message}. Positions in it must be verified again.`,
    );
  }
}

/** One consumer, for as long as nothing about it is in doubt. */
class Attempt {
  readonly ended: Promise<string>;
  #end: (reason: string) => void = () => {};
  #over = false;
  readonly #consumer = `vf-${nuid.next()}`;
  readonly #inbox: string;
  #subscription: Subscription | undefined;
  #made = false;
  #delivered = 0;
  /** Number of the request that is out, and how many messages it may still bring. */
  #request = 0;
  #outstanding = 0;
  #requestSubject = '';
  #lastSign = 0;
  #watchdog: NodeJS.Timeout | undefined;
  readonly #stopListening: () => void;

  constructor(
    readonly link: NatsLink,
    readonly options: ReaderOptions,
    readonly after: number,
    readonly onSequence: (sequence: number) => void,
  ) {
    this.#last = after;
    this.#inbox = createInbox();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#stopListening = link.onBreak(() => this.end('the connection broke'));
  }

  #last: number;

  async makeConsumer(): Promise<void> {
    const { stream, filter, headersOnly, since } = this.options;
    const begin =
      since !== undefined && this.after === 0
        ? { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(since).toISOString() }
        : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: this.after + 1 };
    const config: Partial<ConsumerConfig> = {
      name: this.#consumer,
      filter_subjects: [...filter],
      ...begin,
      ack_policy: AckPolicy.None,
      max_deliver: 1,
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: nanos(INACTIVE),
      ...(headersOnly && { headers_only: true }),
    };
    await this.link.call(`Reading ${stream}`, () => this.link.jetStream.consumers.add(stream, config));
    this.#made = true;
    this.#subscription = this.link.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error) this.end(`the subscription failed: ${error.message}`);
        else this.#onMessage(message);
      },
    });
    this.#lastSign = performance.now();
    this.#watchdog = setInterval(() => {
      if (this.#outstanding > 0 && performance.now() - this.#lastSign > 2 * HEARTBEAT)
        this.end('no sign of life');
    }, HEARTBEAT);
    this.#watchdog.unref();
  }

  pull(): void {
    if (this.#over || !this.#subscription || this.#outstanding > 0) return;
    const room = this.options.room();
    if (!room || room.messages < 1) return;
    // A message larger than the room comes alone rather than never.
    const largest = (this.link.connection.info?.max_payload ?? 1_048_576) + 65_536;
    this.#outstanding = room.messages;
    this.#requestSubject = `${this.#inbox}.${++this.#request}`;
    this.#lastSign = performance.now();
    const request = {
      batch: room.messages,
      max_bytes: Math.max(room.bytes, largest),
      expires: nanos(EXPIRES),
      idle_heartbeat: nanos(HEARTBEAT),
    };
    try {
      this.link.connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${this.options.stream}.${this.#consumer}`,
        JSON.stringify(request),
        { reply: this.#requestSubject },
      );
    } catch (error) {
      this.end(String(error));
    }
  }

  end(reason: string): void {
    this.#over = true;
    this.#end(reason);
  }

  dispose(): void {
    this.#over = true;
    this.#stopListening();
    clearInterval(this.#watchdog);
    if (this.link.closed) return;
    this.#subscription?.unsubscribe();
    // Not waited for: it goes away by itself if this does not reach the server.
    if (this.#made && this.link.connected) {
      this.link.jetStream.consumers.delete(this.options.stream, this.#consumer).catch(() => {});
    }
  }

  /** Runs inside the client's parser: whatever is thrown here would end the connection's reading. */
  #onMessage(message: Msg): void {
    if (this.#over) return;
    try {
      const delivery = parseDelivery(message.reply ?? '');
      if (!delivery) return this.#onStatus(message);
      this.#lastSign = performance.now();
      if (delivery.consumerSequence !== this.#delivered + 1 || delivery.streamSequence <= this.#last) {
        return this.end('a message was lost on the way');
      }
      this.#delivered = delivery.consumerSequence;
      this.#last = delivery.streamSequence;
      this.onSequence(delivery.streamSequence);
      this.#outstanding--;
      this.options.onMessage(message, delivery.streamSequence, delivery.time);
      if (this.#outstanding === 0) this.pull();
    } catch (error) {
      this.link.log('error', `Reading ${this.options.stream} failed in its receiver`, { error });
      this.end(String(error));
    }
  }

  #onStatus(message: Msg): void {
    // Of a request that is over.
    if (message.subject !== this.#requestSubject) return;
    this.#lastSign = performance.now();
    const { code, text } = statusOf(message);
    if (code === 100) return;
    if (code === 408 || (code === 409 && /exceeds maxbytes|batch completed/i.test(text))) {
      this.#outstanding = 0;
      this.pull();
      return;
    }
    // 409 consumer deleted, leadership change, server shutdown; 503 nobody there.
    this.end(`${code} ${text}`.trim());
  }
}
