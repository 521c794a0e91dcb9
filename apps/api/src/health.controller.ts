import { Controller, Get, HttpException, Inject } from '@nestjs/common';
import { API_PARTS } from './parts.js';
import type { ApiParts } from './api-parts.js';

/**
 * For whoever watches the process: live while it answers, ready while it leads or stands by for each cluster
 * and NATS is there.
 */
@Controller('health')
export class HealthController {
  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  @Get('live')
  live(): object {
    return { status: 'ok' };
  }

  @Get('ready')
  ready(): object {
    const clusters = Object.fromEntries(this.parts.allocator.status);
    const { connected } = this.parts.broker;
    const settled = Object.values(clusters).every(
      (cluster) => (cluster.role === 'standby' || cluster.role === 'leader') && cluster.trouble === undefined,
    );
    const ok = connected && settled && Object.keys(clusters).length > 0;
    const { rss, heapUsed } = process.memoryUsage();
    const body = {
      status: ok ? 'ok' : 'unavailable',
      instance: this.parts.allocator.instance,
      nats: connected ? 'connected' : 'disconnected',
      clusters,
      // The write side serves without it: here is why a query has no answer.
      readSide: Object.fromEntries(this.parts.readModel.status),
      memory: { rss, heapUsed },
    };
    if (!ok) throw new HttpException(body, 503);
    return body;
  }
}
