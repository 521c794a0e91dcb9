import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { connectNats, type NatsBroker, type NatsBrokerOptions } from './nats-broker.js';
import { isServerNewEnough } from './nats-connection.js';
import type { NatsServerProcess } from './nats-server.js';
import { wipe } from './nats-site.js';
import { inputPlan } from './nats-streams.js';
import { TestServers } from './nats-test-servers.js';

const servers = new TestServers();
let server: NatsServerProcess;
let tools: NatsConnection;
let manager: JetStreamManager;
let brokers: NatsBroker[] = [];

const open = async (options: Partial<NatsBrokerOptions> = {}): Promise<NatsBroker> => {
  const broker = await connectNats({ url: server.url, ...options });
  brokers.push(broker);
  return broker;
};

beforeAll(async () => {
  server = await servers.start();
});

beforeEach(async () => {
  tools = await connect({ servers: server.url });
  await wipe(tools);
  manager = await jetstreamManager(tools);
});

afterEach(async () => {
  await Promise.all(brokers.map((broker) => broker.close()));
  brokers = [];
  await tools.close();
});

afterAll(() => servers.end());

describe('prepare', () => {
  test('makes the streams as the contract says', async () => {
    await (await open()).prepare();
    expect((await manager.streams.info('VF_IN')).config).toMatchObject({
      subjects: ['vf.in.>'],
      storage: 'file',
      retention: 'limits',
      discard: 'new',
      max_bytes: 1024 ** 3,
      max_msg_size: 1024 ** 2,
      duplicate_window: 100_000_000,
      num_replicas: 1,
    });
    expect((await manager.streams.info('VF_DEAD')).config).toMatchObject({
      subjects: ['vf.dead.>'],
      discard: 'old',
      duplicate_window: 100_000_000,
    });
    expect((await manager.streams.info('KV_VF_LEASES')).config.max_msgs_per_subject).toBe(1);
  });

  test('brings limits up to the settings, and leaves what is right', async () => {
    await (await open()).prepare();
    const lines: string[] = [];
    await (
      await open({ streams: { inputMaxBytes: 5_000_000 }, log: (_, message) => lines.push(message) })
    ).prepare();
    expect((await manager.streams.info('VF_IN')).config.max_bytes).toBe(5_000_000);
    expect(lines).toEqual(['Changed the limits of stream VF_IN']);
  });

  test('brings the duplicate window of streams that are there to the shortest there is', async () => {
    await (await open()).prepare();
    for (const stream of ['VF_IN', 'VF_DEAD'])
      await manager.streams.update(stream, { duplicate_window: 120_000_000_000 });
    await (await open()).prepare();
    for (const stream of ['VF_IN', 'VF_DEAD']) {
      const { config } = await manager.streams.info(stream);
      expect([stream, config.duplicate_window]).toEqual([stream, 100_000_000]);
      // A server that takes less would have it.
      await expect(manager.streams.update(stream, { duplicate_window: 99_000_000 })).rejects.toThrow('100ms');
    }
  });

  test('only warns of another storage, and leaves replicas alone', async () => {
    await (await open()).prepare();
    const lines: string[] = [];
    const broker = await open({
      streams: { storage: 'memory', replicas: 3 },
      log: (level, message) => lines.push(`${level} ${message}`),
    });
    await broker.prepare();
    expect(lines).toContain('warn Stream VF_IN is kept in file, not in memory; it stays so');
    expect((await manager.streams.info('VF_IN')).config).toMatchObject({ storage: 'file', num_replicas: 1 });
  });

  test('refuses a foreign stream that stores our subjects', async () => {
    await manager.streams.add({ name: 'THEIRS', subjects: ['vf.in.a.>'] });
    await expect((await open()).prepare()).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('stream THEIRS already stores vf.in.>'),
    });
  });

  test.each([
    [{ subjects: ['vf.in.>', 'other'] }, 'stores vf.in.>, other instead of vf.in.>'],
    [{ subjects: ['vf.in.>'], retention: 'workqueue' as const }, 'drops what was read (retention workqueue)'],
    [{ subjects: ['vf.in.>'], no_ack: true }, 'does not acknowledge'],
  ])('refuses a VF_IN that contradicts: %j', async (config, sentence) => {
    await manager.streams.add({ name: 'VF_IN', ...config });
    await expect((await open()).prepare()).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining(sentence),
    });
  });

  test('says that JetStream does not answer when it is off', async () => {
    // The account without JetStream stands for a server without it.
    const broker = await open({ startTimeout: 300 });
    const request = broker.connection.request.bind(broker.connection);
    broker.connection.request = (subject, ...rest) => request(subject.replace('$JS.', '$NOBODY.'), ...rest);
    await expect(broker.prepare()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/JetStream does not answer.*nats-server -js/),
    });
  });

  test('several at once agree', async () => {
    const all = await Promise.all([open(), open(), open()]);
    await Promise.all(all.map((broker) => broker.prepare()));
    await Promise.all(all.map((broker) => broker.output.create('a', 1_000)));
    expect(await all[0]!.output.state('a')).toMatchObject({ firstSequence: 1_000, lastSequence: 999 });
  });

  test('refuses a server whose messages are too small for the contract', () => {
    expect(() => inputPlan({}, 65_536)).toThrow(expect.objectContaining({ code: 'REFUSED' }));
    expect(inputPlan({}, 1024 ** 2).max_msg_size).toBe(1024 ** 2 - 65_536);
  });
});

describe('connecting', () => {
  test('waits for a server that is starting', async () => {
    const placeholder = createServer();
    await new Promise<void>((resolve) => placeholder.listen(0, '127.0.0.1', resolve));
    const { port } = placeholder.address() as AddressInfo;
    await new Promise((resolve) => placeholder.close(resolve));
    const connecting = connectNats({ url: `nats://127.0.0.1:${port}` });
    await servers.start({ port });
    const broker = await connecting;
    brokers.push(broker);
    await broker.prepare();
    expect(broker.connected).toBe(true);
  });

  test('says where nobody answers and what to do', async () => {
    await expect(connectNats({ url: 'nats://127.0.0.1:1', startTimeout: 300 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/No NATS server answers at nats:\/\/127\.0\.0\.1:1 .*VF_NATS_URL/),
    });
  });

  test('names a credentials file that cannot be read', async () => {
    await expect(
      connectNats({ url: server.url, credentialsFile: '/nowhere/vf.creds' }),
    ).rejects.toMatchObject({
      code: 'REFUSED',
      message: 'The NATS credentials file /nowhere/vf.creds (VF_NATS_CREDS) cannot be read.',
    });
  });

  test('names a credentials file that holds none, and does not say that no server answers', async () => {
    const credentialsFile = fileURLToPath(import.meta.url);
    await expect(connectNats({ url: server.url, credentialsFile })).rejects.toMatchObject({
      code: 'REFUSED',
      message: `The NATS credentials file ${credentialsFile} (VF_NATS_CREDS) holds no credentials: a JWT and a seed, as nsc writes them.`,
    });
  });

  test('refuses a server that is too old', async () => {
    // Says what an old server says when one connects.
    const old = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(
        'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"headers":true,"proto":1}\r\n',
      );
      socket.on('data', (data) => {
        if (data.toString().includes('PING')) socket.write('PONG\r\n');
      });
    });
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve));
    const { port } = old.address() as AddressInfo;
    await expect(connectNats({ url: `nats://127.0.0.1:${port}` })).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(/version 2\.9\.10.*2\.11 or newer/),
    });
    await new Promise((resolve) => old.close(resolve));
  });

  test.each([
    ['2.9.10', false],
    ['2.10.27', false],
    ['2.11.0', true],
    ['v2.14.0', true],
    ['2.12.1-RC.1', true],
    ['3.0.0', true],
    ['unknown', false],
  ])('version %s: %s', (version, enough) => {
    expect(isServerNewEnough(version)).toBe(enough);
  });
});
