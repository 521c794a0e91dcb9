/** What to say in a test, and given / when / then for a decider: see `#testing`, which tells it on. */
export * from './fleet.js';
export * from './scenario.js';
