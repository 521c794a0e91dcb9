import { BrokerError } from '#broker';
import { STATE_VERSION, unknownVersion } from '#domain';
import { emptyHead, LogError, Pace, type EventBody, type Head } from '#log';
import { firstBadOutput, isNamedBy } from '#pipeline';
import { recordAt } from '#read-model';
import type { ApiParts } from './api-parts.js';
import type { Asked } from './asked.js';
import { dearQuestionsOf } from './dear-questions.js';
import { passedOverOf } from './passed-over.js';
import { QueryError } from './query-errors.js';
import { sameHistory, type Bad, type Found } from './same-history.js';
import { signedHeadsOf } from './signed-heads.js';

/** What answers come from is a file beside the log, which is believed but for the state that goes with it. */
const READ_SIDE_NOT_CHECKED =
  'not checked: the tables that queries are answered from are believed as they are; end the process and delete read.db first, and they are made again from the log';

/** The same check is made once, however many ask for it at the same time. */
const underWay = new WeakMap<ApiParts, Map<string, Promise<string>>>();

/**
 * Checks a cluster's log from its first record: the hash chain; that this version knows each event's; that replay gives the
 * state that the read side has, and those that leaders kept; that `VF_OUT` and the heads that were signed tell the same
 * history.
 */
export function verify({ parts, cluster }: Asked): Promise<string> {
  let running = underWay.get(parts);
  if (running === undefined) {
    running = new Map();
    underWay.set(parts, running);
  }
  let check = running.get(cluster);
  if (check === undefined) {
    check = dearQuestionsOf(parts)
      .inTurn('verify', () => verifyNow(parts, cluster))
      .finally(() => running.delete(cluster));
    running.set(cluster, check);
  }
  return check;
}

async function verifyNow(parts: ApiParts, cluster: string): Promise<string> {
  const log = parts.readModel.log;
  const { head, bad, unknown } = await checkChain(parts, cluster);
  const events = Math.max((await log.head(cluster)).position, head.position);
  const output = await checkOutput(parts, cluster, head);
  const signedHead = await signedHeadsOf(parts).check(cluster, head);
  const states =
    bad === undefined && unknown === undefined
      ? await checkStates(parts, cluster, head)
      : { ok: false, checked: [] };
  const firstBad = bad ?? unknown ?? output.bad ?? signedHead.bad ?? states.bad;
  const ok = firstBad === undefined;
  const said = signedHead.bad?.message ?? signedHead.message;
  const position = String(head.position);
  return JSON.stringify({
    position,
    events,
    ok,
    head: { position, hash: head.hash },
    ...(firstBad && { firstBad: { position: String(firstBad.position), message: firstBad.message } }),
    checks: {
      chain: { ok: bad === undefined, ...passedOverOf(log, cluster) },
      versions: { ok: unknown === undefined },
      states: { ok: states.ok, checked: states.checked },
      output: { ok: output.bad === undefined, ...(output.position && { position: output.position }) },
      signedHead: {
        ok: signedHead.bad === undefined,
        ...(signedHead.position && { position: signedHead.position }),
        ...(said && { message: said }),
      },
      readSide: { ok: true, message: READ_SIDE_NOT_CHECKED },
    },
  });
}

/** Records that are read at once: those of large hosts have 15 KB. */
const AT_ONCE = 128;

interface CheckedChain {
  /** The end of the good part. */
  readonly head: Head;
  readonly bad?: Bad;
  /** The first event of a version that is not known. */
  readonly unknown?: Bad;
}

/** The hashes are checked by the log's own thread, where it has one. */
async function checkChain({ readModel: { log } }: ApiParts, cluster: string): Promise<CheckedChain> {
  let head = emptyHead(cluster);
  let unknown: Bad | undefined;
  const pace = new Pace();
  try {
    for await (const records of log.read(cluster, 1, { inputs: false, verify: head, most: AT_ONCE })) {
      for (const { position, hash, body } of records) {
        if (pace.isDue) await pace.rest();
        if (unknown === undefined) {
          const message = unknownIn(position, body);
          if (message !== undefined) unknown = { position, message };
        }
        head = { position, hash };
      }
      await pace.rest();
    }
    return { head, ...(unknown && { unknown }) };
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== 'CORRUPT') throw error;
    const bad = { position: error.position ?? head.position + 1, message: error.message };
    return { head, bad, ...(unknown && { unknown }) };
  }
}

function unknownIn(position: number, body: string): string | undefined {
  try {
    const { type, schema, decider } = JSON.parse(body) as EventBody;
    return unknownVersion(position, type, schema, decider);
  } catch {
    return `the record at position ${position} is no event: its body is not JSON`;
  }
}

/** Whether all that `VF_OUT` keeps is what the log holds there: anybody may have written it, or taken something out. */
async function checkOutput({ broker, readModel }: ApiParts, cluster: string, head: Head): Promise<Found> {
  const stream = `VF_OUT_${cluster}`;
  const unheard = (error: unknown): QueryError =>
    // What was not looked at is not good.
    new QueryError(
      'UNAVAILABLE',
      `${stream} cannot be compared with the log now: ${error instanceof Error ? error.message : String(error)}`,
    );
  const output = await broker.output.state(cluster).catch((error: unknown) => {
    throw unheard(error);
  });
  if (output === undefined || output.lastSequence === 0 || output.lastPayload === undefined) return {};
  const { firstSequence: first, lastSequence: last, lastPayload } = output;
  const ends = await sameHistory(readModel.log, cluster, head, last, hashOf(lastPayload), stream);
  if (ends.bad !== undefined) return ends;
  const bad = await firstBadOutput(broker, readModel.log, cluster, first, last, new Pace()).catch(
    (error: unknown) => {
      throw error instanceof BrokerError ? unheard(error) : error;
    },
  );
  if (bad === undefined) return ends;
  const message = `${stream} does not hold the log's event at position ${bad.position}, but ${bad.what}`;
  return { bad: { position: bad.position, message } };
}

/** The hash that an event names; undefined where it is none. */
function hashOf(payload: Uint8Array): string | undefined {
  try {
    const event = JSON.parse(new TextDecoder().decode(payload)) as { hash?: unknown } | null;
    return typeof event?.hash === 'string' ? event.hash : undefined;
  } catch {
    return undefined;
  }
}

interface CheckedState {
  readonly what: string;
  readonly position: string;
  readonly same: boolean;
  /** Of a snapshot that the log does not name, so that no leader believes it. */
  readonly named?: false;
}

/** Replays from nothing, and compares with the states that were kept or are in use. */
async function checkStates(
  { readModel }: ApiParts,
  cluster: string,
  head: Head,
): Promise<{ ok: boolean; checked: readonly CheckedState[]; bad?: Bad }> {
  const states: { what: string; position: number; state: string; named?: false }[] = [];
  // A state of a large fleet has megabytes: to take it over, to hash it, to hand it on are some milliseconds each.
  const pace = new Pace();
  for (const snapshot of await readModel.log.snapshots(cluster)) {
    await pace.rest();
    const { position, state, version } = snapshot;
    if (version !== STATE_VERSION) continue;
    const behind = await recordAt(readModel.log, cluster, position + 1, { inputs: false });
    const named = isNamedBy(snapshot, behind) ? undefined : ({ named: false } as const);
    states.push({ what: 'snapshot of a leader', position, state, ...named });
  }
  await pace.rest();
  const live = await readModel.dump(cluster);
  await pace.rest();
  if (live !== undefined && live.position > 0) states.push({ what: 'read side', ...live });
  states.sort((a, b) => a.position - b.position);
  // A state ahead of what was checked: the log has grown meanwhile, or has lost its tail.
  const last = states.at(-1);
  if (last !== undefined && last.position > head.position) {
    const there = await recordAt(readModel.log, cluster, last.position, { inputs: false });
    if (there === undefined) {
      const message = `the ${last.what} goes up to position ${last.position}, and the log ends at ${head.position}`;
      return { ok: false, checked: [], bad: { position: head.position + 1, message } };
    }
  }
  const checked: CheckedState[] = [];
  const stops = [...new Set(states.map(({ position }) => position))];
  await readModel.replay(cluster, stops, async (stop, replayed) => {
    for (const { what, position, state, named } of states) {
      if (position !== stop) continue;
      await pace.rest();
      const { fields } = await replayed.imagine('same', { state });
      const { same } = JSON.parse(`{${fields}}`) as { same: boolean };
      checked.push({ what, position: String(position), same, ...(named === false && { named }) });
    }
  });
  const differing = checked.find(({ same }) => !same);
  if (differing === undefined) return { ok: true, checked };
  const message = `replay gives another state at position ${differing.position} than the ${differing.what}`;
  return { ok: false, checked, bad: { position: Number(differing.position), message } };
}
