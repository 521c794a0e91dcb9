import { randomUUID } from 'node:crypto';

/** What the double of a KurrentDB server keeps, and the rules by which it takes an append. */

export interface DoubleEvent {
  readonly id: string;
  readonly revision: number;
  readonly type: string;
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export type ProposedEvent = Omit<DoubleEvent, 'revision' | 'created'>;

export type ExpectedState = number | 'no_stream' | 'stream_exists' | 'any';

export type AppendResult =
  | { readonly result: 'done'; readonly revision: number }
  /** `current` is undefined for a stream that is not there. */
  | { readonly result: 'wrong-version'; readonly current: number | undefined }
  | { readonly result: 'too-large'; readonly limit: number }
  | { readonly result: 'deleted' };

interface StoredStream {
  events: DoubleEvent[];
  /** Revision of the next event: grows also over a deletion. */
  next: number;
  /** Events below it are not read any more; {@link deleted}: none is, until the next append. */
  truncateBefore: number;
  maxCount: number;
  /** Milliseconds. */
  maxAge: number;
  tombstoned?: true;
}

/** What `$tb` is in the metadata of a stream that was deleted so that it can begin again. */
const deleted = 2 ** 63;

const emptyStream = (): StoredStream => ({
  events: [],
  next: 0,
  truncateBefore: 0,
  maxCount: Number.MAX_SAFE_INTEGER,
  maxAge: Number.MAX_SAFE_INTEGER,
});

/** The streams of one database; the nodes of a cluster share it. */
export class DoubleStorage {
  readonly #streams = new Map<string, StoredStream>();
  /** Called with the name of a stream after each append to it. */
  readonly watchers = new Set<(stream: string) => void>();

  /** What was asked to be appended, in bytes, in order. */
  readonly appendSizes: number[] = [];

  constructor(readonly maxAppendSize = 1024 * 1024) {}

  /** Calls back after each append, until the returned function is called. */
  onAppend(watcher: (stream: string) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /**
   * Appends as the server does: the same ids at the same place again are a success that writes nothing; ids
   * that are only partly there are a wrong version.
   */
  append(name: string, expected: ExpectedState, events: readonly ProposedEvent[]): AppendResult {
    const size = events.reduce((sum, event) => sum + sizeOf(event), 0);
    this.appendSizes.push(size);
    if (size > this.maxAppendSize) return { result: 'too-large', limit: this.maxAppendSize };
    const stream = this.#streams.get(name);
    if (stream?.tombstoned === true) return { result: 'deleted' };
    const current = stream === undefined ? -1 : stream.next - 1;
    const wrong: AppendResult = { result: 'wrong-version', current: current < 0 ? undefined : current };
    const again = this.#again(stream, current, expected, events);
    if (again === 'different') return wrong;
    if (again !== undefined) return { result: 'done', revision: again };
    const target = stream ?? emptyStream();
    // It goes on counting where it was, and what was before stays hidden.
    if (target.truncateBefore === deleted)
      this.setMetadata(name, { ...this.metadata(name), $tb: target.next });
    this.#streams.set(name, target);
    for (const event of events) {
      target.events.push(Object.freeze({ ...event, revision: target.next, created: Date.now() }));
      target.next += 1;
    }
    if (name.startsWith('$$')) this.#applyMetadata(name.slice(2), target.events.at(-1)!);
    for (const watcher of this.watchers) watcher(name);
    return { result: 'done', revision: target.next - 1 };
  }

  /** The events of a stream that can be read; undefined for one that is not there. */
  events(name: string): readonly DoubleEvent[] | undefined {
    const stream = this.#streams.get(name);
    if (stream === undefined || stream.tombstoned === true || stream.next === 0) return undefined;
    if (stream.truncateBefore === deleted) return undefined;
    const first = Math.max(stream.truncateBefore, stream.next - stream.maxCount);
    const since = Date.now() - stream.maxAge;
    return stream.events.filter(({ revision, created }) => revision >= first && created >= since);
  }

  isTombstoned(name: string): boolean {
    return this.#streams.get(name)?.tombstoned === true;
  }

  delete(name: string, how: 'deleted' | 'tombstoned' = 'deleted'): void {
    const stream = this.#streams.get(name);
    if (stream === undefined) return;
    if (how === 'tombstoned') stream.tombstoned = true;
    else this.setMetadata(name, { ...this.metadata(name), $tb: deleted });
  }

  /** What stands last in a stream's metadata; empty where there are none. */
  metadata(name: string): Record<string, unknown> {
    const last = this.#streams.get(`$$${name}`)?.events.at(-1);
    if (last === undefined) return {};
    return JSON.parse(Buffer.from(last.data).toString('utf8')) as Record<string, unknown>;
  }

  /** Writes them, as an administrator does. */
  setMetadata(name: string, values: Readonly<Record<string, unknown>>): void {
    this.append(`$$${name}`, 'any', [
      {
        id: randomUUID(),
        type: '$metadata',
        contentType: 'application/json',
        data: Buffer.from(JSON.stringify(values)),
        metadata: new Uint8Array(),
      },
    ]);
  }

  /** The names of the streams that can be read. */
  names(): readonly string[] {
    return [...this.#streams.keys()].filter((name) => this.events(name) !== undefined);
  }

  /** Changes what is stored, past all rules. */
  tamper(name: string, change: (events: readonly DoubleEvent[]) => readonly DoubleEvent[]): void {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new Error(`there is no stream ${name}`);
    stream.events = [...change(stream.events)];
  }

  /** A copy, as a backup holds it. */
  backup(): () => void {
    const copy = [...this.#streams].map(
      ([name, stream]) => [name, { ...stream, events: [...stream.events] }] as const,
    );
    return () => {
      this.#streams.clear();
      for (const [name, stream] of copy) this.#streams.set(name, { ...stream, events: [...stream.events] });
    };
  }

  /** The revision of a repeat; 'different' when the expectation is not met; undefined: to be written. */
  #again(
    stream: StoredStream | undefined,
    current: number,
    expected: ExpectedState,
    events: readonly ProposedEvent[],
  ): number | 'different' | undefined {
    if (expected === 'any' || expected === 'stream_exists') {
      if (expected === 'stream_exists' && (stream === undefined || stream.truncateBefore === deleted))
        return 'different';
      const known = stream?.events.find((event) => event.id === events[0]?.id);
      return known === undefined ? undefined : known.revision + events.length - 1;
    }
    const at = expected === 'no_stream' ? -1 : expected;
    if (at === current || (at === -1 && stream?.truncateBefore === deleted)) return undefined;
    if (at > current) return 'different';
    const stored = stream!.events.filter((event) => event.revision > at).slice(0, events.length);
    const same =
      stored.length === events.length && stored.every((event, index) => event.id === events[index]!.id);
    return same ? at + events.length : 'different';
  }

  #applyMetadata(name: string, event: DoubleEvent): void {
    const values = JSON.parse(Buffer.from(event.data).toString('utf8')) as Record<string, number>;
    const { $tb = 0, $maxCount, $maxAge } = values;
    const stream = this.#streams.get(name) ?? emptyStream();
    stream.truncateBefore = $tb;
    stream.maxCount = $maxCount ?? Number.MAX_SAFE_INTEGER;
    stream.maxAge = $maxAge === undefined ? Number.MAX_SAFE_INTEGER : $maxAge * 1000;
    this.#streams.set(name, stream);
  }
}

/** The size of an event as the server counts it. */
function sizeOf({ type, data, metadata }: ProposedEvent): number {
  return data.length + metadata.length + 2 * type.length;
}
