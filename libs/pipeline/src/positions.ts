import type { Broker, OutputState } from '#broker';
import { eventId, type EventLog, type Head } from '#log';
import type { State } from '#domain';
import { readCloudEvent } from '#wire';
import { PipelineError } from './errors.js';
import type { Logger } from './logger.js';

/** Messages that are looked at in one go. */
const SOME = 100;

/** What a stream of a cluster's events says about the log. */
export interface VerifiedOutput {
  /** The last position that was relayed; undefined: the relay must look, because something else lies there too. */
  readonly relayed: number | undefined;
}

/**
 * Compares the log with `VF_OUT_<cluster>`: what was relayed must be a beginning of what the log holds. What could not be
 * an event of this cluster is a stranger's, and the relay puts it right; whatever else is there that the log does not have
 * may be history, and a person must look.
 *
 * @param output the stream as it was before the log was read to its end. The other way round an allocator that
 *   still appends and relays makes the log look too short, each time again.
 * @param identity of the log; undefined: it is empty.
 * @returns undefined when there is no stream.
 * @throws PipelineError `OTHER_LOG`, `LOG_BEHIND`, `LOG_DIFFERS`: the cluster is not led until a person has looked;
 *   `DEPOSED`: the log is longer than `head` by now; load again.
 */
export async function verifyOutput(
  output: OutputState | undefined,
  { broker, log }: { readonly broker: Broker; readonly log: EventLog },
  cluster: string,
  head: Head,
  identity: string | undefined,
): Promise<VerifiedOutput | undefined> {
  if (output === undefined) return undefined;
  const { lastSequence, lastPayload } = output;
  if (lastSequence <= head.position) {
    if (lastPayload === undefined || lastSequence === 0) {
      refuseOtherLog(output, log, cluster, identity);
      return { relayed: lastSequence };
    }
    const stored = await hashAt(log, cluster, lastSequence);
    const relayed = eventAt(cluster, lastSequence, lastPayload);
    // That it fits says more than what is noted: the note is for what does not.
    if (relayed?.hash === stored) return { relayed: lastSequence };
    refuseOtherLog(output, log, cluster, identity);
    if (relayed === undefined) return { relayed: undefined };
    throw new PipelineError(
      'LOG_DIFFERS',
      `the log of cluster '${cluster}' (${log.name}) and VF_OUT_${cluster} tell different histories at position ` +
        `${lastSequence}: the log's hash is ${stored}, the stream's ${relayed.hash}. It is not the log that belongs to this ` +
        `NATS, or one of the two was restored from a backup. Give the right log in VF_EVENT_LOG and VF_DATA_DIR; or delete ` +
        `the stream VF_OUT_${cluster}, which is then made again from the log`,
    );
  }
  const now = await log.head(cluster);
  if (now.position >= lastSequence) {
    throw new PipelineError(
      'DEPOSED',
      `cluster '${cluster}': the log went on from position ${head.position} to ${now.position} while it was being ` +
        `opened: another allocator has written to it`,
    );
  }
  refuseOtherLog(output, log, cluster, identity);
  if (await holdsEvent(broker, cluster, Math.max(head.position + 1, output.firstSequence))) {
    throw new PipelineError(
      'LOG_BEHIND',
      `the log of cluster '${cluster}' (${log.name}) ends at position ${head.position}, and VF_OUT_${cluster} at ` +
        `${lastSequence}: the log is behind. Either it is not the log that belongs to this NATS, or it was restored from an ` +
        `older backup. Give the right log in VF_EVENT_LOG and VF_DATA_DIR; or, if the lost events are to be given up, ` +
        `delete the stream VF_OUT_${cluster}, which is then made again from the log`,
    );
  }
  return { relayed: undefined };
}

/** @throws PipelineError `OTHER_LOG` when the stream takes the events of another log. */
function refuseOtherLog(
  output: OutputState,
  log: EventLog,
  cluster: string,
  identity: string | undefined,
): void {
  if (output.log === undefined || output.log === identity) return;
  throw otherLog(
    cluster,
    log,
    identity,
    `VF_OUT_${cluster} takes the events of the log that begins with ${output.log}`,
  );
}

/** What keeps a log from being used where another one is. @param fact what names the other one. */
export const otherLog = (
  cluster: string,
  log: EventLog,
  identity: string | undefined,
  fact: string,
): PipelineError =>
  new PipelineError(
    'OTHER_LOG',
    `the log of cluster '${cluster}' (${log.name}) ` +
      (identity === undefined ? 'is empty' : `begins with ${identity}`) +
      `, and ${fact}: it is not the log that belongs to this NATS. All allocators of a site work on one log: give it in ` +
      `VF_EVENT_LOG and VF_DATA_DIR. A SQLite file serves one machine; several need a log in JetStream or KurrentDB`,
  );

/** The identity of a log: the hash of its first record; undefined while it is empty. */
export const identityOf = (log: EventLog, cluster: string): Promise<string | undefined> =>
  hashAt(log, cluster, 1);

/** Whether the stream holds, from a position on, what could be an event of the cluster there. */
async function holdsEvent(broker: Broker, cluster: string, from: number): Promise<boolean> {
  for (let next = from; ;) {
    const stored = await broker.output.read(cluster, next, SOME);
    if (stored.some(({ position, payload }) => eventAt(cluster, position, payload) !== undefined))
      return true;
    const last = stored.at(-1);
    if (last === undefined) return false;
    next = last.position + 1;
  }
}

/** What could be the event at a position, going by what anybody can see; undefined: it is surely something else. */
function eventAt(
  cluster: string,
  position: number,
  payload: Uint8Array,
): { readonly hash: string } | undefined {
  let event: unknown;
  try {
    event = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return undefined;
  }
  const { hash, id, source, position: said } = (event ?? {}) as Readonly<Record<string, unknown>>;
  const isEvent =
    typeof hash === 'string' &&
    /^[0-9a-f]{64}$/.test(hash) &&
    id === eventId(hash) &&
    source === `/vf-scheduler/${cluster}` &&
    said === String(position);
  return isEvent ? { hash } : undefined;
}

async function hashAt(log: EventLog, cluster: string, position: number): Promise<string | undefined> {
  for await (const [record] of log.read(cluster, position, { inputs: false, most: 1 })) return record?.hash;
  return undefined;
}

/**
 * Where in `VF_IN` a leader goes on: behind the last input that the log names as a cause, if that message is
 * still the one it was (or is purged, which is normal); from the stream's first message if `VF_IN` was made
 * again or lost its tail. Inputs that come twice this way are repeats, and change nothing (EX-6).
 *
 * @returns the sequence after which to follow.
 */
export async function resumeAfter(broker: Broker, state: State, logger: Logger): Promise<number> {
  const info = await broker.input.info();
  const cause = state.lastCause;
  if (cause === undefined) return 0;
  const again = (why: string): number => {
    logger.warn(
      `VF_IN is not what the log of '${state.cluster}' followed: ${why}; reading it from its first message`,
      {
        sequence: cause.sequence,
        stream: cause.stream,
        now: info,
      },
    );
    return 0;
  };
  if (info.created !== cause.stream) return again(`it was made at ${info.created}, not at ${cause.stream}`);
  if (info.lastSequence < cause.sequence)
    return again(`it ends at ${info.lastSequence}, before ${cause.sequence}`);
  const message = await broker.input.get(cause.sequence);
  if (message === undefined) return cause.sequence;
  const read = readCloudEvent(message.payload, message.headers);
  const id = 'event' in read ? read.event.id : read.id;
  return id === cause.id ? cause.sequence : again(`sequence ${cause.sequence} is '${id}', not '${cause.id}'`);
}
