import { accessSync, constants, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { LogError } from '../errors.js';

/** A place where a node listens. */
export interface Node {
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
  /** The name in its certificate, where that is not `host`. */
  readonly serverName?: string;
}

/** A connection string of KurrentDB that was checked. */
export interface KurrentAddress {
  /** For people: without secrets. */
  readonly name: string;
  /** What it names, in its order. */
  readonly nodes: readonly Node[];
  /** Whether the nodes are to be asked who leads; `dns`: those that its one name stands for. */
  readonly search: 'none' | 'nodes' | 'dns';
  /** Undefined: without TLS. Certificates and keys in PEM. */
  readonly tls?: {
    readonly verify: boolean;
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
  };
  /** What the names of the streams begin with; undefined: as by default. */
  readonly streamPrefix?: string;
  /** The user and password in it, decoded. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** The string for the client, with the secrets, to use that node alone. */
  urlOf(node: Node, extra: Readonly<Record<string, string>>): string;
}

type Check = (value: string) => string | undefined;

const bool: Check = (value) => (/^(true|false)$/.test(value) ? undefined : 'is true or false');
const whole: Check = (value) => (/^\d{1,9}$/.test(value) ? undefined : 'is a whole number');
const keepAlive: Check = (value) =>
  value === '-1' || (/^\d{5,9}$/.test(value) && Number(value) >= 10_000)
    ? undefined
    : 'is a number of milliseconds from 10000, or -1 for never';
const only =
  (wanted: string, why: string): Check =>
  (value) =>
    value === wanted ? undefined : `cannot be anything but ${wanted}: ${why}`;
const prefix: Check = (value) =>
  /^[A-Za-z0-9_]{1,32}$/.test(value) ? undefined : 'is 1 to 32 of A-Z a-z 0-9 _';
const any: Check = () => undefined;
const file: Check = (value) => {
  const path = resolve(decodeURIComponent(value));
  try {
    accessSync(path, constants.R_OK);
    return undefined;
  } catch (error) {
    return `names ${path}, which cannot be read (${(error as { code?: string }).code})`;
  }
};

/** What a connection string may say, by its name in lower case without `-` and `_`, as the client reads it. */
const parameters: Readonly<Record<string, readonly [name: string, check: Check]>> = {
  tls: ['tls', bool],
  tlsverifycert: ['tlsVerifyCert', bool],
  tlscafile: ['tlsCAFile', file],
  usercertfile: ['userCertFile', file],
  userkeyfile: ['userKeyFile', file],
  streamprefix: ['streamPrefix', prefix],
  connectionname: ['connectionName', any],
  maxdiscoverattempts: ['maxDiscoverAttempts', whole],
  discoveryinterval: ['discoveryInterval', whole],
  gossiptimeout: ['gossipTimeout', whole],
  defaultdeadline: ['defaultDeadline', whole],
  keepaliveinterval: ['keepAliveInterval', keepAlive],
  keepalivetimeout: ['keepAliveTimeout', keepAlive],
  nodepreference: ['nodePreference', only('leader', 'the log is read and written at the leader')],
  throwonappendfailure: ['throwOnAppendFailure', only('true', 'a failed append must be seen')],
};

const schemes = /^(?:kurrentdb|kurrent|kdb|esdb)(\+discover)?:\/\//;
const example = 'such as kurrentdb://user:password@a.example:2113,b.example:2113?tls=true';

/**
 * Checks a connection string before the client sees it: the client prints the whole string, with its password,
 * when it meets something that it does not know.
 *
 * @throws LogError `NOT_ALLOWED` with a sentence in which no part of the user's name or password is.
 */
export function readConnectionString(text: string): KurrentAddress {
  const [scheme = '', discover = ''] = schemes.exec(text) ?? [];
  if (scheme === '') throw bad(`it does not begin with kurrentdb:// or kurrentdb+discover://, ${example}`);
  const [authority = '', query = '', ...more] = text.slice(scheme.length).trim().split('?');
  if (more.length > 0) throw bad('it has a second ?; write it as %3F where it is meant');
  const at = authority.lastIndexOf('@');
  const user = at === -1 ? undefined : authority.slice(0, at);
  const credentials = user === undefined ? undefined : readUser(user);
  const hosts = authority
    .slice(at + 1)
    .replace(/\/+$/, '')
    .split(',')
    .map((host) => host.trim());
  for (const host of hosts) checkHost(host);
  const pairs = query === '' ? [] : query.split('&').map(checkPair);
  const given = new Set(pairs.map(([name]) => name));
  if (given.size < pairs.length) throw bad('a parameter is in it twice');
  if (given.has('userCertFile') !== given.has('userKeyFile')) {
    throw bad('userCertFile and userKeyFile go together: set both or none');
  }
  const values = new Map(pairs);
  // It is ours: the client does not know it.
  const streamPrefix = values.get('streamPrefix');
  values.delete('streamPrefix');
  const pem = (name: string): Buffer | undefined => {
    const path = values.get(name);
    if (path === undefined) return undefined;
    try {
      return readFileSync(resolve(decodeURIComponent(path)));
    } catch (error) {
      throw bad(
        `the parameter ${name} names ${path}, which cannot be read (${(error as { code?: string }).code})`,
      );
    }
  };
  const tls =
    values.get('tls') === 'false'
      ? undefined
      : {
          verify: values.get('tlsVerifyCert') !== 'false',
          ca: pem('tlsCAFile'),
          cert: pem('userCertFile'),
          key: pem('userKeyFile'),
        };
  return {
    name: `kurrentdb${discover}://${hosts.join(',')}${streamPrefix === undefined ? '' : `?streamPrefix=${streamPrefix}`}`,
    nodes: hosts.map((host) => {
      const [name = '', port = '2113'] = host.split(':');
      return { host: name, port: Number(port) };
    }),
    search: discover !== '' ? 'dns' : hosts.length > 1 ? 'nodes' : 'none',
    tls,
    streamPrefix,
    credentials,
    urlOf: ({ host, port }, extra) => {
      const all = [...new Map([...values, ...Object.entries(extra)])].map((pair) => pair.join('='));
      return `kurrentdb://${user === undefined ? '' : `${user}@`}${host}:${port}?${all.join('&')}`;
    },
  };
}

function readUser(user: string): NonNullable<KurrentAddress['credentials']> {
  if (!/^[^:@/]+:[^:@/]+$/.test(user)) {
    throw bad('what stands before the @ is not user:password; write @, : and / in them as %40, %3A and %2F');
  }
  try {
    const [username = '', password = ''] = user.split(':').map(decodeURIComponent);
    return { username, password };
  } catch {
    throw bad('the user or password has a % that is not followed by two hexadecimal digits; write it as %25');
  }
}

function checkHost(host: string): void {
  const [, port = '2113'] = /^[A-Za-z0-9_.-]+(?::(\d{1,5}))?$/.exec(host) ?? [undefined, ''];
  if (port === '' || Number(port) < 1 || Number(port) > 65_535) {
    throw bad(`'${host}' is not a host with a port, ${example}`);
  }
}

function checkPair(pair: string): readonly [name: string, value: string] {
  const [key = '', value = '', ...more] = pair.split('=');
  const [name, check] = parameters[key.trim().toLowerCase().replaceAll(/[_-]/g, '')] ?? [];
  if (name === undefined || check === undefined) {
    const names = Object.values(parameters).map(([one]) => one);
    throw bad(`there is no parameter '${key}'; there are ${names.join(', ')}`);
  }
  if (value === '' || more.length > 0) throw bad(`the parameter ${name} is not a name and a value`);
  const problem = check(value.trim());
  if (problem !== undefined) throw bad(`the parameter ${name} ${problem}`);
  return [name, value.trim()];
}

function bad(why: string): LogError {
  return new LogError('NOT_ALLOWED', `the connection string of KurrentDB is wrong: ${why}`);
}
