import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { DEAD_STREAM, INPUT_STREAM, deadSubject, outputStream } from '#wire';
import type { DeadLetter } from './broker.js';
import type { Site, SiteConnection } from './conformance.js';
import { DeadLetterHeader } from './dead-letter-headers.js';
import { connectNats, type NatsBroker, type NatsBrokerOptions } from './nats-broker.js';
import { NatsLink } from './nats-connection.js';
import { encodedHeaders, encodeHeaders } from './nats-headers.js';
import { getStoredMessage } from './nats-stored-message.js';
import { untilLed } from './nats-streams.js';

/** Lease times that do not make the tests wait. */
// Wide enough that a busy machine does not look like a dead holder.
const LEASES = { renewEvery: 200, lostAfter: 1_800, takeOverAfter: 2_500 };

/** A TCP connection in between that can be cut. */
export interface Cable {
  readonly url: string;
  cut(): void;
  heal(): void;
  close(): Promise<void>;
}

export async function layCable(target: string): Promise<Cable> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let isCut = false;
  const server: Server = createServer((near) => {
    if (isCut) return void near.destroy();
    const far = createConnection(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    heal: () => {
      isCut = false;
    },
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Deletes all streams of a server. */
export async function wipe(connection: NatsConnection): Promise<void> {
  const { streams } = await jetstreamManager(connection);
  for await (const name of streams.names()) await streams.delete(name);
}

/** A site on a real nats-server, each of its connections by a cable of its own. */
export async function natsSite(
  url: string,
  { leases = LEASES, ...options }: Partial<NatsBrokerOptions> & { leases?: typeof LEASES } = {},
): Promise<Site> {
  // Someone with the tools of NATS.
  const tools = await connect({ servers: url });
  await wipe(tools);
  const { streams } = await jetstreamManager(tools);
  const link = await NatsLink.open({ url });
  const opened: Array<{ broker: NatsBroker; cable: Cable }> = [];

  async function stored<T>(stream: string, read: (sequence: number) => Promise<T | undefined>): Promise<T[]> {
    const { state } = await streams.info(stream);
    const messages: T[] = [];
    for (let sequence = state.first_seq; sequence <= state.last_seq; sequence++) {
      const message = await read(sequence);
      if (message !== undefined) messages.push(message);
    }
    return messages;
  }

  return {
    leaseTakeOverAfter: leases.takeOverAfter,
    connect: async (): Promise<SiteConnection> => {
      const cable = await layCable(url);
      const broker = await connectNats({ url: cable.url, leases, ...options });
      opened.push({ broker, cable });
      return { broker, cut: cable.cut, heal: cable.heal };
    },
    storeInput: async (subject, payload, headers) => {
      const block = headers && encodedHeaders(encodeHeaders(Object.entries(headers)));
      const ack = await tools.request(subject, payload, { timeout: 5_000, ...(block && { headers: block }) });
      const { seq, error } = ack.json<{ seq?: number; error?: unknown }>();
      if (seq === undefined) throw new Error(JSON.stringify(error));
      return seq;
    },
    replaceInput: async () => {
      const { config } = await streams.info(INPUT_STREAM);
      await streams.delete(INPUT_STREAM);
      await streams.add(config);
      await untilLed(link, INPUT_STREAM);
    },
    purgeOutput: async (cluster) => {
      await streams.purge(outputStream(cluster));
    },
    outputs: (cluster) =>
      stored(outputStream(cluster), async (seq) => {
        const message = await getStoredMessage(link, outputStream(cluster), { seq });
        return (
          message && {
            position: seq,
            subject: message.subject,
            payload: Buffer.from(message.payload).toString(),
          }
        );
      }),
    deadLetters: (cluster) =>
      stored(DEAD_STREAM, async (seq): Promise<DeadLetter | undefined> => {
        const message = await getStoredMessage(link, DEAD_STREAM, { seq });
        if (!message?.headers || message.subject !== deadSubject(cluster)) return undefined;
        const { reason, subject, sequence, stream, eventId } = DeadLetterHeader;
        const {
          [reason]: why,
          [subject]: about,
          [sequence]: place,
          [stream]: of,
          [eventId]: id,
          'Nats-Expected-Last-Subject-Sequence': _,
          ...original
        } = message.headers;
        return {
          stream: of!,
          sequence: Number(place),
          subject: about!,
          reason: why!,
          payload: message.payload,
          ...(id !== undefined && { eventId: id }),
          ...(Object.keys(original).length > 0 && { headers: original }),
        };
      }),
    close: async () => {
      await Promise.all(
        opened.map(async ({ broker, cable }) => {
          cable.heal();
          await broker.close();
          await cable.close();
        }),
      );
      await link.close();
      await tools.close();
    },
  };
}
