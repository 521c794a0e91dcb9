import { readFileSync } from 'node:fs';

/** The version of this package, from the nearest package.json above that is its own. */
export function packageVersion(): string {
  for (let directory = new URL('.', import.meta.url); ; directory = new URL('..', directory)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL('package.json', directory), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (name === 'vf-scheduler' && version !== undefined) return version;
    } catch {
      // Not here.
    }
    if (directory.pathname === '/') return 'unknown';
  }
}
