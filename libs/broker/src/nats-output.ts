import { outputStream } from '#wire';
import type { OutputMessage, OutputState, OutputStreams } from './broker.js';
import type { NatsLink } from './nats-connection.js';
import { PipelinedPublisher } from './nats-pipelined-publish.js';
import { getStoredMessage } from './nats-stored-message.js';
import { ensureStream, outputPlan, streamInfo, type StreamLimits } from './nats-streams.js';

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
    const { messages, last_seq: lastSequence } = info.state;
    // An empty stream that begins at 1000 says so by a last sequence of 999.
    const last = messages > 0 ? await getStoredMessage(this.link, stream, { seq: lastSequence }) : undefined;
    return last ? { lastSequence, lastPayload: last.payload } : { lastSequence };
  }

  create(cluster: string, firstSequence: number): Promise<void> {
    return ensureStream(this.link, outputPlan(this.limits, cluster, firstSequence));
  }

  publish(cluster: string, messages: readonly OutputMessage[]): Promise<void> {
    return this.#publisher.publish(outputStream(cluster), messages);
  }
}
