import { createLog, logWarnings, runProcess } from '#allocator';
import { readSettings } from '#wire';
import { startStandalone } from './standalone.js';

await runProcess((asked) => {
  const settings = readSettings(process.env);
  logWarnings(createLog(settings.logLevel));
  return startStandalone(settings, asked);
});
