import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { emptyHead } from './chain.js';
import { checkExport, exportLog } from './export.js';
import { MemoryLog } from './memory-log.js';
import { sampleDecisions } from './sample-records.js';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
const AT = '2026-11-25T00:00:00.000Z';

async function* pieces(text: string, size = 1000): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function written(log: MemoryLog, cluster = 'c1'): Promise<string> {
  let text = '';
  for await (const lines of exportLog(log, cluster, privateKey, AT)) text += lines;
  return text;
}

describe('a signed export', () => {
  let log: MemoryLog;
  let text: string;
  let lines: string[];

  beforeAll(async () => {
    log = new MemoryLog();
    await log.append('c1', 0, sampleDecisions(emptyHead('c1'), { decisions: 20, events: 3 }));
    text = await written(log);
    lines = text.trimEnd().split('\n');
  });

  const check = (changed: readonly string[], key = pem) =>
    checkExport(pieces(`${changed.join('\n')}\n`), key);

  test('is checked without any server, in pieces of any size', async () => {
    const head = await log.head('c1');
    const good = { ok: true, cluster: 'c1', events: 60, head, exportedAt: AT, signature: 'good' };
    for (const size of [1, 7, 1000, 1e6]) expect(await checkExport(pieces(text, size), pem)).toEqual(good);
    expect(await checkExport(pieces(text.trimEnd()), publicKey)).toEqual(good);
  });

  test('of an empty log is a manifest alone', async () => {
    const empty = await written(new MemoryLog());
    expect(await checkExport(pieces(empty), pem)).toMatchObject({
      ok: true,
      events: 0,
      head: emptyHead('c1'),
    });
  });

  test('a changed body, input, order or gap is found, with its position', async () => {
    const change = (index: number, edit: (line: Record<string, unknown>) => object): string[] =>
      lines.with(index, JSON.stringify(edit(JSON.parse(lines[index] as string) as Record<string, unknown>)));
    for (const [changed, firstBad] of [
      [change(4, (line) => ({ ...line, body: `${line['body'] as string} ` })), 5],
      [change(3, (line) => ({ ...line, input: 'x' })), 4],
      [change(3, (line) => ({ ...line, input: undefined })), 4],
      [change(9, (line) => ({ ...line, hash: '0'.repeat(64) })), 10],
      [lines.toSpliced(6, 1), 7],
      [lines.toSpliced(6, 0, lines[6] as string), 8],
    ] as const) {
      expect(await check(changed)).toMatchObject({ ok: false, firstBad, events: firstBad - 1 });
    }
    expect(await check(lines.slice(1))).toMatchObject({ ok: false, firstBad: 1 });
  });

  test('one that was cut off, continued, signed by another or made for another cluster is not good', async () => {
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }) as string;
    expect(await check(lines.slice(0, -1))).toMatchObject({
      ok: false,
      signature: 'missing',
      problem: expect.stringMatching(/cut off/),
    });
    expect(await check(lines.toSpliced(-2, 1))).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/60 records, and there are 59/),
    });
    expect(await check([...lines, lines[0] as string])).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/behind the manifest/),
    });
    expect(await check(lines, other)).toMatchObject({ ok: false, signature: 'bad' });
    const manifest = (lines.at(-1) as string).replace('"c1"', '"c2"');
    expect(await check(lines.with(-1, manifest))).toMatchObject({ ok: false, firstBad: 1 });
    const later = (lines.at(-1) as string).replace(AT, '2027-01-01T00:00:00.000Z');
    expect(await check(lines.with(-1, later))).toMatchObject({ ok: false, signature: 'bad' });
  });

  test('what is no export is said to be none, and fills no memory', async () => {
    expect(await check(['hello'])).toMatchObject({
      ok: false,
      problem: 'line 1 is neither a record nor a manifest',
    });
    expect(await check(['[]', 'null', '1'])).toMatchObject({ ok: false });
    async function* endless(): AsyncGenerator<string> {
      for (;;) yield 'x'.repeat(1 << 20);
    }
    expect(await checkExport(endless(), pem)).toMatchObject({
      ok: false,
      problem: 'line 1 is longer than any record',
    });
  });

  test('a log whose chain does not hold is not signed', async () => {
    const damaged = log.connect();
    const bad = new MemoryLog();
    await bad.append('c1', 0, sampleDecisions(emptyHead('c1'), { decisions: 3 }));
    bad.tamper('c1', (records) =>
      records.map((record, index) => (index === 1 ? { ...record, body: '{}' } : record)),
    );
    await expect(written(bad)).rejects.toMatchObject({ code: 'CORRUPT', position: 2 });
    await damaged.close();
  });
});
