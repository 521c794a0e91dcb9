import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { connectNats, openNatsConnection, type NatsBroker, type NatsConnectionOptions } from '#broker';
import type { HardwareLimit } from '#domain';
import { JetStreamLog, LogError, MemoryLog, SqliteLog, type EventLog } from '#log';
import { systemClock, type AllocatorOptions, type Logger } from '#pipeline';
import { readHardwareLimits, SettingsError, type Settings } from '#wire';

/**
 * Opens the event log that the settings name.
 *
 * @param nats the server that a log in JetStream is on.
 */
export async function openEventLog(
  settings: Settings,
  nats: NatsUse,
  logger: Logger,
  signal: AbortSignal,
): Promise<EventLog> {
  const { eventLog, dataDir } = settings;
  switch (eventLog.kind) {
    case 'memory':
      return new MemoryLog({ name: 'memory:' });
    case 'sqlite': {
      if (eventLog.file === undefined) await mkdir(dataDir, { recursive: true });
      return SqliteLog.open(eventLog.file ?? join(dataDir, 'events.db'));
    }
    case 'jetstream': {
      // Its own connection: an append does not queue behind the broker's messages, nor they behind it.
      const connection = await openNatsConnection({
        ...(await reach(settings, nats, logger, signal)),
        name: 'vf-scheduler-log',
      });
      return new JetStreamLog({
        connection,
        replicas: settings.natsReplicas,
        onPassedOver: atMostFew((message) => logger.warn(`${message}. It is passed over, and does no harm`)),
      });
    }
    case 'kurrentdb': {
      // Loaded where it is used: gRPC and the client are a fifth of all that a start would load.
      const { KurrentLog } = await import('#log/kurrentdb');
      try {
        return await KurrentLog.open(eventLog.url, { signal, onNotice: (notice) => logger.warn(notice) });
      } catch (error) {
        // A connection string that is wrong, a server that is away, a user who may not read.
        if (error instanceof LogError) throw new SettingsError('VF_EVENT_LOG', error.message);
        throw error;
      }
    }
  }
}

const SAID_A_MINUTE = 5;

/** Somebody may publish there all the time: a few are said each minute, and then how many there were besides. */
function atMostFew(say: (message: string) => void): (message: string) => void {
  let minute = 0;
  let saidInIt = 0;
  let unsaid = 0;
  return (message) => {
    const now = Math.floor(performance.now() / 60_000);
    if (now !== minute) {
      minute = now;
      saidInIt = 0;
    }
    if (saidInIt++ >= SAID_A_MINUTE) return void unsaid++;
    say(unsaid === 0 ? message : `${message} (${unsaid} more were not said)`);
    unsaid = 0;
  };
}

/** The NATS server to use. */
export interface NatsUse {
  readonly url: string;
  /** It serves this process alone. */
  readonly ours: boolean;
  /** Where a server of our own keeps its streams. */
  readonly directory?: string;
  /** Ends a server of our own and starts it again where it was. */
  restart?(): Promise<void>;
  /** Why a server of our own does not run just now. */
  trouble?(): string | undefined;
}

/** Connects to NATS as the settings say. */
export async function connect(
  settings: Settings,
  nats: NatsUse,
  log: Logger,
  signal: AbortSignal,
): Promise<NatsBroker> {
  return connectNats({
    ...(await reach(settings, nats, log, signal)),
    name: 'vf-scheduler',
    streams: {
      inputMaxBytes: settings.inMaxBytes,
      outputMaxBytes: settings.outMaxBytes,
      outputMaxAge: settings.outMaxAge,
      storage: settings.eventLog.kind === 'memory' ? 'memory' : 'file',
      replicas: settings.natsReplicas,
    },
    // Where nobody else can be, a lease that is there is that of a process which is dead.
    leases: nats.ours ? { takeOverAfter: 0 } : {},
  });
}

/** How each connection to NATS is made. */
async function reach(
  { natsTls, natsCreds }: Settings,
  { url }: NatsUse,
  log: Logger,
  signal: AbortSignal,
): Promise<NatsConnectionOptions> {
  await checkReadable('VF_NATS_TLS_CA', natsTls?.ca);
  await checkReadable('VF_NATS_TLS_CERT', natsTls?.cert);
  await checkReadable('VF_NATS_TLS_KEY', natsTls?.key);
  return {
    url: url.split(',').map((one) => one.trim()),
    credentialsFile: natsCreds,
    tls:
      natsTls === undefined
        ? undefined
        : { caFile: natsTls.ca, certFile: natsTls.cert, keyFile: natsTls.key },
    signal,
    log: (level, message, facts) => log[level](message, facts),
  };
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

/**
 * An operator's limits of hardware (PF-12); undefined where the settings name no file.
 *
 * @throws SettingsError naming the file and what is wrong with it.
 */
export async function loadHardwareLimits(file?: string): Promise<readonly HardwareLimit[] | undefined> {
  if (file === undefined) return undefined;
  const refuse = (why: string): SettingsError => new SettingsError('VF_HARDWARE_LIMITS', `${file}${why}`);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw refuse(` cannot be read (${(error as { code?: string }).code}): name a JSON file`);
  }
  const limits = readHardwareLimits(text);
  if ('problem' in limits) throw refuse(`: ${limits.problem}`);
  return limits;
}

/** What an allocator works with. */
export const allocatorOptions = (
  settings: Settings,
  broker: NatsBroker,
  log: EventLog,
  logger: Logger,
  hardwareLimits: readonly HardwareLimit[] | undefined,
): Omit<AllocatorOptions, 'dispatch'> => ({
  broker,
  log,
  logger,
  clock: systemClock,
  // In containers every process may be number 1 of a host of the same name.
  instance: `${hostname()}:${process.pid}:${randomBytes(2).toString('hex')}`,
  clusters: settings.clusters,
  maxClusters: settings.maxClusters,
  rememberedInputs: settings.rememberedInputs,
  outMaxAge: settings.outMaxAge,
  hardwareLimits,
});
