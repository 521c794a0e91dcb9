import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { connectNats, type NatsBroker } from '#broker';
import { MemoryLog, SqliteLog, type EventLog } from '#log';
import { systemClock, type AllocatorOptions, type Logger } from '#pipeline';
import { SettingsError, type Settings } from '#wire';

/** Opens the event log that the settings name. */
export async function openEventLog({ eventLog, dataDir }: Settings): Promise<EventLog> {
  switch (eventLog.kind) {
    case 'memory':
      return new MemoryLog({ name: 'memory:' });
    case 'sqlite': {
      if (eventLog.file === undefined) await mkdir(dataDir, { recursive: true });
      return SqliteLog.open(eventLog.file ?? join(dataDir, 'events.db'));
    }
    case 'kurrentdb':
    case 'jetstream':
      throw new SettingsError(
        'VF_EVENT_LOG',
        `this version has no ${eventLog.kind} log yet; use sqlite:<file> or memory:`,
      );
  }
}

/** The NATS server to use. */
export interface NatsUse {
  readonly url: string;
  /** It serves this process alone. */
  readonly ours: boolean;
}

/** Connects to NATS as the settings say. */
export async function connect(
  settings: Settings,
  { url, ours }: NatsUse,
  log: Logger,
  signal: AbortSignal,
): Promise<NatsBroker> {
  const { natsTls } = settings;
  await checkReadable('VF_NATS_TLS_CA', natsTls?.ca);
  await checkReadable('VF_NATS_TLS_CERT', natsTls?.cert);
  await checkReadable('VF_NATS_TLS_KEY', natsTls?.key);
  return connectNats({
    url: url.split(',').map((one) => one.trim()),
    name: 'vf-scheduler',
    credentialsFile: settings.natsCreds,
    tls:
      natsTls === undefined
        ? undefined
        : { caFile: natsTls.ca, certFile: natsTls.cert, keyFile: natsTls.key },
    signal,
    log: (level, message, facts) => log[level](message, facts),
    streams: {
      inputMaxBytes: settings.inMaxBytes,
      outputMaxBytes: settings.outMaxBytes,
      outputMaxAge: settings.outMaxAge,
      storage: settings.eventLog.kind === 'memory' ? 'memory' : 'file',
    },
    // Where nobody else can be, a lease that is there is that of a process which is dead.
    leases: ours ? { takeOverAfter: 0 } : {},
  });
}

/** The client would take a file that is missing for a server that does not answer, and wait for it. */
async function checkReadable(variable: string, file: string | undefined): Promise<void> {
  if (file === undefined) return;
  try {
    await readFile(file);
  } catch (error) {
    throw new SettingsError(
      variable,
      `${file} cannot be read (${(error as { code?: string }).code}): name a file in PEM`,
    );
  }
}

/** What an allocator works with. */
export const allocatorOptions = (
  settings: Settings,
  broker: NatsBroker,
  log: EventLog,
  logger: Logger,
): Omit<AllocatorOptions, 'dispatch'> => ({
  broker,
  log,
  logger,
  clock: systemClock,
  instance: `${hostname()}:${process.pid}`,
  clusters: settings.clusters,
  maxClusters: settings.maxClusters,
  rememberedInputs: settings.rememberedInputs,
  outMaxAge: settings.outMaxAge,
});
