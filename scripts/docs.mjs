/**
 * `npm run docs [-- step …]`: writes the documents that are made from the code. Each step is a module that writes when it is
 * imported; with names, only those run.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, root } from './prepare.mjs';

const STEPS = {
  contract: 'dist/test/contract/main.js',
  openapi: 'dist/test/openapi/main.js',
  rules: 'dist/test/rules/main.js',
};

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
for (const name of asked.length > 0 ? asked : Object.keys(STEPS)) {
  await import(pathToFileURL(join(root, STEPS[name])).href);
}
