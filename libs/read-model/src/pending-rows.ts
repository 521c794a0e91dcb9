import type Database from 'libsql';

/** Rows written by one statement. */
const AT_ONCE = 25;

/** Tables that are only added to, with their number of columns. */
const WIDTHS = {
  event: 11,
  mac_event: 3,
  detail: 2,
  known_host: 2,
  host_version: 5,
  known_pf: 5,
  pf_version: 7,
  vf_version: 7,
  known_vm: 2,
  vm_version: 10,
  network_version: 5,
  policy_version: 3,
} as const;

type Table = keyof typeof WIDTHS;
export type Value = string | number | null;

interface Statement {
  run(values: readonly unknown[]): { changes: number };
}

/** The statements that write rows, many at a time: that is what makes the projection quick. */
export class RowWriter {
  private readonly many = new Map<string, Statement>();
  private readonly one = new Map<string, Statement>();
  private readonly endAllocation: Statement;
  private readonly endStay: Statement;

  constructor(private readonly db: Database.Database) {
    this.endAllocation = db.prepare(
      'UPDATE allocation SET end_position = ?, end_time = ?, end_reason = ? WHERE cluster = ? AND position = ?',
    ) as unknown as Statement;
    this.endStay = db.prepare(
      'UPDATE stay SET valid_to = ? WHERE cluster = ? AND host = ? AND valid_from = ? AND vm = ?',
    ) as unknown as Statement;
  }

  insert(table: string, width: number, values: readonly Value[]): void {
    const step = AT_ONCE * width;
    let done = 0;
    if (values.length >= step) {
      const many = this.statement(this.many, table, width, AT_ONCE);
      for (; done + step <= values.length; done += step) many.run(values.slice(done, done + step));
    }
    if (done === values.length) return;
    const one = this.statement(this.one, table, width, 1);
    for (; done < values.length; done += width) one.run(values.slice(done, done + width));
  }

  finishAllocation(values: readonly Value[]): void {
    this.endAllocation.run(values);
  }

  finishStay(values: readonly Value[]): void {
    this.endStay.run(values);
  }

  private statement(kept: Map<string, Statement>, table: string, width: number, rows: number): Statement {
    let statement = kept.get(table);
    if (statement === undefined) {
      const row = `(${Array.from({ length: width }, () => '?').join(', ')})`;
      // A thing is first seen once in each run, and an event may name a MAC twice.
      const verb = table.startsWith('known_') || table === 'mac_event' ? 'INSERT OR IGNORE' : 'INSERT';
      statement = this.db.prepare(
        `${verb} INTO ${table} VALUES ${Array.from({ length: rows }, () => row).join(', ')}`,
      ) as unknown as Statement;
      kept.set(table, statement);
    }
    return statement;
  }
}

/** What has been projected of a cluster and is not in the file yet: rows, side by side. */
export class PendingRows {
  private readonly values = new Map<Table, Value[]>();
  private readonly allocations = new Map<number, Value[]>();
  private readonly ends: Value[][] = [];
  private readonly stays = new Map<string, Value[]>();
  private readonly departures: Value[][] = [];

  add(table: Table, ...row: Value[]): void {
    let values = this.values.get(table);
    if (values === undefined) {
      values = [];
      this.values.set(table, values);
    }
    for (const value of row) values.push(value);
  }

  beginAllocation(cluster: number, position: number, row: readonly Value[]): void {
    this.allocations.set(position, [cluster, position, ...row, null, null, null]);
  }

  finishAllocation(cluster: number, position: number, at: number, time: number, reason: string): void {
    const row = this.allocations.get(position);
    if (row === undefined) this.ends.push([at, time, reason, cluster, position]);
    else row.splice(-3, 3, at, time, reason);
  }

  beginStay(cluster: number, host: string, from: number, vm: string): void {
    this.stays.set(`${from}/${vm}`, [cluster, host, from, vm, null]);
  }

  finishStay(cluster: number, host: string, from: number, vm: string, to: number): void {
    const row = this.stays.get(`${from}/${vm}`);
    if (row === undefined) this.departures.push([to, cluster, host, from, vm]);
    else row[4] = to;
  }

  /** Writes everything; the caller has begun a transaction, and clears this when that is committed. */
  write(writer: RowWriter): void {
    for (const [table, values] of this.values) writer.insert(table, WIDTHS[table], values);
    if (this.allocations.size > 0) writer.insert('allocation', 16, [...this.allocations.values()].flat());
    if (this.stays.size > 0) writer.insert('stay', 5, [...this.stays.values()].flat());
    for (const row of this.ends) writer.finishAllocation(row);
    for (const row of this.departures) writer.finishStay(row);
  }

  /** Forgets what is written, or is not to be. */
  clear(): void {
    this.values.clear();
    this.allocations.clear();
    this.stays.clear();
    this.ends.length = 0;
    this.departures.length = 0;
  }
}
