import { randomBytes } from 'node:crypto';
import { StreamNames } from './stream-names.js';

/** Names of streams for a suite of tests on a server that others use too: no scheduler looks at them. */
export const guestStreams = (): StreamNames => new StreamNames(`vfTest${randomBytes(6).toString('hex')}-`);

/** Takes them away again. */
export async function removeGuestStreams(url: string, { named, index }: StreamNames): Promise<void> {
  if (!index.startsWith('vfTest')) throw new Error(`${index} is not a suite's`);
  const { KurrentDBClient } = await import('@kurrent/kurrentdb-client');
  const client = KurrentDBClient.connectionString(url);
  for (const name of named) {
    try {
      await client.deleteStream(name, { requiresLeader: true });
    } catch (error) {
      const { type } = error as { type?: string };
      if (type === 'stream-not-found' || type === 'wrong-expected-version') continue;
      // Who may not delete may hide, which is the same until the next scavenge.
      await client.setStreamMetadata(
        name,
        { truncateBefore: Number.MAX_SAFE_INTEGER },
        { requiresLeader: true },
      );
    }
  }
  await client.dispose();
}
