import { gunzipSync, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import { dumpState, emptyState, evolve, HandedOutTwice, restoreState, type State } from '#domain';
import { emptyHead, type EventBody, type Head } from '#log';
import { ClusterProjection, placed } from './cluster-projection.js';
import { ReadError } from './errors.js';
import { RowWriter } from './pending-rows.js';
import { openReadFile, text, type ReadFile, type Row } from './read-file.js';

/** What is not in the file yet may be this much, in events, before it is written. */
const MOST_PENDING = 20_000;
/** A whole state is kept after this many events, so that any past one is this far at most from one. */
export const CHECKPOINT_EVERY = 100_000;
/** Checkpoints kept of a cluster; beyond, every second one goes. */
const MOST_CHECKPOINTS = 64;

/** What a file could not take for now: no room, a disk that fails, somebody who holds it. */
const LATER: ReadonlySet<number> = new Set([5, 6, 7, 8, 10, 13, 14]);
const LATER_NAMES = /^SQLITE_(BUSY|LOCKED|NOMEM|READONLY|IOERR|FULL|CANTOPEN)/;

function canBeWrittenLater(error: unknown): boolean {
  const { code, rawCode } = error as { code?: unknown; rawCode?: unknown };
  if (typeof rawCode === 'number' && LATER.has(rawCode & 0xff)) return true;
  return typeof code === 'string' && LATER_NAMES.test(code);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Where the file stands with a cluster. */
export interface Standing {
  readonly head: Head;
  /** Position of the whole state from which the present one is made: what is behind it must be taken again. */
  readonly base: number;
}

/** The read side's file with its projections; everything here blocks, and so it lives in a worker thread. */
export class Projector {
  private readonly file: ReadFile;
  private readonly writer: RowWriter;
  private readonly projections = new Map<string, ClusterProjection>();
  private readonly checkpoints: { cluster: number; head: Head; packed: Buffer }[] = [];
  private nextDetail: number;
  private pending = 0;
  /** Events of an earlier run that only bring the state to where the file is. */
  private readonly warming = new Map<string, { state: State; until: Head }>();

  constructor(
    directory: string,
    private readonly rememberedInputs: number,
  ) {
    this.file = openReadFile(directory);
    this.writer = new RowWriter(this.file.db);
    const [last] = this.file.db.prepare('SELECT coalesce(max(id), 0) FROM detail').raw().get() as Row;
    this.nextDetail = Number(last) + 1;
  }

  get db(): ReadFile['db'] {
    return this.file.db;
  }

  get path(): string {
    return this.file.path;
  }

  get madeAgain(): string | undefined {
    return this.file.madeAgain;
  }

  /** Where the file stands with a cluster, without beginning anything. */
  standing(cluster: string): Head | undefined {
    const row = this.db
      .prepare('SELECT position, CAST(hash AS BLOB) FROM cluster WHERE name = ?')
      .raw()
      .get([cluster]) as Row | undefined;
    return row === undefined ? undefined : { position: Number(row[0]), hash: text(row[1]) };
  }

  /**
   * Begins with a cluster: from where the file is, or from nothing.
   *
   * @returns the position behind which records are to be given to {@link take}.
   */
  begin(cluster: string, again: boolean): number {
    this.flush();
    let id = this.clusterId(cluster);
    if (id !== undefined && again) {
      this.forget(id);
      id = undefined;
    }
    if (id === undefined) {
      this.db
        .prepare('INSERT INTO cluster (name, position, hash, time) VALUES (?, 0, ?, 0)')
        .run([cluster, emptyHead(cluster).hash]);
      id = this.clusterId(cluster) as number;
    }
    const until = this.standing(cluster) as Head;
    const state = nearestState(this.db, cluster, id, until.position, this.rememberedInputs);
    this.projections.delete(cluster);
    this.warming.set(cluster, { state, until });
    this.warm(cluster, id);
    return state.position;
  }

  /**
   * Takes records in.
   *
   * @param hashes 64 characters for each body.
   * @throws ReadError `STOPPED` when an event is not known, or makes no sense, `TWO_HOLDERS` when it gives a VF that
   *   somebody has; what was written before is kept.
   */
  take(cluster: string, bodies: readonly EventBody[], hashes: string): void {
    let index = 0;
    const warming = this.warming.get(cluster);
    if (warming !== undefined) {
      for (; index < bodies.length && warming.state.position < warming.until.position; index++) {
        evolve(warming.state, placed(bodies[index] as EventBody));
      }
      this.warm(cluster, this.clusterId(cluster) as number);
    }
    const projection = this.projections.get(cluster);
    if (projection === undefined) {
      if (this.warming.has(cluster)) return;
      throw new ReadError(
        'UNAVAILABLE',
        `the read side of cluster '${cluster}' is begun again from its file`,
      );
    }
    for (; index < bodies.length; index++) {
      const body = bodies[index] as EventBody;
      try {
        projection.take(body);
      } catch (error) {
        // What the event has left half done must not be written.
        this.projections.delete(cluster);
        const why = error instanceof Error ? error.message : String(error);
        throw new ReadError(
          error instanceof HandedOutTwice ? 'TWO_HOLDERS' : 'STOPPED',
          `the read side of cluster '${cluster}' stands still before position ${body.position}: ${why}`,
        );
      }
      projection.head = { position: body.position, hash: hashes.slice(index * 64, index * 64 + 64) };
      this.pending++;
      if (body.position % CHECKPOINT_EVERY === 0) void this.checkpoint(projection);
    }
    if (this.pending >= MOST_PENDING) this.flush();
  }

  positionOf(cluster: string): number {
    return this.projections.get(cluster)?.head.position ?? this.warming.get(cluster)?.state.position ?? 0;
  }

  /** The state as it is now; undefined while it is being brought there. */
  stateOf(cluster: string): { readonly state: State; readonly head: Head } | undefined {
    return this.projections.get(cluster);
  }

  clusterId(cluster: string): number | undefined {
    const row = this.db.prepare('SELECT id FROM cluster WHERE name = ?').raw().get([cluster]) as
      Row | undefined;
    return row === undefined ? undefined : Number(row[0]);
  }

  /** Writes what is pending, with the positions, in one transaction. */
  flush(): void {
    if (this.pending === 0 && this.checkpoints.length === 0) return;
    this.db.exec('BEGIN IMMEDIATE');
    try {
      for (const { id, head, state, rows } of this.projections.values()) {
        rows.write(this.writer);
        this.db
          .prepare('UPDATE cluster SET position = ?, hash = ?, time = ? WHERE id = ?')
          .run([head.position, head.hash, state.clock, id]);
      }
      for (const { cluster, head, packed } of this.checkpoints) {
        this.db
          .prepare('INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?)')
          .run([cluster, head.position, head.hash, packed]);
        this.thin(cluster);
      }
      this.db.exec('COMMIT');
      for (const { rows } of this.projections.values()) rows.clear();
      this.pending = 0;
      this.checkpoints.length = 0;
    } catch (error) {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
      if (canBeWrittenLater(error)) {
        throw new ReadError(
          'UNAVAILABLE',
          `the read side's file ${this.path} cannot be written now (${messageOf(error)}): what is not in it yet is kept, and written when there is room`,
        );
      }
      // What was pending is given up with its rows, so everything is begun again from the file.
      this.pending = 0;
      this.checkpoints.length = 0;
      this.projections.clear();
      throw error;
    }
  }

  /** Keeps the states as they are, so that the next start need not replay, and lets go. */
  async close(): Promise<void> {
    for (const projection of this.projections.values()) {
      const kept = this.db
        .prepare('SELECT coalesce(max(position), 0) FROM checkpoint WHERE cluster = ?')
        .raw()
        .get([projection.id]) as Row;
      if (projection.head.position - Number(kept[0]) >= 1000) await this.checkpoint(projection);
    }
    try {
      this.flush();
    } finally {
      this.file.close();
    }
  }

  private async checkpoint({ id, state, head }: ClusterProjection): Promise<void> {
    // The state goes on while this is compressed.
    const dump = dumpState(state);
    const packed = await promisify(gzip)(dump, { level: 1 });
    this.checkpoints.push({ cluster: id, head, packed });
  }

  /** Half of the older checkpoints go when there are too many. */
  private thin(cluster: number): void {
    const rows = this.db
      .prepare('SELECT position FROM checkpoint WHERE cluster = ? ORDER BY position')
      .raw()
      .all([cluster]) as Row[];
    if (rows.length <= MOST_CHECKPOINTS) return;
    const remove = this.db.prepare('DELETE FROM checkpoint WHERE cluster = ? AND position = ?');
    for (const [index, [position]] of rows.slice(0, -8).entries()) {
      if (index % 2 === 0) remove.run([cluster, position]);
    }
  }

  private warm(cluster: string, id: number): void {
    const warming = this.warming.get(cluster);
    if (warming === undefined || warming.state.position < warming.until.position) return;
    this.warming.delete(cluster);
    const projection = new ClusterProjection(id, warming.state, warming.until, () => this.nextDetail++);
    const stays = this.db
      .prepare(
        'SELECT CAST(vm AS BLOB), CAST(host AS BLOB), valid_from FROM stay WHERE cluster = ? AND valid_to IS NULL',
      )
      .raw()
      .all([id]) as Row[];
    for (const [vm, host, from] of stays) projection.rememberStay(text(vm), text(host), Number(from));
    const decision = this.db
      .prepare('SELECT decision FROM event WHERE cluster = ? AND position = ?')
      .raw()
      .get([id, warming.until.position]) as Row | undefined;
    if (decision !== undefined) projection.rememberDecision(Number(decision[0]));
    this.projections.set(cluster, projection);
  }

  private forget(id: number): void {
    this.db.exec('BEGIN IMMEDIATE');
    const tables = this.db
      .prepare(
        "SELECT CAST(name AS BLOB) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
      )
      .raw()
      .all() as Row[];
    for (const [name] of tables) {
      const table = text(name);
      if (table === 'about' || table === 'detail') continue;
      this.db.prepare(`DELETE FROM ${table} WHERE ${table === 'cluster' ? 'id' : 'cluster'} = ?`).run([id]);
    }
    this.db.exec('COMMIT');
  }
}

/** The state at the newest checkpoint that is not behind a position. */
export function nearestState(
  db: ReadFile['db'],
  cluster: string,
  id: number,
  position: number,
  rememberedInputs: number,
): State {
  const row = db
    .prepare(
      'SELECT state_gzip FROM checkpoint WHERE cluster = ? AND position <= ? ORDER BY position DESC LIMIT 1',
    )
    .raw()
    .get([id, position]) as Row | undefined;
  if (row === undefined) return emptyState(cluster, { rememberedInputs });
  return restoreState(gunzipSync(row[0] as Uint8Array).toString('utf8'), { rememberedInputs });
}
