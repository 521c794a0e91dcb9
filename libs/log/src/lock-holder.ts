import { readFileSync, statSync } from 'node:fs';

/**
 * Which process keeps others from writing to an SQLite file in WAL mode, as a part of a sentence; empty where
 * the system does not tell (it is Linux that does). Asked only when a write has waited in vain.
 */
export function lockHolder(file: string): string {
  try {
    // The lock of whoever writes is on a byte of the file's index in shared memory.
    const { dev, ino } = statSync(`${file}-shm`, { bigint: true });
    const place = `${hex((dev >> 8n) & 0xfffn)}:${hex((dev & 0xffn) | ((dev >> 12n) & 0xfff00n))}:${ino}`;
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      // 1: POSIX  ADVISORY  WRITE 12345 08:01:131074 120 120
      const [, , , kind, pid, where, first] = line.trim().split(/\s+/);
      if (kind !== 'WRITE' || where !== place || first !== WRITE_LOCK || Number(pid) === process.pid)
        continue;
      return ` by process ${pid}${standing(Number(pid))}`;
    }
  } catch {
    // Not Linux, or the file is gone: then there is nothing to add.
  }
  return '';
}

/** `WAL_WRITE_LOCK` of SQLite's file format. */
const WRITE_LOCK = '120';

const hex = (number: bigint): string => number.toString(16).padStart(2, '0');

function standing(pid: number): string {
  // <pid> (<name>) <state> …; T: stopped, t: stopped by a debugger.
  const state = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .charAt(0);
  if (state.toUpperCase() !== 'T') return '';
  return `, which is stopped: let it go on (kill -CONT ${pid}) or end it (kill -9 ${pid})`;
}
