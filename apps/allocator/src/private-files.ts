import type { Stats } from 'node:fs';
import { chmod, lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** What nobody but the user that runs us may do with what we make, in the form of `umask`. */
const OTHERS = 0o077;
const STICKY = 0o1000;

/** What we keep in a data directory, with what SQLite puts beside its files. */
const FILES = /^(?:events\.db|read(?:-\d+)?\.db|standalone\.lock)(?:-[a-z]+)?$/;
const DIRECTORIES: ReadonlySet<string> = new Set(['nats', 'signed-heads']);

/**
 * Has everything that this process makes from now on be its user's alone, whatever the umask was; also what its threads
 * and the nats-server that it starts make.
 */
export function makePrivateFiles(): void {
  process.umask(OTHERS);
}

/**
 * Makes the data directory where there is none, and has nobody else read what is in it: the log says who had which VF,
 * and a stream what was asked. What an earlier version left open, or a restored backup, is narrowed; only what is ours,
 * by its owner and its name, because the directory may be a home with other things in it.
 *
 * @param warn told of what was narrowed, and of what is open and not ours.
 * @throws Error with a sentence, where the directory can be neither made nor looked at.
 */
export async function keepPrivate(directory: string, warn: (message: string) => void): Promise<void> {
  const user = process.getuid?.();
  // Where there are no modes there is nothing to narrow.
  if (user === undefined) return;
  const path = resolve(directory);
  let found: Stats;
  let names: readonly string[];
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    found = await stat(path);
    names = await readdir(path);
  } catch (error) {
    const { code } = error as { code?: string };
    throw new Error(`the data directory ${path} cannot be used (${code}): set VF_DATA_DIR to another one`, {
      cause: error,
    });
  }
  const ours = names.filter((name) => FILES.test(name) || DIRECTORIES.has(name));
  const open = isOpen(found);
  const mode = modeOf(found);
  if (open && found.uid === user && (found.mode & STICKY) === 0 && ours.length === names.length) {
    await chmod(path, found.mode & ~OTHERS & 0o7777);
    warn(`the data directory ${path} was open to others (mode ${mode}): it is 700 now`);
  } else if (open) {
    const why = found.uid === user ? 'there are other things in it' : `it belongs to user ${found.uid}`;
    warn(
      `the data directory ${path} is open to others (mode ${mode}) and is left as it is, because ${why}: ` +
        'chmod 700 it, or set VF_DATA_DIR to a directory for nothing else',
    );
  }
  let narrowed = 0;
  for (const name of ours) narrowed += await narrow(join(path, name), user);
  if (narrowed > 0) warn(`${narrowed} files in ${path} were open to others: they are not any more`);
}

/** Narrows a file, or a directory and all that is in it. @returns how many were open. */
async function narrow(path: string, user: number): Promise<number> {
  // What nats-server or SQLite has just taken away is no concern.
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined || found.uid !== user || !(found.isFile() || found.isDirectory())) return 0;
  let narrowed = 0;
  if (isOpen(found)) {
    await chmod(path, found.mode & ~OTHERS & 0o7777).then(
      () => narrowed++,
      () => undefined,
    );
  }
  if (found.isDirectory())
    for (const name of await readdir(path).catch(() => [])) narrowed += await narrow(join(path, name), user);
  return narrowed;
}

const isOpen = ({ mode }: Stats): boolean => (mode & OTHERS) !== 0;

const modeOf = ({ mode }: Stats): string => (mode & 0o777).toString(8);
