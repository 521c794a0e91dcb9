import { createInterface } from 'node:readline/promises';
import { packageVersion } from '#wire';
import { runVfctl } from './program.js';

const asked = new AbortController();
process.once('SIGINT', () => asked.abort(new Error('interrupted')));
// `vfctl events | head` is no fault.
process.stdout.on('error', (error: { code?: string }) => {
  if (error.code === 'EPIPE') asked.abort(error);
  else throw error;
});

process.exitCode = await runVfctl(
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
