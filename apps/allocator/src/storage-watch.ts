import { dirname, resolve } from 'node:path';
import type { NatsBroker, WriteFault } from '#broker';
import type { Clock, Logger } from '#pipeline';
import type { Settings } from '#wire';
import { DiskWatch, type Watched } from './disk-watch.js';
import type { NatsUse } from './parts.js';

/** How often it is looked whether there is room, in milliseconds. */
const LOOK_EVERY = 1000;
/** Each so many looks something is written, and the streams are asked about. */
const THOROUGH_EVERY = 5;
/** A server of our own is started again at most this often, and half as often each time it was in vain, in milliseconds. */
const SHORTEST_PAUSE = 5000;
const LONGEST_PAUSE = 60_000;

/** The directories that a process with these settings writes to. */
export function watchedDirectories(
  { dataDir, eventLog }: Settings,
  { directory }: NatsUse,
): readonly Watched[] {
  const watched: Watched[] = [{ directory: resolve(dataDir), holds: 'the read side' }];
  if (eventLog.kind === 'sqlite') {
    const { file } = eventLog;
    watched.push({
      directory: file === undefined ? resolve(dataDir) : dirname(resolve(file)),
      holds: 'the log',
    });
  }
  if (directory !== undefined) watched.push({ directory: resolve(directory), holds: 'NATS' });
  return watched;
}

/**
 * Watches what all clusters write to: the disks, and the streams of NATS. A server of our own that does not write any more although there
 * is room is started again; of another's it is said that somebody has to.
 */
export class StorageWatch {
  readonly #disk: DiskWatch;
  readonly #stopping = new AbortController();
  #fault: WriteFault | undefined;
  /** The server's disk was full since it was started, and there is a stream that cannot be asked about. */
  #suspect = false;
  #said: string | undefined;
  #restarts = 0;
  #restarting = false;
  #restartedAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> = Promise.resolve();

  constructor(
    settings: Settings,
    private readonly options: {
      readonly nats: NatsUse;
      readonly broker: NatsBroker;
      readonly logger: Logger;
      readonly clock: Clock;
      /** Whether streams are kept that cannot be asked whether they are written: logs. */
      readonly keepsLogs: boolean;
    },
  ) {
    this.#disk = new DiskWatch(watchedDirectories(settings, options.nats));
  }

  /** What cannot be written now, and what to do: a sentence each. */
  get troubles(): readonly string[] {
    const { nats } = this.options;
    const found = [this.#disk.trouble, nats.trouble?.()];
    if (this.#fault !== undefined) {
      const { stream, message } = this.#fault;
      const what = `nats-server stores nothing more in ${stream} since a write of its failed (${message})`;
      found.push(
        nats.restart === undefined
          ? `${what}: make room on its disk, and start it again; it does not go on by itself`
          : `${what}: it is started again as soon as there is room`,
      );
    }
    return found.filter((one) => one !== undefined);
  }

  start(): void {
    this.#running = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #watch(): Promise<void> {
    const { clock } = this.options;
    const { signal } = this.#stopping;
    for (let turn = 0; !signal.aborted; turn++) {
      const thorough = turn % THOROUGH_EVERY === 0 || this.troubles.length > 0;
      await this.#disk.look(thorough);
      if (thorough) await this.#askStreams();
      this.#say();
      this.#mend();
      await clock.sleep(LOOK_EVERY, signal);
    }
  }

  async #askStreams(): Promise<void> {
    const { broker, nats, keepsLogs } = this.options;
    const { directory, restart } = nats;
    if (directory !== undefined && keepsLogs && this.#disk.troubleOf(resolve(directory)) !== undefined)
      this.#suspect = true;
    if (!broker.connected) return;
    try {
      this.#fault = await broker.writeFault(restart !== undefined);
    } catch {
      // Nobody answers: that is in health already, and what was known stays so.
    }
  }

  /** Starts a server of our own again that gave up on writing, once there is room for it. */
  #mend(): void {
    const { nats, logger, clock } = this.options;
    if (nats.restart === undefined || nats.directory === undefined || this.#restarting) return;
    if (this.#fault === undefined && !this.#suspect) {
      if (clock.now() - this.#restartedAt > LONGEST_PAUSE) this.#restarts = 0;
      return;
    }
    if (this.#disk.troubleOf(resolve(nats.directory)) !== undefined) return;
    const pause =
      this.#restarts === 0 ? 0 : Math.min(SHORTEST_PAUSE * 2 ** (this.#restarts - 1), LONGEST_PAUSE);
    // A clock that was set back must not put it off.
    if (this.#restartedAt > clock.now()) this.#restartedAt = clock.now();
    if (clock.now() - this.#restartedAt < pause) return;
    this.#restarts++;
    this.#restartedAt = clock.now();
    logger.warn('there is room again: nats-server, which had given up on writing, is started again', {
      fault: this.#fault,
    });
    this.#restarting = true;
    // It may take until there is room once more, and who stops does not wait for that.
    nats
      .restart()
      .then(() => {
        this.#suspect = false;
        this.#fault = undefined;
      })
      .catch((error: unknown) => logger.error('nats-server could not be started again', { error }))
      .finally(() => (this.#restarting = false));
  }

  /** Says in the log what is the matter, when that changes. */
  #say(): void {
    const { logger } = this.options;
    // The numbers in it change all the time.
    const said = this.troubles.map((one) => one.replace(/\d+ bytes/g, '')).join('; ');
    if (said === (this.#said ?? '')) return;
    this.#said = said;
    if (said === '') logger.info('there is room again, and all is written');
    else logger.warn(this.troubles.join('; '));
  }
}
