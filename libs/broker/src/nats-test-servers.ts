import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  endLeftBehindServer,
  findNatsServer,
  startNatsServer,
  type NatsServerProcess,
  type StartNatsServerOptions,
} from './nats-server.js';

/**
 * Stops a process as SIGSTOP does, and waits until it stands still: the signal alone is not obeyed at once.
 */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  if (process.platform !== 'linux') return;
  // `<pid> (<name>) <state> …`; T: stopped.
  const state = async (): Promise<string> =>
    (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').charAt(0);
  while ((await state()) !== 'T') await new Promise((resolve) => setImmediate(resolve));
}

/** A server with the directory that its store is in. */
export type TestServer = NatsServerProcess & { readonly dataDir: string };

/** Three servers that keep streams together. */
export interface TestCluster {
  /** All of them, for a client to connect to. */
  readonly url: string;
  readonly servers: readonly TestServer[];
  /** The server that goes by this name, as JetStream names the leader of a stream. */
  named(name: string): TestServer;
  /** `kill -9`. */
  kill(name: string): Promise<void>;
  /** Starts one that was killed on its ports and its store. */
  restart(name: string): Promise<void>;
}

/** Ports that are free now. All are held until all are known, so that none is given twice. */
async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    holders.map(
      (holder) =>
        new Promise<number>((resolve) => {
          holder.listen(0, '127.0.0.1', () => resolve((holder.address() as AddressInfo).port));
        }),
    ),
  );
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))));
  return ports;
}

/** Servers of a test file, all ended by `end`, however they fared. */
export class TestServers {
  readonly #servers: NatsServerProcess[] = [];
  readonly #directories: string[] = [];

  async directory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'vf-broker-'));
    this.#directories.push(directory);
    return directory;
  }

  async start(options: Partial<StartNatsServerOptions> = {}): Promise<TestServer> {
    const { path: binary } = await findNatsServer({ configured: process.env.VF_NATS_SERVER });
    const dataDir = options.dataDir ?? (await this.directory());
    const server = await startNatsServer({ binary, port: 0, syncInterval: '2m', ...options, dataDir });
    this.#servers.push(server);
    return { ...server, dataDir };
  }

  /** `kill -9`, then the same again on the same port and store. */
  async killAndRestart(server: TestServer): Promise<TestServer> {
    process.kill(server.pid, 'SIGKILL');
    await server.exited;
    return this.start({ dataDir: server.dataDir, port: Number(new URL(server.url).port) });
  }

  /** Three servers on this machine that keep streams together; resolves when their JetStream answers. */
  async startCluster(options: Partial<StartNatsServerOptions> = {}): Promise<TestCluster> {
    const ports = await freePorts(6);
    const routes = ports.slice(3);
    const names = ['n1', 'n2', 'n3'];
    const directories = await Promise.all(names.map(() => this.directory()));
    const startOne = (index: number): Promise<TestServer> =>
      this.start({
        ...options,
        serverName: names[index]!,
        port: ports[index]!,
        dataDir: directories[index]!,
        cluster: { name: 'vf-test', port: routes[index]!, ports: routes },
      });
    const servers = await Promise.all(names.map((_, index) => startOne(index)));
    const indexOf = (name: string): number => {
      const index = names.indexOf(name);
      if (index === -1) throw new Error(`no server is named '${name}'`);
      return index;
    };
    return {
      url: servers.map((server) => server.url).join(','),
      servers,
      named: (name) => servers[indexOf(name)]!,
      kill: async (name) => {
        const { pid, exited } = servers[indexOf(name)]!;
        process.kill(pid, 'SIGKILL');
        await exited;
      },
      restart: async (name) => {
        servers[indexOf(name)] = await startOne(indexOf(name));
      },
    };
  }

  async end(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    for (const directory of this.#directories) {
      await endLeftBehindServer(directory);
      await rm(directory, { recursive: true, force: true });
    }
  }
}
