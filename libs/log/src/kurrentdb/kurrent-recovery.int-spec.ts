/**
 * What the server may do, for as long as the client looks for it and longer, with the client's own times: closed,
 * silent, killed, late. On the double, in a process of its own; and on a real server where KURRENTDB_URL names one and
 * KURRENTDB_CONTROL a command that starts, stops, kills, freezes and thaws it.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { emptyHead, type Head } from '../chain.js';
import { isTransient } from '../errors.js';
import type { StoredRecord } from '../record.js';
import { collect, headAfter, sampleDecisions } from '../sample-records.js';
import { DoubleStorage } from './double-storage.js';
import { KurrentDouble } from './double.js';
import { KurrentLog } from './kurrent-log.js';
import { guestStreams, removeGuestStreams } from './guest-streams.js';
import type { StreamNames } from './stream-names.js';

/** Longer than the client looks for a server at its first use. */
const away = 12_000;
/** From the server's being back to the log's going on. */
const soon = 2000;

interface Server {
  readonly url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) {
    child.kill('SIGCONT');
    child.kill('SIGKILL');
  }
});

/** The double in a process of its own, so that it can be stopped as a process is. */
async function doubleServer(): Promise<Server> {
  const main = join(import.meta.dirname, '../../../../dist/libs/log/src/kurrentdb/double-process.js');
  const child = spawn(process.execPath, [main], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, 'line')) as [string];
  const tell = async (command: object): Promise<void> => {
    const answered = once(lines, 'line');
    child.stdin.write(`${JSON.stringify(command)}\n`);
    await answered;
  };
  const stop = (): Promise<void> => tell({ do: 'stop' });
  return {
    ...(JSON.parse(line) as { url: string }),
    start: () => tell({ do: 'start' }),
    stop,
    // A client cannot tell them apart: every connection breaks.
    kill: stop,
    freeze: async () => void child.kill('SIGSTOP'),
    thaw: async () => void child.kill('SIGCONT'),
  };
}

/** A real server, under the control of a command. */
function realServer(url: string, command: string): Server {
  const run = (what: string) => async (): Promise<void> => {
    await promisify(execFile)('sh', ['-c', `${command} ${what}`]);
  };
  return {
    url,
    start: run('start'),
    stop: run('stop'),
    kill: run('kill'),
    freeze: run('freeze'),
    thaw: run('thaw'),
  };
}

/** Somebody who appends one decision after the other, as a leader does, somebody who reads, and somebody who follows. */
class Users {
  readonly stream = `c-${randomBytes(4).toString('hex')}`;
  readonly appended: StoredRecord[] = [];
  readonly followed: StoredRecord[] = [];
  /** When each last got something, by the monotonic clock. */
  readonly last = { append: 0, read: 0, follow: 0 };
  readonly #over = new AbortController();
  readonly #running: Promise<unknown>[] = [];

  constructor(private readonly log: KurrentLog) {
    this.#running.push(this.#append(), this.#read(), this.#follow());
  }

  /** How long after a moment the last of them got something; waits for it. */
  async slowest(since: number): Promise<number> {
    const { last } = this;
    while (Math.min(last.append, last.read, last.follow) < since) {
      if (performance.now() - since > 60_000) return Number.POSITIVE_INFINITY;
      await wait(10);
    }
    return Math.max(last.append, last.read, last.follow) - since;
  }

  async end(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#running);
  }

  async #append(): Promise<void> {
    let head: Head = emptyHead(this.stream);
    while (!this.#over.signal.aborted) {
      const decisions = sampleDecisions(head, { data: this.appended.length });
      for (;;) {
        try {
          await this.log.append(this.stream, head.position, decisions);
          break;
        } catch (error) {
          if (!isTransient(error)) throw error;
          if (this.#over.signal.aborted) return;
          await wait(50);
        }
      }
      this.last.append = performance.now();
      this.appended.push(...decisions.flat());
      head = headAfter(head, decisions);
      await wait(20);
    }
  }

  async #read(): Promise<void> {
    while (!this.#over.signal.aborted) {
      try {
        await this.log.head(this.stream);
        this.last.read = performance.now();
      } catch (error) {
        if (!isTransient(error)) throw error;
      }
      await wait(50);
    }
  }

  async #follow(): Promise<void> {
    const options = { verify: emptyHead(this.stream) };
    for await (const records of this.log.follow(this.stream, 0, this.#over.signal, options)) {
      this.followed.push(...records);
      this.last.follow = performance.now();
    }
  }
}

type Scenario = (server: Server, names?: StreamNames) => Promise<{ log: KurrentLog; late: number[] }>;

/** A log that is in use while the server goes and comes back. */
const inUse =
  (...faults: readonly ((server: Server) => Promise<number>)[]): Scenario =>
  async (server, names) => {
    const log = await KurrentLog.open(server.url, { names });
    const late: number[] = [];
    const users = new Users(log);
    await users.slowest(performance.now());
    for (const fault of faults) late.push(await users.slowest(await fault(server)));
    await users.end();
    // Nothing was lost, and nothing is there twice.
    expect(await collect(log.read(users.stream, 1, { verify: emptyHead(users.stream) }))).toEqual(
      users.appended,
    );
    expect(users.followed).toEqual(users.appended.slice(0, users.followed.length));
    return { log, late };
  };

/** A log that is opened while the server is away. */
const atStart =
  (leave: (server: Server) => Promise<void>, comeBack: (server: Server) => Promise<void>): Scenario =>
  async (server, names) => {
    await leave(server);
    const opening = KurrentLog.open(server.url, { names, patience: 60_000 });
    opening.catch(() => undefined);
    await wait(away);
    await comeBack(server);
    const back = performance.now();
    const log = await opening;
    const opened = performance.now() - back;
    const users = new Users(log);
    const used = await users.slowest(back);
    await users.end();
    return { log, late: [opened, used] };
  };

const stopped = async (server: Server, milliseconds = away): Promise<number> => {
  await server.stop();
  await wait(milliseconds);
  await server.start();
  return performance.now();
};
const frozen = async (server: Server, milliseconds = away): Promise<number> => {
  await server.freeze();
  await wait(milliseconds);
  await server.thaw();
  return performance.now();
};
const killed = async (server: Server): Promise<number> => {
  await server.kill();
  await server.start();
  return performance.now();
};

const scenarios: Readonly<Record<string, Scenario>> = {
  'closed when the log is opened': atStart(
    (server) => server.stop(),
    (server) => server.start(),
  ),
  'silent when the log is opened': atStart(
    (server) => server.freeze(),
    (server) => server.thaw(),
  ),
  'closed for long, twice': inUse(stopped, stopped),
  'silent for long, and then killed': inUse(frozen, killed),
  'killed, and at once silent': inUse(killed, frozen),
  'closed and silent for a moment, again and again': inUse(
    (server) => stopped(server, 500),
    (server) => frozen(server, 1500),
    (server) => stopped(server, 3000),
    (server) => frozen(server, 3000),
  ),
};

/** A wire to a node that can stand still: it takes connections, and nothing passes, as at a process that is stopped. */
class Wire {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => this.#join(near));
  #frozen = false;
  /** How many were made by it. */
  connections = 0;

  /** @param delay for how long each piece is under way, in milliseconds. */
  constructor(
    private readonly target: () => number,
    private readonly delay = 0,
  ) {}

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async lay(): Promise<this> {
    await new Promise<void>((listening) => this.#server.listen(0, '127.0.0.1', listening));
    return this;
  }

  freeze(): void {
    this.#frozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  thaw(): void {
    this.#frozen = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((closed) => this.#server.close(closed));
  }

  #join(near: Socket): void {
    this.connections += 1;
    const far = createConnection(this.target(), '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('data', (data) => {
        if (this.delay === 0) other.write(data);
        else setTimeout(() => other.destroyed || other.write(data), this.delay);
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      if (this.#frozen) socket.pause();
    }
  }
}

describe('the double, with the times of the client itself', () => {
  const results = new Map<string, Promise<{ log: KurrentLog; late: number[] }>>();
  // Most of the time is waiting: all at once.
  beforeAll(() => {
    for (const [name, scenario] of Object.entries(scenarios)) {
      const result = doubleServer().then((server) => scenario(server));
      result.catch(() => undefined);
      results.set(name, result);
    }
  });

  test.each(Object.keys(scenarios))(
    `a server that is %s: the log goes on within ${soon} ms of its being back`,
    async (name) => {
      const { log, late } = await results.get(name)!;
      await log.close();
      process.stderr.write(`${name}: goes on after ${late.map(Math.round).join(', ')} ms\n`);
      expect(late.filter((milliseconds) => milliseconds > soon)).toEqual([]);
    },
    120_000,
  );

  test(`something that takes connections and never answers, and then a server at its place`, async () => {
    const sockets: Socket[] = [];
    const mute = createServer((socket) => sockets.push(socket));
    await new Promise<void>((listening) => mute.listen(0, '127.0.0.1', listening));
    const { port } = mute.address() as AddressInfo;
    const opening = KurrentLog.open(`kurrentdb://127.0.0.1:${port}?tls=false`, { patience: 60_000 });
    opening.catch(() => undefined);
    await wait(away);
    const main = join(import.meta.dirname, '../../../../dist/libs/log/src/kurrentdb/double-process.js');
    // It listens no more, and what is connected to it stays: what was asked there has no answer, and no end.
    mute.close();
    const child = spawn(process.execPath, [main, '--port', String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    await once(createInterface({ input: child.stdout }), 'line');
    const back = performance.now();
    const log = await opening;
    const users = new Users(log);
    expect(await users.slowest(back)).toBeLessThan(soon);
    await users.end();
    // What was asked of the mute one is given up by and by, and that is nobody's trouble any more.
    const until = performance.now() + 7000;
    while (performance.now() < until) {
      expect(log.trouble).toBeUndefined();
      await wait(100);
    }
    await log.close();
    for (const socket of sockets) socket.destroy();
  }, 60_000);

  test('a server that takes more than a second for each answer is used, and its client kept', async () => {
    const double = await new KurrentDouble().start();
    const wire = await new Wire(() => double.port, 550).lay();
    const log = await KurrentLog.open(`kurrentdb://127.0.0.1:${wire.port}?tls=false`);
    const decisions = sampleDecisions(emptyHead('slow'), { decisions: 3 });
    await log.append('slow', 0, decisions);
    const { subscription } = double.calls;
    const connections = wire.connections;
    await wait(6000);
    expect(log.trouble).toBeUndefined();
    expect(await collect(log.read('slow', 1))).toEqual(decisions.flat());
    // Nobody looked for another one, but for the signs of life that came late once.
    expect(double.calls.subscription).toBe(subscription);
    expect(wire.connections - connections).toBeLessThan(20);
    await log.close();
    await wire.close();
    await double.stop();
  }, 60_000);
});

describe('a leader of three that is frozen', () => {
  test.each([
    [
      'named by their addresses',
      (wires: readonly Wire[]) => wires.map(({ port }) => `127.0.0.1:${port}`).join(','),
    ],
    [
      'two of which are named',
      (wires: readonly Wire[]) =>
        wires
          .slice(0, 2)
          .map(({ port }) => `127.0.0.1:${port}`)
          .join(','),
    ],
  ])(
    `%s: the log goes on within ${soon} ms of another's being elected, and again when that one is frozen too`,
    async (_, addresses) => {
      const storage = new DoubleStorage();
      const wires: Wire[] = [];
      const nodes: KurrentDouble[] = [];
      for (let index = 0; index < 3; index++) {
        const node = new KurrentDouble({ storage, reachedAt: () => wires[index]!.port });
        await node.start();
        nodes.push(node);
        wires.push(await new Wire(() => node.port).lay());
        node.members = () => nodes;
      }
      const elect = (leader: number): void => {
        for (const [index, node] of nodes.entries())
          node.leader = index === leader ? undefined : nodes[leader];
      };
      elect(0);
      const log = await KurrentLog.open(`kurrentdb://${addresses(wires)}?tls=false`);
      const users = new Users(log);
      await users.slowest(performance.now());
      const late: number[] = [];
      for (const [frozenOne, next] of [
        [0, 1],
        [1, 0],
      ] as const) {
        wires[frozenOne]!.freeze();
        // For as long as a cluster takes to see it and to elect: until then it leads, for who asks.
        await wait(3000);
        nodes[frozenOne]!.isAlive = false;
        elect(next);
        late.push(await users.slowest(performance.now()));
        wires[frozenOne]!.thaw();
        nodes[frozenOne]!.isAlive = true;
      }
      await users.end();
      expect(await collect(log.read(users.stream, 1, { verify: emptyHead(users.stream) }))).toEqual(
        users.appended,
      );
      process.stderr.write(`a frozen leader: goes on after ${late.map(Math.round).join(', ')} ms\n`);
      await log.close();
      for (const wire of wires) await wire.close();
      for (const node of nodes) await node.stop();
      expect(late.filter((milliseconds) => milliseconds > soon)).toEqual([]);
    },
    60_000,
  );
});

describe('a real server', () => {
  const { KURRENTDB_URL: url = '', KURRENTDB_CONTROL: control = '' } = process.env;
  if (url === '' || control === '') {
    test.todo('not run: KURRENTDB_URL and KURRENTDB_CONTROL name no server that can be stopped');
    return;
  }
  const names = guestStreams();
  afterAll(() => removeGuestStreams(url, names), 60_000);

  test.each(Object.entries(scenarios))(
    `KURRENTDB_URL: a server that is %s: the log goes on within ${soon} ms of its being back`,
    async (_, scenario) => {
      const { log, late } = await scenario(realServer(url, control), names);
      process.stderr.write(`a real server: goes on after ${late.map(Math.round).join(', ')} ms\n`);
      await log.close();
      expect(late.filter((milliseconds) => milliseconds > soon)).toEqual([]);
    },
    300_000,
  );
});
