import { access, constants, mkdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import Database from 'libsql';

/** A data directory that is ours until it is let go. */
export interface DataDirectory {
  readonly path: string;
  release(): void;
}

/**
 * Takes a data directory for this process alone. The lock is one that the operating system takes back when
 * the process ends, however it ends, so there is no stale lock to clean up.
 *
 * @throws Error with a sentence: no permission, not a directory, or another standalone works there.
 */
export async function takeDataDirectory(directory: string): Promise<DataDirectory> {
  const path = resolve(directory);
  try {
    await makeDirectory(path);
    if (!(await stat(path)).isDirectory())
      throw Object.assign(new Error(`${path} is a file`), { code: 'ENOTDIR' });
    await access(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    const why =
      code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? 'there is no permission to write there'
        : code === 'ENOTDIR' || code === 'EEXIST'
          ? 'it, or what it should be in, is not a directory'
          : code;
    throw new Error(
      `the data directory ${path} cannot be used (${why}): set VF_DATA_DIR to one that can be written`,
      {
        cause: error,
      },
    );
  }
  const database = new Database(join(path, 'standalone.lock'), { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (/lock|busy/i.test(String(error))) {
      throw new Error(
        `another standalone works on the data directory ${path}: stop it, or set VF_DATA_DIR to another directory`,
        { cause: error },
      );
    }
    throw new Error(`the data directory ${path} cannot be locked: ${String(error)}`, { cause: error });
  }
  return { path, release: () => database.close() };
}

/**
 * Like a recursive `mkdir`, which in Node never returns below a file system that makes no directories
 * (`/proc`).
 */
async function makeDirectory(path: string): Promise<void> {
  const code = await mkdir(path, { mode: 0o700 }).then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );
  if (code === undefined || code === 'EEXIST') return;
  const parent = dirname(path);
  if (code === 'ENOENT' && parent !== path && !(await exists(parent))) {
    await makeDirectory(parent);
    await mkdir(path, { mode: 0o700 });
    return;
  }
  throw Object.assign(new Error(`mkdir ${path}: ${code}`), { code });
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
