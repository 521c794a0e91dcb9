import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { ReadError } from './errors.js';
import type { CallName, Calls, Reply } from './protocol.js';

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** The main thread's end of a worker thread of the read side. */
export class Thread {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private readonly exited: Promise<void>;
  private ids = 0;
  private over = false;

  /** @param file name of the compiled worker, beside this file. */
  constructor(file: string) {
    // Options of the process are not for the thread: some, like --input-type, would keep it from starting.
    this.worker = new Worker(compiled(file), { execArgv: [] });
    let died: unknown;
    this.worker.on('message', (reply: Reply) => {
      const asked = this.waiting.get(reply.id);
      this.waiting.delete(reply.id);
      if ('error' in reply) asked?.reject(received(reply.error));
      else asked?.resolve(reply.answer);
    });
    this.worker.on('error', (error) => (died = error));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', () => {
        this.over = true;
        const why = new ReadError(
          'UNAVAILABLE',
          'the thread of the read side ended; nothing is lost: ask again',
          {
            cause: died,
          },
        );
        for (const { reject } of this.waiting.values()) reject(why);
        this.waiting.clear();
        resolve();
      });
    });
  }

  /** Whether the thread is gone. */
  get ended(): boolean {
    return this.over;
  }

  call<Name extends CallName>(call: Name, ask: Calls[Name]['ask']): Promise<Calls[Name]['answer']> {
    if (this.over) return Promise.reject(new ReadError('UNAVAILABLE', 'the read side is closed'));
    const id = ++this.ids;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
      this.worker.postMessage({ id, call, ...ask });
    });
  }

  /** Lets it finish what it was asked for and end. */
  async close(): Promise<void> {
    if (!this.over) await this.call('close', {}).catch(() => undefined);
    await this.exited;
  }
}

function received({ code, message, stack }: Extract<Reply, { error: unknown }>['error']): Error {
  if (code !== undefined) return new ReadError(code, message);
  const defect = new Error(message);
  if (stack !== undefined) defect.stack = stack;
  return defect;
}

/** The compiled worker. A test runs this file from its source, but a thread can only load JavaScript. */
function compiled(file: string): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL(`./${file}`, import.meta.url);
  const built = new URL(`../../../dist/libs/read-model/src/${file}`, import.meta.url);
  if (!existsSync(built)) throw new Error(`${fileURLToPath(built)} is missing: run 'npm run build' first`);
  return built;
}
