import type { Head } from './chain.js';
import type { LogErrorCode } from './errors.js';
import type { Snapshot } from './event-log.js';
import type { PackedRecords } from './packed-records.js';
import type { StoredRecord } from './record.js';

/** How the SQLite log is opened. */
export interface SqliteLogOptions {
  /**
   * How long to wait for another process that writes, in milliseconds, before `UNAVAILABLE`. Default: 2000.
   */
  readonly busyTimeout?: number;
  /**
   * How often other processes' appends are looked for while somebody follows, in milliseconds. Default: 100.
   */
  readonly pollInterval?: number;
  /**
   * The file may not grow beyond this many bytes (`FULL`), so that a disk is left for others. Default: no
   * limit.
   */
  readonly maxBytes?: number;
  /** How many records at the end of each stream are checked on opening. Default: 1000. */
  readonly checkLast?: number;
  /**
   * How often this handle's thread brings what is in the write-ahead log into the file, in milliseconds.
   * Default: only when there is much of it, at a commit, which waits for it.
   */
  readonly checkpointEvery?: number;
}

/** What the worker is asked, and what it answers. */
export interface Calls {
  open: { ask: { file: string; options: SqliteLogOptions; mustExist: boolean }; answer: void };
  append: {
    ask: { stream: string; expectedPosition: number; records: readonly StoredRecord[] };
    answer: void;
  };
  head: { ask: { stream: string }; answer: Head };
  read: { ask: { stream: string; from: number; verify?: Head; most?: number }; answer: PackedRecords };
  streams: { ask: Record<never, never>; answer: readonly string[] };
  saveSnapshot: { ask: { stream: string; snapshot: Snapshot }; answer: void };
  snapshots: { ask: { stream: string }; answer: readonly Snapshot[] };
  /** Whether somebody follows, so that other processes' appends must be looked for. */
  watch: { ask: { on: boolean }; answer: void };
  close: { ask: Record<never, never>; answer: void };
}

export type CallName = keyof Calls;

export type Request = { [Name in CallName]: { id: number; call: Name } & Calls[Name]['ask'] }[CallName];

/** An error in a form that crosses threads. Without `code` it is a bug, not an error of the log. */
export interface SentError {
  readonly code?: LogErrorCode;
  readonly message: string;
  readonly position?: number;
  readonly stack?: string;
}

export type Reply =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: SentError }
  /** Another process has written to the file. */
  | { readonly changed: true };
