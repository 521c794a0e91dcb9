import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { BrokerError } from '#broker';
import { emptyHead, isSignedBy, signHead, type Head, type SignedHead } from '#log';
import type { ApiParts } from './api-parts.js';
import { directoryId, fileOf, readKept, writeKept, type KeptHead, type KeptHeads } from './head-places.js';
import { QueryError } from './query-errors.js';
import { sameHistory, type Bad, type Found } from './same-history.js';

/** What is known of the heads of a cluster that were signed. */
export interface CheckedHeads extends Found {
  /** What there is to say although nothing is bad. */
  readonly message?: string;
  /** The last head that was signed by a key that is trusted here, and that the log has. */
  readonly last?: SignedHead;
}

/** Two places that differ are looked at once more after this many milliseconds: somebody may just be writing. */
const LOOK_AGAIN = 200;
/** How often a head is tried to be kept while others write. */
const ATTEMPTS = 5;

/**
 * The heads of logs that were signed: what was said once must stay true. They are kept in the data directory and in
 * `VF_HEADS`, and each is believed by its signature alone, by a key that the settings name.
 */
class SignedHeads {
  /** The public part of the key that signs, and those of keys that did. */
  private readonly trusted: readonly KeyObject[];
  private readonly here: string;
  /** The last head of each cluster that this process has seen to be good: the witness that no file has. */
  private readonly seen = new Map<string, number>();
  private readonly turns = new Map<string, Promise<unknown>>();

  constructor(private readonly parts: ApiParts) {
    const { auditKey, earlierAuditKeys = [], dataDir } = parts;
    this.trusted = [...(auditKey === undefined ? [] : [createPublicKey(auditKey)]), ...earlierAuditKeys];
    this.here = directoryId(dataDir);
  }

  /** Compares the log, up to an end that was checked, with both places, and these with one another. */
  check(cluster: string, end: Head): Promise<CheckedHeads> {
    return this.inTurn(cluster, async () => (await this.look(cluster, end)).found);
  }

  /** @throws QueryError `SIGNED_HEAD_DIFFERS`: nothing is signed that contradicts what was signed before. */
  async refuseOtherHistory(cluster: string): Promise<void> {
    const { bad } = await this.check(cluster, await this.parts.log.head(cluster));
    if (bad !== undefined) throw differs(cluster, bad);
  }

  /**
   * Keeps a head that was just signed.
   *
   * @throws QueryError `SIGNED_HEAD_DIFFERS` where another history was signed before, or the places are not as they were
   *   left; `UNAVAILABLE`.
   */
  keep(cluster: string, signed: SignedHead): Promise<void> {
    // It says nothing that could be contradicted.
    if (signed.manifest.head.position === 0) return Promise.resolve();
    return this.inTurn(cluster, async () => {
      const { broker, dataDir } = this.parts;
      for (let attempt = 1; ; attempt++) {
        const { kept, found } = await this.look(cluster, signed.manifest.head);
        if (found.bad !== undefined) throw differs(cluster, found.bad);
        try {
          await writeKept(broker, dataDir, cluster, kept, signed);
          this.note(cluster, signed);
          return;
        } catch (error) {
          if (!(error instanceof BrokerError)) throw error;
          if (error.code === 'WRONG_SEQUENCE' && attempt < ATTEMPTS) continue;
          throw new QueryError('UNAVAILABLE', `the head cannot be kept in VF_HEADS now: ${error.message}`);
        }
      }
    });
  }

  /**
   * Signs the head of a cluster's log as it is now, where it has gone on since it was signed last. Every link between is
   * checked; those before are what the last head stands for.
   *
   * @returns the head that is signed now; undefined where there is nothing to sign.
   * @throws LogError `CORRUPT`: nothing is signed then; what {@link keep} throws; the signal's reason.
   */
  async sign(cluster: string, signal: AbortSignal): Promise<Head | undefined> {
    const { auditKey, readModel } = this.parts;
    if (auditKey === undefined) return undefined;
    const { log } = readModel;
    const { bad, last } = await this.check(cluster, await log.head(cluster));
    if (bad !== undefined) throw differs(cluster, bad);
    const from = last?.manifest.head ?? emptyHead(cluster);
    let head: Head = from;
    for await (const records of log.read(cluster, from.position + 1, { inputs: false, verify: from })) {
      signal.throwIfAborted();
      const end = records.at(-1);
      if (end !== undefined) head = { position: end.position, hash: end.hash };
    }
    if (head.position === 0) return undefined;
    if (head.position > from.position) await this.keep(cluster, this.signed(cluster, head, auditKey));
    return head;
  }

  private signed(cluster: string, head: Head, key: KeyObject): SignedHead {
    return signHead(cluster, head, key, new Date().toISOString());
  }

  private note(cluster: string, { manifest }: SignedHead): void {
    this.seen.set(cluster, Math.max(this.seen.get(cluster) ?? 0, manifest.head.position));
  }

  private async look(cluster: string, end: Head): Promise<{ kept: KeptHeads; found: CheckedHeads }> {
    for (let again = false; ; again = true) {
      const kept = await readKept(this.parts.broker, this.parts.dataDir, cluster);
      const { file, bucket } = kept;
      const notes: string[] = [];
      for (const place of [file, bucket]) {
        const found = await this.judge(cluster, end, place);
        if (found.bad !== undefined) return { kept, found };
        if (found.message !== undefined) notes.push(found.message);
      }
      const bad = this.parted(cluster, file, bucket);
      // Another process may be between the one place and the other.
      if (bad !== undefined && !again) {
        await wait(LOOK_AGAIN);
        continue;
      }
      if (bad !== undefined)
        return { kept, found: { bad: { position: bad.position ?? end.position, message: bad.message } } };
      const last = later(file.head, bucket.head);
      notes.push(...this.remarks(file, bucket));
      const proven = last !== undefined && this.trusted.length > 0;
      if (proven) this.note(cluster, last);
      return {
        kept,
        found: {
          ...(proven && { position: String(last.manifest.head.position), last }),
          ...(notes.length > 0 && { message: notes.join('; ') }),
        },
      };
    }
  }

  /** Whether what is kept in one place is a head of this log, and who signed it. */
  private async judge(cluster: string, end: Head, place: KeptHead): Promise<CheckedHeads> {
    const { head, strange, where } = place;
    const bad = (position: number, message: string): CheckedHeads => ({ bad: { position, message } });
    if (strange !== undefined)
      return bad(end.position, `the last signed head cannot be read: ${where}: ${strange}`);
    if (head === undefined) return {};
    const { manifest } = head;
    const { position } = manifest.head;
    if (manifest.cluster !== cluster)
      return bad(position, `the last signed head in ${where} is about cluster '${manifest.cluster}'`);
    const signer = signerOf(head);
    if (signer === undefined)
      return bad(position, `the signature of the last signed head in ${where} is not good: it was changed`);
    const trusted = this.trusted.some((key) => isSignedBy(head, key));
    if (this.trusted.length > 0 && !trusted) {
      return bad(
        position,
        `the last signed head in ${where} has a signature by another key (${nameOf(signer)}), which is neither that of VF_AUDIT_KEY nor one of VF_AUDIT_EARLIER_KEYS: whoever has that key wrote it`,
      );
    }
    const { log } = this.parts.readModel;
    const found = await sameHistory(
      log,
      cluster,
      end,
      position,
      manifest.head.hash,
      `the last signed head (${where})`,
    );
    if (found.bad !== undefined || trusted) return found;
    return {
      message: `the one in ${where} at position ${position} is not proven: no key is known here that it could be checked by (VF_AUDIT_KEY, VF_AUDIT_EARLIER_KEYS)`,
    };
  }

  /** How the two places, each good in itself, do not fit together. A head that is kept is kept in both. */
  private parted(
    cluster: string,
    file: KeptHead,
    bucket: KeptHeads['bucket'],
  ): { position?: number; message: string } | undefined {
    const inFile = file.head?.manifest.head.position ?? 0;
    const inBucket = bucket.head?.manifest.head.position ?? 0;
    const seen = this.seen.get(cluster) ?? 0;
    if (inFile > inBucket && file.keptBy !== undefined) {
      const gone = bucket.exists
        ? 'has no head'
        : 'is not there: the bucket was deleted, or this is another NATS';
      return {
        position: inFile,
        message:
          inBucket === 0
            ? `${file.where} has a signed head at position ${inFile}, which was kept in VF_HEADS too, and ${bucket.where} ${gone}`
            : `${file.where} has a signed head at position ${inFile}, which was kept in VF_HEADS too, and ${bucket.where} has one at ${inBucket}: it was replaced by an older one`,
      };
    }
    if (inFile < inBucket && bucket.keptBy === this.here) {
      return {
        position: inBucket,
        message:
          inFile === 0
            ? `VF_HEADS has a signed head at position ${inBucket}, which was kept in ${file.where} too, and there is no such file: it was deleted`
            : `VF_HEADS has a signed head at position ${inBucket}, which was kept in ${file.where} too, and that has one at ${inFile}: it was replaced by an older one`,
      };
    }
    if (Math.max(inFile, inBucket) < seen) {
      const there =
        inFile + inBucket === 0
          ? 'neither has one'
          : `the last one there is at ${Math.max(inFile, inBucket)}`;
      return {
        position: seen,
        message: `this process has seen a signed head at position ${seen} in ${file.where} and VF_HEADS, and ${there} now (start again where that was meant)`,
      };
    }
    return undefined;
  }

  private remarks(file: KeptHead, bucket: KeptHeads['bucket']): readonly string[] {
    if (file.head === undefined && bucket.head === undefined) {
      return this.parts.auditKey === undefined
        ? []
        : ['there is none, and this instance has a key: nothing was signed yet, or both places were emptied'];
    }
    const inFile = file.head?.manifest.head.position ?? 0;
    const inBucket = bucket.head?.manifest.head.position ?? 0;
    if (inFile > inBucket) return [`${file.where} is of a version that knew no VF_HEADS, which has none yet`];
    if (inFile < inBucket)
      return [
        `${file.where} has ${inFile === 0 ? 'none' : `one at ${inFile}`}: another instance signed last`,
      ];
    return [];
  }

  /** One at a time for each cluster. */
  private inTurn<T>(cluster: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.turns.get(cluster) ?? Promise.resolve()).then(work, work);
    this.turns.set(cluster, turn);
    turn.catch(() => undefined);
    return turn;
  }
}

const instances = new WeakMap<ApiParts, SignedHeads>();

/** The signed heads of an instance. */
export function signedHeadsOf(parts: ApiParts): SignedHeads {
  let heads = instances.get(parts);
  if (heads === undefined) {
    heads = new SignedHeads(parts);
    instances.set(parts, heads);
  }
  return heads;
}

function differs(cluster: string, { message }: Bad): QueryError {
  return new QueryError(
    'SIGNED_HEAD_DIFFERS',
    `nothing is signed, because another history was signed before, or what was signed is not where it was: ${message}. Verify says more. If this ` +
      `was meant (a backup was put back, NATS is another one), move ${fileOf(cluster)} away and delete the key ${cluster} of the bucket VF_HEADS`,
  );
}

const later = (one: SignedHead | undefined, other: SignedHead | undefined): SignedHead | undefined =>
  (one?.manifest.head.position ?? 0) >= (other?.manifest.head.position ?? 0) ? one : other;

/** The key that stands in a head, where the signature is by that one. */
function signerOf(head: SignedHead): KeyObject | undefined {
  try {
    const key = createPublicKey(head.manifest.publicKey);
    return isSignedBy(head, key) ? key : undefined;
  } catch {
    return undefined;
  }
}

/** By what a person tells keys apart: the beginning of SHA-256 over the DER form. */
const nameOf = (key: KeyObject): string =>
  `SHA-256 ${hash('sha256', key.export({ type: 'spki', format: 'der' })).slice(0, 16)}…`;
