import { BrokerError, type Broker, type Lease, type MemoryBroker } from '#broker';
import { LogError, type EventLog, type MemoryLog, type StoredRecord } from '#log';
import { Allocator, silentLogger, type Clock, type Logger } from '#pipeline';
import type { FakeClock } from './fake-clock.js';
import type { Mishap } from './mishaps.js';

/** What an allocator process asks of the simulation at each crossing. */
export interface Crossings {
  /**
   * Resolves when the process may go on: never when it is dead.
   *
   * @returns what the call itself has to do: fail, or die with a part of it done.
   */
  reach(
    process: AllocatorProcess,
    call: string,
    side: 'before' | 'after',
    parts: number,
  ): Promise<Extract<Mishap, { kind: 'fail' | 'crash' }> | undefined>;
  died(process: AllocatorProcess): void;
  /** The log holds everything up to this position. */
  appended(position: number): void;
}

export interface ProcessOptions {
  readonly name: string;
  readonly connection: MemoryBroker;
  readonly log: MemoryLog;
  readonly clock: FakeClock;
  readonly crossings: Crossings;
  readonly rememberedInputs: number;
  readonly logger?: Logger;
}

const forever = new Promise<never>(() => undefined);

/**
 * One allocator as a process: the real pipeline, with each call of a port a place where it can be killed,
 * frozen or cut off. What it does reaches the outside only through these calls, so a dead one is one whose
 * calls do not return.
 */
export class AllocatorProcess {
  readonly name: string;
  readonly allocator: Allocator;
  readonly connection: MemoryBroker;
  dead = false;
  frozen = false;
  readonly #options: ProcessOptions;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.name = options.name;
    this.connection = options.connection;
    this.allocator = new Allocator({
      broker: this.#broker(),
      log: this.#log(),
      clock: this.#clock(),
      logger: options.logger ?? silentLogger,
      instance: options.name,
      maxClusters: 16,
      rememberedInputs: options.rememberedInputs,
      outMaxAge: 30 * 24 * 3_600_000,
    });
  }

  /** For its timers: whether it cannot wake now. */
  get asleepForGood(): boolean {
    return this.dead || this.frozen;
  }

  /** `kill -9`: nothing is finished, nothing released; its lease runs out. */
  kill(): void {
    if (this.dead) return;
    this.dead = true;
    this.connection.cut();
    this.#options.crossings.died(this);
  }

  async #cross<T>(
    call: string,
    parts: number,
    act: (parts: number) => Promise<T>,
    failure: (code: string) => Error,
  ): Promise<T> {
    const { crossings } = this.#options;
    const before = await crossings.reach(this, call, 'before', parts);
    if (before !== undefined) {
      if (before.parts !== undefined && before.parts > 0) await act(before.parts).catch(() => undefined);
      if (before.kind === 'fail') throw failure(before.code);
      this.kill();
      return forever;
    }
    let answer: { readonly value: T } | { readonly error: unknown };
    try {
      answer = { value: await act(parts) };
    } catch (error) {
      answer = { error };
    }
    const after = await crossings.reach(this, call, 'after', 1);
    if (after?.kind === 'fail') throw failure(after.code);
    if (after !== undefined) {
      this.kill();
      return forever;
    }
    if ('error' in answer) throw answer.error;
    return answer.value;
  }

  /** Goes on behind a crossing; a mishap with parts does not fit there. */
  async #after<T>(call: string, value: T): Promise<T> {
    const mishap = await this.#options.crossings.reach(this, call, 'after', 1);
    if (mishap?.kind !== 'crash') return value;
    this.kill();
    return forever;
  }

  #clock(): Clock {
    const { clock } = this.#options;
    return {
      now: () => clock.now(),
      sleep: (milliseconds, signal) => clock.sleep(this, milliseconds, signal),
    };
  }

  #log(): EventLog {
    const { log } = this.#options;
    const fail = (code: string): Error =>
      new LogError(code as 'UNAVAILABLE', `the simulated log answers ${code}`);
    const cross = <T>(call: string, act: () => Promise<T>): Promise<T> => this.#cross(call, 1, act, fail);
    const reached = (call: string) => cross(call, async () => undefined);
    const isDead = (): boolean => this.dead;
    async function* chunks(
      call: string,
      read: () => AsyncIterable<readonly StoredRecord[]>,
    ): AsyncGenerator<readonly StoredRecord[]> {
      await reached(call);
      for await (const records of read()) {
        if (isDead()) return;
        yield records;
      }
    }
    return {
      name: log.name,
      append: (stream, expectedPosition, decisions) =>
        this.#cross(
          'log.append',
          decisions.length,
          async (parts) => {
            const some = decisions.slice(0, parts);
            await log.append(stream, expectedPosition, some);
            this.#options.crossings.appended(some.at(-1)?.at(-1)?.position ?? 0);
          },
          fail,
        ),
      // Only a look, again and again as time passes: nothing follows from it that could be lost.
      head: (stream) => log.head(stream),
      incomplete: (stream) => log.incomplete(stream),
      read: (stream, from, options) => chunks('log.read', () => log.read(stream, from, options)),
      follow: (stream, after, signal, options) =>
        chunks('log.follow', () => log.follow(stream, after, signal, options)),
      streams: () => cross('log.streams', () => log.streams()),
      saveSnapshot: (stream, snapshot) => cross('log.saveSnapshot', () => log.saveSnapshot(stream, snapshot)),
      snapshots: (stream) => cross('log.snapshots', () => log.snapshots(stream)),
      close: () => log.close(),
    };
  }

  #broker(): Broker {
    const inner = this.connection;
    const fail = (): Error => new BrokerError('UNAVAILABLE', 'the simulated broker does not answer');
    const cross = <T>(call: string, act: () => Promise<T>): Promise<T> => this.#cross(call, 1, act, fail);
    const lease = (held: Lease): Lease => ({
      cluster: held.cluster,
      lost: held.lost,
      release: () => cross('lease.release', () => held.release()),
    });
    const isConnected = (): boolean => !this.dead && inner.connected;
    return {
      now: () => inner.now(),
      prepare: () => cross('prepare', () => inner.prepare()),
      // Only a look, as below.
      check: () => inner.check(),
      input: {
        info: () => cross('input.info', () => inner.input.info()),
        get: (sequence) => cross('input.get', () => inner.input.get(sequence)),
        follow: async (cluster, after, options) => {
          const follower = await inner.input.follow(cluster, after, options);
          return {
            take: async () => this.#after('input.take', await follower.take()),
            close: () => follower.close(),
          };
        },
        watch: (onMessage) =>
          inner.input.watch((message) => {
            if (!this.dead) onMessage(message);
          }),
        publish: (subject, payload) => cross('input.publish', () => inner.input.publish(subject, payload)),
        purge: (cluster, sequence) => cross('input.purge', () => inner.input.purge(cluster, sequence)),
        remove: (sequence) => cross('input.remove', () => inner.input.remove(sequence)),
      },
      output: {
        // Looks, again and again as time passes: nothing follows from them that could be lost.
        state: (cluster) => inner.output.state(cluster),
        create: (cluster, first, log) =>
          cross('output.create', () => inner.output.create(cluster, first, log)),
        read: (cluster, from, most) => inner.output.read(cluster, from, most),
        remake: (cluster, how) => cross('output.remake', () => inner.output.remake(cluster, how)),
        restoreConsumers: (cluster) =>
          cross('output.restoreConsumers', () => inner.output.restoreConsumers(cluster)),
        publish: (cluster, messages) =>
          this.#cross(
            'output.publish',
            messages.length,
            (parts) => inner.output.publish(cluster, messages.slice(0, parts)),
            fail,
          ),
      },
      dead: {
        publish: (cluster, letters, since) =>
          this.#cross(
            'dead.publish',
            letters.length,
            (parts) => inner.dead.publish(cluster, letters.slice(0, parts), since),
            fail,
          ),
        find: (cluster, eventId) => cross('dead.find', () => inner.dead.find(cluster, eventId)),
      },
      leases: {
        acquire: async (cluster, holder, signal, hesitate, log) => {
          const held = await inner.leases.acquire(cluster, holder, signal, hesitate, log);
          return this.#after('lease.acquire', held && lease(held));
        },
        holder: (cluster) => cross('lease.holder', () => inner.leases.holder(cluster)),
        survey: () => inner.leases.survey(),
        join: (instance, ready, signal) => inner.leases.join(instance, ready, signal),
        fleet: () => inner.leases.fleet(),
      },
      heads: {
        read: (cluster) => cross('heads.read', () => inner.heads.read(cluster)),
        write: (cluster, text, revision) =>
          cross('heads.write', () => inner.heads.write(cluster, text, revision)),
      },
      get connected() {
        return isConnected();
      },
      close: () => inner.close(),
    };
  }
}
