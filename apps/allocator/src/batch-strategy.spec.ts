import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { HttpException, Module, type INestMicroservice, type NestInterceptor } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { RpcException } from '@nestjs/microservices';
import { catchError, EMPTY, throwError } from 'rxjs';
import { BrokerError, MemoryBroker, MemoryBrokerServer, type BrokerErrorCode } from '#broker';
import { LogError, MemoryLog, type LogErrorCode, type StoredDecision } from '#log';
import { PipelineError, systemClock, type Allocator, type Logger, type PipelineErrorCode } from '#pipeline';
import { until } from '../../../test/support/until.js';
import { AllocatorModule } from './allocator.module.js';
import { BatchStrategy } from './batch-strategy.js';

const LOG_CODES = {
  WRONG_POSITION: false,
  OUTCOME_UNKNOWN: false,
  UNAVAILABLE: false,
  FULL: false,
  CORRUPT: true,
  NOT_ALLOWED: true,
} satisfies Record<LogErrorCode, boolean>;
const BROKER_CODES = {
  UNAVAILABLE: false,
  WRONG_SEQUENCE: false,
  INPUT_REPLACED: false,
  LEASE_LOST: false,
  REFUSED: true,
} satisfies Record<BrokerErrorCode, boolean>;
const PIPELINE_CODES = {
  LOG_BEHIND: true,
  LOG_DIFFERS: true,
  OTHER_LOG: true,
  UNKNOWN_VERSION: true,
  TWO_HOLDERS: true,
  DEPOSED: false,
} satisfies Record<PipelineErrorCode, boolean>;

class OwnError extends Error {
  override readonly name = 'OwnError';
}

/** What may be thrown, whether only a person can mend it, and what is said of it. */
type Thrown = readonly [name: string, error: unknown, final: boolean, sentence: string];

const of = <Code extends string>(
  kind: new (code: Code, message: string, options?: { cause?: unknown }) => Error,
  codes: Readonly<Record<Code, boolean>>,
): Thrown[] =>
  (Object.entries(codes) as [Code, boolean][]).map(([code, final]) => [
    `${kind.name} ${code}`,
    new kind(code, `this is ${code}`, { cause: new Error('below') }),
    final,
    `this is ${code}`,
  ]);

const circle: Record<string, unknown> = {};
circle['self'] = circle;

const THROWN: readonly Thrown[] = [
  ...of(LogError, LOG_CODES),
  ...of(BrokerError, BROKER_CODES),
  ...of(PipelineError, PIPELINE_CODES),
  ['Error', new Error('plain'), true, 'plain'],
  ['Error without a message', new RangeError(), true, 'RangeError'],
  ['TypeError', new TypeError('x is not a function'), true, 'x is not a function'],
  ['AggregateError', new AggregateError([new Error('one')], 'many'), true, 'many'],
  ['a class of its own', new OwnError('own'), true, 'own'],
  ['HttpException', new HttpException('teapot', 418), true, 'teapot'],
  ['RpcException', new RpcException('rpc'), true, 'rpc'],
  ['RpcException of an object', new RpcException({ code: 7 }), true, 'Rpc Exception'],
  ['a string', 'just text', true, 'just text'],
  ['an object', { status: 'error' }, true, 'something that is no error was thrown: {"status":"error"}'],
  ['a circle', circle, true, 'something that is no error was thrown: [object Object]'],
  ['a number', 42, true, 'something that is no error was thrown: 42'],
  ['null', null, true, 'something that is no error was thrown: null'],
  ['undefined', undefined, true, 'something that is no error was thrown: undefined'],
];

/** A log whose next append throws what it is told to. */
class FailingLog extends MemoryLog {
  next: { readonly error: unknown } | undefined;

  override append(stream: string, position: number, decisions: readonly StoredDecision[]): Promise<void> {
    const { next } = this;
    this.next = undefined;
    // eslint-disable-next-line prefer-promise-reject-errors
    if (next !== undefined) return Promise.reject(next.error as Error);
    return super.append(stream, position, decisions);
  }
}

interface Site {
  readonly allocator: Allocator;
  readonly log: FailingLog;
  /** What was said of the cluster not being led. */
  readonly said: { readonly message: string; readonly error: unknown }[];
  /** A VM that stops, which nobody knows: one event. */
  say(): Promise<void>;
}

const open: INestMicroservice[] = [];
afterEach(async () => {
  for (const service of open.splice(0)) await service.close();
});

/** The allocator behind Nest's real strategy, on ports in memory. */
async function site(interceptor?: NestInterceptor): Promise<Site> {
  const said: Site['said'] = [];
  const hear = (message: string, facts?: Record<string, unknown>): void => {
    if (message.includes('is not led')) said.push({ message, error: facts?.['error'] });
  };
  const logger: Logger = { debug: () => {}, info: () => {}, warn: hear, error: hear };
  const log = new FailingLog();
  const broker = new MemoryBroker(new MemoryBrokerServer());
  const strategy = new BatchStrategy({
    broker,
    log,
    logger,
    clock: systemClock,
    instance: 'me',
    maxClusters: 4,
    rememberedInputs: 100,
    outMaxAge: 60_000,
  });
  @Module({ imports: [AllocatorModule] })
  class TestModule {}
  const service = await NestFactory.createMicroservice(TestModule, {
    strategy,
    logger: false,
    abortOnError: false,
  });
  if (interceptor !== undefined) service.useGlobalInterceptors(interceptor);
  open.push(service);
  await service.listen();
  let serial = 0;
  return {
    allocator: strategy.allocator,
    log,
    said,
    async say() {
      const vmId = `vm-${++serial}`;
      const id = `stop-${serial}`;
      const event = {
        specversion: '1.0',
        id,
        source: '/test',
        type: 'VmStopped',
        time: '2026-01-01T00:00:00Z',
      };
      const text = JSON.stringify({ ...event, data: { vmId } });
      await broker.input.publish(`vf.in.default.vm.${vmId}.VmStopped`, new TextEncoder().encode(text));
    },
  };
}

const durable = (allocator: Allocator): number => {
  const status = allocator.status.get('default');
  return status?.role === 'leader' ? status.durable : 0;
};

/** Waits until the cluster was not led for once, and looks at what was said of it. */
async function expectHeard({ allocator, said }: Site, [, error, final, sentence]: Thrown): Promise<void> {
  const failed = await until('the cluster is not led', () => {
    const status = allocator.status.get('default');
    return status?.role === 'failed' ? status : undefined;
  });
  expect(failed.final).toBe(final);
  expect(failed.message).toBe(sentence);
  expect(said.at(-1)?.message).toBe(`cluster 'default' is not led: ${sentence}`);
  // The very same: with its class, its code, its cause and its stack.
  expect(Object.is(said.at(-1)?.error, error)).toBe(true);
}

jest.setTimeout(30_000);

/** What an append that throws it tries again by itself. */
const passing = (error: Error): boolean =>
  (error instanceof LogError && ['OUTCOME_UNKNOWN', 'UNAVAILABLE', 'FULL'].includes(error.code)) ||
  (error instanceof BrokerError && error.code === 'UNAVAILABLE');

describe('what goes wrong with a batch comes through Nest as it was', () => {
  test.each(THROWN)('thrown beside the handler: %s', async (...thrown) => {
    let next: { readonly error: unknown } | undefined = { error: thrown[1] };
    const there = await site({
      intercept: (_, handler) => {
        if (next === undefined) return handler.handle();
        const { error } = next;
        next = undefined;
        return throwError(() => error);
      },
    });
    await there.say();
    await expectHeard(there, thrown);
    // What can be tried again is, and nothing was lost.
    if (!thrown[2])
      await until('it is led again, and the input decided', () => durable(there.allocator) === 1);
  });

  test.each(THROWN.filter(([, error]) => error instanceof Error && !passing(error)))(
    'thrown by an append: %s',
    async (...thrown) => {
      const there = await site();
      there.log.next = { error: thrown[1] };
      await there.say();
      const { log } = there;
      await until('the append', () => log.next === undefined);
      // The append is awaited by the batch behind it.
      await there.say();
      const [name, error, final, sentence] = thrown;
      if (error instanceof LogError && error.code === 'WRONG_POSITION') {
        const failed = await until('the cluster is not led', () => there.said.at(-1));
        expect(failed.error).toMatchObject({ name: 'PipelineError', code: 'DEPOSED', cause: error });
      } else await expectHeard(there, [name, error, final, sentence]);
    },
  );
});

describe('a batch is decided, or it is an error', () => {
  test('an interceptor that answers in the place of the handler loses no input', async () => {
    let times = 0;
    const there = await site({ intercept: (_, handler) => (times++ === 0 ? EMPTY : handler.handle()) });
    await there.say();
    await until('it is said', () => there.said.length > 0);
    expect(there.said[0]?.message).toMatch(/did not decide its batch/);
    await until('it is decided after all', () => durable(there.allocator) === 1);
  });

  test('an interceptor that hides what the decision threw hides nothing', async () => {
    const error = new LogError('CORRUPT', 'the disk lies');
    const hide: NestInterceptor = {
      intercept: (_, handler) => handler.handle().pipe(catchError(() => EMPTY)),
    };
    const there = await site(hide);
    there.log.next = { error };
    await there.say();
    await until('the append', () => there.log.next === undefined);
    await there.say();
    await until('it is said', () => there.said.length > 0);
    expect(there.said[0]?.error).toBe(error);
  });
});
