import { LogError } from '#log';
import type { Answered, CandidatesRequest, PlannedInput } from '#read-model';
import { ReadError } from '#read-model';
import { DataChecker, INPUT_CATALOG, isInputType, NO_CLUSTER } from '#wire';
import type { ApiParts } from './api-parts.js';
import type { Asked, QueryRequest } from './asked.js';
import { explain, history, outcome } from './audit.js';
import { readCursor, writeCursor } from './cursor.js';
import { dearQuestionsOf, type DearKind } from './dear-questions.js';
import { millisOf, momentOf, untilFresh } from './freshness.js';
import * as dto from './query.dto.js';
import { QueryError } from './query-errors.js';
import { verify } from './verify.js';

/** A query: how it is asked, and how it is answered. */
export interface Query {
  readonly dto: new () => object;
  /** @returns JSON text. */
  answer(asked: Asked): Promise<string>;
  /** The field of the answer that is a table, for CSV and NDJSON. */
  readonly table?: string;
  /** Its columns, where they depend on what is asked. */
  columns?(request: QueryRequest): readonly string[];
  /** It is a POST over HTTP: what it asks for does not fit into an address. */
  readonly post?: boolean;
  /** It waits by itself, or needs no waiting. */
  readonly always?: boolean;
  /** What it is dear in; it is, unless {@link Query.isCheap} says otherwise. */
  readonly dear?: DearKind;
  isCheap?(request: QueryRequest): boolean;
  readonly description: string;
}

type Temporal = { readonly at?: string };

const text = ({ position, fields }: Answered, cursor?: string): string => {
  const rest = cursor === undefined ? '' : `,"cursor":"${cursor}"`;
  return `{"position":"${position}"${fields === '' ? '' : ','}${fields}${rest}}`;
};

const at = (request: QueryRequest): { at?: ReturnType<typeof momentOf> } => {
  const { at: moment } = request as Temporal;
  return moment === undefined ? {} : { at: momentOf(moment) };
};

/** Rows that every question may have without waiting for others. */
const FEW_ROWS = 100;
/** And events: each is read from the log. */
const FEW_EVENTS = 10;

/** A question that the temporal tables answer. */
const ofTables = (name: string, description: string, asks: new () => object, table?: string): Query => ({
  dto: asks,
  description,
  ...(table === undefined ? undefined : { table }),
  answer: async ({ parts, cluster, request }) =>
    text(await parts.readModel.ask({ cluster, name, request, ...at(request) })),
});

/** A list of the temporal tables, a page at a time; all pages are about the position of the first. */
const ofList = (name: string, description: string, asks: new () => object): Query => ({
  dto: asks,
  description,
  table: name,
  dear: 'tables',
  isCheap: ({ limit }) => Number(limit ?? 0) <= FEW_ROWS,
  answer: async ({ parts, cluster, request }) => {
    const {
      cursor,
      limit,
      atLeast: _,
      ...filters
    } = request as { cursor?: string; limit?: number; atLeast?: string };
    const question = { name, cluster, filters };
    const place = cursor === undefined ? undefined : readCursor(question, cursor);
    const moment = place === undefined ? at(request) : { at: { position: place.position } };
    const answered = await parts.readModel.ask({
      cluster,
      name,
      request: filters,
      ...moment,
      ...(place === undefined ? undefined : { after: place.after }),
      limit: limit ?? 100,
    });
    const { position, next } = answered;
    return text(answered, next === undefined ? undefined : writeCursor(question, { position, after: next }));
  },
});

/** A question that a whole state answers. */
const ofState = (name: string, description: string, asks: new () => object, table: string): Query => ({
  dto: asks,
  description,
  table,
  dear: 'states',
  answer: async ({ parts, cluster, request }) => {
    const position = await parts.readModel.positionOf(cluster, at(request).at);
    return text(await parts.readModel.withState(cluster, position, (state) => state.imagine(name, request)));
  },
});

/**
 * HOST-9: what its leader has heard of a host since, which the log does not show as long as nothing changes. An
 * instance that does not lead says what the log shows.
 */
function heardLately({ allocator }: ApiParts, cluster: string, answered: Answered): Answered {
  const { host } = JSON.parse(`{${answered.fields}}`) as {
    host: { hostId: string; bootId: string; lastSeq: number; lastReportAt: string };
  };
  const last = allocator.lastReport(cluster, host.hostId);
  if (last === undefined || last.bootId !== host.bootId || last.at < Date.parse(host.lastReportAt))
    return answered;
  const heard = { ...host, lastSeq: last.seq, lastReportAt: new Date(last.at).toISOString() };
  return { ...answered, fields: `"host":${JSON.stringify(heard)}` };
}

const USAGE_KEYS = { vm: ['vmId'], tenant: ['tenant'], pf: ['hostId', 'pf'] } as const;

/** Every query of the contract. */
export const QUERIES: Readonly<Record<string, Query>> = {
  availability: {
    ...ofTables('availability', 'VFs by PF: of the fleet, a host or a network', dto.AvailabilityQuery, 'pfs'),
    dear: 'tables',
    isCheap: ({ hostId, summary }) => hostId !== undefined || summary === true,
  },
  vm: ofTables('vm', 'a VM with its NICs', dto.VmQuery),
  vf: ofTables('vf', 'a VF and who holds it', dto.VfQuery),
  host: {
    dto: dto.HostQuery,
    description: 'a host with its PFs and VMs',
    answer: async ({ parts, cluster, request }) => {
      const answered = await parts.readModel.ask({ cluster, name: 'host', request, ...at(request) });
      return at(request).at === undefined ? text(heardLately(parts, cluster, answered)) : text(answered);
    },
  },
  hosts: ofList('hosts', 'the hosts', dto.HostsQuery),
  vms: ofList('vms', 'the VMs', dto.VmsQuery),
  vfs: ofList('vfs', 'the VFs of a host', dto.VfsQuery),
  networks: ofList('networks', 'L2 and L3 networks', dto.NetworksQuery),
  policy: ofTables('policy', 'what the cluster does where the rules leave a choice', dto.PolicyQuery),
  candidates: {
    dto: dto.CandidatesQuery,
    description: 'where a VM could start, best first, by the decider itself',
    table: 'hosts',
    post: true,
    dear: 'states',
    answer: async ({ parts, cluster, request }) => {
      if (at(request).at === undefined) {
        try {
          return text(await parts.readModel.ask({ cluster, name: 'candidates', request }));
        } catch (error) {
          if (!(error instanceof ReadError) || error.code !== 'NOT_CAUGHT_UP') throw error;
        }
      }
      const position = await parts.readModel.positionOf(cluster, at(request).at);
      return text(
        await parts.readModel.withState(cluster, position, (state) =>
          state.imagine('candidates', request as CandidatesRequest),
        ),
      );
    },
  },
  'restore-impact': ofState(
    'restore-impact',
    'who would lose a NIC if a PF were restored, and where each VM could go',
    dto.RestoreImpactQuery,
    'vms',
  ),
  plan: {
    dto: dto.PlanQuery,
    description: 'the events that inputs would lead to; nothing is written',
    table: 'events',
    post: true,
    dear: 'states',
    answer: async ({ parts, cluster, request }) => {
      const inputs = checkInputs(cluster, (request as unknown as dto.PlanQuery).inputs);
      const moment = at(request).at;
      const position = await parts.readModel.positionOf(cluster, moment);
      const time = moment === undefined ? parts.broker.now() : 'time' in moment ? moment.time : 0;
      return text(
        await parts.readModel.withState(cluster, position, (state) =>
          state.imagine('plan', { inputs, time }),
        ),
      );
    },
  },
  outcome: { dto: dto.OutcomeQuery, description: 'what a request led to', answer: outcome },
  explain: {
    dto: dto.ExplainQuery,
    dear: 'states',
    description: 'why a request led to what it led to, and whether it would again',
    answer: explain,
  },
  history: {
    dto: dto.HistoryQuery,
    description: 'the events about something',
    table: 'events',
    dear: 'history',
    isCheap: ({ limit, causes }) => Number(limit ?? FEW_ROWS) <= FEW_EVENTS && causes !== true,
    answer: history,
  },
  tenants: {
    ...ofTables('tenants', 'every holder that a VF ever had', dto.TenantsQuery, 'tenants'),
    dear: 'tables',
  },
  usage: {
    dto: dto.UsageQuery,
    description: 'VF-seconds in a period, by VM, tenant or PF',
    table: 'usage',
    dear: 'tables',
    columns: ({ by }) => [...(USAGE_KEYS[by as keyof typeof USAGE_KEYS] ?? []), 'allocations', 'vfSeconds'],
    answer: async ({ parts, cluster, request }) => {
      const { from, to, by } = request as unknown as dto.UsageQuery;
      if (millisOf(from) > millisOf(to)) {
        throw new QueryError('BAD_REQUEST', `from is after to: ${from}, ${to}`);
      }
      // Nobody has used a VF yet after now: NATS's, and not that of the clock here.
      const period = { from: millisOf(from), to: millisOf(to), now: parts.broker.now(), by };
      return text(await parts.readModel.ask({ cluster, name: 'usage', request: period }));
    },
  },
  verify: {
    dto: dto.VerifyQuery,
    description: 'the hash chain, the state, VF_OUT and the last signed head, checked',
    always: true,
    // However many ask, a cluster is verified once at a time: see there.
    answer: verify,
  },
};

const inputCheckers = new Map<string, DataChecker>();

/** @throws QueryError `BAD_REQUEST`, naming the first input that no leader would take. */
function checkInputs(cluster: string, inputs: readonly dto.PlannedInputDto[]): readonly PlannedInput[] {
  return inputs.map(({ type, data, id }, index) => {
    const problem = (what: string): QueryError => new QueryError('BAD_REQUEST', `inputs[${index}]: ${what}`);
    if (!isInputType(type)) throw problem(`type '${type}' is not an input`);
    let checker = inputCheckers.get(type);
    if (checker === undefined) {
      checker = new DataChecker(INPUT_CATALOG[type].dto);
      inputCheckers.set(type, checker);
    }
    const checked = checker.check(data);
    if ('problem' in checked) throw problem(checked.problem);
    return { type, data: checked.data, ...(id === undefined ? undefined : { id }) };
  });
}

const checkers = new Map<string, DataChecker>();

function checkerOf(name: string, query: Query): DataChecker {
  let checker = checkers.get(name);
  if (checker === undefined) {
    checker = new DataChecker(query.dto);
    checkers.set(name, checker);
  }
  return checker;
}

/** A filter that is misspelt must not be answered as if it were not there. */
function refuseUnknown(name: string, request: QueryRequest, fields: readonly string[]): void {
  const unknown = Object.keys(request).find((field) => !fields.includes(field));
  if (unknown === undefined) return;
  throw new QueryError(
    'BAD_REQUEST',
    `the query '${name}' has no field '${unknown.slice(0, 64)}'; it has ${fields.toSorted().join(', ')}`,
  );
}

/** Positions may come as numbers, too. */
function normalised(request: QueryRequest): QueryRequest {
  const copy: Record<string, unknown> = { ...request };
  for (const field of ['at', 'atLeast', 'from', 'to']) {
    if (typeof copy[field] === 'number') copy[field] = String(copy[field]);
  }
  return copy;
}

export function queryNamed(name: string): Query {
  const query = Object.hasOwn(QUERIES, name) ? QUERIES[name] : undefined;
  if (query !== undefined) return query;
  throw new QueryError(
    'QUERY_UNKNOWN',
    `there is no query '${name}'; there are ${Object.keys(QUERIES).join(', ')}`,
  );
}

/**
 * Answers a query about a cluster.
 *
 * @param page it is one of all pages of a list, which together are dear; what follows the first waits for its turn for
 *   as long as it takes.
 * @returns JSON text.
 * @throws QueryError
 */
export async function answerQuery(
  parts: ApiParts,
  cluster: string,
  name: string,
  request: QueryRequest,
  page?: 'first' | 'next',
): Promise<string> {
  try {
    return await answerNow(parts, cluster, name, request, page);
  } catch (error) {
    if (error instanceof ReadError)
      throw new QueryError(error.code === 'TWO_HOLDERS' ? 'STOPPED' : error.code, error.message);
    if (error instanceof LogError && error.code === 'UNAVAILABLE') {
      throw new QueryError('UNAVAILABLE', error.message);
    }
    throw error;
  }
}

async function answerNow(
  parts: ApiParts,
  cluster: string,
  name: string,
  request: QueryRequest,
  page: 'first' | 'next' | undefined,
): Promise<string> {
  if (cluster === NO_CLUSTER && name === 'clusters') {
    refuseUnknown(name, request, ['atLeast']);
    return JSON.stringify(await clusters(parts));
  }
  const query = queryNamed(name);
  const checker = checkerOf(name, query);
  refuseUnknown(name, request, checker.fields);
  const checked = checker.check(normalised(request));
  if ('problem' in checked) throw new QueryError('BAD_REQUEST', checked.problem.replaceAll('data.', ''));
  refuseOtherLog(parts, cluster);
  await follow(parts, cluster);
  if (query.always !== true || checked.data['atLeast'] !== undefined) {
    await untilFresh(parts, cluster, checked.data);
  }
  const answer = (): Promise<string> => query.answer({ parts, cluster, request: checked.data });
  const { dear } = query;
  if (dear === undefined || (page === undefined && query.isCheap?.(checked.data) === true)) return answer();
  return dearQuestionsOf(parts).inTurn(dear, answer, page === 'next');
}

/** @throws QueryError `UNAVAILABLE`: what this instance has is not what the site works on. */
function refuseOtherLog({ allocator }: ApiParts, cluster: string): void {
  const why = allocator.whyNotAsked(cluster);
  if (why !== undefined) throw new QueryError('UNAVAILABLE', why);
}

/** A cluster that is in the log is followed from the first question about it on, at the latest. */
export async function follow({ readModel, allocator, log }: ApiParts, cluster: string): Promise<void> {
  if (readModel.isFollowing(cluster)) return;
  if (!allocator.status.has(cluster) && (await log.head(cluster)).position === 0) {
    throw new QueryError('CLUSTER_UNKNOWN', `there is no cluster '${cluster}'`);
  }
  readModel.follow(cluster);
}

async function clusters({ allocator, broker, log }: ApiParts): Promise<readonly object[]> {
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
