import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignedHead } from '#log';

/** The last head of each cluster that was signed, kept beside the log: what was said once must stay true. */
const fileOf = (dataDir: string, cluster: string): string => join(dataDir, 'signed-heads', `${cluster}.json`);

/** A head that is behind the one that was signed last is not kept: another export was quicker. */
export async function keepSignedHead(dataDir: string, cluster: string, head: SignedHead): Promise<void> {
  const last = await lastSignedHead(dataDir, cluster);
  if (last !== undefined && last.manifest.head.position > head.manifest.head.position) return;
  const file = fileOf(dataDir, cluster);
  const fresh = `${file}.${randomUUID()}`;
  await mkdir(join(dataDir, 'signed-heads'), { recursive: true });
  await writeFile(fresh, `${JSON.stringify(head)}\n`);
  await rename(fresh, file);
}

/** @throws Error for a file that cannot be read, or is something else. */
export async function lastSignedHead(dataDir: string, cluster: string): Promise<SignedHead | undefined> {
  try {
    const read = JSON.parse(await readFile(fileOf(dataDir, cluster), 'utf8')) as Partial<SignedHead>;
    if (read.manifest?.head === undefined) throw new Error('it is no signed head');
    return read as SignedHead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
