import type { Mutant } from './mutant.js';

/** Versions, snapshots and exports: what is found without a server. */
export const PROOFS: readonly Mutant[] = [
  {
    name: 'snapshot-that-the-log-does-not-name-believed',
    breaks: 'a snapshot is bound to the log',
    file: 'libs/pipeline/src/load.ts',
    find: 'if (!isNamedBy(snapshot, await recordBehind(log, cluster, head))) {',
    replace: 'if (false) {',
    tests: ['libs/pipeline/src/pipeline.spec'],
  },
  {
    name: 'newer-event-led',
    breaks: 'an event of a newer decider is not led',
    file: 'libs/pipeline/src/seal.ts',
    find: "if (unknown !== undefined) throw new PipelineError('UNKNOWN_VERSION', unknown);",
    replace: '',
    tests: ['libs/pipeline/src/pipeline.spec'],
  },
  {
    name: 'export-in-other-bytes-taken',
    breaks: 'audit check, byte for byte',
    file: 'libs/log/src/export.ts',
    find: 'if (line !== wanted) return otherwise(differenceOf(line, wanted));',
    replace: '',
    tests: ['libs/log/src/export.spec'],
  },
  {
    name: 'export-without-its-last-line-feed-taken',
    breaks: 'audit check, byte for byte',
    file: 'libs/log/src/export.ts',
    find: "if (!ended) return otherwise('it has no line feed at its end: it was cut off');",
    replace: '',
    tests: ['libs/log/src/export.spec'],
  },
];

/** Signed heads, on a real nats-server. */
export const SIGNED_HEADS: readonly Mutant[] = [
  {
    name: 'head-by-any-key-believed',
    breaks: 'a head is checked by a key of ours',
    file: 'apps/api/src/signed-heads.ts',
    find: 'if (this.trusted.length > 0 && !trusted) {',
    replace: 'if (false) {',
  },
  {
    name: 'head-in-the-bucket-not-looked-at',
    breaks: 'heads are kept in two places',
    file: 'apps/api/src/signed-heads.ts',
    find: 'for (const place of [file, bucket]) {',
    replace: 'for (const place of [file]) {',
  },
  {
    name: 'read-side-called-good',
    breaks: 'what was not looked at is not called good',
    file: 'apps/api/src/verify.ts',
    find: 'readSide: { ok: true, message: READ_SIDE_NOT_CHECKED },',
    replace: 'readSide: { ok: true },',
    tests: ['apps/api/src/queries'],
  },
];

/** The same on real processes. */
export const UNASKED: readonly Mutant[] = [
  {
    name: 'head-signed-by-exports-alone',
    breaks: 'heads are signed without being asked',
    file: 'apps/allocator/src/service.ts',
    find: 'closers.push(keepSigning(parts));',
    replace: '',
  },
];
