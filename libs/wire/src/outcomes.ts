import type { EventType, InputType } from '#domain';

/** Inputs that ask for a decision. */
export type RequestType = Extract<InputType, `${string}Requested`> | 'L2NetworkDefined' | 'L3NetworkDefined';

/** The two outcomes of each request: granted, and refused (wire.md). */
export const OUTCOMES = {
  VmStartRequested: ['VmStartAccepted', 'VmStartFailed'],
  VmNicAttachRequested: ['VmNicAttached', 'VmNicAttachFailed'],
  VmNicDetachRequested: ['VmNicDetached', 'VmNicDetachFailed'],
  VmNicTypeChangeRequested: ['VmNicTypeChanged', 'VmNicTypeChangeRejected'],
  VmMigrationRequested: ['VmMigrationAllowed', 'VmMigrationRejected'],
  HostRemovalRequested: ['HostRemoved', 'HostRemovalRejected'],
  PfVirtualizeRequested: ['PfVirtualizationOrdered', 'PfVirtualizationRejected'],
  PfRestoreRequested: ['PfRestoreOrdered', 'PfRestoreRejected'],
  AllocationReleaseRequested: ['AllocationReleaseDone', 'AllocationReleaseRejected'],
  L2NetworkDefined: ['L2NetworkAccepted', 'L2NetworkRejected'],
  L3NetworkDefined: ['L3NetworkAccepted', 'L3NetworkRejected'],
  NetworkRemovalRequested: ['NetworkRemoved', 'NetworkRemovalRejected'],
} as const satisfies { readonly [T in RequestType]: readonly [granted: EventType, refused: EventType] };

const ALL: ReadonlySet<string> = new Set(Object.values(OUTCOMES).flat());

/** Whether an event is the outcome of a request. */
export const isOutcome = (type: string): boolean => ALL.has(type);

/** Whether an input is a request, which has exactly one outcome; else it is a fact. */
export const isRequest = (type: string): type is RequestType => Object.hasOwn(OUTCOMES, type);

/** Inputs that may leave no event (EX-6). */
export const MAY_LEAVE_NOTHING: ReadonlySet<string> = new Set<InputType>([
  'HostReported',
  'HostSeen',
  'Tick',
]);
