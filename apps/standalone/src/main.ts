import { runProcess } from '#allocator';
import { readSettings } from '#wire';
import { startStandalone } from './standalone.js';

await runProcess((asked) => startStandalone(readSettings(process.env), asked));
