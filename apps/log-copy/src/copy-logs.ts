import { parseArgs } from 'node:util';
import { openEventLog } from '#allocator';
import { copyStream, LogError, type EventLog } from '#log';
import { silentLogger } from '#pipeline';
import { readSettings, SettingsError } from '#wire';

export const USAGE = `usage: npm run log:copy -- <from> <to> [--cluster <name>]… [--up-to-damage]

Copies the logs of all clusters, or of those named, from one event log into another: byte for byte, each link of the
chain checked. <from> and <to> are values of VF_EVENT_LOG; jetstream: uses VF_NATS_URL. Run again, it goes on where it
ended. End every scheduler on <from> before the last run, and start them on <to>.

  --up-to-damage   of a log that is damaged, or has a stranger's event in it, copy what is before that
`;

/** Ends with a sentence for the operator. */
export class CopyError extends Error {
  override readonly name = 'CopyError';
}

/**
 * @param args as they stand behind the name of the program.
 * @param print gets a line for each cluster.
 * @throws CopyError, SettingsError, LogError: a sentence.
 */
export async function copyLogs(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  print: (line: string) => void,
): Promise<void> {
  const { values, positionals } = readArguments(args);
  const [from, to, ...more] = positionals;
  if (from === undefined || to === undefined || more.length > 0) throw new CopyError(USAGE);
  const source = await openLog(from, environment);
  try {
    const target = await openLog(to, environment);
    try {
      const found = await source.streams();
      const wanted = values.cluster ?? found;
      for (const cluster of wanted) {
        if (!found.includes(cluster)) throw new CopyError(`${source.name} has no cluster '${cluster}'`);
      }
      for (const cluster of wanted) await copyOne(source, target, cluster, values['up-to-damage'], print);
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function copyOne(
  source: EventLog,
  target: EventLog,
  cluster: string,
  upToDamage: boolean,
  print: (line: string) => void,
): Promise<void> {
  const { records, head, damage } = await copyStream(source, target, cluster);
  print(`${cluster}: ${records} events copied, up to position ${head.position}, hash ${head.hash}`);
  if (damage === undefined) return;
  if (!upToDamage) {
    throw new CopyError(
      `${damage.message}\nWhat is before is copied. With --up-to-damage that is enough, and the other clusters are copied too`,
    );
  }
  print(`${cluster}: the rest is left out: ${damage.message}`);
}

function readArguments(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        cluster: { type: 'string', multiple: true },
        'up-to-damage': { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new CopyError(`${(error as Error).message}\n${USAGE}`);
  }
}

async function openLog(
  url: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<EventLog> {
  const settings = readSettings({ ...environment, VF_EVENT_LOG: url });
  const { kind } = settings.eventLog;
  if (kind === 'memory') throw new CopyError('memory: is gone at the end of its process');
  if (kind === 'jetstream' && settings.natsUrl === undefined)
    throw new SettingsError('VF_NATS_URL', 'is not set: jetstream: is a log on that server');
  try {
    return await openEventLog(
      settings,
      { url: settings.natsUrl ?? '', ours: false },
      silentLogger,
      new AbortController().signal,
    );
  } catch (error) {
    if (error instanceof LogError) throw new CopyError(error.message);
    throw error;
  }
}
