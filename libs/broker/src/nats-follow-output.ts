import { outputStream } from '#wire';
import { BrokerError } from './errors.js';
import { DEFAULT_BOUNDS, MessageQueue, type Bounds } from './message-queue.js';
import type { NatsLink } from './nats-connection.js';
import { OrderedReader } from './nats-reader.js';
import { getStoredMessage } from './nats-stored-message.js';
import { streamInfo } from './nats-streams.js';

/** An event as `VF_OUT_<cluster>` keeps it: the bytes, and its position in the log. */
export interface OutputEvent {
  readonly position: number;
  readonly subject: string;
  readonly payload: Uint8Array;
}

/** What `VF_OUT_<cluster>` holds; `first` is `last + 1` when it holds nothing. */
export interface OutputSpan {
  readonly first: number;
  readonly last: number;
}

/** Where a cluster's events begin and end, asked from the stream's leader; undefined: no such cluster. */
export async function outputSpan(link: NatsLink, cluster: string): Promise<OutputSpan | undefined> {
  const info = await streamInfo(link, outputStream(cluster));
  if (!info) return undefined;
  const { messages, first_seq: first, last_seq: last } = info.state;
  return { first: messages === 0 ? last + 1 : first, last };
}

/** The event at a position; undefined when it is not there (any more, or yet). */
export async function outputAt(
  link: NatsLink,
  cluster: string,
  position: number,
): Promise<OutputEvent | undefined> {
  if (position < 1) return undefined;
  const found = await getStoredMessage(link, outputStream(cluster), { seq: position });
  return found && { position, subject: found.subject, payload: found.payload };
}

/**
 * A batch of events from a position on, neighbours without a gap; empty when there is none there (yet, or any
 * more). For those who read by pieces: it keeps nothing on the server.
 */
export function readOutput(
  link: NatsLink,
  cluster: string,
  from: number,
  bounds: Bounds,
): Promise<readonly OutputEvent[]> {
  return link.call(`Reading ${outputStream(cluster)}`, async () => {
    const found: OutputEvent[] = [];
    try {
      const batch = await link.jetStream.direct.getBatch(outputStream(cluster), {
        seq: from,
        batch: bounds.maxMessages,
        max_bytes: bounds.maxBytes,
      });
      for await (const { seq, subject, data } of batch) {
        if (seq !== from + found.length) break;
        found.push({ position: seq, subject, payload: data });
      }
    } catch (error) {
      // That is how it says that there is nothing.
      if (found.length > 0 || /not found|404/i.test(String(error))) return found;
      throw error;
    }
    return found;
  });
}

/** One reader's way through a cluster's events. Survives reconnects by itself. */
export interface OutputFollower {
  /**
   * All that waits, at least one event; waits while there is none.
   *
   * @returns undefined once the follower is closed.
   * @throws BrokerError `INPUT_REPLACED` when the stream was deleted, or made again.
   */
  take(): Promise<readonly OutputEvent[] | undefined>;
  close(): Promise<void>;
}

/**
 * Follows the events of a cluster after a position, in order and without doubles. It reads ahead within
 * bounds, and asks for no more while nobody takes.
 *
 * @param options.subjects reads these only, such as `vf.out.default.host.host-1.>`.
 */
export function followOutput(
  link: NatsLink,
  cluster: string,
  after: number,
  options: Partial<Bounds> & { readonly subjects?: readonly string[] } = {},
): OutputFollower {
  const bounds: Bounds = {
    maxMessages: options.maxMessages ?? DEFAULT_BOUNDS.maxMessages,
    maxBytes: options.maxBytes ?? DEFAULT_BOUNDS.maxBytes,
  };
  const queue = new MessageQueue(bounds);
  const reader = new OrderedReader(link, {
    stream: outputStream(cluster),
    filter: options.subjects ?? [`vf.out.${cluster}.>`],
    after,
    whenReplaced: 'fail',
    onMessage: ({ subject, data }, sequence, time) => queue.push({ sequence, time, subject, payload: data }),
    room: () => {
      const messages = bounds.maxMessages - queue.messages;
      const bytes = bounds.maxBytes - queue.bytes;
      return messages < bounds.maxMessages / 2 || bytes < bounds.maxBytes / 2
        ? undefined
        : { messages, bytes };
    },
    onFailed: (error) => queue.end({ error }),
  });
  return {
    take: async () => {
      const messages = await queue.take();
      reader.pull();
      if (messages === undefined && link.closed)
        throw new BrokerError('UNAVAILABLE', 'Following events: the connection is closed.');
      return messages?.map(({ sequence, subject, payload }) => ({ position: sequence, subject, payload }));
    },
    close: async () => {
      queue.end({ drop: true });
      await reader.close();
    },
  };
}
