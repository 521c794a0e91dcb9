import { copyLogs } from './copy-logs.js';

// A copy is nobody else's either.
process.umask(0o077);
try {
  await copyLogs(process.argv.slice(2), process.env, (line) => process.stdout.write(`${line}\n`));
} catch (error) {
  process.stderr.write(`vf-scheduler: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
// What is open still is native: the client of KurrentDB.
setTimeout(() => process.exit(), 1000).unref();
