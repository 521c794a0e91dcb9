import type { Broker, OutputState } from '#broker';
import type { EventLog, Head } from '#log';
import type { State } from '#domain';
import { readCloudEvent } from '#wire';
import { PipelineError } from './errors.js';
import type { Logger } from './logger.js';

/**
 * Compares the log with `VF_OUT_<cluster>`: what was relayed must be a beginning of what the log holds.
 *
 * @param output the stream as it was before the log was read to its end. The other way round an allocator that
 *   still appends and relays makes the log look too short, each time again.
 * @returns the last position that was relayed; undefined when there is no stream.
 * @throws PipelineError `LOG_BEHIND`, `LOG_DIFFERS`: the cluster is not led until a person has looked;
 *   `DEPOSED`: the log is longer than `head` by now; load again.
 */
export async function verifyOutput(
  output: OutputState | undefined,
  log: EventLog,
  cluster: string,
  head: Head,
): Promise<number | undefined> {
  if (output === undefined) return undefined;
  const { lastSequence, lastPayload } = output;
  if (lastSequence > head.position) {
    const now = await log.head(cluster);
    if (now.position >= lastSequence) {
      throw new PipelineError(
        'DEPOSED',
        `cluster '${cluster}': the log went on from position ${head.position} to ${now.position} while it was being ` +
          `opened: another allocator has written to it`,
      );
    }
    throw new PipelineError(
      'LOG_BEHIND',
      `the log of cluster '${cluster}' (${log.name}) ends at position ${head.position}, and VF_OUT_${cluster} at ` +
        `${lastSequence}: the log is behind. Either it is not the log that belongs to this NATS, or it was restored from an ` +
        `older backup. Give the right log in VF_EVENT_LOG and VF_DATA_DIR; or, if the lost events are to be given up, ` +
        `delete the stream VF_OUT_${cluster}, which is then made again from the log`,
    );
  }
  if (lastPayload === undefined || lastSequence === 0) return lastSequence;
  const relayed = hashOf(lastPayload);
  const stored = await hashAt(log, cluster, lastSequence);
  if (relayed !== stored) {
    throw new PipelineError(
      'LOG_DIFFERS',
      `the log of cluster '${cluster}' (${log.name}) and VF_OUT_${cluster} tell different histories at position ` +
        `${lastSequence}: the log's hash is ${stored}, the stream's ${relayed}. It is not the log that belongs to this ` +
        `NATS, or one of the two was restored from a backup. Give the right log in VF_EVENT_LOG and VF_DATA_DIR; or delete ` +
        `the stream VF_OUT_${cluster}, which is then made again from the log`,
    );
  }
  return lastSequence;
}

function hashOf(payload: Uint8Array): string | undefined {
  try {
    const { hash } = JSON.parse(new TextDecoder().decode(payload)) as { hash?: string };
    return hash;
  } catch {
    return undefined;
  }
}

async function hashAt(log: EventLog, cluster: string, position: number): Promise<string | undefined> {
  for await (const [record] of log.read(cluster, position)) return record?.hash;
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
