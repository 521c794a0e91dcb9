import { Controller, Get } from '@nestjs/common';
import { readFileSync } from 'node:fs';
import { openApiDocument } from './openapi.js';

/** The version of this package, from the nearest package.json above. */
export function packageVersion(): string {
  for (let directory = new URL('.', import.meta.url); ; directory = new URL('..', directory)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL('package.json', directory), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (name === 'vf-scheduler' && version !== undefined) return version;
    } catch {
      // Not here.
    }
    if (directory.pathname === '/') return '0.0.0';
  }
}

/** What there is over HTTP, for programs. */
@Controller()
export class OpenApiController {
  private readonly document = openApiDocument(packageVersion());

  @Get('openapi.json')
  openApi(): object {
    return this.document;
  }
}
