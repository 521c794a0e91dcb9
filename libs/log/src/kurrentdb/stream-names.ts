/** The streams of a log in KurrentDB. A server may be shared, so all of them begin alike. */
export class StreamNames {
  /** Where the names of the clusters are. */
  readonly index: string;

  constructor(private readonly prefix = 'vf') {
    this.index = `${prefix}Clusters`;
  }

  /** The log of a cluster. */
  log(cluster: string): string {
    return `${this.prefix}Cluster-${cluster}`;
  }

  /** The snapshots of a cluster. */
  snapshots(cluster: string): string {
    return `${this.prefix}Snapshot-${cluster}`;
  }
}
