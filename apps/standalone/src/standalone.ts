import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog, keepPrivate, refuseFullDisk, startService, type NatsUse, type Service } from '#allocator';
import { endLeftBehindServer, findNatsServer } from '#broker';
import { SettingsError, type Settings } from '#wire';
import { takeDataDirectory } from './data-directory.js';
import { OwnServer } from './own-server.js';

/** Everything in one process: the scheduler, and a nats-server of its own unless the settings name one. */
export interface Standalone extends Service {
  /** Resolves when its own nats-server ends by itself, and not for want of room on its disk. */
  readonly died: Promise<Error>;
}

/**
 * Starts everything.
 *
 * @param asked aborts when the process is asked to end before it serves.
 * @throws what keeps it from serving: a sentence for the operator. Nothing is left running then.
 */
export async function startStandalone(
  settings: Settings,
  asked: AbortSignal = new AbortController().signal,
): Promise<Standalone> {
  const log = createLog(settings.logLevel);
  if (settings.natsTls !== undefined && settings.natsUrl === undefined) {
    throw new SettingsError(
      'VF_NATS_URL',
      'it is not set, and the nats-server that standalone starts is on this machine only and has no TLS: unset VF_NATS_TLS_…, or name the server they belong to',
    );
  }
  if (settings.natsReplicas > 1 && settings.natsUrl === undefined) {
    throw new SettingsError(
      'VF_NATS_REPLICAS',
      `${settings.natsReplicas} replicas need a cluster of nats-servers, and standalone starts one: set VF_NATS_URL to the cluster, or leave it at 1`,
    );
  }
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const directory = await takeDataDirectory(settings.dataDir);
    closers.push(async () => directory.release());
    await keepPrivate(directory.path, (message) => log.warn(message));
    await refuseFullDisk(directory.path);
    let { natsUrl } = settings;
    // A server that is not ours may go away and come back.
    let died = new Promise<Error>(() => undefined);
    let own: Pick<NatsUse, 'directory' | 'restart' | 'trouble'> = {};
    if (natsUrl === undefined) {
      const { server, storeDir } = await ownServer(settings, directory.path, closers, (message) =>
        log.warn(message),
      );
      natsUrl = server.url;
      died = server.died;
      own = {
        directory: storeDir,
        restart: () => server.restart(),
        trouble: () => server.trouble,
      };
    }
    const nats = { url: natsUrl, ours: settings.natsUrl === undefined, ...own };
    const service = await startService({ ...settings, dataDir: directory.path }, nats, log, asked);
    closers.push(() => service.stop());
    return { ready: service.ready, stop: close, died };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A nats-server on the data directory; one that a killed standalone left behind there is ended first. */
async function ownServer(
  settings: Settings,
  dataDir: string,
  closers: (() => Promise<void>)[],
  warn: (message: string) => void,
): Promise<{ readonly server: OwnServer; readonly storeDir: string }> {
  const ended = await endLeftBehindServer(dataDir);
  if (ended !== undefined) warn(`ended nats-server ${ended}, which an earlier standalone had left behind`);
  const { path: binary } = await findNatsServer({ configured: settings.natsServer, onWarning: warn });
  let storeDir = dataDir;
  if (settings.eventLog.kind === 'memory') {
    // A log in memory begins anew with each start, and so must the streams beside it.
    storeDir = await mkdtemp(join(tmpdir(), 'vf-scheduler-'));
    closers.push(() => rm(storeDir, { recursive: true, force: true }));
  }
  const server = await OwnServer.start(
    { binary, dataDir: storeDir, port: settings.natsPort, syncInterval: settings.natsSync },
    warn,
  );
  closers.push(() => server.stop());
  return { server, storeDir };
}
