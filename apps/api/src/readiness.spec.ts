import { describe, expect, test } from '@jest/globals';
import type { ClusterStatus } from '#pipeline';
import type { ReadStatus } from '#read-model';
import { readiness } from './readiness.js';

const numbers = { position: 1, durable: 1, unrelayed: 0, inputSequence: 1 };
const led: ClusterStatus = { role: 'leader', ...numbers };
const stoodBy: ClusterStatus = { role: 'standby', position: 1, lag: 0, hosts: 0, vms: 0 };
const full: ClusterStatus = { role: 'leader', ...numbers, trouble: 'no room' };
const damaged: ClusterStatus = { role: 'failed', message: 'damaged at position 5', final: true };
const opening: ClusterStatus = { role: 'opening' };

describe('readiness', () => {
  test.each<[string, Record<string, ClusterStatus>, boolean, string, Record<string, string>]>([
    ['one that is led', { a: led }, true, 'ok', {}],
    ['one led and one stood by for', { a: led, b: stoodBy }, true, 'ok', {}],
    ['one in trouble of two', { a: led, b: full }, true, 'degraded', { b: 'no room' }],
    [
      'one damaged and one just opened of three',
      { a: damaged, b: opening, c: stoodBy },
      true,
      'degraded',
      { a: 'damaged at position 5', b: 'it is being opened' },
    ],
    ['the only one in trouble', { a: full }, true, 'unavailable', { a: 'no room' }],
    [
      'all in trouble',
      { a: full, b: damaged },
      true,
      'unavailable',
      { a: 'no room', b: 'damaged at position 5' },
    ],
    ['NATS away', { a: led, b: led }, false, 'unavailable', {}],
    ['no cluster at all', {}, true, 'unavailable', {}],
  ])('of %s', (_, clusters, connected, status, troubled) => {
    const shared = connected ? [] : ['NATS is not connected'];
    const standing = { clusters: new Map(Object.entries(clusters)), readSide: new Map(), shared };
    expect(readiness(standing)).toEqual({
      status,
      troubled,
      ...(!connected && { trouble: 'NATS is not connected' }),
    });
  });

  test('of what all share', () => {
    const shared = ['VF_IN is something else', 'no room'];
    expect(readiness({ clusters: new Map([['a', led]]), readSide: new Map(), shared })).toEqual({
      status: 'unavailable',
      troubled: {},
      trouble: 'VF_IN is something else; no room',
    });
  });

  test('of a read side that stands still, and of one that only is behind', () => {
    const readSide = new Map<string, ReadStatus>([
      ['a', { state: 'stopped', position: 7, message: 'VF 1 twice' }],
      ['b', { state: 'building', position: 7 }],
    ]);
    const clusters = new Map(Object.entries({ a: led, b: led }));
    expect(readiness({ clusters, readSide, shared: [] })).toEqual({
      status: 'degraded',
      troubled: { a: 'its read side stands still: VF 1 twice' },
    });
  });
});
