import { expect, test } from '@jest/globals';
import { Turns } from './turns.js';

test('a few have their turn at once, in the order in which they came', async () => {
  const turns = new Turns();
  const order: number[] = [];
  await Promise.all([1, 2, 3].map((one) => turns.take().then(() => order.push(one))));
  expect(order).toEqual([1, 2, 3]);
});

test('a thousand that all have something to write leave most of the time to others', async () => {
  const turns = new Turns();
  let written = 0;
  let working = 0;
  const begun = performance.now();
  const client = async (): Promise<void> => {
    for (let piece = 0; piece < 2; piece++) {
      await turns.take();
      const start = performance.now();
      // As long as a piece takes.
      while (performance.now() - start < 0.1) written++;
      working += performance.now() - start;
    }
  };
  // Others: what runs whenever the thread is free.
  let free = 0;
  let over = false;
  const other = (): void => {
    free++;
    if (!over) setImmediate(other);
  };
  other();
  await Promise.all(Array.from({ length: 1000 }, client));
  over = true;
  const share = working / (performance.now() - begun);
  expect(share).toBeLessThan(0.4);
  expect(free).toBeGreaterThan(1000);
  expect(written).toBeGreaterThan(0);
}, 30_000);
