import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStandalone } from '#standalone';
import { readSettings } from '#wire';
import { tellStory } from './story.js';

const dataDir = await mkdtemp(join(tmpdir(), 'vf-demo-'));
const standalone = await startStandalone(
  readSettings({ VF_DATA_DIR: dataDir, VF_NATS_PORT: '0', VF_HTTP_PORT: '0', VF_LOG_LEVEL: 'warn' }),
);
try {
  await tellStory(standalone.ready.nats, (line) => process.stdout.write(`${line}\n`));
} finally {
  await standalone.stop();
  await rm(dataDir, { recursive: true, force: true });
}
