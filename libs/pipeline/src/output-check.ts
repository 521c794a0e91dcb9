import type { Broker, StoredOutput } from '#broker';
import type { EventLog, Pace } from '#log';
import { messageOf } from './seal.js';

/** Messages that are read at once: what they take to arrive, others wait, and the first report of a large host has 25 KB. */
const CHUNK = 32;

/** A place at which `VF_OUT_<cluster>` does not hold the event that the log has there. */
export interface BadOutput {
  readonly position: number;
  /** What is there instead, for a person. */
  readonly what: string;
}

const textOf = (payload: Uint8Array | string): string =>
  typeof payload === 'string' ? payload : Buffer.from(payload).toString();

/**
 * Compares what `VF_OUT_<cluster>` holds with the log, byte for byte. Anybody may have written what lies there, and
 * nothing about it is believed.
 *
 * @param from first position to be compared: the stream has it, or has a hole there.
 * @param to last position to be compared; the log holds it.
 * @param pace what is compared may be large, and the thread is that which decides.
 * @returns the first place where they differ; undefined when there is none.
 * @throws LogError, BrokerError when one of them cannot be read.
 */
export async function firstBadOutput(
  broker: Broker,
  log: EventLog,
  cluster: string,
  from: number,
  to: number,
  pace: Pace,
): Promise<BadOutput | undefined> {
  let next = from;
  let stored: readonly StoredOutput[] = [];
  let at = 0;
  if (next > to) return undefined;
  for await (const records of log.read(cluster, from, { inputs: false, most: CHUNK })) {
    for (const record of records) {
      if (next > to) return undefined;
      if (pace.isDue) await pace.rest();
      if (at === stored.length) {
        stored = await broker.output.read(cluster, next, Math.min(CHUNK, to - next + 1));
        at = 0;
      }
      const there = stored[at];
      if (there?.position !== next)
        return (await stillThere(broker, cluster, next)) ? missing(next) : undefined;
      const { subject, payload } = messageOf(cluster, record);
      if (there.subject !== subject || textOf(there.payload) !== textOf(payload)) return differing(there);
      at++;
      next++;
    }
  }
  // The log was said to hold all of it.
  return next > to ? undefined : { position: next, what: 'an event that the log does not have' };
}

/** Whether a position is still one that the stream keeps: its limits go on while it is read. */
async function stillThere(broker: Broker, cluster: string, position: number): Promise<boolean> {
  const state = await broker.output.state(cluster);
  return state !== undefined && position >= state.firstSequence && position <= state.lastSequence;
}

const missing = (position: number): BadOutput => ({ position, what: 'nothing: the message was removed' });

function differing({ position, subject, payload }: StoredOutput): BadOutput {
  let id: unknown;
  try {
    id = (JSON.parse(textOf(payload)) as { id?: unknown } | null)?.id;
  } catch {
    // Not even JSON.
  }
  const named = typeof id === 'string' ? ` that calls itself '${id.slice(0, 128)}'` : '';
  return { position, what: `a message${named} under ${subject.slice(0, 256)}, ${payload.length} bytes` };
}
