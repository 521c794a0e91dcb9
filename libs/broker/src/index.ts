export * from './broker.js';
export * from './errors.js';
export * from './memory-broker.js';
export * from './memory-broker-server.js';
export * from './nats-broker.js';
export * from './nats-server.js';
