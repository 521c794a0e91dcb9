import { Controller, Get, HttpException, Inject, Query } from '@nestjs/common';
import { API_PARTS } from './parts.js';
import type { ApiParts } from './api-parts.js';
import { Problem } from './problem.js';
import { readiness } from './readiness.js';

/**
 * For whoever watches the process: live while it answers, ready while there is a cluster that it can serve and what all
 * share is there.
 */
@Controller('health')
export class HealthController {
  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  @Get('live')
  live(): object {
    return { status: 'ok' };
  }

  /** @param cluster asks for that one alone. */
  @Get('ready')
  ready(@Query('cluster') cluster?: unknown): object {
    const { allocator, broker, readModel } = this.parts;
    const all = allocator.status;
    if (cluster !== undefined && typeof cluster !== 'string')
      throw new Problem(400, 'BAD_REQUEST', 'cluster is one name');
    if (cluster !== undefined && !all.has(cluster))
      throw new Problem(404, 'NOT_FOUND', `there is no cluster '${cluster}' here`);
    const { connected } = broker;
    const { status, troubled } = readiness(all, connected, cluster);
    const asked = cluster === undefined ? all : [...all].filter(([name]) => name === cluster);
    const { rss, heapUsed } = process.memoryUsage();
    const body = {
      status,
      ...(Object.keys(troubled).length > 0 && { troubled }),
      instance: allocator.instance,
      nats: connected ? 'connected' : 'disconnected',
      clusters: Object.fromEntries(asked),
      // What is of no cluster stays in VF_IN meanwhile, and every cluster is served.
      ...(allocator.trouble !== undefined && { trouble: allocator.trouble }),
      // The write side serves without it: here is why a query has no answer.
      readSide: Object.fromEntries(readModel.status),
      memory: { rss, heapUsed },
    };
    if (status === 'unavailable') throw new HttpException(body, 503);
    return body;
  }
}
