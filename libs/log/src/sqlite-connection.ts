import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { LogError } from './errors.js';
import type { CallName, Calls, Reply, SqliteLogOptions } from './sqlite-protocol.js';

interface Waiting {
  readonly call: CallName;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A running worker thread with the calls it has not answered. */
interface Running {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
  readonly exited: Promise<void>;
  /** Settles when the file is open. */
  opened: Promise<void>;
}

/** The main thread's end of the SQLite worker. A worker that died is replaced at the next call. */
export class SqliteConnection {
  #running: Running | undefined;
  #wasOpen = false;
  #closing: Promise<void> | undefined;
  #ids = 0;
  #watching = false;

  /** @param onChange called when the file may have changed other than by a call from here. */
  constructor(
    private readonly file: string,
    private readonly options: SqliteLogOptions,
    private readonly onChange: () => void,
  ) {}

  /** Opens the file, unless it is open. */
  open(): Promise<void> {
    return this.#start().opened;
  }

  async call<Name extends CallName>(call: Name, ask: Calls[Name]['ask']): Promise<Calls[Name]['answer']> {
    this.checkOpen();
    const running = this.#start();
    const answer = post(running, ++this.#ids, call, ask);
    // When the file cannot be opened that is the error to see, not that the thread is gone.
    answer.catch(() => undefined);
    await running.opened;
    return answer;
  }

  /** Has the file polled for what other processes append, or not any more. */
  watch(on: boolean): void {
    this.#watching = on;
    if (this.#running !== undefined) this.#sendWatch(this.#running);
  }

  /** @throws LogError `UNAVAILABLE` after {@link close}. */
  checkOpen(): void {
    if (this.#closing !== undefined)
      throw new LogError('UNAVAILABLE', `the log file '${this.file}' is closed`);
  }

  /** Lets the worker finish what it was asked for and end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return this.onChange();
    await post(running, ++this.#ids, 'close', {}).catch(() => undefined);
    await running.exited;
  }

  #start(): Running {
    if (this.#running !== undefined) return this.#running;
    // Options of the process are not for the thread: some, like --input-type, would keep it from starting.
    // But who profiles the process wants to see the thread too.
    const execArgv = process.execArgv.filter((option) => option.startsWith('--cpu-prof'));
    const worker = new Worker(workerFile(), { execArgv });
    const waiting = new Map<number, Waiting>();
    let died: unknown;
    const exited = new Promise<void>((resolve) => {
      worker.on('error', (error) => (died = error));
      worker.on('exit', () => {
        if (this.#running === running) this.#running = undefined;
        for (const { call, reject } of waiting.values()) reject(this.#lost(call, died));
        waiting.clear();
        this.onChange();
        resolve();
      });
    });
    worker.on('message', (reply: Reply) => {
      if ('changed' in reply) return this.onChange();
      const asked = waiting.get(reply.id);
      waiting.delete(reply.id);
      if ('error' in reply) asked?.reject(received(reply.error));
      else asked?.resolve(reply.answer);
    });
    const running: Running = { worker, waiting, exited, opened: Promise.resolve() };
    this.#running = running;
    running.opened = this.#openFile(running);
    running.opened.catch(() => undefined);
    this.#sendWatch(running);
    return running;
  }

  async #openFile(running: Running): Promise<void> {
    const { file, options } = this;
    try {
      await post(running, ++this.#ids, 'open', { file, options, mustExist: this.#wasOpen });
      this.#wasOpen = true;
    } catch (error) {
      if (this.#running === running) this.#running = undefined;
      await running.worker.terminate();
      throw error;
    }
  }

  #sendWatch(running: Running): void {
    post(running, ++this.#ids, 'watch', { on: this.#watching }).catch(() => undefined);
  }

  #lost(call: CallName, died: unknown): LogError {
    const message = `the thread that writes the log file '${this.file}' ended`;
    return call === 'append'
      ? new LogError('OUTCOME_UNKNOWN', `${message}; the append may be in: append the same again`, {
          cause: died,
        })
      : new LogError('UNAVAILABLE', `${message}; nothing is lost: try again`, { cause: died });
  }
}

function post<Name extends CallName>(
  { worker, waiting }: Running,
  id: number,
  call: Name,
  ask: Calls[Name]['ask'],
): Promise<Calls[Name]['answer']> {
  return new Promise((resolve, reject) => {
    waiting.set(id, { call, resolve: resolve as (answer: unknown) => void, reject });
    worker.postMessage({ id, call, ...ask });
  });
}

function received({ code, message, position, stack }: Extract<Reply, { error: unknown }>['error']): Error {
  if (code !== undefined) return new LogError(code, message, position === undefined ? {} : { position });
  const bug = new Error(message);
  if (stack !== undefined) bug.stack = stack;
  return bug;
}

/** The compiled worker. A test runs this file from its source, but a thread can only load JavaScript. */
function workerFile(): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL('./sqlite-worker.js', import.meta.url);
  const built = new URL('../../../dist/libs/log/src/sqlite-worker.js', import.meta.url);
  if (!existsSync(built)) throw new Error(`${fileURLToPath(built)} is missing: run 'npm run build' first`);
  return built;
}
