/** The stable codes of wire.md: why a request was refused (OUT-2). */
export const REFUSAL_CODES = [
  'VF_EXHAUSTED',
  'HOST_UNKNOWN',
  'HOST_NOT_READY',
  'HOST_LOST',
  'HOST_CORDONED',
  'HOST_IN_USE',
  'PF_UNKNOWN',
  'PF_NOT_VIRTUALIZABLE',
  'PF_NOT_VIRTUALIZED',
  'PF_ALREADY_VIRTUALIZED',
  'PF_BUSY',
  'PF_LINK_DOWN',
  'PF_CORDONED',
  'PF_RESTORING',
  'PF_LOST',
  'PF_IDENTITY_CHANGED',
  'PF_IN_BOND',
  'VF_COUNT_OUT_OF_RANGE',
  'VF_NOT_FREE',
  'NETWORK_UNKNOWN',
  'NETWORK_IN_USE',
  'NETWORK_SRIOV_DISABLED',
  'NETWORK_TYPE_UNSUPPORTED',
  'SERVICE_UNSUPPORTED_ON_VF',
  'VM_UNKNOWN',
  'VM_RUNNING',
  'VM_RUNNING_ELSEWHERE',
  'VM_HOLDS_VFS',
  'NIC_UNKNOWN',
  'NIC_EXISTS',
  'MAC_IN_USE',
  'QUOTA_EXCEEDED',
  'SEPARATE_PFS_IMPOSSIBLE',
  'GENERATION_STALE',
  'ALLOCATION_UNKNOWN',
] as const;

export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** Why a PF cannot serve a start now. */
export type Obstacle =
  | 'VF_EXHAUSTED'
  | 'PF_CORDONED'
  | 'PF_LINK_DOWN'
  | 'PF_BUSY'
  | 'PF_RESTORING'
  | 'PF_LOST'
  | 'PF_IDENTITY_CHANGED'
  | 'HOST_CORDONED'
  | 'HOST_NOT_READY'
  | 'HOST_LOST'
  | 'PF_NOT_VIRTUALIZED'
  | 'PF_NOT_VIRTUALIZABLE';

/**
 * Obstacles from the nearest miss to the farthest: a PF that is split and only waits for something is nearer
 * than one that an operator must split first. A host's own reason is that of its nearest PF, so a start that
 * only a lost PF could serve fails with `PF_LOST`, whatever other ports the host has.
 */
export const OBSTACLES_BY_NEARNESS: readonly Obstacle[] = [
  'VF_EXHAUSTED',
  'PF_CORDONED',
  'PF_LINK_DOWN',
  'PF_BUSY',
  'PF_RESTORING',
  'PF_LOST',
  'PF_IDENTITY_CHANGED',
  'HOST_CORDONED',
  'HOST_NOT_READY',
  'HOST_LOST',
  'PF_NOT_VIRTUALIZED',
  'PF_NOT_VIRTUALIZABLE',
];
