import { hash as digest } from 'node:crypto';
import { eventId } from '../chain.js';
import { LogError } from '../errors.js';
import type { KurrentConnection } from './connection.js';

const attempts = 20;
/** As the contract has them: others may have written there too. */
const clusterName = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * The names of the clusters, in a stream of their own. KurrentDB can list streams only with its projections,
 * which need not run, or by reading everything.
 *
 * A name is written before the first record of its cluster, so none is ever left out.
 */
export class ClusterIndex {
  readonly #known = new Set<string>();

  constructor(private readonly connection: KurrentConnection) {}

  /** Puts a cluster in, once. */
  async add(cluster: string): Promise<void> {
    const { index: stream } = this.connection.names;
    for (let attempt = 1; !this.#known.has(cluster); attempt++) {
      const { names, revision } = await this.#read();
      if (names.includes(cluster)) {
        this.#known.add(cluster);
        return;
      }
      const event = {
        id: eventId(digest('sha256', `${stream} ${cluster}`)),
        contentType: 'application/json' as const,
        type: 'ClusterAdded',
        data: { cluster },
        metadata: undefined,
      };
      const doing = `append to the stream ${stream}`;
      const written = await this.connection.append(stream, revision ?? 'no_stream', [event], doing);
      if (written !== undefined) this.#known.add(cluster);
      else if (attempt >= attempts) {
        throw new LogError('UNAVAILABLE', `${this.connection.name}: others keep writing to ${stream}`);
      } else await this.connection.pause(attempt, 200);
    }
  }

  /** All names, those of clusters without a record too. */
  async names(): Promise<readonly string[]> {
    return (await this.#read()).names;
  }

  async #read(): Promise<{ readonly names: readonly string[]; readonly revision: bigint | undefined }> {
    const names = new Set<string>();
    let revision: bigint | undefined;
    for (;;) {
      const from = revision === undefined ? ('start' as const) : revision + 1n;
      const page = await this.connection.page(this.connection.names.index, { from, count: 1000 });
      for (const { event } of page?.events ?? []) {
        revision = event?.revision;
        const name = (event?.data as { cluster?: unknown } | undefined)?.cluster;
        if (typeof name === 'string' && clusterName.test(name)) names.add(name);
      }
      if (page === undefined || page.end) return { names: [...names], revision };
    }
  }
}
