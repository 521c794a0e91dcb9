/**
 * One jest project for each price of a test, so that `npm test -- --selectProjects spec` stays under a few seconds.
 * `.spec.ts` pure, `.int-spec.ts` real servers, `.e2e-spec.ts` real processes.
 */
const shared = {
  rootDir: import.meta.dirname,
  roots: ['<rootDir>/apps', '<rootDir>/libs', '<rootDir>/test'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {
    '^#domain/testing$': '<rootDir>/libs/domain/src/testing/index.ts',
    '^#log/kurrentdb$': '<rootDir>/libs/log/src/kurrentdb/index.ts',
    '^#log/conformance$': '<rootDir>/libs/log/src/conformance.ts',
    '^#client/nest$': '<rootDir>/libs/client/src/nest.ts',
    '^#broker/conformance$': '<rootDir>/libs/broker/src/conformance.ts',
    '^#broker/test-servers$': '<rootDir>/libs/broker/src/nats-test-servers.ts',
    '^#(domain|wire|log|broker|pipeline|read-model|testing|client)$': '<rootDir>/libs/$1/src/index.ts',
    '^#(allocator|api|vfctl|standalone)$': '<rootDir>/apps/$1/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
          target: 'es2023',
          keepClassNames: true,
        },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  testEnvironment: 'node',
};

export default {
  // By itself jest leaves a core for a developer's other work; most of these tests wait for servers rather than compute.
  maxWorkers: '100%',
  coverageProvider: 'v8',
  // Against what hangs, and not a measure of speed: machines are shared, and 5 s are short on one that is busy.
  testTimeout: 60_000,
  projects: [
    { ...shared, displayName: 'spec', testMatch: ['**/*.spec.ts'] },
    { ...shared, displayName: 'int', testMatch: ['**/*.int-spec.ts'] },
    { ...shared, displayName: 'e2e', testMatch: ['**/*.e2e-spec.ts'] },
  ],
};
