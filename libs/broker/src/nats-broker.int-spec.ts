import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import { brokerConformance } from '#broker/conformance';
import { findNatsServer, startNatsServer, type NatsServerProcess } from './nats-server.js';
import { natsSite } from './nats-site.js';

let dataDir: string;
let server: NatsServerProcess;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'vf-broker-'));
  const { path: binary } = await findNatsServer({ configured: process.env.VF_NATS_SERVER });
  server = await startNatsServer({ binary, dataDir, port: 0, syncInterval: '2m' });
});

afterAll(async () => {
  await server?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

brokerConformance('the NATS broker', () => natsSite(server.url));
