import { Catch, HttpException, Inject, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { Response } from 'express';
import { API_PARTS } from './parts.js';
import type { ApiParts } from './api-parts.js';

/** An answer that is not the one that was asked for: RFC 9457, with the code of the contract. */
export class Problem extends HttpException {
  constructor(
    status: number,
    readonly code: string,
    detail: string,
    /** What a program can act on. */
    readonly facts: Readonly<Record<string, unknown>> = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super({ error: { code, message: detail } }, status);
  }
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'It cannot be read',
  403: 'It is not allowed',
  404: 'There is no such thing',
  405: 'Not with that method',
  409: 'The scheduler decided against it',
  410: 'It is no longer there',
  413: 'It is too large',
  415: 'It is not JSON',
  422: 'It took no effect',
  500: 'A defect in the scheduler',
  503: 'Not now',
};

/** The body of a problem. `error` is what a query over NATS says too. */
export const problemBody = (
  status: number,
  code: string,
  detail: string,
  facts?: Readonly<Record<string, unknown>>,
): object => ({
  type: 'about:blank',
  title: TITLES[status] ?? 'It failed',
  status,
  detail,
  code,
  ...(facts !== undefined && Object.keys(facts).length > 0 && { facts }),
  error: { code, message: detail },
});

/** What Express and its parsers throw. */
interface MiddlewareError {
  readonly status?: number;
  readonly type?: string;
  readonly message?: string;
}

/** Every error of the HTTP API as a problem; the one place where codes become HTTP. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<Response>();
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (error instanceof HttpException && !isQueryError(error.getResponse())) {
      const said = error.getResponse();
      // Health says more than a problem can.
      if (typeof said === 'object' && 'clusters' in said) {
        response.status(error.getStatus()).json(said);
        return;
      }
    }
    const { status, code, detail, facts, headers } = this.read(error);
    response
      .status(status)
      .set({ ...headers, 'Content-Type': 'application/problem+json' })
      .send(JSON.stringify(problemBody(status, code, detail, facts)));
  }

  private read(error: unknown): {
    status: number;
    code: string;
    detail: string;
    facts?: Readonly<Record<string, unknown>>;
    headers?: Readonly<Record<string, string>>;
  } {
    if (error instanceof Problem) {
      const { code, facts, headers } = error;
      return { status: error.getStatus(), code, detail: messageOf(error), facts, headers };
    }
    if (error instanceof HttpException) {
      const said = error.getResponse();
      const status = error.getStatus();
      if (isQueryError(said)) return { status, code: said.error.code, detail: said.error.message };
      // Nest has made this one of what the parser threw.
      const unparsed = status === 400 && /\bJSON\b/.test(error.message);
      const detail = unparsed ? `the body is not JSON: ${error.message}` : error.message;
      return { status, code: codeOf(status), detail };
    }
    const { status, type, message = '' } = error as MiddlewareError;
    if (status !== undefined && status >= 400 && status < 500) {
      const detail = type === 'entity.too.large' ? 'the body is too large' : message;
      return { status, code: codeOf(status), detail };
    }
    this.parts.logger.error('a request failed', { error });
    return { status: 500, code: 'INTERNAL', detail: "it could not be answered; the process's log says why" };
  }
}

const isQueryError = (said: unknown): said is { error: { code: string; message: string } } =>
  typeof said === 'object' && said !== null && 'error' in said && typeof said.error === 'object';

const messageOf = (problem: Problem): string =>
  (problem.getResponse() as { error: { message: string } }).error.message;

const codeOf = (status: number): string =>
  status === 404 ? 'NOT_FOUND' : status === 413 ? 'TOO_LARGE' : status === 415 ? 'NOT_JSON' : 'BAD_REQUEST';
