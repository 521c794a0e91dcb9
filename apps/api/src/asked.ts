import type { ApiParts } from './api-parts.js';

/** What a query was asked, as it came. */
export type QueryRequest = Readonly<Record<string, unknown>>;

/** What a query needs to be answered. */
export interface Asked<Request = QueryRequest> {
  readonly parts: ApiParts;
  readonly cluster: string;
  readonly request: Request;
}
