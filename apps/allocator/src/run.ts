import { setFlagsFromString } from 'node:v8';
import { SettingsError } from '#wire';
import { LineSink, logSink } from './line-sink.js';
import { makePrivateFiles } from './private-files.js';

/**
 * How far the old generation may grow before it is collected, in percent of what was alive. By itself V8 takes about
 * 30 where little is allocated, and collects every two seconds at a thousand inputs a second: its markers then have
 * the cores for 20 ms, and one start in a hundred waited for them. A limit of the heap goes before this.
 */
const HEAP_GROWTH = 200;

/** How long the end waits for what is still to be written, in milliseconds. */
const LAST_WORDS = 500;

/**
 * Runs a service as a process: prints the ready line, drains on SIGTERM and SIGINT, and turns what keeps it
 * from starting into one sentence and exit code 1.
 */
export async function runProcess(
  start: (asked: AbortSignal) => Promise<{
    readonly ready: object;
    stop(): Promise<void>;
    readonly died?: Promise<Error>;
  }>,
): Promise<void> {
  makePrivateFiles();
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
  const asked = new AbortController();
  // Who waits for the line waits for it on a full disk too.
  const ready = new LineSink(1, { patient: true });
  // Not `once`: Ctrl-C under npm comes twice, and the second must not end us in the middle of the drain.
  process.on('SIGTERM', () => asked.abort());
  process.on('SIGINT', () => asked.abort());
  try {
    const service = await start(asked.signal);
    ready.write(`${JSON.stringify(service.ready)}\n`);
    const death = await Promise.race([
      aborted(asked.signal),
      ...(service.died === undefined ? [] : [service.died]),
    ]);
    await service.stop();
    if (death instanceof Error) throw death;
  } catch (error) {
    // Who asked it to end while it started does not want to hear what it was waiting for.
    if (asked.signal.aborted) return;
    const sentence = error instanceof Error ? error.message : String(error);
    logSink().write(`vf-scheduler: ${error instanceof SettingsError ? 'bad setting: ' : ''}${sentence}\n`);
    process.exitCode = 1;
  } finally {
    await Promise.all([logSink().settle(LAST_WORDS), ready.settle(LAST_WORDS)]);
    // All is drained. What can still hold the process is native code: the client of KurrentDB keeps a read that
    // its server never answers, and nothing ends it. The timer itself holds nothing.
    setTimeout(() => process.exit(), 1000).unref();
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
