import { describe, expect, test } from '@jest/globals';
import { fleet, matchers, simulate, start, vfAddress } from './index.js';

expect.extend(matchers);

describe('the matchers', () => {
  test('toHaveAllocated shows who holds what instead', async () => {
    const site = await simulate(fleet().host('h1', { em1: 2 }));
    await site.say(start('vm1'));
    expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${vfAddress('em1', 0)}` });
    expect(site).not.toHaveAllocated({});
    const wrong = (): void => expect(site).toHaveAllocated({ 'vm1/eth0': `h1 ${vfAddress('em1', 1)}` });
    expect(wrong).toThrow(/who holds which VF[^]*- .*82:10\.2[^]*\+ .*82:10\.0/);
    expect(() => expect(site).not.toHaveAllocated(site.holders)).toThrow(/other allocations than/);
    expect(() => expect('vm1').toHaveAllocated({})).toThrow(/a Simulation or a Scenario, not at string/);
  });

  test('toHaveOneOutcomeEach names the request and what it has instead', async () => {
    const site = await simulate(fleet().host('h1', { em1: 2 }));
    const id = await site.say(start('vm1'));
    expect(site).toHaveOneOutcomeEach();
    const outcome = site.events.find(({ type }) => type === 'VmStartAccepted');
    site.events.push(outcome!);
    const twice = (): void => expect(site).toHaveOneOutcomeEach();
    expect(twice).toThrow(`[OUT-1] VmStartRequested ${id} has 2 outcomes: VmStartAccepted, VmStartAccepted`);
    site.events.length = 0;
    expect(twice).toThrow(`[OUT-1] VmStartRequested ${id} has 0 outcomes: none`);
  });
});
