/** The streams of a log in KurrentDB. A server may be shared, so all of them begin alike. */
export class StreamNames {
  /** Where the names of the clusters are. */
  readonly index: string;
  readonly #named = new Set<string>();

  constructor(private readonly prefix = 'vf') {
    this.index = this.#name('Clusters');
  }

  /** The log of a cluster. */
  log(cluster: string): string {
    return this.#name(`Cluster-${cluster}`);
  }

  /** The snapshots of a cluster. */
  snapshots(cluster: string): string {
    return this.#name(`Snapshot-${cluster}`);
  }

  /** All that were named so far: what a suite of tests takes away again. */
  get named(): ReadonlySet<string> {
    return this.#named;
  }

  #name(rest: string): string {
    const name = this.prefix + rest;
    this.#named.add(name);
    return name;
  }
}
