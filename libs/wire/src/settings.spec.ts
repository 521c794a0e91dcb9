import { describe, expect, test } from '@jest/globals';
import { readSettings, SettingsError, type Settings } from './settings.js';

const GIB = 1024 ** 3;
const DAY = 86_400_000;

describe('settings', () => {
  test('the defaults of wire.md', () => {
    expect(readSettings({})).toEqual({
      natsUrl: undefined,
      natsServer: undefined,
      natsSync: 'always',
      natsPort: 4222,
      natsReplicas: 1,
      natsCreds: undefined,
      natsTls: undefined,
      eventLog: { kind: 'sqlite' },
      dataDir: './data',
      httpHost: '127.0.0.1',
      httpPort: 8080,
      clusters: undefined,
      maxClusters: 64,
      inMaxBytes: GIB,
      outMaxBytes: 4 * GIB,
      outMaxAge: 30 * DAY,
      logLevel: 'info',
      rememberedInputs: 200_000,
    });
  });

  const good: [variable: string, value: string, setting: Partial<Settings>][] = [
    ['VF_NATS_URL', 'nats://127.0.0.1:4222', { natsUrl: 'nats://127.0.0.1:4222' }],
    [
      'VF_NATS_URL',
      'tls://user:pass@a.example,nats://[::1]:4222',
      { natsUrl: 'tls://user:pass@a.example,nats://[::1]:4222' },
    ],
    ['VF_NATS_URL', 'broker.example:4222, 10.0.0.1', { natsUrl: 'broker.example:4222,10.0.0.1' }],
    ['VF_NATS_URL', 'wss://a.example/nats', { natsUrl: 'wss://a.example/nats' }],
    ['VF_NATS_SERVER', '/usr/local/bin/nats-server', { natsServer: '/usr/local/bin/nats-server' }],
    ['VF_NATS_SYNC', 'always', { natsSync: 'always' }],
    ['VF_NATS_SYNC', '250ms', { natsSync: '250ms' }],
    ['VF_NATS_SYNC', '2m', { natsSync: '2m' }],
    ['VF_NATS_PORT', '0', { natsPort: 0 }],
    ['VF_NATS_PORT', '65535', { natsPort: 65_535 }],
    ['VF_NATS_REPLICAS', '3', { natsReplicas: 3 }],
    ['VF_NATS_CREDS', './site.creds', { natsCreds: './site.creds' }],
    ['VF_NATS_TLS_CA', 'ca.pem', { natsTls: { ca: 'ca.pem', cert: undefined, key: undefined } }],
    ['VF_EVENT_LOG', 'sqlite:', { eventLog: { kind: 'sqlite' } }],
    [
      'VF_EVENT_LOG',
      'sqlite:/var/lib/vf/log.db',
      { eventLog: { kind: 'sqlite', file: '/var/lib/vf/log.db' } },
    ],
    ['VF_EVENT_LOG', 'memory:', { eventLog: { kind: 'memory' } }],
    ['VF_EVENT_LOG', 'jetstream:', { eventLog: { kind: 'jetstream' } }],
    [
      'VF_EVENT_LOG',
      'kurrentdb://a:2113?tls=false',
      { eventLog: { kind: 'kurrentdb', url: 'kurrentdb://a:2113?tls=false' } },
    ],
    [
      'VF_EVENT_LOG',
      'esdb+discover://a,b:2113',
      { eventLog: { kind: 'kurrentdb', url: 'esdb+discover://a,b:2113' } },
    ],
    ['VF_DATA_DIR', '/var/lib/vf', { dataDir: '/var/lib/vf' }],
    ['VF_HTTP_HOST', '0.0.0.0', { httpHost: '0.0.0.0' }],
    ['VF_HTTP_HOST', '::', { httpHost: '::' }],
    ['VF_HTTP_HOST', 'api.example', { httpHost: 'api.example' }],
    ['VF_HTTP_PORT', '0', { httpPort: 0 }],
    ['VF_HTTP_ALLOWED_HOSTS', 'vf.example, ::2', { httpAllowedHosts: ['vf.example', '::2'] }],
    ['VF_HTTP_ALLOWED_HOSTS', ' ', { httpAllowedHosts: undefined }],
    ['VF_HTTP_PORT', ' 8081 ', { httpPort: 8081 }],
    ['VF_CLUSTERS', '*', { clusters: undefined }],
    ['VF_CLUSTERS', 'default', { clusters: ['default'] }],
    ['VF_CLUSTERS', 'site-1, site_2', { clusters: ['site-1', 'site_2'] }],
    ['VF_MAX_CLUSTERS', '1', { maxClusters: 1 }],
    ['VF_IN_MAX_BYTES', '1048576', { inMaxBytes: 1_048_576 }],
    ['VF_IN_MAX_BYTES', '1.5GiB', { inMaxBytes: 1.5 * GIB }],
    ['VF_OUT_MAX_BYTES', '512 MiB', { outMaxBytes: GIB / 2 }],
    ['VF_OUT_MAX_BYTES', '2TiB', { outMaxBytes: 2048 * GIB }],
    ['VF_OUT_MAX_AGE', '90s', { outMaxAge: 90_000 }],
    ['VF_OUT_MAX_AGE', '500ms', { outMaxAge: 500 }],
    ['VF_OUT_MAX_AGE', '15m', { outMaxAge: 900_000 }],
    ['VF_OUT_MAX_AGE', '1.5h', { outMaxAge: 5_400_000 }],
    ['VF_OUT_MAX_AGE', '365d', { outMaxAge: 365 * DAY }],
    ...(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const).map(
      (logLevel): [string, string, Partial<Settings>] => ['VF_LOG_LEVEL', logLevel, { logLevel }],
    ),
    ['VF_REMEMBERED_INPUTS', '1', { rememberedInputs: 1 }],
    ['VF_HARDWARE_LIMITS', 'limits.json', { hardwareLimitsFile: 'limits.json' }],
  ];

  test.each(good)('%s=%s', (variable, value, setting) => {
    expect(readSettings({ [variable]: value })).toEqual({ ...readSettings({}), ...setting });
  });

  test.each([
    ['VF_NATS_URL', 'http://127.0.0.1:4222'],
    ['VF_NATS_URL', 'nats://'],
    ['VF_NATS_URL', 'nats://a b'],
    ['VF_NATS_URL', 'nats://a:99999'],
    ['VF_NATS_URL', 'a:99999'],
    ['VF_NATS_URL', 'nats://a,'],
    ['VF_NATS_SYNC', 'never'],
    ['VF_NATS_SYNC', '10'],
    ['VF_NATS_SYNC', '0s'],
    ['VF_NATS_SYNC', '1d'],
    ['VF_NATS_PORT', '65536'],
    ['VF_NATS_PORT', '-1'],
    ['VF_NATS_PORT', '4222.0'],
    ['VF_NATS_PORT', '0x10'],
    ['VF_NATS_PORT', '1e3'],
    ['VF_NATS_PORT', '99999999999999999999'],
    ['VF_EVENT_LOG', 'memory'],
    ['VF_EVENT_LOG', 'memory:x'],
    ['VF_EVENT_LOG', 'jetstream'],
    ['VF_NATS_REPLICAS', '2'],
    ['VF_NATS_REPLICAS', '7'],
    ['VF_EVENT_LOG', 'postgres://a'],
    ['VF_EVENT_LOG', 'kurrentdb://'],
    ['VF_EVENT_LOG', 'kurrentdb:a'],
    ['VF_EVENT_LOG', './log.db'],
    ['VF_HTTP_HOST', 'http://127.0.0.1'],
    ['VF_HTTP_HOST', '127.0.0.1:8080'],
    ['VF_HTTP_HOST', 'a b'],
    ['VF_HTTP_PORT', 'http'],
    ['VF_HTTP_ALLOWED_HOSTS', '*'],
    ['VF_HTTP_ALLOWED_HOSTS', 'vf.example:8080'],
    ['VF_HTTP_ALLOWED_HOSTS', 'a,,b'],
    ['VF_HTTP_ALLOWED_HOSTS', 'http://vf.example'],
    ['VF_HTTP_PORT', '65536'],
    ['VF_CLUSTERS', 'a,,b'],
    ['VF_CLUSTERS', '_'],
    ['VF_CLUSTERS', 'a.b'],
    ['VF_CLUSTERS', 'a,*'],
    ['VF_CLUSTERS', 'x'.repeat(65)],
    ['VF_MAX_CLUSTERS', '0'],
    ['VF_MAX_CLUSTERS', '4097'],
    ['VF_IN_MAX_BYTES', '0'],
    ['VF_IN_MAX_BYTES', '-1GiB'],
    ['VF_IN_MAX_BYTES', '1GB'],
    ['VF_IN_MAX_BYTES', '1gib'],
    ['VF_IN_MAX_BYTES', 'GiB'],
    ['VF_IN_MAX_BYTES', '1constructor'],
    ['VF_OUT_MAX_BYTES', '1e9'],
    ['VF_OUT_MAX_BYTES', '99999999TiB'],
    ['VF_OUT_MAX_BYTES', '0.5'],
    ['VF_OUT_MAX_AGE', '30'],
    ['VF_OUT_MAX_AGE', '30 days'],
    ['VF_OUT_MAX_AGE', '0s'],
    ['VF_OUT_MAX_AGE', 'P30D'],
    ['VF_LOG_LEVEL', 'INFO'],
    ['VF_LOG_LEVEL', 'toString'],
    ['VF_REMEMBERED_INPUTS', '0'],
    ['VF_REMEMBERED_INPUTS', '10000001'],
  ])('%s=%s stops the start with a sentence that names it', (variable, value) => {
    const read = (): Settings => readSettings({ [variable]: value });
    expect(read).toThrow(SettingsError);
    expect(read).toThrow(expect.objectContaining({ name: 'SettingsError', variable }) as never);
    expect(read).toThrow(new RegExp(`^${variable}: '[^']*' is n`));
  });

  test.each(good.map(([variable]) => variable).filter((one, index, all) => all.indexOf(one) === index))(
    '%s that is empty is as if it were not there',
    (variable) => {
      expect(readSettings({ [variable]: '' })).toEqual(readSettings({}));
      expect(readSettings({ [variable]: ' \t' })).toEqual(readSettings({}));
      expect(readSettings({ [variable]: undefined })).toEqual(readSettings({}));
    },
  );

  test('a certificate and its key go together', () => {
    const both = { VF_NATS_TLS_CERT: 'c.pem', VF_NATS_TLS_KEY: 'k.pem' };
    expect(readSettings(both).natsTls).toEqual({ ca: undefined, cert: 'c.pem', key: 'k.pem' });
    expect(() => readSettings({ VF_NATS_TLS_CERT: 'c.pem' })).toThrow(/^VF_NATS_TLS_KEY: .*go together/);
    expect(() => readSettings({ VF_NATS_TLS_KEY: 'k.pem' })).toThrow(/^VF_NATS_TLS_CERT: .*go together/);
  });

  test.each(['VF_PORT', 'VF_', 'VF_NATS_URLS', 'VF_http_port', 'VF_TESTS', 'VF___proto__'])(
    'there is no %s',
    (variable) => {
      expect(() => readSettings({ [variable]: 'x' })).toThrow(
        new RegExp(`^${variable}: there is no such setting`),
      );
      expect(() => readSettings({ [variable]: '' })).toThrow(SettingsError);
    },
  );

  test('what is not the service’s is left alone', () => {
    const environment = {
      PATH: '/bin',
      VFX: '1',
      vf_http_port: 'x',
      XVF_A: '1',
      VF_TEST_SEED: '1',
      VF_BENCH_HOSTS: '2',
    };
    expect(readSettings(environment)).toEqual(readSettings({}));
  });

  test('a secret in a URL is not said', () => {
    expect(() => readSettings({ VF_NATS_URL: 'nats://user:hunter2@a:99999' })).toThrow(
      /^VF_NATS_URL: '(?!.*hunter2)/,
    );
    expect(() => readSettings({ VF_EVENT_LOG: 'kurentdb://user:hunter2@a:2113' })).toThrow(
      /^VF_EVENT_LOG: 'kurentdb:\/\/…@a:2113'(?!.*hunter2)/,
    );
  });
});
