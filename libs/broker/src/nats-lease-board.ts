import type { NatsLink } from './nats-connection.js';
import { OrderedReader } from './nats-reader.js';

/** What a lease's key holds. */
export interface LeaseValue {
  /** 0: there is no such key. */
  readonly revision: number;
  /** Undefined when nobody holds it. */
  readonly holder?: string;
  readonly token?: string;
  /** Identity of the log that the holder works on; undefined: it is empty. */
  readonly log?: string;
  /** Of an instance: the clusters that it leads or could lead at once. */
  readonly ready?: readonly string[];
  /** Of an instance: the tokens of the leases that it holds, by cluster. */
  readonly leads?: Readonly<Record<string, string>>;
}

export interface LeaseEntry extends LeaseValue {
  /** When this revision was first seen, by our own monotonic clock. */
  readonly seenAt: number;
}

/**
 * Begins the keys under which instances make themselves known. No cluster's name has a point in it.
 */
export const MEMBER_PREFIX = '_member.';

/** Reads a key's value; what cannot be read, and the empty value of a deleted key, is held by nobody. */
export function parseLease(revision: number, payload: Uint8Array): LeaseValue {
  if (payload.length === 0) return { revision };
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString());
    if (typeof value !== 'object' || value === null) return { revision };
    const { holder, token, log, ready, leads } = value as Readonly<Record<string, unknown>>;
    if (typeof holder !== 'string') return { revision };
    return {
      revision,
      holder,
      ...(typeof token === 'string' && { token }),
      ...(typeof log === 'string' && { log }),
      ...(typeof leads === 'object' && leads !== null && { leads: textsOf(leads) }),
      ...(Array.isArray(ready) && { ready: ready.filter((one): one is string => typeof one === 'string') }),
    };
  } catch {
    return { revision };
  }
}

const textsOf = (fields: object): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, string] => typeof field[1] === 'string'),
  );

/** Follows all leases with one reader, so that a standby hears of a release at once. */
export class LeaseBoard {
  readonly #entries = new Map<string, LeaseEntry>();
  readonly #waiting = new Map<string, Set<() => void>>();
  #reader: OrderedReader | undefined;
  #closed = false;

  constructor(
    readonly link: NatsLink,
    readonly stream: string,
    readonly subjectPrefix: string,
  ) {}

  entry(cluster: string): LeaseEntry | undefined {
    return this.#entries.get(cluster);
  }

  /** Every key that was seen: of clusters, and of instances. */
  get entries(): Iterable<readonly [string, LeaseEntry]> {
    return this.#entries;
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** Takes note of a value that was read; the same revision keeps the time when it was first seen. */
  see(cluster: string, value: LeaseValue): LeaseEntry {
    const known = this.#entries.get(cluster);
    if (known?.revision === value.revision) return known;
    const entry: LeaseEntry = { ...value, seenAt: performance.now() };
    this.#entries.set(cluster, entry);
    for (const wake of this.#waiting.get(cluster) ?? []) wake();
    // Whose a lease is says a member: who waits for it hears of that too.
    for (const led of Object.keys({ ...known?.leads, ...value.leads })) {
      if (known?.leads?.[led] === value.leads?.[led]) continue;
      for (const wake of this.#waiting.get(led) ?? []) wake();
    }
    return entry;
  }

  /** Resolves when the key has another revision, the time is over, or the signal aborts. */
  async waitForChange(
    cluster: string,
    revision: number,
    timeout: number,
    signal: AbortSignal,
  ): Promise<void> {
    this.start();
    if (signal.aborted || this.#entries.get(cluster)?.revision !== revision) return;
    const waiting = this.#waiting.get(cluster) ?? new Set();
    this.#waiting.set(cluster, waiting);
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeout);
      signal.addEventListener('abort', wake);
      waiting.add(wake);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reader?.close();
  }

  /** Begins to follow. */
  start(): void {
    if (this.#reader || this.#closed) return;
    this.#reader = new OrderedReader(this.link, {
      stream: this.stream,
      filter: [`${this.subjectPrefix}>`],
      after: 0,
      whenReplaced: 'restart',
      onMessage: ({ subject, data }, revision) => {
        const cluster = subject.slice(this.subjectPrefix.length);
        // A direct reading may be ahead of this one. Only a bucket that was made again counts from the start,
        // and then the swap fails and the key is read directly.
        // Nobody reads the key of an instance directly.
        const isMember = cluster.startsWith(MEMBER_PREFIX);
        if (isMember || revision > (this.#entries.get(cluster)?.revision ?? -1))
          this.see(cluster, parseLease(revision, data));
      },
      room: () => ({ messages: 1_024, bytes: 1024 * 1024 }),
      onFailed: () => {},
    });
  }
}
