import { createHash, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Snapshot } from '../event-log.js';
import type { JsConnection } from './js-connection.js';
import { hasCode, JsErrorCode } from './js-errors.js';
import { checkStream, makeStream, snapshotPlan, snapshotStream, snapshotSubject } from './log-stream.js';

/** The last message of a snapshot: only with it the snapshot is there. */
interface Manifest {
  readonly vfSnapshot: 1;
  readonly position: number;
  readonly hash: string;
  readonly version: string;
  /** SHA-256 of all that is said here and of the bytes. */
  readonly checksum: string;
  /** Sequences of the pieces of the state, which is compressed with gzip. */
  readonly pieces: readonly number[];
}

interface Kept {
  readonly subject: string;
  readonly sequence: number;
  readonly manifest: Manifest;
}

const PIECE = 512 * 1024;
const KEPT = 2;
/** Pieces without a manifest for so long are those of a writer that died. */
const ABANDONED = 600_000;

/**
 * Snapshots in a stream of their own, each under a subject of its own: the state in pieces, then a manifest
 * that names them. One that is not complete, or whose checksum does not fit, counts as not there.
 */
export class Snapshots {
  constructor(
    private readonly connection: JsConnection,
    private readonly replicas: number,
  ) {}

  async save(name: string, snapshot: Snapshot): Promise<void> {
    const { connection } = this;
    const { position, hash, version } = snapshot;
    const bytes = await promisify(gzip)(snapshot.state, { level: 1 });
    const plan = snapshotPlan(name, this.replicas);
    const found = await connection.info(plan.name);
    if (found === undefined) await makeStream(connection, plan);
    else checkStream(plan, found);

    const subject = snapshotSubject(name, `${position}-${randomBytes(8).toString('hex')}`);
    try {
      const pieces: number[] = [];
      const size = Math.min(PIECE, Math.floor(connection.maxPayload / 2));
      for (let at = 0; at < bytes.length; at += size) {
        pieces.push((await connection.publish(subject, bytes.subarray(at, at + size))).seq);
      }
      const checksum = checksumOf(name, snapshot, bytes);
      const manifest: Manifest = { vfSnapshot: 1, position, hash, version, checksum, pieces };
      await connection.publish(subject, Buffer.from(JSON.stringify(manifest)));
    } catch (error) {
      // A disk that is full shall not be filled by what nobody can use.
      await this.#purge(name, subject).catch(() => undefined);
      throw error;
    }
    await this.#tidy(name);
  }

  /** Those that can be read, the one saved last first. */
  async load(name: string): Promise<readonly Snapshot[]> {
    const { kept } = await this.#list(name);
    const snapshots: Snapshot[] = [];
    for (const { manifest } of kept.slice(0, KEPT)) {
      const snapshot = await this.#read(name, manifest);
      if (snapshot !== undefined) snapshots.push(snapshot);
    }
    return snapshots;
  }

  async #read(name: string, manifest: Manifest): Promise<Snapshot | undefined> {
    const pieces: Buffer[] = [];
    for (const sequence of manifest.pieces) {
      const piece = await this.connection.message(snapshotStream(name), { seq: sequence });
      if (piece === undefined) return undefined;
      pieces.push(piece.data);
    }
    const { position, hash, version, checksum } = manifest;
    const bytes = Buffer.concat(pieces);
    if (checksumOf(name, manifest, bytes) !== checksum) return undefined;
    return { position, hash, version, state: (await promisify(gunzip)(bytes)).toString('utf8') };
  }

  /** The complete snapshots, newest first, and the subjects that hold pieces of none. */
  async #list(name: string): Promise<{ kept: readonly Kept[]; abandoned: readonly string[] }> {
    const { connection } = this;
    const stream = snapshotStream(name);
    const info = await connection.info(stream, { subjects_filter: snapshotSubject(name, '*') });
    const now = Date.parse(info?.ts ?? '') || Date.now();
    const kept: Kept[] = [];
    const abandoned: string[] = [];
    for (const subject of Object.keys(info?.state.subjects ?? {})) {
      const last = await connection.message(stream, { last_by_subj: subject });
      if (last === undefined) continue;
      const manifest = readManifest(last.data);
      if (manifest !== undefined) kept.push({ subject, sequence: last.sequence, manifest });
      else if (now - Date.parse(last.time) > ABANDONED) abandoned.push(subject);
    }
    return { kept: kept.toSorted((one, other) => other.sequence - one.sequence), abandoned };
  }

  /** Removes all but the newest ones, of which each position and version is kept once. */
  async #tidy(name: string): Promise<void> {
    const { kept, abandoned } = await this.#list(name);
    const seen = new Set<string>();
    for (const { subject, manifest } of kept) {
      const what = `${manifest.position} ${manifest.version}`;
      if (seen.has(what) || seen.size >= KEPT) await this.#purge(name, subject);
      seen.add(what);
    }
    for (const subject of abandoned) await this.#purge(name, subject);
  }

  async #purge(name: string, subject: string): Promise<void> {
    try {
      await this.connection.api(`STREAM.PURGE.${snapshotStream(name)}`, { filter: subject });
    } catch (error) {
      if (!hasCode(error, JsErrorCode.streamNotFound)) throw error;
    }
  }
}

function readManifest(data: Buffer): Manifest | undefined {
  try {
    const manifest = JSON.parse(data.toString()) as Partial<Manifest>;
    return manifest.vfSnapshot === 1 && Array.isArray(manifest.pieces) ? (manifest as Manifest) : undefined;
  } catch {
    // A piece of a state.
    return undefined;
  }
}

const checksumOf = (
  name: string,
  { position, hash, version }: Pick<Snapshot, 'position' | 'hash' | 'version'>,
  bytes: Uint8Array,
): string =>
  createHash('sha256').update(`${name}\n${position}\n${hash}\n${version}\n`).update(bytes).digest('hex');
