/** Writes the generated documents of the contract: run by `npm run docs`. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { contractDocuments } from './documents.js';
import { ROOT } from './root.js';

const reference = join(ROOT, 'docs', 'reference');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

rmSync(join(reference, 'schemas'), { recursive: true, force: true });
const files = contractDocuments(version);
for (const { path, text } of files) {
  const file = join(reference, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
}
process.stderr.write(`docs/reference: ${files.length} documents of the contract\n`);
