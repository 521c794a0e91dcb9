import {
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import { setTimeout as wait } from 'node:timers/promises';
import { ALL_DEAD, ALL_INPUTS, DEAD_STREAM, INPUT_STREAM, outputsOf, outputStream } from '#wire';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { jetStreamErrorCode, JetStreamErrorCode } from './nats-errors.js';
import { orMissing } from './nats-stored-message.js';

/** Limits of the streams: sizes in bytes, times in milliseconds. */
export interface StreamLimits {
  /** `VF_IN`; full, it refuses new messages. 1 GiB. */
  readonly inputMaxBytes?: number;
  /** Each `VF_OUT_<cluster>`; full, it drops the oldest. 4 GiB. */
  readonly outputMaxBytes?: number;
  /** 30 days. */
  readonly outputMaxAge?: number;
  /** `VF_DEAD`; full, it drops the oldest. 1 GiB. */
  readonly deadMaxBytes?: number;
  readonly storage?: 'file' | 'memory';
  /** Replicas of streams that are made; those that are there keep theirs. 1. */
  readonly replicas?: number;
}

/** What is asked of a stream. */
export type StreamPlan = Partial<StreamConfig> &
  Pick<StreamConfig, 'name' | 'subjects' | 'storage' | 'discard'>;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const DAY = 86_400_000;

/** What `VF_IN` leaves free of the server's `max_payload`, so that a copy with more headers still fits. */
const HEADER_ROOM = 64 * KIB;
const LARGEST_INPUT = MIB;
/** An input is 256 KiB at most; below this the contract cannot be kept. */
const SMALLEST_MAX_PAYLOAD = 256 * KIB + 2 * HEADER_ROOM;
/**
 * The shortest that a server takes (0 stands for two minutes): an id that a stranger has used makes the server acknowledge
 * a message with the same id and not store it. Nothing of ours has a `Nats-Msg-Id`, and nothing rests on the window.
 */
const DUPLICATE_WINDOW = 100;

const base = (
  limits: StreamLimits,
): Pick<
  StreamConfig,
  | 'storage'
  | 'num_replicas'
  | 'retention'
  | 'allow_direct'
  | 'max_msgs'
  | 'max_msgs_per_subject'
  | 'duplicate_window'
> => ({
  storage: limits.storage === 'memory' ? StorageType.Memory : StorageType.File,
  num_replicas: limits.replicas ?? 1,
  retention: RetentionPolicy.Limits,
  allow_direct: true,
  max_msgs: -1,
  max_msgs_per_subject: -1,
  duplicate_window: nanos(DUPLICATE_WINDOW),
});

/**
 * What comes under `vf.in.<cluster>` is no input, but the cluster's leader is to put it aside in its turn. It is stored under one token
 * more, so that one filter finds all that is a cluster's: a consumer with two filters takes the server fifty times as long.
 */
const BARE = '%bare';
const BARE_SUBJECT = /^(vf\.in\.[^.]+)\.%bare$/;

/** The subject under which an input was published. */
export const publishedSubject = (stored: string): string => stored.replace(BARE_SUBJECT, '$1');

/** `VF_IN`. @param maxPayload the server's. */
export function inputPlan(limits: StreamLimits, maxPayload: number): StreamPlan {
  if (maxPayload < SMALLEST_MAX_PAYLOAD) {
    throw new BrokerError(
      'REFUSED',
      `The server's max_payload is ${maxPayload} bytes, but inputs of 256 KiB and their copies need ${SMALLEST_MAX_PAYLOAD}. Raise max_payload.`,
    );
  }
  return {
    ...base(limits),
    name: INPUT_STREAM,
    subjects: [ALL_INPUTS],
    subject_transform: { src: 'vf.in.*', dest: `vf.in.{{wildcard(1)}}.${BARE}` },
    discard: DiscardPolicy.New,
    max_bytes: limits.inputMaxBytes ?? GIB,
    max_msg_size: Math.min(maxPayload - HEADER_ROOM, LARGEST_INPUT),
  };
}

/** `VF_DEAD`. */
export const deadPlan = (limits: StreamLimits): StreamPlan => ({
  ...base(limits),
  name: DEAD_STREAM,
  subjects: [ALL_DEAD],
  discard: DiscardPolicy.Old,
  max_bytes: limits.deadMaxBytes ?? GIB,
});

/** `VF_OUT_<cluster>`. @param metadata what is noted in it; what is there already and not named stays. */
export const outputPlan = (
  limits: StreamLimits,
  cluster: string,
  firstSequence: number,
  metadata: Readonly<Record<string, string>> = {},
): StreamPlan => ({
  ...base(limits),
  name: outputStream(cluster),
  subjects: [outputsOf(cluster)],
  discard: DiscardPolicy.Old,
  max_bytes: limits.outputMaxBytes ?? 4 * GIB,
  max_age: nanos(limits.outputMaxAge ?? 30 * DAY),
  ...(firstSequence > 1 && { first_seq: firstSequence }),
  ...(Object.keys(metadata).length > 0 && { metadata }),
});

/** The stream's state, asked from its leader; undefined when there is none. */
export const streamInfo = (link: NatsLink, name: string): Promise<StreamInfo | undefined> =>
  orMissing(link.call(`Asking for stream ${name}`, () => link.jetStream.streams.info(name)));

/**
 * Makes a stream that is missing; one that is there is compared with the plan, and its limits are brought up
 * to it.
 *
 * @throws BrokerError `REFUSED` when what is there contradicts the plan.
 */
export async function ensureStream(link: NatsLink, plan: StreamPlan): Promise<void> {
  const found = await streamInfo(link, plan.name);
  if (found) return settle(link, plan, found);
  try {
    // What comes back is compared too: a server leaves out what it does not know, without a word.
    const made = await link.call(`Making stream ${plan.name}`, () => link.jetStream.streams.add({ ...plan }));
    link.log('info', `Made stream ${plan.name}`);
    await settle(link, plan, made);
    await untilLed(link, plan.name);
  } catch (error) {
    switch (jetStreamErrorCode(error)) {
      case JetStreamErrorCode.streamNameInUse: {
        // Another instance was faster.
        const theirs = await streamInfo(link, plan.name);
        if (theirs) return settle(link, plan, theirs);
        throw error;
      }
      case JetStreamErrorCode.subjectOverlap:
        throw new BrokerError(
          'REFUSED',
          `Stream ${plan.name} cannot be made: ${await ownersOf(link, plan)} already stores ${plan.subjects.join(', ')}. Remove that stream or those subjects from it.`,
          { cause: error },
        );
      default:
        throw error;
    }
  }
}

/** For how long a stream that was made may have no leader, and how often it is asked, in milliseconds. */
const LEADERLESS = 5000;
const ASK_EVERY = 20;

/**
 * Waits until a stream that was just made has a leader, which on three servers takes a moment: before, a publish is
 * answered by nobody (503). Asked by the API, and not by a message: others may listen to its subjects.
 */
export async function untilLed(link: NatsLink, name: string): Promise<void> {
  const deadline = performance.now() + LEADERLESS;
  while (performance.now() < deadline) {
    const info = await streamInfo(link, name).catch(() => undefined);
    if (info !== undefined && (info.cluster === undefined || Boolean(info.cluster.leader))) return;
    await wait(ASK_EVERY);
  }
}

/** Settings that may be changed while the stream is in use. */
const UPDATABLE = [
  'max_bytes',
  'max_age',
  'max_msg_size',
  'duplicate_window',
  'discard',
  'allow_direct',
  'max_msgs',
  'max_msgs_per_subject',
] as const;

async function settle(link: NatsLink, plan: StreamPlan, found: StreamInfo): Promise<void> {
  refuseContradictions(plan, found);
  const { config } = found;
  if (config.storage !== plan.storage) {
    link.log('warn', `Stream ${plan.name} is kept in ${config.storage}, not in ${plan.storage}; it stays so`);
  }
  if (plan.num_replicas !== undefined && config.num_replicas !== plan.num_replicas) {
    link.log('info', `Stream ${plan.name} has ${config.num_replicas} replicas; it keeps them`);
  }
  const changes = differences(plan, config);
  if (Object.keys(changes).length === 0) return;
  const updated = await link.call(`Changing the limits of stream ${plan.name}`, () =>
    link.jetStream.streams.update(plan.name, changes),
  );
  link.log('info', `Changed the limits of stream ${plan.name}`, { changes });
  const left = Object.keys(differences(plan, updated.config));
  if (left.length > 0) {
    throw new BrokerError(
      'REFUSED',
      `The server did not take ${left.join(', ')} for stream ${plan.name}. Check the server's version and the account's limits.`,
    );
  }
}

function differences(plan: StreamPlan, config: StreamConfig): Partial<StreamConfig> {
  const changes: Record<string, unknown> = {};
  for (const field of UPDATABLE) {
    if (plan[field] !== undefined && plan[field] !== config[field]) changes[field] = plan[field];
  }
  const { subject_transform: renaming } = plan;
  if (renaming !== undefined && renaming.dest !== config.subject_transform?.dest)
    changes['subject_transform'] = renaming;
  const noted = Object.entries(plan.metadata ?? {}).filter(
    ([name, value]) => config.metadata?.[name] !== value,
  );
  if (noted.length > 0) changes['metadata'] = { ...config.metadata, ...Object.fromEntries(noted) };
  return changes;
}

function refuseContradictions(plan: StreamPlan, { config }: StreamInfo): void {
  const refuse = (what: string): never => {
    throw new BrokerError(
      'REFUSED',
      `Stream ${plan.name} is there, but ${what}. Rename or delete it, so that it can be made as needed.`,
    );
  };
  const subjects = config.subjects ?? [];
  if (
    subjects.length !== plan.subjects.length ||
    plan.subjects.some((subject) => !subjects.includes(subject))
  ) {
    refuse(`stores ${subjects.join(', ') || 'no subjects'} instead of ${plan.subjects.join(', ')}`);
  }
  if (config.retention !== RetentionPolicy.Limits)
    refuse(`drops what was read (retention ${config.retention})`);
  if (config.sealed) refuse('is sealed');
  if (config.no_ack) refuse('does not acknowledge (no_ack)');
  if (config.mirror || config.sources?.length) refuse('is filled from other streams');
  const { dest } = config.subject_transform ?? {};
  if (dest && dest !== plan.subject_transform?.dest) refuse('renames subjects (subject_transform)');
}

async function ownersOf(link: NatsLink, plan: StreamPlan): Promise<string> {
  const owners = new Set<string>();
  try {
    for (const subject of plan.subjects) {
      for await (const name of link.jetStream.streams.names(subject)) owners.add(name);
    }
  } catch {
    // The name only makes the sentence better.
  }
  return owners.size > 0 ? `stream ${[...owners].join(', ')}` : 'another stream';
}
