import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { exportLog, Pace, type SignedHead } from '#log';
import { API_PARTS } from './parts.js';
import { Problem } from './problem.js';
import type { ApiParts } from './api-parts.js';
import type { QueryRequest } from './asked.js';
import { dearQuestionsOf } from './dear-questions.js';
import { answerQuery, follow, QUERIES, queryNamed } from './queries.js';
import { QueryError, STATUS } from './query-errors.js';
import { fromAddress } from './query-address.js';
import { signedHeadsOf } from './signed-heads.js';
import { columnsOf } from './reply-schemas.js';
import { csvLine, sendLines } from './tables.js';

type Said = Record<string, unknown>;

/** Characters of an answer. */
const MUCH = 64 * 1024;
/** So many rows are written as lines before decisions have a turn. */
const SLICE = 100;

/** The queries of wire.md over HTTP, by the same handlers as over NATS. */
@Controller('v1/clusters')
export class QueryController {
  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  @Get()
  async clusters(@Query() asked: Said, @Res() response: Response): Promise<void> {
    send(response, await this.ask('_', 'clusters', asked));
  }

  /** The whole log with a signed manifest: `vfctl audit check` needs nothing else. */
  @Get(':cluster/export')
  async export(@Param('cluster') cluster: string, @Res() response: Response): Promise<void> {
    const { auditKey, broker, readModel, logger } = this.parts;
    if (auditKey === undefined) {
      throw problemOf(
        new QueryError(
          'NO_AUDIT_KEY',
          'this instance has no key to sign with: name an Ed25519 private key in VF_AUDIT_KEY',
        ),
      );
    }
    await follow(this.parts, cluster).catch(rethrow);
    const heads = signedHeadsOf(this.parts);
    await heads.refuseOtherHistory(cluster).catch(rethrow);
    const keep = async (signed: SignedHead): Promise<void> => {
      try {
        await heads.keep(cluster, signed);
      } catch (error) {
        // Whoever asked only sees that it broke off.
        logger.error(`an export of '${cluster}' was not signed`, { error });
        throw error;
      }
    };
    const lines = exportLog(readModel.log, cluster, auditKey, new Date(broker.now()).toISOString(), keep);
    await sendLines(response, 'application/x-ndjson', this.inTurns(lines));
  }

  /** Each piece in its turn: a client that takes its time keeps nobody waiting. */
  private async *inTurns<T>(pieces: AsyncGenerator<string, T>): AsyncGenerator<string, T> {
    const dear = dearQuestionsOf(this.parts);
    try {
      for (let begun = false; ; begun = true) {
        const piece = await dear.inTurn('export', () => pieces.next(), begun).catch(rethrow);
        if (piece.done === true) return piece.value;
        yield piece.value;
      }
    } finally {
      await pieces.return(undefined as T);
    }
  }

  @Post(':cluster/candidates')
  @HttpCode(200)
  candidates(
    @Param('cluster') cluster: string,
    @Body() body: unknown,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.answer(cluster, 'candidates', bodyOf(request, body), request, response);
  }

  @Post(':cluster/plan')
  @HttpCode(200)
  plan(
    @Param('cluster') cluster: string,
    @Body() body: unknown,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.answer(cluster, 'plan', bodyOf(request, body), request, response);
  }

  @Get(':cluster/:name')
  async query(
    @Param('cluster') cluster: string,
    @Param('name') name: string,
    @Query() asked: Said,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    if (Object.hasOwn(QUERIES, name) && QUERIES[name]?.post === true) {
      throw new Problem(
        405,
        'METHOD_NOT_ALLOWED',
        `'${name}' takes a JSON body: POST it`,
        {},
        { Allow: 'POST' },
      );
    }
    await this.answer(cluster, name, fromAddress(asked), request, response);
  }

  private async answer(
    cluster: string,
    name: string,
    asked: Said,
    request: Request,
    response: Response,
  ): Promise<void> {
    switch (request.accepts(['application/json', 'application/x-ndjson', 'text/csv'])) {
      case 'application/x-ndjson':
        return this.rows(cluster, name, asked, response, 'application/x-ndjson', (rows) =>
          rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
        );
      case 'text/csv': {
        const columns = QUERIES[name]?.columns?.(asked) ?? columnsOf(name, this.tableOf(name));
        let head = csvLine(columns);
        return this.rows(cluster, name, asked, response, 'text/csv; charset=utf-8', (rows) => {
          const text = head + rows.map((row) => csvLine(columns.map((column) => row[column]))).join('');
          head = '';
          return text;
        });
      }
      default:
        send(response, await this.ask(cluster, name, asked));
    }
  }

  /** The rows of a table, of all its pages, a page at a time. */
  private async rows(
    cluster: string,
    name: string,
    asked: Said,
    response: Response,
    type: string,
    write: (rows: readonly Said[]) => string,
  ): Promise<void> {
    const table = this.tableOf(name);
    // Whoever asked for so many rows wants no more.
    const all = asked['limit'] === undefined;
    const first = JSON.parse(await this.ask(cluster, name, asked, all ? 'first' : undefined)) as Said;
    const { parts } = this;
    async function* pages(): AsyncGenerator<string, undefined> {
      let page = first;
      const pace = new Pace();
      // A page may be shorter than was asked for, where its rows are long.
      let left = all ? Infinity : Number(asked['limit']);
      for (;;) {
        const rows = page[table] as Said[];
        for (let index = 0; index === 0 || index < rows.length; index += SLICE) {
          yield write(rows.slice(index, index + SLICE));
          await pace.rest();
        }
        left -= rows.length;
        if (page['cursor'] === undefined || left <= 0) return undefined;
        const next = { ...asked, cursor: page['cursor'], ...(!all && { limit: left }) };
        page = JSON.parse(await answerQuery(parts, cluster, name, next, 'next')) as Said;
      }
    }
    response.set('Vf-Position', String(first['position']));
    await sendLines(response, type, pages());
  }

  private tableOf(name: string): string {
    const { table } = wrapped(() => queryNamed(name));
    if (table !== undefined) return table;
    throw new Problem(406, 'BAD_REQUEST', `'${name}' is not a table: ask for application/json`);
  }

  private ask(cluster: string, name: string, request: QueryRequest, page?: 'first'): Promise<string> {
    return answerQuery(this.parts, cluster, name, request, page).catch(rethrow);
  }
}

function send(response: Response, json: string): void {
  response.status(200).set('Content-Type', 'application/json; charset=utf-8');
  // Express makes a hash of what it sends, to say later that it is the same: of much, that takes longer than sending it.
  if (json.length > MUCH) response.end(json);
  else response.send(json);
}

function bodyOf(request: Request, body: unknown): Said {
  if (
    request.get('content-length') !== undefined &&
    !request.is(['application/json', 'application/*+json'])
  ) {
    throw new Problem(415, 'NOT_JSON', 'the body must be JSON: say Content-Type: application/json');
  }
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Said;
  throw new Problem(400, 'BAD_REQUEST', 'the body must be a JSON object');
}

const problemOf = (error: unknown): unknown =>
  error instanceof QueryError
    ? new Problem(
        STATUS[error.code],
        error.code,
        error.message,
        {},
        STATUS[error.code] === 503 ? { 'Retry-After': '1' } : {},
      )
    : error;

function rethrow(error: unknown): never {
  throw problemOf(error);
}

function wrapped<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw problemOf(error);
  }
}
