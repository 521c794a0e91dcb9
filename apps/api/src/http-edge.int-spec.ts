import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createServer, request, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectNats } from '@nats-io/transport-node';
import type { Response } from 'express';
import { VfScheduler } from '#client';
import { startStandalone, type Standalone } from '#standalone';
import { packageVersion, readSettings } from '#wire';
import { openApiDocument } from './openapi.js';
import { sendLines } from './tables.js';

let directory: string;
let standalone: Standalone;
let client: VfScheduler;

const start = (name: string, settings: Record<string, string> = {}): Promise<Standalone> =>
  startStandalone(
    readSettings({
      VF_DATA_DIR: join(directory, name),
      VF_EVENT_LOG: 'memory:',
      VF_NATS_PORT: '0',
      VF_HTTP_PORT: '0',
      VF_LOG_LEVEL: 'silent',
      ...settings,
    }),
  );

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-api-'));
  standalone = await start('one');
  client = await VfScheduler.connect({ servers: standalone.ready.nats });
  await client.ask('VmRebooted', { vmId: 'vm-1' });
}, 30_000);

afterAll(async () => {
  await client.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

interface Said {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** As a browser or a proxy sends it: `fetch` lets nobody say another Host. */
function call(
  base: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: string | Buffer,
): Promise<Said> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const asked = request(
      { hostname: hostname.replace(/^\[(.*)\]$/, '$1'), port, method, path, headers },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
      },
    );
    asked.on('error', reject).end(body);
  });
}

describe('a page whose own name points here (DNS rebinding)', () => {
  const CLUSTERS = '/v1/clusters';

  test('can neither command nor read what listens on loopback', async () => {
    const { http } = standalone.ready;
    const { port } = new URL(http);
    const before = (await client.span())?.last;
    for (const host of [
      `evil.example:${port}`,
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '127.evil.example',
      'evil.example:80:80',
      '10.0.0.1',
      '[::2]',
      '0.0.0.0',
    ]) {
      const headers = {
        host,
        origin: `http://${host}`,
        'sec-fetch-site': 'same-origin',
        'content-type': 'application/json',
      };
      const stop = await call(http, 'POST', `${CLUSTERS}/default/vms/vm-1/stop`, headers, '{}');
      expect([host, stop.status, JSON.parse(stop.text)]).toEqual([
        host,
        403,
        expect.objectContaining({
          code: 'FORBIDDEN',
          detail: expect.stringContaining('VF_HTTP_ALLOWED_HOSTS'),
        }),
      ]);
      for (const path of [CLUSTERS, `${CLUSTERS}/default/vms`, '/health/live', '/openapi.json', '/nowhere']) {
        expect([host, path, (await call(http, 'GET', path, { host })).status]).toEqual([host, path, 403]);
      }
    }
    expect((await client.span())?.last).toBe(before);
  });

  test('and everybody on this machine is served, by each name of loopback', async () => {
    const { http } = standalone.ready;
    const { port } = new URL(http);
    for (const host of [
      `localhost:${port}`,
      'LOCALHOST',
      'localhost.',
      '127.0.0.1:1',
      '127.8.8.8',
      '[::1]',
      `[::1]:${port}`,
    ]) {
      expect([host, (await call(http, 'GET', CLUSTERS, { host })).status]).toEqual([host, 200]);
      const headers = { host, origin: `http://${host}`, 'content-type': 'application/json' };
      const { status } = await call(http, 'POST', `${CLUSTERS}/default/vms/vm-1/stop`, headers, '{}');
      // A browser writes an origin in its own way: only the exact one is the same.
      expect([host, status]).toEqual([host, host === new URL(`http://${host}`).host ? 200 : 403]);
    }
  });

  test('a probe of HTTP/1.0, which says no Host, is answered', async () => {
    const { hostname, port } = new URL(standalone.ready.http);
    const socket = connect(Number(port), hostname);
    socket.end('GET /health/live HTTP/1.0\r\n\r\n');
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => (text += part));
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1\.[01] 200 OK\r\n/);
  });

  test('a proxy in front is named in VF_HTTP_ALLOWED_HOSTS; elsewhere than on loopback, that is all', async () => {
    const status = async (of: Standalone, host: string): Promise<number> =>
      (await call(of.ready.http.replace('0.0.0.0', '127.0.0.1'), 'GET', CLUSTERS, { host })).status;
    const behind = await start('behind', { VF_HTTP_ALLOWED_HOSTS: 'VF.example, fd00::7' });
    const open = await start('open', { VF_HTTP_HOST: '0.0.0.0' });
    const narrow = await start('narrow', { VF_HTTP_HOST: '0.0.0.0', VF_HTTP_ALLOWED_HOSTS: 'scheduler' });
    try {
      expect([
        await status(behind, 'vf.example'),
        await status(behind, 'vf.EXAMPLE:8443'),
        await status(behind, '[fd00::7]:80'),
        await status(behind, 'localhost'),
        await status(behind, 'evil.example'),
      ]).toEqual([200, 200, 200, 200, 403]);
      expect([await status(open, 'anything.example'), await status(open, 'localhost')]).toEqual([200, 200]);
      // The health check of a container asks by loopback.
      expect([
        await status(narrow, 'scheduler:8080'),
        await status(narrow, '127.0.0.1:8080'),
        await status(narrow, 'evil.example'),
      ]).toEqual([200, 200, 403]);
    } finally {
      for (const one of [behind, open, narrow]) await one.stop();
    }
  }, 30_000);
});

describe('a page of another site', () => {
  const READS = [
    '/v1/clusters',
    '/V1/Clusters/default/vms',
    '/v1/clusters/default/history?hostId=h',
    '/v1/clusters/default/export',
    '/v1/clusters/default/events',
    '/v1/clusters/default/nonsense',
  ];
  const OTHER: Record<string, Record<string, string>> = {
    fetch: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    'fetch, no-cors': { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
    picture: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
    script: { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' },
    frame: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    'another port of this machine': { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' },
    'what a browser of tomorrow says': { 'sec-fetch-site': 'somewhere' },
    'an origin alone': { origin: 'http://evil.example' },
    'an origin without a name': { origin: 'null' },
    'a referer alone': { referer: 'http://evil.example/page', accept: 'image/avif,image/webp,*/*' },
    'a referer that is none': { referer: 'not an address' },
  };

  test.each(Object.entries(OTHER))('%s: neither a read nor a command', async (_, headers) => {
    const { http } = standalone.ready;
    const before = (await client.span())?.last;
    for (const path of READS) {
      const { status, text } = await call(http, 'GET', path, headers);
      expect([path, status]).toEqual([path, 403]);
      expect(JSON.parse(text)).toMatchObject({
        code: 'FORBIDDEN',
        detail: expect.stringContaining('another site'),
      });
    }
    const json = { ...headers, 'content-type': 'application/json' };
    for (const path of ['vms/vm-1/stop', 'plan', 'candidates'])
      expect([path, (await call(http, 'POST', `/v1/clusters/default/${path}`, json, '{}')).status]).toEqual([
        path,
        403,
      ]);
    expect((await client.span())?.last).toBe(before);
    // Who watches the process is no danger to it.
    expect((await call(http, 'GET', '/health/live', headers)).status).toBe(200);
  });

  const HERE: Record<string, Record<string, string>> = {
    'a link that is followed': {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      referer: 'http://evil.example/',
    },
    'a link, in an older browser': { referer: 'http://evil.example/', accept: 'text/html,*/*;q=0.8' },
    'an address that is typed': { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' },
    'a page of this site': { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' },
    'a program': { accept: '*/*' },
  };

  test.each(Object.entries(HERE))('%s is answered', async (_, headers) => {
    const { http } = standalone.ready;
    const here = {
      ...headers,
      ...(headers['sec-fetch-site'] === 'same-origin' && { origin: http, referer: `${http}/` }),
    };
    expect((await call(http, 'GET', '/v1/clusters', here)).status).toBe(200);
  });

  test('a form that is sent by following a link is a command', async () => {
    const headers = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      'content-type': 'text/plain',
    };
    const { status } = await call(
      standalone.ready.http,
      'POST',
      '/v1/clusters/default/vms/vm-1/stop',
      headers,
      '',
    );
    expect(status).toBe(403);
  });
});

describe('JSON that is nested deep', () => {
  const SHAPES = {
    lists: (levels: number): string => '['.repeat(levels) + ']'.repeat(levels),
    objects: (levels: number): string => '{"a":'.repeat(levels) + '1' + '}'.repeat(levels),
    'lists that nobody closes': (levels: number): string => '['.repeat(levels),
  };
  const BODIES: Record<string, (deep: string) => string> = {
    itself: (deep) => deep,
    'a field that is known': (deep) => `{"nics":${deep},"inputs":${deep},"reason":${deep}}`,
    'a field of the path': (deep) => `{"vmId":${deep}}`,
    'data of a plan': (deep) => `{"inputs":[{"type":"VmStopped","data":{"vmId":"v","reason":${deep}}}]}`,
    'a field that is not': (deep) => `{"more":${deep}}`,
  };
  const LEVELS = [41, 10_000, 100_000];

  test.each(Object.entries(SHAPES))('%s over HTTP: 400 with a sentence', async (_, shape) => {
    const { http } = standalone.ready;
    for (const levels of LEVELS)
      for (const [where, body] of Object.entries(BODIES))
        for (const path of ['vms/vm-1/start', 'vms/vm-1/stop', 'plan', 'candidates']) {
          const json = { 'content-type': 'application/json' };
          const { status, text } = await call(
            http,
            'POST',
            `/v1/clusters/default/${path}`,
            json,
            body(shape(levels)),
          );
          // What has more than a megabyte is too large before it is too deep.
          const wanted = body(shape(levels)).length > 1024 * 1024 ? 413 : 400;
          expect([levels, where, path, status]).toEqual([levels, where, path, wanted]);
          expect(JSON.parse(text)).toMatchObject({ code: wanted === 413 ? 'TOO_LARGE' : 'BAD_REQUEST' });
        }
    expect((await call(http, 'GET', '/health/ready')).status).toBe(200);
  });

  test.each(Object.entries(SHAPES))('%s over NATS: BAD_REQUEST', async (_, shape) => {
    const connection = await connectNats({ servers: standalone.ready.nats });
    try {
      for (const levels of LEVELS)
        for (const [where, body] of Object.entries(BODIES))
          for (const name of ['plan', 'candidates', 'vms', 'history']) {
            const subject = `vf.query.default.${name}`;
            const answer = await connection.request(subject, body(shape(levels)), { timeout: 5000 });
            const { error } = answer.json<{ error: { code: string; message: string } }>();
            expect([levels, where, name, error.code]).toEqual([levels, where, name, 'BAD_REQUEST']);
            expect(error.message).toMatch(/nested more than 40 deep/);
          }
    } finally {
      await connection.close();
    }
  });

  test('in another encoding than UTF-8: 415', async () => {
    const { http } = standalone.ready;
    const type = { 'content-type': 'application/json; charset=utf-16le' };
    const deep = Buffer.from(`{"reason":"\u2200∀",${'"a":['.repeat(1000)}`, 'utf16le');
    const { status } = await call(http, 'POST', '/v1/clusters/default/plan', type, deep);
    expect(status).toBe(415);
  });
});

describe('another method than there is', () => {
  const document = openApiDocument(packageVersion()) as { paths: Record<string, Record<string, object>> };
  const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

  test.each(Object.entries(document.paths))('%s: 405, and Allow says which there are', async (path, of) => {
    const address = path.replace('{cluster}', 'default').replaceAll(/\{\w+\}/g, 'x-1');
    const there = Object.keys(of).map((method) => method.toUpperCase());
    const allow = [...there, ...(there.includes('GET') ? ['HEAD'] : [])].sort().join(', ');
    for (const method of METHODS.filter((one) => !there.includes(one))) {
      const { status, headers, text } = await call(standalone.ready.http, method, address);
      expect([method, status, headers.allow]).toEqual([method, 405, allow]);
      expect(headers['content-type']).toContain('application/problem+json');
      expect(JSON.parse(text)).toMatchObject({ code: 'METHOD_NOT_ALLOWED', status: 405 });
    }
    const options = await call(standalone.ready.http, 'OPTIONS', `${address}/`);
    expect([options.status, options.headers.allow, options.text]).toEqual([204, allow, '']);
    expect(options.headers['access-control-allow-origin']).toBeUndefined();
  });

  test('of what is nowhere is 404', async () => {
    for (const path of ['/', '/v2', '/v1/clusters/default/vms/vm-1/dance', '/v1/clusters/default/nonsense/x'])
      for (const method of METHODS)
        expect([method, path, (await call(standalone.ready.http, method, path)).status]).toEqual([
          method,
          path,
          404,
        ]);
  });
});

describe('a long answer', () => {
  test('leaves no listener behind for each piece, and is no faster than it is taken', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    let most = 0;
    const server = createServer((_, response) => {
      async function* pieces(): AsyncGenerator<string, undefined> {
        for (let count = 0; count < 40; count++) {
          most = Math.max(most, response.listenerCount('close'), response.listenerCount('drain'));
          yield 'x'.repeat(200_000);
        }
        return undefined;
      }
      // Express gives it these.
      const express = Object.assign(response, {
        status: () => express,
        set: () => express,
      }) as unknown as Response;
      void sendLines(express, 'text/csv', pieces());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { text } = await call(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'GET', '/');
      expect(text).toHaveLength(8_000_000);
      expect(most).toBeLessThan(4);
      expect(warnings).toEqual([]);
    } finally {
      process.off('warning', onWarning);
      server.close();
    }
  });
});
