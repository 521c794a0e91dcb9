/** Whoever waits for a time. */
interface Sleeper {
  readonly until: number;
  readonly serial: number;
  readonly owner: Sleepless;
  readonly wake: () => void;
}

/** An owner of sleepers that may be unable to wake: a process that is frozen or dead. */
export interface Sleepless {
  readonly asleepForGood: boolean;
}

/** Time that goes only when it is told to; nobody waits for a real one. */
export class FakeClock {
  #time: number;
  #serial = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(begin: number) {
    this.#time = begin;
  }

  now(): number {
    return this.#time;
  }

  /** Runs `action` when the time has come. @returns how to call it off. */
  schedule(owner: Sleepless, milliseconds: number, action: () => void): () => void {
    const sleeper: Sleeper = {
      until: this.#time + milliseconds,
      serial: ++this.#serial,
      owner,
      wake: () => {
        this.#sleepers.delete(sleeper);
        action();
      },
    };
    this.#sleepers.add(sleeper);
    return () => this.#sleepers.delete(sleeper);
  }

  sleep(owner: Sleepless, milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        callOff();
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const callOff = this.schedule(owner, milliseconds, wake);
      signal?.addEventListener('abort', wake);
    });
  }

  /** When the next one who can wake wants to; undefined when nobody waits. */
  get next(): number | undefined {
    return this.#first()?.until;
  }

  /**
   * Goes on to the next one that is due by `time` and wakes it; without one the clock then stands at `time`.
   */
  advanceTo(time: number): boolean {
    const first = this.#first();
    if (first === undefined || first.until > time) {
      this.#time = Math.max(this.#time, time);
      return false;
    }
    this.#time = Math.max(this.#time, first.until);
    first.wake();
    return true;
  }

  #first(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.owner.asleepForGood) continue;
      if (
        first === undefined ||
        sleeper.until < first.until ||
        (sleeper.until === first.until && sleeper.serial < first.serial)
      )
        first = sleeper;
    }
    return first;
  }
}
