import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import {
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import { BrokerError } from './errors.js';
import { readNatsAddress } from './nats-address.js';
import { toBrokerError } from './nats-errors.js';

/** Told of what happens to the broker: connection lost, consumer made again … */
export type BrokerLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  facts?: Record<string, unknown>,
) => void;

/** How to reach NATS. Times in milliseconds. */
export interface NatsConnectionOptions {
  /** One URL or several of a cluster, e.g. `nats://127.0.0.1:4222`, or `nats://user:password@host:4222`. */
  readonly url: string | readonly string[];
  /** Name of the connection, seen in the server's monitoring. */
  readonly name?: string;
  /** File with the credentials (JWT and seed). */
  readonly credentialsFile?: string;
  /** Files in PEM. */
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  readonly log?: BrokerLog;
  /** Ends the waiting for a server that is starting. */
  readonly signal?: AbortSignal;
  /**
   * How long to wait for a server that is starting: for the connection and, in `prepare`, for JetStream;
   * 30,000.
   */
  readonly startTimeout?: number;
  /** How long to wait for one answer; 5,000. */
  readonly requestTimeout?: number;
  /** How often the server is asked for a sign of life; two missed end the connection; 5,000. */
  readonly pingInterval?: number;
}

const START_TIMEOUT = 30_000;
const RECONNECT_WAIT = 250;
const RECONNECT_JITTER = 100;
const OLDEST_SERVER = { major: 2, minor: 11 };

/** Whether a version such as `2.14.0` or `v2.12.1-RC.1` is one that the streams need. */
export function isServerNewEnough(version: string): boolean {
  const parts = /^v?(\d+)\.(\d+)/.exec(version);
  if (!parts) return false;
  const major = Number(parts[1]);
  return (
    major > OLDEST_SERVER.major || (major === OLDEST_SERVER.major && Number(parts[2]) >= OLDEST_SERVER.minor)
  );
}

/**
 * Connects, waiting for a server that is starting, and stays connected for ever. For a part that needs a
 * connection of its own beside the broker's.
 *
 * @throws BrokerError `UNAVAILABLE` when no server answers within `startTimeout`, `REFUSED` when it is too old
 *   or does not let us in.
 */
export async function openNatsConnection(options: NatsConnectionOptions): Promise<NatsConnection> {
  const { servers, login } = readNatsAddress(options.url);
  const url = servers.join(', ');
  if (login !== undefined && options.credentialsFile !== undefined) {
    throw new BrokerError(
      'REFUSED',
      `There is a user or a token in the address of NATS at ${url} (VF_NATS_URL), and a file of credentials (VF_NATS_CREDS): give one of them.`,
    );
  }
  const log = options.log ?? (() => {});
  const startTimeout = options.startTimeout ?? START_TIMEOUT;
  const settings: NodeConnectionOptions = {
    servers: [...servers],
    ...login,
    name: options.name ?? 'vf-scheduler',
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT,
    reconnectJitter: RECONNECT_JITTER,
    reconnectJitterTLS: RECONNECT_JITTER,
    // Credentials that are being rotated must not end a connection that is meant to last for ever.
    ignoreAuthErrorAbort: true,
    pingInterval: options.pingInterval ?? 5_000,
    maxPingOut: 2,
    noAsyncTraces: true,
  };
  if (options.tls) settings.tls = options.tls;
  if (options.credentialsFile) {
    settings.authenticator = credsAuthenticator(
      await readCredentials(options.credentialsFile, 'VF_NATS_CREDS'),
    );
  }

  const connection = await connectWithin(settings, url, startTimeout, log, options.signal);
  const version = connection.info?.version ?? 'unknown';
  if (!isServerNewEnough(version)) {
    await connection.close();
    throw new BrokerError(
      'REFUSED',
      `The nats-server at ${url} is version ${version}, but 2.11 or newer is needed: older ones silently ignore stream settings. Upgrade it.`,
    );
  }
  return connection;
}

/**
 * The connection that all parts of the NATS broker share: it knows whether it stands, and fails requests that
 * cannot be answered.
 */
export class NatsLink {
  #connected = true;
  #closed = false;
  /** Ends the waiting of requests when the connection breaks: no answer can come any more. */
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #onBreak = new Set<() => void>();
  #whenConnected: { promise: Promise<void>; resolve: () => void } | undefined;

  private constructor(
    readonly connection: NatsConnection,
    readonly jetStream: JetStreamManager,
    readonly url: string,
    readonly requestTimeout: number,
    readonly startTimeout: number,
    readonly log: BrokerLog,
  ) {
    void this.#watchStatus();
  }

  /** Connects, waiting for a server that is starting. @throws BrokerError `UNAVAILABLE` or `REFUSED`. */
  static async open(options: NatsConnectionOptions): Promise<NatsLink> {
    const connection = await openNatsConnection(options);
    const requestTimeout = options.requestTimeout ?? 5_000;
    const jetStream = await jetstreamManager(connection, { checkAPI: false, timeout: requestTimeout });
    return new NatsLink(
      connection,
      jetStream,
      readNatsAddress(options.url).servers.join(', '),
      requestTimeout,
      options.startTimeout ?? START_TIMEOUT,
      options.log ?? (() => {}),
    );
  }

  get connected(): boolean {
    return this.#connected && !this.#closed;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Does something that asks the server. @throws BrokerError `UNAVAILABLE` at once when the connection does
   * not stand or breaks.
   */
  async call<T>(doing: string, action: () => Promise<T>): Promise<T> {
    this.assertConnected(doing);
    let giveUp: ((error: Error) => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        giveUp = reject;
        this.#waiting.add(reject);
        action().then(resolve, reject);
      });
    } catch (error) {
      throw toBrokerError(error, doing);
    } finally {
      if (giveUp) this.#waiting.delete(giveUp);
    }
  }

  /** @throws BrokerError `UNAVAILABLE` when the connection does not stand. */
  assertConnected(doing: string): void {
    if (!this.connected) throw new BrokerError('UNAVAILABLE', `${doing}: ${this.#brokenSentence()}`);
  }

  /** Calls back each time the connection breaks or is closed. @returns how to stop it. */
  onBreak(action: () => void): () => void {
    this.#onBreak.add(action);
    return () => this.#onBreak.delete(action);
  }

  /** Resolves when the connection stands, or was closed. */
  async whenConnected(): Promise<void> {
    if (this.#connected || this.#closed) return;
    if (!this.#whenConnected) {
      let resolve = () => {};
      const promise = new Promise<void>((settle) => {
        resolve = settle;
      });
      this.#whenConnected = { promise, resolve };
    }
    await this.#whenConnected.promise;
  }

  /** Drains and closes; more than once is fine. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      const patience = new AbortController();
      try {
        // Without a connection there is nothing to drain to, and draining would wait for it.
        if (this.#connected) {
          const tooLong = wait(this.requestTimeout, undefined, { signal: patience.signal }).catch(() => {});
          await Promise.race([this.connection.drain(), tooLong]);
        }
      } catch (error) {
        this.log('debug', 'Draining the NATS connection failed', { error: String(error) });
      } finally {
        patience.abort();
      }
      await this.connection.close();
      this.#broke();
    }
    await this.connection.closed();
  }

  #brokenSentence(): string {
    return this.#closed
      ? 'the broker is closed.'
      : `there is no connection to NATS at ${this.url} now. It is tried again for ever.`;
  }

  #broke(): void {
    const error = new BrokerError('UNAVAILABLE', `The connection to NATS broke: ${this.#brokenSentence()}`);
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
    for (const action of this.#onBreak) action();
    if (this.#closed) this.#whenConnected?.resolve();
  }

  async #watchStatus(): Promise<void> {
    for await (const status of this.connection.status()) {
      switch (status.type) {
        case 'disconnect':
          if (!this.#connected) break;
          this.#connected = false;
          this.log('warn', `Lost the connection to NATS at ${status.server}; connecting again`);
          this.#broke();
          break;
        case 'reconnect':
          this.#connected = true;
          this.#whenConnected?.resolve();
          this.#whenConnected = undefined;
          this.log('info', `Connected to NATS at ${status.server} again`);
          if (!isServerNewEnough(this.connection.info?.version ?? '')) {
            this.log('error', `The nats-server at ${status.server} is older than 2.11; upgrade it`);
          }
          break;
        case 'error':
          this.log('error', `NATS reports: ${status.error.message}`);
          break;
        case 'ldm':
          this.log('info', `The nats-server ${status.server} is about to stop`);
          break;
        default:
      }
    }
    // The client gave up by itself, which with endless attempts only a bad set-up brings about.
    if (!this.#closed) {
      this.#connected = false;
      this.#closed = true;
      this.log('error', 'The NATS connection was closed by the client');
      this.#broke();
    }
  }
}

/**
 * Reads a file of credentials: what is none would look as if no server answered.
 *
 * @throws BrokerError `REFUSED`, with a sentence that names the file.
 */
export async function readCredentials(file: string, setting?: string): Promise<Uint8Array> {
  const named = setting === undefined ? file : `${file} (${setting})`;
  const refuse = (problem: string, cause: unknown): never => {
    throw new BrokerError('REFUSED', `The NATS credentials file ${named} ${problem}.`, { cause });
  };
  const bytes = await readFile(file).catch((error: unknown) => refuse('cannot be read', error));
  try {
    await credsAuthenticator(bytes)('nonce');
  } catch (error) {
    refuse('holds no credentials: a JWT and a seed, as nsc writes them', error);
  }
  return bytes;
}

/** The client's own waiting for a first connection cannot be bounded, so each attempt is one of ours. */
async function connectWithin(
  settings: NodeConnectionOptions,
  url: string,
  timeout: number,
  log: BrokerLog,
  signal: AbortSignal | undefined,
): Promise<NatsConnection> {
  const deadline = performance.now() + timeout;
  let told = false;
  for (;;) {
    const left = deadline - performance.now();
    try {
      return await connect({ ...settings, timeout: Math.max(100, Math.min(left, 5_000)) });
    } catch (error) {
      if (
        error instanceof errors.AuthorizationError ||
        error instanceof errors.UserAuthenticationExpiredError
      ) {
        throw toBrokerError(error, `Connecting to NATS at ${url}`);
      }
      if (error instanceof errors.InvalidArgumentError)
        throw toBrokerError(error, `Connecting to NATS at ${url}`);
      if (performance.now() + RECONNECT_WAIT >= deadline || signal?.aborted) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new BrokerError(
          'UNAVAILABLE',
          `No NATS server answers at ${url} (${reason}). Start one there, or set VF_NATS_URL to where it is.`,
          { cause: error },
        );
      }
      if (!told) log('info', `Waiting for NATS at ${url}`);
      told = true;
      await wait(RECONNECT_WAIT, undefined, signal && { signal }).catch(() => undefined);
    }
  }
}
