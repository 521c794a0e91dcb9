/** Writes the document of the HTTP API: run by `npm run docs`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { openApiDocument } from '#api';
import { ROOT } from '../contract/root.js';

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const file = join(ROOT, 'docs', 'reference', 'openapi.json');
const text = JSON.stringify(openApiDocument(version));
writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
process.stderr.write('docs/reference: openapi.json\n');
