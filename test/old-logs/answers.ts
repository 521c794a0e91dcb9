import { isDeepStrictEqual } from 'node:util';

/** What was asked of a log, and what it answered. */
export interface Answered {
  readonly query: string;
  readonly request: Readonly<Record<string, string>>;
  readonly answer: unknown;
}

/** Positions are asked for in so many steps. */
const MOMENTS = 12;
const CLUSTER = 'default';

/** Asks over HTTP. @throws Error with what came instead of an answer. */
export async function ask(
  http: string,
  query: string,
  request: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const url = `${http}/v1/clusters/${CLUSTER}/${query}?${new URLSearchParams(request).toString()}`;
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${await reply.text()}`);
  return reply.json();
}

interface Event {
  readonly time: string;
  readonly causationid: string;
}

/** Everything that a log can be asked about its past: as of moments, the history, each decision again, and verify. */
export async function askAll(http: string): Promise<readonly Answered[]> {
  const answers: Answered[] = [];
  const note = async (query: string, request: Readonly<Record<string, string>> = {}): Promise<unknown> => {
    const answer = await ask(http, query, request);
    answers.push({ query, request, answer });
    return answer;
  };
  const events: Event[] = [];
  for (let cursor: string | undefined, more = true; more;) {
    const request: Record<string, string> = { limit: '1000', ...(cursor !== undefined && { cursor }) };
    const page = (await ask(http, 'history', request)) as { events: Event[]; cursor?: string };
    answers.push({
      query: 'history',
      request: { limit: '1000', from: String(events.length + 1) },
      answer: { events: page.events },
    });
    events.push(...page.events);
    cursor = page.cursor;
    more = cursor !== undefined;
  }
  const { length } = events;
  const positions = Array.from({ length: MOMENTS }, (_, index) =>
    Math.ceil(((index + 1) * length) / MOMENTS),
  );
  const moments = [...new Set([1, ...positions].flatMap((at) => [String(at), events[at - 1]!.time]))];
  for (const at of moments) {
    const { hosts } = (await note('hosts', { at })) as { hosts: { hostId: string }[] };
    for (const { hostId } of hosts) await note('vfs', { hostId, at });
    for (const query of ['vms', 'networks', 'policy', 'availability']) await note(query, { at });
  }
  const { hosts } = (await ask(http, 'hosts')) as { hosts: { hostId: string }[] };
  for (const { hostId } of hosts) {
    const { vfs } = (await ask(http, 'vfs', { hostId })) as { vfs: { vf: string }[] };
    for (const { vf } of vfs) await note('tenants', { hostId, vf, at: String(length) });
  }
  const [from, to] = [events[0]!.time, events[length - 1]!.time];
  for (const by of ['vm', 'tenant', 'pf']) await note('usage', { from, to, by });
  for (const id of new Set(events.map(({ causationid }) => causationid))) {
    await note('explain', { id });
    await note('outcome', { id });
  }
  await note('verify');
  return answers;
}

/**
 * How an answer of today differs from one of then: undefined when all that was said then is still said. A later
 * version may say more, by more fields of an object.
 *
 * @returns the place of the first difference, and what stands there.
 */
export function difference(then: unknown, now: unknown, place = ''): string | undefined {
  if (Array.isArray(then) && Array.isArray(now) && then.length === now.length) {
    return first(then, (one, index) => difference(one, now[index], `${place}[${index}]`));
  }
  if (isObject(then) && isObject(now)) {
    return first(Object.entries(then), ([name, value]) => difference(value, now[name], `${place}.${name}`));
  }
  if (isDeepStrictEqual(then, now)) return undefined;
  return `${place}: it was ${JSON.stringify(then)}, and is ${JSON.stringify(now)}`;
}

function first<T>(
  items: readonly T[],
  look: (item: T, index: number) => string | undefined,
): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = look(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
