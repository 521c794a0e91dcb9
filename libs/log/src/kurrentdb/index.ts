export { readConnectionString } from './connection-string.js';
export { KurrentLog, type KurrentLogOptions } from './kurrent-log.js';
