/** The thread that owns the log file, so that a slow disk never stalls the process. */
import { parentPort } from 'node:worker_threads';
import { LogError } from './errors.js';
import { stepBack } from './priority.js';
import { SqliteFile } from './sqlite-file.js';
import type { Reply, Request, SentError } from './sqlite-protocol.js';

const port = parentPort!;
let file: SqliteFile | undefined;
let pollInterval = 100;
let polling: NodeJS.Timeout | undefined;
let checkpoints: NodeJS.Timeout | undefined;
/** Snapshots being compressed; everything else is done when its message is. */
const unfinished = new Set<Promise<unknown>>();

port.on('message', (request: Request) => {
  const answering = answer(request);
  unfinished.add(answering);
  void answering.finally(() => unfinished.delete(answering));
});

async function answer(request: Request): Promise<void> {
  try {
    const result = await handle(request);
    // Records move to the other thread; everything else is copied.
    const moved = request.call === 'read' ? buffersOf(result) : [];
    send({ id: request.id, answer: result }, moved);
  } catch (error) {
    send({ id: request.id, error: toSend(error) });
  }
  if (request.call === 'close') port.close();
}

/** Not async: what needs no waiting is done in the order it was asked for. */
function handle(request: Request): unknown {
  if (request.call === 'open') {
    pollInterval = request.options.pollInterval ?? pollInterval;
    const opened = SqliteFile.open(request.file, request.options, request.mustExist);
    file = opened;
    const { checkpointEvery } = request.options;
    if (checkpointEvery !== undefined) {
      // A handle for those who read: it may be late, and appends may not.
      stepBack(5);
      checkpoints = setInterval(() => opened.checkpoint(), checkpointEvery);
    }
    return;
  }
  if (file === undefined) throw new Error('the log file is not open');
  switch (request.call) {
    case 'append':
      return file.append(request.stream, request.expectedPosition, request.records);
    case 'head':
      return file.head(request.stream);
    case 'read':
      return file.read(request.stream, request.from, request.verify, request.most);
    case 'streams':
      return file.streams();
    case 'saveSnapshot':
      return file.saveSnapshot(request.stream, request.snapshot);
    case 'snapshots':
      return file.snapshots(request.stream);
    case 'watch':
      return watch(file, request.on);
    case 'close':
      return close(file);
    default:
      throw new Error(`unknown call ${JSON.stringify(request satisfies never)}`);
  }
}

function watch(watched: SqliteFile, on: boolean): void {
  clearInterval(polling);
  if (!on) return;
  let seen = watched.dataVersion();
  polling = setInterval(() => {
    let version: number;
    try {
      version = watched.dataVersion();
    } catch {
      return; // A read by the follower will say what is wrong.
    }
    if (version !== seen) send({ changed: true });
    seen = version;
  }, pollInterval);
}

async function close(closing: SqliteFile): Promise<void> {
  clearInterval(polling);
  clearInterval(checkpoints);
  // This call is not among them yet: it is added after it was begun.
  await Promise.allSettled(unfinished);
  closing.close();
}

function buffersOf(result: unknown): ArrayBuffer[] {
  const { bytes, lengths } = result as Awaited<ReturnType<SqliteFile['read']>>;
  return [bytes.buffer, lengths.buffer];
}

function send(reply: Reply, moved: ArrayBuffer[] = []): void {
  port.postMessage(reply, moved);
}

function toSend(error: unknown): SentError {
  if (error instanceof LogError) {
    return { code: error.code, message: error.message, position: error.position };
  }
  return error instanceof Error ? { message: error.message, stack: error.stack } : { message: String(error) };
}
