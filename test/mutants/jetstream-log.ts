import type { Mutant } from './mutant.js';

/** What others publish where a log in JetStream is. */
export const JETSTREAM_LOG: readonly Mutant[] = [
  {
    name: 'jetstream-stranger-is-damage',
    breaks: 'a message that is no batch is passed over',
    file: 'libs/log/src/jetstream/log-reader.ts',
    find: "if (part.kind === 'stranger') return this.#passOver(sequence, part.why);",
    replace: "if (part.kind === 'stranger') return this.#corrupt(part.why);",
  },
  {
    name: 'jetstream-copy-is-damage',
    breaks: 'a message is a batch by the hash that it follows',
    file: 'libs/log/src/jetstream/batch-message.ts',
    find: 'if ((await previousIn(data, title)) !== head.hash) {',
    replace: 'if ((await previousIn(data, title)).length < 64) {',
  },
  {
    name: 'jetstream-hole-passed-over',
    breaks: 'a message that is lost is damage',
    file: 'libs/log/src/jetstream/log-reader.ts',
    find: 'if (sequence !== this.#at + 1) return',
    replace: 'if (sequence < this.#at + 1) return',
  },
  {
    name: 'jetstream-sequence-of-a-stranger-believed',
    breaks: "a stored message's own headers are not the server's",
    file: 'libs/log/src/jetstream/js-connection.ts',
    find: "headers?.last('Nats-Sequence')",
    replace: "headers?.get('Nats-Sequence')",
  },
  {
    name: 'jetstream-append-outrun-for-ever',
    breaks: 'strangers do not keep an append from its place',
    file: 'libs/log/src/jetstream/jetstream-log.ts',
    find: '!this.#isOutrun(stream, outrun)',
    replace: 'this.#isOutrun(stream, outrun) || true',
  },
  {
    name: 'jetstream-looks-are-proof',
    breaks: 'a position is found by the chain',
    file: 'libs/log/src/jetstream/log-reader.ts',
    find: 'if (stored !== verify.hash) return undefined;',
    replace: '',
  },
  {
    name: 'jetstream-strangers-not-surveyed',
    breaks: 'who began in the middle says what lies before',
    file: 'libs/log/src/jetstream/jetstream-log.ts',
    find: 'void this.#survey(stream);',
    replace: '',
  },
];
