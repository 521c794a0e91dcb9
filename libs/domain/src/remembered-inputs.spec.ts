import { describe, expect, test } from '@jest/globals';
import { RememberedInputs } from './remembered-inputs.js';
import { reported, ports, start, stopped } from './testing/fleet.js';
import { say, scenario, Scenario } from './testing/scenario.js';

const digest = (n: number): string => n.toString(16).padStart(13, '0').padEnd(16, '0');

describe('remembered inputs', () => {
  test('[EX-6 acts] knows a repeat, another content under the same id, and what is new', () => {
    const inputs = new RememberedInputs(10);
    inputs.remember('a', digest(1), 7);
    expect(inputs.recall('a', digest(1))).toBe('repeat');
    expect(inputs.recall('a', digest(2))).toBe('conflict');
    expect(inputs.recall('b', digest(1))).toBe('new');
    expect([inputs.positionOf('a'), inputs.positionOf('b')]).toEqual([7, undefined]);
  });

  test('[EX-6 acts] forgets the oldest first, when there are more than it may remember', () => {
    const inputs = new RememberedInputs(3);
    for (let i = 1; i <= 8; i++) inputs.remember(`in-${i}`, digest(i), i);
    expect([5, 6, 7, 8].map((i) => inputs.recall(`in-${i}`, digest(i)))).toEqual([
      'new',
      'repeat',
      'repeat',
      'repeat',
    ]);
    expect([inputs.size, inputs.oldest, inputs.newest]).toEqual([3, 6, 8]);
  });

  test('[EX-6 acts] is part of the snapshot, and goes on where it was', () => {
    for (const count of [0, 2, 3, 8]) {
      const inputs = new RememberedInputs(3);
      for (let i = 1; i <= count; i++) inputs.remember(`in-${i}`, digest(i), i);
      const again = new RememberedInputs(3);
      again.restore(JSON.parse(JSON.stringify(inputs.dump())) as ReturnType<RememberedInputs['dump']>);
      for (const each of [inputs, again]) each.remember('more', digest(99), 99);
      expect(again.dump()).toEqual(inputs.dump());
      expect([again.newest, again.oldest]).toEqual([inputs.newest, inputs.oldest]);
      expect(again.recall('more', digest(99))).toBe('repeat');
    }
  });

  test('[EX-6 acts] a snapshot of more than a smaller memory holds keeps the newest', () => {
    const inputs = new RememberedInputs(8);
    for (let i = 1; i <= 8; i++) inputs.remember(`in-${i}`, digest(i), i);
    const small = new RememberedInputs(3);
    small.restore(inputs.dump());
    expect(small.dump().entries.map(([id]) => id)).toEqual(['in-6', 'in-7', 'in-8']);
    expect(small.newest).toBe(8);
  });

  test('[EX-6 acts] answers the same however often it is asked in between', () => {
    for (let every = 1; every <= 9; every++) {
      const [asked, quiet] = [new RememberedInputs(5), new RememberedInputs(5)];
      for (let i = 1; i <= 23; i++) {
        // Ids come back after they were forgotten: one stands for its later use.
        for (const inputs of [asked, quiet]) inputs.remember(`in-${i % 7}`, digest(i), i);
        if (i % every === 0) asked.recall('anything', digest(0));
      }
      for (let id = 0; id < 7; id++) {
        expect(asked.positionOf(`in-${id}`)).toBe(quiet.positionOf(`in-${id}`));
      }
      expect([20, 21, 22, 23].map((i) => asked.recall(`in-${i % 7}`, digest(i)))).toEqual([
        'repeat',
        'repeat',
        'repeat',
        'repeat',
      ]);
      expect([asked.recall('in-3', digest(17)), asked.recall('in-4', digest(18))]).toEqual(['new', 'new']);
    }
  });

  test('names of object members are ids like any other', () => {
    const inputs = new RememberedInputs(3);
    expect(inputs.recall('__proto__', digest(1))).toBe('new');
    inputs.remember('constructor', digest(1), 1);
    expect(inputs.recall('constructor', digest(1))).toBe('repeat');
  });
});

describe('an input takes effect once', () => {
  test('[EX-6 quiet] [EX-6 refuses] a repeat emits nothing, other content under its id is a conflict', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) })).given(start('vm1', {}, { id: 'one' }));
    const { position } = cluster.state;
    cluster.when(start('vm1', {}, { id: 'one' })).thenNothing();
    expect(cluster.recalled).toBe('repeat');
    cluster.when(start('vm2', {}, { id: 'one' })).thenNothing();
    expect(cluster.recalled).toBe('conflict');
    expect(cluster.state.position).toBe(position);
    cluster
      .given(stopped('vm1'))
      .when(start('vm1', {}, { id: 'one' }))
      .thenNothing();
    expect(cluster.holds('vm1')).toEqual([]);
  });

  test('[EX-6 quiet] a repeat is known after a take-over, for the log itself knows the ids', () => {
    const cluster = scenario(reported('h1', { pfs: ports(2) })).given(
      { ...stopped('vm9'), id: 'ignored' },
      start('vm1', {}, { id: 'one' }),
    );
    cluster
      .takenOver()
      .when(start('vm1', {}, { id: 'one' }))
      .thenNothing();
    expect(cluster.recalled).toBe('repeat');
    cluster.when({ ...stopped('vm9'), id: 'ignored' }).thenNothing();
    expect(cluster.recalled).toBe('repeat');
  });

  test('[EX-6 acts] [VM-13 refuses] beyond what is remembered, generation protects; it is kept as long as ids are', () => {
    const cluster = new Scenario('default', 3).given(
      reported('h1', { pfs: ports(2) }),
      start('vm1', { generation: 4 }, { id: 'one' }),
    );
    for (let i = 0; i < 5; i++) cluster.given(stopped(`other${i}`));
    cluster.when(start('vm1', { generation: 3 }, { id: 'one' })).thenRefused('GENERATION_STALE');
    cluster.given(say('VmDestroyed', { vmId: 'vm1', generation: 5 }));
    cluster.when(start('vm1', { generation: 4 })).thenRefused('GENERATION_STALE');
    for (let i = 5; i < 9; i++) cluster.given(stopped(`other${i}`));
    cluster.when(start('vm1', { generation: 4 })).thenTypes('VfAllocated', 'VmStartAccepted');
    expect(cluster.state.generations.size).toBe(0);
  });
});
