import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'libsql';
import { LogError } from './errors.js';
import type { SqliteLogOptions } from './sqlite-protocol.js';
import { applicationId, pageSize, schema, schemaVersion } from './sqlite-schema.js';
import type { Row } from './sqlite-statements.js';

const defaultBusyTimeout = 2000;

/**
 * Opens or creates a log file, in the mode in which a commit is durable.
 *
 * What is not a log of ours is refused before anything in it is changed.
 *
 * @param mustExist when it was there before: then a new one in its place would hide the loss.
 * @throws LogError, or what the file system and libsql throw.
 */
export function openDatabase(path: string, options: SqliteLogOptions, mustExist: boolean): Database.Database {
  const timeout = options.busyTimeout ?? defaultBusyTimeout;
  const exists = prepareFile(path, mustExist);
  const db = new Database(path, { timeout });
  try {
    if (!exists || isBlank(db)) create(db, timeout);
    checkForm(db, path);
    configure(db, options, timeout);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Sees to the directory.
 *
 * @returns whether the file is there and not empty.
 */
function prepareFile(path: string, mustExist: boolean): boolean {
  const size = sizeOf(path);
  if (size > 0) return true;
  if (sizeOf(`${path}-wal`) > 0) {
    throw new LogError(
      'CORRUPT',
      `the log file '${path}' is ${size === 0 ? 'empty' : 'missing'}, but '${path}-wal', a part of it, is not: ` +
        'put the file back beside it, or move the rest away to begin a new log',
    );
  }
  if (mustExist) {
    throw new LogError('NOT_ALLOWED', `the log file '${path}' was removed while it was in use: put it back`);
  }
  const firstMade = mkdirSync(dirname(path), { recursive: true });
  // The new names must outlive a crash as the records do.
  for (
    let made = dirname(path);
    firstMade !== undefined && made.length >= firstMade.length;
    made = dirname(made)
  ) {
    syncDirectory(dirname(made));
  }
  return false;
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return -1;
    throw error;
  }
}

function syncDirectory(directory: string): void {
  let handle: number | undefined;
  try {
    handle = openSync(directory, 'r');
    fsyncSync(handle);
  } catch {
    // Some systems cannot sync a directory (Windows), or let us pass through one but not read it.
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

function create(db: Database.Database, timeout: number): void {
  db.exec(`PRAGMA page_size = ${pageSize}`);
  enterWalMode(db, timeout);
  db.exec('PRAGMA synchronous = FULL');
  db.exec('BEGIN IMMEDIATE');
  try {
    // Another process may have been faster.
    if (isBlank(db)) {
      db.exec(`${schema} PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion};`);
    }
    db.exec('COMMIT');
  } catch (error) {
    if (db.inTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Whether nothing was ever made in it: a new file, or one whose making was interrupted. */
function isBlank(db: Database.Database): boolean {
  const objects = Number((db.prepare('SELECT count(*) FROM sqlite_schema').raw().get() as Row)[0]);
  return objects === 0 && pragma(db, 'application_id') === 0 && pragma(db, 'user_version') === 0;
}

function checkForm(db: Database.Database, path: string): void {
  const application = pragma(db, 'application_id');
  if (application !== applicationId) {
    throw new LogError(
      'NOT_ALLOWED',
      `'${path}' is an SQLite file of another application (id ${application}): name another file for the log`,
    );
  }
  const version = pragma(db, 'user_version');
  if (version !== schemaVersion) {
    throw new LogError(
      'NOT_ALLOWED',
      `the log file '${path}' has format ${version}, this release knows ${schemaVersion}: ` +
        'use the release that made it, or a newer one',
    );
  }
  checkDeclarations(db);
}

function configure(db: Database.Database, options: SqliteLogOptions, timeout: number): void {
  enterWalMode(db, timeout);
  // fullfsync: on macOS a plain fsync does not reach the disk.
  for (const setting of [
    'synchronous = FULL',
    'fullfsync = ON',
    'checkpoint_fullfsync = ON',
    'cell_size_check = ON',
    // Pages. Only where no other thread does it in time (see `checkpointEvery`): a commit waits for this one.
    'wal_autocheckpoint = 4096',
  ]) {
    db.exec(`PRAGMA ${setting}`);
  }
  if (options.maxBytes !== undefined) {
    const pages = Math.max(1, Math.floor(options.maxBytes / pragma(db, 'page_size')));
    db.prepare(`PRAGMA max_page_count = ${pages}`).raw().get();
  }
}

/** What SQLite keeps of the statements that made the tables, byte for byte. Others may be beside them. */
function declarations(db: Database.Database): ReadonlySet<string> {
  const rows = db
    .prepare(
      `SELECT CAST(concat(type, char(10), name, char(10), tbl_name, char(10), sql) AS BLOB) FROM sqlite_schema`,
    )
    .raw()
    .all() as Row[];
  return new Set(rows.map((row) => (row[0] as Buffer).toString('latin1')));
}

function checkDeclarations(db: Database.Database): void {
  const found = declarations(db);
  const model = new Database(':memory:');
  try {
    model.exec(schema);
    for (const expected of declarations(model)) {
      if (found.has(expected)) continue;
      const [type, name] = expected.split('\n');
      throw new LogError(
        'CORRUPT',
        `its ${type} '${name}' is not as it was made, or missing: restore it from a backup taken before, ` +
          'or ask for help with the file as it is',
      );
    }
  } finally {
    model.close();
  }
}

/** SQLite does not wait by itself when another process changes the mode at the same time. */
function enterWalMode(db: Database.Database, timeout: number): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (const until = Date.now() + timeout; ; Atomics.wait(pause, 0, 0, 10)) {
    try {
      db.prepare('PRAGMA journal_mode = WAL').raw().get();
      return;
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      if (!code.startsWith('SQLITE_BUSY') || Date.now() > until) throw error;
    }
  }
}

function pragma(db: Database.Database, name: string): number {
  return Number((db.prepare(`PRAGMA ${name}`).raw().get() as Row)[0]);
}
