import { followOutput, outputSpan, type NatsLink, BrokerError } from '#broker';
import { outputSubject, type OutgoingEvent, type SubjectKind } from '#wire';
import { VfError } from './errors.js';

/** Which events, and from where. */
export interface FollowOptions {
  /**
   * The position after which to begin: keep that of the last event you have dealt with. `0` (the default)
   * begins with the oldest, `now` with what comes next.
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

/**
 * The events of a cluster in order, each once, over reconnects and restarts: their positions have no gaps
 * unless you asked for some of them only.
 *
 * @throws VfError `EVENTS_GONE` when `VF_OUT` no longer has what comes after that position.
 */
export async function* follow(
  link: NatsLink,
  cluster: string,
  { after = 0, about, types, signal, readAhead = 512 }: FollowOptions,
): AsyncGenerator<OutgoingEvent, void, undefined> {
  let position = await startOf(link, cluster, after, signal);
  if (position === undefined) return;
  const all = about === undefined;
  const follower = followOutput(link, cluster, position, {
    maxMessages: readAhead,
    maxBytes: MAX_BYTES,
    ...(about && { subjects: [outputSubject(cluster, about.kind, about.id, '*')] }),
  });
  const close = (): void => void follower.close();
  signal?.addEventListener('abort', close);
  try {
    while (!signal?.aborted) {
      const events = await follower.take();
      if (events === undefined) return;
      for (const { position: at, payload } of events) {
        if (all && at !== position + 1) throw gone(cluster, position + 1, at);
        position = at;
        const event = JSON.parse(Buffer.from(payload).toString('utf8')) as OutgoingEvent;
        if (types === undefined || types.includes(event.type)) yield event;
        if (signal?.aborted) return;
      }
    }
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    const code = error.code === 'INPUT_REPLACED' ? 'EVENTS_GONE' : 'UNAVAILABLE';
    throw new VfError(code, error.message, { cluster, after: String(position) }, { cause: error });
  } finally {
    signal?.removeEventListener('abort', close);
    await follower.close();
  }
}

/** The position to begin after; waits for a cluster that has no event yet. */
async function startOf(
  link: NatsLink,
  cluster: string,
  after: number | string,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const asked = after === 'now' ? undefined : Number(after);
  if (asked !== undefined && !(Number.isSafeInteger(asked) && asked >= 0))
    throw new VfError('BAD_INPUT', `'${after}' is not a position: digits, or 'now'`);
  for (;;) {
    if (signal?.aborted) return undefined;
    if (link.closed) throw new VfError('CLOSED', 'the client is closed');
    await link.whenConnected();
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
      // "From the oldest" is what asks for no position of its own.
      if (asked === 0) return span.first - 1;
      if (asked + 1 < span.first) throw gone(cluster, asked + 1, span.first);
      return asked;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
  }
}

const gone = (cluster: string, wanted: number, first: number): VfError =>
  new VfError(
    'EVENTS_GONE',
    `VF_OUT_${cluster} no longer has position ${wanted}; the oldest it has is ${first}. Ask 'history' for what is between, and follow after ${first - 1}`,
    { cluster, first: String(first) },
  );
