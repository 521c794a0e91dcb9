import type {
  ClusterPolicyChanged,
  L2NetworkDefined,
  L2Type,
  L3Kind,
  L3NetworkDefined,
  NetworkRemovalRequested,
  OnBusy,
  Strategy,
} from '#domain';
import {
  IsCountByIdentifier,
  IsIdentifier,
  IsOneOf,
  IsText,
  IsWhole,
  IsYesOrNo,
  MayBeLeftOut,
} from './fields.js';

/** NET-1. */
export class L2NetworkDefinedDto implements L2NetworkDefined {
  @IsIdentifier() l2Id!: string;
  @IsOneOf(['L2NoVlanNetwork', 'L2VlanNetwork', 'VxlanNetwork']) type!: L2Type;
  /** NET-3: the physical network or bond of the PFs that serve it. */
  @IsText(64) physicalInterface!: string;
  @MayBeLeftOut() @IsWhole(1, 4094) vlanId?: number;
  @IsYesOrNo() sriov!: boolean;
}
/** NET-2. A NIC's `networkId` is an `l3Id`. */
export class L3NetworkDefinedDto implements L3NetworkDefined {
  @IsIdentifier() l3Id!: string;
  @IsIdentifier() l2Id!: string;
  @IsOneOf(['public', 'flat', 'vrouter', 'vpc']) kind!: L3Kind;
  @IsYesOrNo() sriov!: boolean;
}
/** NET-8. */
export class NetworkRemovalRequestedDto implements NetworkRemovalRequested {
  @IsIdentifier() id!: string;
}

/** A year: longer waits are mistakes. */
const MAX_SECONDS = 31_536_000;

/** What is left out stays as it is. */
export class ClusterPolicyChangedDto implements ClusterPolicyChanged {
  @MayBeLeftOut() @IsOneOf(['unload', 'reject']) restoreOnBusy?: OnBusy;
  @MayBeLeftOut() @IsOneOf(['warn', 'reject']) bond?: 'warn' | 'reject';
  @MayBeLeftOut() @IsYesOrNo() promotion?: boolean;
  @MayBeLeftOut() @IsWhole(1, MAX_SECONDS) startTimeoutSeconds?: number;
  @MayBeLeftOut() @IsWhole(1, MAX_SECONDS) scrubTimeoutSeconds?: number;
  @MayBeLeftOut() @IsWhole(1, MAX_SECONDS) hostTimeoutSeconds?: number;
  @MayBeLeftOut() @IsOneOf(['pack', 'spread']) strategy?: Strategy;
  /** VFs that a tenant may hold, by tenant. The whole table is replaced. */
  @MayBeLeftOut() @IsCountByIdentifier(10_000) quotas?: Record<string, number>;
}

/** The leader's own clock. */
export class TickDto {}
