import { isUtf8 } from 'node:buffer';
import { hash as digest } from 'node:crypto';
import { statSync, type Stats } from 'node:fs';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type Database from 'libsql';
import { emptyHead, type Head } from './chain.js';
import { LogError } from './errors.js';
import type { Snapshot } from './event-log.js';
import { goodPart, lastOf, recordLength, type PackedRecords } from './packed-records.js';
import { otherHead, recordsToAdd } from './port-rules.js';
import type { StoredRecord } from './record.js';
import { sqliteFailure, type Doing } from './sqlite-errors.js';
import { openDatabase } from './sqlite-open.js';
import type { SqliteLogOptions } from './sqlite-protocol.js';
import { insertRows, prepareStatements, type Row } from './sqlite-statements.js';

/**
 * Rows read at once. More made reading slower (the buffers leave the cache), fewer too (a message for each).
 */
const chunkRows = 512;
/**
 * A chunk is made smaller until it has less than this, however big its records are: to take it in, the thread that decides
 * needs some milliseconds.
 */
const chunkBytes = 512 << 10;

/** The log file with its connection; everything here blocks, and so it lives in the worker thread. */
export class SqliteFile {
  readonly #identity: Stats;
  readonly #streamIds = new Map<string, number>();
  readonly #statements: ReturnType<typeof prepareStatements>;
  /** What is wrong with streams, each for itself, as it was seen when the file was opened. */
  readonly #damage = new Map<string, LogError>();
  /** The file's {@link dataVersion} up to which everything is in it. */
  #checkpointed = -1;

  /** @param db checked already: libsql ends the whole process on a declaration that is not text. */
  private constructor(
    readonly path: string,
    private readonly db: Database.Database,
  ) {
    this.#statements = prepareStatements(db);
    this.#identity = statSync(path);
  }

  /**
   * Opens or creates the file and checks its form and the end of each stream. A stream that is damaged is not written
   * any more, and its end is not told: the others are served, and what is good of it can be read.
   */
  static open(path: string, options: SqliteLogOptions, mustExist: boolean): SqliteFile {
    return guarded(path, 'open', undefined, () => {
      const db = openDatabase(path, options, mustExist);
      try {
        const file = new SqliteFile(path, db);
        file.#checkStreams(options.checkLast ?? 1000);
        return file;
      } catch (error) {
        db.close();
        throw error;
      }
    });
  }

  append(stream: string, expectedPosition: number, records: readonly StoredRecord[]): void {
    const about = `stream '${stream}' behind position ${expectedPosition}`;
    this.#checkInPlace();
    this.#checkSound(stream);
    this.#write(about, () => {
      const id = this.#streamId(stream);
      const missing = recordsToAdd(stream, this.#head(stream, id), expectedPosition, records, (from, to) =>
        this.#statements.hashes.all([id, from, to]).map((row) => text((row as Row)[0])),
      );
      if (missing.length === 0) return;
      const key = id ?? this.#addStream(stream);
      const values = missing.map(({ position, hash, body, input }) => [
        key,
        position,
        hash,
        body,
        input ?? null,
      ]);
      let done = 0;
      for (; done + insertRows <= values.length; done += insertRows) {
        this.#statements.insertMany.run(values.slice(done, done + insertRows).flat());
      }
      for (const row of values.slice(done)) this.#statements.insert.run(row);
    });
  }

  head(stream: string): Head {
    this.#checkSound(stream);
    return guarded(this.path, 'read', `stream '${stream}'`, () => this.#head(stream, this.#streamId(stream)));
  }

  /** The next records; without any only at the end. */
  read(stream: string, from: number, verify?: Head, most = chunkRows): PackedRecords {
    return guarded(this.path, 'read', `stream '${stream}' from position ${from}`, () => {
      const id = this.#streamId(stream);
      if (verify !== undefined && from > 1) {
        const stored = id === undefined ? undefined : this.#hashAt(id, from - 1);
        if (stored !== verify.hash) throw LogError.corrupt(stream, from - 1, otherHead(verify, stored));
      }
      if (id === undefined) return { from, bytes: new Uint8Array(0), lengths: new Int32Array(0), end: true };
      const packed = this.#pack(stream, id, from, verify?.hash ?? '0'.repeat(64), Math.min(most, chunkRows));
      return goodPart(stream, packed, verify);
    });
  }

  streams(): readonly string[] {
    return guarded(this.path, 'read', 'its streams', () =>
      this.#statements.streams
        .all()
        .map((row) => text((row as Row)[1]))
        .toSorted(),
    );
  }

  async saveSnapshot(stream: string, snapshot: Snapshot): Promise<void> {
    const { position, hash, version, state } = snapshot;
    // Off this thread too, so that appends go on meanwhile.
    const packed = await promisify(gzip)(state, { level: 1 });
    const checksum = snapshotChecksum(stream, snapshot, packed);
    this.#checkInPlace();
    this.#write(`snapshot of stream '${stream}'`, () => {
      const id = this.#streamId(stream) ?? this.#addStream(stream);
      this.#statements.dropSnapshot.run([id, position, version]);
      const saved = new Date().toISOString();
      this.#statements.insertSnapshot.run([id, position, hash, version, saved, checksum, packed]);
      this.#statements.keepNewest.run([id, id]);
    });
  }

  async snapshots(stream: string): Promise<readonly Snapshot[]> {
    this.#checkSound(stream);
    const found: Snapshot[] = [];
    for (const key of this.#snapshotKeys(stream)) {
      const snapshot = await this.#snapshot(stream, key);
      if (snapshot !== undefined) found.push(snapshot);
    }
    return found;
  }

  /** A number that changes when another connection has changed the file. */
  dataVersion(): number {
    return Number((this.#statements.dataVersion.get() as Row)[0]);
  }

  /**
   * Brings what is in the write-ahead log into the file, without waiting for anybody. A commit that does it has
   * its writer wait for two syncs.
   */
  checkpoint(): void {
    try {
      const version = this.dataVersion();
      if (version === this.#checkpointed) return;
      this.db.prepare('PRAGMA wal_checkpoint(PASSIVE)').raw().get();
      this.#checkpointed = version;
    } catch {
      // Nothing depends on it; what is wrong is said to who writes.
    }
  }

  close(): void {
    try {
      this.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // The next open does it; nothing depends on it.
    }
    this.db.close();
  }

  /** Runs `work` in one transaction: all of it is durable, or nothing of it is there. */
  #write(about: string, work: () => void): void {
    let doing: Doing = 'write';
    try {
      this.db.exec('BEGIN IMMEDIATE');
      const streams = new Set(this.#streamIds.keys());
      try {
        work();
        doing = 'commit';
        this.db.exec('COMMIT');
      } catch (error) {
        if (this.db.inTransaction) this.db.exec('ROLLBACK');
        for (const name of this.#streamIds.keys()) if (!streams.has(name)) this.#streamIds.delete(name);
        throw error;
      }
    } catch (error) {
      throw normalised(error, this.path, doing, about);
    }
  }

  /**
   * Whether the file is still the one that was opened: else appends would go to a file that has no name any
   * more.
   */
  #checkInPlace(): void {
    let now: Stats | undefined;
    try {
      now = statSync(this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        throw normalised(error, this.path, 'write', undefined);
    }
    if (now?.ino === this.#identity.ino && now.dev === this.#identity.dev) return;
    throw new LogError(
      'NOT_ALLOWED',
      `the log file '${this.path}' was ${now === undefined ? 'removed' : 'replaced'} while it was open; ` +
        'nothing was written: put it back, or start again if that was meant',
    );
  }

  #streamId(stream: string): number | undefined {
    const known = this.#streamIds.get(stream);
    if (known !== undefined) return known;
    const row = this.#statements.streamId.get([stream]) as Row | undefined;
    if (row === undefined) return undefined;
    const id = Number(row[0]);
    this.#streamIds.set(stream, id);
    return id;
  }

  #addStream(stream: string): number {
    this.#statements.insertStream.run([stream]);
    return this.#streamId(stream)!;
  }

  #head(stream: string, id: number | undefined): Head {
    const row = id === undefined ? undefined : (this.#statements.last.get([id]) as Row | undefined);
    return row === undefined ? emptyHead(stream) : { position: Number(row[0]), hash: text(row[1]) };
  }

  #hashAt(id: number, position: number): string | undefined {
    // Not `get`: after an `all` of the same statement libsql gives the first row of that one.
    const [row] = this.#statements.hashes.all([id, position, position]) as Row[];
    return row === undefined ? undefined : text(row[0]);
  }

  /**
   * The records from a position on, up to the end as it is now. The end is looked up first, and nothing behind it
   * is read: what another process appends meanwhile must not look like a gap.
   */
  #pack(stream: string, id: number, from: number, previousHash: string, most: number): PackedRecords {
    const last = Number((this.#statements.lastPosition.get([id]) as Row)[0]);
    let to = Math.min(from + most, last + 1);
    for (;;) {
      const size = Number((this.#statements.size.get([id, from, to]) as Row)[0]);
      if (size <= chunkBytes || to - from <= 1) break;
      to = from + Math.max(1, Math.floor(((to - from) * chunkBytes) / size / 2));
    }
    const [list, packed] = this.#statements.pack.get([previousHash, id, from, to]) as Row;
    const numbers = JSON.parse(`[${typeof list === 'string' ? list : ''}]`) as number[];
    const count = numbers.length / 3;
    const lengths = new Int32Array(2 * count);
    let inOrder = 0;
    let size = 64;
    for (; inOrder < count && numbers[3 * inOrder] === from + inOrder; inOrder++) {
      lengths[2 * inOrder] = numbers[3 * inOrder + 1]!;
      lengths[2 * inOrder + 1] = numbers[3 * inOrder + 2]!;
      size += recordLength(lengths, 2 * inOrder);
    }
    const bytes = (packed ?? new Uint8Array(0)) as Uint8Array<ArrayBuffer>;
    if (inOrder === count && count > 0 && bytes.length !== size) {
      const row = this.#statements.badHash.get([id, from, to]) as Row | undefined;
      throw LogError.corrupt(stream, Number(row?.[0] ?? from), 'its hash has not 64 characters');
    }
    const end = from + inOrder > last;
    if (inOrder === 0 && !end)
      throw LogError.corrupt(stream, from, 'the record is missing or cannot be read');
    return {
      from,
      bytes: bytes.subarray(0, inOrder === 0 ? 0 : size),
      lengths: lengths.subarray(0, 2 * inOrder),
      end,
    };
  }

  /**
   * Looks for what a torn or edited file shows at little cost: gaps anywhere, wrong hashes in the last
   * records.
   */
  #checkStreams(last: number): void {
    const counts = new Map<number, Row>();
    for (const row of this.#statements.counts.all() as Row[]) counts.set(Number(row[0]), row);
    for (const [id, nameBytes] of this.#statements.streams.all() as Row[]) {
      const stream = text(nameBytes);
      const span = counts.get(Number(id)) ?? [0, 0, 1, 0];
      counts.delete(Number(id));
      try {
        this.#checkStream(stream, Number(id), span, last);
      } catch (error) {
        if (!(error instanceof LogError) || error.position === undefined) throw error;
        this.#damage.set(stream, error);
      }
    }
    const [orphan] = counts.keys();
    if (orphan !== undefined) {
      throw new LogError('CORRUPT', `its table 'stream' has no name for the records with stream ${orphan}`);
    }
  }

  #checkStream(stream: string, id: number, [, count, first, end]: Row, last: number): void {
    if (first !== 1) throw LogError.corrupt(stream, 1, 'the record is missing');
    if (count !== end) {
      const gap = this.#statements.gap.get([id]) as Row;
      throw LogError.corrupt(stream, Number(gap[0]), 'the record is missing');
    }
    this.#checkLast(stream, id, Number(end), last);
  }

  /** @throws LogError `CORRUPT` for a stream that was damaged when the file was opened. */
  #checkSound(stream: string): void {
    const damage = this.#damage.get(stream);
    if (damage !== undefined) throw normalised(damage, this.path, 'read', undefined);
  }

  #checkLast(stream: string, id: number, end: number, last: number): void {
    const after = Math.max(0, end - last);
    let head = after === 0 ? emptyHead(stream) : { position: after, hash: this.#hashAt(id, after)! };
    while (head.position < end) head = lastOf(this.read(stream, head.position + 1, head));
  }

  #snapshotKeys(stream: string): readonly number[] {
    return guarded(this.path, 'read', `snapshots of stream '${stream}'`, () => {
      const id = this.#streamId(stream);
      if (id === undefined) return [];
      return (this.#statements.snapshotKeys.all([id]) as Row[]).map((row) => Number(row[0]));
    });
  }

  async #snapshot(stream: string, key: number): Promise<Snapshot | undefined> {
    try {
      const row = this.#statements.snapshot.get([key]) as Row | undefined;
      if (row === undefined) return undefined;
      const [position, hash, version, checksum, packed] = row;
      const found = { position: Number(position), hash: text(hash), version: text(version) };
      if (text(checksum) !== snapshotChecksum(stream, found, packed as Uint8Array)) return undefined;
      const state = await promisify(gunzip)(packed as Uint8Array);
      return { ...found, state: state.toString('utf8') };
    } catch {
      // Losing a snapshot is harmless: whoever asks replays from an older one, or from the first record.
      return undefined;
    }
  }
}

/** Text that was read as a BLOB. */
function text(value: unknown): string {
  const bytes = value as Uint8Array;
  if (!isUtf8(bytes)) throw new LogError('CORRUPT', 'a name or hash in it is not text');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function snapshotChecksum(stream: string, snapshot: Omit<Snapshot, 'state'>, packed: Uint8Array): string {
  const { position, hash, version } = snapshot;
  return digest('sha256', JSON.stringify([stream, position, hash, version, digest('sha256', packed)]));
}

function guarded<T>(path: string, doing: Doing, about: string | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw normalised(error, path, doing, about);
  }
}

function normalised(error: unknown, path: string, doing: Doing, about: string | undefined): unknown {
  // Bugs stay what they are.
  if (error instanceof TypeError || error instanceof RangeError) return error;
  if (error instanceof LogError) {
    if (error.code !== 'CORRUPT' || error.message.includes(path)) return error;
    return new LogError('CORRUPT', `'${path}': ${error.message}`, { cause: error, position: error.position });
  }
  return sqliteFailure(error, path, doing, about);
}
