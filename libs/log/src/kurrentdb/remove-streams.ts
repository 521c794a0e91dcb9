import { randomBytes } from 'node:crypto';
import { StreamNames } from './stream-names.js';

/** The beginning of the names of streams that no scheduler looks at. */
export const strangePrefix = (): string => `vfTest${randomBytes(6).toString('hex')}-`;

/**
 * Takes a suite's streams from a server that is used by others too.
 *
 * @param prefix what the names of the streams begin with: never `vf`, by which the logs of schedulers go.
 */
export async function removeStreams(url: string, prefix: string): Promise<void> {
  const names = new StreamNames(prefix);
  if (!prefix.startsWith('vfTest')) throw new Error(`streams that begin with ${prefix} are not a test's`);
  const { KurrentDBClient, streamNameFilter } = await import('@kurrent/kurrentdb-client');
  const client = KurrentDBClient.connectionString(url);
  const found = new Set<string>([names.index]);
  for await (const { event } of client.readAll({ filter: streamNameFilter({ prefixes: [prefix] }) })) {
    if (event !== undefined) found.add(event.streamId);
  }
  for (const name of found) {
    await client.deleteStream(name, { requiresLeader: true }).catch((error: { type?: string }) => {
      if (error.type !== 'stream-not-found') throw error;
    });
  }
  await client.dispose();
}
