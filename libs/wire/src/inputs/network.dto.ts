import type {
  ClusterPolicyChanged,
  HardwareLimit,
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
  IsList,
  IsListOf,
  IsObjectOf,
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

/** Guest systems with which the VFs of some hardware are unreliable (PF-12). */
export class GuestLimitDto {
  /** Parts of `guestOs`, with a space before: of a word that begins so; case does not matter. */
  @IsList(32) @IsText(64, true) match!: string[];
  @IsText(512) warning!: string;
}
/** PF-12: what a person is told of some hardware. */
export class HardwareLimitDto implements HardwareLimit {
  /** Part of the PF's model, driver or ids (`vendorId:deviceId`); case does not matter. */
  @IsText(128) match!: string;
  /** Said when such a PF is split. */
  @MayBeLeftOut() @IsText(512) onSplit?: string;
  @MayBeLeftOut() @IsObjectOf(() => GuestLimitDto) guests?: GuestLimitDto;
}

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
  /** PF-12: limits of hardware, before those that are known anyway. The whole list is replaced. */
  @MayBeLeftOut() @IsListOf(() => HardwareLimitDto, 100) hardwareLimits?: HardwareLimitDto[];
}

/** The leader's own clock. */
export class TickDto {}
