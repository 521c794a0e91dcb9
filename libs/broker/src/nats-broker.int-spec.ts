import { afterAll, beforeAll } from '@jest/globals';
import { brokerConformance } from '#broker/conformance';
import type { NatsServerProcess } from './nats-server.js';
import { natsSite } from './nats-site.js';
import { TestServers } from './nats-test-servers.js';

const servers = new TestServers();
let server: NatsServerProcess;

beforeAll(async () => {
  server = await servers.start();
});

afterAll(() => servers.end());

brokerConformance('the NATS broker', () => natsSite(server.url));
