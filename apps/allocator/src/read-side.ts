import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { SqliteLog, type EventLog } from '#log';
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

/** The key that signs exports. @throws SettingsError */
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
