import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignedHead } from '#log';

/** The last head of each cluster that was signed, kept beside the log: what was said once must stay true. */
const fileOf = (dataDir: string, cluster: string): string => join(dataDir, 'signed-heads', `${cluster}.json`);

export async function keepSignedHead(dataDir: string, cluster: string, head: SignedHead): Promise<void> {
  const file = fileOf(dataDir, cluster);
  await mkdir(join(dataDir, 'signed-heads'), { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(head)}\n`);
  await rename(`${file}.new`, file);
}

/** @throws Error for a file that cannot be read. */
export async function lastSignedHead(dataDir: string, cluster: string): Promise<SignedHead | undefined> {
  try {
    return JSON.parse(await readFile(fileOf(dataDir, cluster), 'utf8')) as SignedHead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
