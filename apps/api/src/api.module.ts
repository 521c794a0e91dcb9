import { Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { CommandController } from './command.controller.js';
import { EventsController } from './events.controller.js';
import { HealthController } from './health.controller.js';
import { API_PARTS } from './parts.js';
import { OpenApiController } from './openapi.controller.js';
import { ProblemFilter } from './problem.js';
import { QueryController } from './query.controller.js';
import { QueryResponder } from './query-responder.js';
import { WrongMethodController } from './wrong-method.controller.js';
import type { ApiParts } from './api-parts.js';

/** Queries over NATS and HTTP, commands and live events over HTTP, and the process's health. */
@Module({})
export class ApiModule {
  static with(parts: ApiParts): DynamicModule {
    return {
      module: ApiModule,
      // `events` goes before the queries, whose names are open; what is left over goes last.
      controllers: [
        HealthController,
        OpenApiController,
        EventsController,
        CommandController,
        QueryController,
        WrongMethodController,
      ],
      providers: [
        { provide: API_PARTS, useValue: parts },
        { provide: APP_FILTER, useClass: ProblemFilter },
        QueryResponder,
      ],
    };
  }
}
