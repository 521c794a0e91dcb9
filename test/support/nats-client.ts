import {
  jetstream,
  jetstreamManager,
  type JetStreamClient,
  type JetStreamManager,
  type StreamInfo,
} from '@nats-io/jetstream';
import { connect, headers as makeHeaders, type NatsConnection } from '@nats-io/transport-node';
import type { Input } from './inputs.js';
import { until, type Patience } from './until.js';

/** A CloudEvent of `VF_OUT_<cluster>`. */
export interface OutEvent {
  readonly specversion: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly time: string;
  readonly subject: string;
  readonly correlationid: string;
  readonly causationid: string;
  readonly position: string;
  readonly hash: string;
  readonly traceparent?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** An event with its place in the stream, and the bytes as they lie there. */
export interface Relayed {
  readonly sequence: number;
  readonly subject: string;
  readonly text: string;
  readonly event: OutEvent;
}

/** A message as it lies in a stream, byte for byte. */
export interface RawMessage {
  readonly subject: string;
  readonly sequence: number;
  /** In the order in which they stand there, names as they are written. */
  readonly headers: ReadonlyArray<readonly [string, string]>;
  readonly payload: Buffer;
}

const BATCH = 500;

/** What another program does with the scheduler: publish, follow, ask. */
export class NatsClient {
  private constructor(
    readonly connection: NatsConnection,
    readonly jetStream: JetStreamClient,
    readonly manager: JetStreamManager,
  ) {}

  /** Connects, and stays connected over restarts of the server. */
  static async connect(url: string): Promise<NatsClient> {
    const connection = await connect({
      servers: url.split(','),
      name: 'vf-e2e',
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
      reconnectJitter: 20,
      waitOnFirstConnect: true,
      noAsyncTraces: true,
    });
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2000 });
    return new NatsClient(connection, jetstream(connection, { timeout: 2000 }), manager);
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  /** Publishes once; resolves with the place in `VF_IN`. @throws when it is not acknowledged. */
  async publish({ subject, event }: Input, { timeout = 2000 }: { timeout?: number } = {}): Promise<number> {
    // Without a Nats-Msg-Id, as the contract says: what is sent twice is stored twice, and takes effect once.
    return (await this.jetStream.publish(subject, JSON.stringify(event), { timeout })).seq;
  }

  /** Publishes the same again until it is acknowledged, as a good publisher does. */
  async publishUntilStored(input: Input, { timeout }: Patience = {}): Promise<number> {
    let last: unknown;
    return until(
      () => `an acknowledgement of ${input.event.id} (${String(last)})`,
      async () => {
        try {
          return await this.publish(input, { timeout: 500 });
        } catch (error) {
          if (this.connection.isClosed()) throw error;
          last = error;
          return undefined;
        }
      },
      { timeout: timeout ?? 30_000 },
    );
  }

  /** Publishes bytes as they are. */
  async publishBytes(
    subject: string,
    payload: Uint8Array | string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const all = makeHeaders();
    for (const [name, value] of Object.entries(headers)) all.set(name, value);
    const options = Object.keys(headers).length === 0 ? {} : { headers: all };
    return (await this.jetStream.publish(subject, payload, options)).seq;
  }

  /** Follows `VF_OUT_<cluster>` from its first event. */
  follow(cluster = 'default'): OutFollower {
    return new OutFollower(this, cluster);
  }

  /** All of `VF_OUT_<cluster>`, once it has come to a position. */
  async readOut(cluster = 'default', position = 0): Promise<readonly Relayed[]> {
    let at = -1;
    const info = await until(
      () => `position ${position} in VF_OUT_${cluster}, which is at ${at}`,
      async () => {
        const found = await this.stream(`VF_OUT_${cluster}`);
        at = found?.state.last_seq ?? -1;
        return at >= position ? found : undefined;
      },
      { timeout: 60_000 },
    );
    const { first_seq: first, last_seq: last, messages } = info.state;
    const all: Relayed[] = [];
    while (messages > 0 && first + all.length <= last) {
      const some = await this.outBatch(cluster, first + all.length);
      if (some.length === 0)
        throw new Error(`VF_OUT_${cluster} has nothing at ${first + all.length} of ${last}`);
      all.push(...some);
    }
    return all;
  }

  /** A batch of `VF_OUT_<cluster>` from a sequence; empty when there is nothing yet. */
  async outBatch(cluster: string, from: number): Promise<readonly Relayed[]> {
    const found: Relayed[] = [];
    try {
      const batch = await this.manager.direct.getBatch(`VF_OUT_${cluster}`, { seq: from, batch: BATCH });
      for await (const message of batch) {
        const text = message.string();
        const event = JSON.parse(text) as OutEvent;
        found.push({ sequence: message.seq, subject: message.subject, text, event });
      }
    } catch (error) {
      // Nothing there, or nobody: what has come in order is good.
      if (error instanceof SyntaxError) throw error;
    }
    return found.filter(({ sequence }, index) => sequence === from + index);
  }

  /** Undefined when there is none. */
  async stream(name: string): Promise<StreamInfo | undefined> {
    try {
      return await this.manager.streams.info(name);
    } catch (error) {
      if (/not found/i.test(String(error))) return undefined;
      throw error;
    }
  }

  /** A message of a stream as it lies there, asked without the client's parser of headers; undefined when there is none. */
  async raw(stream: string, sequence: number): Promise<RawMessage | undefined> {
    const answer = await this.connection.request(
      `$JS.API.STREAM.MSG.GET.${stream}`,
      JSON.stringify({ seq: sequence }),
      { timeout: 2000 },
    );
    const { error, message } = answer.json<{
      error?: { description: string; err_code: number };
      message?: { subject: string; seq: number; hdrs?: string; data?: string };
    }>();
    if (error?.err_code === 10_037) return undefined;
    if (message === undefined) throw new Error(`reading ${stream} ${sequence}: ${error?.description}`);
    return {
      subject: message.subject,
      sequence: message.seq,
      headers: headerLines(Buffer.from(message.hdrs ?? '', 'base64').toString('utf8')),
      payload: Buffer.from(message.data ?? '', 'base64'),
    };
  }

  /** All that lies in `VF_DEAD`, in order. */
  async dead(): Promise<readonly RawMessage[]> {
    const info = await this.stream('VF_DEAD');
    const all: RawMessage[] = [];
    if (info === undefined || info.state.messages === 0) return all;
    for (let sequence = info.state.first_seq; sequence <= info.state.last_seq; sequence++) {
      const message = await this.raw('VF_DEAD', sequence);
      if (message !== undefined) all.push(message);
    }
    return all;
  }

  /** Asks a query of wire.md. */
  async query<T = Record<string, unknown>>(
    name: string,
    request: object = {},
    cluster = 'default',
    { timeout = 10_000 }: { readonly timeout?: number } = {},
  ): Promise<T & { readonly error?: { code: string; message: string } }> {
    const subject = `vf.query.${cluster}.${name}`;
    const answer = await this.connection.request(subject, JSON.stringify(request), { timeout });
    return answer.json();
  }

  /** What a request led to, from the query `outcome`. */
  async outcome(id: string, cluster = 'default', patience: Patience = {}): Promise<OutEvent> {
    return until(
      `an outcome of ${id}`,
      async () => (await this.query<{ outcome?: OutEvent }>('outcome', { id }, cluster)).outcome,
      patience,
    );
  }
}

function headerLines(block: string): ReadonlyArray<readonly [string, string]> {
  return block
    .split('\r\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1).trimStart()] as const;
    });
}

/** The first value of a header; names are case-sensitive. */
export const headerOf = ({ headers }: RawMessage, name: string): string | undefined =>
  headers.find(([one]) => one === name)?.[1];

/** Has read `VF_OUT_<cluster>` in order up to some place, and reads on when something is waited for. */
export class OutFollower {
  readonly events: Relayed[] = [];

  constructor(
    readonly client: NatsClient,
    readonly cluster: string,
  ) {}

  /** Reads what has come. */
  async advance(): Promise<void> {
    for (;;) {
      const next = (this.events.at(-1)?.sequence ?? 0) + 1;
      const some = await this.client.outBatch(this.cluster, next);
      this.events.push(...some);
      if (some.length < BATCH) return;
    }
  }

  /** Waits for an event of some kind. */
  async first(what: string, fits: (event: OutEvent) => boolean, patience: Patience = {}): Promise<OutEvent> {
    return until(
      () => `${what} in VF_OUT_${this.cluster}; its last is ${this.events.at(-1)?.text ?? 'missing'}`,
      async () => {
        const known = this.events.find(({ event }) => fits(event));
        if (known !== undefined) return known.event;
        await this.advance();
        return this.events.find(({ event }) => fits(event))?.event;
      },
      patience,
    );
  }

  /** Waits for the outcome of a request: the last event of its decision. */
  async outcome(id: string, patience: Patience = {}): Promise<OutEvent> {
    return this.first(
      `the outcome of ${id}`,
      ({ causationid, type }) => causationid === id && isOutcome(type),
      patience,
    );
  }

  /** The events that an input led to. */
  of(id: string): readonly OutEvent[] {
    return this.events.filter(({ event }) => event.causationid === id).map(({ event }) => event);
  }
}

const OUTCOMES: ReadonlySet<string> = new Set([
  'VmStartAccepted',
  'VmStartFailed',
  'VmNicAttached',
  'VmNicAttachFailed',
  'VmNicDetached',
  'VmNicDetachFailed',
  'VmNicTypeChanged',
  'VmNicTypeChangeRejected',
  'VmMigrationAllowed',
  'VmMigrationRejected',
  'HostRemoved',
  'HostRemovalRejected',
  'PfVirtualizationOrdered',
  'PfVirtualizationRejected',
  'PfRestoreOrdered',
  'PfRestoreRejected',
  'AllocationReleaseDone',
  'AllocationReleaseRejected',
]);

/** Whether an event is the outcome of a request (wire.md). */
export const isOutcome = (type: string): boolean => OUTCOMES.has(type);
