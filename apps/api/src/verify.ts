import { createPublicKey } from 'node:crypto';
import { STATE_VERSION } from '#domain';
import { emptyHead, isSignedBy, LogError, type Head, type SignedHead } from '#log';
import { Pace, recordAt } from '#read-model';
import type { ApiParts } from './api-parts.js';
import type { Asked } from './asked.js';
import { dearQuestionsOf } from './dear-questions.js';
import { QueryError } from './query-errors.js';
import { lastSignedHead } from './signed-heads.js';

interface Bad {
  readonly position: number;
  readonly message: string;
}

/** The same check is made once, however many ask for it at the same time. */
const underWay = new WeakMap<ApiParts, Map<string, Promise<string>>>();

/**
 * Checks a cluster's log from its first record: the hash chain; that replay gives the state that the read side
 * has, and those that leaders kept; that `VF_OUT` and the last signed head tell the same history.
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
  const { head, bad } = await checkChain(parts, cluster);
  const events = Math.max((await log.head(cluster)).position, head.position);
  const output = await checkOutput(parts, cluster, head);
  const signedHead = await checkSignedHead(parts, cluster, head);
  const states = bad === undefined ? await checkStates(parts, cluster, head) : { ok: false, checked: [] };
  const firstBad = bad ?? output.bad ?? signedHead.bad ?? states.bad;
  const ok = firstBad === undefined;
  const position = String(head.position);
  return JSON.stringify({
    position,
    events,
    ok,
    head: { position, hash: head.hash },
    ...(firstBad && { firstBad: { position: String(firstBad.position), message: firstBad.message } }),
    checks: {
      chain: { ok: bad === undefined },
      states: { ok: states.ok, checked: states.checked },
      output: { ok: output.bad === undefined, ...(output.position && { position: output.position }) },
      signedHead: {
        ok: signedHead.bad === undefined,
        ...(signedHead.position && { position: signedHead.position }),
      },
    },
  });
}

/** Records that are read at once: those of large hosts have 15 KB. */
const AT_ONCE = 128;

/** The hashes are checked by the log's own thread, where it has one. */
async function checkChain(
  { readModel: { log } }: ApiParts,
  cluster: string,
): Promise<{ head: Head; bad?: Bad }> {
  let head = emptyHead(cluster);
  const pace = new Pace();
  try {
    for await (const records of log.read(cluster, 1, { inputs: false, verify: head, most: AT_ONCE })) {
      const last = records.at(-1);
      if (last !== undefined) head = { position: last.position, hash: last.hash };
      await pace.rest();
    }
    return { head };
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== 'CORRUPT') throw error;
    return { head, bad: { position: error.position ?? head.position + 1, message: error.message } };
  }
}

interface Found {
  readonly position?: string;
  readonly bad?: Bad;
}

async function checkOutput({ broker, readModel }: ApiParts, cluster: string, head: Head): Promise<Found> {
  let output: Awaited<ReturnType<typeof broker.output.state>>;
  try {
    output = await broker.output.state(cluster);
  } catch (error) {
    // What was not looked at is not good.
    throw new QueryError(
      'UNAVAILABLE',
      `VF_OUT_${cluster} cannot be compared with the log now: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (output === undefined || output.lastSequence === 0 || output.lastPayload === undefined) return {};
  const relayed = (JSON.parse(new TextDecoder().decode(output.lastPayload)) as { hash?: string }).hash;
  return compare(readModel.log, cluster, head, output.lastSequence, relayed, `VF_OUT_${cluster}`);
}

/** Whether the log tells the history whose head was signed last. */
export async function checkSignedHead(
  { dataDir, readModel }: ApiParts,
  cluster: string,
  head: Head,
): Promise<Found> {
  let signed: SignedHead | undefined;
  try {
    signed = await lastSignedHead(dataDir, cluster);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { bad: { position: head.position, message: `the last signed head cannot be read: ${why}` } };
  }
  if (signed === undefined) return {};
  const { position, hash } = signed.manifest.head;
  if (!isSignedBy(signed, createPublicKey(signed.manifest.publicKey))) {
    return {
      bad: { position, message: 'the signature of the last signed head is not good: its file was changed' },
    };
  }
  return compare(readModel.log, cluster, head, position, hash, 'the last signed head');
}

async function compare(
  log: ApiParts['log'],
  cluster: string,
  head: Head,
  position: number,
  hash: string | undefined,
  who: string,
): Promise<Found> {
  if (position === 0) return {};
  // Between the chain's check and this one the log has grown, and so may have what was relayed.
  const record = await recordAt(log, cluster, position, { inputs: false }).catch(() => undefined);
  if (record === undefined) {
    const message = `${who} goes up to position ${position}, and the log ends at ${head.position}`;
    return { bad: { position: head.position + 1, message } };
  }
  if (record.hash !== hash) {
    return {
      bad: { position, message: `${who} and the log tell different histories: ${hash} and ${record.hash}` },
    };
  }
  return { position: String(position) };
}

interface CheckedState {
  readonly what: string;
  readonly position: string;
  readonly same: boolean;
}

/** Replays from nothing, and compares with the states that were kept or are in use. */
async function checkStates(
  { readModel }: ApiParts,
  cluster: string,
  head: Head,
): Promise<{ ok: boolean; checked: readonly CheckedState[]; bad?: Bad }> {
  const states: { what: string; position: number; state: string }[] = [];
  for (const { position, state, version } of await readModel.log.snapshots(cluster)) {
    if (version === STATE_VERSION) states.push({ what: 'snapshot of a leader', position, state });
  }
  const live = await readModel.dump(cluster);
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
    for (const { what, position, state } of states) {
      if (position !== stop) continue;
      const { fields } = await replayed.imagine('same', { state });
      const { same } = JSON.parse(`{${fields}}`) as { same: boolean };
      checked.push({ what, position: String(position), same });
    }
  });
  const differing = checked.find(({ same }) => !same);
  if (differing === undefined) return { ok: true, checked };
  const message = `replay gives another state at position ${differing.position} than the ${differing.what}`;
  return { ok: false, checked, bad: { position: Number(differing.position), message } };
}
