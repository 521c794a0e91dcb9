import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Less than this and an input, its event and what SQLite needs beside it may not fit any more, in bytes. */
const LEAST_ROOM = 1024 * 1024;
/** With this much it goes on: a disk on the brink must not be let in and out all the time. */
const ROOM_AGAIN = 2 * LEAST_ROOM;
/** What is written to see whether anything can be, in bytes. */
const PROBE_SIZE = 64 * 1024;
const PROBE = 'room-check';

/** A directory that the process, or a server of its own, writes to. */
export interface Watched {
  readonly directory: string;
  /** What is kept there, for a person: `the log`. */
  readonly holds: string;
}

/** Looks whether there is room for what the process writes, and says so while there is none. */
export class DiskWatch {
  readonly #watched: readonly Watched[];
  readonly #troubles = new Map<string, string>();

  constructor(watched: readonly Watched[]) {
    const directories = [...new Set(watched.map(({ directory }) => directory))];
    this.#watched = directories.map((directory) => ({
      directory,
      holds: watched.flatMap((one) => (one.directory === directory ? [one.holds] : [])).join(', '),
    }));
  }

  /** Where nothing can be written, and what to do: a sentence; undefined where there is room everywhere. */
  get trouble(): string | undefined {
    return this.#troubles.size === 0 ? undefined : [...this.#troubles.values()].join('; ');
  }

  /** What is the matter with one directory. */
  troubleOf(directory: string): string | undefined {
    return this.#troubles.get(directory);
  }

  /**
   * Looks now.
   *
   * @param write also writes something: a quota, or a file system that became read-only, shows in no number.
   */
  async look(write: boolean): Promise<void> {
    await Promise.all(
      this.#watched.map(async (watched) => {
        const { directory } = watched;
        const before = this.#troubles.has(directory);
        const trouble = await look(watched, before ? ROOM_AGAIN : LEAST_ROOM, write || before);
        if (trouble === undefined) this.#troubles.delete(directory);
        else this.#troubles.set(directory, trouble);
      }),
    );
  }
}

/**
 * Before anything is written there.
 *
 * @throws Error with a sentence where there is no room: what begins without would stop in the middle of its beginning.
 */
export async function refuseFullDisk(directory: string): Promise<void> {
  const trouble = await look({ directory, holds: 'VF_DATA_DIR' }, LEAST_ROOM, true);
  if (trouble?.startsWith(NO_ROOM) !== true) return;
  throw new Error(trouble.replace(GOES_ON, 'Make room, or set VF_DATA_DIR to another disk, and start again'));
}

const NO_ROOM = 'there is no room';
const GOES_ON = 'Make room; it then goes on by itself';

async function look(
  { directory, holds }: Watched,
  least: number,
  write: boolean,
): Promise<string | undefined> {
  const noRoom = (why: string): string =>
    `${NO_ROOM} on the disk of ${directory} (${holds}): ${why}. ${GOES_ON}`;
  try {
    const { bavail, bsize, ffree, files } = await statfs(directory);
    const free = bavail * bsize;
    if (free < least) return noRoom(`${free} bytes are free`);
    // Some file systems count no inodes.
    if (files > 0 && ffree === 0) return noRoom('it can hold no more files, all inodes are in use');
    if (write) await probe(directory);
    return undefined;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    switch (code) {
      case 'ENOSPC':
        return noRoom(message);
      case 'EDQUOT':
        return noRoom(`the quota of this user is used up (${code})`);
      case 'EROFS':
      case 'EACCES':
      case 'EPERM':
        return `${directory} (${holds}) cannot be written any more (${code}): mount it for writing, or give this user the right to write there; it then goes on by itself`;
      case 'ENOENT':
      case 'ENOTDIR':
        return `${directory} (${holds}) is not there any more (${code}): bring it back, and start again`;
      case 'EIO':
        return `the disk of ${directory} (${holds}) fails (${code}): look at the disk`;
      default:
        // Not a word about the disk: too many open files, say.
        return undefined;
    }
  }
}

async function probe(directory: string): Promise<void> {
  const file = join(directory, PROBE);
  try {
    await writeFile(file, Buffer.alloc(PROBE_SIZE), { mode: 0o600 });
  } finally {
    await rm(file, { force: true });
  }
}
