import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { hostReported, input, PF, vmStart, type Input } from './support/inputs.js';
import { NatsClient, type OutEvent, type OutFollower } from './support/nats-client.js';
import { Programs, type Program, type Settings } from './support/programs.js';
import { until } from './support/until.js';

const programs = new Programs();
const clients: NatsClient[] = [];

afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await programs.end();
});

interface Site {
  readonly program: Program;
  readonly client: NatsClient;
  readonly http: string;
}

async function standalone(settings: Settings = {}): Promise<Site> {
  const program = await programs.start('standalone', settings);
  const { nats, http } = await program.ready();
  const client = await NatsClient.connect(nats);
  clients.push(client);
  return { program, client, http };
}

const HOUR = 3_600_000;
/** The greatest number that a double holds with all below it. */
const HUGE = Number.MAX_SAFE_INTEGER;

interface HostView {
  readonly state: string;
  readonly bootId: string;
  readonly lastSeq: number;
  readonly lastReportAt: string;
}

/** What an agent says of a host in a cluster of the test's own. */
class Agent {
  private count = 0;
  private readonly out: OutFollower;

  constructor(
    private readonly client: NatsClient,
    readonly cluster: string,
    readonly hostId = 'h1',
  ) {
    this.out = client.follow(cluster);
  }

  report(seq: unknown, fields: object = {}, attributes: object = {}): Input {
    const report = hostReported(this.hostId, 4, { cluster: this.cluster, attributes: { ...attributes } });
    return { ...report, event: { ...report.event, data: { ...report.event.data, seq, ...fields } } };
  }

  /** Says it, and waits until it is decided: a fact behind it has come out. @returns the events of each. */
  async say(...inputs: readonly Input[]): Promise<readonly (readonly OutEvent[])[]> {
    for (const one of inputs) await this.client.publish(one);
    const behind = input('VmStopped', { vmId: `nobody-${++this.count}` }, { cluster: this.cluster });
    await this.client.publish(behind);
    await this.out.first('what comes behind', ({ causationid }) => causationid === behind.event.id);
    return inputs.map(({ event }) => this.out.of(event.id));
  }

  /** @returns the types of the events of each, put together. */
  async types(...inputs: readonly Input[]): Promise<readonly string[]> {
    return (await this.say(...inputs)).map((events) => events.map(({ type }) => type).join('+'));
  }

  async view(): Promise<HostView> {
    return (await this.client.query<{ host: HostView }>('host', { hostId: this.hostId }, this.cluster)).host;
  }

  /** Whether it is dead, and why. */
  async reason({ event }: Input): Promise<string | undefined> {
    const request = { id: event.id };
    return (await this.client.query<{ dead?: { reason: string } }>('outcome', request, this.cluster)).dead
      ?.reason;
  }
}

describe('what an agent says of its numbers and clocks', () => {
  let site: Site;
  let dataDir: string;
  let clusters = 0;

  beforeAll(async () => {
    dataDir = await programs.directory();
    site = await standalone({ VF_DATA_DIR: dataDir });
  });

  const agent = (): Agent => new Agent(site.client, `c${++clusters}`);

  test('[HOST-9 acts] an agent that counts from one is told the last seq, and heard with its third report', async () => {
    const one = agent();
    expect(await one.types(one.report(4711), one.report(4712))).toEqual(['HostRegistered', '']);
    // The log knows of 4711 only: nothing has changed since.
    expect(await one.view()).toMatchObject({ lastSeq: 4712, bootId: 'boot-1' });
    const [[told], second] = (await one.say(one.report(1), one.report(2))) as [OutEvent[], OutEvent[]];
    expect(told).toMatchObject({
      type: 'InputIgnored',
      subject: 'host/h1',
      data: { type: 'HostReported', reason: 'stale', hostId: 'h1', bootId: 'boot-1', lastSeq: 4712 },
    });
    expect(second).toEqual([]);
    expect(await one.types(one.report(3), one.report(4), one.report(4))).toEqual([
      'HostAgentRestarted',
      '',
      'InputIgnored',
    ]);
    expect(await one.view()).toMatchObject({ lastSeq: 4, state: 'ready' });
  });

  test.each([
    ['a report of the greatest seq', (one: Agent) => one.report(HUGE)],
    ['a report of a seq below it', (one: Agent) => one.report(HUGE - 1)],
    [
      'a sign of life of the greatest seq',
      ({ cluster, hostId }: Agent) =>
        input('HostSeen', { hostId, bootId: 'boot-1', seq: HUGE, digest: 'd' }, { cluster }),
    ],
    ['an envelope a century ahead', (one: Agent) => one.report(9, {}, { time: '2126-01-01T00:00:00Z' })],
    [
      'an envelope of the last day there is',
      (one: Agent) => one.report(9, {}, { time: '9999-12-31T23:59:59.999Z' }),
    ],
    ['an envelope of year 0', (one: Agent) => one.report(9, {}, { time: '0000-01-01T00:00:00Z' })],
    ['an envelope in a leap second', (one: Agent) => one.report(9, {}, { time: '2016-12-31T23:59:60Z' })],
  ])('[HOST-9 acts] %s does not make a host deaf to its reports', async (_, lie) => {
    const one = agent();
    await one.say(one.report(1), lie(one));
    const after = [2, 3, 4].map((seq) => one.report(seq, { scrubs: true }));
    expect((await one.types(...after)).at(-1)).toMatch(/^Host(Changed|AgentRestarted)$/);
    expect(await one.view()).toMatchObject({ lastSeq: 4, scrubs: true });
  });

  test.each(['2999-01-01T00:00:00Z', '9999-12-31T23:59:59+00:00', '2026-12-31T00:00:00.999999999-23:59'])(
    '[HOST-4 acts] a boot at %s does not make a host deaf to its next boot',
    async (bootedAt) => {
      const one = agent();
      await one.say(one.report(1, { bootedAt }));
      const start = vmStart('vm1', { cluster: one.cluster });
      expect(await one.types(start)).toEqual(['VfAllocated+VmStartAccepted']);
      const next = one.report(1, { bootId: 'boot-2', bootedAt: new Date().toISOString() });
      expect(await one.types(next)).toEqual(['VfReleased+HostChanged']);
      expect(await one.view()).toMatchObject({ bootId: 'boot-2' });
    },
  );

  test('[HOST-9 acts] every wrong number with every wrong clock is outlived, at the first report and at a later one', async () => {
    const one = agent();
    const now = Date.now();
    const iso = (time: number): string => new Date(time).toISOString();
    const seqs = [0, 3, now, HUGE - 1, HUGE];
    const times = [
      '0000-01-01T00:00:00Z',
      '2016-12-31T23:59:60Z',
      iso(now - HOUR),
      iso(now + HOUR),
      '9999-12-31T23:59:59.999999999-23:59',
    ];
    const boots = [undefined, '0000-01-01T00:00:00Z', iso(now + HOUR), '9999-12-31T23:59:59Z'];
    const hosts = seqs.flatMap((seq) =>
      times.flatMap((time) =>
        boots.flatMap((bootedAt) => [true, false].map((first) => ({ seq, time, bootedAt, first }))),
      ),
    );
    const agents = hosts.map((_, index) => new Agent(site.client, one.cluster, `h${index}`));
    const all = async (said: (agent: Agent, index: number) => Input | undefined): Promise<void> => {
      for (let from = 0; from < agents.length; from += 100) {
        const some = agents.slice(from, from + 100).map((each, index) => said(each, from + index));
        await Promise.all(some.map((input) => input && site.client.publish(input, { timeout: 20_000 })));
      }
    };
    await all((each, index) => (hosts[index]?.first === true ? undefined : each.report(1)));
    await all((each, index) => {
      const { seq, time, bootedAt } = hosts[index] as (typeof hosts)[number];
      return each.report(seq, bootedAt === undefined ? {} : { bootedAt }, { time });
    });
    // What is created later is sent later, as an agent does.
    for (const seq of [2, 3, 4]) await all((each) => each.report(seq, { scrubs: true }));
    await one.say();
    const views = () =>
      Promise.all(agents.map(async (each, index) => ({ ...hosts[index], ...(await each.view()) })));
    for (const view of await views()) expect(view).toMatchObject({ scrubs: true, lastSeq: 4 });
    const bootedAt = iso(Date.now());
    await all((each) => each.report(1, { bootId: 'boot-2', bootedAt }));
    await one.say();
    for (const view of await views()) expect(view).toMatchObject({ bootId: 'boot-2', lastSeq: 1 });
    expect(agents).toHaveLength(200);
  });

  test('[HOST-9 acts] a boot that looks earlier comes through with its third report', async () => {
    const one = agent();
    await one.say(one.report(1, { bootedAt: new Date().toISOString() }));
    const again = [1, 2, 3].map((seq) =>
      one.report(seq, { bootId: 'boot-2', bootedAt: '1970-01-01T00:00:00Z' }),
    );
    expect(await one.types(...again)).toEqual(['InputIgnored', '', 'HostChanged']);
  });

  test('[HOST-9 refuses] what was sent before is no news, however often it comes: by seq, by boot, by both', async () => {
    const one = agent();
    const old = [1, 2, 3, 4].map((seq) => one.report(seq));
    await one.say(...old, one.report(5));
    await one.say(one.report(1, { bootId: 'boot-2' }), one.report(2, { bootId: 'boot-2' }));
    const anew = ({ subject, cluster, event }: Input): Input => ({
      subject,
      cluster,
      event: { ...event, id: crypto.randomUUID() },
    });
    const replayed = Array.from({ length: 5 }, () => old.map(anew)).flat();
    const seen = await one.types(...replayed);
    expect(seen.slice(0, 1)).toEqual(['InputIgnored']);
    expect(seen.slice(1).every((types) => types === '')).toBe(true);
    // The boot that is over speaks on, with a clock and a seq of now.
    const zombie = [100, 101, 102, 103, HUGE].map((seq) => one.report(seq, { scrubs: true }));
    expect(await one.types(...zombie)).toEqual(['', '', '', '', '']);
    expect(await one.view()).toMatchObject({ bootId: 'boot-2', lastSeq: 2, scrubs: false });
  });

  test('[HOST-9 quiet] a sign of life of an unknown boot, or of an unknown host, changes and keeps nothing', async () => {
    const one = agent();
    await one.say(one.report(5));
    const sign = (hostId: string, bootId: string) =>
      input('HostSeen', { hostId, bootId, seq: HUGE, digest: 'd' }, { cluster: one.cluster });
    expect(await one.types(sign('h1', 'boot-x'), sign('nobody', 'boot-1'))).toEqual(['', '']);
    expect(await one.view()).toMatchObject({ lastSeq: 5, bootId: 'boot-1' });
    expect(await one.types(one.report(6, { scrubs: true }))).toEqual(['HostChanged']);
  });

  test('a seq that is no whole number from 0 to 2^53-1 is not readable, and changes nothing', async () => {
    const one = agent();
    await one.say(one.report(0));
    const bad = [-1, 1.5, 2 ** 53, 1e308, -1e308, '7', '', null, true, [1], { a: 1 }].map((seq) =>
      one.report(seq),
    );
    expect(await one.types(...bad)).toEqual(bad.map(() => ''));
    for (const input of bad) expect(await one.reason(input)).toMatch(/data\.seq must be a whole number/);
    expect(await one.view()).toMatchObject({ lastSeq: 0 });
    expect(await one.types(one.report(1, { scrubs: true }))).toEqual(['HostChanged']);
  });

  test('[VM-13 refuses] the greatest generation shuts out lower ones only: who names none is served', async () => {
    const one = agent();
    await one.say(one.report(1));
    const vm = (type: string, fields: object = {}) =>
      input(type, { vmId: 'vm1', ...fields }, { cluster: one.cluster });
    const nics = [{ nicId: 'eth0', physicalNetwork: 'em1' }];
    expect(
      await one.types(
        vm('VmStartRequested', { nics, generation: HUGE }),
        vm('VmNicDetachRequested', { nicId: 'eth0', generation: 7 }),
        vm('VmStopped', { generation: 7 }),
        vm('VmStopped'),
        vm('VmStartRequested', { nics }),
        vm('VmDestroyed', { generation: HUGE }),
      ),
    ).toEqual([
      'VfAllocated+VmStartAccepted',
      'VmNicDetachFailed',
      'InputIgnored',
      'VfReleased+VmStopped',
      'VfAllocated+VmStartAccepted',
      'VfReleased+VmDestroyed',
    ]);
  });

  test('every timeout at its ends is counted with, and beyond them is not readable', async () => {
    const one = agent();
    await one.say(one.report(1));
    const fields = ['startTimeoutSeconds', 'scrubTimeoutSeconds', 'hostTimeoutSeconds'];
    const policy = (seconds: unknown): Input[] =>
      fields.map((field) => input('ClusterPolicyChanged', { [field]: seconds }, { cluster: one.cluster }));
    const most = await one.types(...policy(31_536_000));
    expect(most).toEqual(fields.map(() => 'ClusterPolicyChanged'));
    for (const seconds of [0, -1, 1.5, 31_536_001, HUGE, 1e308, '5'])
      expect(await one.types(...policy(seconds))).toEqual(fields.map(() => ''));
    expect(await one.types(vmStart('vm1', { cluster: one.cluster }))).toEqual([
      'VfAllocated+VmStartAccepted',
    ]);
    expect(await one.types(...policy(1))).toEqual(fields.map(() => 'ClusterPolicyChanged'));
    await until('a start that is overdue and a host that is lost after a second', async () => {
      const { events } = await site.client.query<{ events: OutEvent[] }>(
        'history',
        { limit: 1000 },
        one.cluster,
      );
      const types = new Set(events.map(({ type }) => type));
      return types.has('AllocationOverdue') && types.has('HostLost');
    });
    expect(await one.types(one.report(2))).toEqual(['HostBack']);
  });

  test('[HOST-9 refuses] a process that is started again knows how far the reports had come', async () => {
    const [changed, restarted, ignored] = [agent(), agent(), agent()];
    await changed.say(changed.report(3), changed.report(8, { scrubs: true }));
    await restarted.say(restarted.report(4711));
    await restarted.say(...[1, 2, 3].map((seq) => restarted.report(seq)));
    // Nothing changes with 9: the log knows of it by what was ignored.
    await ignored.say(...[8, 9, 5].map((seq) => ignored.report(seq)));
    await site.program.stop();
    const program = await programs.start('standalone', { VF_DATA_DIR: dataDir });
    const { nats, http } = await program.ready();
    const client = await NatsClient.connect(nats);
    clients.push(client);
    site = { program, client, http };
    for (const [{ cluster }, last] of [
      [changed, 8],
      [restarted, 3],
      [ignored, 9],
    ] as const) {
      const one = new Agent(client, cluster);
      expect(await one.view()).toMatchObject({ lastSeq: last });
      expect(await one.types(one.report(last), one.report(last + 1))).toEqual([
        'InputIgnored',
        // `scrubs` is false again in what the first of them says.
        cluster === changed.cluster ? 'HostChanged' : '',
      ]);
    }
  });
});

describe.each([
  ['behind', -HOUR],
  ['ahead', HOUR],
])('a process whose clock is an hour %s', (_, shift) => {
  const ask = async (
    site: Site,
    query: string,
  ): Promise<{ status: number; body: Record<string, unknown> }> => {
    const response = await fetch(`${site.http}/v1/clusters/default/${query}`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const at = (moment: number): string => encodeURIComponent(new Date(moment).toISOString());
  let site: Site;
  let begun: number;

  beforeAll(async () => {
    const shifted = join(import.meta.dirname, 'support/shifted-clock.mjs');
    site = await standalone({
      NODE_OPTIONS: `--import=${shifted}`,
      CLOCK_SHIFT_MS: String(shift),
      VF_OUT_MAX_AGE: '30m',
    });
    begun = Date.now();
    await site.client.publish(hostReported('h1', 4));
    const start = vmStart('vm1');
    await site.client.publish(start);
    await site.client.follow().outcome(start.event.id);
  });

  test('says so in its log, once, and in its health, which stays ok', async () => {
    const health = await fetch(`${site.http}/health/ready`);
    const { status, clock } = (await health.json()) as {
      status: string;
      clock: { behindMs: number; trouble: string };
    };
    expect([health.status, status]).toEqual([200, 'ok']);
    expect(Math.abs(clock.behindMs + shift)).toBeLessThan(5000);
    expect(clock.trouble).toMatch(
      /^the clock of this process is (?:3600|359\d)\.\d s (?:behind|ahead of) NATS's/,
    );
    expect(site.program.log(40).filter(({ msg }) => msg.includes('the clock of this process'))).toHaveLength(
      1,
    );
  });

  test("answers about now by NATS's time, and refuses what is to come", async () => {
    const now = Date.now();
    expect(await ask(site, `availability?at=${at(now - 1)}`)).toMatchObject({
      status: 200,
      body: { allocated: 1 },
    });
    expect(await ask(site, `availability?at=${at(begun - 60_000)}`)).toMatchObject({
      status: 200,
      body: { total: 0 },
    });
    for (const later of [now + 60_000, now + HOUR / 2, now + 2 * HOUR]) {
      expect(await ask(site, `availability?at=${at(later)}`)).toMatchObject({
        status: 400,
        body: { detail: expect.stringContaining('is in the future') as unknown },
      });
    }
  });

  test('counts what is held until now, and not until its own now', async () => {
    const { body } = await ask(site, `usage?from=${at(begun - HOUR)}&to=${at(begun + 4 * HOUR)}&by=vm`);
    const [{ vfSeconds }] = body['usage'] as [{ vfSeconds: number }];
    expect(vfSeconds).toBeGreaterThan(0);
    expect(vfSeconds).toBeLessThan((Date.now() - begun) / 1000 + 5);
  });

  test('imagines a plan now', async () => {
    const response = await fetch(`${site.http}/v1/clusters/default/plan`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: [{ type: 'PfRestoreRequested', data: { hostId: 'h1', pf: PF } }] }),
    });
    const { events } = (await response.json()) as { events: { time: string }[] };
    for (const { time } of events) expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(30_000);
    expect(events.length).toBeGreaterThan(0);
  });

  test('relays again what the age of the stream would still keep', async () => {
    const { client } = site;
    const before = await client.readOut();
    await client.manager.streams.delete('VF_OUT_default');
    const start = vmStart('vm2');
    await client.publish(start);
    const outcome = await client.follow().outcome(start.event.id);
    const after = await client.readOut('default', Number(outcome.position));
    expect(after.slice(0, before.length).map(({ text }) => text)).toEqual(before.map(({ text }) => text));
  });
});
