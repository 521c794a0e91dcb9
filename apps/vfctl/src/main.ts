import { createInterface } from 'node:readline/promises';
import { packageVersion } from '#wire';
import { EXIT } from './exit-codes.js';
import { runVfctl } from './program.js';

const asked = new AbortController();
process.once('SIGINT', () => asked.abort(new Error('interrupted')));
let unwritten = false;
process.stdout.on('error', (error: { code?: string }) => {
  asked.abort(error);
  // `vfctl events | head` is no fault.
  if (error.code === 'EPIPE' || unwritten) return;
  unwritten = true;
  process.exitCode = EXIT.unwritten;
  process.stderr.write(
    `vfctl: what was to be printed could not be written (${error.code}). What it did is done: ask again for what it found\n`,
  );
});
// Where nothing can be said the exit code says it.
process.stderr.on('error', () => undefined);

const exitCode = await runVfctl(
  process.argv.slice(2),
  {
    out: (text) => void process.stdout.write(text),
    outBytes: (bytes) => void process.stdout.write(bytes),
    err: (text) => void process.stderr.write(text),
    outIsTerminal: process.stdout.isTTY,
    env: process.env,
    signal: asked.signal,
    ...(process.stdin.isTTY && {
      ask: async (question: string) => {
        const lines = createInterface({ input: process.stdin, output: process.stderr });
        try {
          return await lines.question(question, { signal: asked.signal });
        } finally {
          lines.close();
        }
      },
    }),
  },
  packageVersion(),
);
if (!unwritten) process.exitCode = exitCode;
