import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { inputSubject, outputSubject } from '#wire';
import type { Broker, DeadLetter, InputFollower, InputMessage, Lease, OutputMessage } from './broker.js';

/** One process's connection to the site's broker. */
export interface SiteConnection {
  readonly broker: Broker;
  cut(): void;
  heal(): void;
}

/** A broker of one test, empty, with what only tests may do to it. */
export interface Site {
  connect(): Promise<SiteConnection>;
  /** Stores an input as any publisher may. */
  storeInput(subject: string, payload: Uint8Array, headers?: Record<string, string>): Promise<number>;
  /** Deletes `VF_IN` and makes it again. */
  replaceInput(): Promise<void>;
  /** Deletes what `VF_OUT_<cluster>` holds, as its limits may. */
  purgeOutput(cluster: string): Promise<void>;
  /** What `VF_OUT_<cluster>` holds, in order. */
  outputs(cluster: string): Promise<Array<{ position: number; subject: string; payload: string }>>;
  /** What `vf.dead.<cluster>` holds, in order. */
  deadLetters(cluster: string): Promise<DeadLetter[]>;
  /** How long a holder that is cut off keeps others out, in milliseconds. */
  readonly leaseTakeOverAfter: number;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const text = (payload: Uint8Array | undefined): string | undefined =>
  payload && Buffer.from(payload).toString('utf8');
const subjectOf = (cluster: string, n: number): string => inputSubject(cluster, 'vm', `vm-${n}`, 'VmStarted');

const outputsFrom = (cluster: string, first: number, count: number, content = 'event'): OutputMessage[] =>
  Array.from({ length: count }, (_, index) => ({
    position: first + index,
    subject: outputSubject(cluster, 'vm', `vm-${first + index}`, 'VmStarted'),
    id: `id-${content}-${first + index}`,
    payload: `${content} ${first + index}`,
  }));

/** Before every dead letter there is. */
const LONG_AGO = 0;

const letterAt = (sequence: number, more: Partial<DeadLetter> = {}): DeadLetter => ({
  stream: '2026-01-01T00:00:00.000000001Z',
  sequence,
  subject: `vf.in.default.nonsense.${sequence}`,
  reason: `It has no kind. (${sequence})`,
  payload: bytes(`payload ${sequence}`),
  ...more,
});

/** Takes until there are so many messages. */
async function takeCount(follower: InputFollower, count: number): Promise<InputMessage[]> {
  const taken: InputMessage[] = [];
  while (taken.length < count) {
    const batch = await follower.take();
    if (!batch) throw new Error(`the follower ended after ${taken.length} of ${count} messages`);
    expect(batch.length).toBeGreaterThan(0);
    taken.push(...batch);
  }
  return taken;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Asks again until the answer is yes; bounded by the test's own timeout. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Registers the tests that every adapter of the broker port passes. */
export function brokerConformance(name: string, make: () => Promise<Site>): void {
  jest.setTimeout(60_000);

  describe(`${name} keeps the promises of the broker port`, () => {
    let site: Site;
    let connection: SiteConnection;
    let broker: Broker;

    beforeEach(async () => {
      site = await make();
      connection = await site.connect();
      broker = connection.broker;
      await broker.prepare();
    });

    afterEach(async () => {
      await site?.close();
    });

    const publish = async (cluster: string, count: number, from = 1): Promise<number[]> => {
      const sequences: number[] = [];
      for (let n = from; n < from + count; n++) {
        sequences.push(await broker.input.publish(subjectOf(cluster, n), bytes(`input ${n}`)));
      }
      return sequences;
    };

    describe('VF_IN', () => {
      test('prepare may be called again and again', async () => {
        const before = await broker.input.info();
        await broker.prepare();
        expect(await broker.input.info()).toEqual(before);
      });

      test('is empty at first, and tells which stream it is', async () => {
        const info = await broker.input.info();
        expect(info).toEqual({ created: expect.any(String), firstSequence: 1, lastSequence: 0 });
        expect(Number.isNaN(Date.parse(info.created))).toBe(false);
      });

      test('publish gives the sequence, and stores what was published before once more', async () => {
        expect(await publish('a', 2)).toEqual([1, 2]);
        expect(await broker.input.publish(subjectOf('a', 1), bytes('input 1'))).toBe(3);
        expect((await broker.input.info()).lastSequence).toBe(3);
      });

      test('get gives a message as stored, and undefined for what is not there', async () => {
        const payload = new Uint8Array([0, 1, 254, 255, 10, 13]);
        const sequence = await site.storeInput(subjectOf('a', 1), payload, {
          'ce-id': 'one',
          'X-Any': 'a: b',
        });
        expect(await broker.input.get(sequence)).toEqual({
          sequence,
          time: expect.any(Number),
          subject: subjectOf('a', 1),
          headers: { 'ce-id': 'one', 'X-Any': 'a: b' },
          payload,
        });
        expect(await broker.input.get(0)).toBeUndefined();
        expect(await broker.input.get(sequence + 1)).toBeUndefined();
      });

      test('follow and get tell the same of a message', async () => {
        await site.storeInput(subjectOf('a', 1), bytes('with'), { 'ce-type': 'VmStarted' });
        await site.storeInput(subjectOf('a', 2), bytes('without'));
        const follower = await broker.input.follow('a', 0);
        const [first, second] = await takeCount(follower, 2);
        expect(first!.headers).toEqual({ 'ce-type': 'VmStarted' });
        expect(second!.headers).toBeUndefined();
        expect(await broker.input.get(1)).toEqual(first);
        expect(await broker.input.get(2)).toEqual(second);
      });

      test('follow brings one cluster in order, from after a sequence on', async () => {
        for (let n = 1; n <= 20; n++)
          await broker.input.publish(subjectOf(n % 2 ? 'a' : 'b', n), bytes(`${n}`));
        const a = await broker.input.follow('a', 5);
        const b = await broker.input.follow('b', 0);
        expect((await takeCount(a, 7)).map(({ sequence }) => sequence)).toEqual([7, 9, 11, 13, 15, 17, 19]);
        expect((await takeCount(b, 10)).map(({ payload }) => text(payload))).toEqual(
          [2, 4, 6, 8, 10, 12, 14, 16, 18, 20].map(String),
        );
      });

      test('a cluster whose name begins like another is another', async () => {
        await publish('ab', 1);
        await publish('a', 1);
        const follower = await broker.input.follow('a', 0);
        expect((await takeCount(follower, 1)).map(({ subject }) => subject)).toEqual([subjectOf('a', 1)]);
      });

      test('take waits for a lone message and brings it at once', async () => {
        const follower = await broker.input.follow('a', 0);
        const waiting = follower.take();
        await publish('a', 1);
        expect((await waiting)!.map(({ sequence }) => sequence)).toEqual([1]);
      });

      test('take never brings more than maxMessages', async () => {
        await publish('a', 25);
        const follower = await broker.input.follow('a', 0, { maxMessages: 4 });
        const sequences: number[] = [];
        while (sequences.length < 25) {
          const batch = (await follower.take())!;
          expect(batch.length).toBeLessThanOrEqual(4);
          sequences.push(...batch.map(({ sequence }) => sequence));
        }
        expect(sequences).toEqual(Array.from({ length: 25 }, (_, index) => index + 1));
      });

      test('take brings at most maxBytes, and a single larger message alone', async () => {
        const sizes = [1_000, 1_000, 1_000, 50_000, 1_000, 1_000];
        for (const size of sizes) await site.storeInput(subjectOf('a', 1), new Uint8Array(size).fill(65));
        const follower = await broker.input.follow('a', 0, { maxBytes: 2_500 });
        const batches: number[][] = [];
        while (batches.flat().length < sizes.length) {
          batches.push((await follower.take())!.map(({ payload }) => payload.length));
        }
        expect(batches.flat()).toEqual(sizes);
        for (const batch of batches) {
          expect(batch.length === 1 || batch.reduce((sum, size) => sum + size) <= 2_500).toBe(true);
        }
      });

      test('a follower that is not asked keeps its place', async () => {
        const follower = await broker.input.follow('a', 0, { maxMessages: 8 });
        await publish('a', 8);
        expect((await takeCount(follower, 1)).at(0)?.sequence).toBe(1);
        await publish('a', 92, 9);
        const other = await broker.input.follow('a', 0);
        await takeCount(other, 100);
        const rest: number[] = [];
        while (rest.at(-1) !== 100) rest.push(...(await follower.take())!.map(({ sequence }) => sequence));
        expect(rest).toEqual(Array.from({ length: rest.length }, (_, index) => 101 - rest.length + index));
      });

      test('time is the time of storing and does not depend on who asks', async () => {
        await publish('a', 3);
        const one = await takeCount(await broker.input.follow('a', 0), 3);
        const two = await takeCount(await (await site.connect()).broker.input.follow('a', 0), 3);
        expect(two).toEqual(one);
        expect(Math.abs(one[0]!.time - Date.now())).toBeLessThan(600_000);
        expect(one[1]!.time).toBeGreaterThanOrEqual(one[0]!.time);
      });

      test('its time is the one that inputs are stored with', async () => {
        const before = broker.now();
        await publish('a', 1);
        const after = broker.now();
        const [stored] = await takeCount(await broker.input.follow('a', 0), 1);
        // Half of a round trip is not known.
        expect(stored!.time).toBeGreaterThanOrEqual(before - 500);
        expect(stored!.time).toBeLessThanOrEqual(after + 500);
      });

      test('purge takes away what is below a sequence, of that cluster only', async () => {
        await publish('a', 5);
        await publish('b', 5);
        await broker.input.purge('a', 4);
        await broker.input.purge('b', 1);
        await broker.input.purge('b', 0);
        expect(await broker.input.get(3)).toBeUndefined();
        expect((await broker.input.info()).firstSequence).toBe(4);
        expect(
          (await takeCount(await broker.input.follow('a', 0), 2)).map(({ sequence }) => sequence),
        ).toEqual([4, 5]);
        expect(await takeCount(await broker.input.follow('b', 0), 5)).toHaveLength(5);
        await broker.input.purge('a', 100);
        await broker.input.purge('b', 100);
        expect(await broker.input.info()).toMatchObject({ firstSequence: 11, lastSequence: 10 });
      });

      test('purge does not take from a follower what it has not been given yet', async () => {
        await publish('a', 500);
        const follower = await broker.input.follow('a', 0, { maxMessages: 20 });
        const [first] = (await follower.take())!;
        const seen = [first!.sequence, ...(await takeCount(follower, 30)).map(({ sequence }) => sequence)];
        await broker.input.purge('a', seen.at(-1)!);
        await publish('a', 100, 501);
        while (seen.at(-1) !== 600) seen.push(...(await follower.take())!.map(({ sequence }) => sequence));
        // `first` is the first of its batch: the rest of that batch is not in the list.
        expect(seen.slice(1)).toEqual(
          Array.from({ length: seen.length - 1 }, (_, index) => seen[1]! + index),
        );
      });

      test('remove takes away one message, and does not mind when it is not there', async () => {
        await publish('a', 3);
        await broker.input.remove(2);
        await broker.input.remove(2);
        await broker.input.remove(99);
        expect(
          (await takeCount(await broker.input.follow('a', 0), 2)).map(({ sequence }) => sequence),
        ).toEqual([1, 3]);
      });

      test('close ends a take that waits, and every later one', async () => {
        const follower = await broker.input.follow('a', 0);
        const waiting = follower.take();
        await follower.close();
        expect(await waiting).toBeUndefined();
        expect(await follower.take()).toBeUndefined();
        await follower.close();
      });

      test('a stream that was made again ends its followers with INPUT_REPLACED', async () => {
        await publish('a', 3);
        await broker.input.info();
        const follower = await broker.input.follow('a', 0);
        await takeCount(follower, 3);
        const waiting = expect(follower.take()).rejects.toMatchObject({ code: 'INPUT_REPLACED' });
        await site.replaceInput();
        await waiting;
        await expect(follower.take()).rejects.toMatchObject({ code: 'INPUT_REPLACED' });
      });

      test('following after a sequence that info of another stream told of fails with INPUT_REPLACED', async () => {
        await publish('a', 3);
        await broker.input.info();
        await site.replaceInput();
        await publish('a', 3, 4);
        const follower = await broker.input.follow('a', 1);
        await expect(follower.take()).rejects.toMatchObject({ code: 'INPUT_REPLACED' });
        await broker.input.info();
        expect(await takeCount(await broker.input.follow('a', 1), 2)).toHaveLength(2);
      });

      test('following after more than the stream holds fails with INPUT_REPLACED', async () => {
        await publish('a', 3);
        const follower = await broker.input.follow('a', 4);
        await expect(follower.take()).rejects.toMatchObject({ code: 'INPUT_REPLACED' });
      });

      test('watch tells of every subject, also of those that do not parse, and of what comes later', async () => {
        const seen: Array<{ sequence: number; subject: string }> = [];
        await publish('a', 1);
        await site.storeInput('vf.in', bytes('x')).catch(() => {});
        await site.storeInput('vf.in.what.is.this', bytes('x'));
        const watcher = await broker.input.watch((message) => seen.push(message));
        await until(() => seen.length === 2);
        await publish('new', 1);
        await until(() => seen.length === 3);
        expect(seen).toEqual([
          { sequence: 1, subject: subjectOf('a', 1) },
          { sequence: 2, subject: 'vf.in.what.is.this' },
          { sequence: 3, subject: subjectOf('new', 1) },
        ]);
        await watcher.close();
        const sequence = await broker.input.publish(subjectOf('a', 9), bytes('x'));
        await takeCount(await broker.input.follow('a', sequence - 1), 1);
        expect(seen).toHaveLength(3);
      });

      test('watch goes on with a stream that was made again, from its first message', async () => {
        const seen: string[] = [];
        await publish('a', 2);
        await broker.input.watch(({ sequence, subject }) => seen.push(`${sequence} ${subject}`));
        await until(() => seen.length === 2);
        await site.replaceInput();
        await site.storeInput(subjectOf('b', 1), bytes('x'));
        await until(() => seen.length === 3);
        expect(seen.at(-1)).toBe(`1 ${subjectOf('b', 1)}`);
      });
    });

    describe('VF_OUT', () => {
      test('there is no state without a stream', async () => {
        expect(await broker.output.state('a')).toBeUndefined();
      });

      test('stores what is published, in order, at its position', async () => {
        await broker.output.create('a', 1);
        expect(await broker.output.state('a')).toMatchObject({ firstSequence: 1, lastSequence: 0, holes: 0 });
        const messages = outputsFrom('a', 1, 2_000);
        await broker.output.publish('a', messages.slice(0, 700));
        await broker.output.publish('a', messages.slice(700));
        const stored = await site.outputs('a');
        expect(stored).toEqual(
          messages.map(({ position, subject, payload }) => ({ position, subject, payload })),
        );
        const state = await broker.output.state('a');
        expect(state?.lastSequence).toBe(2_000);
        expect(text(state?.lastPayload)).toBe('event 2000');
      });

      test('takes bytes as well as text, and nothing', async () => {
        await broker.output.create('a', 1);
        await broker.output.publish('a', []);
        await broker.output.publish('a', [{ ...outputsFrom('a', 1, 1)[0]!, payload: bytes('é') }]);
        expect(text((await broker.output.state('a'))?.lastPayload)).toBe('é');
      });

      test('a stream may begin elsewhere', async () => {
        await broker.output.create('a', 1_000);
        expect(await broker.output.state('a')).toMatchObject({ firstSequence: 1_000, lastSequence: 999 });
        await broker.output.publish('a', outputsFrom('a', 1_000, 3));
        expect((await site.outputs('a')).map(({ position }) => position)).toEqual([1_000, 1_001, 1_002]);
      });

      test('create leaves a stream that is there as it is', async () => {
        await broker.output.create('a', 1);
        await broker.output.publish('a', outputsFrom('a', 1, 3));
        await broker.output.create('a', 4);
        expect((await broker.output.state('a'))?.lastSequence).toBe(3);
      });

      test('[OUT-3 refuses] a stale writer is refused with WRONG_SEQUENCE, and nothing of it is stored', async () => {
        const other = (await site.connect()).broker;
        await broker.output.create('a', 1);
        await broker.output.publish('a', outputsFrom('a', 1, 5));
        await expect(other.output.publish('a', outputsFrom('a', 3, 100, 'stale'))).rejects.toMatchObject({
          code: 'WRONG_SEQUENCE',
        });
        await expect(other.output.publish('a', outputsFrom('a', 7, 2, 'gap'))).rejects.toMatchObject({
          code: 'WRONG_SEQUENCE',
        });
        expect(await site.outputs('a')).toHaveLength(5);
        // What failed does not disturb what follows.
        await other.output.publish('a', outputsFrom('a', 6, 1_000));
        expect((await broker.output.state('a'))?.lastSequence).toBe(1_005);
      });

      test('a repeat of what is stored is refused with WRONG_SEQUENCE', async () => {
        await broker.output.create('a', 1);
        await broker.output.publish('a', outputsFrom('a', 1, 3));
        await expect(broker.output.publish('a', outputsFrom('a', 3, 1))).rejects.toMatchObject({
          code: 'WRONG_SEQUENCE',
        });
        expect(await site.outputs('a')).toHaveLength(3);
      });

      test('two writers at once never make a double or a gap', async () => {
        const other = (await site.connect()).broker;
        await broker.output.create('a', 1);
        const results = await Promise.allSettled([
          broker.output.publish('a', outputsFrom('a', 1, 500)),
          other.output.publish('a', outputsFrom('a', 1, 500)),
        ]);
        expect(results.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1);
        const stored = await site.outputs('a');
        expect(stored.map(({ position }) => position)).toEqual(stored.map((_, index) => index + 1));
      });

      test('clusters do not disturb each other', async () => {
        await broker.output.create('a', 1);
        await broker.output.create('b', 1);
        await Promise.all([
          broker.output.publish('a', outputsFrom('a', 1, 600)),
          broker.output.publish('b', outputsFrom('b', 1, 600)),
        ]);
        expect((await broker.output.state('a'))?.lastSequence).toBe(600);
        expect((await broker.output.state('b'))?.lastSequence).toBe(600);
      });

      test('the last sequence outlives its messages', async () => {
        await broker.output.create('a', 1);
        await broker.output.publish('a', outputsFrom('a', 1, 5));
        await site.purgeOutput('a');
        expect(await broker.output.state('a')).toMatchObject({ firstSequence: 6, lastSequence: 5, holes: 0 });
        await broker.output.publish('a', outputsFrom('a', 6, 1));
        expect((await broker.output.state('a'))?.lastSequence).toBe(6);
      });

      test('publishing without a stream is UNAVAILABLE', async () => {
        await expect(broker.output.publish('none', outputsFrom('none', 1, 3))).rejects.toMatchObject({
          code: 'UNAVAILABLE',
        });
      });
    });

    describe('VF_DEAD', () => {
      test('there is none at first', async () => {
        expect(await broker.dead.find('a', 'x')).toBeUndefined();
      });

      test('keeps a letter byte for byte, with what is known of it', async () => {
        const payload = new Uint8Array(256).map((_, index) => index);
        const letter = letterAt(7, {
          payload,
          eventId: 'event-7',
          headers: { 'ce-id': 'event-7', 'X-Any': 'a: b' },
        });
        await broker.dead.publish('a', [letter], LONG_AGO);
        expect(await site.deadLetters('a')).toEqual([letter]);
      });

      test('keeps a letter of the largest size with its headers', async () => {
        const payload = new Uint8Array(900 * 1_024).fill(65);
        const headers = { 'X-Large': 'x'.repeat(60 * 1_024 - 16) };
        const sequence = await site.storeInput('vf.in.a.too.large', payload, headers);
        const input = (await broker.input.get(sequence))!;
        await broker.dead.publish(
          'a',
          [letterAt(sequence, { payload: input.payload, headers: input.headers! })],
          LONG_AGO,
        );
        const [stored] = await site.deadLetters('a');
        expect(Buffer.compare(stored!.payload, payload)).toBe(0);
        expect(stored!.headers).toEqual(headers);
      });

      test('stores no input twice', async () => {
        await broker.dead.publish('a', [letterAt(1), letterAt(2), letterAt(2), letterAt(5)], LONG_AGO);
        await broker.dead.publish('a', [letterAt(2), letterAt(5), letterAt(6)], LONG_AGO);
        await (
          await site.connect()
        ).broker.dead.publish('a', [letterAt(5), letterAt(6), letterAt(7)], LONG_AGO);
        await broker.dead.publish('a', [letterAt(6), letterAt(7), letterAt(8)], LONG_AGO);
        expect((await site.deadLetters('a')).map(({ sequence }) => sequence)).toEqual([1, 2, 5, 6, 7, 8]);
      });

      test('inputs of a stream that was made again are others', async () => {
        const stream = '2026-02-02T00:00:00.000000002Z';
        await broker.dead.publish('a', [letterAt(9)], LONG_AGO);
        await broker.dead.publish('a', [letterAt(1, { stream })], LONG_AGO);
        expect((await site.deadLetters('a')).map(({ sequence }) => sequence)).toEqual([9, 1]);
      });

      test('clusters do not disturb each other', async () => {
        await broker.dead.publish('a', [letterAt(9)], LONG_AGO);
        await broker.dead.publish('_', [letterAt(3)], LONG_AGO);
        expect(await site.deadLetters('a')).toMatchObject([{ sequence: 9 }]);
        expect(await site.deadLetters('_')).toMatchObject([{ sequence: 3 }]);
      });

      test('two that publish the same letters at once store each once', async () => {
        const letters = Array.from({ length: 40 }, (_, index) => letterAt(index + 1));
        const other = (await site.connect()).broker;
        await Promise.all([
          broker.dead.publish('a', letters, LONG_AGO),
          other.dead.publish('a', letters, LONG_AGO),
        ]);
        expect((await site.deadLetters('a')).map(({ sequence }) => sequence)).toEqual(
          letters.map(({ sequence }) => sequence),
        );
      });

      test('find gives the newest reason for an event id', async () => {
        await broker.dead.publish(
          'a',
          [
            letterAt(1, { eventId: 'x', reason: 'first' }),
            letterAt(2, { eventId: 'y', reason: 'other' }),
            letterAt(3, { eventId: 'x', reason: 'second' }),
            letterAt(4),
          ],
          LONG_AGO,
        );
        expect(await broker.dead.find('a', 'x')).toEqual({ reason: 'second' });
        expect(await broker.dead.find('a', 'z')).toBeUndefined();
        expect(await broker.dead.find('b', 'x')).toBeUndefined();
      });
    });

    describe('leases', () => {
      const never = new AbortController().signal;

      test('one of three holds it, and each release hands it over at once', async () => {
        const contenders = await Promise.all(['one', 'two', 'three'].map(() => site.connect()));
        const held: Array<{ holder: string; lease: Lease }> = [];
        contenders.forEach((contender, index) => {
          const holder = `holder-${index}`;
          void contender.broker.leases
            .acquire('a', holder, never)
            .then((lease) => held.push({ holder, lease: lease! }));
        });
        for (let round = 1; round <= 3; round++) {
          await until(() => held.length === round);
          const { holder, lease } = held[round - 1]!;
          expect(await broker.leases.holder('a')).toBe(holder);
          expect(lease.cluster).toBe('a');
          expect(lease.lost.aborted).toBe(false);
          expect(held).toHaveLength(round);
          const releasedAt = performance.now();
          await lease.release();
          expect(lease.lost.aborted).toBe(true);
          if (round < 3) {
            await until(() => held.length > round);
            expect(performance.now() - releasedAt).toBeLessThan(site.leaseTakeOverAfter);
          }
        }
        expect(new Set(held.map(({ holder }) => holder)).size).toBe(3);
        await until(async () => (await broker.leases.holder('a')) === undefined);
      });

      test('leases of different clusters are independent', async () => {
        const one = await broker.leases.acquire('a', 'me', never);
        const two = await broker.leases.acquire('b', 'me', never);
        await one!.release();
        expect(two!.lost.aborted).toBe(false);
        expect(await broker.leases.holder('b')).toBe('me');
      });

      test('waiting ends with its signal', async () => {
        await broker.leases.acquire('a', 'me', never);
        const giveUp = new AbortController();
        const waiting = (await site.connect()).broker.leases.acquire('a', 'you', giveUp.signal);
        giveUp.abort();
        expect(await waiting).toBeUndefined();
        expect(await broker.leases.acquire('b', 'me', AbortSignal.abort())).toBeUndefined();
      });

      test('a holder that is there keeps its lease', async () => {
        const lease = await broker.leases.acquire('a', 'me', never);
        const other = (await site.connect()).broker;
        const giveUp = new AbortController();
        setTimeout(() => giveUp.abort(), site.leaseTakeOverAfter * 3);
        expect(await other.leases.acquire('a', 'you', giveUp.signal)).toBeUndefined();
        expect(lease!.lost.aborted).toBe(false);
      });

      test('a holder that is cut off loses it before another gets it', async () => {
        const lease = (await broker.leases.acquire('a', 'me', never))!;
        const other = (await site.connect()).broker;
        let lostFirst: boolean | undefined;
        const taken = other.leases.acquire('a', 'you', never).then((next) => {
          lostFirst = lease.lost.aborted;
          return next;
        });
        connection.cut();
        await aborted(lease.lost);
        expect(lease.lost.reason).toMatchObject({ code: 'LEASE_LOST' });
        expect(await taken).toBeDefined();
        expect(lostFirst).toBe(true);
        expect(await other.leases.holder('a')).toBe('you');
        connection.heal();
        await lease.release();
        expect(await other.leases.holder('a')).toBe('you');
      });

      test('a standby that is cut off gets it once it is back', async () => {
        const lease = (await broker.leases.acquire('a', 'me', never))!;
        const other = await site.connect();
        const waiting = other.broker.leases.acquire('a', 'you', never);
        other.cut();
        await lease.release();
        other.heal();
        expect((await waiting)?.cluster).toBe('a');
      });
    });

    describe('the fleet', () => {
      const never = new AbortController().signal;

      test('instances know each other, what each is ready for, and who leads what, until they leave', async () => {
        const other = (await site.connect()).broker;
        let ready = ['a'];
        const leaving = new AbortController();
        broker.leases.join('one', () => ready, never);
        other.leases.join('two', () => ['a', 'b'], leaving.signal);
        const lease = (await other.leases.acquire('b', 'two', never))!;
        for (const { leases } of [broker, other]) {
          await until(() => leases.fleet().members.size === 2 && leases.fleet().holders.get('b') === 'two');
          expect(leases.fleet().members).toEqual(
            new Map([
              ['one', new Set(['a'])],
              ['two', new Set(['a', 'b'])],
            ]),
          );
        }
        ready = [];
        await until(() => other.leases.fleet().members.get('one')?.size === 0);
        await lease.release();
        leaving.abort();
        await until(() => broker.leases.fleet().members.size === 1);
        await until(() => broker.leases.fleet().holders.get('b') === undefined);
        expect([...broker.leases.fleet().members.keys()]).toEqual(['one']);
      });

      test('one that is cut off is forgotten with its leases, and known again when it is back', async () => {
        const other = (await site.connect()).broker;
        broker.leases.join('one', () => [], never);
        other.leases.join('two', () => [], never);
        await broker.leases.acquire('a', 'one', never);
        await until(() => other.leases.fleet().members.size === 2);
        connection.cut();
        await until(() => other.leases.fleet().members.size === 1);
        expect([...other.leases.fleet().members.keys()]).toEqual(['two']);
        await until(() => other.leases.fleet().holders.get('a') === undefined);
        connection.heal();
        await until(() => other.leases.fleet().members.size === 2);
      });

      test('a lease that is free goes to who hesitates less, and to the other when nobody else wants it', async () => {
        const other = (await site.connect()).broker;
        const lease = (await broker.leases.acquire('a', 'one', never))!;
        const giveUp = new AbortController();
        // Much longer than a replica that is busy needs to say that the lease is free.
        const slow = broker.leases.acquire('a', 'slow', never, () => 3_000);
        const quick = other.leases.acquire('a', 'quick', giveUp.signal, () => 0);
        await lease.release();
        const next = (await quick)!;
        expect(await broker.leases.holder('a')).toBe('quick');
        await next.release();
        expect((await slow)?.cluster).toBe('a');
      });
    });

    describe('VF_HEADS', () => {
      test('there is no such bucket at first, and prepare makes none', async () => {
        expect(await broker.heads.read('a')).toBeUndefined();
      });

      test('keeps the text of each cluster, byte for byte, and of a new one nothing', async () => {
        const text = JSON.stringify({ said: 'ä€😀 \u2028"' });
        await broker.heads.write('a', text, 0);
        expect(await broker.heads.read('a')).toEqual({ revision: expect.any(Number), text });
        expect((await broker.heads.read('a'))!.revision).toBeGreaterThan(0);
        expect(await broker.heads.read('b')).toEqual({ revision: 0 });
        expect(await (await site.connect()).broker.heads.read('a')).toEqual(await broker.heads.read('a'));
      });

      test('a text is put only in the place of the one that was read', async () => {
        const other = (await site.connect()).broker;
        await broker.heads.write('a', 'one', 0);
        const { revision } = (await other.heads.read('a'))!;
        await expect(other.heads.write('a', 'two', 0)).rejects.toMatchObject({ code: 'WRONG_SEQUENCE' });
        await other.heads.write('a', 'two', revision);
        await expect(broker.heads.write('a', 'three', revision)).rejects.toMatchObject({
          code: 'WRONG_SEQUENCE',
        });
        await broker.heads.write('b', 'first', 0);
        expect([(await broker.heads.read('a'))!.text, (await other.heads.read('b'))!.text]).toEqual([
          'two',
          'first',
        ]);
      });

      test('of many that write at once, one does', async () => {
        await broker.heads.write('a', 'before', 0);
        const { revision } = (await broker.heads.read('a'))!;
        const writing = Array.from({ length: 8 }, (_, n) => broker.heads.write('a', `${n}`, revision));
        const done = await Promise.allSettled(writing);
        expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        const winner = done.findIndex(({ status }) => status === 'fulfilled');
        expect((await broker.heads.read('a'))!.text).toBe(`${winner}`);
      });
    });

    describe('a connection that is cut', () => {
      test('fails operations with UNAVAILABLE and says so', async () => {
        await broker.output.create('a', 1);
        expect(broker.connected).toBe(true);
        connection.cut();
        await until(() => !broker.connected);
        const unavailable = { code: 'UNAVAILABLE' };
        await expect(broker.input.info()).rejects.toMatchObject(unavailable);
        await expect(broker.input.publish(subjectOf('a', 1), bytes('x'))).rejects.toMatchObject(unavailable);
        await expect(broker.output.state('a')).rejects.toMatchObject(unavailable);
        await expect(broker.output.publish('a', outputsFrom('a', 1, 1))).rejects.toMatchObject(unavailable);
        await expect(broker.dead.find('a', 'x')).rejects.toMatchObject(unavailable);
        await expect(broker.leases.holder('a')).rejects.toMatchObject(unavailable);
        await expect(broker.heads.read('a')).rejects.toMatchObject(unavailable);
        await expect(broker.heads.write('a', 'x', 0)).rejects.toMatchObject(unavailable);
        connection.heal();
        await until(() => broker.connected);
        await broker.output.publish('a', outputsFrom('a', 1, 1));
      });

      test('lets its followers go on afterwards, without gap or double', async () => {
        const other = (await site.connect()).broker;
        const follower = await broker.input.follow('a', 0);
        const seen: number[] = [];
        const watched: number[] = [];
        await broker.input.watch(({ sequence }) => watched.push(sequence));
        let stored = 0;
        for (let round = 0; round < 3; round++) {
          for (let n = 0; n < 10; n++) {
            stored = await other.input.publish(subjectOf('a', n), bytes(`${round}`));
          }
          while (seen.at(-1) !== stored)
            seen.push(...(await follower.take())!.map(({ sequence }) => sequence));
          connection.cut();
          await until(() => !broker.connected);
          stored = await other.input.publish(subjectOf('a', 99), bytes('cut'));
          connection.heal();
        }
        while (seen.at(-1) !== stored) seen.push(...(await follower.take())!.map(({ sequence }) => sequence));
        expect(seen).toEqual(Array.from({ length: 33 }, (_, index) => index + 1));
        await until(() => watched.length >= 33);
        expect(watched).toEqual(seen);
      });
    });

    describe('close', () => {
      test('ends followers, releases leases, and may be called again', async () => {
        const other = await site.connect();
        const follower = await other.broker.input.follow('a', 0);
        const waiting = follower.take();
        const lease = (await other.broker.leases.acquire('a', 'me', new AbortController().signal))!;
        const queued = other.broker.leases.acquire('a', 'me too', new AbortController().signal);
        await other.broker.close();
        await other.broker.close();
        expect(await waiting).toBeUndefined();
        expect(await queued).toBeUndefined();
        expect(lease.lost.aborted).toBe(true);
        expect(other.broker.connected).toBe(false);
        expect(await broker.leases.holder('a')).toBeUndefined();
        await expect(other.broker.input.info()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      });
    });
  });
}
