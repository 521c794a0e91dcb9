import { join } from 'node:path';

/** The project's folder, from the sources and from what is built of them. */
export const ROOT = join(import.meta.dirname, '..', '..').replace(/[\\/]dist$/, '');
