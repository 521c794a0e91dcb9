import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { emptyHead, sealRecord, type Head } from './chain.js';
import { isTransient } from './errors.js';
import type { EventLog, Snapshot } from './event-log.js';
import type { StoredDecision, StoredRecord } from './record.js';
import { collect, headAfter, sampleDecisions, type SampleOptions } from './sample-records.js';
import { verifyStream } from './verify.js';

/** A log to be tested, with what the suite must be able to do to it. */
export interface LogUnderTest {
  readonly log: EventLog;
  /** Another user of the same log, as a second process would be. The suite does not close it. */
  second(): Promise<EventLog>;
  /** Closes `log` and opens it anew, as a restart does. */
  reopen(): Promise<EventLog>;
  /** Changes the records as they are stored, past the port; needed unless `tampering` is false. */
  tamper?(
    stream: string,
    change: (records: readonly StoredRecord[]) => readonly StoredRecord[],
  ): Promise<void>;
  /** Closes and removes everything, also what was opened by the above. */
  dispose(): Promise<void>;
}

const slow = 60_000;
let streamNumber = 0;

/**
 * The tests that every log adapter passes: all that the port promises.
 *
 * @param make gives a log for one test. It may hold other streams: each test uses names of its own.
 * @param options `tampering: false` where the store cannot be made to hold what nobody wrote.
 */
export function logConformance(
  name: string,
  make: () => Promise<LogUnderTest>,
  { tampering = true }: { tampering?: boolean } = {},
): void {
  describe(`${name} keeps the promises of the log`, () => {
    let subject: LogUnderTest;
    let log: EventLog;
    let stream: string;

    beforeEach(async () => {
      subject = await make();
      log = subject.log;
      stream = nextStream();
    }, slow);

    afterEach(() => subject.dispose(), slow);

    const add = async (options?: SampleOptions, to = stream): Promise<StoredRecord[]> => {
      const head = await log.head(to);
      const decisions = sampleDecisions(head, options);
      await log.append(to, head.position, decisions);
      return decisions.flat();
    };

    describe('append and read', () => {
      test('a stream without records has its genesis head and nothing to read', async () => {
        expect(await log.head(stream)).toEqual(emptyHead(stream));
        expect(await collect(log.read(stream, 1))).toEqual([]);
        expect(await collect(log.read(stream, 7))).toEqual([]);
        expect(await log.streams()).not.toContain(stream);
        expect(await verifyStream(log, stream)).toEqual({ events: 0, ok: true, head: emptyHead(stream) });
      });

      test('what was appended is read back, byte for byte, and the head is its last', async () => {
        const first = await add({ decisions: 3, events: 2 });
        const then = await add({ decisions: 1, events: 4 });
        const all = [...first, ...then];
        expect(await collect(log.read(stream, 1))).toEqual(all);
        expect(await log.head(stream)).toEqual({ position: 10, hash: all.at(-1)?.hash });
      });

      test('positions go from 1 without gaps, whatever the size of the calls', async () => {
        for (const decisions of [1, 7, 1, 30, 2]) await add({ decisions, events: 3 });
        const positions = (await collect(log.read(stream, 1))).map((record) => record.position);
        expect(positions).toEqual(Array.from({ length: 123 }, (_, index) => index + 1));
      });

      test('a read begins where it is told, and beyond the end it has nothing', async () => {
        const all = await add({ decisions: 5, events: 2 });
        expect(await collect(log.read(stream, 4))).toEqual(all.slice(3));
        expect(await collect(log.read(stream, 10))).toEqual(all.slice(9));
        expect(await collect(log.read(stream, 11))).toEqual([]);
        await expect(collect(log.read(stream, 0))).rejects.toThrow(RangeError);
      });

      test('a read a few at a time goes on to the end, checked or not', async () => {
        const all = await add({ decisions: 5, events: 2 });
        for (const most of [1, 3, 100]) {
          expect(await collect(log.read(stream, 1, { most }))).toEqual(all);
          expect(await collect(log.read(stream, 1, { most, verify: emptyHead(stream) }))).toEqual(all);
        }
      });

      test('a read without inputs leaves them out and nothing else', async () => {
        const all = await add({ decisions: 2, events: 2 });
        const expected = all.map(({ position, id, hash, body }) => ({ position, id, hash, body }));
        const read = await collect(log.read(stream, 1, { inputs: false }));
        expect(read).toEqual(expected);
        expect(read.filter((record) => 'input' in record)).toEqual([]);
      });

      test('an append without decisions is a success that writes nothing', async () => {
        await add();
        await log.append(stream, 1, []);
        expect((await log.head(stream)).position).toBe(1);
      });

      test('every kind of text comes back as it was', async () => {
        const data = [
          'ä€😀𝒳',
          '\u0000\u0001\u001f\u007f',
          '\u2028\u2029\ufeff\ufffd',
          '"\\/\b\f\n\r\t',
          'e\u0301 \u200d',
          '',
        ];
        const input = '\ufeff{\r\n\t"odd": "ä€😀 \\ud800 \u2028\ufffd",\n\n "n": 1.0e+2 }\n';
        const all = await add({ decisions: 2, events: 2, data, input });
        const read = await collect(log.read(stream, 1));
        expect(read).toEqual(all);
        expect(JSON.parse(read[0]!.body)).toMatchObject({ data: { sample: data } });
        expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: 4 });
      });

      test(
        'records of 256 KiB, several in one call',
        async () => {
          const data = 'ö'.repeat(120 * 1024);
          const all = await add({ decisions: 2, events: 2, data });
          expect(Buffer.byteLength(all[0]!.input!)).toBeGreaterThan(240 * 1024);
          expect(await collect(log.read(stream, 1))).toEqual(all);
          expect(await verifyStream(log, stream)).toMatchObject({ ok: true });
        },
        slow,
      );

      test(
        'thousands of records in one call',
        async () => {
          const all = await add({ decisions: 2000, events: 2 });
          expect(await collect(log.read(stream, 1))).toEqual(all);
          expect(await collect(log.read(stream, 3999))).toEqual(all.slice(3998));
          expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: 4000 });
        },
        slow,
      );

      test('streams are apart, and listed by name', async () => {
        const other = nextStream();
        const inOne = await add({ decisions: 2 });
        const inOther = await add({ decisions: 3 }, other);
        const more = await add({ decisions: 2 });
        expect(await collect(log.read(stream, 1))).toEqual([...inOne, ...more]);
        expect(await collect(log.read(other, 1))).toEqual(inOther);
        expect(inOne[0]?.id).not.toBe(inOther[0]?.id);
        const names = (await log.streams()).filter((known) => known === stream || known === other);
        expect(names).toEqual([stream, other].toSorted());
      });

      test('a call that no log may accept is a TypeError and writes nothing', async () => {
        const [good] = sampleDecisions(emptyHead(stream), { events: 2 });
        await expect(log.append(stream, 0, [good!, []])).rejects.toThrow(TypeError);
        await expect(log.append(stream, 1, [good!])).rejects.toThrow(TypeError);
        await expect(log.append(stream, 0, [[{ ...good![0]!, id: good![1]!.id }]])).rejects.toThrow(
          TypeError,
        );
        const surrogate = sealRecord(emptyHead(stream), '"\ud800"');
        await expect(log.append(stream, 0, [[surrogate]])).rejects.toThrow(TypeError);
        expect(await log.head(stream)).toEqual(emptyHead(stream));
      });
    });

    describe('the expected position', () => {
      test('a call behind or ahead of the head is refused with where the log is, and writes nothing', async () => {
        const all = await add({ decisions: 4 });
        for (const position of [0, 2, 5, 9]) {
          const head: Head = { position, hash: 'f'.repeat(64) };
          await expect(
            log.append(stream, position, sampleDecisions(head, { data: 'other' })),
          ).rejects.toMatchObject({
            code: 'WRONG_POSITION',
            position: 4,
          });
        }
        expect(await collect(log.read(stream, 1))).toEqual(all);
      });

      test('whoever was refused reads on from the head as it is, checked', async () => {
        const all = await add({ decisions: 4 });
        const others = sampleDecisions(emptyHead(stream), { decisions: 4, data: 'other' });
        await expect(log.append(stream, 0, others)).rejects.toMatchObject({ code: 'WRONG_POSITION' });
        const { position, hash } = all.at(-1)!;
        expect(await collect(log.read(stream, 5, { verify: { position, hash } }))).toEqual([]);
      });

      test('records made on another history are refused at the right position too', async () => {
        await add();
        const other = { position: 1, hash: '0'.repeat(64) };
        await expect(log.append(stream, 1, sampleDecisions(other))).rejects.toMatchObject({
          code: 'WRONG_POSITION',
        });
        expect((await log.head(stream)).position).toBe(1);
      });

      test(
        '[EX-1 refuses] of two writers at one position exactly one gets in, whole, again and again',
        async () => {
          const writers = [log, await subject.second()];
          let head = emptyHead(stream);
          for (let round = 0; round < 40; round++) {
            const calls = writers.map((_, writer) =>
              sampleDecisions(head, { decisions: 2, events: 2, data: { round, writer } }),
            );
            const at = head.position;
            const results = await Promise.allSettled(
              writers.map((writer, index) => writer.append(stream, at, calls[index]!)),
            );
            expect(results.map((result) => result.status).toSorted()).toEqual(['fulfilled', 'rejected']);
            const loser = results.findIndex((result) => result.status === 'rejected');
            let { reason } = results[loser] as PromiseRejectedResult;
            // Servers that elect a leader just then cannot say who came first: whoever asks again hears it.
            while (isTransient(reason)) {
              reason = await writers[loser]!.append(stream, at, calls[loser]!).catch(
                (error: unknown) => error,
              );
            }
            expect(reason).toMatchObject({ code: 'WRONG_POSITION', position: at + 4 });
            const won = calls[1 - loser]!;
            expect(await collect(log.read(stream, at + 1))).toEqual(won.flat());
            head = headAfter(head, won);
          }
          expect(await verifyStream(log, stream)).toEqual({ events: 160, ok: true, head });
        },
        slow,
      );

      test(
        'writers that load again after a refusal all get everything in, once',
        async () => {
          const writers = [log, await subject.second(), await subject.second()];
          const rounds = 15;
          const write = async (writer: EventLog, number: number): Promise<void> => {
            for (let round = 0; round < rounds;) {
              const head = await writer.head(stream);
              const decisions = sampleDecisions(head, { data: `${number}/${round}` });
              const append = (): Promise<unknown> =>
                writer.append(stream, head.position, decisions).catch((error: unknown) => error);
              let failure = await append();
              while (isTransient(failure)) failure = await append();
              if (failure === undefined) round += 1;
              else expect(failure).toMatchObject({ code: 'WRONG_POSITION' });
            }
          };
          await Promise.all(writers.map(write));
          const wrote = (await collect(log.read(stream, 1))).map(sampleOf);
          const expected = writers.flatMap((_, number) =>
            Array.from({ length: rounds }, (_none, round) => `${number}/${round}`),
          );
          expect(wrote.toSorted()).toEqual(expected.toSorted());
          expect(await verifyStream(log, stream)).toMatchObject({ ok: true });
        },
        slow,
      );
    });

    describe('the same append again', () => {
      let head: Head;
      let decisions: readonly StoredDecision[];

      beforeEach(async () => {
        await add();
        head = await log.head(stream);
        decisions = sampleDecisions(head, { decisions: 3, events: 2 });
      });

      test('is a success that writes nothing', async () => {
        await log.append(stream, 1, decisions);
        await log.append(stream, 1, decisions);
        await (await subject.second()).append(stream, 1, decisions);
        expect((await log.head(stream)).position).toBe(7);
        expect(await collect(log.read(stream, 2))).toEqual(decisions.flat());
      });

      test('is a success also when more was appended behind it', async () => {
        await log.append(stream, 1, decisions);
        const more = await add({ data: 'more' });
        await log.append(stream, 1, decisions);
        await log.append(stream, 3, decisions.slice(1, 2));
        expect(await collect(log.read(stream, 2))).toEqual([...decisions.flat(), ...more]);
      });

      test('completes what was only partly in', async () => {
        await log.append(stream, 1, decisions.slice(0, 1));
        await log.append(stream, 1, decisions);
        expect(await collect(log.read(stream, 2))).toEqual(decisions.flat());
        expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: 7 });
      });

      test('with other content behind an equal beginning is refused and writes nothing', async () => {
        await log.append(stream, 1, decisions.slice(0, 2));
        const others = sampleDecisions(headAfter(head, decisions.slice(0, 1)), {
          decisions: 3,
          data: 'other',
        });
        await expect(log.append(stream, 1, [decisions[0]!, ...others])).rejects.toMatchObject({
          code: 'WRONG_POSITION',
          position: 5,
        });
        expect(await collect(log.read(stream, 2))).toEqual(decisions.slice(0, 2).flat());
      });
    });

    describe('follow', () => {
      test('hands out what is there, then what comes, by itself and by others, and ends when told', async () => {
        const other = await subject.second();
        const all = await add({ decisions: 3 });
        const stop = new AbortController();
        const seen: StoredRecord[] = [];
        for await (const records of log.follow(stream, 1, stop.signal)) {
          seen.push(...records);
          if (seen.length === 2) all.push(...(await add({ data: 'mine' })));
          if (seen.length === 3) {
            const head = await other.head(stream);
            const decisions = sampleDecisions(head, { events: 2, data: 'from another' });
            await other.append(stream, head.position, decisions);
            all.push(...decisions.flat());
          }
          if (seen.length >= 5) stop.abort();
        }
        expect(seen).toEqual(all.slice(1));
      });

      test('waits on a stream that is empty, and several follow at once', async () => {
        const other = await subject.second();
        const stop = new AbortController();
        const follow = async (reader: EventLog): Promise<StoredRecord> => {
          for await (const [first] of reader.follow(stream, 0, stop.signal)) return first!;
          throw new Error('ended without a record');
        };
        const following = [follow(log), follow(other), follow(log)];
        const [record] = await add();
        expect(await Promise.all(following)).toEqual([record, record, record]);
      });

      test('loses nothing and doubles nothing while two write', async () => {
        const other = await subject.second();
        const stop = new AbortController();
        const seen: StoredRecord[] = [];
        const following = (async () => {
          for await (const records of log.follow(stream, 0, stop.signal)) {
            seen.push(...records);
            if (seen.length >= 60) stop.abort();
          }
        })();
        for (let round = 0; round < 30; round++) {
          const writer = round % 2 === 0 ? log : other;
          const head = await writer.head(stream);
          await writer.append(stream, head.position, sampleDecisions(head, { events: 2, data: round }));
        }
        await following;
        expect(seen).toEqual(await collect(log.read(stream, 1)));
      });

      test('ends when it is stopped while it waits, and before it began', async () => {
        await add();
        const stop = new AbortController();
        const iterator = log.follow(stream, 0, stop.signal)[Symbol.asyncIterator]();
        expect((await iterator.next()).value).toHaveLength(1);
        const waiting = iterator.next();
        stop.abort();
        expect((await waiting).done).toBe(true);
        expect(await collect(log.follow(stream, 0, AbortSignal.abort()))).toEqual([]);
      });
    });

    describe('verified reads', () => {
      test('a good log reads the same when verified, from the start, from a later head, and followed', async () => {
        const all = await add({ decisions: 700, events: 2 });
        expect(await collect(log.read(stream, 1, { verify: emptyHead(stream) }))).toEqual(all);
        const { position, hash } = all[9]!;
        expect(await collect(log.read(stream, 11, { verify: { position, hash } }))).toEqual(all.slice(10));
        const stop = new AbortController();
        let seen = 0;
        for await (const records of log.follow(stream, 10, stop.signal, { verify: { position, hash } })) {
          seen += records.length;
          if (seen === 1390) await add();
          if (seen === 1391) stop.abort();
        }
      });

      test(
        'a log with another record, or none, at the head is refused, naming the position',
        async () => {
          const all = await add({ decisions: 5 });
          const hash = 'a'.repeat(64);
          for (const position of [2, 5, 9]) {
            await expect(
              collect(log.read(stream, position + 1, { verify: { position, hash } })),
            ).rejects.toMatchObject({ code: 'CORRUPT', position });
          }
          await expect(
            collect(log.read(stream, 2, { verify: { position: 2, hash: all[1]!.hash } })),
          ).rejects.toThrow(RangeError);
        },
        slow,
      );

      const count = 1500;
      const at = 1200;
      const tamperings: Record<string, (records: readonly StoredRecord[]) => readonly StoredRecord[]> = {
        'an edited body': (records) => records.with(at - 1, { ...records[at - 1]!, body: '{"forged":true}' }),
        'an edited input': (records) =>
          records.with(at - 1, { ...records[at - 1]!, input: '{"forged":true}' }),
        'a removed input': (records) => records.with(at - 1, { ...records[at - 1]!, input: undefined }),
        'an edited hash': (records) => records.with(at - 1, { ...records[at - 1]!, hash: 'b'.repeat(64) }),
        'a removed record': (records) => records.filter((record) => record.position !== at),
        'two swapped records': (records) =>
          records
            .with(at - 1, { ...records[at]!, position: at })
            .with(at, { ...records[at - 1]!, position: at + 1 }),
        'a record sealed anew': (records) => {
          const { position, hash } = records[at - 2]!;
          return records.with(at - 1, sealRecord({ position, hash }, '{"forged":true}'));
        },
      };
      for (const [what, change] of Object.entries(tampering ? tamperings : {})) {
        test(`${what} is found, and what is before it is delivered`, async () => {
          const all = await add({ decisions: count });
          await subject.tamper!(stream, change);
          // A forged record is found by itself or, when it was sealed anew, by the next one, which does not
          // link to it.
          const bad = what === 'a record sealed anew' ? at + 1 : at;
          const verification = await verifyStream(log, stream);
          expect(verification).toMatchObject({ ok: false, firstBad: { position: bad } });
          expect(verification.head.position).toBe(bad - 1);

          const seen: StoredRecord[] = [];
          const reading = (async () => {
            for await (const records of log.read(stream, 1, { verify: emptyHead(stream) }))
              seen.push(...records);
          })();
          await expect(reading).rejects.toMatchObject({ code: 'CORRUPT', position: bad });
          expect(seen).toHaveLength(bad - 1);
          expect(seen.slice(0, at - 1)).toEqual(all.slice(0, at - 1));
        });
      }
    });

    describe('a history that is incomplete', () => {
      test('is said of no stream whose beginning is there, and of none without records', async () => {
        expect(await log.incomplete(stream)).toBeUndefined();
        await add({ decisions: 3 });
        expect(await log.incomplete(stream)).toBeUndefined();
      });

      const losses: Record<string, (records: readonly StoredRecord[]) => readonly StoredRecord[]> = {
        'the first record is gone': (records) => records.slice(1),
        'the first record was edited': (records) =>
          records.with(0, { ...records[0]!, body: '{"forged":true}' }),
      };
      for (const [what, change] of Object.entries(tampering ? losses : {})) {
        test(`is told in a sentence, and its stream is listed on: ${what}`, async () => {
          await add({ decisions: 3 });
          await subject.tamper!(stream, change);
          expect(await log.incomplete(stream)).toMatch(/\w+ .*position 1\b|begins at event 1\b/);
          expect(await (await subject.reopen()).streams()).toContain(stream);
        });
      }
    });

    describe('snapshots', () => {
      const snapshot = (position: number, state = `{"at":${position}}`): Snapshot => ({
        position,
        hash: position.toString(16).padStart(64, '0'),
        version: '1.2.3',
        state,
      });

      test('there are none at first', async () => {
        expect(await log.snapshots(stream)).toEqual([]);
      });

      test('the newest two are kept, newest first, for each stream', async () => {
        await add({ decisions: 3 });
        const other = nextStream();
        await log.saveSnapshot(other, snapshot(5));
        for (const position of [10, 20, 30]) await log.saveSnapshot(stream, snapshot(position));
        const kept = await log.snapshots(stream);
        expect(kept.slice(0, 2)).toEqual([snapshot(30), snapshot(20)]);
        expect(await log.snapshots(other)).toEqual([snapshot(5)]);
      });

      test('a big state with every kind of text comes back as it was, after a restart too', async () => {
        await add();
        const state = JSON.stringify(
          Array.from({ length: 20_000 }, (_, index) => `ä€😀\u0000\u2028 ${index * 7919}`),
        );
        await log.saveSnapshot(stream, snapshot(1, state));
        expect(await log.snapshots(stream)).toEqual([snapshot(1, state)]);
        expect(await (await subject.reopen()).snapshots(stream)).toEqual([snapshot(1, state)]);
      });

      test('the same one again is kept once', async () => {
        await log.saveSnapshot(stream, snapshot(1));
        await log.saveSnapshot(stream, snapshot(2));
        await log.saveSnapshot(stream, snapshot(2));
        expect((await log.snapshots(stream)).slice(0, 2)).toEqual([snapshot(2), snapshot(1)]);
      });
    });

    describe('close and open again', () => {
      test('everything is there, byte for byte, and goes on', async () => {
        const all = await add({ decisions: 20, events: 3, data: 'ä€😀' });
        const before = await log.head(stream);
        log = await subject.reopen();
        expect(await log.head(stream)).toEqual(before);
        expect(await log.streams()).toContain(stream);
        expect(await collect(log.read(stream, 1))).toEqual(all);
        all.push(...(await add({ decisions: 2 })));
        expect(await collect(log.read(stream, 1))).toEqual(all);
        expect(await verifyStream(log, stream)).toMatchObject({ ok: true, events: 62 });
      });

      test('what was asked for before is finished, and durable', async () => {
        const decisions = sampleDecisions(emptyHead(stream), { decisions: 50 });
        const appending = log.append(stream, 0, decisions);
        await Promise.all([appending, log.close()]);
        expect(await collect((await subject.reopen()).read(stream, 1))).toEqual(decisions.flat());
      });

      test('closed twice is closed, and every call after it fails with UNAVAILABLE', async () => {
        await add();
        await log.close();
        await log.close();
        const unavailable = { code: 'UNAVAILABLE' };
        const decisions = sampleDecisions(emptyHead(stream));
        await expect(log.append(stream, 0, decisions)).rejects.toMatchObject(unavailable);
        await expect(log.head(stream)).rejects.toMatchObject(unavailable);
        await expect(log.streams()).rejects.toMatchObject(unavailable);
        await expect(log.snapshots(stream)).rejects.toMatchObject(unavailable);
        await expect(
          log.saveSnapshot(stream, { position: 1, hash: '', version: '', state: '' }),
        ).rejects.toMatchObject(unavailable);
        await expect(collect(log.read(stream, 1))).rejects.toMatchObject(unavailable);
        const { signal } = new AbortController();
        await expect(collect(log.follow(stream, 0, signal))).rejects.toMatchObject(unavailable);
      });

      test('a follower that waits learns of it, others go on', async () => {
        const other = await subject.second();
        await add();
        const { signal } = new AbortController();
        const iterator = log.follow(stream, 0, signal)[Symbol.asyncIterator]();
        await iterator.next();
        const waiting = iterator.next();
        await Promise.all([expect(waiting).rejects.toMatchObject({ code: 'UNAVAILABLE' }), log.close()]);
        expect((await other.head(stream)).position).toBe(1);
      });
    });
  });
}

function nextStream(): string {
  streamNumber += 1;
  return `conformance-${process.pid}-${streamNumber}`;
}

function sampleOf(record: StoredRecord): string {
  return (JSON.parse(record.body) as { data: { sample: string } }).data.sample;
}
