/**
 * Loaded into the scheduler's process by `--import`: writes its memory and the delay of its event loop to file
 * descriptor 3, a line of JSON each second. The scheduler itself knows nothing of it.
 */
import { createWriteStream } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface ProbeLine {
  readonly rss: number;
  readonly heap: number;
  /** The longest delay of the event loop since the line before, in milliseconds. */
  readonly longestDelay: number;
}

const EVERY = 1000;
const MIB = 2 ** 20;
/** Of the delay, the resolution is a part: milliseconds. */
const RESOLUTION = 10;

const out = createWriteStream('', { fd: 3 });
// A reader that is gone is no reason to end the scheduler.
out.on('error', () => clearInterval(timer));
const delay = monitorEventLoopDelay({ resolution: RESOLUTION });
delay.enable();
const timer = setInterval(() => {
  const { rss, heapUsed } = process.memoryUsage();
  const longestDelay = Math.max(0, delay.max / 1e6 - RESOLUTION);
  delay.reset();
  const line: ProbeLine = { rss: rss / MIB, heap: heapUsed / MIB, longestDelay };
  out.write(`${JSON.stringify(line)}\n`);
}, EVERY);
timer.unref();
