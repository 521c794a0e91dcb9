import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { emptyState, evolve } from '#domain';
import { SqliteLog } from '#log';
import { loadState, placedEvent, silentLogger } from '#pipeline';
import { atLeast, median, type Benchmark } from '../benchmark.js';
import { CLUSTER, writeLog } from '../long-log.js';
import { inDirectory, runApart } from '../programs.js';

const EVENTS = 1_000_000;
const ROUNDS = 3;

/** Events per second of a log that is read into a state. */
async function replay(path: string, checked: boolean): Promise<number> {
  const log = await SqliteLog.open(path);
  const begun = performance.now();
  let state = emptyState(CLUSTER);
  if (checked) {
    ({ state } = await loadState(log, CLUSTER, { rememberedInputs: 200_000, logger: silentLogger }));
  } else {
    for await (const records of log.read(CLUSTER, 1, { inputs: false })) {
      for (const record of records) evolve(state, placedEvent(record));
    }
  }
  const seconds = (performance.now() - begun) / 1000;
  await log.close();
  return state.position / seconds;
}

const file = fileURLToPath(import.meta.url);

export default {
  how: 'a log of 1,000,000 events in SQLite, written by the real decider, read into a live state by a process that has just started: as a leader does it, and without checking hashes; median of 3 in turn; the file is in the cache of the system',
  async *measure({ scale }) {
    const rates = await inDirectory(async (directory) => {
      const path = join(directory, 'events.db');
      const log = await SqliteLog.open(path);
      await writeLog(log, EVENTS * scale);
      await log.close();
      const found = { checked: [] as number[], unchecked: [] as number[] };
      for (let round = 0; round < ROUNDS; round++) {
        found.checked.push(await runApart<number>(file, [path, 'checked']));
        found.unchecked.push(await runApart<number>(file, [path]));
      }
      return found;
    });
    yield {
      figure: 'replay, hashes checked',
      value: median(rates.checked),
      unit: 'events/s',
      goal: atLeast(200_000),
    };
    yield {
      figure: 'replay, not checked',
      value: median(rates.unchecked),
      unit: 'events/s',
      goal: atLeast(400_000),
    };
  },
} satisfies Benchmark;

if (process.argv[1] === file) {
  const [path = '', checked] = process.argv.slice(2);
  process.stdout.write(JSON.stringify(await replay(path, checked === 'checked')));
}
