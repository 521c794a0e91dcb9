import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connectNats, type NatsBroker } from '#broker';
import { VfScheduler } from '#client';
import type { Inputs } from '#domain';
import { startStandalone, type Standalone } from '#standalone';
import { readSettings } from '#wire';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Response } from 'express';
import { EventStreams, STREAM_LIMITS, type StreamLimits } from './event-stream.js';

let directory: string;
let standalone: Standalone;
let client: VfScheduler;
let broker: NatsBroker;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-api-'));
  standalone = await startStandalone(
    readSettings({
      VF_DATA_DIR: directory,
      VF_EVENT_LOG: 'memory:',
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'fatal',
    }),
  );
  client = await VfScheduler.connect({ servers: standalone.ready.nats });
  broker = await connectNats({ url: standalone.ready.nats });
}, 30_000);

afterAll(async () => {
  await client.close();
  await broker.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

/** A client of server-sent events, as a browser has one: it keeps the last id that it was told. */
class EventSource {
  readonly blocks: { id: string; event?: string; data?: string }[] = [];
  lastId = '';
  #rest = '';
  #wake: () => void = () => undefined;

  private constructor(readonly response: IncomingMessage) {
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#take(text));
    response.on('error', () => undefined);
  }

  static async open(url: string, lastId?: string): Promise<EventSource> {
    const response = await new Promise<IncomingMessage>((done, failed) => {
      get(url, { headers: lastId === undefined ? {} : { 'last-event-id': lastId } }, done).on(
        'error',
        failed,
      );
    });
    return new EventSource(response);
  }

  /** The events, without signs of life. */
  get events(): readonly { id: string; event?: string; data?: string }[] {
    return this.blocks.filter(({ data }) => data !== undefined);
  }

  async until(enough: () => boolean): Promise<void> {
    while (!enough()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  close(): void {
    this.response.destroy();
  }

  #take(text: string): void {
    const parts = (this.#rest + text).split('\n\n');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) {
      const fields = Object.fromEntries(
        part.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      ) as { id: string };
      if (fields.id !== undefined) this.lastId = fields.id;
      this.blocks.push(fields);
    }
    this.#wake();
  }
}

const url = (query = ''): string => `${standalone.ready.http}/v1/clusters/default/events${query}`;
const happen = async (count: number, vmId = 'vm-1'): Promise<number> => {
  let position = 0;
  for (let turn = 0; turn < count; turn++)
    position = Number((await client.ask('VmRebooted', { vmId })).position);
  return position;
};

describe('events over HTTP', () => {
  test('[OUT-3 acts] come in order, each with its position, and the event as it went out', async () => {
    const source = await EventSource.open(url('?after=0'));
    expect(source.response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const end = await happen(5);
    await source.until(() => source.lastId === String(end));
    source.close();
    expect(source.events.map(({ id }) => id)).toEqual(Array.from({ length: end }, (_, at) => String(at + 1)));
    const event = JSON.parse(source.events.at(-1)?.data ?? '') as { position: string; type: string };
    expect([event.position, event.type, source.events.at(-1)?.event]).toEqual([
      String(end),
      'InputIgnored',
      'InputIgnored',
    ]);
  });

  test('resume after Last-Event-ID, without gap or double', async () => {
    const first = await EventSource.open(url('?after=0'));
    const middle = await happen(3);
    await first.until(() => Number(first.lastId) >= middle);
    first.close();
    const end = await happen(7);
    const second = await EventSource.open(url('?after=0'), first.lastId);
    await second.until(() => second.lastId === String(end));
    second.close();
    expect([...first.events, ...second.events].map(({ id }) => id)).toEqual(
      Array.from({ length: end }, (_, at) => String(at + 1)),
    );
  });

  test('are picked by VM, host and type; the others are passed over, and the place is kept', async () => {
    const source = await EventSource.open(url('?vmId=vm-7&type=VmStopped,InputIgnored'));
    const host = await EventSource.open(url('?hostId=host-9'));
    await source.until(() => source.lastId !== '');
    await host.until(() => host.lastId !== '');
    await happen(2);
    await client.ask('HostCordoned', { hostId: 'host-9', cordoned: true });
    const end = await happen(1, 'vm-7');
    await source.until(() => source.lastId === String(end));
    await host.until(() => host.events.length > 0);
    expect(source.events.map(({ id }) => id)).toEqual([String(end)]);
    expect(host.events.map(({ id }) => id)).toEqual([String(end - 1)]);
    source.close();
    host.close();
  });

  test.each([
    ['?after=99999999', 400, 'there is no position 99999999 yet'],
    ['?after=x', 400, 'must be a position'],
    ['?vmid=x', 400, "there is no 'vmid'"],
    ['?hostId=a%20b', 400, 'hostId must be'],
    ['?type=a.b', 400, 'type must name events'],
  ])('%s is refused', async (query, status, detail) => {
    const response = await fetch(url(query));
    expect([response.status, (await response.json()) as object]).toEqual([
      status,
      expect.objectContaining({ detail: expect.stringContaining(detail) }),
    ]);
  });

  test('of a cluster that is not there are 404', async () => {
    const response = await fetch(`${standalone.ready.http}/v1/clusters/nowhere/events`);
    expect(response.status).toBe(404);
  });
});

/** A report that makes an event of about 38 KiB. */
const largeHost = (hostId: string): Inputs['HostReported'] => ({
  hostId,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: Array.from({ length: 64 }, (_, index) => ({
    pciAddress: `0000:${(index + 16).toString(16)}:00.0`,
    ifname: `em${index}`,
    model: 'm'.repeat(256),
    serial: 's'.repeat(128),
    link: 'up',
    totalVfs: 0,
    vfs: [],
  })),
});

/** The streams alone on a server of the test's own, with limits that are soon reached. */
async function served(
  limits: Partial<StreamLimits>,
): Promise<{ streams: EventStreams; url: string; close(): Promise<void> }> {
  const streams = new EventStreams(broker.link, { ...STREAM_LIMITS, ...limits });
  const server: Server = createServer((request, raw) => {
    const response = raw as unknown as Response;
    // What Express adds.
    response.status = (code: number) => Object.assign(response, { statusCode: code });
    response.set = ((headers: Record<string, string>) => {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      return response;
    }) as Response['set'];
    const after = new URL(request.url ?? '', 'http://x').searchParams.get('after');
    streams
      .serve('default', after === null ? undefined : Number(after), {}, response)
      .catch((error: unknown) => {
        response.statusCode = (error as { status?: number }).status ?? 500;
        response.end();
      });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  return {
    streams,
    url: `http://127.0.0.1:${port}/`,
    close: async () => {
      await streams.close();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

describe('many clients', () => {
  test('that read nothing cost a bounded memory, are dropped, and resume without a gap', async () => {
    const hub = { events: 200, bytes: 256 * 1024 };
    const { streams, url: at, close } = await served({ hub, stall: 400 });
    const start = await happen(1);
    const slow = await Promise.all(
      Array.from({ length: 50 }, () => EventSource.open(`${at}?after=${start}`)),
    );
    await Promise.all(slow.map((source) => source.until(() => source.blocks.length > 0)));
    for (const { response } of slow) response.pause();
    const live = await EventSource.open(`${at}?after=${start}`);
    // Far more than the operating system keeps for a connection.
    const before = performance.now();
    let most = process.memoryUsage().arrayBuffers;
    const least = most;
    for (let host = 0; host < 400; host++) {
      await client.publish('HostReported', largeHost(`large-${host}`));
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
    const end = await happen(1);
    await live.until(() => live.lastId === String(end));
    process.stdout.write(
      `400 reports past 50 clients that read nothing: ${Math.round(performance.now() - before)} ms, ` +
        `${Math.round((most - least) / 1024 / 1024)} MiB more than before at most\n`,
    );
    const dropped = performance.now();
    while (streams.clients > 1 && performance.now() - dropped < 20_000)
      await new Promise((resolve) => setImmediate(resolve));
    expect(streams.clients).toBe(1);
    // 50 clients that are 15 MiB behind would take 750 MiB if each had a queue of its own.
    expect(most - least).toBeLessThan(200 * 1024 * 1024);
    // One of them reads what it has, and comes again.
    const one = slow[0] as EventSource;
    const ended = new Promise((resolve) => one.response.on('close', resolve));
    one.response.resume();
    await ended;
    const again = await EventSource.open(`${at}?after=${one.lastId}`);
    await again.until(() => again.lastId === String(end));
    const ids = [...one.events, ...again.events].map(({ id }) => Number(id));
    expect(ids).toEqual(Array.from({ length: end - start }, (_, index) => start + 1 + index));
    again.close();
    live.close();
    for (const source of slow) source.close();
    await close();
  }, 120_000);

  test('beyond the limit are told to come again', async () => {
    const { url: at, close } = await served({ clients: 2 });
    const held = [await EventSource.open(at), await EventSource.open(at)];
    await Promise.all(held.map((source) => source.until(() => source.lastId !== '')));
    expect((await fetch(at)).status).toBe(503);
    held[0]?.close();
    let status = 503;
    while (status === 503) {
      const response = await fetch(at);
      ({ status } = response);
      await response.body?.cancel();
    }
    expect(status).toBe(200);
    held[1]?.close();
    await close();
  }, 30_000);

  test('who hears nothing is told where it stands', async () => {
    const { url: at, close } = await served({ heartbeat: 30 });
    const source = await EventSource.open(at);
    await source.until(() => source.blocks.length >= 3);
    expect(new Set(source.blocks.map(({ id }) => id)).size).toBe(1);
    expect(source.events).toEqual([]);
    source.close();
    await close();
  }, 30_000);
});
