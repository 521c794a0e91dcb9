import { resolve } from 'node:path';
import type { Head } from './chain.js';
import type { EventLog, ReadOptions, Snapshot } from './event-log.js';
import { lastOf, unpackRecords } from './packed-records.js';
import { checkRead, damageAtBeginning, recordsOf } from './port-rules.js';
import type { StoredDecision, StoredRecord } from './record.js';
import { SqliteConnection } from './sqlite-connection.js';
import type { SqliteLogOptions } from './sqlite-protocol.js';

export type { SqliteLogOptions } from './sqlite-protocol.js';

/** Milliseconds. At a thousand inputs a second there are two MiB by then. */
const CHECKPOINT_EVERY = 500;

/**
 * The log in an SQLite file, for one machine. Several processes may use one file at the same time.
 *
 * Everything that touches the disk runs in a worker thread. A person can read the file: `sqlite3 log.db
 * 'SELECT position, time, type, data FROM log'`.
 */
export class SqliteLog implements EventLog {
  readonly name: string;
  readonly #connection: SqliteConnection;
  /** Grows with everything that may have brought records. */
  #changes = 0;
  readonly #followers = new Set<() => void>();

  readonly #readers = new Set<SqliteLog>();
  readonly #file: string;
  readonly #options: SqliteLogOptions;

  private constructor(file: string, options: SqliteLogOptions) {
    this.name = `sqlite:${file}`;
    this.#file = file;
    this.#options = options;
    this.#connection = new SqliteConnection(file, options, () => this.#wakeFollowers());
  }

  /**
   * Opens the log file, and makes it and its directory where there is none.
   *
   * @throws LogError `NOT_ALLOWED` for a file that is not ours to write, of another application or of a newer
   *   release;
   *   `CORRUPT` for one that is torn, or whose tables were edited; `FULL`; `UNAVAILABLE`. A stream whose records are
   *   not as they were written is `CORRUPT` by itself.
   */
  static async open(file: string, options: SqliteLogOptions = {}): Promise<SqliteLog> {
    const log = new SqliteLog(resolve(file), options);
    await log.#connection.open();
    return log;
  }

  /**
   * Another handle on the same file with a thread of its own, for those who read much: they do not stand in
   * the way of appends. It hears of this handle's appends at once, and has its thread do the checkpoints that
   * appends would wait for. It is closed by itself.
   */
  async reader(): Promise<SqliteLog> {
    const reader = await SqliteLog.open(this.#file, { ...this.#options, checkpointEvery: CHECKPOINT_EVERY });
    this.#readers.add(reader);
    return reader;
  }

  async append(
    stream: string,
    expectedPosition: number,
    decisions: readonly StoredDecision[],
  ): Promise<void> {
    this.#connection.checkOpen();
    const records = recordsOf(expectedPosition, decisions);
    await this.#connection.call('append', { stream, expectedPosition, records });
    this.#wakeFollowers();
  }

  head(stream: string): Promise<Head> {
    return this.#connection.call('head', { stream });
  }

  async *read(
    stream: string,
    from: number,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    checkRead(from, options.verify);
    const { most } = options;
    const ask = (position: number, verify: Head | undefined) => {
      const chunk = this.#connection.call('read', {
        stream,
        from: position,
        ...(verify && { verify }),
        ...(most !== undefined && { most }),
      });
      // Awaited below, or not at all when the reader stops.
      chunk.catch(() => undefined);
      return chunk;
    };
    let next = ask(from, options.verify);
    for (;;) {
      const chunk = await next;
      const some = chunk.lengths.length > 0;
      // The worker reads on while the records of this chunk are dealt with; not for a reader that stops here.
      if (!chunk.end && some && most === undefined) {
        const last = lastOf(chunk);
        next = ask(last.position + 1, options.verify && last);
      }
      if (some) yield unpackRecords(chunk, options.inputs ?? true);
      if (chunk.end || !some) return;
      if (most !== undefined) {
        const last = lastOf(chunk);
        next = ask(last.position + 1, options.verify && last);
      }
    }
  }

  async *follow(
    stream: string,
    after: number,
    signal: AbortSignal,
    options: ReadOptions = {},
  ): AsyncGenerator<readonly StoredRecord[]> {
    let wake = (): void => undefined;
    const waker = (): void => wake();
    if (this.#followers.size === 0) this.#connection.watch(true);
    this.#followers.add(waker);
    signal.addEventListener('abort', waker);
    try {
      let position = after;
      let { verify } = options;
      while (!signal.aborted) {
        const seen = this.#changes;
        for await (const records of this.read(stream, position + 1, { ...options, verify })) {
          if (signal.aborted) return;
          yield records;
          const { hash, ...last } = records.at(-1)!;
          position = last.position;
          if (verify !== undefined) verify = { position, hash };
        }
        if (seen === this.#changes && !signal.aborted) await new Promise<void>((go) => (wake = go));
      }
    } finally {
      signal.removeEventListener('abort', waker);
      this.#followers.delete(waker);
      if (this.#followers.size === 0) this.#connection.watch(false);
    }
  }

  streams(): Promise<readonly string[]> {
    return this.#connection.call('streams', {});
  }

  incomplete(stream: string): Promise<string | undefined> {
    return damageAtBeginning(this, stream);
  }

  saveSnapshot(stream: string, snapshot: Snapshot): Promise<void> {
    return this.#connection.call('saveSnapshot', { stream, snapshot });
  }

  snapshots(stream: string): Promise<readonly Snapshot[]> {
    return this.#connection.call('snapshots', { stream });
  }

  /** Finishes what was asked for, brings everything into the one file and ends the thread. */
  close(): Promise<void> {
    return this.#connection.close();
  }

  #wakeFollowers(): void {
    this.#changes += 1;
    for (const waker of this.#followers) waker();
    for (const reader of this.#readers) reader.#wakeFollowers();
  }
}
