import { describe, expect, test } from '@jest/globals';
import { readConnectionString } from './connection-string.js';

describe('a connection string', () => {
  test.each([
    ['kurrentdb://localhost:2113?tls=false', 'kurrentdb://localhost:2113'],
    ['kurrentdb://user:pass%40word@a:1,b.example:2/?tls=true', 'kurrentdb://a:1,b.example:2'],
    ['esdb+discover://cluster.example?nodePreference=leader', 'kurrentdb+discover://cluster.example'],
    ['kdb://a?keep_alive_interval=-1&Keep-Alive-Timeout=10000', 'kurrentdb://a'],
    ['kurrentdb://a,b?streamPrefix=vf2&tls=false', 'kurrentdb://a,b?streamPrefix=vf2'],
  ])('%s is called %s', (url, name) => {
    expect(readConnectionString(url).name).toBe(name);
  });

  test('goes to the client with its secrets, under the name of today, and with the names of parameters it knows', () => {
    const address = readConnectionString(' esdb://user:p%3Aw@a,b:7/?TLS=false&discovery_interval=7'.trim());
    expect(address.urlOf({ host: 'c', port: 9 }, { keepAliveInterval: '10000' })).toBe(
      'kurrentdb://user:p%3Aw@c:9?tls=false&discoveryInterval=7&keepAliveInterval=10000',
    );
    expect(address.credentials).toEqual({ username: 'user', password: 'p:w' });
  });

  test.each([
    ['kurrentdb://a?tls=false', 'none', undefined, [{ host: 'a', port: 2113 }]],
    [
      'kurrentdb://a:1,b',
      'nodes',
      { verify: true },
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 2113 },
      ],
    ],
    ['kurrentdb+discover://a:1?tlsVerifyCert=false', 'dns', { verify: false }, [{ host: 'a', port: 1 }]],
  ])('%s is searched for its leader: %s', (url, search, tls, nodes) => {
    expect(readConnectionString(url)).toMatchObject({ search, nodes });
    expect(readConnectionString(url).tls).toEqual(tls);
  });

  test.each([
    ['mysql://a', 'does not begin with kurrentdb://'],
    ['kurrentdb://', "'' is not a host"],
    ['kurrentdb://a:0', "'a:0' is not a host"],
    ['kurrentdb://a:70000', "'a:70000' is not a host"],
    ['kurrentdb://[::1]:2113', "'[::1]:2113' is not a host"],
    ['kurrentdb://a,,b', "'' is not a host"],
    ['kurrentdb://user:hunter2:x@a', 'is not user:password'],
    ['kurrentdb://user:hunter2@x@a', 'is not user:password'],
    ['kurrentdb://hunter2@a', 'is not user:password'],
    ['kurrentdb://user:hunter2%@a', 'write it as %25'],
    ['kurrentdb://user:hunter2@a?tsl=false', "no parameter 'tsl'"],
    ['kurrentdb://user:hunter2@a?tls=no', 'tls is true or false'],
    ['kurrentdb://user:hunter2@a?tls', 'tls is not a name and a value'],
    ['kurrentdb://user:hunter2@a?tls=true&tls=false', 'twice'],
    ['kurrentdb://user:hunter2@a?tls=true?x', 'a second ?'],
    ['kurrentdb://user:hunter2@a?streamPrefix=a-b', 'streamPrefix is 1 to 32 of'],
    ['kurrentdb://user:hunter2@a?keepAliveInterval=5', 'from 10000'],
    ['kurrentdb://user:hunter2@a?nodePreference=follower', 'anything but leader'],
    ['kurrentdb://user:hunter2@a?throwOnAppendFailure=false', 'anything but true'],
    ['kurrentdb://user:hunter2@a?tlsCAFile=/does/not/exist.pem', '/does/not/exist.pem, which cannot be read'],
    ['kurrentdb://user:hunter2@a?tlsCAFile=/tmp', 'tlsCAFile names /tmp, which cannot be read (EISDIR)'],
    ['kurrentdb://user:hunter2@a?userCertFile=/dev/null', 'go together'],
  ])('%s is refused', (url, why) => {
    const read = (): unknown => readConnectionString(url);
    expect(read).toThrow(expect.objectContaining({ code: 'NOT_ALLOWED' }) as never);
    expect(read).toThrow(why);
    expect(read).not.toThrow('hunter2');
  });
});
