import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { connectNats } from './nats-broker.js';
import { endLeftBehindServer, findNatsServer, startNatsServer } from './nats-server.js';
import { TestServers } from './nats-test-servers.js';

jest.setTimeout(60_000);

const servers = new TestServers();
afterAll(() => servers.end());

/** A directory with a `nats-server` that is a script. */
async function fakeServer(script: string): Promise<string> {
  const directory = await servers.directory();
  const file = join(directory, 'nats-server');
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
  return file;
}

const saysVersion = (version: string) => fakeServer(`echo "nats-server: v${version}"`);

describe('finding a nats-server', () => {
  test('takes the configured one, by file or by name', async () => {
    const file = await saysVersion('2.11.3');
    expect(await findNatsServer({ configured: file })).toEqual({
      path: file,
      version: '2.11.3',
      source: 'configured',
    });
    expect((await findNatsServer({ configured: 'nats-server', path: dirname(file) })).path).toBe(file);
  });

  test('a configured one that is too old or missing is an error', async () => {
    const old = await saysVersion('2.9.10');
    await expect(findNatsServer({ configured: old })).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(/VF_NATS_SERVER is .*version 2\.9\.10.*2\.11/),
    });
    await expect(findNatsServer({ configured: '/nowhere/nats-server' })).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('/nowhere/nats-server'),
    });
  });

  test('passes over an old one on the path, with a warning', async () => {
    const old = await saysVersion('2.9.10');
    const broken = await fakeServer('exit 3');
    const good = await saysVersion('2.14.0');
    const warnings: string[] = [];
    const found = await findNatsServer({
      path: [old, broken, good].map((file) => dirname(file)).join(delimiter),
      onWarning: (message) => warnings.push(message),
    });
    expect(found).toEqual({ path: good, version: '2.14.0', source: 'PATH' });
    expect(warnings).toEqual([
      `Passing over ${old}: it is nats-server 2.9.10, but 2.11 or newer is needed.`,
      `Passing over ${broken}: it does not tell its version.`,
    ]);
  });

  test('without any takes the package, or says how to install one', async () => {
    const found = await findNatsServer({ path: '' }).catch((error: unknown) => error);
    if (found instanceof Error) {
      expect(found).toMatchObject({
        code: 'REFUSED',
        message: expect.stringMatching(/Install one .*VF_NATS_URL/),
      });
    } else {
      expect(found).toMatchObject({ source: 'package' });
    }
  });
});

describe('a nats-server of our own', () => {
  test('serves JetStream on this machine, keeps its store, and ends', async () => {
    const server = await servers.start({ syncInterval: 'always' });
    expect(server.url).toMatch(/^nats:\/\/127\.0\.0\.1:\d+$/);
    const broker = await connectNats({ url: server.url });
    await broker.prepare();
    await broker.input.publish('vf.in.a.vm.v.T', new Uint8Array(3));
    const info = await broker.input.info();
    await broker.close();
    await server.stop();
    await server.stop();
    expect((await server.exited).signal).not.toBe('SIGKILL');

    const again = await servers.start({ dataDir: server.dataDir });
    const later = await connectNats({ url: again.url });
    expect(await later.input.info()).toEqual(info);
    await later.close();
  });

  test('says which port is in use', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    await expect(servers.start({ port })).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(new RegExp(`port ${port}: something else.*VF_NATS_PORT`)),
    });
    await new Promise((resolve) => other.close(resolve));
  });

  test('repeats what a server said that did not come up', async () => {
    const binary = await fakeServer('echo "the store is broken" >&2; exit 4');
    await expect(
      startNatsServer({ binary, dataDir: await servers.directory(), port: 0 }),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/ended with 4.*the store is broken/),
    });
    await expect(
      startNatsServer({ binary: '/nowhere/nats-server', dataDir: await servers.directory(), port: 0 }),
    ).rejects.toMatchObject({ message: expect.stringContaining('could not be run') });
  });
});

describe('a nats-server that was left behind', () => {
  test('is ended, and the next one starts on its store', async () => {
    const server = await servers.start();
    expect(await endLeftBehindServer(server.dataDir)).toBe(server.pid);
    await server.exited;
    expect(await endLeftBehindServer(server.dataDir)).toBeUndefined();
    await servers.start({ dataDir: server.dataDir, port: Number(new URL(server.url).port) });
  });

  test('is ended also when it does not react', async () => {
    const dataDir = await servers.directory();
    await mkdir(join(dataDir, 'nats'), { recursive: true });
    // Deaf to SIGTERM, and with our configuration in its command line.
    const config = join(dataDir, 'nats', 'nats-server.conf');
    const deaf = spawn(process.execPath, [
      '-e',
      'process.on("SIGTERM",()=>{});setInterval(()=>{},1e6);console.log(1)',
      config,
    ]);
    await once(deaf.stdout, 'data');
    await writeFile(join(dataDir, 'nats', 'nats-server.pid'), `${deaf.pid}\n`);
    const ended = once(deaf, 'exit');
    expect(await endLeftBehindServer(dataDir, { patience: 100 })).toBe(deaf.pid);
    expect((await ended)[1]).toBe('SIGKILL');
  });

  test('a process of somebody else with its number is left alone', async () => {
    const dataDir = await servers.directory();
    await mkdir(join(dataDir, 'nats'), { recursive: true });
    const other = spawn(process.execPath, ['-e', 'setInterval(()=>{},1e6);console.log(1)']);
    await once(other.stdout, 'data');
    await writeFile(join(dataDir, 'nats', 'nats-server.pid'), `${other.pid}`);
    expect(await endLeftBehindServer(dataDir)).toBeUndefined();
    expect(other.exitCode ?? other.signalCode).toBeNull();
    other.kill();
    await once(other, 'exit');
  });

  test('there may be none, or a file without a number', async () => {
    const dataDir = await servers.directory();
    expect(await endLeftBehindServer(dataDir)).toBeUndefined();
    await mkdir(join(dataDir, 'nats'), { recursive: true });
    await writeFile(join(dataDir, 'nats', 'nats-server.pid'), 'none');
    expect(await endLeftBehindServer(dataDir)).toBeUndefined();
  });
});
