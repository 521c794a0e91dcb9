import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { StorageType, type StreamConfig } from '@nats-io/jetstream';
import { health, serve, untilHealth, type Served } from './support/conversation.js';
import { vmStart } from './support/inputs.js';
import { NatsClient } from './support/nats-client.js';
import { Programs } from './support/programs.js';
import { until } from './support/until.js';

jest.setTimeout(60_000);

const programs = new Programs();
const clients: NatsClient[] = [];
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await programs.end();
});

/** What an administrator or a stranger does to `VF_DEAD`, what of it must be said, and how it is mended. */
interface Refusal {
  readonly name: string;
  readonly config: Partial<StreamConfig>;
  /** There is a message in it already. */
  readonly filled?: boolean;
  readonly says: RegExp;
}

const PLAIN = { name: 'VF_DEAD', subjects: ['vf.dead.>'], storage: StorageType.File };

const REFUSALS: readonly Refusal[] = [
  {
    name: 'is full of messages, and refuses new ones',
    config: { max_msgs: 1, discard: 'new' as StreamConfig['discard'] },
    filled: true,
    says: /VF_DEAD.*maximum messages exceeded/,
  },
  {
    name: 'takes one message of a subject only',
    config: {
      max_msgs_per_subject: 1,
      discard: 'new' as StreamConfig['discard'],
      discard_new_per_subject: true,
    },
    filled: true,
    says: /VF_DEAD.*maximum messages per subject exceeded/,
  },
  { name: 'takes tiny messages only', config: { max_msg_size: 8 }, says: /VF_DEAD.*message size exceeds/ },
  {
    name: 'has other subjects',
    config: { subjects: ['other.>'] },
    says: /VF_DEAD is there, but stores other/,
  },
];

async function replaced(client: NatsClient, { config, filled }: Refusal): Promise<void> {
  await client.manager.streams.delete('VF_DEAD').catch(() => undefined);
  await client.manager.streams.add({ ...PLAIN, ...config });
  if (filled) await client.jetStream.publish('vf.dead.default', 'in the way');
}

const troubleOf = async ({ http }: Served): Promise<string | undefined> =>
  (await health(http)).clusters['default']?.trouble;

describe('VF_DEAD takes nothing', () => {
  test('the cluster says so and why, decides nothing past it, and goes on when it takes it', async () => {
    const server = await programs.natsServer();
    const settings = { VF_NATS_URL: server.url, VF_DATA_DIR: await programs.directory() };
    const allocator = await serve(programs, 'allocator', settings);
    const client = await NatsClient.connect(server.url);
    clients.push(client);
    for (const [index, refusal] of [...REFUSALS, 'sealed' as const].entries()) {
      const { name, says } =
        refusal === 'sealed' ? { name: 'is sealed', says: /VF_DEAD.*sealed/ } : (refusal as Refusal);
      if (refusal !== 'sealed') await replaced(client, refusal);
      else {
        await replaced(client, { name, config: {}, says });
        await client.manager.streams.update('VF_DEAD', { sealed: true } as Partial<StreamConfig>);
      }
      const unreadable = await client.publishBytes('vf.in.default.vm.vm-x.VmStopped', `not JSON ${index}`);
      const start = vmStart(`vm-${index}`, { id: `start-${index}` });
      await client.publish(start);
      const trouble = await until(`what '${name}' leads to`, async () => {
        const said = await troubleOf(allocator);
        return said !== undefined && says.test(said) ? said : undefined;
      });
      expect(trouble).toContain(`message ${unreadable} of VF_IN`);
      expect(await health(allocator.http)).toMatchObject({
        status: 503,
        clusters: { default: { role: 'leader' } },
      });
      // Mended: the stream that does not fit is away, and is made again.
      await client.manager.streams.delete('VF_DEAD');
      await untilHealth(allocator.http, 200);
      expect(await client.follow().outcome(start.event.id)).toMatchObject({ type: 'VmStartFailed' });
      const letter = await client.manager.streams.getMessage('VF_DEAD', { last_by_subj: 'vf.dead.default' });
      expect(letter?.string()).toBe(`not JSON ${index}`);
    }
    expect(allocator.program.log(50)).toEqual([]);

    // What belongs to no cluster keeps no cluster from being served; it is said, and not forgotten.
    await replaced(client, REFUSALS[2]!);
    await client.publishBytes('vf.in.no!cluster.x', 'nobody');
    const said = await until('what is said of it', async () => {
      const { status, trouble } = (await health(allocator.http)) as { status: number; trouble?: string };
      return trouble === undefined ? undefined : { status, trouble };
    });
    expect(said).toMatchObject({
      status: 200,
      trouble: expect.stringMatching(/VF_DEAD.*message size exceeds/),
    });
    await client.manager.streams.delete('VF_DEAD');
    await until(
      'the letter',
      async () =>
        (
          await client.manager.streams.getMessage('VF_DEAD', { last_by_subj: 'vf.dead._' }).catch(() => null)
        )?.string() === 'nobody',
    );
    await until(
      'all is well again',
      async () => ((await health(allocator.http)) as { trouble?: string }).trouble === undefined,
    );

    // It may take some time: it is asked to end meanwhile, and the next one finds it as it was.
    await replaced(client, REFUSALS[2]!);
    await client.publishBytes('vf.in.default.vm.vm-y.VmStopped', 'not JSON either');
    await until('its trouble', async () => (await troubleOf(allocator)) !== undefined);
    expect(await allocator.program.stop()).toEqual({ code: 0, signal: null });
    await client.manager.streams.delete('VF_DEAD');
    const next = await serve(programs, 'allocator', settings);
    await until(
      'the letter',
      async () =>
        (
          await client.manager.streams
            .getMessage('VF_DEAD', { last_by_subj: 'vf.dead.default' })
            .catch(() => null)
        )?.string() === 'not JSON either',
    );
    expect(await next.program.stop()).toEqual({ code: 0, signal: null });
  });
});
