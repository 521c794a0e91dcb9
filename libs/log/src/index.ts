export * from './canonical-json.js';
export * from './chain.js';
export * from './errors.js';
export * from './event-log.js';
export * from './memory-log.js';
export * from './record.js';
export * from './sqlite-log.js';
export * from './verify.js';
