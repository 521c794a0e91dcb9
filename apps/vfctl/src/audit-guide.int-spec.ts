import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { VfScheduler, type Inputs } from '#client';
import { startStandalone, type Standalone } from '#standalone';
import { readSettings } from '#wire';

jest.setTimeout(120_000);

/**
 * `docs/how-to/audit.md`: each command of it is run in a shell against a real scheduler, and what it prints is
 * compared with the block behind it. A line `…` there stands for any lines; times, hashes and seconds are compared
 * by their form. `VF_TEST_WRITE_STORIES=1` writes the blocks instead.
 */
const ROOT = join(import.meta.dirname, '../../..');
const GUIDE = join(ROOT, 'docs/how-to/audit.md');
const WRITE = process.env['VF_TEST_WRITE_STORIES'] !== undefined;
/** A command, and what it prints. */
const STEP = /```sh\n([^`]*?)\n```\n\n```(text|json|csv)\n([^`]*?)```/g;

let directory: string;
let standalone: Standalone;
let client: VfScheduler;
let tuesday: string;

const report = (hostId: string): Inputs['HostReported'] => ({
  hostId,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: [
    {
      pciAddress: '0000:82:00.0',
      ifname: 'em1',
      model: '82599ES',
      link: 'up',
      totalVfs: 63,
      vfs: [0, 1].map((index) => ({ pciAddress: `0000:82:10.${index}`, index })),
    },
  ],
});

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-guide-'));
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  await writeFile(join(directory, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(join(directory, 'scheduler.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  standalone = await startStandalone(
    readSettings({
      VF_DATA_DIR: join(directory, 'data'),
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'silent',
      VF_AUDIT_KEY: join(directory, 'key.pem'),
    }),
  );
  client = await VfScheduler.connect({ servers: standalone.ready.nats });
  // What has happened when the guide begins.
  const nics = [{ nicId: 'nic-0', physicalNetwork: 'em1' }];
  const start = (vmId: string, tenant: string, hostId?: string) =>
    client.ask(
      'VmStartRequested',
      { vmId, tenant, nics, ...(hostId && { hostId }) },
      { id: `start-${vmId}` },
    );
  await client.publish('HostReported', report('host-1'), { id: 'report-1' });
  await start('vm-7', 'red');
  const { event } = await client.ask('VmStarted', { vmId: 'vm-7' }, { id: 'started-vm-7' });
  tuesday = event.time;
  await client.ask('VmStopped', { vmId: 'vm-7' }, { id: 'stop-vm-7' });
  await start('vm-8', 'blue');
  await start('vm-9', 'blue');
  await start('vm-33', 'red').catch(() => undefined);
  await client.publish('HostReported', report('host-2'), { id: 'report-2' });
  for (const vmId of ['vm-8', 'vm-9']) await client.ask('VmStarted', { vmId }, { id: `started-${vmId}` });
});

afterAll(async () => {
  await client.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Runs a command as somebody types it there. */
async function typed(command: string): Promise<string> {
  const { nats, http } = standalone.ready;
  const functions = `vfctl() { ${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, 'dist/apps/vfctl/src/main.js'))} "$@"; }`;
  const env = {
    PATH: process.env['PATH'],
    VFCTL_NATS_URL: nats,
    VFCTL_HTTP_URL: http,
    TUESDAY: tuesday,
    TODAY: new Date().toISOString(),
  };
  const shell = spawn('sh', ['-c', `${functions}\n${command.replaceAll('http://127.0.0.1:8080', http)}`], {
    cwd: directory,
    env,
  });
  let out = '';
  for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (bytes) => (out += String(bytes)));
  const code = await new Promise((resolve) => shell.on('close', resolve));
  return code === 0 ? out : `${out}(exit code ${String(code)})\n`;
}

const formOf = (text: string): string =>
  text
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>')
    .replaceAll(/\b[0-9a-f]{64}\b/g, '<hash>')
    .replaceAll(/\b[0-9a-f]{8}-[0-9a-f]{4}-[48][0-9a-f-]{21}\b/g, '<id>')
    .replaceAll(/^((red|blue|-)?,\d+),[\d.]+$/gm, '$1,<seconds>')
    // Each change of the rules makes it one more.
    .replaceAll(/\bversion \d+ of the decider/g, 'version <n> of the decider')
    .replaceAll(/("decider": )"?\d+"?/g, '$1<n>')
    .replaceAll(/ +/g, ' ');

test('the guide to the audit is what a person sees', async () => {
  const text = await readFile(GUIDE, 'utf8');
  const steps = [...text.matchAll(STEP)];
  expect(steps.length).toBeGreaterThan(7);
  // Each command of the guide is one of the steps.
  expect(text.match(/^(vfctl|curl) /gm)?.length ?? 0).toBe(
    steps.flatMap(([, command]) => command?.match(/^(vfctl|curl) /gm) ?? []).length,
  );
  let filled = text;
  for (const [block, command = '', language, expected = ''] of steps) {
    const printed = (await typed(command)).replaceAll('\r\n', '\n');
    // On one line it can be read by nobody.
    const out = language === 'json' ? `${JSON.stringify(JSON.parse(printed), null, 2)}\n` : printed;
    if (WRITE) {
      filled = filled.replace(block, () => `\`\`\`sh\n${command}\n\`\`\`\n\n\`\`\`${language}\n${out}\`\`\``);
      continue;
    }
    const wanted = language === 'json' ? `${JSON.stringify(JSON.parse(expected), null, 2)}\n` : expected;
    const parts = formOf(wanted)
      .split(/^ *…\n/m)
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    expect([command, formOf(out)]).toEqual([
      command,
      expect.stringMatching(new RegExp(`^${parts.join('[^]*')}$`)),
    ]);
  }
  if (WRITE) await writeFile(GUIDE, filled);
});
