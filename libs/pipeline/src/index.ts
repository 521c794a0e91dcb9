export {
  Allocator,
  DEFAULT_CLUSTER,
  type AllocatorOptions,
  type ClusterStatus,
  type InputBatch,
} from './allocator.js';
export { systemClock, type Clock } from './clock.js';
export { ClusterLeader, type LeaderOptions, type LeaderStatus } from './cluster-leader.js';
export { PipelineError, type PipelineErrorCode } from './errors.js';
export { loadState, type Loaded } from './load.js';
export { silentLogger, type Logger } from './logger.js';
export { hesitation, nextMove, type Move } from './spread.js';
export { Standby, type StandbyOptions, type StandbyStatus } from './standby.js';
export { firstBadOutput, type BadOutput } from './output-check.js';
export { messageOf, placedEvent, sealDecision, type SealedDecision } from './seal.js';
export { isNamedBy, markOf } from './snapshot-mark.js';
