import { expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const LOGGING = join(import.meta.dirname, '../../../dist/apps/allocator/src/logging.js');

test.each([
  ['info', ['Node warns: eleven listeners']],
  ['error', []],
])('at level %s, what Node warns of is JSON lines, and nothing else is on stderr', (level, said) => {
  const script = `
    import { createLog, logWarnings } from ${JSON.stringify(pathToFileURL(LOGGING).href)};
    logWarnings(createLog(${JSON.stringify(level)}));
    process.emitWarning('eleven listeners', { type: 'MaxListenersExceededWarning' });`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const lines = stderr.split('\n').filter((line) => line !== '');
  expect([status, lines.map((line) => (JSON.parse(line) as { msg: string }).msg)]).toEqual([0, said]);
});

test('that a server is named by its address in TLS is not worth a line', () => {
  const script = `
    import { connect } from 'node:tls';
    import { createLog, logWarnings } from ${JSON.stringify(pathToFileURL(LOGGING).href)};
    const socket = connect({ host: '127.0.0.1', port: 1, servername: '127.0.0.1' });
    socket.on('error', () => undefined);
    logWarnings(createLog('info'));
    setImmediate(() => process.emitWarning('eleven listeners', { type: 'MaxListenersExceededWarning' }));`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const lines = stderr.split('\n').filter((line) => line !== '');
  expect([status, lines.map((line) => (JSON.parse(line) as { msg: string }).msg)]).toEqual([
    0,
    ['Node warns: eleven listeners'],
  ]);
});
