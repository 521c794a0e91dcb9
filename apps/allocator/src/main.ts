import { readSettings, SettingsError } from '#wire';
import { createLog, logWarnings } from './logging.js';
import { keepPrivate } from './private-files.js';
import { runProcess } from './run.js';
import { startService } from './service.js';

await runProcess(async (asked) => {
  const settings = readSettings(process.env);
  const { natsUrl } = settings;
  if (natsUrl === undefined) {
    throw new SettingsError(
      'VF_NATS_URL',
      'the allocator needs a NATS server, such as nats://127.0.0.1:4222',
    );
  }
  const log = createLog(settings.logLevel);
  logWarnings(log);
  await keepPrivate(settings.dataDir, (message) => log.warn(message));
  return startService(settings, { url: natsUrl, ours: false }, log, asked);
});
