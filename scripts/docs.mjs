/**
 * `npm run docs [-- step …]`: writes the documents that are made from the code. Each step is a module that writes when it is
 * imported; with names, only those run. `rules` runs only by its name (`npm run docs:rules`): it runs the tests.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, root } from './prepare.mjs';

const STEPS = {
  contract: 'dist/test/contract/main.js',
  openapi: 'dist/test/openapi/main.js',
  rules: 'dist/test/rules/main.js',
};
/** Runs the tests, which takes minutes: only when it is asked for by name. */
const LONG = ['rules'];

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !Object.hasOwn(STEPS, name));
if (unknown !== undefined) {
  process.stderr.write(
    `vf-scheduler: there is no step '${unknown}'; there are ${Object.keys(STEPS).join(', ')}\n`,
  );
  process.exit(1);
}
install();
build();
const steps = asked.length > 0 ? asked : Object.keys(STEPS).filter((name) => !LONG.includes(name));
for (const name of steps) {
  await import(pathToFileURL(join(root, STEPS[name])).href);
}
