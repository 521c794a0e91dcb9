/**
 * A stranger who may publish to `VF_IN` says `Nats-Msg-Id` with the id of somebody's request, a moment before that: to
 * NATS the request is a duplicate of the stranger's message then, acknowledged and not stored.
 */
import { afterAll, beforeAll, beforeEach, expect, jest, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { VfScheduler } from '../libs/client/src/index.js';
import { reportHosts, serve, type Served } from './support/conversation.js';
import { vmStart } from './support/inputs.js';
import { isOutcome, NatsClient } from './support/nats-client.js';
import { Programs, type SharedServer } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(60_000);

const VFCTL = join(import.meta.dirname, '../dist/apps/vfctl/src/main.js');
const TWO_MINUTES = 120_000_000_000;

const programs = new Programs();
let nats: SharedServer;
let allocator: Served;
let stranger: NatsClient;
let scheduler: VfScheduler;
let serial = 0;
/** All that was published below `vf.in`, whether it was stored or not. */
const heard: { readonly subject: string; readonly headers: readonly string[] }[] = [];

beforeAll(async () => {
  nats = await programs.natsServer();
  allocator = await serve(programs, 'allocator', {
    VF_NATS_URL: nats.url,
    VF_DATA_DIR: await programs.directory(),
  });
  stranger = await NatsClient.connect(nats.url);
  await reportHosts(stranger);
  await stranger.follow().first('the hosts', ({ position }) => position === '2');
  stranger.connection.subscribe('vf.in.>', {
    callback: (_, { subject, headers }) => void heard.push({ subject, headers: headers?.keys() ?? [] }),
  });
  scheduler = await VfScheduler.connect({ servers: nats.url });
  // As a stranger with the tools of NATS may leave it: the id counts as used for as long as the test takes.
  await stranger.manager.streams.update('VF_IN', { duplicate_window: TWO_MINUTES });
}, 60_000);

beforeEach(() => void serial++);

afterAll(async () => {
  await scheduler.close();
  await stranger.close();
  await programs.end();
});

/** Uses up an id: what comes under it next is a duplicate. */
async function squat(id: string, payload = 'garbage'): Promise<void> {
  await stranger.publishBytes('vf.in.default.vm.stranger.VmStopped', payload, { 'Nats-Msg-Id': id });
}

/** The outcomes that an id has had, once all that is in `VF_IN` now is decided. */
async function outcomesOf(id: string): Promise<readonly string[]> {
  const last = vmStart('last', { id: `last-${serial}` });
  await stranger.publishUntilStored(last);
  const follower = stranger.follow();
  await follower.outcome(last.event.id);
  return follower.of(id).flatMap(({ type }) => (isOutcome(type) ? [type] : []));
}

const nics = [{ nicId: 'eth0', physicalNetwork: 'em1' }];

test('the client is answered, and asked again with the same id it has the same answer', async () => {
  const id = 'squatted-sdk';
  await squat(id);
  const granted = await scheduler.startVm('vm-sdk', { nics }, { id });
  expect(granted.allocations).toHaveLength(1);
  expect(await scheduler.startVm('vm-sdk', { nics }, { id })).toEqual(granted);
  expect(await outcomesOf(id)).toEqual(['VmStartAccepted']);
});

test('a publish of the client that does not wait is stored', async () => {
  const id = 'squatted-publish';
  await squat(id);
  const { sequence } = await scheduler.publish('VmStartRequested', { vmId: 'vm-publish', nics }, { id });
  expect(sequence).toBeGreaterThan(0);
  expect(await outcomesOf(id)).toEqual(['VmStartAccepted']);
});

test('a command over HTTP with an Idempotency-Key that was squatted is decided once, however often it is sent', async () => {
  const id = 'squatted-http';
  await squat(id);
  for (const wait of ['wait=0', 'wait=10', 'wait=10']) {
    const answer = await fetch(`${allocator.http}/v1/clusters/default/vms/vm-http/start`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': id, prefer: wait },
      body: JSON.stringify({ nics }),
    });
    expect([wait, answer.status]).toEqual([wait, wait === 'wait=0' ? 202 : 200]);
    await answer.arrayBuffer();
  }
  expect(await outcomesOf(id)).toEqual(['VmStartAccepted']);
});

test('vfctl is answered', async () => {
  const id = 'squatted-vfctl';
  await squat(id);
  const words = ['--server', nats.url, 'vm', 'start', 'vm-vfctl', '--nic', 'eth0=em1', '--id', id];
  const { stdout } = await promisify(execFile)(process.execPath, [VFCTL, ...words]);
  expect(stdout).toMatch(/vm-vfctl/);
  expect(await outcomesOf(id)).toEqual(['VmStartAccepted']);
});

test('a dead letter that is published again reaches the scheduler, whatever header the first one had', async () => {
  const before = (await stranger.dead()).length;
  await squat('squatted-dead', 'a dead letter');
  const [letter] = await until('the dead letter', async () => {
    const letters = (await stranger.dead()).slice(before);
    return letters.length > 0 && letters;
  });
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[VFCTL, '--server', nats.url, '--json', 'dead', 'retry', '--yes', String(letter!.sequence)],
  ]);
  const { sequence } = JSON.parse(stdout) as { sequence: number };
  const again = await until('it, dead once more', async () =>
    (await stranger.dead())
      .slice(before + 1)
      .find(({ headers }) =>
        headers.some(([name, value]) => name === 'Vf-Sequence' && value === `${sequence}`),
      ),
  );
  expect(again.payload.toString()).toBe('a dead letter');
});

test('nothing of ours says a Nats-Msg-Id, the leader neither, whose ids can be foretold', async () => {
  // While a start is pending something may fall due, and the leader says so each second.
  await scheduler.startVm('vm-pending', { nics });
  await until('a Tick', () => heard.find(({ subject }) => subject.endsWith('.Tick')));
  const ours = heard.filter(({ subject }) => !subject.includes('.stranger.'));
  expect(new Set(ours.map(({ subject }) => subject.split('.').at(-1)))).toEqual(
    new Set(['VmStartRequested', 'Tick']),
  );
  expect(ours.filter(({ headers }) => headers.includes('Nats-Msg-Id'))).toEqual([]);
});

test('the next start brings the window to the shortest there is', async () => {
  expect((await stranger.stream('VF_IN'))?.config.duplicate_window).toBe(TWO_MINUTES);
  await allocator.program.stop();
  allocator = await serve(programs, 'allocator', {
    VF_NATS_URL: nats.url,
    VF_DATA_DIR: await programs.directory(),
    VF_EVENT_LOG: 'memory:',
    VF_CLUSTERS: 'other',
  });
  expect((await stranger.stream('VF_IN'))?.config.duplicate_window).toBe(100_000_000);
});
