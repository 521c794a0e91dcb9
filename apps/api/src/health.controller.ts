import { Controller, Get, HttpException, Inject, Query } from '@nestjs/common';
import { API_PARTS } from './parts.js';
import type { ApiParts } from './api-parts.js';
import { Problem } from './problem.js';
import { passedOverOf } from './passed-over.js';
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
    const { allocator, broker, readModel, troubles, linesDropped } = this.parts;
    const { clocks } = allocator;
    const all = allocator.status;
    if (cluster !== undefined && typeof cluster !== 'string')
      throw new Problem(400, 'BAD_REQUEST', 'cluster is one name');
    if (cluster !== undefined && !all.has(cluster))
      throw new Problem(404, 'NOT_FOUND', `there is no cluster '${cluster}' here`);
    const { connected } = broker;
    const asked = cluster === undefined ? all : new Map([...all].filter(([name]) => name === cluster));
    const shared = [...(connected ? [] : ['NATS is not connected']), ...(troubles?.() ?? [])];
    if (allocator.trouble !== undefined) shared.push(allocator.trouble);
    const readSide = readModel.status;
    const { status, trouble, troubled } = readiness({ clusters: asked, readSide, shared });
    const said = trouble ?? allocator.orphanTrouble;
    const { rss, heapUsed } = process.memoryUsage();
    const body = {
      status,
      // What is of no cluster stays in VF_IN while it cannot be dead-lettered, and every cluster is served.
      ...(said !== undefined && { trouble: said }),
      ...(Object.keys(troubled).length > 0 && { troubled }),
      instance: allocator.instance,
      nats: connected ? 'connected' : 'disconnected',
      clusters: Object.fromEntries(
        [...asked].map(([name, is]) => [name, { ...is, ...passedOverOf(this.parts.log, name) }]),
      ),
      // The write side serves without it: here is why a query has no answer.
      readSide: Object.fromEntries(readSide),
      // Nothing that is decided or answered goes by it.
      clock: { behindMs: clocks.behind, ...(clocks.trouble !== undefined && { trouble: clocks.trouble }) },
      memory: { rss, heapUsed },
      ...(linesDropped !== undefined && { log: { dropped: linesDropped() } }),
    };
    if (status === 'unavailable') throw new HttpException(body, 503);
    return body;
  }
}
