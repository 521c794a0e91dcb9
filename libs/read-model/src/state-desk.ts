import { Pace, type EventLog } from '#log';
import { ReadError } from './errors.js';
import type { Answered } from './protocol.js';
import { Pump, toBatch } from './records.js';
import { Thread } from './thread.js';

/** Questions that may wait. */
const MOST_WAITING = 32;
/** A thread that nobody asks is ended after this many milliseconds: a state takes memory. */
const IDLE = 60_000;

export interface StateDeskOptions {
  readonly log: EventLog;
  readonly rememberedInputs: number;
  /** Of the read side's file. */
  readonly path: () => string;
}

/** A state brought back, to be asked about. */
export interface RestoredState {
  imagine(name: string, request: object): Promise<Answered>;
}

/**
 * Answers from whole states of the past: from the nearest checkpoint, and the events behind it. One question
 * at a time, in a thread of its own.
 */
export class StateDesk {
  private thread: Thread | undefined;
  private turn: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private idle: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly options: StateDeskOptions) {}

  /**
   * Brings the state at a position back and works with it.
   *
   * @throws ReadError `BUSY` when too many wait.
   */
  async with<T>(cluster: string, position: number, work: (state: RestoredState) => Promise<T>): Promise<T> {
    return this.inTurn(async (thread) => {
      const base = await thread.call('restore', { cluster, position });
      await this.evolve(thread, cluster, base, position);
      return work(restored(thread));
    });
  }

  /** Replays a cluster from its first event, stopping at the given positions. */
  async replay(
    cluster: string,
    stops: readonly number[],
    look: (position: number, state: RestoredState) => Promise<void>,
  ): Promise<void> {
    return this.inTurn(async (thread) => {
      let at = await thread.call('restore', { cluster, position: 0, empty: true });
      for (const stop of stops) {
        await this.evolve(thread, cluster, at, stop);
        at = stop;
        await look(stop, restored(thread));
      }
    });
  }

  /** Lets go of the state that was brought back last: it is of a log that is no more. */
  async forget(): Promise<void> {
    this.turn = this.turn.then(() => this.rest());
    await this.turn;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.idle);
    await this.thread?.close();
  }

  private async inTurn<T>(work: (thread: Thread) => Promise<T>): Promise<T> {
    if (this.waiting >= MOST_WAITING) {
      throw new ReadError(
        'BUSY',
        `${MOST_WAITING} questions about whole states wait already: ask again later`,
      );
    }
    this.waiting++;
    const mine = this.turn.then(async () => {
      clearTimeout(this.idle);
      return work(await this.opened());
    });
    this.turn = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      this.waiting--;
      if (this.waiting === 0 && !this.closed) {
        clearTimeout(this.idle);
        this.idle = setTimeout(() => void this.rest(), IDLE);
        this.idle.unref();
      }
    }
  }

  private async rest(): Promise<void> {
    const { thread } = this;
    this.thread = undefined;
    await thread?.close();
  }

  private async opened(): Promise<Thread> {
    if (this.closed) throw new ReadError('UNAVAILABLE', 'the read side is closed');
    if (this.thread === undefined || this.thread.ended) {
      const thread = new Thread('state-worker.js');
      this.thread = thread;
      const { rememberedInputs } = this.options;
      await thread.call('open', { directory: this.options.path(), rememberedInputs });
    }
    return this.thread;
  }

  private async evolve(thread: Thread, cluster: string, from: number, to: number): Promise<void> {
    if (from >= to) return;
    const pump = new Pump((records) => thread.call('evolve', { bodies: toBatch(records).bodies }));
    let last = from;
    const pace = new Pace();
    for await (const records of this.options.log.read(cluster, from + 1, { inputs: false })) {
      const wanted = records.slice(0, to - last);
      last += wanted.length;
      await pump.take(wanted);
      if (last >= to) break;
      await pace.rest();
    }
    await pump.finish();
    if (last < to)
      throw new ReadError('UNAVAILABLE', `the log of '${cluster}' ends at ${last}, before position ${to}`);
  }
}

const restored = (thread: Thread): RestoredState => ({
  imagine: (name, request) => thread.call('imagine', { name, request }),
});
