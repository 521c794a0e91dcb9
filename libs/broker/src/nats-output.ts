import { AckPolicy, DeliverPolicy, type ConsumerConfig, type ConsumerInfo } from '@nats-io/jetstream';
import { outputStream } from '#wire';
import type {
  OutputMessage,
  OutputState,
  OutputStreams,
  RemadeConsumers,
  Remaking,
  StoredOutput,
} from './broker.js';
import type { NatsLink } from './nats-connection.js';
import { jetStreamErrorCode } from './nats-errors.js';
import { readOutput } from './nats-follow-output.js';
import { PipelinedPublisher } from './nats-pipelined-publish.js';
import { getStoredMessage, orMissing } from './nats-stored-message.js';
import { ensureStream, outputPlan, streamInfo, type StreamLimits } from './nats-streams.js';

/** What is noted in the metadata of `VF_OUT_<cluster>`. */
const Note = {
  /** Identity of the log whose events it takes. */
  log: 'vf-log',
  /** When it was last made again, in milliseconds since 1970. */
  remadeAt: 'vf-remade-at',
  /** Consumers to be made again, as JSON: a process may end before it comes to that. */
  consumers: 'vf-consumers',
} as const;

/** The server takes 128 KiB of metadata. */
const MOST_NOTED = 96 * 1024;
/** What is read at once at most: what else comes by the same connection waits for it. */
const MOST_READ_BYTES = 512 * 1024;

/** A consumer that is to be made again. */
interface NotedConsumer {
  readonly config: Partial<ConsumerConfig>;
}

/** `VF_OUT_<cluster>` in JetStream. */
export class NatsOutput implements OutputStreams {
  readonly #publisher: PipelinedPublisher;

  constructor(
    readonly link: NatsLink,
    readonly limits: StreamLimits,
  ) {
    this.#publisher = new PipelinedPublisher(link);
  }

  async state(cluster: string): Promise<OutputState | undefined> {
    const stream = outputStream(cluster);
    const info = await streamInfo(this.link, stream);
    if (!info) return undefined;
    const { messages, first_seq: first, last_seq: lastSequence } = info.state;
    // An empty stream that begins at 1000 says so by a last sequence of 999.
    const last = messages > 0 ? await getStoredMessage(this.link, stream, { seq: lastSequence }) : undefined;
    const notes = info.config.metadata ?? {};
    const remadeAt = Number(notes[Note.remadeAt]);
    return {
      created: info.created,
      firstSequence: messages > 0 ? first : lastSequence + 1,
      lastSequence,
      holes: messages > 0 ? lastSequence - first + 1 - messages : 0,
      ...(last && { lastPayload: last.payload }),
      ...(notes[Note.log] !== undefined && { log: notes[Note.log] }),
      ...(Number.isSafeInteger(remadeAt) && remadeAt > 0 && { remadeAt }),
      restoring: (notes[Note.consumers] ?? '') !== '',
    };
  }

  create(cluster: string, firstSequence: number, log?: string): Promise<void> {
    const notes: Record<string, string> = log === undefined ? {} : { [Note.log]: log };
    return ensureStream(this.link, outputPlan(this.limits, cluster, firstSequence, notes));
  }

  publish(cluster: string, messages: readonly OutputMessage[]): Promise<void> {
    return this.#publisher.publish(outputStream(cluster), messages);
  }

  async read(cluster: string, from: number, most: number): Promise<readonly StoredOutput[]> {
    const found = await readOutput(this.link, cluster, from, {
      maxMessages: most,
      maxBytes: MOST_READ_BYTES,
    });
    if (found.length > 0) return found;
    // A replica that lags, or a hole: the leader knows.
    const next = await getStoredMessage(this.link, outputStream(cluster), {
      seq: from,
      next_by_subj: '>',
    });
    return next === undefined
      ? []
      : [{ position: next.sequence, subject: next.subject, payload: next.payload }];
  }

  async remake(cluster: string, { firstSequence, badPosition, at, log }: Remaking): Promise<RemadeConsumers> {
    const { link } = this;
    const stream = outputStream(cluster);
    const info = await streamInfo(link, stream);
    // What a remaking that was cut short had noted is not there any more as a consumer.
    const noted = readConsumers(info?.config.metadata?.[Note.consumers]);
    const found: ConsumerInfo[] = [];
    if (info !== undefined) {
      const listed = await link.call(`Listing the consumers of ${stream}`, async () => {
        const all: ConsumerInfo[] = [];
        for await (const one of link.jetStream.consumers.list(stream)) all.push(one);
        return all;
      });
      found.push(...listed.filter(({ config }) => Boolean(config.durable_name)));
    }
    const all = [...noted, ...found.map((consumer) => atItsPlace(consumer, badPosition))];
    const kept: NotedConsumer[] = [];
    const lost: string[] = [];
    let size = 2;
    for (const one of all) {
      size += JSON.stringify(one).length + 1;
      if (size <= MOST_NOTED) kept.push(one);
      else lost.push(nameOf(one));
    }
    await orMissing(link.call(`Deleting ${stream}`, () => link.jetStream.streams.delete(stream)));
    const notes = {
      ...notesOfOthers(info?.config.metadata),
      [Note.remadeAt]: String(at),
      [Note.consumers]: kept.length === 0 ? '' : JSON.stringify(kept),
      ...(log !== undefined && { [Note.log]: log }),
    };
    await ensureStream(link, outputPlan(this.limits, cluster, firstSequence, notes));
    return { kept: kept.map(nameOf), lost };
  }

  async restoreConsumers(cluster: string): Promise<void> {
    const { link } = this;
    const stream = outputStream(cluster);
    const info = await streamInfo(link, stream);
    for (const { config } of readConsumers(info?.config.metadata?.[Note.consumers])) {
      try {
        await link.call(`Making consumer ${config.durable_name} of ${stream} again`, () =>
          link.jetStream.consumers.add(stream, config),
        );
      } catch (error) {
        // Its owner was faster, or the server does not take it: the others must not wait for that.
        if (jetStreamErrorCode(error) === undefined) throw error;
        link.log('warn', `Consumer ${config.durable_name} of ${stream} is not made again`, {
          error: String(error),
        });
      }
    }
    await ensureStream(link, outputPlan(this.limits, cluster, 1, { [Note.consumers]: '' }));
  }
}

/** What owners and operators noted in metadata: the server writes its own anew, and so do we. */
const notesOfOthers = (metadata: Readonly<Record<string, string>> | undefined): Record<string, string> =>
  Object.fromEntries(
    Object.entries(metadata ?? {}).filter(
      ([key]) => !key.startsWith('_nats.') && !Object.values<string>(Note).includes(key),
    ),
  );

const nameOf = ({ config }: NotedConsumer): string => config.durable_name ?? '';

/** A consumer's settings, to begin where it stood; or at what it must read again. */
function atItsPlace({ config, ack_floor: floor, delivered }: ConsumerInfo, bad: number): NotedConsumer {
  const { opt_start_time: _, opt_start_seq: __, deliver_policy: ___, metadata, ...settings } = config;
  const noted = notesOfOthers(metadata);
  const done = config.ack_policy === AckPolicy.None ? delivered.stream_seq : floor.stream_seq;
  return {
    config: {
      ...settings,
      ...(Object.keys(noted).length > 0 && { metadata: noted }),
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: Math.max(1, Math.min(done + 1, bad)),
    },
  };
}

function readConsumers(text: string | undefined): readonly NotedConsumer[] {
  if (text === undefined || text === '') return [];
  try {
    const noted: unknown = JSON.parse(text);
    if (!Array.isArray(noted)) return [];
    return noted.filter(
      (one): one is NotedConsumer =>
        typeof (one as Partial<NotedConsumer> | null)?.config?.durable_name === 'string',
    );
  } catch {
    return [];
  }
}
