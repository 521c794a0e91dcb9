import { jetstream, type JetStreamClient } from '@nats-io/jetstream';
import { ALL_INPUTS, INPUT_STREAM, inputsOf } from '#wire';
import type { InputFollower, InputInfo, InputMessage, InputStream } from './broker.js';
import { BrokerError } from './errors.js';
import { DEFAULT_BOUNDS, MessageQueue, type Bounds } from './message-queue.js';
import type { NatsLink } from './nats-connection.js';
import { jetStreamErrorCode } from './nats-errors.js';
import { headersOf } from './nats-headers.js';
import { OrderedReader, type Room } from './nats-reader.js';
import { storedAt } from './nats-stored-at.js';
import { getStoredMessage } from './nats-stored-message.js';
import { publishedSubject, streamInfo } from './nats-streams.js';

/** Watching keeps nothing, so it may ask for much at once. */
const WATCH_ROOM: Room = { messages: 8_192, bytes: 16 * 1024 * 1024 };

/** `VF_IN` in JetStream. */
export class NatsInput implements InputStream {
  readonly #client: JetStreamClient;
  /** Creation time of the stream that `info` told of: sequences are places in that one. */
  #created: string | undefined;
  readonly #open = new Set<{ close(): Promise<void> }>();

  constructor(readonly link: NatsLink) {
    this.#client = jetstream(link.connection, { timeout: link.requestTimeout });
  }

  async info(): Promise<InputInfo> {
    const info = await streamInfo(this.link, INPUT_STREAM);
    if (!info) {
      throw new BrokerError('UNAVAILABLE', `Stream ${INPUT_STREAM} does not exist; prepare() makes it.`);
    }
    this.#created = info.created;
    const { messages, first_seq: first, last_seq: last } = info.state;
    return { created: info.created, firstSequence: messages === 0 ? last + 1 : first, lastSequence: last };
  }

  async get(sequence: number): Promise<InputMessage | undefined> {
    // The server takes 0 for "no sequence given".
    if (sequence < 1) return undefined;
    const message = await getStoredMessage(this.link, INPUT_STREAM, { seq: sequence });
    return message && { ...message, subject: publishedSubject(message.subject) };
  }

  async follow(
    cluster: string,
    after: number,
    options: { maxMessages?: number; maxBytes?: number } = {},
  ): Promise<InputFollower> {
    const bounds: Bounds = {
      maxMessages: options.maxMessages ?? DEFAULT_BOUNDS.maxMessages,
      maxBytes: options.maxBytes ?? DEFAULT_BOUNDS.maxBytes,
    };
    const queue = new MessageQueue(bounds);
    const reader = new OrderedReader(this.link, {
      stream: INPUT_STREAM,
      filter: [inputsOf(cluster)],
      after,
      created: this.#created,
      whenReplaced: 'fail',
      onMessage: (message, sequence, time) => {
        const headers = headersOf(message);
        const subject = publishedSubject(message.subject);
        const payload = message.data;
        queue.push(
          headers ? { sequence, time, subject, headers, payload } : { sequence, time, subject, payload },
        );
      },
      room: () => roomIn(queue),
      onFailed: (error) => queue.end({ error }),
    });
    const follower: InputFollower = {
      get trouble() {
        return reader.trouble;
      },
      take: async () => {
        const messages = await queue.take();
        reader.pull();
        return messages;
      },
      close: async () => {
        this.#open.delete(follower);
        queue.end({ drop: true });
        await reader.close();
      },
    };
    this.#open.add(follower);
    return follower;
  }

  async watch(
    onMessage: (message: { sequence: number; subject: string }) => void,
  ): Promise<{ close(): Promise<void> }> {
    const reader = new OrderedReader(this.link, {
      stream: INPUT_STREAM,
      filter: [ALL_INPUTS],
      after: 0,
      headersOnly: true,
      whenReplaced: 'restart',
      onMessage: ({ subject }, sequence) => {
        try {
          onMessage({ sequence, subject: publishedSubject(subject) });
        } catch (error) {
          this.link.log('error', 'The watcher of VF_IN failed at a message', { sequence, subject, error });
        }
      },
      room: () => WATCH_ROOM,
      onFailed: () => {},
    });
    const watcher = {
      close: async () => {
        this.#open.delete(watcher);
        await reader.close();
      },
    };
    this.#open.add(watcher);
    return watcher;
  }

  async publish(subject: string, payload: Uint8Array): Promise<number> {
    return this.link.call(`Publishing ${subject}`, async () =>
      storedAt(await this.#client.publish(subject, payload, { timeout: this.link.requestTimeout })),
    );
  }

  async purge(cluster: string, sequence: number): Promise<void> {
    // The server takes 0 for "all of them".
    if (sequence <= 1) return;
    await this.link.call(`Purging ${INPUT_STREAM}`, () =>
      this.link.jetStream.streams.purge(INPUT_STREAM, { filter: inputsOf(cluster), seq: sequence }),
    );
  }

  async remove(sequence: number): Promise<void> {
    if (sequence < 1) return;
    try {
      await this.link.call(`Removing a message of ${INPUT_STREAM}`, () =>
        this.link.jetStream.streams.deleteMessage(INPUT_STREAM, sequence, false),
      );
    } catch (error) {
      // There are several numbers for "not there", and one of them stands for other reasons too.
      if (jetStreamErrorCode(error) !== undefined && !(await this.get(sequence))) return;
      throw error;
    }
  }

  /** Ends all followers and watchers. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((each) => each.close()));
  }
}

/**
 * Half of the queue must be free before more is asked for: few large requests rather than many small ones.
 */
function roomIn(queue: MessageQueue): Room | undefined {
  const messages = queue.bounds.maxMessages - queue.messages;
  const bytes = queue.bounds.maxBytes - queue.bytes;
  if (messages < queue.bounds.maxMessages / 2 || bytes < queue.bounds.maxBytes / 2) return undefined;
  return { messages, bytes };
}
