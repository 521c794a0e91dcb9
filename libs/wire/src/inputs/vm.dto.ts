import type {
  AdoptedNic,
  MigrationKind,
  NicSpec,
  NicType,
  OnExhaustion,
  Strategy,
  VmAdopted,
  VmDestroyed,
  VmMigrated,
  VmMigrationRequested,
  VmNicAttachRequested,
  VmNicDetachRequested,
  VmNicTypeChangeRequested,
  VmRebooted,
  VmStartAborted,
  VmStarted,
  VmStartRequested,
  VmStopped,
} from '#domain';
import {
  DifferIn,
  IsAnyObject,
  IsFreeText,
  IsGuestSlot,
  IsIdentifier,
  IsList,
  IsListOf,
  IsObjectOf,
  IsOneOf,
  IsPciAddress,
  IsText,
  IsUnicastMac,
  IsWhole,
  IsYesOrNo,
  MayBeLeftOut,
  all,
  guestAddress,
} from './fields.js';

/** Limits of rules.md. */
const MAX_NICS = 64;
const MAX_NAMED_HOSTS = 10_000;

/** A NIC as a control plane asks for it. */
export class NicDto implements NicSpec {
  @IsIdentifier() nicId!: string;
  @MayBeLeftOut() @IsOneOf(['vf', 'vnic']) type?: NicType;
  /** An L3 network's id. */
  @MayBeLeftOut() @IsIdentifier() networkId?: string;
  @MayBeLeftOut() @IsText(64) physicalNetwork?: string;
  @MayBeLeftOut() @IsOneOf(['fail', 'fallback']) onExhaustion?: OnExhaustion;
  @MayBeLeftOut() @IsUnicastMac() mac?: string;
  @MayBeLeftOut() @IsGuestSlot() guestSlot?: number | string;
  @MayBeLeftOut() @IsList(64) @IsIdentifier(true) securityGroups?: string[];
  @MayBeLeftOut() @IsText(128) elasticIp?: string;
  @MayBeLeftOut() @IsAnyObject() qos?: Record<string, unknown>;
}

/** The NICs of a VM that is to start. */
export const AreNics = (): PropertyDecorator =>
  all(
    IsListOf(() => NicDto, MAX_NICS),
    DifferIn('nicId', (nic: NicDto) => nic.nicId),
    DifferIn('guestSlot', (nic: NicDto) => guestAddress(nic.guestSlot)),
  );

/** The hosts among which a VM may start. */
export const AreHosts = (): PropertyDecorator => all(IsList(MAX_NAMED_HOSTS), IsIdentifier(true));

/** What every VM input has. */
export class VmDto {
  @IsIdentifier() vmId!: string;
  /** VM-13: never goes back; a stale request is refused, a stale fact ignored. */
  @MayBeLeftOut() @IsWhole(0) generation?: number;
}

/** VM-1: takes a VF for each VF NIC. `hostId` pins the host, `hosts` names candidates, neither: any host. */
export class VmStartRequestedDto extends VmDto implements VmStartRequested {
  @MayBeLeftOut() @IsIdentifier() hostId?: string;
  @MayBeLeftOut() @AreHosts() hosts?: string[];
  /** Left out on a restart: those last known (VM-4). */
  @MayBeLeftOut() @AreNics() nics?: NicDto[];
  @MayBeLeftOut() @IsIdentifier() tenant?: string;
  @MayBeLeftOut() @IsOneOf(['pack', 'spread']) strategy?: Strategy;
  /** OUT-6: each VF from another PF. */
  @MayBeLeftOut() @IsYesOrNo() separatePfs?: boolean;
  @MayBeLeftOut() @IsWhole(0, 1023) numaNode?: number;
  @MayBeLeftOut() @IsText(128) guestOs?: string;
}

export class VmStartedDto extends VmDto implements VmStarted {
  @MayBeLeftOut() @IsIdentifier() hostId?: string;
  /** The boot of the host in which it started (HOST-4). */
  @MayBeLeftOut() @IsText(128) bootId?: string;
}

/** VM-3: releases all its VFs. */
export class VmStoppedDto extends VmDto implements VmStopped {
  @MayBeLeftOut() @IsFreeText() reason?: string;
}
export class VmStartAbortedDto extends VmStoppedDto implements VmStartAborted {}
export class VmDestroyedDto extends VmDto implements VmDestroyed {}
/** VM-5: releases nothing. */
export class VmRebootedDto extends VmDto implements VmRebooted {}
/** VM-14. */
export class VmMigratedDto extends VmDto implements VmMigrated {
  @IsIdentifier() hostId!: string;
}

export class AdoptedNicDto implements AdoptedNic {
  @IsIdentifier() nicId!: string;
  @IsPciAddress() vf!: string;
  @IsUnicastMac() mac!: string;
  @MayBeLeftOut() @IsIdentifier() networkId?: string;
}
/** VM-19: becomes the holder of exactly these VFs, or is refused as a whole. */
export class VmAdoptedDto extends VmDto implements VmAdopted {
  @IsIdentifier() hostId!: string;
  @IsListOf(() => AdoptedNicDto, MAX_NICS)
  @DifferIn('nicId', (nic: AdoptedNicDto) => nic.nicId)
  @DifferIn('vf', (nic: AdoptedNicDto) => nic.vf)
  nics!: AdoptedNicDto[];
  @MayBeLeftOut() @IsIdentifier() tenant?: string;
}

/** VM-6. */
export class VmNicAttachRequestedDto extends VmDto implements VmNicAttachRequested {
  @IsObjectOf(() => NicDto) nic!: NicDto;
}
/** VM-7. */
export class VmNicDetachRequestedDto extends VmDto implements VmNicDetachRequested {
  @IsIdentifier() nicId!: string;
}
/** VM-8. */
export class VmNicTypeChangeRequestedDto extends VmDto implements VmNicTypeChangeRequested {
  @IsIdentifier() nicId!: string;
  @IsOneOf(['vf', 'vnic']) type!: NicType;
}
/** VM-9. */
export class VmMigrationRequestedDto extends VmDto implements VmMigrationRequested {
  @IsOneOf(['live', 'storage', 'cold']) kind!: MigrationKind;
  @MayBeLeftOut() @IsIdentifier() targetHostId?: string;
}
