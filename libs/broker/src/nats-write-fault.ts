import { JetStreamApiError } from '@nats-io/jetstream';
import { INPUT_STREAM } from '#wire';
import { toBrokerError } from './nats-errors.js';
import type { NatsLink } from './nats-connection.js';

/** A stream that stores nothing more because a write of its server's has failed. */
export interface WriteFault {
  readonly stream: string;
  /** What the server says: `write …/1.blk: no space left on device`. */
  readonly message: string;
}

/** A subject of none of our streams: nothing is purged by it. */
const NOTHING = 'vf-nothing';
const OURS = /^(KV_|OBJ_)?VF_/;
/** What an operating system says of a write, and the server of a stream it has given up. */
const WRITE_FAILED =
  /\b(no space left|disk quota|read-only file system|permission denied|input\/output error|file too large|too many open files|stale file handle)|^write /i;

/**
 * Asks whether the server still writes to our streams.
 *
 * After a write that failed a nats-server (2.14) neither stores nor answers what is published to that stream, until it is started again, also
 * when there is room on its disk. It says so only when it is asked for something that writes; a purge of what no stream holds does
 * nothing else.
 *
 * @param all asks about every stream of ours, and not `VF_IN` alone: where all that is permitted.
 * @returns the first that is found; undefined also where nobody answers, or a stream is missing.
 * @throws BrokerError `UNAVAILABLE` without a connection.
 */
export async function findWriteFault(link: NatsLink, all: boolean): Promise<WriteFault | undefined> {
  const streams = all ? await ourStreams(link) : [INPUT_STREAM];
  const faults = await Promise.all(streams.map((stream) => faultOf(link, stream)));
  return faults.find((fault) => fault !== undefined);
}

async function ourStreams(link: NatsLink): Promise<readonly string[]> {
  return link.call('Asking for the streams', async () => {
    const names: string[] = [];
    for await (const name of link.jetStream.streams.names()) if (OURS.test(name)) names.push(name);
    return names;
  });
}

async function faultOf(link: NatsLink, stream: string): Promise<WriteFault | undefined> {
  try {
    await link.jetStream.streams.purge(stream, { filter: NOTHING });
  } catch (error) {
    if (error instanceof JetStreamApiError && WRITE_FAILED.test(error.message))
      return { stream, message: error.message };
    // A stream that cannot be purged, or that has no leader now: no word of a write.
    if (!(error instanceof JetStreamApiError))
      throw toBrokerError(error, `Asking whether ${stream} is written`);
  }
  return undefined;
}
