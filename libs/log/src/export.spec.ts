import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { canonicalJson } from './canonical-json.js';
import { emptyHead } from './chain.js';
import { checkExport, exportLog, readSignedHead, type SignedHead } from './export.js';
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
    expect(await checkExport(pieces(text), publicKey)).toEqual(good);
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

  /** Lines that say the same, or nearly, in other bytes. */
  const edits: readonly (readonly [string, (line: string) => string, RegExp])[] = [
    ['a space behind a colon', (line) => line.replace(':', ': '), /at character 13 it has " /],
    ['a space behind a comma', (line) => line.replace(',', ', '), /it has " /],
    ['a space before it', (line) => ` ${line}`, /at character 1 it has " {/],
    ['a space behind it', (line) => `${line} `, /it has " ", and an export nothing/],
    ['a tab behind it', (line) => `${line}\t`, /and an export nothing/],
    ['a carriage return', (line) => `${line}\r`, /it ends with a carriage return/],
    ['a carriage return inside', (line) => line.replace('{', '{\r'), /at character 2/],
    ['a byte order mark', (line) => `\uFEFF${line}`, /it begins with a byte order mark/],
    ['another order of keys', reordered, /at character 3/],
    ['a key twice', (line) => line.replace('{', '{"position":7,"hash":"",'), /at character \d+/],
    [
      'a key twice that nobody reads',
      (line) => line.replace(/}$/, ',"note":1,"note":2}'),
      /at character \d+/,
    ],
    ['one more key', (line) => line.replace(/}$/, ',"note":"x"}'), /at character \d+ it has ",\\"note/],
    ['one more key before', (line) => line.replace('{', '{"":0,'), /at character 3/],
    ['a key called __proto__', (line) => line.replace(/}$/, ',"__proto__":{"x":1}}'), /at character \d+/],
    [
      'an escape in a key',
      (line) => line.replace('"position"', String.raw`"\u0070osition"`),
      /it has "\\\\u0070/,
    ],
    [
      'an escape in a text',
      (line) =>
        line.replace(
          /"hash":"(.)/,
          (_, digit: string) => String.raw`"hash":"\u00${digit.charCodeAt(0).toString(16)}`,
        ),
      /it has "\\\\u00/,
    ],
    ['an escape for a slash', (line) => line.replace('/', String.raw`\/`), /it has "\\\\\//],
    ['a number with a fraction', (line) => line.replace(/"position":(\d+)/, '"position":$1.0'), /it has ".0/],
    [
      'a number with an exponent',
      (line) => line.replace(/"position":(\d+)/, '"position":$1e0'),
      /it has "e0/,
    ],
    ['a number as text', (line) => line.replace(/"position":(\d+)/, '"position":"$1"'), /./],
    ['a negative zero before', (line) => line.replace(/"position":(\d+)/, '"position":0$1'), /./],
  ];

  function reordered(line: string): string {
    const value = JSON.parse(line) as object;
    return JSON.stringify(Object.fromEntries(Object.entries(value).toReversed()));
  }

  describe.each([
    ['the first record', 0],
    ['a record with an input', 3],
    ['a record without one', 4],
    ['the manifest', -1],
  ])('%s', (_, index) => {
    test.each(edits)('with %s is refused, and its line is named', async (_what, edit, how) => {
      const at = index < 0 ? lines.length + index : index;
      const line = lines[at] as string;
      const edited = edit(line);
      // Some edits have no place in some lines.
      if (edited === line) return;
      const found = await check(lines.with(at, edited));
      expect(found).toMatchObject({ ok: false, problem: expect.stringContaining(`line ${at + 1} `) });
      if (!found.problem?.includes('neither')) expect(found.problem).toMatch(how);
    });
  });

  test.each<[string, (text: string) => string | Uint8Array, RegExp]>([
    [
      'no line feed at its end',
      (all) => all.trimEnd(),
      /^line 61 .* it has no line feed at its end: it was cut off/,
    ],
    ['an empty line in front', (all) => `\n${all}`, /^line 1 is neither/],
    ['an empty line inside', (all) => all.replace('\n', '\n\n'), /^line 2 is neither/],
    ['an empty line at its end', (all) => `${all}\n`, /^line 62 comes behind the manifest/],
    ['a space at its end', (all) => `${all} `, /^line 62 comes behind the manifest/],
    ['a zero byte at its end', (all) => `${all}\0`, /^line 62 comes behind the manifest/],
    ['another export behind it', (all) => all + all, /^line 62 comes behind the manifest/],
    ['the manifest twice', (all) => all + all.trimEnd().split('\n').at(-1)! + '\n', /^line 62 comes behind/],
    ['CRLF everywhere', (all) => all.replaceAll('\n', '\r\n'), /^line 1 .* carriage return/],
    ['carriage returns alone', (all) => all.replaceAll('\n', '\r'), /^line 1 /],
    ['a byte order mark', (all) => `\uFEFF${all}`, /^line 1 .* byte order mark/],
    ['UTF-16', (all) => Buffer.from(all, 'utf16le'), /^line 1 /],
    [
      'a byte that is no text',
      (all) =>
        Buffer.concat([Buffer.from(all.slice(0, 90)), Buffer.from([0xff]), Buffer.from(all.slice(91))]),
      /^line 1 is not text: its bytes are not UTF-8/,
    ],
    ['nothing in it', () => '', /^it ends without a manifest/],
    ['a line feed alone', () => '\n', /^line 1 is neither/],
  ])('with %s it is not good', async (_, edit, problem) => {
    const edited = edit(text);
    async function* stream(): AsyncGenerator<Uint8Array | string> {
      yield edited;
    }
    expect(await checkExport(stream(), pem)).toMatchObject({
      ok: false,
      problem: expect.stringMatching(problem),
    });
  });

  test('a signature has one text, and a manifest one key', async () => {
    const last = lines.at(-1) as string;
    const { manifest, signature } = JSON.parse(last) as SignedHead;
    for (const other of [
      signature.replace(/=+$/, ''),
      `${signature}=`,
      `${signature} `,
      signature.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''),
      // The last character before the padding has bits that nobody reads.
      signature.replace(/(.)==$/, (_, one: string) => `${String.fromCharCode(one.charCodeAt(0) + 1)}==`),
    ]) {
      expect(await check(lines.with(-1, JSON.stringify({ manifest, signature: other })))).toMatchObject({
        ok: false,
        signature: 'bad',
      });
    }
    const another = generateKeyPairSync('ed25519').publicKey.export({
      type: 'spki',
      format: 'pem',
    }) as string;
    const renamed = { ...manifest, publicKey: another };
    const signed = sign(null, Buffer.from(canonicalJson(renamed)), privateKey).toString('base64');
    expect(
      await check(lines.with(-1, JSON.stringify({ manifest: renamed, signature: signed }))),
    ).toMatchObject({ ok: false, problem: expect.stringMatching(/names another public key/) });
    const untimely = { ...manifest, exportedAt: '2026-11-25' };
    const signedToo = sign(null, Buffer.from(canonicalJson(untimely)), privateKey).toString('base64');
    expect(
      await check(lines.with(-1, JSON.stringify({ manifest: untimely, signature: signedToo }))),
    ).toMatchObject({ ok: false, problem: 'line 61 is neither a record nor a manifest' });
  });

  test('is not given out where its head cannot be kept', async () => {
    let given = '';
    const writing = async (): Promise<void> => {
      const keep = () => Promise.reject(new Error('it cannot be kept'));
      for await (const piece of exportLog(log, 'c1', privateKey, AT, keep)) given += piece;
    };
    await expect(writing()).rejects.toThrow('it cannot be kept');
    expect(given).not.toContain('manifest');
  });

  test('a head is read back only as it was written', () => {
    const last = lines.at(-1) as string;
    expect(readSignedHead(last)).toEqual(JSON.parse(last));
    for (const other of [
      ` ${last}`,
      `${last}\n`,
      reordered(last),
      lines[0] as string,
      'null',
      '',
      '{"manifest":{}}',
    ])
      expect(readSignedHead(other)).toBeUndefined();
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
