/** ESM as it is: nothing to compile, and the matchers once for all tests. A simulation is CPU time: a busy machine gets longer. */
export default {
  transform: {},
  testTimeout: 60_000,
  setupFilesAfterEnv: ['./test/matchers.js'],
};
