import { readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/**
 * Lowers the priority of the thread that calls it, so that where cores are scarce those that decide go first.
 * Only Linux knows priorities of threads; elsewhere nothing happens.
 */
export function stepBack(nice: number): void {
  try {
    // `4711/task/4715`
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    if (Number.isSafeInteger(thread) && thread > 0) setPriority(thread, Math.max(getPriority(thread), nice));
  } catch {
    // It is only kinder to others.
  }
}
