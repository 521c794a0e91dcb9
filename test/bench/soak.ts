/**
 * `npm run soak -- --minutes N [--rate N] [--sync always|2m]`: a real scheduler on a real nats-server under half
 * of its top rate for N minutes. Writes `bench/soak.svg` and `bench/soak.json`, and says whether memory and
 * latency stayed flat and `VF_IN` bounded; if not, or when the scheduler died, it ends with 1. Ctrl-C ends the
 * load early, and what was measured until then is told.
 */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { percentile } from './benchmark.js';
import { withScheduler } from './chains.js';
import { chart } from './chart.js';
import { busyShare, machine, versions } from './machine.js';
import { killAll, type Program } from './programs.js';
import type { ProbeLine } from './soak-probe.js';
import { offer, rateOf, type Chain } from './traffic.js';
import { verdicts, type Sample, type Verdict } from './verdict.js';

const usage = `usage: npm run soak -- [--minutes N] [--rate N] [--sync always|2m]
--minutes N  how long the load runs (20)
--rate N     inputs a second, a start and a stop each count one; by default half of the top rate, measured first
--sync S     sync_interval of the nats-server (always)`;

/** VMs that take turns: what is remembered of them does not grow. */
const VMS = 20_000;
/** Inputs by which the top rate is measured. */
const TOP_RATE_INPUTS = 20_000;
const MOST_SAMPLES = 600;
const MIB = 2 ** 20;

interface Wanted {
  readonly minutes: number;
  readonly rate: number | undefined;
  readonly sync: string;
}

function wanted(): Wanted | undefined {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '20' },
      rate: { type: 'string' },
      sync: { type: 'string', default: 'always' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const number = (name: string, value: string): number => {
    const given = Number(value);
    if (!(given > 0) || !Number.isFinite(given))
      throw new Error(`--${name} takes a number above 0, not '${value}'`);
    return given;
  };
  const rate = values.rate === undefined ? undefined : number('rate', values.rate);
  return { minutes: number('minutes', values.minutes), rate, sync: values.sync };
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** Takes samples until the load is over. */
class Sampler {
  readonly samples: Sample[] = [];
  private readonly begun = performance.now();
  private latencies: number[] = [];
  private probed: ProbeLine = { rss: Number.NaN, heap: Number.NaN, longestDelay: 0 };
  private longestDelay = 0;

  constructor(
    program: Program,
    private readonly manager: JetStreamManager,
    private readonly logFile: string,
  ) {
    program.onLine((line) => {
      this.probed = JSON.parse(line) as ProbeLine;
      this.longestDelay = Math.max(this.longestDelay, this.probed.longestDelay);
    });
  }

  onOutcome(milliseconds: number): void {
    this.latencies.push(milliseconds);
  }

  async run(every: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      await delay(every, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const { rss, heap } = this.probed;
      const { longestDelay, latencies } = this;
      [this.longestDelay, this.latencies] = [0, []];
      const { state } = await this.manager.streams.info('VF_IN');
      this.samples.push({
        minute: (performance.now() - this.begun) / 60_000,
        rss,
        heap,
        longestDelay,
        log: (await sizeOf(this.logFile)) + (await sizeOf(`${this.logFile}-wal`)),
        inputs: state.messages,
        outcomes: latencies.length,
        p50: percentile(latencies, 0.5),
        p99: percentile(latencies, 0.99),
      });
    }
  }
}

const sizeOf = async (file: string): Promise<number> => {
  const found = await stat(file).catch(() => undefined);
  return (found?.size ?? 0) / MIB;
};

async function soak({ minutes, rate, sync }: Wanted): Promise<readonly Verdict[]> {
  const [where, what, busy] = [machine(), await versions(), await busyShare()];
  say(
    `${where.cores} × ${where.cpu}, ${where.memoryGiB} GiB, Node ${what.node}, nats-server ${what['nats-server']}`,
  );
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort());
  process.once('SIGTERM', () => stopping.abort());
  let taken: { samples: readonly Sample[]; perSecond: number; top: number | undefined } | undefined;
  const load = async (chain: Chain, program: Program, data: string): Promise<void> => {
    const top = rate === undefined ? await rateOf(chain, TOP_RATE_INPUTS) : undefined;
    const perSecond = rate ?? (top as number) / 2;
    const measured = top === undefined ? '' : `, half of ${Math.round(top)}`;
    say(`${Math.round(perSecond)} inputs/s${measured}, for ${minutes} min, sync_interval ${sync}`);
    const sampler = new Sampler(program, await jetstreamManager(chain.connection), join(data, 'events.db'));
    taken = { samples: sampler.samples, perSecond, top };
    const over = stopping.signal;
    const timer = setTimeout(() => stopping.abort(), minutes * 60_000);
    const every = Math.max(1000, (minutes * 60_000) / MOST_SAMPLES);
    await Promise.all([
      sampler.run(every, over),
      offer(chain, {
        startsPerSecond: perSecond / 2,
        signal: over,
        onOutcome: (milliseconds) => sampler.onOutcome(milliseconds),
      }),
    ]);
    clearTimeout(timer);
  };
  try {
    await withScheduler(sync, load, { vms: VMS, probe: 'soak-probe.js' });
  } finally {
    if (taken !== undefined) {
      const { samples, perSecond, top } = taken;
      await write({ machine: where, versions: what, busyBefore: busy, sync, perSecond, top, samples });
    }
  }
  return verdicts(taken?.samples ?? []);
}

interface Soak {
  readonly machine: ReturnType<typeof machine>;
  readonly versions: Record<string, string>;
  readonly busyBefore: number;
  readonly sync: string;
  readonly perSecond: number;
  readonly top: number | undefined;
  readonly samples: readonly Sample[];
}

async function write(run: Soak): Promise<void> {
  const { samples } = run;
  const found = verdicts(samples);
  await mkdir('bench', { recursive: true });
  await writeFile(
    'bench/soak.json',
    `${JSON.stringify({ ...run, at: new Date().toISOString(), verdicts: found }, null, 1)}\n`,
  );
  const of = (key: keyof Sample): readonly number[] => samples.map((sample) => sample[key]);
  const about =
    `${run.machine.cores} × ${run.machine.cpu}, Node ${run.versions.node}, nats-server ${run.versions['nats-server']}, ` +
    `sync_interval ${run.sync}` +
    (run.busyBefore > 0.1 ? `; others used ${Math.round(run.busyBefore * 100)} % of the machine before` : '');
  const picture = chart(
    `${Math.round(run.perSecond)} inputs/s for ${Math.round(samples.at(-1)?.minute ?? 0)} minutes`,
    [about, ...found.map(verdictLine)],
    of('minute'),
    [
      {
        title: 'Memory of the scheduler',
        unit: 'MiB',
        series: [
          { name: 'resident', values: of('rss') },
          { name: 'heap', values: of('heap') },
        ],
      },
      {
        title: 'Latency from publish to outcome',
        unit: 'ms',
        series: [
          { name: 'p50', values: of('p50') },
          { name: 'p99', values: of('p99') },
        ],
      },
      {
        title: 'Longest delay of the event loop',
        unit: 'ms',
        series: [{ name: '', values: of('longestDelay') }],
      },
      { title: 'Messages in VF_IN', unit: 'messages', series: [{ name: '', values: of('inputs') }] },
      { title: 'Log file', unit: 'MiB', series: [{ name: '', values: of('log') }] },
    ],
  );
  await writeFile('bench/soak.svg', picture);
}

const verdictLine = ({ what, holds, numbers }: Verdict): string =>
  `${holds ? 'yes' : 'NO '} ${what}: ${numbers}`;

try {
  const run = wanted();
  if (run === undefined) say(usage);
  else {
    const found = await soak(run);
    for (const verdict of found) say(verdictLine(verdict));
    say('bench/soak.svg and bench/soak.json are written');
    if (!found.every(({ holds }) => holds)) process.exitCode = 1;
  }
} catch (error) {
  process.stderr.write(`soak: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  killAll();
}
