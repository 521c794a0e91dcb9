import type {
  AllocationReleaseRequested,
  HostCordoned,
  HostFenced,
  HostRemovalRequested,
  HostReported,
  HostSeen,
  HostUse,
  LinkState,
  OnBusy,
  PfAccepted,
  PfCordoned,
  PfDriverLost,
  PfLinkChanged,
  PfReport,
  PfRestored,
  PfRestoreFailed,
  PfRestoreRequested,
  PfVirtualizationFailed,
  PfVirtualized,
  PfVirtualizeRequested,
  VfReport,
  VfScrubbed,
} from '#domain';
import {
  DifferIn,
  IsAllocationId,
  IsAnyWhole,
  IsFreeText,
  IsIdentifier,
  IsList,
  IsListOf,
  IsMac,
  IsObjectOf,
  IsOneOf,
  IsPciAddress,
  IsText,
  IsTime,
  IsWhole,
  IsYesOrNo,
  MayBeLeftOut,
} from './fields.js';

/** Limits of rules.md. */
const MAX_PFS = 64;
const MAX_VFS = 1024;

/** What a host says of a VF. Addresses come from the host and are never computed (PF-7). */
export class VfDto implements VfReport {
  @IsPciAddress() pciAddress!: string;
  @IsWhole(0, 65_535) index!: number;
  @MayBeLeftOut() @IsMac() mac?: string;
  @MayBeLeftOut() @IsWhole(0, 4095) vlan?: number;
  @MayBeLeftOut() @IsWhole(0) iommuGroup?: number;
  /** HOST-3: shares its IOMMU group with another device. */
  @MayBeLeftOut() @IsYesOrNo() iommuGroupShared?: boolean;
  /** HOST-3: what the host itself uses it for. */
  @MayBeLeftOut() @IsOneOf(['address', 'route', 'bond', 'bridge', 'other']) hostUse?: HostUse;
  @MayBeLeftOut() @IsText(64) boundDriver?: string;
  @MayBeLeftOut() @IsIdentifier() usedByVmId?: string;
  @MayBeLeftOut() @IsAllocationId() scrubbedFor?: string;
}

/** What a host says of a PF (PF-1). */
export class PfDto implements PfReport {
  @IsPciAddress() pciAddress!: string;
  @IsText(64) ifname!: string;
  @MayBeLeftOut() @IsText(256) model?: string;
  @MayBeLeftOut() @IsText(64) driver?: string;
  @MayBeLeftOut() @IsText(64) vendorId?: string;
  @MayBeLeftOut() @IsText(64) deviceId?: string;
  @MayBeLeftOut() @IsText(128) serial?: string;
  @MayBeLeftOut() @IsMac() permanentMac?: string;
  @MayBeLeftOut() @IsWhole(-1, 1023) numaNode?: number;
  @IsOneOf(['up', 'down']) link!: LinkState;
  @MayBeLeftOut() @IsWhole(0, 10_000_000) speedMbps?: number;
  /** 0: not virtualizable. */
  @IsWhole(0, 65_535) totalVfs!: number;
  /** Default: `ifname`. */
  @MayBeLeftOut() @IsText(64) physicalNetwork?: string;
  @MayBeLeftOut() @IsText(64) bond?: string;
  @IsListOf(() => VfDto, MAX_VFS)
  @DifferIn('pciAddress', (vf: VfDto) => vf.pciAddress)
  vfs!: VfDto[];
}

/** HOST-1: two facts. */
export class IommuDto {
  @IsYesOrNo() enabled!: boolean;
  @IsYesOrNo() ready!: boolean;
}

export class HostDto {
  @IsIdentifier() hostId!: string;
}

/** The whole inventory of a host. Reports have an order: `seq` grows within a boot (HOST-9). */
export class HostReportedDto extends HostDto implements HostReported {
  @IsText(128) bootId!: string;
  @IsWhole(0) seq!: number;
  @MayBeLeftOut() @IsTime() bootedAt?: string;
  @IsObjectOf(() => IommuDto) iommu!: IommuDto;
  @IsYesOrNo() interruptRemapping!: boolean;
  @MayBeLeftOut() @IsYesOrNo() unsafeInterruptsAllowed?: boolean;
  @MayBeLeftOut() @IsYesOrNo() scrubs?: boolean;
  @MayBeLeftOut() @IsList(10_000) @IsIdentifier(true) vms?: string[];
  @IsListOf(() => PfDto, MAX_PFS)
  @DifferIn('pciAddress', (pf: PfDto) => pf.pciAddress)
  pfs!: PfDto[];
}

/** Nothing changed since the report with that digest. */
export class HostSeenDto extends HostDto implements HostSeen {
  @IsText(128) bootId!: string;
  @IsWhole(0) seq!: number;
  @IsText(256) digest!: string;
}
/** HOST-6. */
export class HostCordonedDto extends HostDto implements HostCordoned {
  @IsYesOrNo() cordoned!: boolean;
}
/** HOST-5. */
export class HostFencedDto extends HostDto implements HostFenced {}
/** HOST-8. */
export class HostRemovalRequestedDto extends HostDto implements HostRemovalRequested {}

export class PfInputDto extends HostDto {
  @IsPciAddress() pf!: string;
}
/** PF-2, PF-3. A whole number outside 1..totalVfs is refused; anything else is not readable. */
export class PfVirtualizeRequestedDto extends PfInputDto implements PfVirtualizeRequested {
  @IsAnyWhole() numVfs!: number;
}
export class PfVirtualizedDto extends PfInputDto implements PfVirtualized {
  @IsListOf(() => VfDto, MAX_VFS)
  @DifferIn('pciAddress', (vf: VfDto) => vf.pciAddress)
  vfs!: VfDto[];
}
/** PF-15. */
export class PfVirtualizationFailedDto extends PfInputDto implements PfVirtualizationFailed {
  @IsFreeText() reason!: string;
  @MayBeLeftOut() @IsAnyWhole() numVfs?: number;
}
/** PF-4. */
export class PfRestoreRequestedDto extends PfInputDto implements PfRestoreRequested {
  @MayBeLeftOut() @IsOneOf(['unload', 'reject']) onBusy?: OnBusy;
}
export class PfRestoredDto extends PfInputDto implements PfRestored {}
/** PF-15. */
export class PfRestoreFailedDto extends PfInputDto implements PfRestoreFailed {
  @IsFreeText() reason!: string;
}
/** PF-6. */
export class PfDriverLostDto extends PfInputDto implements PfDriverLost {}
/** PF-13. */
export class PfLinkChangedDto extends PfInputDto implements PfLinkChanged {
  @IsOneOf(['up', 'down']) link!: LinkState;
}
/** HOST-6. */
export class PfCordonedDto extends PfInputDto implements PfCordoned {
  @IsYesOrNo() cordoned!: boolean;
}
/** PF-9. */
export class PfAcceptedDto extends PfInputDto implements PfAccepted {}
/** SCRUB-1, SCRUB-2. */
export class VfScrubbedDto extends HostDto implements VfScrubbed {
  @IsPciAddress() vf!: string;
  @IsAllocationId() allocationId!: string;
  @IsYesOrNo() clean!: boolean;
  @MayBeLeftOut() @IsFreeText() detail?: string;
}
/** VM-17: an operator ends a lost allocation. */
export class AllocationReleaseRequestedDto extends HostDto implements AllocationReleaseRequested {
  @IsAllocationId() allocationId!: string;
  @IsFreeText() reason!: string;
}
