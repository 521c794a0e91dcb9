import { describe, expect, jest, test } from '@jest/globals';
import { until } from '../../../test/support/until.js';
import { DearQuestions } from './dear-questions.js';
import { QueryError } from './query-errors.js';

/** A question whose answer comes when it is told to. */
function held(): { answer: () => Promise<string>; finish: () => void; asked: () => boolean } {
  let finish = (): void => undefined;
  let asked = false;
  const done = new Promise<string>((resolve) => (finish = () => resolve('answer')));
  return {
    answer: () => {
      asked = true;
      return done;
    },
    finish: () => finish(),
    asked: () => asked,
  };
}

const codeOf = (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    () => 'answered',
    (error: unknown) => (error instanceof QueryError ? error.code : String(error)),
  );

jest.setTimeout(20_000);

describe('turns of dear questions', () => {
  test('one at a time, in the order in which they came; who waits too long is refused, and nobody else', async () => {
    const dear = new DearQuestions();
    const long = held();
    const first = codeOf(dear.inTurn('history', long.answer));
    const begun = performance.now();
    const refused = await Promise.all(
      (['history', 'tables', 'states', 'export'] as const).map((kind) =>
        codeOf(dear.inTurn(kind, () => Promise.resolve())),
      ),
    );
    expect(refused).toEqual(['BUSY', 'BUSY', 'BUSY', 'BUSY']);
    // Not at once: who is refused and asks again without a pause must not be what costs.
    expect(performance.now() - begun).toBeGreaterThan(1500);
    const order: number[] = [];
    const waiting = [1, 2, 3].map((number) =>
      codeOf(dear.inTurn('history', () => Promise.resolve(order.push(number)))),
    );
    long.finish();
    expect(await Promise.all([first, ...waiting])).toEqual(['answered', 'answered', 'answered', 'answered']);
    expect(order).toEqual([1, 2, 3]);
  });

  test('what takes as long as the log is long keeps nobody waiting but its own kind', async () => {
    const dear = new DearQuestions();
    const long = held();
    const verify = codeOf(dear.inTurn('verify', long.answer));
    expect(await codeOf(dear.inTurn('history', () => Promise.resolve()))).toBe('answered');
    expect(await codeOf(dear.inTurn('verify', () => Promise.resolve()))).toBe('BUSY');
    long.finish();
    expect(await verify).toBe('answered');
  });

  test('an answer that has begun is not refused in its middle', async () => {
    const dear = new DearQuestions();
    const long = held();
    const first = codeOf(dear.inTurn('tables', long.answer));
    const next = codeOf(dear.inTurn('tables', () => Promise.resolve(), true));
    expect(await codeOf(dear.inTurn('tables', () => Promise.resolve()))).toBe('BUSY');
    long.finish();
    expect(await Promise.all([first, next])).toEqual(['answered', 'answered']);
  });

  test('an answer that fails gives its turn back', async () => {
    const dear = new DearQuestions();
    expect(await codeOf(dear.inTurn('states', () => Promise.reject(new Error('broken'))))).toBe(
      'Error: broken',
    );
    const after = held();
    const answer = dear.inTurn('states', after.answer);
    await until('its turn', after.asked);
    after.finish();
    expect(await answer).toBe('answer');
  });

  test('however many ask, a bounded number waits, and all are told in the same time', async () => {
    const dear = new DearQuestions();
    const long = held();
    const first = codeOf(dear.inTurn('history', long.answer));
    const many = await Promise.all(
      Array.from({ length: 2000 }, () => codeOf(dear.inTurn('history', () => Promise.resolve()))),
    );
    expect(new Set(many)).toEqual(new Set(['BUSY']));
    long.finish();
    expect(await first).toBe('answered');
  });
});
