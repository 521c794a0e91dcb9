/** In the file's header, so that `file` and a person can tell what it is: "VFLG". */
export const applicationId = 0x5646_4c47;

/** Of the tables below. A file with a newer one was written by a newer release and is refused. */
export const schemaVersion = 1;

/**
 * Bigger than SQLite's own: a record of 600 bytes then seldom needs an overflow page, reads are a tenth
 * faster.
 */
export const pageSize = 8192;

/**
 * Records lie in the order they were appended in, whatever their stream; the primary key is a small index
 * beside them. So appends only ever touch the end of the table, and counting a stream reads the index alone.
 *
 * The id is not stored: it is made from the hash. The view `log` is for people; nothing here reads it.
 */
export const schema = `
CREATE TABLE stream (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);
CREATE TABLE record (
  stream INTEGER NOT NULL REFERENCES stream (id),
  position INTEGER NOT NULL,
  hash TEXT NOT NULL,
  body TEXT NOT NULL,
  input TEXT,
  PRIMARY KEY (stream, position)
);
CREATE TABLE snapshot (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES stream (id),
  position INTEGER NOT NULL,
  hash TEXT NOT NULL,
  version TEXT NOT NULL,
  saved TEXT NOT NULL,
  checksum TEXT NOT NULL,
  state_gzip BLOB NOT NULL
);
CREATE INDEX snapshot_by_stream ON snapshot (stream, id);
CREATE VIEW log AS
SELECT
  stream,
  position,
  json_extract(json, '$.time') AS time,
  json_extract(json, '$.type') AS type,
  json_extract(json, '$.data') AS data,
  json_extract(json, '$.correlationId') AS correlation,
  json_extract(json, '$.cause.sequence') AS cause_sequence,
  json_extract(json, '$.cause.id') AS cause_id,
  json_extract(json, '$.schema') AS schema,
  json_extract(json, '$.decider') AS decider,
  input,
  substr(hash, 1, 8) || '-' || substr(hash, 9, 4) || '-8' || substr(hash, 14, 3) || '-'
    || substr('89ab', 1 + (instr('0123456789abcdef', substr(hash, 17, 1)) - 1) % 4, 1)
    || substr(hash, 18, 3) || '-' || substr(hash, 21, 12) AS id,
  hash,
  body
FROM (
  SELECT
    stream.name AS stream, position, hash, body, input,
    CASE WHEN json_valid(body) THEN body ELSE '{}' END AS json
  FROM record JOIN stream ON stream.id = record.stream
);
`;
