import { Module, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Logger as Pino } from 'pino';
import {
  ApiModule,
  checkBody,
  QueryResponder,
  refuseOtherHosts,
  refuseOtherSites,
  type ApiParts,
} from '#api';
import { withoutLogin } from '#broker';
import { systemClock } from '#pipeline';
import type { Settings } from '#wire';
import { AllocatorModule } from './allocator.module.js';
import { BatchStrategy } from './batch-strategy.js';
import { refuseFullDisk } from './disk-watch.js';
import { logSink } from './line-sink.js';
import { nestLogger, pipelineLogger } from './logging.js';
import { allocatorOptions, connect, loadHardwareLimits, openEventLog, type NatsUse } from './parts.js';
import {
  followClusters,
  keepSigning,
  openReadModel,
  readAuditKey,
  readEarlierAuditKeys,
} from './read-side.js';
import { StorageWatch } from './storage-watch.js';

/** A running scheduler. */
export interface Service {
  /** What the ready line says. */
  readonly ready: {
    readonly ready: true;
    readonly nats: string;
    readonly http: string;
    readonly log: string;
  };
  /** Drains: stops reading, finishes the batch, relays, closes. */
  stop(): Promise<void>;
}

/**
 * Puts the write side and the queries together on a NATS server, and serves.
 *
 * @param asked aborts when the process is asked to end while this still waits for something: then what is
 *   there is closed, and it throws.
 * @throws what keeps it from serving: a sentence for the operator.
 */
export async function startService(
  settings: Settings,
  nats: NatsUse,
  log: Pino,
  asked: AbortSignal,
): Promise<Service> {
  const logger = pipelineLogger(log);
  const closers: (() => Promise<unknown>)[] = [];
  let closing = Promise.resolve();
  const close = (): Promise<void> => {
    closing = closing.then(async () => {
      for (const closer of closers.splice(0).reverse()) {
        await closer().catch((error: unknown) => log.warn({ error }, 'closing'));
      }
    });
    return closing;
  };
  const giveUp = (): void => void close();
  asked.addEventListener('abort', giveUp);
  try {
    const hardwareLimits = await loadHardwareLimits(settings.hardwareLimitsFile);
    await refuseFullDisk(settings.dataDir);
    const eventLog = await openEventLog(settings, nats, logger, asked);
    closers.push(() => eventLog.close());
    const broker = await connect(settings, nats, logger, asked);
    closers.push(() => broker.close());
    const strategy = new BatchStrategy(allocatorOptions(settings, broker, eventLog, logger, hardwareLimits));
    const { allocator } = strategy;
    const readModel = await openReadModel(settings, eventLog, logger, closers);
    const { clusters, dataDir } = settings;
    const auditKey = await readAuditKey(settings);
    const keepsLogs = settings.eventLog.kind === 'jetstream';
    const storage = new StorageWatch(settings, { nats, broker, logger, clock: systemClock, keepsLogs });
    const earlierAuditKeys = await readEarlierAuditKeys(settings);
    const parts = {
      allocator,
      broker,
      log: eventLog,
      logger,
      readModel,
      clusters,
      auditKey,
      earlierAuditKeys,
      dataDir,
      troubles: () => storage.troubles,
      linesDropped: () => logSink().dropped,
    };
    const app = await createApp(parts, log, settings);
    closers.push(() => app.close());
    await listen(app, settings);
    app.connectMicroservice({ strategy });
    await app.startAllMicroservices();
    // Nobody is answered before it is known that the log is the one that the site works on.
    const responder = app.get(QueryResponder);
    await responder.start();
    closers.push(() => responder.stop());
    closers.push(followClusters(allocator, readModel));
    storage.start();
    closers.push(() => storage.stop());
    closers.push(keepSigning(parts));
    asked.throwIfAborted();
    return {
      ready: { ready: true, nats: withoutLogin(nats.url), http: await app.getUrl(), log: eventLog.name },
      stop: close,
    };
  } catch (error) {
    await close();
    throw error;
  } finally {
    asked.removeEventListener('abort', giveUp);
  }
}

/** The largest body of a request; an input is smaller still, a plan is a list of them. */
const MAX_BODY = 1024 * 1024;

async function createApp(
  parts: ApiParts,
  log: Pino,
  { httpHost, httpAllowedHosts }: Settings,
): Promise<INestApplication> {
  @Module({ imports: [AllocatorModule, ApiModule.with(parts)] })
  class SchedulerModule {}
  const app = await NestFactory.create<NestExpressApplication>(SchedulerModule, {
    logger: nestLogger(log),
    abortOnError: false,
    bodyParser: false,
  });
  app.use(refuseOtherHosts(httpHost, httpAllowedHosts));
  app.use('/v1', refuseOtherSites);
  // Nest's type keeps `verify` for its own use; without `rawBody` it has none, and hands this one on.
  const parsing = { limit: MAX_BODY, type: ['application/json', 'application/*+json'], verify: checkBody };
  app.useBodyParser('json', parsing);
  app.disable('x-powered-by');
  return app;
}

/** @throws Error naming the variable when the port is taken or the address is not ours. */
async function listen(app: INestApplication, { httpHost, httpPort }: Settings): Promise<void> {
  try {
    await app.listen(httpPort, httpHost);
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === 'EADDRINUSE') {
      throw new Error(
        `port ${httpPort} on ${httpHost} is in use: set VF_HTTP_PORT to another one, or to 0 for any free one`,
        {
          cause: error,
        },
      );
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new Error(
        `cannot listen on ${httpHost}:${httpPort} (${code}): check VF_HTTP_HOST and VF_HTTP_PORT`,
        {
          cause: error,
        },
      );
    }
    throw error;
  }
}
