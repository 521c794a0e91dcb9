import { setTimeout as wait } from 'node:timers/promises';
import { followOutput, outputSpan, type NatsLink, BrokerError } from '#broker';
import { isIdentifier, outputSubject, type OutgoingEvent, type SubjectKind } from '#wire';
import { VfError } from './errors.js';
import { checkSignal, checkWhole } from './patience.js';

/** Which events, and from where. */
export interface FollowOptions {
  /**
   * The position after which to begin: keep that of the last event you have dealt with. `0` is the cluster's
   * first event. Left out, or `now`: what comes next.
   */
  readonly after?: number | string;
  /** Only what is about one VM, host or network; the server sends nothing else. */
  readonly about?: { readonly kind: SubjectKind; readonly id: string };
  /** Only events of these types. */
  readonly types?: readonly string[];
  /** Ends the following. */
  readonly signal?: AbortSignal;
  /** How many events are read ahead; 512. It is held back while you are busy. */
  readonly readAhead?: number;
}

const MAX_BYTES = 4 * 1024 * 1024;
const LOOK_AGAIN = 500;
const KINDS: ReadonlySet<unknown> = new Set<SubjectKind>(['vm', 'host', 'network', 'cluster']);

/**
 * The events of a cluster in order, each once, over reconnects and restarts: their positions have no gaps
 * unless you asked for some of them only.
 *
 * @throws VfError `EVENTS_GONE` when `VF_OUT` no longer has what comes after that position; `BAD_INPUT`.
 */
export async function* follow(
  link: NatsLink,
  cluster: string,
  options: FollowOptions,
  closing: AbortSignal,
): AsyncGenerator<OutgoingEvent, void, undefined> {
  checkOptions(options);
  const { after = 'now', about, types, signal: asked, readAhead = 512 } = options;
  const signal = asked === undefined ? closing : AbortSignal.any([closing, asked]);
  let position = await startOf(link, cluster, after, signal);
  if (position === undefined) return;
  const all = about === undefined;
  const follower = followOutput(link, cluster, position, {
    maxMessages: readAhead,
    maxBytes: MAX_BYTES,
    ...(about && { subjects: [outputSubject(cluster, about.kind, about.id, '*')] }),
  });
  const close = (): void => void follower.close();
  signal.addEventListener('abort', close);
  // Whoever owns the connection may close it too.
  const stop = link.onBreak(() => link.closed && close());
  try {
    while (!signal.aborted && !link.closed) {
      const events = await follower.take();
      if (events === undefined) return;
      for (const { position: at, payload } of events) {
        if (all && at !== position + 1) throw gone(cluster, position + 1, at);
        position = at;
        const event = JSON.parse(Buffer.from(payload).toString('utf8')) as OutgoingEvent;
        if (types === undefined || types.includes(event.type)) yield event;
        if (signal.aborted) return;
      }
    }
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    if (signal.aborted || link.closed) return;
    const code = error.code === 'INPUT_REPLACED' ? 'EVENTS_GONE' : 'UNAVAILABLE';
    throw new VfError(code, error.message, { cluster, after: String(position) }, { cause: error });
  } finally {
    signal.removeEventListener('abort', close);
    stop();
    await follower.close();
  }
}

/** The position to begin after; waits for a cluster that has no event yet. */
async function startOf(
  link: NatsLink,
  cluster: string,
  after: number | string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const asked = after === 'now' ? undefined : positionOf(after);
  while (!signal.aborted && !link.closed) {
    await connectedOrAborted(link, signal);
    const span = await outputSpan(link, cluster).catch((error: unknown) => {
      if (error instanceof BrokerError && error.code === 'REFUSED')
        throw new VfError('UNAVAILABLE', error.message, { cluster }, { cause: error });
      return undefined;
    });
    if (span !== undefined) {
      if (asked === undefined) return span.last;
      if (asked > span.last)
        throw new VfError(
          'BAD_INPUT',
          `cluster '${cluster}' is at position ${span.last}: there is no position ${asked} yet`,
          { cluster, last: String(span.last) },
        );
      if (asked + 1 < span.first) throw gone(cluster, asked + 1, span.first);
      return asked;
    }
    await wait(LOOK_AGAIN, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

/** Leaves nothing behind at the signal: that of a client outlives all that it follows. */
async function connectedOrAborted(link: NatsLink, signal: AbortSignal): Promise<void> {
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  await Promise.race([link.whenConnected(), ended]).finally(() => signal.removeEventListener('abort', end));
}

/** A text that is no position would be 0 to `Number`, and 0 is the first event of all. */
function positionOf(after: unknown): number {
  const position =
    typeof after === 'number' || (typeof after === 'string' && /^\d+$/.test(after)) ? Number(after) : -1;
  if (Number.isSafeInteger(position) && position >= 0) return position;
  throw new VfError('BAD_INPUT', `'${String(after)}' is not a position: digits, or 'now'`);
}

/** @throws VfError `BAD_INPUT` for what would wait for ever for events that cannot be. */
function checkOptions({ about, types, signal, readAhead }: FollowOptions): void {
  checkWhole('readAhead', readAhead, 1);
  checkSignal(signal);
  const bad = (problem: string): never => {
    throw new VfError('BAD_INPUT', problem);
  };
  if (
    about !== undefined &&
    !(KINDS.has(about?.kind) && typeof about.id === 'string' && isIdentifier(about.id))
  )
    bad(`about must be a kind (${[...KINDS].join(', ')}) and an id of 1 to 64 of A-Z a-z 0-9 _ -`);
  const texts = Array.isArray(types) && types.every((type) => typeof type === 'string' && type !== '');
  if (types !== undefined && !(texts && types.length > 0)) bad('types must be a list of types, one at least');
}

const gone = (cluster: string, wanted: number, first: number): VfError =>
  new VfError(
    'EVENTS_GONE',
    `VF_OUT_${cluster} no longer has position ${wanted}; the oldest it has is ${first}. Ask 'history' for what is between, and follow after ${first - 1}`,
    { cluster, first: String(first) },
  );
