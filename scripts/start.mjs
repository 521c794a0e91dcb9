/**
 * `node scripts/start.mjs <program> [arguments]`: installs and builds what is missing, then runs the program in this process.
 *
 * package.json calls it by `exec`: npm passes a signal on to the shell that it starts, and a shell that is not replaced dies of it
 * and leaves the program behind. Where the shell knows no `exec` (Windows), call it directly.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, root } from './prepare.mjs';

const PROGRAMS = {
  standalone: 'dist/apps/standalone/src/main.js',
  allocator: 'dist/apps/allocator/src/main.js',
  vfctl: 'dist/apps/vfctl/src/main.js',
  demo: 'dist/apps/demo/src/main.js',
  'log-copy': 'dist/apps/log-copy/src/main.js',
  bench: 'dist/test/bench/main.js',
  soak: 'dist/test/bench/soak.js',
  mutants: 'dist/test/mutants/main.js',
};

const [name = ''] = process.argv.splice(2, 1);
if (!Object.hasOwn(PROGRAMS, name)) {
  process.stderr.write(
    `vf-scheduler: there is no program '${name}'; there are ${Object.keys(PROGRAMS).join(', ')}\n`,
  );
  process.exit(1);
}
install();
build();
// In this process, so that a signal sent to it reaches the program.
await import(pathToFileURL(join(root, PROGRAMS[name])).href);
