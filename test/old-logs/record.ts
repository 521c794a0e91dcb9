import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { conversation } from '../contract/story.js';
import { input, type Input } from '../support/inputs.js';
import { NatsClient } from '../support/nats-client.js';
import type { Programs } from '../support/programs.js';
import { until } from '../support/until.js';
import { ask, askAll } from './answers.js';

/** So many VMs come and go after the story, so that the process leaves a snapshot. */
const ROUNDS = 320;

/**
 * Has the present version write a log by its own process, and keeps it with what it answers, in the files that `old-logs.e2e-spec.ts` reads.
 *
 * @param directory where to; it must not be there.
 */
export async function recordLog(programs: Programs, directory: string): Promise<void> {
  await mkdir(directory);
  const data = await programs.directory();
  const key = join(import.meta.dirname, 'audit-key.pem');
  const settings = { VF_DATA_DIR: data, VF_AUDIT_KEY: key };
  const first = await programs.start('standalone', settings);
  const { http, nats } = await first.ready();
  const client = await NatsClient.connect(nats);
  try {
    await tell(client, http);
  } finally {
    await client.close();
  }
  // The end of this one leaves a snapshot; the next one answers with what it found.
  await first.stop();
  await copyFile(join(data, 'events.db'), join(directory, 'events.db'));
  const second = await programs.start('standalone', settings);
  const again = (await second.ready()).http;
  const exported = await (await fetch(`${again}/v1/clusters/default/export`)).text();
  const answers = await askAll(again);
  await second.stop();
  await cp(join(data, 'signed-heads'), join(directory, 'signed-heads'), { recursive: true });
  await pack(join(directory, 'events.db'));
  await writeFile(join(directory, 'export.ndjson.gz'), gzipSync(exported, { level: 9 }));
  await writeFile(
    join(directory, 'answers.json.gz'),
    gzipSync(answers.map((one) => JSON.stringify(one)).join('\n'), { level: 9 }),
  );
}

async function pack(file: string): Promise<void> {
  await writeFile(`${file}.gz`, gzipSync(await readFile(file), { level: 9 }));
  await rm(file);
}

/** The story of the contract, every input type in it, and then VMs that come and go. */
async function tell(client: NatsClient, http: string): Promise<void> {
  const allocations = new Map<string, string>();
  let said = 0;
  let read = 0;
  const publish = async (what: Input): Promise<void> => {
    const sequence = await client.publish(what);
    await until(
      () => `input ${sequence} (${what.event.type}) to be decided`,
      async () => {
        const health = (await (await fetch(`${http}/health/ready`)).json()) as {
          clusters: { default: { inputSequence: number; durable: number; position: number } };
        };
        const { inputSequence, durable, position } = health.clusters.default;
        return inputSequence >= sequence && durable === position;
      },
    );
    const { events } = (await ask(http, 'history', { from: String(read + 1), limit: '1000' })) as {
      events: { type: string; position: string; data: Record<string, string> }[];
    };
    for (const { type, position, data } of events) {
      read = Number(position);
      if (type === 'VfAllocated')
        allocations.set(`${data['vmId']} ${data['nicId']}`, data['allocationId'] ?? '');
    }
  };
  const story = conversation({
    allocation: (vmId, nicId) => ({ id: allocations.get(`${vmId} ${nicId}`) ?? 'none' }),
  });
  for (const { type, data } of story) {
    said++;
    await publish(input(type, data as unknown as Record<string, unknown>, { id: `story-${said}` }));
  }
  const pf = { pciAddress: '0000:82:00.0', ifname: 'em1', link: 'up', totalVfs: 8 };
  const vfs = Array.from({ length: 8 }, (_, index) => ({ pciAddress: `0000:82:10.${index}`, index }));
  const report = { iommu: { enabled: true, ready: true }, interruptRemapping: true, pfs: [{ ...pf, vfs }] };
  const batch: Input[] = [
    input('HostReported', { hostId: 'host-9', bootId: 'b', seq: 1, ...report }, { id: 'report-9' }),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    const vmId = `guest-${round % 11}`;
    const id = (what: string): { id: string } => ({ id: `${what}-${round}` });
    const nics = [{ nicId: 'a' }, { nicId: 'b', onExhaustion: 'fallback' }];
    batch.push(
      input('VmStartRequested', { vmId, hostId: 'host-9', tenant: `t${round % 3}`, nics }, id('start')),
    );
    if (round % 3 === 0) batch.push(input('VmStarted', { vmId, hostId: 'host-9' }, id('started')));
    if (round % 4 !== 0) batch.push(input('VmStopped', { vmId }, id('stopped')));
  }
  // Only a report with a number above the last is taken; this one is not, and leaves nothing.
  batch.push(
    input('HostReported', { hostId: 'host-9', bootId: 'b', seq: 1, ...report }, { id: 'report-stale' }),
  );
  for (const one of batch.slice(0, -1)) await client.publish(one);
  await publish(batch.at(-1)!);
}
