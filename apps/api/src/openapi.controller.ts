import { Controller, Get } from '@nestjs/common';
import { packageVersion } from '#wire';
import { openApiDocument } from './openapi.js';

/** What there is over HTTP, for programs. */
@Controller()
export class OpenApiController {
  private readonly document = openApiDocument(packageVersion());

  @Get('openapi.json')
  openApi(): object {
    return this.document;
  }
}
