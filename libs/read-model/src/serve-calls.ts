import { parentPort } from 'node:worker_threads';
import { ReadError } from './errors.js';
import type { Calls, CallName, Reply, Request, SentError } from './protocol.js';

export type Handlers = {
  readonly [Name in CallName]?: (
    ask: Calls[Name]['ask'],
  ) => Calls[Name]['answer'] | Promise<Calls[Name]['answer']>;
};

/** Answers the calls of the main thread, in the order in which they come. */
export function serveCalls(handlers: Handlers): void {
  const port = parentPort!;
  let turn = Promise.resolve();
  port.on('message', (request: Request) => {
    turn = turn.then(async () => {
      const handler = handlers[request.call] as ((ask: object) => unknown) | undefined;
      let reply: Reply;
      try {
        if (handler === undefined) throw new Error(`this thread has no call '${request.call}'`);
        reply = { id: request.id, answer: await handler(request) };
      } catch (error) {
        reply = { id: request.id, error: toSend(error) };
      }
      port.postMessage(reply);
      if (request.call === 'close') port.close();
    });
  });
}

function toSend(error: unknown): SentError {
  if (error instanceof ReadError) return { code: error.code, message: error.message };
  return error instanceof Error ? { message: error.message, stack: error.stack } : { message: String(error) };
}
