import { Controller, Get, Inject, Param, Query, Req, Res, type OnModuleDestroy } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { NatsBroker } from '#broker';
import { isIdentifier, NO_CLUSTER } from '#wire';
import { EventStreams } from './event-stream.js';
import { API_PARTS } from './parts.js';
import { Problem } from './problem.js';
import type { ApiParts } from './api-parts.js';

const PARAMETERS = ['after', 'vmId', 'hostId', 'type'];

/** The events of a cluster as they are decided, over server-sent events. */
@Controller('v1/clusters/:cluster/events')
export class EventsController implements OnModuleDestroy {
  readonly streams: EventStreams;

  constructor(@Inject(API_PARTS) parts: ApiParts) {
    this.streams = new EventStreams((parts.broker as NatsBroker).link);
  }

  @Get()
  async events(
    @Param('cluster') cluster: string,
    @Query() query: Record<string, unknown>,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    if (!isIdentifier(cluster) || cluster === NO_CLUSTER)
      throw new Problem(404, 'CLUSTER_UNKNOWN', `'${cluster}' is not a cluster name`);
    for (const name of Object.keys(query)) {
      if (!PARAMETERS.includes(name))
        throw new Problem(400, 'BAD_REQUEST', `there is no '${name}'; there are ${PARAMETERS.join(', ')}`);
    }
    const types = listOf(query['type']);
    const filter = {
      vmId: identifier('vmId', query['vmId']),
      hostId: identifier('hostId', query['hostId']),
      ...(types && { types }),
    };
    // What the browser sends by itself when it connects again goes before what stood in the address.
    const after = positionOf(request.get('last-event-id') ?? query['after']);
    await this.streams.serve(cluster, after, filter, response);
  }

  onModuleDestroy(): Promise<void> {
    return this.streams.close();
  }
}

function positionOf(said: unknown): number | undefined {
  if (said === undefined || said === '') return undefined;
  if (typeof said === 'string' && /^\d{1,15}$/.test(said)) return Number(said);
  throw new Problem(400, 'BAD_REQUEST', 'Last-Event-ID (or after) must be a position: digits');
}

function identifier(name: string, said: unknown): string | undefined {
  if (said === undefined) return undefined;
  if (typeof said === 'string' && isIdentifier(said)) return said;
  throw new Problem(400, 'BAD_REQUEST', `${name} must be 1 to 64 of A-Z a-z 0-9 _ -`);
}

/** `type=A&type=B`, or `type=A,B`. */
function listOf(said: unknown): readonly string[] | undefined {
  if (said === undefined) return undefined;
  const types = (Array.isArray(said) ? said : [said]).flatMap((one) => String(one).split(','));
  if (types.length <= 64 && types.every((type) => /^[A-Za-z]{1,64}$/.test(type))) return types;
  throw new Problem(400, 'BAD_REQUEST', 'type must name events, such as VfAllocated');
}
