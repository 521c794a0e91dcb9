export { ReadError, type ReadErrorCode } from './errors.js';
export type { Answered, At, Question } from './protocol.js';
export { ReadModel, type ReadLogger, type ReadModelOptions, type ReadStatus } from './read-model.js';
export { decisionAt, recordAt, recordsAt } from './records.js';
export type { RestoredState } from './state-desk.js';
export { sameJson, type CandidatesRequest, type PlannedInput, type StoredDecision } from './what-if.js';
