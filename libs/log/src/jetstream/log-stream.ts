import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream';
import { LogError } from '../errors.js';
import type { JsConnection, StreamInfo } from './js-connection.js';
import { hasCode, JsErrorCode } from './js-errors.js';

const LOG_PREFIX = 'VF_LOG_';
const SNAPSHOT_PREFIX = 'VF_SNAPSHOT_';

export const logStream = (name: string): string => LOG_PREFIX + token(name);
export const logSubject = (name: string): string => `vf.log.${token(name)}`;
/** Where the server says that it has stored a message of the log. */
export const storedSubject = (name: string): string => `vf.logged.${token(name)}`;
export const snapshotStream = (name: string): string => SNAPSHOT_PREFIX + token(name);
export const snapshotSubject = (name: string, key: string): string => `vf.snapshot.${token(name)}.${key}`;

/** Every log's subject. */
export const ALL_LOGS = 'vf.log.*';

/** The name of the log that a stream keeps; undefined for a stream of something else. */
export const logOfStream = (stream: string): string | undefined =>
  stream.startsWith(LOG_PREFIX) ? stream.slice(LOG_PREFIX.length) : undefined;

/** A log's name becomes part of names and subjects of NATS. */
function token(name: string): string {
  if (/^[A-Za-z0-9_-]{1,200}$/.test(name)) return name;
  throw new TypeError(`'${name}' cannot be a log in JetStream: its name may have A-Z a-z 0-9 _ - only`);
}

/** What is asked of a stream. */
export type StreamPlan = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'subjects'>;

/** The log of a cluster: for ever, without limits, and nothing in it can be deleted. */
export const logPlan = (name: string, replicas: number): StreamPlan => ({
  name: logStream(name),
  description: `The event log of cluster ${name} of the VF scheduler: the only truth. Back it up.`,
  subjects: [logSubject(name)],
  storage: StorageType.File,
  num_replicas: replicas,
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.New,
  max_msgs: -1,
  max_bytes: -1,
  max_age: 0,
  max_msgs_per_subject: -1,
  max_msg_size: -1,
  deny_delete: true,
  deny_purge: true,
  allow_rollup_hdrs: false,
  allow_direct: true,
  republish: { src: logSubject(name), dest: storedSubject(name), headers_only: true },
});

/** Snapshots of a cluster: the oldest are purged. */
export const snapshotPlan = (name: string, replicas: number): StreamPlan => ({
  name: snapshotStream(name),
  description: `States of cluster ${name} of the VF scheduler, to start quicker. May be deleted.`,
  subjects: [snapshotSubject(name, '*')],
  storage: StorageType.File,
  num_replicas: replicas,
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.New,
  max_age: 0,
});

/**
 * Makes a stream; one that somebody else has made meanwhile is as good.
 *
 * @throws LogError `NOT_ALLOWED` when what is there then is not what was asked for.
 */
export async function makeStream(connection: JsConnection, plan: StreamPlan): Promise<StreamInfo> {
  let made: StreamInfo | undefined;
  try {
    made = await connection.api<StreamInfo>(`STREAM.CREATE.${plan.name}`, plan);
  } catch (error) {
    if (hasCode(error, JsErrorCode.subjectOverlap)) {
      throw new LogError(
        'NOT_ALLOWED',
        `stream ${plan.name} cannot be made: another stream stores ${plan.subjects.join(', ')}. Remove that stream or those subjects from it`,
        { cause: error },
      );
    }
    if (hasCode(error, JsErrorCode.replicasNotSupported)) {
      throw new LogError(
        'NOT_ALLOWED',
        `stream ${plan.name} cannot have ${plan.num_replicas} replicas: this nats-server is not in a cluster. Set VF_NATS_REPLICAS to 1, or use a cluster`,
        { cause: error },
      );
    }
    if (!hasCode(error, JsErrorCode.streamNameInUse)) throw error;
    made = await connection.info(plan.name);
    if (made === undefined) throw error;
  }
  // What comes back is compared: a server leaves out what it does not know, without a word.
  checkStream(plan, made);
  return made;
}

/** Settings that must be as asked for; a stream may have more replicas, or fewer, than we would make. */
const MUST_BE: readonly (keyof StreamPlan)[] = [
  'subjects',
  'storage',
  'retention',
  'discard',
  'max_msgs',
  'max_bytes',
  'max_age',
  'max_msgs_per_subject',
  'max_msg_size',
  'deny_delete',
  'deny_purge',
  'allow_rollup_hdrs',
  'allow_direct',
  'republish',
];
const MUST_NOT_BE: readonly (keyof StreamConfig)[] = [
  'mirror',
  'sources',
  'subject_transform',
  'no_ack',
  'sealed',
  'allow_msg_ttl',
];

/** @throws LogError `NOT_ALLOWED` when a stream could drop, rename or refuse what is stored in it. */
export function checkStream(plan: StreamPlan, { config }: StreamInfo): void {
  const wrong: string[] = [];
  for (const field of MUST_BE) {
    const wanted = plan[field];
    // A server leaves out what is false.
    if (wanted !== undefined && said(config[field] ?? false) !== said(wanted)) {
      wrong.push(`${field} is ${said(config[field])} and must be ${said(wanted)}`);
    }
  }
  for (const field of MUST_NOT_BE) {
    const value = config[field];
    const set = Array.isArray(value) ? value.length > 0 : Boolean(value);
    if (set && !(field === 'subject_transform' && !config.subject_transform?.dest)) {
      wrong.push(`${field} is ${said(value)} and must not be set`);
    }
  }
  if (wrong.length === 0) return;
  throw new LogError(
    'NOT_ALLOWED',
    `stream ${plan.name} is not made as a log must be, or the nats-server is too old to keep it so: ${wrong.join('; ')}. ` +
      'Mend it with "nats stream edit", or restore the stream from a backup',
  );
}

/** A setting as text, with its keys in order. */
const said = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([one], [other]) => (one < other ? -1 : 1)))
      : inner,
  );
