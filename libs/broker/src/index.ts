export * from './broker.js';
export * from './errors.js';
export * from './memory-broker.js';
export * from './memory-broker-server.js';
export * from './nats-broker.js';
export { NatsLink, openNatsConnection } from './nats-connection.js';
export { toBrokerError } from './nats-errors.js';
export * from './nats-follow-output.js';
export * from './nats-server.js';
