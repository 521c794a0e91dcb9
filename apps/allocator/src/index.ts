export { AllocatorModule } from './allocator.module.js';
export { BatchStrategy, INPUT_BATCH } from './batch-strategy.js';
export { DiskWatch, refuseFullDisk } from './disk-watch.js';
export { LineSink, logSink } from './line-sink.js';
export { createLog, logWarnings, nestLogger, pipelineLogger } from './logging.js';
export { openEventLog, type NatsUse } from './parts.js';
export { runProcess } from './run.js';
export { startService, type Service } from './service.js';
export { keepPrivate, makePrivateFiles } from './private-files.js';
