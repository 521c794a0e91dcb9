import { startNatsServer, type NatsServerProcess, type StartNatsServerOptions } from '#broker';
import { DiskWatch } from '#allocator';
import { setTimeout as wait } from 'node:timers/promises';

/** How often it is looked whether there is room for a server that has ended, in milliseconds. */
const LOOK_EVERY = 500;
/** The pause between two starts in vain, in milliseconds. */
const LONGEST_PAUSE = 30_000;

/**
 * The nats-server of a standalone. It may be started again, on the port that it has, so that clients find it where it was. One that ends
 * by itself because its disk is full is, once there is room; any other end by itself is told.
 */
export class OwnServer {
  /** Resolves when it has ended by itself and is not started again. */
  readonly died: Promise<Error>;
  readonly url: string;
  #server: NatsServerProcess;
  #tellDeath: (error: Error) => void = () => undefined;
  #trouble: string | undefined;
  /** Those that were asked to end. */
  readonly #asked = new WeakSet<NatsServerProcess>();
  readonly #disk: DiskWatch;
  readonly #stopping = new AbortController();
  /** What is being done with it: one thing after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly options: StartNatsServerOptions,
    server: NatsServerProcess,
    private readonly warn: (message: string) => void,
  ) {
    this.#server = server;
    this.url = server.url;
    this.#disk = new DiskWatch([{ directory: options.dataDir, holds: 'NATS' }]);
    this.died = new Promise((resolve) => (this.#tellDeath = resolve));
    this.#watch(server);
  }

  /** @throws BrokerError with a sentence when it does not come up. */
  static async start(options: StartNatsServerOptions, warn: (message: string) => void): Promise<OwnServer> {
    const server = await startNatsServer(options);
    return new OwnServer({ ...options, port: Number(new URL(server.url).port) }, server, warn);
  }

  /** Why it does not run just now. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /**
   * Ends it and starts it again on the same port and store. What it has acknowledged is on the disk.
   *
   * @throws BrokerError when it does not come up; then it is tried again until it does.
   */
  restart(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#stopping.signal.aborted) return;
      const old = this.#server;
      this.#asked.add(old);
      await old.stop();
      await this.#startAgain();
    });
  }

  /** Ends it for good; more than once is fine. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#inTurn(() => {
      this.#asked.add(this.#server);
      return this.#server.stop();
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(action);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #watch(server: NatsServerProcess): void {
    void server.exited.then(({ code, signal }) =>
      this.#inTurn(async () => {
        if (this.#asked.has(server) || this.#stopping.signal.aborted) return;
        const how = signal ?? `exit code ${code}`;
        await this.#disk.look(true);
        if (this.#disk.trouble === undefined && !(await this.#fellForRoom(server)))
          return this.#tellDeath(new Error(`nats-server ended by itself (${how}); start again`));
        this.warn(`nats-server ended by itself (${how}), without room on its disk; it is started again`);
        await this.#startAgain();
      }),
    );
  }

  /** Whether the last that it said was of a disk that is full: there may be room by now. */
  async #fellForRoom(server: NatsServerProcess): Promise<boolean> {
    return /no space left|disk quota/i.test(await server.lastWords());
  }

  /** Starts it once there is room, again and again until it serves or is not wanted any more. */
  async #startAgain(): Promise<void> {
    const { signal } = this.#stopping;
    for (let pause = LOOK_EVERY; !signal.aborted;) {
      await this.#disk.look(true);
      this.#trouble = 'nats-server does not run: it is started as soon as there is room on its disk';
      if (this.#disk.trouble === undefined) {
        try {
          this.#server = await startNatsServer(this.options);
          this.#trouble = undefined;
          this.#watch(this.#server);
          return;
        } catch (error) {
          this.#trouble = `nats-server could not be started again: ${error instanceof Error ? error.message : String(error)}`;
          this.warn(this.#trouble);
          pause = Math.min(pause * 2, LONGEST_PAUSE);
        }
      }
      await wait(pause, undefined, { signal }).catch(() => undefined);
    }
  }
}
