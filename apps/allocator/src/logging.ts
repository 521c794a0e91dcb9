import type { LoggerService } from '@nestjs/common';
import { pino, type Logger as Pino } from 'pino';
import type { Logger } from '#pipeline';
import type { LogLevel } from '#wire';
import { logSink } from './line-sink.js';

/** The process's log: JSON lines on stderr, because stdout belongs to the ready line. No line is waited for. */
export function createLog(level: LogLevel): Pino {
  return pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { error: pino.stdSerializers.err },
    },
    logSink(),
  );
}

const TLS_NAME_IS_ADDRESS = 'DEP0123';

/** What Node itself warns of, as lines of the log: whoever reads stderr reads JSON. For a whole process. */
export function logWarnings(log: Pino): void {
  // Node's own way to say it is a listener too.
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    // A server that is named by its address has no name to ask for in TLS; clients ask all the same, each time.
    if ((warning as { code?: string }).code === TLS_NAME_IS_ADDRESS)
      log.debug(`Node warns: ${warning.message}`);
    else log.warn({ error: warning }, `Node warns: ${warning.message}`);
  });
}

/** The pipeline's logger on pino. */
export const pipelineLogger = (log: Pino): Logger => ({
  debug: (message, facts) => log.debug(facts ?? {}, message),
  info: (message, facts) => log.info(facts ?? {}, message),
  warn: (message, facts) => log.warn(facts ?? {}, message),
  error: (message, facts) => log.error(facts ?? {}, message),
});

/**
 * Nest's logger on pino. What Nest says of its own modules at start is of interest to nobody but its
 * developers.
 */
export const nestLogger = (log: Pino): LoggerService => ({
  log: (message: unknown) => log.debug({ message }, 'nest'),
  debug: (message: unknown) => log.debug({ message }, 'nest'),
  verbose: (message: unknown) => log.trace({ message }, 'nest'),
  warn: (message: unknown) => log.warn({ message }, 'nest'),
  error: (message: unknown) => log.error({ message }, 'nest'),
});
