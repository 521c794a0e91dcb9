import { viewAvailability, viewHost, viewVf, viewVm, type State } from '#domain';
import type { Broker } from '#broker';
import { verifyStream, type EventLog } from '#log';
import { messageOf, systemClock, type Allocator, type Logger } from '#pipeline';
import { DataChecker, NO_CLUSTER } from '#wire';
import { AvailabilityQuery, HostQuery, OutcomeQuery, VerifyQuery, VfQuery, VmQuery } from './query.dto.js';

/** What the API needs of the process it is in. */
export interface ApiParts {
  readonly allocator: Allocator;
  readonly broker: Broker & { readonly connection?: unknown };
  readonly log: EventLog;
  readonly logger: Logger;
}

export type QueryErrorCode =
  | 'QUERY_UNKNOWN'
  | 'BAD_REQUEST'
  | 'CLUSTER_UNKNOWN'
  | 'NOT_FOUND'
  | 'NOT_LEADING'
  | 'NOT_CAUGHT_UP'
  | 'NOT_SUPPORTED';

/** A query that has no answer. The message is for a person. */
export class QueryError extends Error {
  override readonly name = 'QueryError';

  constructor(
    readonly code: QueryErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** How long `atLeast` waits, in milliseconds. */
const CATCH_UP = 5000;

type Request = Readonly<Record<string, unknown>>;
type Answer = Readonly<Record<string, unknown>>;

interface Query {
  readonly checker: DataChecker;
  answer(parts: ApiParts, cluster: string, request: Request): Promise<Answer>;
}

/** A query that the state alone answers. */
const ofState = (
  dto: new () => object,
  view: (state: State, request: Record<string, string>) => Answer | undefined,
  what: string,
): Query => ({
  checker: new DataChecker(dto),
  answer: async (parts, cluster, request) => {
    const found = await readState(parts, cluster, (state) => {
      const answer = view(state, request as Record<string, string>);
      return answer === undefined ? undefined : { position: String(state.position), ...answer };
    });
    if (found === undefined) throw new QueryError('NOT_FOUND', `cluster '${cluster}' has no such ${what}`);
    return found;
  },
});

const notLeading = (cluster: string): QueryError =>
  new QueryError(
    'NOT_LEADING',
    `cluster '${cluster}' is not led by this instance now; ask again, or ask its leader`,
  );

/** The queries of wire.md that the live state and the log answer. */
const QUERIES: Readonly<Record<string, Query>> = {
  availability: ofState(AvailabilityQuery, availability, 'host or network'),
  vm: ofState(
    VmQuery,
    (state, { vmId = '' }) => {
      const vm = state.vms.get(vmId);
      return vm === undefined ? undefined : { vm: viewVm(vm) };
    },
    'VM',
  ),
  vf: ofState(
    VfQuery,
    (state, { hostId = '', vf = '' }) => {
      const found = state.hosts.get(hostId)?.vfs.get(vf);
      return found === undefined ? undefined : { vf: viewVf(found) };
    },
    'VF',
  ),
  host: ofState(
    HostQuery,
    (state, { hostId = '' }) => {
      const host = state.hosts.get(hostId);
      return host === undefined ? undefined : { host: viewHost(host) };
    },
    'host',
  ),
  outcome: { checker: new DataChecker(OutcomeQuery), answer: outcome },
  verify: {
    checker: new DataChecker(VerifyQuery),
    answer: async ({ log }, cluster) => {
      const { events, ok, head, firstBad } = await verifyStream(log, cluster);
      const position = String(head.position);
      return { position, events, ok, head: { position, hash: head.hash }, ...(firstBad && { firstBad }) };
    },
  },
};

function availability(state: State, request: Request): Answer | undefined {
  const { hostId, physicalNetwork, networkId } = request as {
    hostId?: string;
    physicalNetwork?: string;
    networkId?: string;
  };
  if (hostId !== undefined && !state.hosts.has(hostId)) return undefined;
  let network = physicalNetwork;
  if (networkId !== undefined) {
    const l3 = state.l3Networks.get(networkId);
    network = l3 === undefined ? undefined : state.l2Networks.get(l3.l2Id)?.physicalInterface;
    if (network === undefined) return undefined;
  }
  return { ...viewAvailability(state, { hostId, network }) };
}

/** EX-6: what a request led to: the last event of its decision, or its place in `VF_DEAD`. */
async function outcome(parts: ApiParts, cluster: string, request: Request): Promise<Answer> {
  const { broker, log } = parts;
  const id = request['id'] as string;
  const { position, first } = await readState(parts, cluster, (state) => ({
    position: String(state.position),
    first: state.inputs.positionOf(id),
  }));
  if (first !== undefined) return { position, ...(await lastOfDecision(log, cluster, first)) };
  const dead = await broker.dead.find(cluster, id);
  return dead === undefined ? { position } : { position, dead: { reason: dead.reason } };
}

/** With the digest of the input, by which whoever used the id for something else notices. */
async function lastOfDecision(
  log: EventLog,
  cluster: string,
  first: number,
): Promise<{ outcome?: unknown; digest?: string }> {
  let id: string | undefined;
  let digest: string | undefined;
  let last: { causationid: string } | undefined;
  for await (const records of log.read(cluster, first, { inputs: false })) {
    for (const record of records) {
      const event = JSON.parse(messageOf(cluster, record).payload as string) as { causationid: string };
      id ??= event.causationid;
      if (event.causationid !== id) return { outcome: last, digest };
      digest ??= (JSON.parse(record.body) as { cause: { digest: string } }).cause.digest;
      last = event;
    }
  }
  return { outcome: last, digest };
}

/** Answers a query about a cluster. @throws QueryError */
export async function answerQuery(
  parts: ApiParts,
  cluster: string,
  name: string,
  request: Request,
): Promise<Answer | readonly Answer[]> {
  if (cluster === NO_CLUSTER && name === 'clusters') return clusters(parts);
  if (!Object.hasOwn(QUERIES, name)) {
    throw new QueryError(
      'QUERY_UNKNOWN',
      `there is no query '${name}'; there are ${Object.keys(QUERIES).join(', ')}`,
    );
  }
  // What another instance leads is for that one to answer.
  if (!parts.allocator.mayLead(cluster)) throw notLeading(cluster);
  if (!parts.allocator.status.has(cluster))
    throw new QueryError('CLUSTER_UNKNOWN', `there is no cluster '${cluster}'`);
  const query = QUERIES[name] as Query;
  if (request['at'] !== undefined) {
    throw new QueryError('NOT_SUPPORTED', 'this version answers for now only: leave `at` out');
  }
  const checked = query.checker.check(request);
  if ('problem' in checked) throw new QueryError('BAD_REQUEST', checked.problem.replaceAll('data.', ''));
  await catchUp(parts, cluster, checked.data['atLeast'] as string | undefined);
  return query.answer(parts, cluster, checked.data);
}

/**
 * Reads the durable state of a cluster. While the log takes nothing that is for ever, so it has an end.
 *
 * @throws QueryError `NOT_LEADING`, `NOT_CAUGHT_UP`.
 */
async function readState<T>(
  { allocator }: ApiParts,
  cluster: string,
  reader: (state: State) => T,
): Promise<T> {
  const over = new AbortController();
  const late = systemClock.sleep(CATCH_UP, over.signal).then((): never => {
    throw new QueryError('NOT_CAUGHT_UP', `the log has not taken what was decided for ${CATCH_UP / 1000} s`);
  });
  const found = allocator.read(cluster, reader);
  // The loser of the race is heard by nobody.
  late.catch(() => undefined);
  found.catch(() => undefined);
  try {
    const result = await Promise.race([found, late]);
    if (result === undefined) throw notLeading(cluster);
    return result.value;
  } finally {
    over.abort();
  }
}

/** Read your own writes: waits until a position is there. */
async function catchUp(parts: ApiParts, cluster: string, atLeast: string | undefined): Promise<void> {
  if (atLeast === undefined) return;
  const end = systemClock.now() + CATCH_UP;
  for (;;) {
    if ((await readState(parts, cluster, (state) => state.position)) >= Number(atLeast)) return;
    if (systemClock.now() >= end) {
      throw new QueryError('NOT_CAUGHT_UP', `position ${atLeast} is not there after ${CATCH_UP / 1000} s`);
    }
    await systemClock.sleep(10);
  }
}

async function clusters({ allocator, broker, log }: ApiParts): Promise<readonly Answer[]> {
  return Promise.all(
    [...allocator.status.keys()].map(async (cluster) => {
      const [leader, { position }] = await Promise.all([
        broker.leases.holder(cluster).catch(() => undefined),
        log.head(cluster),
      ]);
      return { cluster, ...(leader && { leader }), position: String(position) };
    }),
  );
}
