import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connectNats, endLeftBehindServer, findNatsServer, startNatsServer } from '#broker';
import { Test } from '@nestjs/testing';
import { getEventListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Standalone } from '#standalone';
import { VfScheduler } from './client.js';
import { VfError, VfRefusal } from './errors.js';
import { follow } from './follow.js';
import { VfSchedulerModule } from './nest.js';
import { Cable, hostWith, PF, startScheduler } from './testing/scheduler.js';

let standalone: Standalone;
let client: VfScheduler;

beforeAll(async () => {
  standalone = await startScheduler();
  client = await VfScheduler.connect({ servers: standalone.ready.nats, source: '/test' });
  await client.publish('HostReported', hostWith('host-1', 8));
  await client.ask('L2NetworkDefined', {
    l2Id: 'l2-9',
    type: 'L2VlanNetwork',
    physicalInterface: 'em1',
    vlanId: 42,
    sriov: true,
  });
  await client.ask('L3NetworkDefined', { l3Id: 'net-9', l2Id: 'l2-9', kind: 'flat', sriov: true });
}, 30_000);

afterAll(async () => {
  await client.close();
  await standalone.stop();
}, 30_000);

const errorOf = async (call: Promise<unknown>): Promise<VfError> => {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof VfError) return error;
  throw new Error('it did not fail as it should', { cause: error });
};

const endOf = async (cluster = client): Promise<number> =>
  Number((await cluster.availability({ atLeast: undefined } as object)).position);

describe('a request', () => {
  test('[VM-1 acts] [OUT-4 acts] startVm resolves with the allocations, VLAN and MAC included', async () => {
    const vm = await client.startVm('vm-1', {
      nics: [{ nicId: 'nic-0', networkId: 'net-9', guestSlot: 5 }],
    });
    expect(vm).toMatchObject({ vmId: 'vm-1', hostId: 'host-1' });
    expect(vm.allocations).toEqual([
      expect.objectContaining({
        vmId: 'vm-1',
        nicId: 'nic-0',
        pf: PF,
        vlanId: 42,
        guestSlot: 5,
        reason: 'start',
        mac: expect.stringMatching(/^02:/),
      }),
    ]);
    expect(vm.nics[0]?.allocationId).toBe(vm.allocations[0]?.allocationId);
    expect((await client.vmStarted('vm-1')).event.type).toBe('VmStarted');
    expect((await client.query('vm', { vmId: 'vm-1' })).vm).toMatchObject({ state: 'running' });
  });

  test('[OUT-2 refuses] a refusal is thrown with its code, sentence and facts', async () => {
    const nics = Array.from({ length: 9 }, (_, index) => ({ nicId: `nic-${index}` }));
    const refusal = await errorOf(client.startVm('vm-2', { nics }));
    expect(refusal).toBeInstanceOf(VfRefusal);
    expect(refusal.code).toBe('VF_EXHAUSTED');
    expect(refusal.message).toContain('no host of the cluster takes 9 VFs');
    expect(refusal.facts).toMatchObject({
      vmId: 'vm-2',
      summary: { VF_EXHAUSTED: 1 },
      considered: [{ hostId: 'host-1', pf: PF, reason: 'VF_EXHAUSTED' }],
    });
  });

  test('[EX-6 quiet] the same call with the same id has the same outcome, and takes effect once', async () => {
    const start = () => client.startVm('vm-3', { nics: [{ nicId: 'nic-0' }] }, { id: 'start-vm-3' });
    const [first, ...others] = await Promise.all([start(), start(), start()]);
    others.push(await start());
    for (const other of others) expect(other).toEqual(first);
    const events = await client.decision(first);
    expect(events.map(({ type }) => type)).toEqual(['VfAllocated', 'VmStartAccepted']);
    expect((await client.query('vm', { vmId: 'vm-3' })).vm.nics).toHaveLength(1);
  });

  test('[EX-6 refuses] an id that was used for something else is an error, and changes nothing', async () => {
    await client.startVm('vm-4', { nics: [{ nicId: 'nic-0' }] }, { id: 'start-vm-4' });
    const before = await endOf();
    const other = await errorOf(client.startVm('vm-4', { nics: [{ nicId: 'nic-1' }] }, { id: 'start-vm-4' }));
    expect(other.code).toBe('ID_REUSED');
    const type = await errorOf(client.stopVm('vm-4', undefined, { id: 'start-vm-4' }));
    expect(type.code).toBe('ID_REUSED');
    expect(await endOf()).toBe(before);
  });

  test('[EX-6 quiet] a fact that changes nothing says why', async () => {
    const { ignored, event } = await client.stopVm('vm-nobody');
    expect(ignored).toBe('unknown');
    expect(event.type).toBe('InputIgnored');
  });

  test('[VM-6 acts] [VM-7 acts] attaches a NIC with its allocation, and detaches it', async () => {
    await client.startVm('vm-5', { nics: [] });
    await client.vmStarted('vm-5');
    const { allocation } = await client.attachNic('vm-5', { nicId: 'nic-7', networkId: 'net-9' });
    expect(allocation).toMatchObject({ nicId: 'nic-7', vlanId: 42, reason: 'attach' });
    const detached = await client.detachNic('vm-5', 'nic-7');
    const events = await client.decision(detached);
    expect(events.map(({ type }) => type)).toEqual(['VfReleased', 'VmNicDetached']);
  });

  test('what the contract cannot take is refused here, and nothing is sent', async () => {
    const before = (await client.publish('VmRebooted', { vmId: 'vm-1' })).sequence;
    for (const call of [
      client.startVm('vm 6', {}),
      client.startVm('vm-6', { nics: [{ nicId: 'n', mac: 'FF:ff' }] }),
      client.splitPf('host-1', '82:00.0', 4),
      client.ask('Nothing' as 'VmStopped', { vmId: 'vm-6' }),
      client.stopVm('vm-6', undefined, { id: 'an id with blanks' }),
    ]) {
      const error = await errorOf(call);
      expect([error.code, error.message]).toEqual(['BAD_INPUT', expect.stringMatching(/must be|no such/)]);
    }
    expect((await client.publish('VmRebooted', { vmId: 'vm-1' })).sequence).toBe(before + 1);
  });

  test("a query's error has its own code", async () => {
    expect((await errorOf(client.query('vm', { vmId: 'vm-nobody' }))).code).toBe('NOT_FOUND');
    expect((await errorOf(client.query('vm', {}))).code).toBe('BAD_REQUEST');
    expect((await errorOf(client.query('nonsense'))).code).toBe('QUERY_UNKNOWN');
    expect((await errorOf(VfScheduler.connect({ cluster: '_' }))).code).toBe('BAD_INPUT');
  });
});

describe('a connection that is lost', () => {
  test('[OUT-1 acts] [EX-6 acts] loses no outcome and doubles none, wherever it breaks', async () => {
    const cable = await Cable.to(standalone.ready.nats);
    const far = await VfScheduler.connect({ servers: cable.url, timeout: 20_000 });
    try {
      await far.startVm('vm-20', { nics: [{ nicId: 'nic-0' }] });
      // The acknowledgement is about 120 bytes, the two events about 1,500.
      for (const bytes of [0, 60, 150, 500, 1000, 1700]) {
        await client.stopVm('vm-20');
        const before = await endOf();
        cable.cutAfter(bytes);
        const vm = await far.startVm('vm-20', { nics: [{ nicId: 'nic-0' }] });
        expect(vm.allocations).toHaveLength(1);
        expect(await endOf()).toBe(before + 2);
      }
      expect(cable.cuts).toBeGreaterThanOrEqual(5);
    } finally {
      await far.close();
      await cable.close();
    }
  }, 30_000);

  test('[OUT-3 acts] leaves no gap in what is followed', async () => {
    const cable = await Cable.to(standalone.ready.nats);
    const far = await VfScheduler.connect({ servers: cable.url });
    const end = (await endOf()) + 60;
    const seen: number[] = [];
    const following = (async () => {
      for await (const { position } of far.follow({ after: 0 })) {
        seen.push(Number(position));
        if (seen.length % 15 === 0) cable.cut();
        if (Number(position) === end) return;
      }
    })();
    for (let count = 0; count < 60; count++) await client.ask('VmRebooted', { vmId: 'vm-1' });
    await following;
    expect(seen).toEqual(Array.from({ length: end }, (_, index) => index + 1));
    expect(cable.cuts).toBeGreaterThan(3);
    await far.close();
    await cable.close();
  }, 30_000);
});

describe('following', () => {
  test('begins where it is told, and keeps to what is asked for', async () => {
    const { position } = await client.ask('VmRebooted', { vmId: 'vm-1' });
    const over = new AbortController();
    const now = client.follow({ after: 'now', signal: over.signal, types: ['VmStopped'] });
    const next = now.next();
    const about = client.follow({
      after: Number(position) - 1,
      about: { kind: 'vm', id: 'vm-31' },
      signal: over.signal,
    });
    const [first, second] = [about.next(), about.next()];
    await client.startVm('vm-30', { nics: [] });
    await client.startVm('vm-31', { nics: [] });
    const unsaid = client.follow({ signal: over.signal }).next();
    // `now` may have begun late: whatever it missed is not to be waited for.
    let stopped = false;
    void next.then(() => (stopped = true));
    while (!stopped) await client.stopVm('vm-31').then(() => client.startVm('vm-31', { nics: [] }));
    expect((await next).value).toMatchObject({ type: 'VmStopped', subject: 'vm/vm-31' });
    expect(Number((await unsaid).value?.position)).toBeGreaterThan(Number(position));
    expect((await first).value).toMatchObject({ type: 'VmStartAccepted', subject: 'vm/vm-31' });
    expect((await second).value).toMatchObject({ type: 'VmStopped', subject: 'vm/vm-31' });
    over.abort();
    expect((await now.next()).done).toBe(true);
    expect((await about.next()).done).toBe(true);
  });

  test('says so when the events are gone, and when there is no such position yet', async () => {
    const standby = await startScheduler();
    const broker = await connectNats({ url: standby.ready.nats });
    const other = await VfScheduler.connect({ servers: standby.ready.nats });
    try {
      let last = await other.ask('VmRebooted', { vmId: 'vm-1' });
      const first = last;
      for (let count = 1; count < 5; count++) last = await other.ask('VmRebooted', { vmId: 'vm-1' });
      await broker.link.jetStream.streams.purge('VF_OUT_default', { keep: 2 });
      const gone = await errorOf(other.follow({ after: 1 }).next());
      expect([gone.code, gone.facts]).toEqual(['EVENTS_GONE', { cluster: 'default', first: '4' }]);
      // A decision is told from the log, where VF_OUT has it no longer, or not yet.
      expect(await other.decision(first)).toMatchObject([{ type: 'InputIgnored', position: '1' }]);
      expect(await other.decision(last)).toMatchObject([{ type: 'InputIgnored', position: '5' }]);
      expect((await other.follow({ after: 3 }).next()).value).toMatchObject({ position: '4' });
      const begun = await errorOf(other.follow({ after: 0 }).next());
      expect([begun.code, begun.facts]).toEqual(['EVENTS_GONE', { cluster: 'default', first: '4' }]);
      const ahead = await errorOf(other.follow({ after: 6 }).next());
      expect([ahead.code, ahead.facts]).toEqual(['BAD_INPUT', { cluster: 'default', last: '5' }]);
    } finally {
      await other.close();
      await broker.close();
      await standby.stop();
    }
  }, 30_000);
});

describe('close', () => {
  test('ends a follow loop, at each of its places, and all after it is CLOSED', async () => {
    const one = await VfScheduler.connect({ servers: standalone.ready.nats });
    const unborn = await VfScheduler.connect({ servers: standalone.ready.nats, cluster: 'unborn' });
    const busy = one.follow({ after: 0 });
    expect((await busy.next()).value).toMatchObject({ position: '1' });
    const waiting = one.follow({ types: ['NoneSuch'] }).next();
    const nothingYet = unborn.follow({ after: 0 }).next();
    // All three have begun: their questions went out before this one, over the same connections.
    await Promise.all([one.span(), unborn.span()]);
    await Promise.all([one.close(), unborn.close()]);
    expect((await waiting).done).toBe(true);
    expect((await nothingYet).done).toBe(true);
    expect((await busy.next()).done).toBe(true);
    expect(one.connected).toBe(false);
    for (const call of [
      () => one.startVm('vm-1', { nics: [] }),
      () => one.stopVm('vm-1'),
      () => one.publish('VmStopped', { vmId: 'vm-1' }),
      () => one.availability(),
      () => one.outcome('x'),
      () => one.clusters(),
      () => one.span(),
      () => one.deadLetter(1),
      () => one.deadLetters().next(),
      () => one.decision({ id: 'x', position: '1' }),
      () => one.follow({ after: 0 }).next(),
      () => one.follow().next(),
    ]) {
      expect([call.toString(), (await errorOf(call())).code]).toEqual([call.toString(), 'CLOSED']);
    }
    await one.close();
  });

  test('of a client on the connection of somebody else leaves that connection', async () => {
    const broker = await connectNats({ url: standalone.ready.nats });
    try {
      const [one, two] = [VfScheduler.on(broker.link), VfScheduler.on(broker.link)];
      const following = one.follow({ after: 'now' }).next();
      await one.span();
      await one.close();
      expect((await following).done).toBe(true);
      expect((await errorOf(one.availability())).code).toBe('CLOSED');
      const owned = two.follow({ after: 'now' }).next();
      expect(await two.span()).toBeDefined();
      await broker.close();
      // Whose connection is closed by its owner follows nothing for ever.
      expect((await owned).done).toBe(true);
      expect((await errorOf(two.span())).code).toBe('CLOSED');
    } finally {
      await broker.close();
    }
  });
});

describe('options', () => {
  test('that make no sense are BAD_INPUT, and nothing is sent', async () => {
    const before = (await client.publish('VmRebooted', { vmId: 'vm-1' })).sequence;
    for (const timeout of [Number.NaN, -1, 0, Number.POSITIVE_INFINITY, 2 ** 31, '5' as never]) {
      for (const call of [
        client.stopVm('vm-1', undefined, { timeout }),
        client.publish('VmStopped', { vmId: 'vm-1' }, { timeout }),
        client.availability({}, { timeout }),
        VfScheduler.connect({ servers: standalone.ready.nats, timeout }),
        VfScheduler.connect({ servers: standalone.ready.nats, connectTimeout: timeout }),
      ]) {
        const error = await errorOf(call);
        expect([error.code, error.message]).toEqual([
          'BAD_INPUT',
          expect.stringMatching(/^(connectT|t)imeout must be milliseconds/),
        ]);
      }
    }
    expect((await errorOf(client.stopVm('vm-1', '', { signal: {} as never }))).message).toContain('signal');
    for (const options of [
      { readAhead: 0 },
      ...['then', '', ' ', '0x2', '1e0', null, [1], true].map((after) => ({ after })),
      ...['', '*', 'a b', 'a.b', undefined].map((id) => ({ about: { kind: 'vm', id } })),
      { about: { kind: 'pf', id: 'vm-1' } },
      { about: 'vm-1' },
      { types: 'VmStopped' },
      { types: [] },
      { signal: {} },
    ]) {
      const error = await errorOf(client.follow({ after: 0, ...options } as never).next());
      expect([options, error.code]).toEqual([options, 'BAD_INPUT']);
    }
    for (const credentialsFile of ['/nowhere/vf.creds', fileURLToPath(import.meta.url)]) {
      const error = await errorOf(VfScheduler.connect({ servers: standalone.ready.nats, credentialsFile }));
      expect([error.code, error.message]).toEqual(['BAD_INPUT', expect.stringContaining(credentialsFile)]);
    }
    for (const options of [
      ...['', [], [''], 5].map((servers) => ({ servers })),
      ...['', 5].map((source) => ({ servers: standalone.ready.nats, source })),
    ]) {
      const error = await errorOf(VfScheduler.connect({ connectTimeout: 100, ...options } as never));
      expect([options, error.code]).toEqual([options, 'BAD_INPUT']);
    }
    for (const wrong of [Number.NaN, -1, 1.5, '1'] as never[]) {
      expect((await errorOf(client.deadLetters({ from: wrong }).next())).code).toBe('BAD_INPUT');
      expect((await errorOf(client.deadLetter(wrong))).code).toBe('BAD_INPUT');
    }
    for (const name of ['', 'a b', '*', 'a.b'])
      expect((await errorOf(client.query(name))).code).toBe('BAD_INPUT');
    expect((await client.publish('VmRebooted', { vmId: 'vm-1' })).sequence).toBe(before + 1);
  });

  test('however many follow, and follow again, Node sees no leak', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    const broker = await connectNats({ url: standalone.ready.nats });
    try {
      const { position } = await client.stopVm('vm-none');
      const after = Number(position) - 1;
      const loops = Array.from({ length: 12 }, () => client.follow({ after }));
      for (const loop of loops) expect((await loop.next()).value).toMatchObject({ position });
      for (const loop of loops) await loop.return();
      // A warning is told in the next tick.
      await setImmediate();
      expect(warnings).toEqual([]);
      const { signal } = new AbortController();
      expect((await follow(broker.link, 'default', { after }, signal).next()).value).toMatchObject({
        position,
      });
      const loop = follow(broker.link, 'default', { after }, signal);
      await loop.next();
      await loop.return();
      // That of the loop which goes on.
      expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    } finally {
      process.off('warning', warned);
      await broker.close();
    }
  });

  test('a time for each call is a time for the first connection too', async () => {
    const begun = performance.now();
    const away = await errorOf(VfScheduler.connect({ servers: 'nats://127.0.0.1:1', timeout: 300 }));
    expect(away.code).toBe('UNAVAILABLE');
    // 5 s is what it waits by itself.
    expect(performance.now() - begun).toBeLessThan(4000);
  });
});

describe('a scheduler that is away', () => {
  test('[OUT-1 acts] the outcome is unknown in time, and the same call has it later', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vf-client-'));
    const { path: binary } = await findNatsServer();
    const server = await startNatsServer({ binary, dataDir: directory, port: 0, syncInterval: '2m' });
    const broker = await connectNats({ url: server.url });
    await broker.prepare();
    const early = await VfScheduler.connect({ servers: server.url });
    const ask = (timeout: number) =>
      early.ask('HostCordoned', { hostId: 'host-9', cordoned: true }, { id: 'cordon-1', timeout });
    let scheduler: Standalone | undefined;
    try {
      const error = await errorOf(ask(300));
      expect([error.code, error.facts]).toEqual(['OUTCOME_UNKNOWN', { id: 'cordon-1' }]);
      const nobody = await errorOf(early.availability({}, { timeout: 1000 }));
      expect([nobody.code, nobody.message]).toEqual([
        'UNAVAILABLE',
        expect.stringContaining('does the scheduler run'),
      ]);
      const later = ask(20_000);
      scheduler = await startScheduler({ VF_NATS_URL: server.url });
      expect((await later).ignored).toBe('unknown');
    } finally {
      await early.close();
      await scheduler?.stop();
      await broker.close();
      await server.stop();
      await endLeftBehindServer(directory);
      await rm(directory, { recursive: true, force: true });
    }
  }, 30_000);

  test('NATS that is not there is said at once', async () => {
    const error = await errorOf(VfScheduler.connect({ servers: 'nats://127.0.0.1:1', connectTimeout: 300 }));
    expect([error.code, error.message]).toEqual([
      'UNAVAILABLE',
      expect.stringContaining('No NATS server answers at nats://127.0.0.1:1'),
    ]);
  });
});

test('a Nest application injects it, and closes it at its end', async () => {
  const module = await Test.createTestingModule({
    imports: [VfSchedulerModule.forRoot({ servers: standalone.ready.nats })],
  }).compile();
  const injected = module.get(VfScheduler);
  expect((await injected.clusters()).map(({ cluster }) => cluster)).toEqual(['default']);
  await module.close();
  expect((await errorOf(injected.clusters())).code).toBe('CLOSED');
});
