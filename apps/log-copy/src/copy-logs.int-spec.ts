import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Database from 'libsql';
import { SqliteLog, type StoredDecision } from '#log';
import { copyLogs } from './copy-logs.js';
import { collect, sampleDecisions } from '../../../libs/log/src/sample-records.js';
import { KurrentDouble } from '../../../libs/log/src/kurrentdb/double.js';

let directory: string;
let source: string;
const double = new KurrentDouble();
const clusters: Record<string, number> = { default: 40, c1: 30 };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-log-copy-'));
  await double.start();
  source = `sqlite:${join(directory, 'events.db')}`;
  const log = await SqliteLog.open(join(directory, 'events.db'));
  for (const [cluster, decisions] of Object.entries(clusters)) {
    const all: readonly StoredDecision[] = sampleDecisions(await log.head(cluster), { decisions, events: 2 });
    await log.append(cluster, 0, all);
  }
  await log.close();
});
afterAll(async () => {
  await double.stop();
  await rm(directory, { recursive: true, force: true });
});

async function copy(...args: readonly string[]): Promise<readonly string[]> {
  const lines: string[] = [];
  await copyLogs(args, { VF_DATA_DIR: directory }, (line) => lines.push(line));
  return lines;
}

describe('log:copy', () => {
  test('brings a log from SQLite to KurrentDB and back, the same byte for byte', async () => {
    const there = double.url();
    expect(await copy(source, there)).toEqual([
      expect.stringMatching(/^c1: 60 events copied, up to position 60, hash [0-9a-f]{64}$/),
      expect.stringMatching(/^default: 80 events copied, up to position 80, hash [0-9a-f]{64}$/),
    ]);
    const back = `sqlite:${join(directory, 'back.db')}`;
    await copy(there, back, '--cluster', 'c1');
    expect(await copy(there, back)).toEqual([
      expect.stringContaining('c1: 0 events copied, up to position 60'),
      expect.stringContaining('default: 80 events copied'),
    ]);
    const [one, other] = [
      await SqliteLog.open(join(directory, 'events.db')),
      await SqliteLog.open(join(directory, 'back.db')),
    ];
    for (const cluster of Object.keys(clusters))
      expect(await collect(other.read(cluster, 1))).toEqual(await collect(one.read(cluster, 1)));
    await one.close();
    await other.close();
  });

  test('of a damaged log copies what is before the damage, when it is told to', async () => {
    const file = join(directory, 'damaged.db');
    await copy(source, `sqlite:${file}`);
    const db = new Database(file);
    db.exec(
      `UPDATE record SET body = replace(body, 'sample', 'forged') WHERE position = 21 AND stream = (SELECT id FROM stream WHERE name = 'c1')`,
    );
    db.close();
    const target = `${double.url()}&streamPrefix=vf2`;
    await expect(copy(`sqlite:${file}`, target)).rejects.toThrow(/damaged at position 21[^]*--up-to-damage/);
    expect(await copy(`sqlite:${file}`, target, '--up-to-damage')).toEqual([
      expect.stringContaining('c1: 0 events copied, up to position 20'),
      expect.stringMatching(/^c1: the rest is left out: .*position 21/),
      expect.stringContaining('default: 80 events copied'),
    ]);
    expect(double.storage.names()).toEqual(
      expect.arrayContaining(['vf2Clusters', 'vf2Cluster-c1', 'vf2Cluster-default']),
    );
  });

  test.each<[readonly string[], RegExp]>([
    [[], /^usage: npm run log:copy/],
    [['sqlite:a'], /^usage/],
    [['sqlite:a', 'sqlite:b', 'sqlite:c'], /^usage/],
    [['sqlite:a', 'memory:'], /gone at the end/],
    [['postgres://a', 'sqlite:b'], /VF_EVENT_LOG/],
    [['sqlite:a', 'sqlite:b', '--clutser', 'c1'], /clutser/],
    [['sqlite:a', 'jetstream:'], /VF_NATS_URL is not set|VF_NATS_URL/],
  ])('%j is refused', async (args, why) => {
    const inDirectory = args.map((arg) => arg.replace(/^sqlite:/, `sqlite:${directory}/`));
    await expect(copy(...inDirectory)).rejects.toThrow(why);
  });

  test('a cluster that there is not is refused, and another history too', async () => {
    const target = `sqlite:${join(directory, 'new.db')}`;
    await expect(copy(source, target, '--cluster', 'nowhere')).rejects.toThrow("has no cluster 'nowhere'");
    const log = await SqliteLog.open(join(directory, 'other.db'));
    await log.append('c1', 0, sampleDecisions(await log.head('c1'), { data: 'other' }));
    await log.close();
    await expect(copy(source, `sqlite:${join(directory, 'other.db')}`)).rejects.toThrow(
      /another history of 'c1'/,
    );
  });
});
