export { MAX_INPUT_BYTES, readCloudEvent, type IncomingEvent, type OutgoingEvent } from './cloud-event.js';
export { EVENT_ID, IDENTIFIER, PCI_ADDRESS } from './formats.js';
export { INPUT_CATALOG, isInputType, type InputEntry } from './inputs/catalog.js';
export { DataChecker } from './inputs/data-checker.js';
export {
  IsAnyObject,
  IsEventId,
  IsIdentifier,
  IsList,
  IsListOf,
  IsMac,
  IsMoment,
  IsOneOf,
  isPosition,
  IsPciAddress,
  IsPosition,
  IsText,
  IsTime,
  IsWhole,
  IsYesOrNo,
  matching,
  MayBeLeftOut,
} from './inputs/fields.js';
export * from './inputs/host.dto.js';
export * from './inputs/network.dto.js';
export * from './inputs/vm.dto.js';
export { tooDeep } from './json-depth.js';
export { isOutcome, isRequest, MAY_LEAVE_NOTHING, OUTCOMES, type RequestType } from './outcomes.js';
export { packageVersion } from './package-version.js';
export { readPciAddress } from './pci-address.js';
export {
  deadCluster,
  isReadable,
  readInput,
  type RawInput,
  type ReadInput,
  type UnreadableInput,
} from './read-input.js';
export * from './subjects.js';
export { subjectOf, writeEvent, type RelayedRecord } from './write-event.js';
export * from './settings.js';
export { asyncApiDocument, type AsyncApiParts, type DocumentedEvent } from './contract/asyncapi.js';
export { dataSchema, type Comments } from './contract/data-schema.js';
export { inputSchema, outputSchema } from './contract/event-schema.js';
export type { JsonSchema } from './contract/json-schema.js';
export { readHardwareLimits } from './hardware-limits-file.js';
