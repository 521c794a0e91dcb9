import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MemoryBrokerServer, type MemoryBroker, type OutputMessage } from '#broker';
import { dumpState, type Inputs, type InputType } from '#domain';
import {
  canonicalJson,
  emptyHead,
  LogError,
  MemoryLog,
  sealRecord,
  verifyStream,
  type EventBody,
  type EventLog,
  type Snapshot,
  type StoredRecord,
} from '#log';
import { INPUT_CATALOG, inputSubject, type OutgoingEvent } from '#wire';
import {
  Allocator,
  ClusterLeader,
  isNamedBy,
  loadState,
  markOf,
  silentLogger,
  type AllocatorOptions,
  type Clock,
} from './index.js';

const CLUSTER = 'default';

/**
 * A clock that a test moves: whoever sleeps wakes when its time has come, or at once when it is told to
 * hurry.
 */
class TestClock implements Clock {
  private time = Date.parse('2026-11-21T00:00:00.000Z');
  private readonly sleepers = new Set<{ until: number; readonly wake: () => void }>();

  now(): number {
    return this.time;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const sleeper = {
        until: this.time + ms,
        wake: () => {
          this.sleepers.delete(sleeper);
          signal?.removeEventListener('abort', sleeper.wake);
          resolve();
        },
      };
      if (signal?.aborted === true) return resolve();
      signal?.addEventListener('abort', sleeper.wake);
      this.sleepers.add(sleeper);
    });
  }

  /** Another time, by which nobody wakes. */
  jump(ms: number): void {
    this.time += ms;
    for (const sleeper of this.sleepers) sleeper.until += ms;
  }

  advance(ms: number): void {
    this.time += ms;
    for (const sleeper of [...this.sleepers]) if (sleeper.until <= this.time) sleeper.wake();
  }
}

/** Records with other bodies, linked as a release that knows them would. */
function sealedAnew(
  records: readonly StoredRecord[],
  change: (body: string) => string,
  cluster = 'c1',
): readonly StoredRecord[] {
  let head = emptyHead(cluster);
  return records.map(({ body, input }) => {
    const record = sealRecord(head, change(body), input);
    head = { position: record.position, hash: record.hash };
    return record;
  });
}

async function read(log: EventLog, cluster: string): Promise<StoredRecord[]> {
  const all: StoredRecord[] = [];
  for await (const records of log.read(cluster, 1)) all.push(...records);
  return all;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class World {
  readonly clock = new TestClock();
  readonly server = new MemoryBrokerServer(() => this.clock.now(), {
    schedule: (ms, action) => {
      const calledOff = new AbortController();
      void this.clock.sleep(ms, calledOff.signal).then(() => {
        if (!calledOff.signal.aborted) action();
      });
      return () => calledOff.abort();
    },
  });
  readonly log = new MemoryLog();
  private readonly publisher = this.server.connect();
  private readonly running: Allocator[] = [];
  private inputs = 0;

  allocator(overrides: Partial<AllocatorOptions> = {}): Allocator & { readonly connection: MemoryBroker } {
    const broker = this.server.connect();
    const allocator = new Allocator({
      broker,
      log: this.log.connect(),
      clock: this.clock,
      logger: silentLogger,
      instance: `allocator-${this.running.length}`,
      maxClusters: 4,
      rememberedInputs: 1000,
      outMaxAge: 1000 * 60 * 60,
      ...overrides,
    });
    this.running.push(allocator);
    return Object.assign(allocator, { connection: broker });
  }

  async publish<T extends InputType>(
    type: T,
    data: Inputs[T],
    options: { id?: string; cluster?: string } = {},
  ) {
    const { id = `input-${++this.inputs}`, cluster = CLUSTER } = options;
    const { kind, idField } = INPUT_CATALOG[type];
    const subjectId = idField === undefined ? cluster : (data as unknown as Record<string, string>)[idField];
    const event = { specversion: '1.0', id, source: '/test', type, time: '2026-11-21T00:00:00Z', data };
    await this.raw(inputSubject(cluster, kind, subjectId as string, type), JSON.stringify(event));
    return id;
  }

  async raw(subject: string, text: string): Promise<number> {
    return this.publisher.input.publish(subject, new TextEncoder().encode(text));
  }

  prepare(): Promise<void> {
    return this.publisher.prepare();
  }

  out(cluster = CLUSTER): OutgoingEvent[] {
    return this.server
      .outputs(cluster)
      .map((message: OutputMessage) => JSON.parse(message.payload as string) as OutgoingEvent);
  }

  types(cluster = CLUSTER): string[] {
    return this.out(cluster).map(({ type }) => type);
  }

  /** Waits for a condition; time passes for those who sleep. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let round = 0; round < 2000; round++) {
      if (await holds()) return;
      await turn();
      this.clock.advance(5);
    }
    throw new Error(`it did not come to this: ${what}; out: ${this.types().join(', ')}`);
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.running.splice(0).map(async (allocator) => {
        let stopped = false;
        const done = allocator.stop().then(() => {
          stopped = true;
        });
        for (let round = 0; round < 2000 && !stopped; round++) {
          await turn();
          this.clock.advance(50);
        }
        await done;
      }),
    );
  }
}

const vf = (index: number) => ({ pciAddress: `0000:81:10.${index}`, index });
const report = (seq: number, vfs = 3): Inputs['HostReported'] => ({
  hostId: 'h1',
  bootId: 'boot-1',
  seq,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: [
    {
      pciAddress: '0000:81:00.0',
      ifname: 'em1',
      link: 'up',
      totalVfs: 8,
      vfs: Array.from({ length: vfs }, (_, index) => vf(index)),
    },
  ],
});
const start = (vmId: string): Inputs['VmStartRequested'] => ({ vmId, nics: [{ nicId: 'n0' }] });

describe('the pipeline over memory ports', () => {
  let world: World;
  const begin = async (): Promise<World> => {
    world = new World();
    await world.prepare();
    return world;
  };
  afterEach(() => world.stop());

  const started = async (allocator: Allocator): Promise<void> => {
    let up = false;
    const done = allocator.start().then(() => {
      up = true;
    });
    await world.until('the allocator is up', () => up);
    await done;
  };

  it('[OUT-3 acts] relays each decision at its log position, with cause and correlation', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    const id = await world.publish('VmStartRequested', start('vm-1'));
    await world.until('the start is accepted', () => world.types().includes('VmStartAccepted'));

    const out = world.out();
    expect(out.map(({ type, position }) => [type, position])).toEqual([
      ['HostRegistered', '1'],
      ['VfAllocated', '2'],
      ['VmStartAccepted', '3'],
    ]);
    expect(out[2]).toMatchObject({
      specversion: '1.0',
      source: '/vf-scheduler/default',
      subject: 'vm/vm-1',
      causationid: id,
      correlationid: id,
    });
    expect(world.server.outputs(CLUSTER).map(({ position }) => position)).toEqual([1, 2, 3]);
    expect(await verifyStream(world.log, CLUSTER)).toMatchObject({ ok: true, events: 3 });
    expect(out[2]?.hash).toBe((await world.log.head(CLUSTER)).hash);
  });

  it('[EX-6 quiet] [EX-6 refuses] a repeat of an id emits nothing; other content under it is dead-lettered', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'), { id: 'once' });
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    const before = world.out().length;

    const again = JSON.stringify({
      specversion: '1.0',
      id: 'once',
      source: '/elsewhere',
      type: 'VmStartRequested',
      time: '2026-11-22T00:00:00Z',
      data: { nics: [{ nicId: 'n0' }], vmId: 'vm-1' },
    });
    await world.raw('vf.in.default.vm.vm-1.VmStartRequested', again);
    await world.raw('vf.in.default.vm.vm-1.VmStartRequested', again.replace('n0', 'n1'));
    await world.publish('VmStopped', { vmId: 'vm-1' });
    await world.until('stopped', () => world.types().includes('VmStopped'));

    expect(world.types().slice(before)).toEqual(['VfReleased', 'VmStopped']);
    expect(
      world.server.deadLetters(CLUSTER).map(({ sequence, eventId, reason }) => [sequence, eventId, reason]),
    ).toEqual([[4, 'once', expect.stringContaining('used before with other content')]]);
  });

  it('a message that cannot be read goes to the dead letters, byte for byte, and the next is served', async () => {
    await begin();
    await started(world.allocator());
    await world.raw('vf.in.default.vm.vm-1.VmStartRequested', 'not json');
    await world.raw('vf.in.default', '{}');
    await world.raw('vf.in.no!cluster.x', '{"a":1}');
    await world.publish('HostReported', report(1));
    await world.until(
      'served, and all put aside',
      () => world.types().length === 1 && world.server.deadLetters('_').length === 1,
    );

    expect(world.server.deadLetters(CLUSTER).map(({ payload }) => new TextDecoder().decode(payload))).toEqual(
      ['not json', '{}'],
    );
    expect(world.server.deadLetters('_').map(({ subject }) => subject)).toEqual(['vf.in.no!cluster.x']);
  });

  it('a dead letter is out before anything that was decided after it is in the log', async () => {
    await begin();
    const log = world.log;
    const allocator = world.allocator({ log });
    await started(allocator);
    const letGo = log.holdAppends();
    await world.publish('HostReported', report(1));
    await world.raw('vf.in.default.vm.vm-1.VmStartRequested', 'rubbish');
    await world.publish('VmStartRequested', start('vm-1'));
    for (let round = 0; round < 50; round++) await turn();
    expect((await log.head(CLUSTER)).position).toBe(0);
    expect(world.out()).toEqual([]);
    letGo();
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    expect(world.server.deadLetters(CLUSTER)).toHaveLength(1);
  });

  it('nothing leaves before its append is durable: no event, no query', async () => {
    await begin();
    const log = world.log;
    const allocator = world.allocator({ log });
    await started(allocator);
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);

    const letGo = log.holdAppends();
    await world.publish('VmStartRequested', start('vm-1'));
    let answer: unknown;
    await world.until('decided ahead', () => {
      const status = allocator.status.get(CLUSTER);
      return status?.role === 'leader' && status.position === 3;
    });
    const asked = allocator
      .read(CLUSTER, (state) => state.position)
      .then((result) => {
        answer = result?.value;
      });
    for (let round = 0; round < 20; round++) await turn();
    expect([world.out().length, answer]).toEqual([1, undefined]);
    letGo();
    await asked;
    await world.until('relayed', () => world.out().length === 3);
    expect(answer).toBe(3);
  });

  it('one append at a time: what is decided meanwhile waits, and follows the first also when that fails', async () => {
    await begin();
    const log = world.log;
    const allocator = world.allocator({ log });
    await started(allocator);
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);
    const append = log.append.bind(log);
    let under = 0;
    let most = 0;
    log.append = async (...args) => {
      most = Math.max(most, ++under);
      await append(...args).finally(() => under--);
    };

    const decided = (position: number) => () => {
      const status = allocator.status.get(CLUSTER);
      return status?.role === 'leader' && status.position === position;
    };
    const letGo = log.holdAppends();
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('the first is decided', decided(3));
    await world.publish('VmStartRequested', start('vm-2'));
    await world.until('the second is decided, too', decided(5));
    for (let round = 0; round < 20; round++) await turn();
    log.failNextAppend({ code: 'UNAVAILABLE' });
    letGo();
    await world.until('both are out', () => world.out().length === 5);
    expect(most).toBe(1);
  });

  it('[EX-6 refuses] an id is refused as used only when its use is durable, and not ahead of it', async () => {
    await begin();
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'), { id: 'once' });
    // Another message with the same id, in the same batch.
    await world.raw(
      'vf.in.default.vm.vm-2.VmStopped',
      JSON.stringify({
        specversion: '1.0',
        id: 'once',
        source: '/elsewhere',
        type: 'VmStopped',
        time: '2026-11-22T00:00:00Z',
        data: { vmId: 'vm-2' },
      }),
    );
    const log = world.log;
    const letGo = log.holdAppends();
    const allocator = world.allocator({ log });
    const starting = started(allocator);
    await world.until('decided ahead', () => {
      const status = allocator.status.get(CLUSTER);
      return status?.role === 'leader' && status.position === 3;
    });
    for (let round = 0; round < 20; round++) await turn();
    expect(world.server.deadLetters(CLUSTER)).toEqual([]);
    letGo();
    await starting;
    await world.until('refused', () => world.server.deadLetters(CLUSTER).length === 1);
    expect(world.types()).toEqual(['HostRegistered', 'VfAllocated', 'VmStartAccepted']);
  });

  it.each(['UNAVAILABLE', 'FULL', 'OUTCOME_UNKNOWN'] as const)(
    'a log that answers %s is tried again with the same bytes; nothing is lost, invented or decided twice',
    async (code) => {
      await begin();
      const log = world.log;
      await started(world.allocator({ log }));
      await world.publish('HostReported', report(1));
      await world.until('registered', () => world.types().length === 1);
      for (let fault = 0; fault < 3; fault++) log.failNextAppend({ code });
      await world.publish('VmStartRequested', start('vm-1'));
      await world.publish('VmStartRequested', start('vm-2'));
      await world.until(
        'both accepted',
        () => world.types().filter((type) => type === 'VmStartAccepted').length === 2,
      );
      expect(world.types()).toEqual([
        'HostRegistered',
        'VfAllocated',
        'VmStartAccepted',
        'VfAllocated',
        'VmStartAccepted',
      ]);
      expect(await verifyStream(log, CLUSTER)).toMatchObject({ ok: true, events: 5 });
    },
  );

  it('[EX-1 refuses] of two allocators that both believe to lead and decide differently, one writes and the other is deposed', async () => {
    await begin();
    const options = {
      log: world.log.connect(),
      clock: world.clock,
      logger: silentLogger,
      rememberedInputs: 1000,
      outMaxAge: 1000,
    };
    const one = await ClusterLeader.open(CLUSTER, { ...options, broker: world.server.connect() });
    const two = await ClusterLeader.open(CLUSTER, { ...options, broker: world.server.connect() });
    await world.publish('HostReported', report(1, 1));
    await world.publish('VmStartRequested', start('vm-1'));
    const input = (sequence: number) => {
      const message = world.server.input(sequence);
      if (message === undefined) throw new Error('no such input');
      return message;
    };
    await one.process([input(1)]);
    await one.read(() => undefined);
    // The same decision is the same bytes, and harmless; this one has not seen the report, and decides
    // otherwise.
    await two.process([input(2)]);
    await expect(two.read(() => undefined)).rejects.toMatchObject({ code: 'DEPOSED' });
    expect(two.failed.aborted).toBe(true);
    await one.process([input(2)]);
    await one.read(() => undefined);
    await world.until('relayed', () => world.out().length === 3);
    expect(world.types()).toEqual(['HostRegistered', 'VfAllocated', 'VmStartAccepted']);
    await Promise.all([one.stop(), two.stop()]);
  });

  it('an allocator that opens leads at its first try, however fast another one appends and relays meanwhile', async () => {
    await begin();
    const options = {
      log: world.log.connect(),
      clock: world.clock,
      logger: silentLogger,
      rememberedInputs: 1000,
      outMaxAge: 3_600_000,
    };
    const other = await ClusterLeader.open(CLUSTER, { ...options, broker: world.server.connect() });
    let reports = 0;
    const goOn = async (): Promise<void> => {
      const { position } = await world.log.head(CLUSTER);
      reports++;
      await world.publish('HostReported', report(reports, reports));
      await other.process([world.server.input(reports)!]);
      await world.until('the other one has appended and relayed', async () => {
        const head = await world.log.head(CLUSTER);
        return head.position > position && world.out().length === head.position;
      });
    };
    await goOn();
    // The other one goes on before the newcomer hears where VF_OUT stands, and after.
    const broker = world.server.connect();
    const state = broker.output.state.bind(broker.output);
    broker.output.state = async (cluster) => {
      broker.output.state = state;
      await goOn();
      const found = await state(cluster);
      await goOn();
      return found;
    };
    const newcomer = await ClusterLeader.open(CLUSTER, { ...options, broker });
    expect([reports, newcomer.status.position]).toEqual([3, (await world.log.head(CLUSTER)).position]);
    await Promise.all([other.stop(), newcomer.stop()]);
  });

  it('[OUT-1 acts] a leader that dies at any step leaves its successor each request with one outcome', async () => {
    // Every point between two steps: before the append, in the append, after it and before the relay.
    for (const fault of ['before', 'unknown', 'after'] as const) {
      await begin();
      const log = world.log;
      const broker = world.server.connect();
      const options = {
        log,
        clock: world.clock,
        logger: silentLogger,
        rememberedInputs: 1000,
        outMaxAge: 3_600_000,
      };
      const first = await ClusterLeader.open(CLUSTER, { ...options, broker });
      await world.publish('HostReported', report(1));
      await world.publish('VmStartRequested', start('vm-1'));
      const inputs = [1, 2].map((sequence) => world.server.input(sequence));
      if (fault === 'before') log.holdAppends();
      if (fault === 'unknown') log.failNextAppend({ code: 'OUTCOME_UNKNOWN' });
      if (fault === 'after') broker.cut();
      void first.process(inputs as never[]).catch(() => undefined);
      for (let round = 0; round < 5; round++) await turn();
      first.fail(new Error('killed'));

      const second = world.allocator({ log: log.connect() });
      await started(second);
      await world.publish('VmStopped', { vmId: 'vm-1' });
      await world.until('stopped', () => world.types().includes('VmStopped'));
      expect(world.types()).toEqual([
        'HostRegistered',
        'VfAllocated',
        'VmStartAccepted',
        'VfReleased',
        'VmStopped',
      ]);
      expect(world.out().map(({ position }) => position)).toEqual(['1', '2', '3', '4', '5']);
      expect(await verifyStream(log, CLUSTER)).toMatchObject({ ok: true, events: 5 });
      await world.stop();
    }
  });

  it('a broker that is cut off and comes back loses nothing and needs no restart', async () => {
    await begin();
    const allocator = world.allocator();
    await started(allocator);
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);
    allocator.connection.cut();
    for (let vm = 1; vm <= 3; vm++) await world.publish('VmStartRequested', start(`vm-${vm}`));
    for (let round = 0; round < 50; round++) await turn();
    expect(world.types()).toEqual(['HostRegistered']);
    allocator.connection.heal();
    await world.until(
      'all decided',
      () => world.types().filter((type) => type === 'VmStartAccepted').length === 3,
    );
    expect(world.out().map(({ position }) => position)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
  });

  it('VF_IN that was made again is read from its first message, and repeats change nothing', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'), { id: 'start-1' });
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    world.server.deleteInput();
    await world.prepare();
    await world.publish('VmStartRequested', start('vm-1'), { id: 'start-1' });
    await world.publish('VmStartRequested', start('vm-2'), { id: 'start-2' });
    await world.until(
      'the new one is decided',
      () => world.types().filter((type) => type === 'VmStartAccepted').length === 2,
    );
    expect(world.types()).toEqual([
      'HostRegistered',
      'VfAllocated',
      'VmStartAccepted',
      'VfAllocated',
      'VmStartAccepted',
    ]);
  });

  it('a log that is behind VF_OUT, or differs from it, is not led, with a sentence that says what to do', async () => {
    await begin();
    const first = world.allocator();
    await started(first);
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);
    await world.stop();

    const behind = world.allocator({ log: new MemoryLog() });
    await expect(behind.start()).rejects.toThrow(
      /is empty, and VF_OUT_default takes the events of the log that begins with [0-9a-f]{64}: it is not the log/,
    );

    const other = new World();
    await other.prepare();
    world = other;
    await started(other.allocator());
    await other.publish('HostReported', report(7));
    await other.publish('VmStartRequested', start('vm-9'));
    await other.until('accepted', () => other.types().includes('VmStartAccepted'));
    other.log.tamper(CLUSTER, (records) => records.map((record) => ({ ...record, hash: 'f'.repeat(64) })));
    const reader = other.allocator({ clusters: ['elsewhere'] });
    await started(reader);
    expect(reader.status.has(CLUSTER)).toBe(false);
  });

  it('VF_OUT that is gone is made again from the log', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('accepted', () => world.out().length === 3);
    const before = world.out();
    await world.stop();

    // The same log beside a broker that has forgotten everything.
    const next = new World();
    await next.prepare();
    const log = world.log;
    world = next;
    await started(next.allocator({ log: log.connect(), outMaxAge: 1000 * 365 * 24 * 3_600_000 }));
    await next.until('relayed again', () => next.out().length === 3);
    expect(next.out()).toEqual(before);
  });

  it('[EX-6 acts] a snapshot gives the state that replay gives, remembered inputs included', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    for (let round = 0; round < 600; round++) {
      await world.publish('VmStartRequested', start('vm-1'));
      await world.publish('VmStopped', { vmId: 'vm-1' });
    }
    await world.until(
      'all decided',
      () => world.types().filter((type) => type === 'VmStopped').length === 600,
    );
    await snapshotTaken();
    await world.publish('VmStopped', { vmId: 'vm-1' });
    await world.until('one more', () => world.types().length === 2404);
    await world.stop();
    const [snapshot] = await world.log.snapshots(CLUSTER);
    expect(snapshot?.position).toBe(2402);

    const options = { rememberedInputs: 1000, logger: silentLogger };
    const fromSnapshot = await loadState(world.log, CLUSTER, options);
    const bare = new MemoryLog();
    for await (const records of world.log.read(CLUSTER, 1)) {
      for (const record of records) await bare.append(CLUSTER, record.position - 1, [[record]]);
    }
    const replayed = await loadState(bare, CLUSTER, options);
    expect([fromSnapshot.snapshot, replayed.snapshot]).toEqual([2402, 0]);
    expect(JSON.parse(dumpState(fromSnapshot.state))).toEqual(JSON.parse(dumpState(replayed.state)));
  });

  /** Brings it about that a snapshot is taken, and named by the log. */
  async function snapshotTaken(): Promise<void> {
    const before = (await world.log.snapshots(CLUSTER)).length;
    world.clock.jump(301_000);
    await world.publish('VmStopped', { vmId: 'vm-snapshot' });
    await world.until('it is decided', () => world.types().at(-1) === 'InputIgnored');
    await world.publish('VmStopped', { vmId: 'vm-names-it' });
    await world.until(
      'a snapshot',
      async () => (await world.log.snapshots(CLUSTER)).length === Math.min(2, before + 1),
    );
  }

  /** A host with a VF, which vm-1 holds; then a snapshot that the log names. */
  async function withSnapshot(): Promise<Snapshot> {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    await snapshotTaken();
    await world.stop();
    const [snapshot] = await world.log.snapshots(CLUSTER);
    return snapshot as Snapshot;
  }

  const load = (warn?: (message: string) => void) =>
    loadState(world.log, CLUSTER, {
      rememberedInputs: 10,
      logger: { ...silentLogger, ...(warn && { warn }) },
    });

  it('the record behind a snapshot names it, and the event that goes out does not', async () => {
    const snapshot = await withSnapshot();
    const bodies: EventBody[] = [];
    for await (const records of world.log.read(CLUSTER, 1))
      bodies.push(...records.map(({ body }) => JSON.parse(body) as EventBody));
    const named = bodies.filter((body) => body.snapshot !== undefined);
    expect(named).toEqual([
      expect.objectContaining({
        position: snapshot.position + 1,
        snapshot: {
          digest: createHash('sha256').update(snapshot.state).digest('hex'),
          version: snapshot.version,
        },
      }),
    ]);
    // The form that the hash is over is canonical with it too.
    for await (const records of world.log.read(CLUSTER, 1))
      for (const { body } of records) expect(body).toBe(canonicalJson(JSON.parse(body)));
    expect(JSON.stringify(world.out())).not.toContain('digest');
    expect((await load()).snapshot).toBe(snapshot.position);
  });

  /** The one VF, held by vm-1, made free. */
  const freed = (state: string): string => {
    const dump = JSON.parse(state) as { vms: { nics: { held?: object }[] }[] };
    for (const vm of dump.vms) for (const nic of vm.nics) delete nic.held;
    return JSON.stringify(dump);
  };

  it.each<[string, (snapshot: Snapshot) => Partial<Snapshot>]>([
    ['in which a held VF was made free', ({ state }) => ({ state: freed(state) })],
    ['with one more space', ({ state }) => ({ state: `${state} ` })],
    ['with another hash', () => ({ hash: 'a'.repeat(64) })],
    ['of another version', () => ({ version: 'of tomorrow' })],
    ['that is no state', () => ({ state: '{"not":"a state"}' })],
    ['that says an earlier position', ({ position }) => ({ position: position - 1 })],
    ['that says a later position', ({ position }) => ({ position: position + 1 })],
    ['that says a position behind the end', ({ position }) => ({ position: position + 100 })],
    ['that says position 0', () => ({ position: 0 })],
    ['that says no position', () => ({ position: Number.NaN })],
  ])('a snapshot %s is not believed', async (_, lie) => {
    const honest = await withSnapshot();
    const truth = await load();
    await world.log.saveSnapshot(CLUSTER, { ...honest, ...lie(honest) });
    // The one before it is the honest one, and is used.
    const beside = await load();
    expect(JSON.parse(dumpState(beside.state))).toEqual(JSON.parse(dumpState(truth.state)));
    const bare = new MemoryLog();
    for await (const records of world.log.read(CLUSTER, 1))
      for (const record of records) await bare.append(CLUSTER, record.position - 1, [[record]]);
    await bare.saveSnapshot(CLUSTER, { ...honest, ...lie(honest) });
    const loaded = await loadState(bare, CLUSTER, { rememberedInputs: 10, logger: silentLogger });
    expect([loaded.snapshot, loaded.head]).toEqual([0, truth.head]);
    expect(JSON.parse(dumpState(loaded.state))).toEqual(JSON.parse(dumpState(truth.state)));
  });

  it('a snapshot of another version is not used, although the log names it', async () => {
    const honest = await withSnapshot();
    const older = new MemoryLog();
    const anew = sealedAnew(
      await read(world.log, CLUSTER),
      (body) => body.replace(`"version":"${honest.version}"}`, '"version":"3"}'),
      CLUSTER,
    );
    for (const record of anew) await older.append(CLUSTER, record.position - 1, [[record]]);
    const { hash } = anew[honest.position - 1] as StoredRecord;
    const snapshot = { ...honest, hash, version: '3' };
    await older.saveSnapshot(CLUSTER, snapshot);
    expect(isNamedBy(snapshot, anew[honest.position])).toBe(true);
    const loaded = await loadState(older, CLUSTER, { rememberedInputs: 10, logger: silentLogger });
    expect(loaded.snapshot).toBe(0);
  });

  it('a snapshot that another log names, or a record that was moved, is not believed, and it is said', async () => {
    const honest = await withSnapshot();
    const said: string[] = [];
    const forged = { ...honest, state: freed(honest.state) };
    const { digest } = markOf(honest);
    // Whoever edits the log too has to make every hash behind it anew, and VF_OUT knows the old ones.
    world.log.tamper(CLUSTER, (records) =>
      records.map((record) => ({ ...record, body: record.body.replace(digest, markOf(forged).digest) })),
    );
    await world.log.saveSnapshot(CLUSTER, forged);
    await expect(load((message) => void said.push(message))).rejects.toMatchObject({ code: 'CORRUPT' });
    world.log.tamper(CLUSTER, (records) =>
      records.map((record) => ({ ...record, body: record.body.replace(markOf(forged).digest, digest) })),
    );
    await world.log.saveSnapshot(CLUSTER, forged);
    expect((await load((message) => void said.push(message))).snapshot).toBe(0);
    expect(said).toContainEqual(
      expect.stringMatching(
        /^the snapshot of 'default' at \d+ is not believed, for the log does not name it/,
      ),
    );
  });

  it.each<[string, (body: string) => string, RegExp]>([
    [
      'a newer schema',
      (body) => body.replace(/"schema":1/, '"schema":2'),
      /has schema 2, which this version/,
    ],
    ['no schema', (body) => body.replace(/"schema":1,/, ''), /has schema \(none\)/],
    ['a schema that is none', (body) => body.replace(/"schema":1/, '"schema":"1"'), /has schema 1, which/],
    ['schema 0', (body) => body.replace(/"schema":1/, '"schema":0'), /has schema 0/],
    ['a schema with a fraction', (body) => body.replace(/"schema":1/, '"schema":1.5'), /has schema 1.5/],
    [
      'a newer decider',
      (body) => body.replace(/"decider":"\d+"/, '"decider":"99"'),
      /by version 99 of the decider/,
    ],
    [
      'a decider that is a number',
      (body) => body.replace(/"decider":"\d+"/, '"decider":1'),
      /by version 1 of/,
    ],
    [
      'a decider that is none',
      (body) => body.replace(/"decider":"\d+"/, '"decider":"next"'),
      /by version next of/,
    ],
    [
      'a decider with a zero before',
      (body) => body.replace(/"decider":"\d+"/, '"decider":"04"'),
      /by version 04 of/,
    ],
    [
      'an object as decider',
      (body) => body.replace(/"decider":"\d+"/, '"decider":{"a":1}'),
      /by version {"a":1} of/,
    ],
    [
      'both',
      (body) => body.replace(/"decider":"\d+"/, '"decider":"99"').replace(/"schema":1/, '"schema":7'),
      /event 2, a '\w+', has schema 7 and was decided by version 99 of the decider, which this version does not know \(schemas up to 1, deciders up to \d+\): run a newer version$/,
    ],
  ])('an event of %s is not led, also where it would replay', async (_, change, sentence) => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.publish('VmStopped', { vmId: 'vm-1' });
    await world.until('decided', () => world.types().length === 2);
    await world.stop();
    const strange = new MemoryLog();
    let at = 0;
    for await (const records of world.log.read(CLUSTER, 1)) {
      const anew = sealedAnew(records, (body) => (++at === 2 ? change(body) : body), CLUSTER);
      for (const record of anew) await strange.append(CLUSTER, record.position - 1, [[record]]);
    }
    expect(await verifyStream(strange, CLUSTER)).toMatchObject({ ok: true, events: 2 });
    const next = new World();
    await next.prepare();
    world = next;
    const allocator = next.allocator({ log: strange });
    await expect(allocator.start()).rejects.toThrow(sentence);
    expect(allocator.status.get(CLUSTER)).toMatchObject({ role: 'failed', final: true });
    expect(next.out()).toEqual([]);
  });

  it('an event of an older decider is led', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.until('decided', () => world.types().length === 1);
    await world.stop();
    const older = new MemoryLog();
    for await (const records of world.log.read(CLUSTER, 1)) {
      const anew = sealedAnew(records, (body) => body.replace(/"decider":"\d+"/, '"decider":"1"'), CLUSTER);
      for (const record of anew) await older.append(CLUSTER, record.position - 1, [[record]]);
    }
    expect(
      (await loadState(older, CLUSTER, { rememberedInputs: 10, logger: silentLogger })).head.position,
    ).toBe(1);
  });

  it('a standby that comes upon an event of a newer decider does not go on', async () => {
    await begin();
    const leading = world.allocator();
    await started(leading);
    const standing = world.allocator();
    await started(standing);
    await world.publish('HostReported', report(1));
    await world.until('decided', () => world.types().length === 1);
    await leading.stop();
    await world.until('it leads', () => standing.status.get(CLUSTER)?.role === 'leader');
    // A newer version takes over elsewhere, and decides.
    const head = await world.log.head(CLUSTER);
    const [first] = (await read(world.log, CLUSTER)) as [StoredRecord];
    const body = first.body
      .replace('"position":1', `"position":${head.position + 1}`)
      .replace(/"decider":"\d+"/, '"decider":"99"');
    await world.log.append(CLUSTER, head.position, [[sealRecord(head, body)]]);
    await world.until('it says so', () => {
      const status = standing.status.get(CLUSTER);
      return status?.role === 'failed' && status.final && /by version 99 of the decider/.test(status.message);
    });
  });

  it('a chain that does not hold is not led', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    await world.stop();
    world.log.tamper(CLUSTER, (records) =>
      records.map((record) =>
        record.position === 2 ? { ...record, body: record.body.replace('vm-1', 'vm-2') } : record,
      ),
    );
    await expect(
      loadState(world.log, CLUSTER, { rememberedInputs: 10, logger: silentLogger }),
    ).rejects.toThrow(LogError);
    await expect(world.allocator().start()).rejects.toThrow(/damaged at position 2/);
  });

  it("[PF-12 acts] the leader brings an operator's hardware limits into the policy, by the log, and only where they differ", async () => {
    await begin();
    const hardwareLimits = [{ match: 'X710', onSplit: 'old firmware' }];
    const first = world.allocator({ hardwareLimits });
    await started(first);
    await world.until('the limits', () => world.types().includes('ClusterPolicyChanged'));
    await world.publish('HostReported', report(1));
    await world.until('the report', () => world.types().includes('HostRegistered'));
    await first.stop();
    await started(world.allocator({ hardwareLimits }));
    await world.publish('ClusterPolicyChanged', { hardwareLimits: [] });
    await world.until('the limits again', () => world.types().length === 4);
    expect(world.types()).toEqual([
      'ClusterPolicyChanged',
      'HostRegistered',
      'ClusterPolicyChanged',
      'ClusterPolicyChanged',
    ]);
  });

  it('[HOST-5 acts] the leader keeps time: a silent host is lost, and is back with its next report', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('ClusterPolicyChanged', { hostTimeoutSeconds: 2 });
    await world.publish('HostReported', report(1));
    await world.until('lost', () => world.types().includes('HostLost'));
    await world.publish('HostReported', report(2));
    await world.until('back', () => world.types().includes('HostBack'));
    expect(world.types()).toEqual(['ClusterPolicyChanged', 'HostRegistered', 'HostLost', 'HostBack']);
  });

  it('what is safely in the log is purged from VF_IN, and what changes nothing with it', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    for (let seq = 2; seq < 20; seq++) await world.publish('HostReported', report(seq));
    await world.until('registered', () => world.types().length === 1);
    world.clock.advance(61_000);
    await world.publish('HostReported', report(30));
    await world.until('purged', () => world.server.inputInfo().firstSequence > 10);
  });

  it('the last input that was taken stays in VF_IN: by it the next leader knows the stream again', async () => {
    await begin();
    await started(world.allocator());
    // Nobody ticks without hosts.
    for (const vmId of ['vm-1', 'vm-2', 'vm-3']) await world.publish('VmStopped', { vmId });
    await world.until('three are out', () => world.out().length === 3);
    world.clock.advance(61_000);
    await world.publish('VmStopped', { vmId: 'vm-4' });
    await world.until('the fourth is out', () => world.out().length === 4);
    await world.until('purged', () => world.server.inputInfo().firstSequence > 1);
    expect(world.server.inputInfo()).toMatchObject({ firstSequence: 4, lastSequence: 4 });
  });

  it('a snapshot of what is decided ahead waits until that is durable', async () => {
    await begin();
    const log = world.log;
    const allocator = world.allocator({ log });
    await started(allocator);
    await world.publish('VmStopped', { vmId: 'vm-1' });
    await world.until('the first is out', () => world.out().length === 1);
    const decided = (position: number) => () => {
      const status = allocator.status.get(CLUSTER);
      return status?.role === 'leader' && status.position === position;
    };
    world.clock.jump(400_000);
    const letSecondGo = log.holdAppends();
    await world.publish('VmStopped', { vmId: 'vm-2' });
    await world.until('the second is decided', decided(2));
    await world.publish('VmStopped', { vmId: 'vm-3' });
    await world.until('the third is decided ahead', decided(3));
    letSecondGo();
    const letThirdGo = log.holdAppends();
    await world.until('the second is out', () => world.out().length === 2);
    for (let round = 0; round < 20; round++) await turn();
    letThirdGo();
    await world.until('the third is out', () => world.out().length === 3);
    const head = await log.head(CLUSTER);
    // Nothing names it yet.
    expect(await log.snapshots(CLUSTER)).toEqual([]);
    const letFourthGo = log.holdAppends();
    await world.publish('VmStopped', { vmId: 'vm-4' });
    await world.until('the fourth is decided', decided(4));
    for (let round = 0; round < 20; round++) await turn();
    expect(await log.snapshots(CLUSTER)).toEqual([]);
    letFourthGo();
    await world.until('a snapshot', async () => (await log.snapshots(CLUSTER)).length === 1);
    expect((await log.snapshots(CLUSTER))[0]).toMatchObject(head);
  });

  it('[OUT-3 acts] what an input says of its correlation and trace goes out with each event of its decision', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await world.raw(
      'vf.in.default.vm.vm-1.VmStartRequested',
      JSON.stringify({
        specversion: '1.0',
        id: 'start-1',
        source: '/test',
        type: 'VmStartRequested',
        time: '2026-11-22T00:00:00Z',
        correlationid: 'job-7',
        traceparent,
        data: start('vm-1'),
      }),
    );
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    const said = world.out().map(({ causationid, correlationid, traceparent: trace }) => ({
      causationid,
      correlationid,
      trace,
    }));
    const ofStart = { causationid: 'start-1', correlationid: 'job-7', trace: traceparent };
    expect(said).toEqual([expect.objectContaining({ causationid: 'input-1' }), ofStart, ofStart]);
  });

  it('a new cluster is led from its first event on, up to the most that is allowed', async () => {
    await begin();
    await started(world.allocator({ maxClusters: 2 }));
    await world.publish('HostReported', report(1));
    await world.until('the default one is used', () => world.types().length === 1);
    await world.publish('HostReported', report(1), { cluster: 'second' });
    await world.until('the second is led', () => world.types('second').length === 1);
    await world.publish('HostReported', report(1), { cluster: 'third' });
    await world.until('the third is put aside', () => world.server.deadLetters('third').length === 1);
    expect(world.server.deadLetters('third')[0]?.reason).toMatch(/VF_MAX_CLUSTERS/);
  });

  it('the default cluster does not count before its first event', async () => {
    await begin();
    await started(world.allocator({ maxClusters: 1 }));
    await world.publish('HostReported', report(1), { cluster: 'prod' });
    await world.until('the one cluster is led', () => world.types('prod').length === 1);
    await world.publish('HostReported', report(1), { cluster: 'other' });
    await world.until('another is put aside', () => world.server.deadLetters('other').length === 1);
  });

  it('take-over at once after a clean stop', async () => {
    await begin();
    const first = world.allocator();
    await started(first);
    const second = world.allocator();
    await started(second);
    expect(second.status.get(CLUSTER)).toEqual({
      role: 'standby',
      leader: 'allocator-0',
      position: 0,
      lag: 0,
      hosts: 0,
      vms: 0,
    });
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);
    let stopped = false;
    void first.stop().then(() => {
      stopped = true;
    });
    await world.until('stopped', () => stopped);
    await world.until('taken over', () => second.status.get(CLUSTER)?.role === 'leader');
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
  });

  it('who has lost its lease stands by, also when nothing comes that would depose it', async () => {
    await begin();
    const first = world.allocator();
    await started(first);
    const second = world.allocator();
    await started(second);
    first.connection.cut();
    await world.until('taken over', () => second.status.get(CLUSTER)?.role === 'leader');
    first.connection.heal();
    await world.until('the first stands by', () => first.status.get(CLUSTER)?.role === 'standby');
    expect(second.status.get(CLUSTER)?.role).toBe('leader');
  });

  it('a standby has the state in hand: it follows each event, and takes over without reading the log again', async () => {
    await begin();
    const first = world.allocator();
    await started(first);
    const log = world.log.connect();
    const reads: number[] = [];
    const read = log.read.bind(log);
    log.read = (stream, from, options) => {
      reads.push(from);
      return read(stream, from, options);
    };
    const second = world.allocator({ log });
    await started(second);
    await world.publish('HostReported', report(1));
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('it has followed', () => {
      const status = second.status.get(CLUSTER);
      return status?.role === 'standby' && status.position === 3;
    });
    await world.until('it has looked', () => {
      const status = second.status.get(CLUSTER);
      return status?.role === 'standby' && status.hosts === 1 && status.vms === 1 && status.lag === 0;
    });
    reads.length = 0;
    let stopped = false;
    void first.stop().then(() => {
      stopped = true;
    });
    await world.until('stopped', () => stopped);
    await world.publish('VmStopped', { vmId: 'vm-1' });
    await world.until('stopped', () => world.types().includes('VmStopped'));
    expect(world.types()).toEqual([
      'HostRegistered',
      'VfAllocated',
      'VmStartAccepted',
      'VfReleased',
      'VmStopped',
    ]);
    // What is behind its own end, which is nothing; which log it is; the hash that VF_OUT is compared with; and whether the
    // first is there.
    expect(reads).toEqual([4, 1, 3, 1]);
  });

  it("[OUT-3 acts] a predecessor's append that comes late is relayed, although nothing is decided behind it", async () => {
    await begin();
    const late = world.log.connect();
    const options = {
      log: late,
      clock: world.clock,
      logger: silentLogger,
      rememberedInputs: 1000,
      outMaxAge: 3_600_000,
    };
    const first = await ClusterLeader.open(CLUSTER, { ...options, broker: world.server.connect() });
    await world.publish('HostReported', report(1));
    const letGo = late.holdAppends();
    await first.process([world.server.input(1)!]);
    // It dies, and VF_IN with it, so that nobody decides that report again; its append is still on its way.
    first.fail(new Error('killed'));
    world.server.deleteInput();
    await world.prepare();
    const second = world.allocator({ log: world.log.connect() });
    await started(second);
    expect(second.status.get(CLUSTER)).toMatchObject({ role: 'leader', position: 0 });
    letGo();
    await world.until('relayed', () => world.types().length === 1);
    expect(world.types()).toEqual(['HostRegistered']);
    await world.until('led on', () => {
      const status = second.status.get(CLUSTER);
      return status?.role === 'leader' && status.position === 1;
    });
  });

  /** Two clusters with a start each, and nobody who leads them. */
  const twoClusters = async (): Promise<void> => {
    await begin();
    const first = world.allocator();
    await started(first);
    for (const cluster of [CLUSTER, 'c1']) {
      await world.publish('HostReported', report(1), { cluster });
      await world.publish('VmStartRequested', start('vm-1'), { cluster });
      await world.until(`${cluster} is served`, () => world.types(cluster).includes('VmStartAccepted'));
    }
    await world.stop();
  };
  const roles = (allocator: Allocator): Record<string, string> =>
    Object.fromEntries([...allocator.status].map(([name, { role }]) => [name, role]));
  type Records = Parameters<Parameters<MemoryLog['tamper']>[1]>[0];
  const forged = (records: Records): Records => records.with(0, { ...records[0]!, body: '{"forged":true}' });

  it.each<[string, (records: Records) => Records]>([
    ['is damaged', forged],
    [
      'has an event of a newer release',
      (records) => sealedAnew(records, (body) => body.replace('HostRegistered', 'HostDreamt')),
    ],
  ])(
    'a cluster whose log %s is its own trouble: the other is served, and it is itself when it is mended',
    async (_, change) => {
      await twoClusters();
      let kept: Records = [];
      world.log.tamper('c1', (records) => change((kept = records)));
      const said: string[] = [];
      const logger = { ...silentLogger, error: (message: string) => void said.push(message) };
      const allocator = world.allocator({ logger });
      await started(allocator);
      expect(roles(allocator)).toEqual({ [CLUSTER]: 'leader', c1: 'failed' });
      await world.publish('VmStopped', { vmId: 'vm-1' });
      await world.until('the other is served', () => world.types().includes('VmStopped'));
      // It is tried again now and then, and said once a minute.
      for (let round = 0; round < 100; round++) {
        world.clock.advance(1000);
        for (let turns = 0; turns < 20; turns++) await turn();
      }
      const about = said.filter((message) => message.startsWith("cluster 'c1' is not led"));
      expect(about.length).toBeGreaterThan(0);
      expect(about.length).toBeLessThanOrEqual(3);
      world.log.tamper('c1', () => kept);
      await world.publish('VmStopped', { vmId: 'vm-1' }, { cluster: 'c1' });
      await world.until('it is led again', () => {
        world.clock.advance(1000);
        return world.types('c1').includes('VmStopped');
      });
    },
  );

  it('a cluster that was led for hours and fails is tried again as soon as any other', async () => {
    await begin();
    const log = world.log;
    const allocator = world.allocator({ log });
    await started(allocator);
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);
    world.clock.jump(36_000_000);
    log.failNextAppend({ code: 'NOT_ALLOWED' });
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('it has failed', () => allocator.status.get(CLUSTER)?.role === 'failed');
    const failed = world.clock.now();
    await world.until('it is led again', () => world.types().includes('VmStartAccepted'));
    expect(world.clock.now() - failed).toBeLessThan(5000);
  });

  it('a log that is away for a moment while it is asked for its clusters does not end the start', async () => {
    await begin();
    const log = world.log.connect();
    let away = 3;
    const streams = log.streams.bind(log);
    log.streams = () => (away-- > 0 ? Promise.reject(new LogError('UNAVAILABLE', 'it is away')) : streams());
    await started(world.allocator({ log }));
    expect(away).toBeLessThan(0);
  });

  it('where no cluster can be served the start fails, with the sentence', async () => {
    await twoClusters();
    for (const cluster of [CLUSTER, 'c1']) world.log.tamper(cluster, forged);
    const starting = world.allocator().start();
    let failure: unknown;
    void starting.catch((error: unknown) => {
      failure = error;
    });
    await world.until('it has failed', () => failure !== undefined);
    await expect(starting).rejects.toThrow(/is damaged at position 1/);
  });

  it.each<[string, (records: Records) => Records, RegExp]>([
    ['the beginning of a history', (records) => records.slice(1), /position 1\b.*missing/],
    ['the end of a history', (records) => records.slice(0, -1), /ends at position 2, and 3 was in it/],
  ])(
    '%s that is taken away while it is led is seen within a minute, and so is that it is back',
    async (_, change, why) => {
      await begin();
      const leader = world.allocator();
      await started(leader);
      await world.publish('HostReported', report(1));
      await world.publish('VmStartRequested', start('vm-1'));
      await world.until('served', () => world.types().includes('VmStartAccepted'));
      const standby = world.allocator({ log: world.log.connect() });
      await started(standby);
      const trouble = (of: Allocator): string => {
        const status = of.status.get(CLUSTER);
        return (
          (status?.role === 'leader' || status?.role === 'standby' ? status.trouble : status?.role) ?? 'none'
        );
      };
      const within = async (what: string, seconds: number, holds: () => boolean): Promise<void> => {
        const until = world.clock.now() + seconds * 1000;
        await world.until(what, () => {
          world.clock.advance(100);
          if (world.clock.now() > until)
            throw new Error(`not within ${seconds} s: ${what}; ${trouble(leader)}`);
          return holds();
        });
      };
      let kept: Records = [];
      world.log.tamper(CLUSTER, (records) => change((kept = records)));
      // Who follows sees a beginning that is gone; an end that is gone is the leader's to see.
      const beginning = why.source.includes('missing');
      await within(
        'it is seen',
        60,
        () => why.test(trouble(leader)) && (!beginning || why.test(trouble(standby))),
      );
      world.log.tamper(CLUSTER, () => kept);
      await within('it is over', 60, () => trouble(leader) === 'none' && trouble(standby) === 'none');
    },
  );

  it('six clusters spread 2/2/2 over three instances, one move at a time, and stay', async () => {
    await begin();
    const clusters = ['default', 'c1', 'c2', 'c3', 'c4', 'c5'];
    const one = world.allocator({ maxClusters: 8 });
    await started(one);
    for (const cluster of clusters) await world.publish('HostReported', report(1), { cluster });
    const led = (allocator: Allocator): string[] =>
      [...allocator.status].filter(([, { role }]) => role === 'leader').map(([name]) => name);
    await world.until('one leads all', () => led(one).length === 6);
    const others = [world.allocator({ maxClusters: 8 }), world.allocator({ maxClusters: 8 })];
    await Promise.all(others.map(started));
    const all = [one, ...others];
    let least = 6;
    await world.until('spread', () => {
      least = Math.min(least, all.flatMap(led).length);
      return all.every((allocator) => led(allocator).length === 2);
    });
    // Never was more than one on its way.
    expect(least).toBeGreaterThanOrEqual(5);
    const settled = all.map(led);
    for (let second = 0; second < 200; second++) {
      await turn();
      world.clock.advance(100);
    }
    expect(all.map(led)).toEqual(settled);

    // One dies: the two others share what it led; a new one gets its share again.
    const [dead] = all.splice(1, 1);
    dead!.connection.cut();
    await world.until('shared', () => all.every((allocator) => led(allocator).length === 3));
    const next = world.allocator({ maxClusters: 8 });
    await started(next);
    await world.until('spread again', () => [...all, next].every((allocator) => led(allocator).length === 2));
    for (const cluster of clusters) await world.publish('VmStartRequested', start('vm-1'), { cluster });
    for (const cluster of clusters) {
      await world.until('accepted', () => world.types(cluster).includes('VmStartAccepted'));
      expect(world.types(cluster)).toEqual(['HostRegistered', 'VfAllocated', 'VmStartAccepted']);
    }
  });

  it('clocks that jump: no event is earlier than the one before, and what is due stays due', async () => {
    await begin();
    await started(world.allocator());
    await world.publish('HostReported', report(1));
    await world.until('registered', () => world.types().length === 1);
    // A year back: the clock of the broker, which is the time of decisions, and that of the process.
    const year = 365 * 24 * 3_600_000;
    world.clock.jump(-year);
    await world.publish('VmStartRequested', start('vm-1'));
    await world.until('accepted', () => world.types().includes('VmStartAccepted'));
    for (let seq = 2; seq < 20; seq++) await world.publish('HostReported', report(seq));
    world.clock.advance(61_000);
    await world.publish('HostReported', report(30));
    await world.until('purged as ever', () => world.server.inputInfo().firstSequence > 10);
    // And two years on: the VM that was started is overdue at once, and nothing else happens to it.
    world.clock.jump(2 * year);
    await world.until('overdue', () => world.types().includes('AllocationOverdue'));
    const times = world.out().map(({ time }) => time);
    expect(times).toEqual([...times].sort());
    expect(world.types().filter((type) => type === 'VfReleased')).toEqual([]);
    await world.publish('VmStopped', { vmId: 'vm-1' });
    await world.until('stopped', () => world.types().includes('VmStopped'));
  });
});
