/** Defects around full disks, and around ids that a stranger has used up. */
import type { Mutant } from './mutant.js';

/** Found on real processes. */
export const DISKS: readonly Mutant[] = [
  {
    name: 'disk-full-not-said',
    breaks: 'ready tells of a full disk',
    file: 'apps/allocator/src/storage-watch.ts',
    find: 'const found = [this.#disk.trouble, nats.trouble?.()];',
    replace: 'const found = [nats.trouble?.()];',
    tests: ['test/disks'],
  },
  {
    name: 'disk-server-that-gave-up-left-so',
    breaks: 'goes on when there is room',
    file: 'apps/allocator/src/storage-watch.ts',
    find: '      this.#mend();\n',
    replace: '',
    tests: ['test/disks'],
  },
  {
    name: 'disk-server-started-again-without-room',
    breaks: 'never while there is no room',
    file: 'apps/allocator/src/storage-watch.ts',
    find: '    if (this.#disk.troubleOf(resolve(nats.directory)) !== undefined) return;\n',
    replace: '',
    tests: ['test/disks'],
  },
  {
    name: 'disk-lines-of-the-log-lost-unsaid',
    breaks: 'dropped lines are counted',
    file: 'apps/allocator/src/line-sink.ts',
    find: '    this.#unsaid += lines;\n',
    replace: '',
    tests: ['test/disks'],
  },
  {
    name: 'squatted-id-sent-by-the-client',
    breaks: 'an acknowledged input is decided',
    file: 'libs/client/src/ask.ts',
    find: 'this.#jetStream.publish(subject, payload, { timeout })',
    replace: 'this.#jetStream.publish(subject, payload, { timeout, msgID: id })',
    tests: ['test/squatted-ids'],
  },
];

/** Found on a real nats-server. */
export const STREAM_WINDOWS: readonly Mutant[] = [
  {
    name: 'squatted-id-kept-for-two-minutes',
    breaks: 'the duplicate window is the shortest there is',
    file: 'libs/broker/src/nats-streams.ts',
    find: 'const DUPLICATE_WINDOW = 100;',
    replace: 'const DUPLICATE_WINDOW = 120_000;',
  },
];

/** Found by the code alone. */
export const ACKNOWLEDGEMENTS: readonly Mutant[] = [
  {
    name: 'squatted-id-duplicate-taken-for-stored',
    breaks: 'an acknowledged input is decided',
    file: 'libs/broker/src/nats-stored-at.ts',
    find: 'stream === INPUT_STREAM && !duplicate &&',
    replace: 'stream === INPUT_STREAM &&',
  },
];
