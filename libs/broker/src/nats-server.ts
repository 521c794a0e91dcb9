import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { BrokerError } from './errors.js';
import { serverFiles } from './left-behind-server.js';

export { findNatsServer, type FindNatsServerOptions, type NatsServerBinary } from './find-nats-server.js';
export { endLeftBehindServer } from './left-behind-server.js';

/** How to start a nats-server of our own. */
export interface StartNatsServerOptions {
  /** The executable, as `findNatsServer` gives it. */
  readonly binary: string;
  /** Its files go to `nats` below it. Only one server at a time: see `endLeftBehindServer`. */
  readonly dataDir: string;
  /** 0: any free one. */
  readonly port: number;
  /** When stored messages are forced to disk: `always`, or an interval such as `2m`; `always`. */
  readonly syncInterval?: string;
  /** Bytes; 2 MiB. */
  readonly maxPayload?: number;
  readonly serverName?: string;
  /** Makes it one of several servers that keep streams together; each needs a name of its own. */
  readonly cluster?: {
    readonly name: string;
    readonly port: number;
    /** Ports of all of them, on this machine. */
    readonly ports: readonly number[];
  };
  /** The most that JetStream may store, in bytes; 1 TiB. */
  readonly maxFileStore?: number;
  /** How long it may take until it serves, in milliseconds; 30,000 (a large store is read first). */
  readonly startTimeout?: number;
}

/** A nats-server that serves. */
export interface NatsServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Ends it and waits until it is gone; more than once is fine. */
  stop(): Promise<void>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** The end of what it has said. */
  lastWords(): Promise<string>;
}

const POLL = 20;
const STOP_PATIENCE = 15_000;
const TEBIBYTE = 1024 ** 4;

/**
 * Starts a nats-server with JetStream that listens on this machine only.
 *
 * @throws BrokerError `REFUSED` with a sentence when it does not come up: port in use, store unreadable …
 */
export async function startNatsServer(options: StartNatsServerOptions): Promise<NatsServerProcess> {
  const files = serverFiles(options.dataDir);
  await mkdir(files.ports, { recursive: true });
  // What an earlier server left there would be taken for this one's.
  for (const name of await readdir(files.ports)) await rm(join(files.ports, name), { force: true });
  await writeFile(files.config, configuration(options, files));
  // Kept for a person; what is read below is this start's.
  await rename(files.log, `${files.log}.before`).catch(() => {});
  const output = await open(files.output, 'w');
  // A group of its own: Ctrl-C shall reach us, who stop it when all is relayed. A file for its output, not a
  // pipe: a pipe would break with us and end a server that is meant to be found again.
  const child = spawn(options.binary, ['-c', files.config], {
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', reject);
  });
  // Who waits for it hears of it; nobody has to.
  exited.catch(() => {});
  await output.close();

  try {
    const url = await ready(options, child, exited);
    const lastWords = (): Promise<string> => lastLines([files.output, files.log]);
    return { url, pid: child.pid!, stop: () => stop(child, exited), exited, lastWords };
  } catch (error) {
    await stop(child, exited).catch(() => {});
    throw error;
  }
}

function configuration(options: StartNatsServerOptions, files: ReturnType<typeof serverFiles>): string {
  const quoted = JSON.stringify;
  return `# Written at each start; changes here are lost.
server_name: ${quoted(options.serverName ?? 'vf-standalone')}
host: "127.0.0.1"
port: ${options.port === 0 ? -1 : options.port}
max_payload: ${options.maxPayload ?? 2 * 1024 * 1024}
pid_file: ${quoted(files.pid)}
ports_file_dir: ${quoted(files.ports)}
log_file: ${quoted(files.log)}
log_size_limit: 16777216
jetstream {
  store_dir: ${quoted(files.store)}
  # Streams reserve what they may grow to; the disk is the real limit.
  max_file_store: ${options.maxFileStore ?? TEBIBYTE}
  max_memory_store: ${TEBIBYTE}
  sync_interval: ${quoted(options.syncInterval ?? 'always')}
}
${options.cluster === undefined ? '' : clusterConfiguration(options.cluster)}`;
}

const clusterConfiguration = ({
  name,
  port,
  ports,
}: NonNullable<StartNatsServerOptions['cluster']>): string => `
cluster {
  name: ${JSON.stringify(name)}
  host: "127.0.0.1"
  port: ${port}
  # A client that is cut off from the server it was given is cut off.
  no_advertise: true
  routes: ${JSON.stringify(ports.filter((other) => other !== port).map((other) => `nats://127.0.0.1:${other}`))}
}
`;

/** Waits until it listens and its JetStream answers. @returns its URL. */
async function ready(
  options: StartNatsServerOptions,
  child: ChildProcess,
  exited: NatsServerProcess['exited'],
): Promise<string> {
  const files = serverFiles(options.dataDir);
  let ended: string | undefined;
  exited.then(
    ({ code, signal }) => (ended = `it ended with ${signal ?? code}`),
    (error: Error) => (ended = `it could not be run (${error.message})`),
  );
  const deadline = performance.now() + (options.startTimeout ?? 30_000);
  while (!ended && performance.now() < deadline) {
    const url = await urlIn(files.ports, child.pid);
    if (url && (await servesJetStream(url))) return url;
    await wait(POLL);
  }

  const said = await lastLines([files.output, files.log]);
  if (/address already in use|Only one usage of each socket address/i.test(said)) {
    throw new BrokerError(
      'REFUSED',
      `nats-server cannot listen on port ${options.port}: something else does already. End it, or set VF_NATS_PORT to another port (0: any free one).`,
    );
  }
  throw new BrokerError(
    'REFUSED',
    `nats-server (${options.binary}) did not come up: ${ended ?? 'it does not answer'}. It said: ${said || 'nothing'}`,
  );
}

async function urlIn(directory: string, pid: number | undefined): Promise<string | undefined> {
  const name = (await readdir(directory)).find((file) => file.endsWith(`_${pid}.ports`));
  if (!name) return undefined;
  try {
    const { nats } = JSON.parse(await readFile(join(directory, name), 'utf8')) as { nats?: string[] };
    return nats?.[0];
  } catch {
    // Half written.
    return undefined;
  }
}

async function servesJetStream(url: string): Promise<boolean> {
  try {
    const connection = await connect({ servers: url, reconnect: false, timeout: 2_000 });
    try {
      await jetstreamManager(connection, { timeout: 2_000 });
      return true;
    } finally {
      await connection.close();
    }
  } catch {
    return false;
  }
}

async function lastLines(files: readonly string[]): Promise<string> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
  return texts.join('\n').trim().split('\n').slice(-8).join(' | ');
}

async function stop(child: ChildProcess, exited: NatsServerProcess['exited']): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const patience = new AbortController();
  child.kill('SIGTERM');
  // One that is stopped (SIGSTOP) hears the signal when it goes on.
  void wait(STOP_PATIENCE, undefined, { signal: patience.signal }).then(
    () => child.kill('SIGKILL'),
    () => {},
  );
  try {
    await exited;
  } finally {
    patience.abort();
  }
}
