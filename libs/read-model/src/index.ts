export { ReadError, type ReadErrorCode } from './errors.js';
export { EVENT_TYPES } from './projections.js';
export type { Answered, At, Question } from './protocol.js';
export type { ReadLogger, ReadStatus } from './progress.js';
export { ReadModel, type ReadModelOptions } from './read-model.js';
export { decisionAt, recordAt, recordsAt } from './records.js';
export type { RestoredState } from './state-desk.js';
export { sameJson, type CandidatesRequest, type PlannedInput, type StoredDecision } from './what-if.js';
