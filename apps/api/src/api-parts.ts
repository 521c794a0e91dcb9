import type { KeyObject } from 'node:crypto';
import type { Broker } from '#broker';
import type { EventLog } from '#log';
import type { Allocator, Logger } from '#pipeline';
import type { ReadModel } from '#read-model';

/** What the API needs of the process it is in. */
export interface ApiParts {
  readonly allocator: Allocator;
  readonly broker: Broker & { readonly connection?: unknown };
  readonly log: EventLog;
  readonly logger: Logger;
  readonly readModel: ReadModel;
  /** Clusters that it answers for; undefined: all. */
  readonly clusters?: readonly string[];
  /** Signs exports and heads. */
  readonly auditKey?: KeyObject;
  /** The public parts of keys that did so earlier. */
  readonly earlierAuditKeys?: readonly KeyObject[];
  /** What all clusters share and does not work now, the disk for one: a sentence each. Nothing is served then. */
  readonly troubles?: () => readonly string[];
  /** Lines of the process's log that could not be written. */
  readonly linesDropped?: () => number;
  /** Where the heads are kept that were signed. */
  readonly dataDir: string;
}
