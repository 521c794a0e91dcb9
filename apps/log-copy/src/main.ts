import { copyLogs } from './copy-logs.js';

let unwritten: NodeJS.ErrnoException | undefined;
// Whether anybody hears of it or not, a copy that was begun is finished.
process.stdout.on('error', (error) => (unwritten ??= error));
process.stderr.on('error', () => undefined);

// A copy is nobody else's either.
process.umask(0o077);
try {
  await copyLogs(process.argv.slice(2), process.env, (line) => process.stdout.write(`${line}\n`));
  if (unwritten !== undefined && unwritten.code !== 'EPIPE')
    throw new Error(`the copy is made; what was to be said of it could not be written (${unwritten.code})`);
} catch (error) {
  process.stderr.write(`vf-scheduler: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
// What is open still is native: the client of KurrentDB.
setTimeout(() => process.exit(), 1000).unref();
