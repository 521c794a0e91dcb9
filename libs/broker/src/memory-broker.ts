import type {
  Broker,
  DeadLetters,
  Heads,
  InputFollower,
  InputMessage,
  InputStream,
  Leases,
  OutputStreams,
} from './broker.js';
import { BrokerError } from './errors.js';
import type { MemoryBrokerServer } from './memory-broker-server.js';
import { DEFAULT_BOUNDS, sizeOf, type Bounds } from './message-queue.js';

/** One connection to a `MemoryBrokerServer`; it can be cut and healed. */
export class MemoryBroker implements Broker {
  readonly input: InputStream;
  readonly output: OutputStreams;
  readonly dead: DeadLetters;
  readonly leases: Leases;
  readonly heads: Heads;
  readonly #open = new Set<{ close(): Promise<void> }>();
  readonly #onHeal = new Set<() => void>();
  readonly #closing = new AbortController();
  #cut = false;
  /** Creation time of the stream that `info` told of: sequences are places in that one. */
  #created: string | undefined;

  constructor(readonly server: MemoryBrokerServer) {
    this.input = {
      info: () =>
        this.#call(() => {
          const info = server.inputInfo();
          this.#created = info.created;
          return info;
        }),
      get: (sequence) => this.#call(() => server.input(sequence)),
      follow: async (cluster, after, options = {}) =>
        this.#follow(cluster, after, { ...DEFAULT_BOUNDS, ...options }),
      watch: async (onMessage) => this.#watch(onMessage),
      publish: (subject, payload) => this.#call(() => server.storeInput(subject, payload)),
      purge: (cluster, sequence) => this.#call(() => server.purgeInput(cluster, sequence)),
      remove: (sequence) => this.#call(() => server.removeInput(sequence)),
    };
    this.output = {
      state: (cluster) => this.#call(() => server.output(cluster)),
      create: (cluster, firstSequence, log) =>
        this.#call(() => server.createOutput(cluster, firstSequence, log)),
      read: (cluster, from, most) =>
        this.#call(() =>
          server
            .outputs(cluster)
            .filter(({ position }) => position >= from)
            .slice(0, most)
            .map(({ position, subject, payload }) => ({
              position,
              subject,
              payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
            })),
        ),
      remake: (cluster, how) => this.#call(() => server.remakeOutput(cluster, how)),
      restoreConsumers: () => this.#call(() => undefined),
      publish: async (cluster, messages) => {
        if (messages.length === 0) return;
        await this.#call(() => {
          for (const message of messages) server.storeOutput(cluster, message);
        });
      },
    };
    this.dead = {
      publish: async (cluster, letters) => {
        for (const letter of letters) await this.#call(() => server.storeDead(cluster, letter));
      },
      find: (cluster, eventId) =>
        this.#call(() => {
          const letter = server.deadLetters(cluster).findLast((each) => each.eventId === eventId);
          return letter && { reason: letter.reason };
        }),
    };
    this.leases = {
      acquire: (cluster, holder, signal, hesitate, log) =>
        server.leases.acquire(
          this,
          { cluster, holder, log },
          AbortSignal.any([signal, this.#closing.signal]),
          hesitate,
        ),
      holder: (cluster) => this.#call(() => server.leases.holder(cluster)),
      survey: () => this.#call(() => server.leases.fleet().logs),
      join: (instance, ready, signal) =>
        server.leases.join(this, instance, ready, AbortSignal.any([signal, this.#closing.signal])),
      fleet: () => server.leases.fleet(),
    };
    this.heads = {
      read: (cluster) => this.#call(() => server.head(cluster)),
      write: (cluster, text, revision) => this.#call(() => server.storeHead(cluster, text, revision)),
    };
  }

  get connected(): boolean {
    return !this.#cut && !this.#closing.signal.aborted;
  }

  now(): number {
    return this.server.now();
  }

  prepare(): Promise<void> {
    return this.#call(() => this.server.prepare());
  }

  check(): Promise<void> {
    return this.prepare();
  }

  /** Cuts the connection: operations fail with `UNAVAILABLE`, followers pause, leases run out. */
  cut(): void {
    if (this.#cut) return;
    this.#cut = true;
    this.server.leases.onCut(this);
  }

  /** Ends a cut: followers go on where they were. */
  heal(): void {
    if (!this.#cut) return;
    this.#cut = false;
    this.server.leases.onHeal(this);
    for (const goOn of this.#onHeal) goOn();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const released = this.connected;
    this.#closing.abort();
    this.server.leases.onClose(this, released);
    await Promise.all([...this.#open].map((each) => each.close()));
  }

  /** The one way to the server. What a network does to requests and answers is done here. */
  async #call<T>(action: () => T): Promise<T> {
    this.#assertConnected();
    // On its way: nothing of it happens in the caller's turn.
    await Promise.resolve();
    this.#assertConnected();
    return action();
  }

  #assertConnected(): void {
    if (this.connected) return;
    throw new BrokerError(
      'UNAVAILABLE',
      this.#cut ? 'There is no connection to the broker now.' : 'The broker is closed.',
    );
  }

  #follow(cluster: string, after: number, bounds: Bounds): InputFollower {
    const { server } = this;
    let last = after;
    let created = this.#created ?? server.inputCreated;
    let closed = false;
    let waits = false;
    const signal = this.#changes();

    const next = (): InputMessage[] => {
      created ??= server.inputCreated;
      if (
        created !== undefined &&
        (server.inputCreated !== created || server.inputInfo().lastSequence < last)
      ) {
        throw new BrokerError(
          'INPUT_REPLACED',
          'VF_IN is not the stream that was read. Positions in it must be verified again.',
        );
      }
      const batch: InputMessage[] = [];
      let bytes = 0;
      server.visitInputs(cluster, last, (message) => {
        if (batch.length === bounds.maxMessages) return false;
        if (batch.length > 0 && bytes + sizeOf(message) > bounds.maxBytes) return false;
        batch.push(message);
        bytes += sizeOf(message);
        return true;
      });
      last = batch.at(-1)?.sequence ?? last;
      return batch;
    };

    const follower: InputFollower = {
      take: async () => {
        if (waits) throw new TypeError('take() was called while an earlier take() waits');
        waits = true;
        try {
          while (!closed) {
            const batch = this.connected ? next() : [];
            if (batch.length > 0) return batch;
            await signal.next();
          }
          return undefined;
        } finally {
          waits = false;
        }
      },
      close: async () => {
        closed = true;
        this.#open.delete(follower);
        signal.close();
      },
    };
    this.#open.add(follower);
    return follower;
  }

  #watch(onMessage: (message: { sequence: number; subject: string }) => void): { close(): Promise<void> } {
    const { server } = this;
    let last = 0;
    let created: string | undefined;
    let closed = false;
    const signal = this.#changes();
    const read = async () => {
      while (!closed) {
        await Promise.resolve();
        if (this.connected && !closed) {
          if (created !== server.inputCreated) last = 0;
          created = server.inputCreated;
          server.visitInputs(undefined, last, ({ sequence, subject }) => {
            last = sequence;
            onMessage({ sequence, subject });
            return !closed;
          });
        }
        await signal.next();
      }
    };
    void read();
    const watcher = {
      close: async () => {
        closed = true;
        this.#open.delete(watcher);
        signal.close();
      },
    };
    this.#open.add(watcher);
    return watcher;
  }

  /** Tells of changes in `VF_IN` and of the connection being back. A change since the last `next` counts. */
  #changes(): { next(): Promise<void>; close(): void } {
    let changed = false;
    let wake: (() => void) | undefined;
    const tell = () => {
      changed = true;
      wake?.();
    };
    const stop = this.server.onInput(tell);
    this.#onHeal.add(tell);
    return {
      next: async () => {
        if (!changed) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        wake = undefined;
        changed = false;
      },
      close: () => {
        stop();
        this.#onHeal.delete(tell);
        tell();
      },
    };
  }
}
