import { systemClock } from '#pipeline';
import type { At } from '#read-model';
import { isPosition } from '#wire';
import type { ApiParts } from './api-parts.js';
import { QueryError } from './query-errors.js';

/** How long a query waits for what it needs, in milliseconds. */
const CATCH_UP = 5000;

/** A time in milliseconds since 1970, with what it says below a millisecond. */
export function millisOf(time: string): number {
  const [, digits = ''] = /\.(\d+)/.exec(time) ?? [];
  // The digits below a millisecond one by one: 0.57 * 1000 is not 570 for every such number.
  return Date.parse(time) + Number(`0.${digits.slice(3)}0`);
}

/** The moment that a query names. Events have times in whole milliseconds: what is below makes none earlier. */
export const momentOf = (text: string): NonNullable<At> =>
  isPosition(text) ? { position: Number(text) } : { time: Date.parse(text) };

/**
 * Waits until the read side holds what a query asks for: the position that it names, or all that was durable
 * when it came.
 *
 * @throws QueryError `BAD_REQUEST` for a moment that has not come, `NOT_CAUGHT_UP`; ReadError.
 */
export async function untilFresh(
  parts: ApiParts,
  cluster: string,
  request: { readonly at?: string; readonly atLeast?: string },
): Promise<void> {
  const { readModel } = parts;
  if (request.atLeast !== undefined) await readModel.until(cluster, Number(request.atLeast), CATCH_UP);
  const at = request.at === undefined ? undefined : momentOf(request.at);
  if (at !== undefined && 'time' in at && (await isFuture(parts, cluster, at.time))) {
    throw new QueryError('BAD_REQUEST', `at: ${request.at} is in the future; leave it out to ask about now`);
  }
  if (at !== undefined && 'position' in at) {
    const known = readModel.status.get(cluster)?.position ?? 0;
    if (at.position > known) {
      const end = await durableEnd(parts, cluster);
      if (at.position > end) {
        throw new QueryError(
          'BAD_REQUEST',
          `at: position ${at.position} is beyond the log, which ends at ${end}`,
        );
      }
    }
    return readModel.until(cluster, at.position, CATCH_UP);
  }
  if (request.atLeast === undefined)
    await readModel.until(cluster, await durableEnd(parts, cluster), CATCH_UP);
}

/**
 * Whether a time has not come yet: by NATS's time, with which events are decided, and by the log's own, where that
 * is ahead of it. The clock of this process does not matter.
 */
async function isFuture(parts: ApiParts, cluster: string, time: number): Promise<boolean> {
  const { broker, readModel } = parts;
  if (time <= broker.now()) return false;
  await readModel.until(cluster, await durableEnd(parts, cluster), CATCH_UP);
  const { fields } = await readModel.ask({ cluster, name: 'moment', request: {} });
  return time > (JSON.parse(`{${fields}}`) as { time: number }).time;
}

/** The end of what is durable: the leader knows it, a standby asks the log. */
async function durableEnd({ allocator, log }: ApiParts, cluster: string): Promise<number> {
  const status = allocator.status.get(cluster);
  if (status?.role === 'leader') return status.durable;
  const over = new AbortController();
  const late = systemClock.sleep(CATCH_UP, over.signal).then((): never => {
    throw new QueryError(
      'NOT_CAUGHT_UP',
      `the log did not say in ${CATCH_UP / 1000} s where it ends; ask with "atLeast": "0" for what is here`,
    );
  });
  const head = log.head(cluster);
  // The loser of the race is heard by nobody.
  late.catch(() => undefined);
  head.catch(() => undefined);
  try {
    return (await Promise.race([head, late])).position;
  } catch (error) {
    if (error instanceof QueryError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new QueryError(
      'NOT_CAUGHT_UP',
      `the log cannot be asked where it ends (${why}); ask with "atLeast": "0" for what is here`,
    );
  } finally {
    over.abort();
  }
}
