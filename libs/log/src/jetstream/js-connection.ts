import {
  createInbox,
  headers as newHeaders,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import type { StreamConfig, StreamState } from '@nats-io/jetstream';
import { LogError } from '../errors.js';
import { ConnectionBroke, hasCode, JsApiError, JsErrorCode, nobodyHeard } from './js-errors.js';

/** What JetStream says of a stream. */
export interface StreamInfo {
  readonly created: string;
  readonly config: StreamConfig;
  readonly state: StreamState;
  /** The server's own time. */
  readonly ts?: string;
}

/** A message as a stream keeps it. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** RFC 3339. */
  readonly time: string;
  readonly data: Buffer;
  /** The end of the stream that its publisher expected, and so the stream had; undefined where none was. */
  readonly expected?: number;
}

/** One of several in an answer; see {@link StoredMessage}. */
export type NeighbouringMessage = Pick<StoredMessage, 'sequence' | 'data' | 'expected'>;

interface ApiAnswer {
  readonly error?: { readonly code?: number; readonly err_code?: number; readonly description?: string };
}

/** How long a cluster that starts may take to know a stream. */
const SECOND_LOOK = 100;
/** How long a leader that was just elected may need to know all of its stream. */
const SETTLES = 3000;
/** How long a message that nobody heard is published again, before the caller is told. */
const UNHEARD = 2000;

/**
 * A NATS connection that is the log's own, so that an append does not queue behind the broker's messages:
 * the few requests of JetStream's API that the log needs, each with a bound on its time. A request fails as
 * soon as the connection breaks, because no answer can come any more.
 */
export class JsConnection {
  #connected = true;
  #closed = false;
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #onChange = new Set<() => void>();

  constructor(
    readonly connection: NatsConnection,
    /** How long one answer may take, in milliseconds. */
    readonly timeout: number,
  ) {
    void this.#watch();
  }

  /**
   * For how long the leader of a stream may know less than what its predecessor had acknowledged, in milliseconds: it
   * may still be applying it. A server alone always knows.
   */
  get settles(): number {
    return this.connection.info?.cluster === undefined ? 0 : SETTLES;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The largest message that the server takes, headers included. */
  get maxPayload(): number {
    return this.connection.info?.max_payload ?? 1_048_576;
  }

  /** Calls back when the connection breaks, stands again or is closed. @returns how to stop it. */
  onChange(action: () => void): () => void {
    this.#onChange.add(action);
    return () => this.#onChange.delete(action);
  }

  /** @throws LogError `UNAVAILABLE` when nothing can be asked now. */
  checkOpen(): void {
    if (this.#closed) throw new LogError('UNAVAILABLE', 'the JetStream log is closed');
  }

  /** @throws JsApiError for what JetStream refuses; ConnectionBroke; errors of the client. */
  async api<Answer extends object>(subject: string, ask: object = {}): Promise<Answer> {
    const reply = await this.#request(`$JS.API.${subject}`, JSON.stringify(ask));
    const answer = reply.json<Answer & ApiAnswer>();
    if (answer.error) throw new JsApiError(answer.error);
    return answer;
  }

  /**
   * Stores a message if the stream's last sequence is the expected one. What nobody heard is published again for
   * a moment: a stream that was just made, or whose leader moves, may need that.
   *
   * @returns the sequence it has, and the stream that stored it.
   */
  async publish(
    subject: string,
    data: Uint8Array,
    expectedSequence?: number,
  ): Promise<{ readonly stream: string; readonly seq: number }> {
    const headers = newHeaders();
    if (expectedSequence !== undefined) headers.set('Nats-Expected-Last-Sequence', String(expectedSequence));
    const reply = await this.#untilHeard(() => this.#request(subject, data, headers));
    const answer = reply.json<{ stream?: string; seq?: number } & ApiAnswer>();
    if (answer.error) throw new JsApiError(answer.error);
    if (typeof answer.seq !== 'number' || typeof answer.stream !== 'string') {
      throw new Error(`the answer to a publish of ${subject} names no sequence`);
    }
    return { stream: answer.stream, seq: answer.seq };
  }

  /** The stream as its leader sees it; undefined when there is none. */
  async info(stream: string, ask: object = {}): Promise<StreamInfo | undefined> {
    try {
      return await this.api<StreamInfo>(`STREAM.INFO.${stream}`, ask);
    } catch (error) {
      if (hasCode(error, JsErrorCode.streamNotFound)) return undefined;
      throw error;
    }
  }

  /**
   * The same, where "none" has weight: a cluster of servers that starts may know a stream a moment later
   * only, so that there it is asked for twice.
   */
  async surelyInfo(stream: string): Promise<StreamInfo | undefined> {
    const info = await this.info(stream);
    if (info !== undefined || this.connection.info?.cluster === undefined) return info;
    await this.pause(SECOND_LOOK);
    return this.info(stream);
  }

  /**
   * A message from the stream's leader; never a direct get, which may sit on a replica that lags.
   *
   * @returns undefined when there is no such message.
   */
  async message(
    stream: string,
    query: { readonly seq: number; readonly next_by_subj?: string } | { readonly last_by_subj: string },
  ): Promise<StoredMessage | undefined> {
    interface Answer {
      readonly message?: {
        readonly subject: string;
        readonly seq: number;
        readonly time: string;
        readonly data?: string;
        readonly hdrs?: string;
      };
    }
    try {
      const { message } = await this.api<Answer>(`STREAM.MSG.GET.${stream}`, query);
      if (message === undefined) return undefined;
      const { subject, seq, time, data = '', hdrs = '' } = message;
      const expected = /^Nats-Expected-Last-Sequence: *(\d+)\r?$/m.exec(
        Buffer.from(hdrs, 'base64').toString('latin1'),
      )?.[1];
      const stored = { subject, sequence: seq, time, data: Buffer.from(data, 'base64') };
      return expected === undefined ? stored : { ...stored, expected: Number(expected) };
    } catch (error) {
      if (hasCode(error, JsErrorCode.noMessageFound)) return undefined;
      throw error;
    }
  }

  /**
   * Neighbouring messages in one answer, from any replica: quick, and perhaps fewer than there are, or none,
   * where that replica lags.
   */
  async messages(
    stream: string,
    from: number,
    count: number,
    maxBytes: number,
  ): Promise<readonly NeighbouringMessage[]> {
    const found: NeighbouringMessage[] = [];
    this.#checkConnected();
    let subscription: Subscription | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      await this.#orBroken(
        new Promise<void>((resolve, reject) => {
          const arm = (): void => {
            clearTimeout(timer);
            timer = setTimeout(() => reject(new Error(`no answer within ${this.timeout} ms`)), this.timeout);
          };
          const inbox = createInbox();
          subscription = this.connection.subscribe(inbox, {
            callback: (error, message) => {
              if (error) return reject(error);
              const got = directMessage(message, from + found.length);
              if (got instanceof Error) return reject(got);
              if (got === undefined) return resolve();
              found.push(got);
              arm();
            },
          });
          arm();
          const ask = JSON.stringify({ seq: from, batch: count, max_bytes: maxBytes });
          this.connection.publish(`$JS.API.DIRECT.GET.${stream}`, ask, { reply: inbox });
        }),
      );
    } finally {
      clearTimeout(timer);
      if (!this.#closed) subscription?.unsubscribe();
    }
    return found;
  }

  /** Calls back for each message of a subject. @returns how to stop it. */
  subscribe(subject: string, action: () => void): () => void {
    const subscription = this.connection.subscribe(subject, { callback: () => action() });
    return () => {
      if (!this.#closed) subscription.unsubscribe();
    };
  }

  /** Waits, not longer than the connection is open. */
  async pause(milliseconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      await this.#orBroken(
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, milliseconds);
        }),
        false,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  /** Drains and closes; more than once is fine. */
  async close(): Promise<void> {
    if (this.#closed) return void (await this.connection.closed());
    this.#closed = true;
    this.#broke(new ConnectionBroke('the log is closed'));
    await this.connection.close();
  }

  async #untilHeard<T>(request: () => Promise<T>): Promise<T> {
    const giveUpAt = performance.now() + UNHEARD;
    for (let vain = 0; ; vain++) {
      try {
        return await request();
      } catch (error) {
        if (!nobodyHeard(error) || performance.now() >= giveUpAt) throw error;
        await this.pause(Math.min(500, 20 * 2 ** vain));
      }
    }
  }

  async #request(subject: string, data: string | Uint8Array, headers = newHeaders()): Promise<Msg> {
    this.#checkConnected();
    return this.#orBroken(this.connection.request(subject, data, { timeout: this.timeout, headers }));
  }

  /** What is sent while there is no connection would go out when there is one, long after we gave up. */
  #checkConnected(): void {
    this.checkOpen();
    if (!this.#connected)
      throw new LogError('UNAVAILABLE', 'there is no connection to NATS now; it is tried again for ever');
  }

  /** @param breaks whether a connection that breaks ends it, too, and not only one that is closed. */
  async #orBroken<T>(answer: Promise<T>, breaks = true): Promise<T> {
    let giveUp: ((error: Error) => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        giveUp = breaks ? reject : (error) => this.#closed && reject(error);
        this.#waiting.add(giveUp);
        answer.then(resolve, reject);
      });
    } finally {
      if (giveUp) this.#waiting.delete(giveUp);
    }
  }

  #broke(error: Error): void {
    for (const reject of [...this.#waiting]) reject(error);
    for (const action of [...this.#onChange]) action();
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'disconnect' && this.#connected) {
        this.#connected = false;
        this.#broke(new ConnectionBroke('the connection to NATS broke'));
      } else if (status.type === 'reconnect') {
        this.#connected = true;
        for (const action of [...this.#onChange]) action();
      }
    }
    if (this.#closed) return;
    this.#connected = false;
    this.#closed = true;
    this.#broke(new ConnectionBroke('the NATS client closed the connection'));
  }
}

/**
 * An answer to a direct get: a message, undefined at the end of the batch, or what went wrong. Runs inside the
 * client's parser and must not throw; a message of somebody else may have headers that the client cannot read.
 */
function directMessage(message: Msg, expected: number): NeighbouringMessage | Error | undefined {
  const data = Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength);
  try {
    const { headers } = message;
    const sequence = Number(headers?.last('Nats-Sequence') || Number.NaN);
    // The last of a name is the server's: a stranger's message may bring the same ones before it.
    const said = headers?.last('Nats-Expected-Last-Sequence');
    if (Number.isSafeInteger(sequence)) return { sequence, data, ...(said && { expected: Number(said) }) };
    const code = headers?.code ?? 0;
    // 204: end of batch; 404: nothing there; 408: nothing asked.
    if (code === 204 || code === 404) return undefined;
    if (code === 503)
      return new LogError('UNAVAILABLE', 'nobody answers for the stream now: it has no leader');
    if (code !== 0) return new Error(`${code} ${headers?.description ?? ''}`);
    return { sequence: expected, data };
  } catch {
    return { sequence: expected, data };
  }
}
