import { constants, fstatSync, openSync, write } from 'node:fs';
import { Socket } from 'node:net';

/** Lines that wait for a reader may be this much; more are dropped. */
const MOST_WAITING = 1024 * 1024;
/** What goes out in one write, at most, in bytes. */
const ONE_WRITE = 64 * 1024;
/** How soon a reader that is behind, or a disk, is tried again, in milliseconds. */
const FIRST_WAIT = 20;
const LONGEST_WAIT = 1000;

export interface LineSinkOptions {
  /** A line that says how many were dropped; it is written once writing works again. */
  readonly onDropped?: (count: number) => string;
  /** Whether lines wait for room on a disk as they do for a reader, instead of being dropped. */
  readonly patient?: boolean;
}

/**
 * Lines on their way to a file descriptor of the process, which waits for nobody: neither for the reader of a pipe that has
 * stopped to read, nor for a disk that is full, nor for anybody at the other end. What cannot be written is dropped and counted. A
 * line that was begun is finished first, so that what is written stays lines.
 */
export class LineSink {
  readonly #write: (
    bytes: Buffer,
    done: (error: NodeJS.ErrnoException | null, written: number) => void,
  ) => void;
  readonly #options: LineSinkOptions;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** The rest of a line of which a part is out. */
  #begun: Buffer | undefined;
  #busy = false;
  #retry: NodeJS.Timeout | undefined;
  #pause = 0;
  #dropped = 0;
  #unsaid = 0;
  /** Nobody reads any more. */
  #gone = false;
  /** What was written last found no room: until the next try nothing is taken. */
  #full = false;
  readonly #idle = new Set<() => void>();

  constructor(fd: number, options: LineSinkOptions = {}) {
    this.#write = writerTo(fd);
    this.#options = options;
  }

  /** Lines that were dropped since the process began. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a line, with its end. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#gone || this.#full || this.#waitingBytes + bytes.length > MOST_WAITING) return this.#drop(1);
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#advance();
  }

  /** Waits until all is out, for so many milliseconds at most: what cannot be written must not keep the process. */
  async settle(patience: number): Promise<void> {
    if (!this.#busy && this.#waiting.length === 0 && this.#begun === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, patience);
      this.#idle.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #advance(): void {
    if (this.#busy || this.#gone || this.#retry !== undefined) return;
    const some = this.#next();
    if (some === undefined) {
      this.#full = false;
      return this.#tellIdle();
    }
    this.#busy = true;
    this.#write(some.bytes, (error, written) => {
      this.#busy = false;
      this.#take(some, error, written);
    });
  }

  /** What to write next: the rest of a line alone, whole lines, or, behind the last of them, how many are missing. */
  #next(): Chunk | undefined {
    if (this.#begun !== undefined) return { bytes: this.#begun, lines: [this.#begun], says: 0 };
    if (this.#waiting.length === 0) {
      const says = this.#unsaid;
      if (says === 0 || this.#options.onDropped === undefined) return undefined;
      this.#unsaid = 0;
      const line = Buffer.from(this.#options.onDropped(says));
      return { bytes: line, lines: [line], says };
    }
    let count = 0;
    for (let bytes = 0; count < this.#waiting.length && bytes < ONE_WRITE; count++)
      bytes += this.#waiting[count]?.length ?? 0;
    const lines = this.#waiting.splice(0, count);
    const bytes = lines.length === 1 ? (lines[0] as Buffer) : Buffer.concat(lines);
    this.#waitingBytes -= bytes.length;
    return { bytes, lines, says: 0 };
  }

  /** Takes in how a write went: a line that was begun will be finished, those behind it are put back, or dropped. */
  #take({ lines, says }: Chunk, error: NodeJS.ErrnoException | null, written: number): void {
    this.#begun = undefined;
    let at = 0;
    let left: Buffer[] = [];
    for (const line of lines) {
      if (at < written && at + line.length > written) this.#begun = line.subarray(written - at);
      else if (at >= written) left.push(line);
      at += line.length;
    }
    if (says > 0 && left.length > 0) {
      left = [];
      this.#unsaid += says;
    }
    if (error !== null && ENDED.has(error.code ?? '')) {
      this.#gone = true;
      this.#drop(left.length + this.#waiting.length + (this.#begun === undefined ? 0 : 1));
      this.#begun = undefined;
      this.#keep([]);
      return this.#tellIdle();
    }
    // The reader is behind: it will read on. A disk that is full may stay so for days.
    this.#full =
      error !== null && error.code !== 'EAGAIN' && error.code !== 'EINTR' && !this.#options.patient;
    if (this.#full) {
      this.#drop(left.length + this.#waiting.length);
      this.#keep([]);
    } else {
      this.#keep([...left, ...this.#waiting]);
    }
    if (error === null) {
      this.#pause = 0;
      return this.#advance();
    }
    this.#pause = Math.min(Math.max(FIRST_WAIT, this.#pause * 2), LONGEST_WAIT);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#advance();
    }, this.#pause);
    this.#retry.unref();
    if (this.#waiting.length === 0 && this.#begun === undefined) this.#tellIdle();
  }

  #keep(lines: Buffer[]): void {
    this.#waiting = lines;
    this.#waitingBytes = lines.reduce((sum, { length }) => sum + length, 0);
  }

  #drop(lines: number): void {
    this.#dropped += lines;
    this.#unsaid += lines;
  }

  #tellIdle(): void {
    for (const tell of this.#idle) tell();
    this.#idle.clear();
  }
}

/** What goes out in one write. */
interface Chunk {
  readonly bytes: Buffer;
  readonly lines: readonly Buffer[];
  /** How many lines it says are missing, where it says so. */
  readonly says: number;
}

/** Nobody reads any more, and nobody will. */
const ENDED: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'EBADF', 'ERR_STREAM_DESTROYED']);

type Writer = (bytes: Buffer, done: (error: NodeJS.ErrnoException | null, written: number) => void) => void;

/**
 * How to write to a descriptor without waiting. A file is written to by a thread of Node. A pipe is opened once more, so that it can be
 * asked not to wait: the one we were given is shared with others, who may rely on it to wait. A socket is Node's to wait for.
 */
function writerTo(fd: number): Writer {
  const byThread =
    (descriptor: number): Writer =>
    (bytes, done) =>
      write(descriptor, bytes, 0, bytes.length, null, (error, written) => done(error, written));
  try {
    const is = fstatSync(fd);
    if (is.isFile()) return byThread(fd);
    if (is.isSocket()) return bySocket(fd);
    return byThread(
      openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY),
    );
  } catch {
    // Another operating system, or a pipe that nobody reads any more.
    return byThread(fd);
  }
}

function bySocket(fd: number): Writer {
  const socket = new Socket({ fd, readable: false, writable: true });
  let failed: NodeJS.ErrnoException | undefined;
  socket.on('error', (error: NodeJS.ErrnoException) => (failed = error));
  // Who does not read must not keep the process.
  socket.unref();
  return (bytes, done) => {
    if (failed !== undefined) return done(failed, 0);
    socket.write(bytes, (error) => done(error ?? null, error ? 0 : bytes.length));
  };
}

let log: LineSink | undefined;

/** Where the process's log goes: stderr. */
export const logSink = (): LineSink =>
  (log ??= new LineSink(2, {
    onDropped: (count) =>
      `${JSON.stringify({
        level: 40,
        time: new Date().toISOString(),
        dropped: count,
        msg: `${count} lines of this log are missing here: they could not be written`,
      })}\n`,
  }));
