import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePrivateFiles } from '#allocator';
import { startStandalone } from '#standalone';
import { readSettings } from '#wire';
import { tellStory } from './story.js';

let unwritten: NodeJS.ErrnoException | undefined;
process.stdout.on('error', (error) => (unwritten ??= error));
process.stderr.on('error', () => undefined);

/** Nobody listens any more: the story ends, and what it was told with is put away. */
class Unheard extends Error {}

makePrivateFiles();
const dataDir = await mkdtemp(join(tmpdir(), 'vf-demo-'));
const standalone = await startStandalone(
  readSettings({ VF_DATA_DIR: dataDir, VF_NATS_PORT: '0', VF_HTTP_PORT: '0', VF_LOG_LEVEL: 'warn' }),
);
try {
  await tellStory(standalone.ready.nats, (line) => {
    if (unwritten !== undefined) throw new Unheard();
    process.stdout.write(`${line}\n`);
  });
} catch (error) {
  if (!(error instanceof Unheard)) throw error;
} finally {
  await standalone.stop();
  await rm(dataDir, { recursive: true, force: true });
}
// `npm run demo | head` is no fault.
if (unwritten !== undefined && unwritten.code !== 'EPIPE') {
  process.stderr.write(`vf-scheduler: the story could not be written (${unwritten.code})\n`);
  process.exitCode = 1;
}
