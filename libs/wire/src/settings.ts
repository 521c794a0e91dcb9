import { isIP } from 'node:net';
import { isIdentifier, NO_CLUSTER } from './subjects.js';

/** The settings of wire.md: environment variables, read and checked once at start. */

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export type EventLogSetting =
  | { readonly kind: 'sqlite'; readonly file?: string }
  | { readonly kind: 'memory' }
  | { readonly kind: 'kurrentdb'; readonly url: string }
  | { readonly kind: 'jetstream' };

export interface Settings {
  /** NATS to use; undefined: standalone starts its own. */
  readonly natsUrl?: string;
  readonly natsServer?: string;
  readonly natsSync: string;
  readonly natsPort: number;
  readonly natsCreds?: string;
  readonly natsTls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** Replicas of the streams that are made. */
  readonly natsReplicas: number;
  readonly eventLog: EventLogSetting;
  readonly dataDir: string;
  readonly httpHost: string;
  readonly httpPort: number;
  /** Names that the HTTP API answers to beside loopback; undefined: it depends on where it listens. */
  readonly httpAllowedHosts?: readonly string[];
  /** Clusters that this instance may lead; undefined: all. */
  readonly clusters?: readonly string[];
  readonly maxClusters: number;
  readonly inMaxBytes: number;
  readonly outMaxBytes: number;
  /** Milliseconds. */
  readonly outMaxAge: number;
  readonly logLevel: LogLevel;
  /** Inputs of a cluster that are known again (EX-6). */
  readonly rememberedInputs: number;
  /** A JSON file with an operator's limits of hardware (PF-12). */
  readonly hardwareLimitsFile?: string;
  /** A file with the private key that signs exports and heads. */
  readonly auditKey?: string;
  /** Files with the public parts of keys that signed earlier. */
  readonly earlierAuditKeys?: readonly string[];
}

/** A setting that makes no sense. The message names the variable and says what it takes. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';

  constructor(
    readonly variable: string,
    message: string,
  ) {
    super(`${variable}: ${message}`);
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

const VARIABLES = [
  'VF_NATS_URL',
  'VF_NATS_SERVER',
  'VF_NATS_SYNC',
  'VF_NATS_PORT',
  'VF_NATS_REPLICAS',
  'VF_NATS_CREDS',
  'VF_NATS_TLS_CA',
  'VF_NATS_TLS_CERT',
  'VF_NATS_TLS_KEY',
  'VF_EVENT_LOG',
  'VF_DATA_DIR',
  'VF_HTTP_HOST',
  'VF_HTTP_PORT',
  'VF_HTTP_ALLOWED_HOSTS',
  'VF_CLUSTERS',
  'VF_MAX_CLUSTERS',
  'VF_IN_MAX_BYTES',
  'VF_OUT_MAX_BYTES',
  'VF_OUT_MAX_AGE',
  'VF_LOG_LEVEL',
  'VF_REMEMBERED_INPUTS',
  'VF_HARDWARE_LIMITS',
  'VF_AUDIT_KEY',
  'VF_AUDIT_EARLIER_KEYS',
] as const;

type Variable = (typeof VARIABLES)[number];

/** Variables of the project's own tests and benchmarks, which a service does not read. */
const NOT_SETTINGS = /^VF_(TEST|BENCH)_/;

const BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;
const MILLIS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A stream that holds no input of the largest size, and an age that JetStream refuses, are mistakes. */
const LEAST_BYTES = [BYTES.MiB, '1MiB'] as const;
const LEAST_AGE = [100, '100ms'] as const;
const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * Reads the settings.
 *
 * @throws SettingsError naming the first variable that is unknown or has a bad value.
 */
export function readSettings(environment: Environment): Settings {
  refuseUnknown(environment);
  const text = (variable: Variable): string | undefined => environment[variable]?.trim() || undefined;
  const whole = (variable: Variable, fallback: number, min: number, max: number): number => {
    const value = text(variable);
    if (value === undefined) return fallback;
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new SettingsError(variable, `'${value}' is not a whole number from ${min} to ${max}`);
  };
  const amount = (
    variable: Variable,
    fallback: number,
    units: Readonly<Record<string, number>>,
    [least, leastText]: readonly [number, string],
  ): number => {
    const value = text(variable);
    if (value === undefined) return fallback;
    const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(value) ?? [];
    const factor = unit === '' && 'B' in units ? 1 : units[unit];
    const result = Math.floor(Number(digits) * (factor ?? Number.NaN));
    if (Number.isSafeInteger(result) && result >= least) return result;
    if (result > 0 && result < least)
      throw new SettingsError(variable, `'${value}' is less than ${leastText}`);
    throw new SettingsError(
      variable,
      `'${value}' is not a number with a unit (${Object.keys(units).join(', ')})`,
    );
  };

  const tls = { ca: text('VF_NATS_TLS_CA'), cert: text('VF_NATS_TLS_CERT'), key: text('VF_NATS_TLS_KEY') };
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    const missing = tls.cert === undefined ? 'VF_NATS_TLS_CERT' : 'VF_NATS_TLS_KEY';
    throw new SettingsError(missing, 'a certificate and its key go together: set both or none');
  }
  return {
    natsUrl: readNatsUrl(text('VF_NATS_URL')),
    natsServer: text('VF_NATS_SERVER'),
    natsSync: readSync(text('VF_NATS_SYNC')),
    natsPort: whole('VF_NATS_PORT', 4222, 0, 65_535),
    natsReplicas: readReplicas(text('VF_NATS_REPLICAS')),
    natsCreds: text('VF_NATS_CREDS'),
    natsTls: Object.values(tls).some((file) => file !== undefined) ? tls : undefined,
    eventLog: readEventLog(text('VF_EVENT_LOG')),
    dataDir: text('VF_DATA_DIR') ?? './data',
    httpHost: readHost(text('VF_HTTP_HOST')),
    httpPort: whole('VF_HTTP_PORT', 8080, 0, 65_535),
    httpAllowedHosts: readAllowedHosts(text('VF_HTTP_ALLOWED_HOSTS')),
    clusters: readClusters(text('VF_CLUSTERS')),
    maxClusters: whole('VF_MAX_CLUSTERS', 64, 1, 4096),
    inMaxBytes: amount('VF_IN_MAX_BYTES', BYTES.GiB, BYTES, LEAST_BYTES),
    outMaxBytes: amount('VF_OUT_MAX_BYTES', 4 * BYTES.GiB, BYTES, LEAST_BYTES),
    outMaxAge: amount('VF_OUT_MAX_AGE', 30 * MILLIS.d, MILLIS, LEAST_AGE),
    logLevel: readLevel(text('VF_LOG_LEVEL')),
    auditKey: text('VF_AUDIT_KEY'),
    earlierAuditKeys: readFiles('VF_AUDIT_EARLIER_KEYS', text('VF_AUDIT_EARLIER_KEYS')),
    rememberedInputs: whole('VF_REMEMBERED_INPUTS', 200_000, 1, 10_000_000),
    hardwareLimitsFile: text('VF_HARDWARE_LIMITS'),
  };
}

function refuseUnknown(environment: Environment): void {
  for (const variable of Object.keys(environment)) {
    if (!variable.startsWith('VF_') || NOT_SETTINGS.test(variable)) continue;
    if (!(VARIABLES as readonly string[]).includes(variable)) {
      throw new SettingsError(variable, `there is no such setting; there are ${VARIABLES.join(', ')}`);
    }
  }
}

function readNatsUrl(value: string | undefined): string | undefined {
  const urls = value?.split(',').map((url) => url.trim());
  for (const url of urls ?? []) {
    if (isNatsUrl(url)) continue;
    // What stands before an @ is a password or a token; one with a comma in it is in two pieces here.
    const secret = value?.includes('@') === true;
    const said = secret && !url.includes('@') ? '…' : url.replace(/^(.*\/\/)?.*@/, '$1…@');
    const how = secret ? '; in a password , / ? # @ : % are percent-encoded' : '';
    throw new SettingsError('VF_NATS_URL', `'${said}' is not a NATS URL such as nats://127.0.0.1:4222${how}`);
  }
  return urls?.join(',');
}

function isNatsUrl(url: string): boolean {
  const full = /^[a-z]+:\/\//.test(url) ? url : `nats://${url}`;
  return (
    // A / in a password makes its rest a path.
    /^(?:nats|tls|wss?):\/\/[^\s/?#]+(?:[/?#][^\s@]*)?$/.test(full) &&
    URL.canParse(full) &&
    new URL(full).hostname !== ''
  );
}

function readSync(value = 'always'): string {
  if (value === 'always' || /^0*[1-9]\d*(ms|s|m|h)$/.test(value)) return value;
  throw new SettingsError('VF_NATS_SYNC', `'${value}' is neither 'always' nor a time such as '2m' or '10s'`);
}

function readReplicas(value = '1'): number {
  // Two would stop when either of them is away.
  if (value === '1' || value === '3' || value === '5') return Number(value);
  throw new SettingsError('VF_NATS_REPLICAS', `'${value}' is none of 1, 3 and 5`);
}

function readHost(value = '127.0.0.1'): string {
  if (isIP(value) !== 0 || /^[A-Za-z0-9_.-]+$/.test(value)) return value;
  throw new SettingsError('VF_HTTP_HOST', `'${value}' is not an address or a host's name such as 127.0.0.1`);
}

function readAllowedHosts(value: string | undefined): readonly string[] | undefined {
  const hosts = value?.split(',').map((host) => host.trim());
  for (const host of hosts ?? []) {
    if (isIP(host) === 0 && !/^[A-Za-z0-9_.-]+$/.test(host))
      throw new SettingsError(
        'VF_HTTP_ALLOWED_HOSTS',
        `'${host}' is not an address or a host's name, without a port, such as vf.example`,
      );
  }
  return hosts;
}

function readEventLog(value = 'sqlite:'): EventLogSetting {
  if (value.startsWith('sqlite:')) {
    const file = value.slice('sqlite:'.length);
    return file === '' ? { kind: 'sqlite' } : { kind: 'sqlite', file };
  }
  if (value === 'memory:') return { kind: 'memory' };
  if (value === 'jetstream:') return { kind: 'jetstream' };
  if (/^(kurrentdb|esdb)(\+discover)?:\/\/[^\s/?]/.test(value)) return { kind: 'kurrentdb', url: value };
  // What stands before an @ is a password.
  const said = value.replace(/^(.*\/\/)?.*@/, '$1…@');
  throw new SettingsError(
    'VF_EVENT_LOG',
    `'${said}' is none of sqlite:<file>, kurrentdb://…, jetstream:, memory:`,
  );
}

function readClusters(value = '*'): readonly string[] | undefined {
  if (value === '*') return undefined;
  const clusters = value.split(',').map((cluster) => cluster.trim());
  for (const cluster of clusters) {
    if (!isIdentifier(cluster) || cluster === NO_CLUSTER) {
      throw new SettingsError(
        'VF_CLUSTERS',
        `'${cluster}' is not a cluster name: 1 to 64 of A-Z a-z 0-9 _ -`,
      );
    }
  }
  return clusters;
}

function readFiles(variable: Variable, value: string | undefined): readonly string[] | undefined {
  const files = value?.split(',').map((file) => file.trim());
  if (files?.includes('') === true)
    throw new SettingsError(variable, `'${value}' has a comma with no file beside it`);
  return files;
}

function readLevel(value = 'info'): LogLevel {
  const level = LEVELS.find((one) => one === value);
  if (level !== undefined) return level;
  throw new SettingsError('VF_LOG_LEVEL', `'${value}' is none of ${LEVELS.join(', ')}`);
}
