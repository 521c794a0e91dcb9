/**
 * Tests for what is built on the scheduler, and for the scheduler itself: given / when / then for the
 * decider, and a kit in which whole conversations run over the real pipeline while everything that can go
 * wrong does. See docs/how-to/test-a-saga.md.
 */
export * from './allocator-process.js';
export * from './decider.js';
export * from './fake-clock.js';
export * from './fleet-builder.js';
export * from './host-agent.js';
export * from './invariants.js';
export * from './matchers.js';
export * from './mishaps.js';
export * from './random.js';
export * from './saga.js';
export * from './simulation.js';
