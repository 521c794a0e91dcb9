import { All, Controller, NotFoundException, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { packageVersion } from '#wire';
import { openApiDocument } from './openapi.js';
import { Problem } from './problem.js';

interface Route {
  readonly pattern: RegExp;
  /** In upper case. */
  readonly methods: readonly string[];
}

/** Every path that the OpenAPI document has, as Express matches it: in any case, with a slash at the end or not. */
const routes = (): readonly Route[] =>
  Object.entries(openApiDocument(packageVersion())['paths'] as Record<string, object>).map(
    ([path, operations]) => ({
      pattern: new RegExp(
        `^${path.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{\w+\}/g, '[^/]+')}/?$`,
        'i',
      ),
      methods: Object.keys(operations).map((method) => method.toUpperCase()),
    }),
  );

/** What no other controller takes: another method than there is for that path, or a path that there is not. */
@Controller()
export class WrongMethodController {
  readonly #routes = routes();

  @All('{*path}')
  answer(@Req() request: Request, @Res() response: Response): void {
    const { method, path } = request;
    const found = this.#routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods);
    // A path can be that of a query and that of a command, and an id can be the name of a query.
    const methods = [...new Set(found.includes('GET') ? [...found, 'HEAD'] : found)];
    if (methods.length === 0) throw new NotFoundException(`Cannot ${method} ${path}`);
    const allow = methods.sort().join(', ');
    if (method === 'OPTIONS') {
      response.status(204).set('Allow', allow).end();
      return;
    }
    const detail = `${path} takes ${allow.replace(/, (\w+)$/, ' and $1')}, not ${method}`;
    throw new Problem(405, 'METHOD_NOT_ALLOWED', detail, {}, { Allow: allow });
  }
}
