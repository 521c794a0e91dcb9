import { afterAll, beforeAll } from '@jest/globals';
import { TestServers, type TestServer } from '#broker/test-servers';
import { logConformance } from '../conformance.js';
import { jetStreamUnderTest } from './log-under-test.js';

const servers = new TestServers();
let server: TestServer;

beforeAll(async () => {
  server = await servers.start();
});
afterAll(() => servers.end());

logConformance('JetStreamLog', () => jetStreamUnderTest(server.url));
