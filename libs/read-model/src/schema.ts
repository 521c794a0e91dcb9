import { STATE_VERSION } from '#domain';

/** In the file's header: "VFRD". */
export const applicationId = 0x5646_5244;

/**
 * Of the tables below and of what is written into them. A file of another form is thrown away and made again:
 * everything in it comes from the log.
 */
export const form = `1.${STATE_VERSION}`;

/**
 * Temporal tables: a row says what was so from position `valid_from` on, until the next row of the same
 * thing; a row whose main column is NULL says that there is no such thing any more. So one seek finds what
 * was true at a position, and nothing that was written is ever changed, but for the end of an allocation and
 * of a VM's stay on a host.
 *
 * The views `pf`, `vf`, `vm` and `host` are for people: they add `valid_to` and both times. Nothing here
 * reads them.
 *
 * PFs go by their ordinal, which is unique within a cluster and never given again.
 */
export const schema = `
CREATE TABLE about (form TEXT NOT NULL);
CREATE TABLE cluster (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  position INTEGER NOT NULL,
  hash TEXT NOT NULL,
  time INTEGER NOT NULL
);
CREATE TABLE event (
  cluster INTEGER NOT NULL,
  position INTEGER NOT NULL,
  decision INTEGER NOT NULL,
  time INTEGER NOT NULL,
  type TEXT NOT NULL,
  vm TEXT, host TEXT, pf TEXT, vf TEXT, tenant TEXT,
  input INTEGER,
  PRIMARY KEY (cluster, position)
) WITHOUT ROWID;
CREATE INDEX event_by_vm ON event (cluster, vm, position) WHERE vm IS NOT NULL;
CREATE INDEX event_by_host ON event (cluster, host, position) WHERE host IS NOT NULL;
CREATE TABLE mac_event (
  cluster INTEGER NOT NULL, mac TEXT NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (cluster, mac, position)
) WITHOUT ROWID;
CREATE INDEX event_by_tenant ON event (cluster, tenant, position) WHERE tenant IS NOT NULL;
CREATE INDEX event_by_input ON event (cluster, input, position) WHERE input IS NOT NULL;
CREATE TABLE detail (id INTEGER PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE known_host (cluster INTEGER NOT NULL, host TEXT NOT NULL, PRIMARY KEY (cluster, host)) WITHOUT ROWID;
CREATE TABLE host_version (
  cluster INTEGER NOT NULL, host TEXT NOT NULL, valid_from INTEGER NOT NULL,
  ordinal INTEGER, json TEXT,
  PRIMARY KEY (cluster, host, valid_from)
) WITHOUT ROWID;
CREATE TABLE known_pf (
  cluster INTEGER NOT NULL, ordinal INTEGER NOT NULL,
  host TEXT NOT NULL, host_ordinal INTEGER NOT NULL, address TEXT NOT NULL,
  PRIMARY KEY (cluster, ordinal)
) WITHOUT ROWID;
CREATE INDEX pf_by_host ON known_pf (cluster, host_ordinal);
CREATE TABLE pf_version (
  cluster INTEGER NOT NULL, ordinal INTEGER NOT NULL, valid_from INTEGER NOT NULL,
  total INTEGER, free INTEGER, allocated INTEGER, detail INTEGER,
  PRIMARY KEY (cluster, ordinal, valid_from)
) WITHOUT ROWID;
CREATE TABLE vf_version (
  cluster INTEGER NOT NULL, host TEXT NOT NULL, vf TEXT NOT NULL, valid_from INTEGER NOT NULL,
  pf INTEGER, number INTEGER, state TEXT,
  PRIMARY KEY (cluster, host, vf, valid_from)
) WITHOUT ROWID;
CREATE TABLE allocation (
  cluster INTEGER NOT NULL, position INTEGER NOT NULL,
  id TEXT NOT NULL, vm TEXT NOT NULL, nic TEXT NOT NULL, tenant TEXT,
  host TEXT NOT NULL, pf TEXT NOT NULL, vf TEXT NOT NULL, vlan INTEGER, mac TEXT NOT NULL,
  time INTEGER NOT NULL, reason TEXT NOT NULL,
  end_position INTEGER, end_time INTEGER, end_reason TEXT,
  PRIMARY KEY (cluster, position)
) WITHOUT ROWID;
CREATE INDEX allocation_by_vf ON allocation (cluster, host, vf, position);
CREATE TABLE known_vm (cluster INTEGER NOT NULL, vm TEXT NOT NULL, PRIMARY KEY (cluster, vm)) WITHOUT ROWID;
CREATE TABLE vm_version (
  cluster INTEGER NOT NULL, vm TEXT NOT NULL, valid_from INTEGER NOT NULL,
  state TEXT, host TEXT, tenant TEXT, generation INTEGER, overdue INTEGER, nics TEXT, detail INTEGER,
  PRIMARY KEY (cluster, vm, valid_from)
) WITHOUT ROWID;
CREATE TABLE stay (
  cluster INTEGER NOT NULL, host TEXT NOT NULL, valid_from INTEGER NOT NULL, vm TEXT NOT NULL, valid_to INTEGER,
  PRIMARY KEY (cluster, host, valid_from, vm)
) WITHOUT ROWID;
CREATE TABLE network_version (
  cluster INTEGER NOT NULL, id TEXT NOT NULL, valid_from INTEGER NOT NULL, layer INTEGER NOT NULL, json TEXT,
  PRIMARY KEY (cluster, id, layer, valid_from)
) WITHOUT ROWID;
CREATE TABLE policy_version (
  cluster INTEGER NOT NULL, valid_from INTEGER NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (cluster, valid_from)
) WITHOUT ROWID;
CREATE TABLE checkpoint (
  cluster INTEGER NOT NULL, position INTEGER NOT NULL, hash TEXT NOT NULL, state_gzip BLOB NOT NULL,
  PRIMARY KEY (cluster, position)
);
${forPeople('host', 'host', 'ordinal, json')}
${forPeople('pf', 'ordinal', 'total, free, allocated, detail')}
${forPeople('vf', 'host, vf', 'pf, number, state')}
${forPeople('vm', 'vm', 'state, host, tenant, generation, nics, detail')}
`;

/** A view of versions with their ends, by position and by time. */
function forPeople(name: string, key: string, columns: string): string {
  const time = (position: string): string =>
    `(SELECT strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') FROM event
      WHERE event.cluster = v.cluster AND event.position = v.${position})`;
  return `
CREATE VIEW ${name} AS
SELECT v.*, ${time('valid_from')} AS valid_from_time, ${time('valid_to')} AS valid_to_time
FROM (SELECT cluster, ${key}, valid_from,
        lead(valid_from) OVER (PARTITION BY cluster, ${key} ORDER BY valid_from) AS valid_to, ${columns}
      FROM ${name}_version) AS v;`;
}
