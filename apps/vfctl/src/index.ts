export { runVfctl } from './program.js';
export { fleetTable, pfTable, timelineRow } from './tables.js';
export type { Terminal } from './terminal.js';
