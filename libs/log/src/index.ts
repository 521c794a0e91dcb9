export * from './canonical-json.js';
export * from './chain.js';
export * from './copy.js';
export * from './deadline.js';
export * from './errors.js';
export * from './event-log.js';
export {
  checkExport,
  exportLog,
  isSignedBy,
  readSignedHead,
  signedHeadLine,
  signHead,
  type ExportCheck,
  type ExportManifest,
  type SignedHead,
} from './export.js';
export * from './jetstream/jetstream-log.js';
export * from './memory-log.js';
export { Pace } from './pace.js';
export { stepBack } from './priority.js';
export * from './record.js';
export * from './said-trouble.js';
export * from './sqlite-log.js';
export * from './verify.js';
