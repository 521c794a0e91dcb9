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
  /** Events below it are not read any more. */
  truncateBefore: number;
  maxCount: number;
  /** Deleted so that it can begin again, or for good. */
  gone?: 'deleted' | 'tombstoned';
}

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
    if (stream?.gone === 'tombstoned') return { result: 'deleted' };
    const current = stream === undefined ? -1 : stream.next - 1;
    const wrong: AppendResult = { result: 'wrong-version', current: current < 0 ? undefined : current };
    const again = this.#again(stream, current, expected, events);
    if (again === 'different') return wrong;
    if (again !== undefined) return { result: 'done', revision: again };
    const target = stream ?? { events: [], next: 0, truncateBefore: 0, maxCount: Number.MAX_SAFE_INTEGER };
    if (target.gone === 'deleted') {
      target.gone = undefined;
      target.truncateBefore = target.next;
    }
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
    if (stream === undefined || stream.gone !== undefined || stream.next === 0) return undefined;
    const first = Math.max(stream.truncateBefore, stream.next - stream.maxCount);
    return first <= 0 ? stream.events : stream.events.filter((event) => event.revision >= first);
  }

  isTombstoned(name: string): boolean {
    return this.#streams.get(name)?.gone === 'tombstoned';
  }

  delete(name: string, how: 'deleted' | 'tombstoned' = 'deleted'): void {
    const stream = this.#streams.get(name);
    if (stream !== undefined) stream.gone = how;
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
      if (expected === 'stream_exists' && (stream === undefined || stream.gone !== undefined))
        return 'different';
      const known = stream?.events.find((event) => event.id === events[0]?.id);
      return known === undefined ? undefined : known.revision + events.length - 1;
    }
    const at = expected === 'no_stream' ? -1 : expected;
    if (at === current || (at === -1 && stream?.gone === 'deleted')) return undefined;
    if (at > current) return 'different';
    const stored = stream!.events.filter((event) => event.revision > at).slice(0, events.length);
    const same =
      stored.length === events.length && stored.every((event, index) => event.id === events[index]!.id);
    return same ? at + events.length : 'different';
  }

  #applyMetadata(name: string, event: DoubleEvent): void {
    const { $tb, $maxCount } = JSON.parse(Buffer.from(event.data).toString('utf8')) as Record<string, number>;
    const none = { events: [], next: 0, truncateBefore: 0, maxCount: Number.MAX_SAFE_INTEGER };
    const stream = this.#streams.get(name) ?? none;
    stream.truncateBefore = $tb ?? 0;
    stream.maxCount = $maxCount ?? Number.MAX_SAFE_INTEGER;
    this.#streams.set(name, stream);
  }
}

/** The size of an event as the server counts it. */
function sizeOf({ type, data, metadata }: ProposedEvent): number {
  return data.length + metadata.length + 2 * type.length;
}
