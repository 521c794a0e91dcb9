export { refuseOtherHosts } from './allowed-hosts.js';
export { ApiModule } from './api.module.js';
export type { ApiParts } from './api-parts.js';
export { answerQuery } from './queries.js';
export { QueryError, type QueryErrorCode } from './query-errors.js';
export { QueryResponder } from './query-responder.js';
export { openApiDocument } from './openapi.js';
export { signedHeadsOf } from './signed-heads.js';
