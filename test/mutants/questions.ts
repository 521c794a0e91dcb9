import type { Mutant } from './mutant.js';

/** Of questions, errors and time-outs: what pure tests find. */
export const QUESTIONS_SPEC: readonly Mutant[] = [
  {
    name: 'errors-turned-into-those-of-nest',
    breaks: 'errors keep their names',
    file: 'apps/allocator/src/input.controller.ts',
    find: '@UseFilters(ErrorsAsTheyAre)\n',
    replace: '',
    tests: ['apps/allocator/src/batch-strategy'],
  },
  {
    name: 'batch-that-nobody-decided-passed-over',
    breaks: 'errors keep their names',
    file: 'apps/allocator/src/batch-strategy.ts',
    find: 'if (decided === undefined)',
    replace: 'if (decided === null)',
    tests: ['apps/allocator/src/batch-strategy'],
  },
  {
    name: 'dear-questions-all-at-once',
    breaks: 'dear questions',
    file: 'apps/api/src/dear-questions.ts',
    find: 'if (!this.#taken) {',
    replace: 'if (this.#waiting.length === 0) {',
    tests: ['apps/api/src/dear-questions'],
  },
  {
    name: 'text-looked-through-for-brackets',
    breaks: 'deep JSON',
    file: 'libs/wire/src/json-depth.ts',
    find: 'else if (byte === QUOTE) inText = false;',
    replace: '',
    tests: ['libs/wire/src/json-depth'],
  },
  {
    name: 'password-of-nats-in-its-address',
    breaks: 'password in VF_NATS_URL',
    file: 'libs/broker/src/nats-address.ts',
    find: "const servers = urls.map((one) => one.trim().replace(LOGIN, '$1'));",
    replace: 'const servers = urls;',
    tests: ['libs/broker/src/nats-address'],
  },
];

/** What tests with real servers find. */
export const QUESTIONS_INT: readonly Mutant[] = [
  {
    name: 'reads-of-other-sites-answered',
    breaks: 'cross-site reads',
    file: 'apps/allocator/src/service.ts',
    find: "  app.use('/v1', refuseOtherSites);\n",
    replace: '',
  },
  {
    name: 'bodies-parsed-however-deep',
    breaks: 'deep JSON',
    file: 'apps/allocator/src/service.ts',
    find: ', verify: checkBody };',
    replace: ' };',
  },
];

/** What tests with real processes find. */
export const QUESTIONS_E2E: readonly Mutant[] = [
  {
    name: 'refusal-of-a-dead-letter-ends-the-leader',
    breaks: 'dead letters wait',
    file: 'libs/pipeline/src/dead-lettering.ts',
    find: "'UNAVAILABLE',",
    replace: "'REFUSED',",
    tests: ['test/dead-letters'],
  },
  {
    name: 'time-limit-that-nothing-holds',
    breaks: 'time-outs',
    file: 'libs/read-model/src/read-model.ts',
    find: 'const limit = new Deadline(patience, this.stopping.signal);',
    replace:
      'const limit = { signal: AbortSignal.any([AbortSignal.timeout(patience), this.stopping.signal]), end() {} };',
    tests: ['test/time-limits'],
  },
  {
    name: 'umask-left-as-it-is',
    breaks: 'file modes',
    file: 'apps/allocator/src/run.ts',
    find: '  makePrivateFiles();\n',
    replace: '',
    tests: ['test/private-files'],
  },
  {
    name: 'open-directory-left-open',
    breaks: 'file modes',
    file: 'apps/allocator/src/private-files.ts',
    find: '    await chmod(path, found.mode & ~OTHERS & 0o7777);\n    warn',
    replace: '    warn',
    tests: ['test/private-files'],
  },
  {
    name: 'password-in-the-ready-line',
    breaks: 'password in VF_NATS_URL',
    file: 'apps/allocator/src/service.ts',
    find: 'nats: withoutLogin(nats.url), http',
    replace: 'nats: nats.url, http',
    tests: ['test/nats-password'],
  },
  {
    name: 'cheap-questions-behind-dear-ones',
    breaks: 'dear questions',
    file: 'apps/api/src/queries.ts',
    find: 'query.isCheap?.(checked.data) === true',
    replace: 'query.post === false',
    tests: ['test/dear-questions'],
  },
];
