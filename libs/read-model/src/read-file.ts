import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'libsql';
import { applicationId, form, schema } from './schema.js';

export type Row = readonly unknown[];

/** Instances that may work in one data directory at the same time. */
const MOST_INSTANCES = 16;

/** The read side's file, held by this process alone. */
export interface ReadFile {
  readonly path: string;
  readonly db: Database.Database;
  /** Why it begins from nothing, where it does although there was a file. */
  readonly madeAgain?: string;
  close(): void;
}

/**
 * Takes the first read file of a directory that no other process holds: `read.db`, `read-2.db`, …
 *
 * The lock is one that the operating system takes back when the process ends, however it ends.
 */
export function openReadFile(directory: string): ReadFile {
  mkdirSync(directory, { recursive: true });
  for (let instance = 1; instance <= MOST_INSTANCES; instance++) {
    const path = join(directory, instance === 1 ? 'read.db' : `read-${instance}.db`);
    const lock = takeLock(`${path}-lock`);
    if (lock === undefined) continue;
    try {
      const { db, madeAgain } = openOrMake(path);
      return {
        path,
        db,
        ...(madeAgain === undefined ? undefined : { madeAgain }),
        close: () => {
          db.close();
          lock.close();
        },
      };
    } catch (error) {
      lock.close();
      throw error;
    }
  }
  throw new Error(
    `${MOST_INSTANCES} processes have their read side in ${dirname(join(directory, 'x'))} already: set VF_DATA_DIR to another directory`,
  );
}

function takeLock(path: string): Database.Database | undefined {
  const lock = new Database(path, { timeout: 0 });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if (/lock|busy/i.test(String(error))) return undefined;
    throw error;
  }
}

function openOrMake(path: string): { db: Database.Database; madeAgain?: string } {
  let why: string | undefined;
  try {
    const db = new Database(path);
    const found = formOf(db);
    if (found === form) {
      configure(db);
      return { db };
    }
    db.close();
    if (found !== undefined) why = `it has form ${found}, and this version writes ${form}`;
  } catch (error) {
    why = `it cannot be read (${error instanceof Error ? error.message : String(error)})`;
  }
  for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
  const db = new Database(path);
  db.exec('PRAGMA page_size = 4096');
  configure(db);
  db.exec('BEGIN');
  db.exec(schema);
  db.prepare('INSERT INTO about (form) VALUES (?)').run([form]);
  db.exec(`PRAGMA application_id = ${applicationId}`);
  db.exec('COMMIT');
  return why === undefined ? { db } : { db, madeAgain: why };
}

/** The form of a file of ours; undefined for an empty one. */
function formOf(db: Database.Database): string | undefined {
  const objects = Number((db.prepare('SELECT count(*) FROM sqlite_schema').raw().get() as Row)[0]);
  if (objects === 0) return undefined;
  const application = Number((db.prepare('PRAGMA application_id').raw().get() as Row)[0]);
  if (application !== applicationId) return `of another application (id ${application})`;
  return text((db.prepare('SELECT CAST(form AS BLOB) FROM about').raw().get() as Row)[0]);
}

/** Nothing in the file is the truth: what a power failure takes of it comes again from the log. */
function configure(db: Database.Database): void {
  for (const setting of ['journal_mode = WAL', 'busy_timeout = 5000']) {
    db.prepare(`PRAGMA ${setting}`).raw().get();
  }
  // A checkpoint syncs: while a million events are taken in, every 32 MiB of the write-ahead log and not every 4.
  db.exec('PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8192');
}

/** Text is read as a BLOB: libsql ends the whole process on text that is not UTF-8. */
export function text(value: unknown): string {
  return Buffer.from(value as Uint8Array).toString('utf8');
}

export const textOrNone = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : text(value);
