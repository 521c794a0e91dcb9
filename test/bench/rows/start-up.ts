import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { step } from '#domain';
import { SqliteLog } from '#log';
import { loadState, silentLogger } from '#pipeline';
import { below, median, type Benchmark } from '../benchmark.js';
import { addSnapshot, CLUSTER, hostReport, STREAM, writeLog } from '../long-log.js';
import { inDirectory, runApart } from '../programs.js';

const EVENTS = 1_000_000;
const ROUNDS = 5;

interface StartUp {
  /** Milliseconds until the log file was open and its end checked. */
  readonly open: number;
  /** Milliseconds from the beginning until a first input was decided. */
  readonly decided: number;
  readonly snapshot: number;
}

async function startUp(path: string): Promise<StartUp> {
  const begun = performance.now();
  const log = await SqliteLog.open(path);
  const open = performance.now() - begun;
  const { state, snapshot } = await loadState(log, CLUSTER, {
    rememberedInputs: 200_000,
    logger: silentLogger,
  });
  step(state, hostReport(0), { stream: STREAM, sequence: Number.MAX_SAFE_INTEGER });
  const decided = performance.now() - begun;
  await log.close();
  return { open, decided, snapshot };
}

const file = fileURLToPath(import.meta.url);

export default {
  how: 'a log of 1,000,000 events with a snapshot at its end, 1,000 hosts, 200,000 remembered inputs: a process that has just started opens the file, takes the snapshot and decides an input; median of 5',
  async *measure({ scale }) {
    const starts = await inDirectory(async (directory) => {
      const path = join(directory, 'events.db');
      const log = await SqliteLog.open(path);
      const { position } = await addSnapshot(log, await writeLog(log, EVENTS * scale));
      await log.close();
      const found: StartUp[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const start = await runApart<StartUp>(file, [path]);
        if (start.snapshot !== position) throw new Error('the snapshot was not used');
        found.push(start);
      }
      return found;
    });
    yield {
      figure: 'start-up from a snapshot: the log is open',
      value: median(starts.map(({ open }) => open)),
      unit: 'ms',
    };
    yield {
      figure: 'start-up from a snapshot, to the first decision',
      value: median(starts.map(({ decided }) => decided)),
      unit: 'ms',
      goal: below(1_000),
    };
  },
} satisfies Benchmark;

if (process.argv[1] === file) process.stdout.write(JSON.stringify(await startUp(process.argv[2] ?? '')));
