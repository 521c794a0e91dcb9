export { refuseOtherHosts } from './allowed-hosts.js';
export { ApiModule } from './api.module.js';
export type { ApiParts } from './api-parts.js';
export { checkBody } from './body-check.js';
export { refuseOtherSites } from './other-sites.js';
export { answerQuery } from './queries.js';
export { QueryError, type QueryErrorCode } from './query-errors.js';
export { QueryResponder } from './query-responder.js';
export { openApiDocument } from './openapi.js';
