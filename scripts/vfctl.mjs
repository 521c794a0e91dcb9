#!/usr/bin/env node
/** The command `vfctl`: `npx vfctl …`. */
process.argv.splice(2, 0, 'vfctl');
await import('./start.mjs');
