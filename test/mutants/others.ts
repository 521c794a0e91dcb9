import type { Mutant } from './mutant.js';

/** Whoever believes what others may write to NATS. */

/** The relay, the positions and the spread, in memory. */
export const BELIEVERS: readonly Mutant[] = [
  {
    name: 'relay-takes-the-end-of-the-stream-for-relayed',
    breaks: 'OUT-3',
    file: 'libs/pipeline/src/relay.ts',
    find: 'if (unproven !== undefined || last <= this.durable) return unproven;',
    replace: 'return undefined;',
  },
  {
    name: 'hole-in-the-stream-left',
    breaks: 'OUT-3',
    file: 'libs/pipeline/src/relay.ts',
    find: 'if (state.holes > 0) {',
    replace: 'if (false) {',
  },
  {
    name: 'stream-of-somebody-else-believed',
    breaks: 'OUT-3',
    file: 'libs/pipeline/src/relay.ts',
    find: 'if (this.created !== undefined) this.proven = 0;',
    replace: '',
  },
  {
    name: 'stream-made-again-without-a-pause',
    breaks: 'OUT-3',
    file: 'libs/pipeline/src/relay.ts',
    find: 'if (since >= 0 && since < REMAKE_PAUSE) {',
    replace: 'if (false) {',
  },
  {
    name: 'stream-made-again-from-a-changed-log',
    breaks: 'OUT-3',
    file: 'libs/pipeline/src/relay.ts',
    find: 'if (!(await this.isLogSound(position))) {',
    replace: 'if (false) {',
  },
  {
    name: 'what-lies-in-the-stream-judged-by-its-length',
    breaks: 'OUT-3',
    file: 'libs/pipeline/src/output-check.ts',
    find: 'if (there.subject !== subject || textOf(there.payload) !== textOf(payload)) return differing(there);',
    replace: '',
  },
  {
    name: 'other-log-led',
    breaks: 'OTHER_LOG',
    file: 'libs/pipeline/src/positions.ts',
    find: 'if (output.log === undefined || output.log === identity) return;',
    replace: 'return;',
  },
  {
    name: 'note-of-another-log-believed-against-the-events',
    breaks: 'OTHER_LOG',
    file: 'libs/pipeline/src/positions.ts',
    find: 'if (relayed?.hash === stored) return { relayed: lastSequence };',
    replace: '',
  },
  {
    name: 'key-of-a-stranger-stops-the-spread',
    breaks: 'the spread of clusters',
    file: 'libs/pipeline/src/spread.ts',
    find: 'if (isWaitedFor && (holder === undefined || !load.has(holder))) return undefined;',
    replace: 'if (holder === undefined || !load.has(holder)) return undefined;',
  },
];

/** The leases and the dead letters, on a real server. */
export const LEASES: readonly Mutant[] = [
  {
    name: 'lease-lost-to-a-stranger',
    breaks: 'the leases',
    file: 'libs/broker/src/nats-leases.ts',
    find: 'if (!ours && rival) return this.#finish(',
    replace: 'if (!ours) return this.#finish(',
  },
  {
    name: 'lease-of-a-stranger-waited-for',
    breaks: 'the leases',
    file: 'libs/broker/src/nats-leases.ts',
    find: ': Math.max(age, this.#strangeFor(cluster, entry)) - this.#timing.takeOverAfter;',
    replace: ': age - this.#timing.takeOverAfter;',
  },
  {
    name: 'consumers-made-again-from-the-beginning',
    breaks: 'VF_OUT',
    file: 'libs/broker/src/nats-output.ts',
    find: 'opt_start_seq: Math.max(1, Math.min(done + 1, bad)),',
    replace: 'opt_start_seq: 1,',
  },
  {
    name: 'dead-letter-known-by-its-number',
    breaks: 'OUT-1',
    file: 'libs/broker/src/nats-dead-letters.ts',
    find: 'if (there !== undefined && Buffer.compare(there.payload, letter.payload) === 0) return true;',
    replace: 'if (there !== undefined) return true;',
  },
  {
    name: 'dead-letter-of-an-earlier-leader-not-looked-for',
    breaks: 'OUT-1',
    file: 'libs/broker/src/nats-dead-letters.ts',
    find: 'if (known === undefined || known.since > since)',
    replace: 'if (known === undefined)',
  },
];

/** What says that it is ready, in real processes. */
export const READY: readonly Mutant[] = [
  {
    name: 'another-kind-of-stream-not-said',
    breaks: 'ready',
    file: 'libs/pipeline/src/allocator.ts',
    find: 'this.shared.failed(why, { lasts: isFinal(error) });',
    replace: '',
  },
  {
    name: 'log-of-its-own-not-compared-at-the-start',
    breaks: 'OTHER_LOG',
    file: 'libs/pipeline/src/allocator.ts',
    find: 'if (renewals.have(revision)) throw otherLog(cluster, log, ours, leaderOf(theirs));',
    replace: 'return;',
  },
  {
    name: 'log-of-its-own-not-compared-while-it-stands-by',
    breaks: 'OTHER_LOG',
    file: 'libs/pipeline/src/allocator.ts',
    find: '} else if (renewals.have(theirs.revision)) {',
    replace: '} else if (over.aborted) {',
  },
];
