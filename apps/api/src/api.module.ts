import { Module, type DynamicModule } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { API_PARTS } from './parts.js';
import { QueryController } from './query.controller.js';
import { QueryResponder } from './query-responder.js';
import type { ApiParts } from './queries.js';

/** Queries over NATS and HTTP, and the process's health. */
@Module({})
export class ApiModule {
  static with(parts: ApiParts): DynamicModule {
    return {
      module: ApiModule,
      controllers: [HealthController, QueryController],
      providers: [{ provide: API_PARTS, useValue: parts }, QueryResponder],
    };
  }
}
