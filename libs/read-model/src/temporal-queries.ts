import type Database from 'libsql';
import { DEFAULT_POLICY } from '#domain';
import { ReadError } from './errors.js';
import { text, textOrNone, type Row } from './read-file.js';

type Db = Database.Database;

/** A moment of a cluster: its number in the file, and the position to answer for. */
export interface Moment {
  readonly db: Db;
  readonly cluster: number;
  readonly position: number;
}

/** A page of a list. */
export interface Page {
  readonly items: readonly object[];
  /** The key of the last item, when there are more. */
  readonly next?: string;
}

const statements = new WeakMap<
  Db,
  Map<string, { get(values: unknown[]): unknown; all(values: unknown[]): unknown[] }>
>();

/** Prepared once for each text. */
function query(db: Db, sql: string): { get(values: unknown[]): unknown; all(values: unknown[]): unknown[] } {
  let known = statements.get(db);
  if (known === undefined) {
    known = new Map();
    statements.set(db, known);
  }
  let statement = known.get(sql);
  if (statement === undefined) {
    statement = db.prepare(sql).raw() as unknown as NonNullable<typeof statement>;
    known.set(sql, statement);
  }
  return statement;
}

const row = (db: Db, sql: string, ...values: unknown[]): Row | undefined =>
  query(db, sql).get(values) as Row | undefined;
const rows = (db: Db, sql: string, ...values: unknown[]): Row[] => query(db, sql).all(values) as Row[];

/** The last position whose event was decided at or before a time; 0 before the first. */
export function positionAt(db: Db, cluster: number, head: number, time: number): number {
  // Positions and times grow together.
  let low = 0;
  let high = head;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const found = row(db, 'SELECT time FROM event WHERE cluster = ? AND position = ?', cluster, middle);
    if (found !== undefined && Number(found[0]) <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function timeOf(db: Db, cluster: number, position: number): number | undefined {
  const found = row(db, 'SELECT time FROM event WHERE cluster = ? AND position = ?', cluster, position);
  return found === undefined ? undefined : Number(found[0]);
}

// CROSS JOIN: from the PFs to the version of each. Left to itself SQLite reads all versions, twenty times slower.
const PF_AT = `
  FROM known_pf AS k
  CROSS JOIN pf_version AS v ON v.cluster = k.cluster AND v.ordinal = k.ordinal AND v.valid_from =
    (SELECT valid_from FROM pf_version
     WHERE cluster = k.cluster AND ordinal = k.ordinal AND valid_from <= ?1 ORDER BY valid_from DESC LIMIT 1)
  CROSS JOIN detail AS d ON d.id = v.detail
  WHERE k.cluster = ?2 AND v.total IS NOT NULL`;

interface PfRow {
  readonly total: number;
  readonly free: number;
  readonly allocated: number;
  /** The PF as JSON. */
  readonly json: string;
}

function pfsAt({ db, cluster, position }: Moment, host?: { ordinal: number }): PfRow[] {
  const columns = 'SELECT v.total, v.free, v.allocated, CAST(d.json AS BLOB)';
  const order = 'ORDER BY k.host_ordinal, k.address';
  const found =
    host === undefined
      ? rows(db, `${columns} ${PF_AT} ${order}`, position, cluster)
      : rows(db, `${columns} ${PF_AT} AND k.host_ordinal = ?3 ${order}`, position, cluster, host.ordinal);
  return found.map(([total, free, allocated, json]) => {
    const facts = text(json);
    const counts = Number(total) === 0 ? '"free":"-","total":"-"' : `"free":${free},"total":${total}`;
    return {
      total: Number(total),
      free: Number(free),
      allocated: Number(allocated),
      json: `${facts.slice(0, -1)},${counts},"allocated":${allocated}}`,
    };
  });
}

/** @returns the host's ordinal and facts; undefined when it was not known. */
function hostAt(
  { db, cluster, position }: Moment,
  hostId: string,
): { ordinal: number; json: string } | undefined {
  const found = row(
    db,
    `SELECT ordinal, CAST(json AS BLOB) FROM host_version
     WHERE cluster = ? AND host = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1`,
    cluster,
    hostId,
    position,
  );
  if (found === undefined || found[0] === null) return undefined;
  return { ordinal: Number(found[0]), json: text(found[1]) };
}

function networkAt<T>({ db, cluster, position }: Moment, id: string, layer: 2 | 3): T | undefined {
  const found = row(
    db,
    `SELECT CAST(json AS BLOB) FROM network_version
     WHERE cluster = ? AND id = ? AND layer = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1`,
    cluster,
    id,
    layer,
    position,
  );
  const json = textOrNone(found?.[0]);
  return json === undefined ? undefined : (JSON.parse(json) as T);
}

const nothing = (what: string, id: string, { position }: Moment): ReadError =>
  new ReadError('NOT_FOUND', `there is no ${what} '${id}' at position ${position}`);

export interface AvailabilityRequest {
  readonly hostId?: string;
  readonly physicalNetwork?: string;
  readonly networkId?: string;
  /** Counts only. */
  readonly summary?: boolean;
}

/** VFs by PF: of the fleet, a host or a network. @returns JSON without the braces. */
export function availability(moment: Moment, request: AvailabilityRequest): string {
  const wanted = request.physicalNetwork === undefined ? [] : [request.physicalNetwork];
  if (request.networkId !== undefined) {
    const l3 = networkAt<{ l2Id: string }>(moment, request.networkId, 3);
    const l2 = l3 === undefined ? undefined : networkAt<{ physicalInterface: string }>(moment, l3.l2Id, 2);
    if (l2 === undefined) throw nothing('network', request.networkId, moment);
    wanted.push(l2.physicalInterface);
  }
  let host: { ordinal: number } | undefined;
  if (request.hostId !== undefined) {
    host = hostAt(moment, request.hostId);
    if (host === undefined) throw nothing('host', request.hostId, moment);
  }
  let total = 0;
  let free = 0;
  let allocated = 0;
  const pfs: string[] = [];
  for (const pf of pfsAt(moment, host)) {
    if (!wanted.every((network) => goesBy(pf.json, network))) continue;
    total += pf.total;
    free += pf.free;
    allocated += pf.allocated;
    if (request.summary !== true) pfs.push(pf.json);
  }
  const unavailable = total - free - allocated;
  return (
    `"total":${total},"free":${free},"allocated":${allocated},"unavailable":${unavailable},` +
    `"pfs":[${pfs.join(',')}]`
  );
}

function goesBy(json: string, network: string): boolean {
  const { physicalNetwork, bond } = JSON.parse(json) as { physicalNetwork: string; bond?: string };
  return physicalNetwork === network || bond === network;
}

interface AllocationAt {
  readonly id: string;
  readonly vm: string;
  readonly nic: string;
  readonly host: string;
  readonly pf: string;
  readonly vf: string;
  readonly vlan?: number;
  readonly mac: string;
  readonly end?: number;
}

const ALLOCATION =
  'SELECT CAST(id AS BLOB), CAST(vm AS BLOB), CAST(nic AS BLOB), CAST(host AS BLOB), CAST(pf AS BLOB), ' +
  'CAST(vf AS BLOB), vlan, CAST(mac AS BLOB), end_position FROM allocation';

function toAllocation(found: Row | undefined): AllocationAt | undefined {
  if (found === undefined) return undefined;
  const [id, vm, nic, host, pf, vf, vlan, mac, end] = found;
  return {
    id: text(id),
    vm: text(vm),
    nic: text(nic),
    host: text(host),
    pf: text(pf),
    vf: text(vf),
    mac: text(mac),
    ...(vlan === null ? undefined : { vlan: Number(vlan) }),
    ...(end === null ? undefined : { end: Number(end) }),
  };
}

const allocationMadeAt = ({ db, cluster }: Moment, position: number): AllocationAt | undefined =>
  toAllocation(row(db, `${ALLOCATION} WHERE cluster = ? AND position = ?`, cluster, position));

function holderAt({ db, cluster, position }: Moment, hostId: string, vf: string): AllocationAt | undefined {
  const last = toAllocation(
    row(
      db,
      `${ALLOCATION} WHERE cluster = ? AND host = ? AND vf = ? AND position <= ? ORDER BY position DESC LIMIT 1`,
      cluster,
      hostId,
      vf,
      position,
    ),
  );
  return last === undefined || (last.end !== undefined && last.end <= position) ? undefined : last;
}

interface VfAt {
  readonly ordinal: number;
  readonly index: number;
  readonly own: string;
}

function toVf(found: Row | undefined): VfAt | undefined {
  if (found === undefined || found[0] === null) return undefined;
  return { ordinal: Number(found[0]), index: Number(found[1]), own: text(found[2]) };
}

function viewVf(moment: Moment, hostId: string, address: string, vf: VfAt): object {
  const { db, cluster, position } = moment;
  const pf = row(
    db,
    `SELECT CAST(d.json AS BLOB), CAST(k.address AS BLOB) ${PF_AT} AND k.ordinal = ?3`,
    position,
    cluster,
    vf.ordinal,
  );
  const held = holderAt(moment, hostId, address);
  const { obstacle } = (pf === undefined ? {} : JSON.parse(text(pf[0]))) as { obstacle?: string };
  const heldState = held !== undefined && vmStateAt(moment, held.vm) === 'running' ? 'allocated' : 'pending';
  const ownState = vf.own === 'free' && obstacle !== undefined ? 'unavailable' : vf.own;
  return {
    hostId,
    pf: pf === undefined ? undefined : text(pf[1]),
    vf: address,
    index: vf.index,
    state: held === undefined ? ownState : heldState,
    ...(held === undefined
      ? undefined
      : {
          holder: { vmId: held.vm, nicId: held.nic, allocationId: held.id },
          mac: held.mac,
          vlanId: held.vlan,
        }),
  };
}

/** A VF and who holds it. */
export function vfOf(moment: Moment, request: { readonly hostId: string; readonly vf: string }): object {
  const { db, cluster, position } = moment;
  const found = toVf(
    row(
      db,
      `SELECT pf, number, CAST(state AS BLOB) FROM vf_version
       WHERE cluster = ? AND host = ? AND vf = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1`,
      cluster,
      request.hostId,
      request.vf,
      position,
    ),
  );
  if (found === undefined) throw nothing(`VF ${request.vf} of host`, request.hostId, moment);
  return { vf: viewVf(moment, request.hostId, request.vf, found) };
}

/** The VFs of a host, in order of address. */
export function vfs(
  moment: Moment,
  request: { readonly hostId: string; readonly pf?: string; readonly state?: string },
  after: string,
  limit: number,
): Page {
  const { db, cluster, position } = moment;
  if (hostAt(moment, request.hostId) === undefined) throw nothing('host', request.hostId, moment);
  const addresses = rows(
    db,
    'SELECT DISTINCT CAST(vf AS BLOB) FROM vf_version WHERE cluster = ? AND host = ? AND vf > ? ORDER BY vf',
    cluster,
    request.hostId,
    after,
  );
  return page(addresses, limit, (address) => {
    const found = toVf(
      row(
        db,
        `SELECT pf, number, CAST(state AS BLOB) FROM vf_version
         WHERE cluster = ? AND host = ? AND vf = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1`,
        cluster,
        request.hostId,
        address,
        position,
      ),
    );
    if (found === undefined) return undefined;
    const view = viewVf(moment, request.hostId, address, found) as { pf?: string; state: string };
    if (request.pf !== undefined && view.pf !== request.pf) return undefined;
    return request.state === undefined || view.state === request.state ? view : undefined;
  });
}

const VM_AT = `SELECT CAST(v.state AS BLOB), CAST(v.host AS BLOB), CAST(v.tenant AS BLOB), v.generation, v.overdue,
    CAST(v.nics AS BLOB), CAST(d.json AS BLOB)
  FROM vm_version AS v LEFT JOIN detail AS d ON d.id = v.detail
  WHERE v.cluster = ? AND v.vm = ? AND v.valid_from <= ? ORDER BY v.valid_from DESC LIMIT 1`;

function vmStateAt({ db, cluster, position }: Moment, vmId: string): string | undefined {
  const found = row(
    db,
    `SELECT CAST(state AS BLOB) FROM vm_version
     WHERE cluster = ? AND vm = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1`,
    cluster,
    vmId,
    position,
  );
  return textOrNone(found?.[0]);
}

const NIC_STATES: Readonly<Record<string, string>> = {
  n: 'vnic',
  d: 'degraded',
  f: 'detached-by-force',
  s: 'stopped',
};

interface NicIdentity {
  readonly nicId: string;
  readonly type: string;
  readonly mac: string;
  readonly networkId?: string;
  readonly physicalNetwork?: string;
  readonly guestSlot?: number | string;
}

interface VmAt {
  readonly vmId: string;
  readonly state: string;
  readonly hostId?: string;
  readonly tenant?: string;
}

function vmAt(moment: Moment, vmId: string): VmAt | undefined {
  const found = row(moment.db, VM_AT, moment.cluster, vmId, moment.position);
  const state = textOrNone(found?.[0]);
  if (found === undefined || state === undefined) return undefined;
  const [, host, tenant, generation, overdue, connections, identities] = found;
  const list = JSON.parse(text(identities)) as NicIdentity[];
  const how = list.length === 0 ? [] : text(connections).split(',');
  let held = 0;
  const nics = list.map(({ nicId, type, mac, networkId, physicalNetwork, guestSlot }, index) => {
    const connection = how[index] as string;
    const nicState = NIC_STATES[connection];
    const about = { mac, networkId, physicalNetwork, guestSlot };
    if (nicState !== undefined) return { nicId, type, state: nicState, ...about };
    held++;
    const allocation = allocationMadeAt(moment, Number(connection));
    return {
      nicId,
      type,
      state: 'vf',
      ...about,
      // Until its start is accepted, with the same decision, only the allocation knows it.
      mac: mac === '' ? allocation?.mac : mac,
      allocationId: allocation?.id,
      hostId: allocation?.host,
      pf: allocation?.pf,
      vf: allocation?.vf,
      vlanId: allocation?.vlan,
    };
  });
  return {
    vmId,
    state,
    hostId: textOrNone(host),
    tenant: textOrNone(tenant),
    ...(generation === null ? undefined : { generation: Number(generation) }),
    nics,
    memoryPinned: held > 0,
    migratable: held === 0,
    ...(overdue === null ? undefined : { overdueSince: new Date(Number(overdue)).toISOString() }),
  } as VmAt;
}

export function vmOf(moment: Moment, { vmId }: { readonly vmId: string }): object {
  const found = vmAt(moment, vmId);
  if (found === undefined) throw nothing('VM', vmId, moment);
  return { vm: found };
}

/** The VMs that were known, in order of name. */
export function vms(
  moment: Moment,
  request: { readonly hostId?: string; readonly tenant?: string; readonly state?: string },
  after: string,
  limit: number,
): Page {
  const ids = rows(
    moment.db,
    'SELECT CAST(vm AS BLOB) FROM known_vm WHERE cluster = ? AND vm > ? ORDER BY vm',
    moment.cluster,
    after,
  );
  return page(ids, limit, (vmId) => {
    const found = vmAt(moment, vmId);
    if (found === undefined) return undefined;
    if (request.hostId !== undefined && found.hostId !== request.hostId) return undefined;
    if (request.tenant !== undefined && found.tenant !== request.tenant) return undefined;
    return request.state === undefined || found.state === request.state ? found : undefined;
  });
}

function vmsOn({ db, cluster, position }: Moment, hostId: string): readonly string[] {
  return rows(
    db,
    `SELECT CAST(vm AS BLOB) FROM stay
     WHERE cluster = ? AND host = ? AND valid_from <= ? AND (valid_to IS NULL OR valid_to > ?) ORDER BY vm`,
    cluster,
    hostId,
    position,
    position,
  ).map(([name]) => text(name));
}

export function hostOf(moment: Moment, { hostId }: { readonly hostId: string }): object {
  const found = hostAt(moment, hostId);
  if (found === undefined) throw nothing('host', hostId, moment);
  return { host: viewHost(moment, hostId, found) };
}

function viewHost(moment: Moment, hostId: string, found: { ordinal: number; json: string }): object {
  const pfs = pfsAt(moment, found).map(({ json }) => JSON.parse(json) as object);
  const { drifts, ...facts } = JSON.parse(found.json) as { drifts: object[] };
  return { ...facts, vms: vmsOn(moment, hostId), pfs, drifts };
}

/** The hosts that were known, in order of name; without their PFs and VMs, but for their numbers. */
export function hosts(
  moment: Moment,
  request: { readonly state?: string },
  after: string,
  limit: number,
): Page {
  const ids = rows(
    moment.db,
    'SELECT CAST(host AS BLOB) FROM known_host WHERE cluster = ? AND host > ? ORDER BY host',
    moment.cluster,
    after,
  );
  return page(ids, limit, (hostId) => {
    const found = hostAt(moment, hostId);
    if (found === undefined) return undefined;
    // What a leader heard since is not in these tables: it is told with the host itself, where it is up to date.
    const {
      drifts,
      lastSeq: _seq,
      lastReportAt: _at,
      ...facts
    } = JSON.parse(found.json) as { drifts: object[]; state: string; lastSeq: number; lastReportAt: string };
    if (request.state !== undefined && facts.state !== request.state) return undefined;
    const counts = { total: 0, free: 0, allocated: 0 };
    const pfs = pfsAt(moment, found);
    for (const pf of pfs) {
      counts.total += pf.total;
      counts.free += pf.free;
      counts.allocated += pf.allocated;
    }
    const unavailable = counts.total - counts.free - counts.allocated;
    return {
      ...facts,
      vms: vmsOn(moment, hostId).length,
      pfs: pfs.length,
      ...counts,
      unavailable,
      drifts: drifts.length,
    };
  });
}

/** L2 and L3 networks, in order of id. */
export function networks(
  moment: Moment,
  request: { readonly id?: string },
  after: string,
  limit: number,
): Page {
  const ids =
    request.id === undefined
      ? rows(
          moment.db,
          'SELECT DISTINCT CAST(id AS BLOB) FROM network_version WHERE cluster = ? AND id > ? ORDER BY id',
          moment.cluster,
          after,
        )
      : [[Buffer.from(request.id)]];
  return page(ids, limit, (id) => {
    const found = [2, 3].flatMap((layer) => {
      const network = networkAt<object>(moment, id, layer as 2 | 3);
      return network === undefined ? [] : [{ id, layer, ...network }];
    });
    return found.length === 0 ? undefined : found;
  });
}

export function policy({ db, cluster, position }: Moment): object {
  const found = row(
    db,
    `SELECT CAST(json AS BLOB) FROM policy_version
     WHERE cluster = ? AND valid_from <= ? ORDER BY valid_from DESC LIMIT 1`,
    cluster,
    position,
  );
  return { policy: found === undefined ? DEFAULT_POLICY : (JSON.parse(text(found[0])) as object) };
}

function page(
  keys: readonly Row[],
  limit: number,
  view: (key: string) => object | readonly object[] | undefined,
): Page {
  const items: object[] = [];
  for (const [index, [bytes]] of keys.entries()) {
    const key = text(bytes);
    const found = view(key);
    if (Array.isArray(found)) items.push(...(found as object[]));
    else if (found !== undefined) items.push(found);
    if (items.length >= limit && index < keys.length - 1) return { items, next: key };
  }
  return { items };
}

/** Every holder that a VF ever had, in order of time. */
export function tenants(
  { db, cluster, position }: Moment,
  request: { readonly hostId: string; readonly vf: string },
): object {
  const found = rows(
    db,
    `SELECT CAST(vm AS BLOB), CAST(nic AS BLOB), CAST(tenant AS BLOB), CAST(mac AS BLOB), CAST(id AS BLOB),
       time, end_time, CAST(end_reason AS BLOB), end_position
     FROM allocation WHERE cluster = ? AND host = ? AND vf = ? AND position <= ? ORDER BY position`,
    cluster,
    request.hostId,
    request.vf,
    position,
  );
  if (found.length === 0) {
    const known = row(
      db,
      'SELECT 1 FROM vf_version WHERE cluster = ? AND host = ? AND vf = ? AND valid_from <= ? LIMIT 1',
      cluster,
      request.hostId,
      request.vf,
      position,
    );
    if (known === undefined) {
      throw new ReadError(
        'NOT_FOUND',
        `there was no VF ${request.vf} of host '${request.hostId}' up to position ${position}`,
      );
    }
  }
  const list = found.map(([vmId, nic, tenant, mac, id, from, to, reason, end]) => ({
    vmId: text(vmId),
    nicId: text(nic),
    tenant: textOrNone(tenant),
    mac: text(mac),
    allocationId: text(id),
    from: new Date(Number(from)).toISOString(),
    ...(end === null || Number(end) > position
      ? undefined
      : { to: new Date(Number(to)).toISOString(), reason: text(reason) }),
  }));
  return { tenants: list };
}

export interface UsageRequest {
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
  /** NATS's time, in milliseconds since 1970: what is held now is held until then. */
  readonly now: number;
  readonly by: 'vm' | 'tenant' | 'pf';
}

/** VF-seconds in a period: how long VFs were held, added up. */
export function usage({ db, cluster, position }: Moment, { from, to: asked, now, by }: UsageRequest): object {
  // NATS's clock may have been set back behind what was decided with it.
  const to = Math.min(asked, Math.max(now, timeOf(db, cluster, position) ?? 0));
  const key = { vm: 'vm', tenant: 'tenant', pf: "host || ' ' || pf" }[by];
  const found = rows(
    db,
    `SELECT CAST(${key} AS BLOB), count(*), sum(min(?1, until) - max(?2, time)) FROM (
       SELECT vm, tenant, host, pf, time,
         CASE WHEN end_position <= ?3 THEN end_time ELSE ?1 END AS until
       FROM allocation WHERE cluster = ?4 AND position <= ?3 AND time < ?1
     ) WHERE until > ?2 GROUP BY 1 ORDER BY 1`,
    to,
    from,
    position,
    cluster,
  );
  const list = found.map(([name, allocations, millis]) => {
    const label = textOrNone(name);
    const [hostId, pf] = by === 'pf' ? (label ?? '').split(' ') : [];
    return {
      ...(by === 'pf' ? { hostId, pf } : by === 'vm' ? { vmId: label } : { tenant: label }),
      allocations: Number(allocations),
      vfSeconds: Number(millis) / 1000,
    };
  });
  return { usage: list };
}

export interface HistoryRequest {
  readonly vmId?: string;
  readonly hostId?: string;
  readonly pf?: string;
  readonly vf?: string;
  readonly mac?: string;
  readonly tenant?: string;
  /** Positions, inclusive. */
  readonly first: number;
  readonly last: number;
  readonly types?: readonly string[];
  readonly limit: number;
}

/**
 * Positions of the events about something and of their decisions' first events, ascending; one more than
 * `limit` when there are more.
 */
export function history(
  { db, cluster }: Moment,
  request: HistoryRequest,
): readonly (readonly [number, number])[] {
  const { mac, types, limit } = request;
  const clauses = ['e.cluster = ?', 'e.position >= ?', 'e.position <= ?'];
  const values: unknown[] = [cluster, request.first, request.last];
  for (const [column, value] of [
    ['vm', request.vmId],
    ['host', request.hostId],
    ['pf', request.pf],
    ['vf', request.vf],
    ['tenant', request.tenant],
  ] as const) {
    if (value === undefined) continue;
    clauses.push(`e.${column} = ?`);
    values.push(value);
  }
  if (types !== undefined) {
    clauses.push(`e.type IN (${types.map(() => '?').join(', ')})`);
    values.push(...types);
  }
  let from = 'event AS e';
  if (mac !== undefined) {
    from = 'mac_event AS m CROSS JOIN event AS e ON e.cluster = m.cluster AND e.position = m.position';
    clauses.push('m.cluster = ?', 'm.mac = ?', 'm.position >= ?', 'm.position <= ?');
    values.push(cluster, mac, request.first, request.last);
  }
  const sql = `SELECT e.position, e.decision FROM ${from} WHERE ${clauses.join(' AND ')} ORDER BY e.position LIMIT ?`;
  return (
    db
      .prepare(sql)
      .raw()
      .all([...values, limit + 1]) as Row[]
  ).map(([position, decision]) => [Number(position), Number(decision)]);
}

/** Positions at which an input's decision may begin: of inputs with this number, which is of its id. */
export function decisionsOf({ db, cluster, position }: Moment, input: number): readonly number[] {
  return rows(
    db,
    'SELECT position FROM event WHERE cluster = ? AND input = ? AND position <= ? ORDER BY position DESC',
    cluster,
    input,
    position,
  ).map(([found]) => Number(found));
}

/** The last event of the named types about a thing, before the moment. */
export function lastBefore(
  { db, cluster, position }: Moment,
  request: {
    readonly types: readonly string[];
    readonly vmId?: string;
    readonly hostId?: string;
    readonly pf?: string;
    readonly vf?: string;
  },
): { readonly found: number; readonly decision: number } | undefined {
  const clauses = ['cluster = ?', 'position < ?'];
  const values: unknown[] = [cluster, position];
  for (const [column, value] of [
    ['vm', request.vmId],
    ['host', request.hostId],
    ['pf', request.pf],
    ['vf', request.vf],
  ] as const) {
    if (value === undefined) continue;
    clauses.push(`${column} = ?`);
    values.push(value);
  }
  clauses.push(`type IN (${request.types.map(() => '?').join(', ')})`);
  const found = row(
    db,
    `SELECT position, decision FROM event WHERE ${clauses.join(' AND ')} ORDER BY position DESC LIMIT 1`,
    ...values,
    ...request.types,
  );
  return found === undefined ? undefined : { found: Number(found[0]), decision: Number(found[1]) };
}
