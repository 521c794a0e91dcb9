import type Database from 'libsql';

/** Rows written by one statement: that halves the time of a batch. */
export const insertRows = 25;

/** A row as its columns, in the order of the query. */
export type Row = readonly unknown[];

/** What is used of a prepared statement; the values are for its question marks. */
interface Statement {
  run(values: readonly unknown[]): unknown;
  get(values?: readonly unknown[]): unknown;
  all(values?: readonly unknown[]): unknown[];
}

/**
 * The statements of the log file. Text is always read as a BLOB: libsql ends the whole process on text that
 * is not UTF-8, which is what a damaged file has, and cuts text at a NUL.
 */
export function prepareStatements(db: Database.Database) {
  const query = (sql: string): Statement => db.prepare(sql).raw();
  const command = (sql: string): Statement => db.prepare(sql);
  const range = 'stream = ? AND position >= ? AND position < ?';
  return {
    streamId: query('SELECT id FROM stream WHERE name = ?'),
    insertStream: command('INSERT INTO stream (name) VALUES (?)'),
    streams: query(
      `SELECT id, CAST(name AS BLOB) FROM stream
       WHERE EXISTS (SELECT 1 FROM record WHERE record.stream = stream.id)`,
    ),
    last: query(
      'SELECT position, CAST(hash AS BLOB) FROM record WHERE stream = ? ORDER BY position DESC LIMIT 1',
    ),
    lastPosition: query('SELECT coalesce(max(position), 0) FROM record WHERE stream = ?'),
    hashes: query(
      'SELECT CAST(hash AS BLOB) FROM record WHERE stream = ? AND position BETWEEN ? AND ? ORDER BY position',
    ),
    insert: command(insertInto(1)),
    insertMany: command(insertInto(insertRows)),
    size: query(
      `SELECT coalesce(sum(octet_length(body) + coalesce(octet_length(input), 0)), 0) FROM record WHERE ${range}`,
    ),
    // One row for a whole chunk: making a JavaScript value for each column of each record took longer than
    // reading it.
    pack: query(
      `SELECT
         group_concat(position || ',' || octet_length(body) || ',' || coalesce(octet_length(input), -1)),
         CAST(? || group_concat(char(10) || body || coalesce(char(10) || input, '') || hash, '') AS BLOB)
       FROM (SELECT position, body, input, hash FROM record WHERE ${range} ORDER BY position)`,
    ),
    badHash: query(
      `SELECT position FROM record WHERE ${range} AND octet_length(hash) IS NOT 64 ORDER BY position LIMIT 1`,
    ),
    counts: query('SELECT stream, count(*), min(position), max(position) FROM record GROUP BY stream'),
    gap: query(
      `SELECT min(position) + 1 FROM record AS one WHERE stream = ? AND NOT EXISTS
         (SELECT 1 FROM record WHERE stream = one.stream AND position = one.position + 1)`,
    ),
    dropSnapshot: command('DELETE FROM snapshot WHERE stream = ? AND position = ? AND version = ?'),
    insertSnapshot: command(
      `INSERT INTO snapshot (stream, position, hash, version, saved, checksum, state_gzip)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    keepNewest: command(
      `DELETE FROM snapshot WHERE stream = ? AND id NOT IN
         (SELECT id FROM snapshot WHERE stream = ? ORDER BY id DESC LIMIT 2)`,
    ),
    snapshotKeys: query('SELECT id FROM snapshot WHERE stream = ? ORDER BY id DESC'),
    snapshot: query(
      `SELECT position, CAST(hash AS BLOB), CAST(version AS BLOB), CAST(checksum AS BLOB), CAST(state_gzip AS BLOB)
       FROM snapshot WHERE id = ?`,
    ),
    dataVersion: query('PRAGMA data_version'),
  };
}

function insertInto(rows: number): string {
  const values = Array.from({ length: rows }, () => '(?, ?, ?, ?, ?)').join(', ');
  return `INSERT INTO record (stream, position, hash, body, input) VALUES ${values}`;
}
