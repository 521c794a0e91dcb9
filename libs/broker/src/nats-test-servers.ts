import { mkdtemp, readFile, rm } from 'node:fs/promises';
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

/** Servers of a test file, all ended by `end`, however they fared. */
export class TestServers {
  readonly #servers: NatsServerProcess[] = [];
  readonly #directories: string[] = [];

  async directory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'vf-broker-'));
    this.#directories.push(directory);
    return directory;
  }

  async start(
    options: Partial<StartNatsServerOptions> = {},
  ): Promise<NatsServerProcess & { dataDir: string }> {
    const { path: binary } = await findNatsServer({ configured: process.env.VF_NATS_SERVER });
    const dataDir = options.dataDir ?? (await this.directory());
    const server = await startNatsServer({ binary, port: 0, syncInterval: '2m', ...options, dataDir });
    this.#servers.push(server);
    return { ...server, dataDir };
  }

  /** `kill -9`, then the same again on the same port and store. */
  async killAndRestart(server: NatsServerProcess & { dataDir: string }): ReturnType<TestServers['start']> {
    process.kill(server.pid, 'SIGKILL');
    await server.exited;
    return this.start({ dataDir: server.dataDir, port: Number(new URL(server.url).port) });
  }

  async end(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    for (const directory of this.#directories) {
      await endLeftBehindServer(directory);
      await rm(directory, { recursive: true, force: true });
    }
  }
}
