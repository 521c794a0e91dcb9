import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { signedHeadsOf, type ApiParts } from '#api';
import { isTransient, MemoryLog, SqliteLog, type EventLog } from '#log';
import { systemClock, type Allocator, type Logger } from '#pipeline';
import { ReadModel } from '#read-model';
import { SettingsError, type Settings } from '#wire';

/** Clusters that are new are noticed so often, in milliseconds. */
const LOOK_EVERY = 1000;

/** Opens the read side. What it reads of a log in a file, it reads by a thread of its own. */
export async function openReadModel(
  { dataDir, rememberedInputs }: Settings,
  log: EventLog,
  logger: Logger,
  closers: (() => Promise<unknown>)[],
): Promise<ReadModel> {
  let own = log;
  if (log instanceof SqliteLog) {
    own = await log.reader();
    closers.push(() => own.close());
  }
  const readModel = await ReadModel.open({ directory: dataDir, log: own, logger, rememberedInputs });
  closers.push(() => readModel.close());
  return readModel;
}

/**
 * Has the read side follow every cluster that the allocator knows, and stops the leader of one whose log hands a VF out twice.
 *
 * @returns what ends it.
 */
export function followClusters(allocator: Allocator, readModel: ReadModel): () => Promise<void> {
  const over = new AbortController();
  const following = (async (): Promise<void> => {
    while (!over.signal.aborted) {
      for (const cluster of allocator.status.keys()) readModel.follow(cluster);
      // Who leads has decided it, and would not notice: the read side is a second opinion.
      for (const [cluster, { state, code, message = '' }] of readModel.status)
        if (state === 'stopped' && code === 'TWO_HOLDERS') allocator.halt(cluster, message);
      await systemClock.sleep(LOOK_EVERY, over.signal);
    }
  })();
  return () => {
    over.abort();
    return following;
  };
}

/** The head of a cluster that is led is signed so often, in milliseconds; and sooner again where there was none, or where that failed. */
const SIGN_EVERY = 3_600_000;
const SIGN_AGAIN = 600_000;

/**
 * Has the leader of each cluster sign the head of its log: when it begins, and now and then. So there is a head to compare
 * with although nobody exports. It reads what was appended since the last one, by the read side's reader.
 *
 * @returns what ends it.
 */
export function keepSigning(parts: ApiParts): () => Promise<void> {
  const { allocator, auditKey, log, logger } = parts;
  // A head that outlives a log in memory would contradict the next one.
  if (auditKey === undefined || log instanceof MemoryLog) return async () => undefined;
  const over = new AbortController();
  const due = new Map<string, number>();
  const troubles = new Map<string, string>();
  const sign = async (cluster: string): Promise<void> => {
    try {
      const head = await signedHeadsOf(parts).sign(cluster, over.signal);
      due.set(cluster, systemClock.now() + (head === undefined ? SIGN_AGAIN : SIGN_EVERY));
      troubles.delete(cluster);
    } catch (error) {
      due.set(cluster, systemClock.now() + SIGN_AGAIN);
      const message = error instanceof Error ? error.message : String(error);
      if (over.signal.aborted || troubles.get(cluster) === message) return;
      troubles.set(cluster, message);
      // A log that is away for a moment is for others to report.
      const level = isTransient(error) ? 'warn' : 'error';
      logger[level](`the head of cluster '${cluster}' is not signed: ${message}`, { error });
    }
  };
  const signing = (async (): Promise<void> => {
    while (!over.signal.aborted) {
      for (const [cluster, status] of allocator.status) {
        const now = systemClock.now();
        // Whoever leads it next begins with it.
        if (status.role !== 'leader') due.delete(cluster);
        else if ((due.get(cluster) ?? 0) > now) continue;
        // An empty log has nothing to sign, whatever comes while we would look.
        else if (status.position === 0) due.set(cluster, now + SIGN_AGAIN);
        else await sign(cluster);
      }
      await systemClock.sleep(LOOK_EVERY, over.signal);
    }
  })();
  return () => {
    over.abort();
    return signing;
  };
}

/** The public parts of the keys that signed earlier. @throws SettingsError */
export async function readEarlierAuditKeys({
  earlierAuditKeys = [],
}: Settings): Promise<readonly KeyObject[]> {
  const keys: KeyObject[] = [];
  for (const file of earlierAuditKeys) {
    const refuse = (why: string): SettingsError =>
      new SettingsError(
        'VF_AUDIT_EARLIER_KEYS',
        `${file} ${why}: name files with Ed25519 public keys in PEM (openssl pkey -in key.pem -pubout), with commas between`,
      );
    const text = await readFile(file, 'utf8').catch((error: { code?: string }) => {
      throw refuse(`cannot be read (${error.code})`);
    });
    if (text.includes('PRIVATE KEY')) throw refuse('has a private key, which nobody needs any more');
    const found = text.match(/-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----/g) ?? [];
    if (found.length === 0) throw refuse('has no public key');
    for (const pem of found) {
      let key: KeyObject;
      try {
        key = createPublicKey(pem);
      } catch {
        throw refuse('has something that is no public key');
      }
      if (key.asymmetricKeyType !== 'ed25519')
        throw refuse(`has a key of ${key.asymmetricKeyType}, not of Ed25519`);
      keys.push(key);
    }
  }
  return keys;
}

/** The key that signs exports and heads. @throws SettingsError */
export async function readAuditKey({ auditKey }: Settings): Promise<KeyObject | undefined> {
  if (auditKey === undefined) return undefined;
  const refuse = (why: string): SettingsError =>
    new SettingsError(
      'VF_AUDIT_KEY',
      `${auditKey} ${why}: name a file with an Ed25519 private key in PEM (openssl genpkey -algorithm ed25519)`,
    );
  let text: string;
  try {
    text = await readFile(auditKey, 'utf8');
  } catch (error) {
    throw refuse(`cannot be read (${(error as { code?: string }).code})`);
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    throw refuse('is not a private key');
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw refuse(`is a key of ${key.asymmetricKeyType}, not of Ed25519`);
  return key;
}
