export { refuseOtherHosts } from './allowed-hosts.js';
export { ApiModule } from './api.module.js';
export { answerQuery, QueryError, type ApiParts, type QueryErrorCode } from './queries.js';
export { QueryResponder } from './query-responder.js';
export { openApiDocument } from './openapi.js';
