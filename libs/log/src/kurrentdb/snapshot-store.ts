import { hash as digest, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { ResolvedEvent } from '@kurrent/kurrentdb-client';
import { LogError } from '../errors.js';
import type { Snapshot } from '../event-log.js';
import type { KurrentConnection } from './connection.js';
import { bytesOf } from './record-form.js';

/** The data of one event; with the rest of it below what one append may carry. */
const partBytes = 900_000;
const attempts = 3;
const partsOfAPage = 8;

/** What stands with each part of a snapshot. */
interface PartFacts {
  readonly snapshot: string;
  readonly part: number;
  readonly parts: number;
  /** Revision of the first part of the snapshot before, where there is one. */
  readonly before?: number;
  readonly position: number;
  readonly hash: string;
  readonly version: string;
  /** SHA-256 over what a snapshot is and the packed state. */
  readonly checksum: string;
}

/**
 * Snapshots in a stream beside the log of their cluster. A state is larger than an append may be, so it is
 * packed and cut into parts. Those that were saved last are kept: the stream is truncated before them.
 */
export class SnapshotStore {
  constructor(private readonly connection: KurrentConnection) {}

  async save(cluster: string, snapshot: Snapshot): Promise<void> {
    const stream = this.connection.names.snapshots(cluster);
    const { position, hash, version, state } = snapshot;
    const packed = await promisify(gzip)(state, { level: 1 });
    const checksum = checksumOf(cluster, snapshot, packed);
    const parts = Math.max(1, Math.ceil(packed.length / partBytes));
    for (let attempt = 1; ; attempt++) {
      const { last, kept } = await this.#newest(stream, snapshot);
      const facts = { snapshot: randomUUID(), parts, before: kept, position, hash, version, checksum };
      if (await this.#write(stream, last, packed, facts)) {
        if (kept !== undefined && kept > 0) await this.#truncate(stream, kept);
        return;
      }
      if (attempt >= attempts) {
        throw new LogError(
          'UNAVAILABLE',
          `${this.connection.name}: another allocator saves snapshots of '${cluster}' at the same time`,
        );
      }
    }
  }

  async all(cluster: string): Promise<readonly Snapshot[]> {
    const found: Snapshot[] = [];
    let parts: { readonly facts: PartFacts; readonly data: Uint8Array }[] = [];
    for await (const { event } of this.#events(this.connection.names.snapshots(cluster))) {
      const facts = factsOf({ event });
      if (facts === undefined || event === undefined || event.isJson) continue;
      if (facts.part === 0) parts = [];
      if (parts.length !== facts.part || (parts[0]?.facts.snapshot ?? facts.snapshot) !== facts.snapshot) {
        parts = [];
        continue;
      }
      parts.push({ facts, data: event.data as Uint8Array });
      if (parts.length < facts.parts) continue;
      const snapshot = await unpack(cluster, facts, Buffer.concat(parts.map((part) => part.data)));
      parts = [];
      if (snapshot === undefined) continue;
      const same = found.findIndex(
        (other) => other.position === snapshot.position && other.version === snapshot.version,
      );
      if (same !== -1) found.splice(same, 1);
      found.unshift(snapshot);
    }
    return found;
  }

  /** Sets from which revision on a stream can be read. What else its metadata say stays. */
  async #truncate(stream: string, before: number): Promise<void> {
    const { values, revision } = await this.connection.metadata(stream);
    // Who was faster has saved a snapshot too, and truncates.
    await this.connection.setMetadata(stream, { values: { ...values, $tb: before }, revision });
  }

  /** @returns false when somebody else has written meanwhile. */
  async #write(
    stream: string,
    after: bigint | undefined,
    packed: Buffer,
    facts: Omit<PartFacts, 'part'>,
  ): Promise<boolean> {
    let expected = after;
    for (let part = 0; part < facts.parts; part++) {
      const slice = packed.subarray(part * partBytes, (part + 1) * partBytes);
      const event = {
        id: randomUUID(),
        contentType: 'application/octet-stream' as const,
        type: 'SnapshotPart',
        data: new Uint8Array(slice.buffer, slice.byteOffset, slice.byteLength),
        metadata: bytesOf(JSON.stringify({ ...facts, part })),
      };
      const doing = `append to the stream ${stream}`;
      const revision = await this.connection.append(stream, expected ?? 'no_stream', [event], doing);
      if (revision === undefined) return false;
      expected = revision;
    }
    return true;
  }

  /** The last revision of the stream, and from where on it is kept when `next` is saved. */
  async #newest(
    stream: string,
    next: Snapshot,
  ): Promise<{ readonly last: bigint | undefined; readonly kept: number | undefined }> {
    const page = await this.connection.page(stream, { from: 'end', count: 1, direction: 'backwards' });
    const event = page?.events[0];
    const last = event?.event?.revision;
    if (event === undefined || last === undefined) return { last: undefined, kept: undefined };
    const facts = factsOf(event);
    if (facts === undefined) return { last, kept: undefined };
    const whole = facts.part === facts.parts - 1;
    // The same one again, and one whose saving broke off, make way.
    const again = facts.position === next.position && facts.version === next.version;
    return { last, kept: whole && !again ? Number(last) - facts.part : facts.before };
  }

  async *#events(stream: string): AsyncGenerator<ResolvedEvent> {
    let next: bigint | 'start' = 'start';
    for (;;) {
      const page = await this.connection.page(stream, { from: next, count: partsOfAPage });
      if (page === undefined) return;
      yield* page.events;
      const last = page.events.at(-1)?.event?.revision;
      if (page.end || last === undefined) return;
      next = last + 1n;
    }
  }
}

function factsOf({ event }: ResolvedEvent): PartFacts | undefined {
  const facts = event?.metadata as Partial<PartFacts> | undefined;
  const sound =
    typeof facts?.snapshot === 'string' &&
    Number.isSafeInteger(facts.part) &&
    Number.isSafeInteger(facts.parts) &&
    Number.isSafeInteger(facts.position) &&
    typeof facts.hash === 'string' &&
    typeof facts.version === 'string' &&
    typeof facts.checksum === 'string';
  return sound ? (facts as PartFacts) : undefined;
}

async function unpack(
  cluster: string,
  { position, hash, version, checksum }: PartFacts,
  packed: Buffer,
): Promise<Snapshot | undefined> {
  try {
    const found = { position, hash, version };
    if (checksumOf(cluster, found, packed) !== checksum) return undefined;
    return { ...found, state: (await promisify(gunzip)(packed)).toString('utf8') };
  } catch {
    // Losing a snapshot is harmless: whoever asks replays from an older one, or from the first record.
    return undefined;
  }
}

function checksumOf(
  cluster: string,
  { position, hash, version }: Omit<Snapshot, 'state'>,
  packed: Uint8Array,
): string {
  return digest('sha256', JSON.stringify([cluster, position, hash, version, digest('sha256', packed)]));
}
