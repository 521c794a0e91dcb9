import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findNatsServer, startNatsServer, type NatsServerProcess } from '#broker';
import { until } from './until.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** The `main.js` files that `npm test` has built. */
const PROGRAMS = {
  standalone: join(ROOT, 'dist/apps/standalone/src/main.js'),
  allocator: join(ROOT, 'dist/apps/allocator/src/main.js'),
} as const;

export type ProgramName = keyof typeof PROGRAMS;

/** `VF_` variables; those that the tests run with are not handed on. */
export type Settings = Readonly<Record<string, string | undefined>>;

/** What a program says when it serves. */
export interface ReadyLine {
  readonly ready: boolean;
  readonly nats: string;
  readonly http: string;
  readonly log: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A program of ours as a real process. */
export class Program {
  /** All that it has written so far. */
  stdout = '';
  stderr = '';
  readonly exited: Promise<Exit>;
  #exit: Exit | undefined;

  constructor(
    readonly name: ProgramName,
    private readonly child: ChildProcess,
  ) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.exited = new Promise((done, failed) => {
      child.once('error', failed);
      // 'close' comes when its output has been read too.
      child.once('close', (code, signal) => {
        this.#exit = { code, signal };
        done(this.#exit);
      });
    });
    this.exited.catch(() => undefined);
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.name} could not be started`);
    return this.child.pid;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** Waits for its ready line. @throws Error with what it said when it ends before. */
  async ready(timeout = 30_000): Promise<ReadyLine> {
    const line = await until(
      () => `the ready line of ${this.name}; it said:\n${this.stderr}`,
      () => {
        const end = this.stdout.indexOf('\n');
        if (end !== -1) return this.stdout.slice(0, end);
        if (this.#exit === undefined) return undefined;
        const how = this.#exit.signal ?? `exit code ${this.#exit.code}`;
        throw new Error(`${this.name} ended before it was ready (${how}); it said:\n${this.stderr}`);
      },
      { timeout },
    );
    return JSON.parse(line) as ReadyLine;
  }

  signal(name: NodeJS.Signals): void {
    if (this.running) process.kill(this.pid, name);
  }

  /** Asks it to end, and waits. */
  async stop(name: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.signal(name);
    return this.exit(30_000);
  }

  /** `kill -9`. */
  async kill(): Promise<Exit> {
    this.signal('SIGKILL');
    return this.exit();
  }

  /** Waits for its end. */
  async exit(timeout = 15_000): Promise<Exit> {
    await until(
      () => `the end of ${this.name} (${this.pid}); it said:\n${this.stderr}`,
      () => this.#exit,
      {
        timeout,
      },
    );
    return this.exited;
  }

  /** The lines of its log at or above a level of pino: 40 is a warning, 50 an error. */
  log(level = 0): ReadonlyArray<{ level: number; msg: string } & Record<string, unknown>> {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as { level: number; msg: string }];
        } catch {
          // Cut by a kill.
          return [];
        }
      })
      .filter((line) => line.level >= level);
  }
}

/**
 * Programs, servers and directories of one test file. `end` ends and removes all of them, whatever became of the test, and so does the
 * end of the process that runs the tests; each process by its own number, also a nats-server whose standalone was killed.
 */
export class Programs {
  readonly #programs: Program[] = [];
  readonly #servers: NatsServerProcess[] = [];
  readonly #directories: string[] = [];
  readonly #mounts: string[] = [];
  readonly #scratch: Promise<string>;
  readonly #onExit = (): void => this.#endNow();

  constructor() {
    this.#scratch = this.directory();
    process.once('exit', this.#onExit);
  }

  /** A new directory, removed at the end. */
  async directory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'vf-e2e-'));
    this.#directories.push(directory);
    return directory;
  }

  /** A new directory on a small disk of its own; undefined where none can be mounted. */
  async smallDisk(mebibytes: number): Promise<string | undefined> {
    const directory = await this.directory();
    const options = ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'vf-e2e', directory];
    const { status } = spawnSync('mount', options, { stdio: 'ignore' });
    if (status !== 0) return undefined;
    this.#mounts.push(directory);
    return directory;
  }

  /**
   * Starts a program with the settings given, on free ports and in a directory of its own unless they say otherwise.
   *
   * @param options.user number of the user to run as.
   * @param options.main another build of it, by its `main.js`.
   * @param options.node arguments of Node's own.
   */
  async start(
    name: ProgramName,
    settings: Settings = {},
    {
      user,
      main = PROGRAMS[name],
      node = [],
    }: { readonly user?: number; readonly main?: string; readonly node?: readonly string[] } = {},
  ): Promise<Program> {
    const environment: Record<string, string | undefined> = {};
    for (const [variable, value] of Object.entries(process.env)) {
      if (!variable.startsWith('VF_') && variable !== 'NODE_OPTIONS') environment[variable] = value;
    }
    const child = spawn(process.execPath, [...node, main], {
      cwd: await this.#scratch,
      env: {
        ...environment,
        // So that what a program puts there, a nats-server's store too, is found at the end.
        TMPDIR: await this.#scratch,
        VF_NATS_PORT: '0',
        VF_HTTP_PORT: '0',
        VF_DATA_DIR: settings['VF_DATA_DIR'] ?? (await this.directory()),
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(user === undefined ? undefined : { uid: user, gid: user }),
    });
    const program = new Program(name, child);
    this.#programs.push(program);
    return program;
  }

  /** A nats-server of the test's own, to be shared, killed or stopped. */
  async natsServer({ dataDir, port = 0 }: { dataDir?: string; port?: number } = {}): Promise<SharedServer> {
    const { path: binary } = await findNatsServer();
    const directory = dataDir ?? (await this.directory());
    const server = await startNatsServer({ binary, dataDir: directory, port, syncInterval: '2m' });
    this.#servers.push(server);
    return { ...server, dataDir: directory, port: Number(new URL(server.url).port) };
  }

  async end(): Promise<void> {
    for (const { pid } of this.#servers) kill(pid, 'SIGCONT');
    await Promise.all(this.#programs.map((program) => program.kill()));
    this.#endNow();
    await Promise.all(this.#servers.map(({ exited }) => exited));
    process.off('exit', this.#onExit);
  }

  #endNow(): void {
    for (const program of this.#programs) program.signal('SIGKILL');
    for (const { pid } of this.#servers) kill(pid, 'SIGKILL');
    for (const directory of this.#mounts.splice(0))
      spawnSync('umount', ['-l', directory], { stdio: 'ignore' });
    for (const directory of this.#directories) {
      for (const pid of natsServersBelow(directory)) kill(pid, 'SIGKILL');
      rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    }
  }
}

export interface SharedServer extends NatsServerProcess {
  readonly dataDir: string;
  readonly port: number;
}

/** The nats-servers that run with a configuration below a directory. */
export function natsServersBelow(directory: string): readonly number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const [program = '', ...rest] = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      const ours = rest.some((argument) => argument.startsWith(`${directory}/`));
      if (program.endsWith('nats-server') && ours) found.push(Number(entry));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended before.
  }
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}
