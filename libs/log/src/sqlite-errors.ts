import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { LogError } from './errors.js';
import { lockHolder } from './lock-holder.js';

/**
 * What was being done when SQLite failed. `commit`: the point after which the outcome of a write may be
 * unknown.
 */
export type Doing = 'open' | 'read' | 'write' | 'commit';

/**
 * Less than this much free space counts as a full disk when a write fails for a reason SQLite does not tell.
 */
const littleSpace = 1 << 20;

const help = 'restore it from a backup taken before, or ask for help with the file as it is';

/**
 * The log's error for one of SQLite or of the file system.
 *
 * @param about what was asked for, to say where: `stream 'c1' from position 17`.
 */
export function sqliteFailure(error: unknown, file: string, doing: Doing, about?: string): LogError {
  if (error instanceof LogError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const { code, number } = codeOf(error, text);
  const where = about === undefined ? `'${file}'` : `'${file}' (${about})`;
  const fail = (kind: LogError['code'], message: string): LogError =>
    new LogError(kind, `${message} (${code}: ${text})`, { cause: error });

  switch (code) {
    case 'SQLITE_FULL':
    case 'ENOSPC':
    case 'EDQUOT':
      return full(fail, where);
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
    case 'SQLITE_PROTOCOL':
      return fail(
        'UNAVAILABLE',
        `the log file ${where} is held${lockHolder(file) || ' by another process'}; nothing was written: try again`,
      );
    case 'SQLITE_CORRUPT':
    case 'SQLITE_FORMAT':
      return fail('CORRUPT', `the log file ${where} is damaged: ${help}`);
    case 'SQLITE_NOTADB':
      return fail('CORRUPT', `${where} is not a log file, or its beginning was overwritten: ${help}`);
    case 'SQLITE_ERROR':
    case 'SQLITE_CONSTRAINT':
    case 'SQLITE_MISMATCH':
      return fail('CORRUPT', `the tables of the log file ${where} are not as they were made: ${help}`);
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
    case 'SQLITE_AUTH':
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return fail(
        'NOT_ALLOWED',
        `the log file ${where} may not be written: give this user write permission on it and on '${dirname(file)}'`,
      );
    case 'SQLITE_CANTOPEN':
    case 'ENOTDIR':
    case 'EEXIST':
    case 'EISDIR':
      return fail(
        'NOT_ALLOWED',
        `the log file ${where} cannot be opened: it must be a file, in a directory that this user may write to`,
      );
    case 'SQLITE_IOERR':
      return ioError(number, file, where, doing, fail);
    default:
      return doing === 'commit'
        ? fail('OUTCOME_UNKNOWN', `the append to ${where} may be in: append the same again`)
        : fail('UNAVAILABLE', `the log file ${where} cannot be used now; nothing was written: try again`);
  }
}

type Fail = (kind: LogError['code'], message: string) => LogError;

function full(fail: Fail, where: string): LogError {
  return fail(
    'FULL',
    `there is no room for the log file ${where}; nothing was written: make room, it then goes on`,
  );
}

function ioError(
  number: number | undefined,
  file: string,
  where: string,
  doing: Doing,
  fail: Fail,
): LogError {
  if (number === ioErrorCorruptFileSystem)
    return fail('CORRUPT', `the file system of ${where} is damaged: ${help}`);
  const noSpace = doing !== 'read' && freeSpace(file) < littleSpace;
  // A failed fsync says nothing about what a crash would leave; a write that found no room left nothing
  // complete.
  if (doing === 'commit' && !(noSpace && number === ioErrorWrite)) {
    return fail(
      'OUTCOME_UNKNOWN',
      `the disk failed while the append to ${where} was made durable: append the same again`,
    );
  }
  if (noSpace) return full(fail, where);
  return fail(
    'UNAVAILABLE',
    `the disk failed under the log file ${where}; nothing was written: look at the disk`,
  );
}

function freeSpace(file: string): number {
  try {
    const { bavail, bsize } = statfsSync(dirname(file));
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** SQLite's primary result codes, by number: libsql has no name for some of the extended ones. */
const primaryCodes: Readonly<Record<number, string>> = {
  1: 'SQLITE_ERROR',
  3: 'SQLITE_PERM',
  5: 'SQLITE_BUSY',
  6: 'SQLITE_LOCKED',
  8: 'SQLITE_READONLY',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  15: 'SQLITE_PROTOCOL',
  19: 'SQLITE_CONSTRAINT',
  20: 'SQLITE_MISMATCH',
  23: 'SQLITE_AUTH',
  24: 'SQLITE_FORMAT',
  26: 'SQLITE_NOTADB',
};
const ioErrorWrite = 778;
const ioErrorCorruptFileSystem = 8458;

/** The code of a system error (`ENOSPC`), or SQLite's primary code with the number of the extended one. */
function codeOf(error: unknown, text: string): { code: string; number?: number } {
  const { code, rawCode } = (error ?? {}) as { code?: unknown; rawCode?: unknown };
  // When it cannot open the file libsql gives SQLite's number at the end of the text only.
  const number =
    typeof rawCode === 'number' ? rawCode : Number(/ConnectionFailed\(.*: (\d+)"\)/.exec(text)?.[1] ?? 0);
  if (number > 0) return { code: primaryCodes[number & 0xff] ?? `SQLITE_${number}`, number };
  return { code: typeof code === 'string' ? code : 'no code' };
}
