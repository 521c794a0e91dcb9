import { afterAll, expect, jest, test } from '@jest/globals';
import { Deadline } from '#log';
import { Programs } from './support/programs.js';

jest.setTimeout(60_000);

const programs = new Programs();
afterAll(() => programs.end());

/** Has a process collect garbage all the time. */
const COLLECTING = ['--expose-gc', '--import', 'data:text/javascript,setInterval(() => gc(), 200).unref()'];

test('a question that waits in vain ends in its time, however often garbage is collected', async () => {
  const program = await programs.start('standalone', {}, { node: COLLECTING });
  const { http } = await program.ready();
  const limit = new Deadline(20_000);
  const begun = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 30 }, async () => {
      try {
        // No event has this position: it waits for it, 5 s.
        const { signal } = limit;
        const answer = await fetch(`${http}/v1/clusters/default/policy?atLeast=1000000`, { signal });
        const { code } = (await answer.json()) as { code: string };
        return `${answer.status} ${code}`;
      } catch {
        return 'none';
      }
    }),
  );
  limit.end();
  expect(answers).toEqual(Array.from({ length: 30 }, () => '503 NOT_CAUGHT_UP'));
  expect(performance.now() - begun).toBeLessThan(15_000);
  expect(await program.stop()).toEqual({ code: 0, signal: null });
});
