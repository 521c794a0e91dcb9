import { Controller, Get, HttpException, Inject, Param, Query } from '@nestjs/common';
import { API_PARTS } from './parts.js';
import { answerQuery, QueryError, type ApiParts, type QueryErrorCode } from './queries.js';

const STATUS: Record<QueryErrorCode, number> = {
  QUERY_UNKNOWN: 404,
  CLUSTER_UNKNOWN: 404,
  NOT_FOUND: 404,
  BAD_REQUEST: 400,
  NOT_SUPPORTED: 400,
  NOT_LEADING: 503,
  NOT_CAUGHT_UP: 503,
};

/** The queries of wire.md over HTTP, by the same handlers as over NATS. */
@Controller('v1/clusters')
export class QueryController {
  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  @Get()
  clusters(): Promise<object> {
    return this.ask('_', 'clusters', {});
  }

  @Get(':cluster/:name')
  query(
    @Param('cluster') cluster: string,
    @Param('name') name: string,
    @Query() request: Record<string, unknown>,
  ): Promise<object> {
    return this.ask(cluster, name, request);
  }

  private async ask(cluster: string, name: string, request: Record<string, unknown>): Promise<object> {
    try {
      return await answerQuery(this.parts, cluster, name, { ...request });
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      throw new HttpException({ error: { code: error.code, message: error.message } }, STATUS[error.code]);
    }
  }
}
