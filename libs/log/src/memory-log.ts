import { checkLink, emptyHead, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { EventLog, ReadOptions, Snapshot } from './event-log.js';
import { checkRead, damageAtBeginning, otherHead, recordsOf, recordsToAdd } from './port-rules.js';
import type { StoredDecision, StoredRecord } from './record.js';

/** How an append is made to fail, for tests of what is above the port. */
export type AppendFault =
  /** Nothing is written. */
  | { readonly code: 'UNAVAILABLE' | 'FULL' | 'NOT_ALLOWED' }
  /**
   * The first `decisions` of the call are written, all of them by default, and the caller does not learn it.
   */
  | { readonly code: 'OUTCOME_UNKNOWN'; readonly decisions?: number };

/** What all handles of one in-memory log share: its "disk". */
interface Storage {
  readonly streams: Map<string, StoredRecord[]>;
  readonly snapshots: Map<string, Snapshot[]>;
  /** Called after each append, by whichever handle. */
  readonly wakers: Set<() => void>;
}

const chunkSize = 1000;

/**
 * A log in memory: a real implementation of the port that passes the same suite as the others, for everything
 * above it.
 *
 * One instance may serve several users. {@link connect} gives a handle of its own on the same records, which
 * can be closed and made to fail alone, as a second process could.
 */
export class MemoryLog implements EventLog {
  readonly name: string;
  readonly #storage: Storage;
  readonly #faults: AppendFault[] = [];
  readonly #closers = new Set<() => void>();
  #held: Promise<void> | undefined;
  #appends: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: { readonly name?: string; readonly on?: MemoryLog } = {}) {
    const { on, name = on?.name ?? 'memory' } = options;
    this.name = name;
    this.#storage = on ? on.#storage : { streams: new Map(), snapshots: new Map(), wakers: new Set() };
  }

  /** Another handle on the same records: what a second process, or the next start of this one, has. */
  connect(): MemoryLog {
    return new MemoryLog({ on: this });
  }

  /** Makes the next append of this handle fail. Several faults are used up in order, one for each append. */
  failNextAppend(fault: AppendFault): void {
    this.#faults.push(fault);
  }

  /** Lets appends of this handle wait, as a slow disk does, until the returned function is called. */
  holdAppends(): () => void {
    let release = (): void => undefined;
    this.#held = new Promise((resolve) => (release = resolve));
    return () => {
      this.#held = undefined;
      release();
    };
  }

  /** Changes what is stored, past the port, for tests of what finds damage. */
  tamper(stream: string, change: (records: readonly StoredRecord[]) => readonly StoredRecord[]): void {
    this.#storage.streams.set(stream, [...change(this.#records(stream))]);
  }

  async append(
    stream: string,
    expectedPosition: number,
    decisions: readonly StoredDecision[],
  ): Promise<void> {
    this.#checkOpen();
    const records = recordsOf(expectedPosition, decisions);
    // One after the other, in the order of the calls, also while they are held.
    const turn = this.#appends.then(() => this.#held);
    this.#appends = turn;
    await turn;
    const fault = this.#faults.shift();
    if (fault === undefined) return this.#write(stream, expectedPosition, records);
    if (fault.code === 'OUTCOME_UNKNOWN') {
      this.#write(stream, expectedPosition, decisions.slice(0, fault.decisions).flat());
      throw new LogError(
        'OUTCOME_UNKNOWN',
        `${this.name} did not say whether the append to '${stream}' is in`,
      );
    }
    throw new LogError(fault.code, `${this.name} was told to fail this append to '${stream}'`);
  }

  async head(stream: string): Promise<Head> {
    this.#checkOpen();
    return this.#head(stream);
  }

  async *read(
    stream: string,
    from: number,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    checkRead(from, options.verify);
    let head = options.verify;
    let next = from;
    if (head !== undefined && from > 1) this.#checkHead(stream, head);
    for (;;) {
      this.#checkOpen();
      const stored = this.#records(stream).slice(next - 1, next - 1 + chunkSize);
      if (stored.length === 0) return;
      const good: StoredRecord[] = [];
      let damage: unknown;
      for (const record of stored) {
        try {
          if (record.position !== next) throw LogError.corrupt(stream, next, 'the record is missing');
          if (head !== undefined) head = checkLink(stream, head, record);
        } catch (error) {
          damage = error;
          break;
        }
        next += 1;
        good.push(options.inputs === false ? withoutInput(record) : record);
      }
      if (good.length > 0) yield good;
      if (damage !== undefined) throw damage;
    }
  }

  async *follow(
    stream: string,
    after: number,
    signal: AbortSignal,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    let changed = true;
    let wake = (): void => undefined;
    const waker = (): void => {
      changed = true;
      wake();
    };
    this.#storage.wakers.add(waker);
    this.#closers.add(waker);
    signal.addEventListener('abort', waker);
    try {
      let position = after;
      let verify = options.verify;
      while (!signal.aborted) {
        this.#checkOpen();
        changed = false;
        for await (const records of this.read(stream, position + 1, { ...options, verify })) {
          if (signal.aborted) return;
          yield records;
          const last = records.at(-1);
          if (last !== undefined) position = last.position;
          if (verify !== undefined && last !== undefined) verify = { position, hash: last.hash };
        }
        if (!changed && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#storage.wakers.delete(waker);
      this.#closers.delete(waker);
      signal.removeEventListener('abort', waker);
    }
  }

  async streams(): Promise<readonly string[]> {
    this.#checkOpen();
    return [...this.#storage.streams]
      .flatMap(([name, records]) => (records.length > 0 ? [name] : []))
      .toSorted();
  }

  incomplete(stream: string): Promise<string | undefined> {
    return damageAtBeginning(this, stream);
  }

  async saveSnapshot(stream: string, snapshot: Snapshot): Promise<void> {
    this.#checkOpen();
    const others = this.#snapshots(stream).filter(
      (other) => other.position !== snapshot.position || other.version !== snapshot.version,
    );
    this.#storage.snapshots.set(stream, [{ ...snapshot }, ...others].slice(0, 2));
  }

  async snapshots(stream: string): Promise<readonly Snapshot[]> {
    this.#checkOpen();
    return [...this.#snapshots(stream)];
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#appends;
    for (const waker of this.#closers) waker();
  }

  #write(stream: string, expectedPosition: number, records: readonly StoredRecord[]): void {
    const stored = this.#records(stream);
    const missing = recordsToAdd(stream, this.#head(stream), expectedPosition, records, (from, to) =>
      stored.slice(from - 1, to).map((record) => record.hash),
    );
    if (missing.length === 0) return;
    this.#storage.streams.set(stream, stored);
    for (const record of missing) stored.push(Object.freeze({ ...record }));
    for (const waker of this.#storage.wakers) waker();
  }

  #records(stream: string): StoredRecord[] {
    return this.#storage.streams.get(stream) ?? [];
  }

  #snapshots(stream: string): readonly Snapshot[] {
    return this.#storage.snapshots.get(stream) ?? [];
  }

  #head(stream: string): Head {
    const last = this.#records(stream).at(-1);
    return last === undefined ? emptyHead(stream) : { position: last.position, hash: last.hash };
  }

  #checkHead(stream: string, head: Head): void {
    const stored = this.#records(stream)[head.position - 1];
    if (stored?.hash === head.hash) return;
    throw LogError.corrupt(stream, head.position, otherHead(head, stored?.hash));
  }

  #checkOpen(): void {
    if (this.#closed) throw new LogError('UNAVAILABLE', `${this.name} is closed`);
  }
}

function withoutInput(record: StoredRecord): StoredRecord {
  const { input: _, ...rest } = record;
  return rest;
}
