import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { viewAvailability, viewHost, viewVf, viewVm } from '#domain';
import { hostReported, input, vfAddress, vmStart, type Input } from './support/inputs.js';
import { Ledger } from './support/ledger.js';
import { differences, readLogFile, replayed, type LogContents } from './support/log-file.js';
import { isOutcome, NatsClient, type OutEvent, type Relayed } from './support/nats-client.js';
import { freePort, kill, natsServersBelow, Programs, type Program } from './support/programs.js';
import { Random } from './support/random.js';

const KILLS = Number(process.env['VF_TEST_KILLS'] ?? 20);
const HOSTS = ['h1', 'h2', 'h3'];
/** Few enough for the VMs to be refused often. */
const VFS_OF_A_HOST = 8;
const VMS = Array.from({ length: 40 }, (_, index) => `vm${index}`);
const PUBLISHERS = 6;
/** Milliseconds between two inputs of a publisher. */
const PAUSE = 10;
/** Milliseconds after the ready line, after the start, or after SIGTERM, within which the kill comes. */
const SERVING = 600;
const STARTING = 1500;
const DRAINING = 200;

const random = Random.seeded('kill');
const programs = new Programs();

/** Publishes at random what happens to VMs, each input until it is acknowledged, some of them once more. */
class Load {
  readonly requests = new Map<string, Input>();
  readonly facts = new Map<string, Input>();
  repeats = 0;
  #over = false;
  #numbers = 0;
  readonly #recent: Input[] = [];
  readonly #running: Promise<void>[];

  constructor(readonly client: NatsClient) {
    this.#running = Array.from({ length: PUBLISHERS }, () => this.#publish());
    // Heard of in `end`, or not at all when the test has failed before.
    for (const publisher of this.#running) publisher.catch(() => undefined);
  }

  /** Ends when all that was begun is acknowledged. */
  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#running);
  }

  async #publish(): Promise<void> {
    while (!this.#over) {
      const next = this.#next();
      // An acknowledgement that was lost makes a repeat; NATS stores it twice.
      await this.client.publishUntilStored(next, { timeout: 60_000 });
      // Less than what a relay that syncs each event can take: the backlog shall not grow with the number of kills.
      await wait(PAUSE);
      this.#recent.push(next);
      if (this.#recent.length > 200) this.#recent.shift();
      if (random.chance(0.1)) {
        this.repeats++;
        await this.client.publishUntilStored(random.pick(this.#recent), { timeout: 60_000 });
      }
    }
  }

  #next(): Input {
    const vmId = random.pick(VMS);
    const id = `${random.seed}-${++this.#numbers}`;
    const roll = random.next();
    const isRequest = roll < 0.55;
    const next =
      roll < 0.45
        ? vmStart(vmId, {
            id,
            nics: 1 + random.below(3),
            hostId: random.chance(0.3) ? random.pick(HOSTS) : undefined,
          })
        : roll < 0.5
          ? input('VmNicAttachRequested', { vmId, nic: { nicId: 'eth9', physicalNetwork: 'em1' } }, { id })
          : roll < 0.55
            ? input('VmNicDetachRequested', { vmId, nicId: random.pick(['eth0', 'eth9']) }, { id })
            : roll < 0.75
              ? input('VmStarted', { vmId }, { id })
              : roll < 0.97
                ? input('VmStopped', { vmId }, { id })
                : input('VmDestroyed', { vmId }, { id });
    (isRequest ? this.requests : this.facts).set(id, next);
    return next;
  }
}

describe(`the standalone is killed ${KILLS} times under load`, () => {
  let load: Load;
  let relayed: readonly Relayed[];
  let log: LogContents;
  let verify: Record<string, unknown>;
  let availability: Record<string, unknown>;
  const vms = new Map<string, Record<string, unknown>>();
  const vfs = new Map<string, Record<string, unknown>>();
  const hosts = new Map<string, Record<string, unknown>>();
  let deadLetters: number;
  const errors: string[] = [];
  let lastExit: unknown;
  let client: NatsClient | undefined;

  beforeAll(
    async () => {
      const dataDir = await programs.directory();
      const settings = { VF_DATA_DIR: dataDir, VF_NATS_PORT: String(await freePort()) };
      let program: Program = await programs.start('standalone', settings);
      const { nats } = await program.ready();
      client = await NatsClient.connect(nats);
      for (const hostId of HOSTS) await client.publishUntilStored(hostReported(hostId, VFS_OF_A_HOST));
      load = new Load(client);

      const collect = (): void => {
        for (const { msg, ...facts } of program.log(50)) errors.push(`${msg} ${JSON.stringify(facts)}`);
      };
      let whileStarting = 0;
      let whileDraining = 0;
      let serversToo = 0;
      for (let kills = 0; kills < KILLS; kills++) {
        if (program.stdout === '' && random.chance(0.25)) {
          whileStarting++;
          await wait(random.below(STARTING));
        } else {
          await program.ready();
          await wait(random.below(SERVING));
        }
        if (random.chance(0.3)) {
          serversToo++;
          for (const pid of natsServersBelow(dataDir)) kill(pid, 'SIGKILL');
        }
        if (random.chance(0.25)) {
          // While it drains: it takes a snapshot then, and purges VF_IN.
          whileDraining++;
          program.signal('SIGTERM');
          await wait(random.below(DRAINING));
        }
        await program.kill();
        collect();
        program = await programs.start('standalone', settings);
      }
      await program.ready();
      await load.end();
      process.stderr.write(
        `kill: ${KILLS} kills, ${whileStarting} of them while it started, ${whileDraining} while it drained, ${serversToo} with its nats-server; ` +
          `${load.requests.size} requests, ${load.facts.size} facts, ${load.repeats} repeats\n`,
      );

      // Inputs are decided in order, so all is decided when the last one is.
      const last = vmStart('vm0', { id: `${random.seed}-last` });
      load.requests.set(last.event.id, last);
      await client.publishUntilStored(last);
      const { position } = await client.outcome(last.event.id, 'default', { timeout: 60_000 });
      const from = { atLeast: position };
      // It reads all that was written, on a machine that may be busy.
      verify = await client.query('verify', from, 'default', { timeout: 60_000 });
      availability = await client.query('availability', from);
      for (const vmId of VMS) vms.set(vmId, await client.query('vm', { ...from, vmId }));
      for (const hostId of HOSTS) {
        hosts.set(hostId, await client.query('host', { ...from, hostId }));
        for (let index = 0; index < VFS_OF_A_HOST; index++) {
          const vf = vfAddress(index);
          vfs.set(`${hostId}/${vf}`, await client.query('vf', { ...from, hostId, vf }));
        }
      }
      // The relay comes behind: with sync_interval 'always' each event costs an fsync.
      relayed = await client.readOut('default', Number(position));
      deadLetters = (await client.stream('VF_DEAD'))?.state.messages ?? -1;
      await client.close();
      lastExit = await program.stop();
      collect();
      log = await readLogFile(join(dataDir, 'events.db'));
    },
    60_000 + KILLS * 6000,
  );

  afterAll(async () => {
    await client?.close();
    await programs.end();
  });

  test('every kill found it at work', () => {
    expect(load.requests.size).toBeGreaterThan(KILLS * 10);
    const types = new Set(relayed.map(({ event }) => event.type));
    const needed = [
      'VfAllocated',
      'VfReleased',
      'VmStartAccepted',
      'VmStartFailed',
      'VmStarted',
      'VmStopped',
    ];
    expect(needed.filter((type) => !types.has(type))).toEqual([]);
  });

  test('[OUT-1 acts] every request has exactly one outcome in VF_OUT', () => {
    const outcomes = new Map<string, OutEvent[]>();
    for (const { event } of relayed) {
      if (!isOutcome(event.type)) continue;
      const list = outcomes.get(event.causationid);
      if (list === undefined) outcomes.set(event.causationid, [event]);
      else list.push(event);
    }
    const wrong = [...load.requests.values()]
      .map(({ event: { id, type } }) => ({
        id,
        type,
        outcomes: outcomes.get(id)?.map((one) => one.type) ?? [],
      }))
      .filter(({ outcomes: found }) => found.length !== 1);
    expect(wrong).toEqual([]);
    expect([...outcomes.keys()].filter((id) => !load.requests.has(id))).toEqual([]);
  });

  test('[EX-6 acts] every fact has left an event, and no repeat has', () => {
    const causes = new Set(relayed.map(({ event }) => event.causationid));
    expect([...load.facts.keys()].filter((id) => !causes.has(id))).toEqual([]);
    // The events of one input are neighbours: a second decision of the same input would stand elsewhere.
    const seen = new Set<string>();
    let before = '';
    const again: string[] = [];
    for (const { event } of relayed) {
      if (event.causationid !== before && seen.has(event.causationid)) again.push(event.causationid);
      seen.add(event.causationid);
      before = event.causationid;
    }
    expect(again).toEqual([]);
  });

  test('[EX-1 acts] no VF has two holders', () => {
    expect(new Ledger(relayed).faults).toEqual([]);
  });

  test('[OUT-3 acts] VF_OUT has no gap and no double, and is the log byte for byte', () => {
    expect(relayed[0]?.sequence).toBe(1);
    expect(differences(relayed, log.records)).toEqual([]);
    const times = relayed.map(({ event }) => event.time);
    expect(times).toEqual([...times].sort());
  });

  test('the hash chain is good', () => {
    const { length } = log.records;
    const hash = log.records.at(-1)?.hash;
    expect(log.verification).toEqual({ events: length, ok: true, head: { position: length, hash } });
    expect(verify).toEqual({
      position: String(length),
      events: length,
      ok: true,
      head: { position: String(length), hash },
      // Beside the chain: VF_OUT, the last signed head, and the states that snapshots and the read side have.
      checks: {
        chain: { ok: true },
        versions: { ok: true },
        output: { ok: true, position: expect.stringMatching(/^\d+$/) },
        signedHead: { ok: true },
        states: { ok: true, checked: expect.any(Array) },
        readSide: { ok: true, message: expect.stringMatching(/^not checked/) },
      },
    });
    // The relay may still be behind; what it has sent is the log's.
    const { checked } = (verify as { checks: { states: { checked: { same: boolean }[] } } }).checks.states;
    expect(checked.map(({ same }) => same)).not.toContain(false);
    expect(checked).toContainEqual({ position: String(length), what: 'read side', same: true });
  });

  test('a replay of the log from its first event gives the state that the queries told', () => {
    const state = replayed(log.records);
    const position = String(state.position);
    const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
    expect(availability).toEqual(plain({ position, ...viewAvailability(state) }));
    for (const [vmId, answer] of vms) {
      const vm = state.vms.get(vmId);
      if (vm === undefined) expect(answer).toMatchObject({ error: { code: 'NOT_FOUND' } });
      else expect(answer).toEqual(plain({ position, vm: viewVm(vm) }));
    }
    for (const [hostId, answer] of hosts) {
      const host = state.hosts.get(hostId);
      expect(answer).toEqual(plain({ position, host: host && viewHost(host) }));
    }
    for (const [place, answer] of vfs) {
      const [hostId = '', address = ''] = place.split('/');
      const vf = state.hosts.get(hostId)?.vfs.get(address);
      expect(answer).toEqual(plain({ position, vf: vf && viewVf(vf) }));
    }
  });

  test('the holders that the queries told are those that VF_OUT tells', () => {
    const { holders } = new Ledger(relayed);
    const told = [...vfs].flatMap(([place, { vf }]) => {
      const { holder } = vf as { holder?: object };
      return holder === undefined ? [] : [[place, holder] as const];
    });
    expect(new Map(told)).toEqual(holders);
  });

  test('nothing was dead-lettered, nothing was an error, and it ends with 0', () => {
    expect(deadLetters).toBe(0);
    expect(errors).toEqual([]);
    expect(lastExit).toEqual({ code: 0, signal: null });
  });
});
