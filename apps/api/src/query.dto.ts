import {
  AreHosts,
  AreNics,
  IsAnyObject,
  IsEventId,
  IsIdentifier,
  IsList,
  IsListOf,
  IsMac,
  IsMoment,
  IsOneOf,
  IsPciAddress,
  IsPosition,
  IsText,
  IsTime,
  IsWhole,
  IsYesOrNo,
  matching,
  MayBeLeftOut,
  type NicDto,
} from '#wire';

/** Most things on a page. */
const MOST = 1000;

const IsCursor = (): PropertyDecorator =>
  matching('isCursor', /^[A-Za-z0-9_-]{1,400}$/, '$property must be one that a page ended with');

const AN_EVENT_TYPE = /^[A-Za-z0-9]{1,64}$/;
const IsTypeName = (each = false): PropertyDecorator =>
  matching('isTypeName', AN_EVENT_TYPE, '$property must be the type of an event', each);

/** Every query may ask for an answer that is at least as new as a position. */
export class AnyQuery {
  @MayBeLeftOut() @IsPosition() atLeast?: string;
}

/** Asks for what was true at a position or a time. */
export class TemporalQuery extends AnyQuery {
  @MayBeLeftOut() @IsMoment() at?: string;
}

/** A page of a list. */
export class ListQuery extends TemporalQuery {
  @MayBeLeftOut() @IsWhole(1, MOST) limit?: number;
  @MayBeLeftOut() @IsCursor() cursor?: string;
}

/** VFs by PF: of the fleet, a host or a network. */
export class AvailabilityQuery extends TemporalQuery {
  @MayBeLeftOut() @IsIdentifier() hostId?: string;
  @MayBeLeftOut() @IsText(64) physicalNetwork?: string;
  @MayBeLeftOut() @IsIdentifier() networkId?: string;
  /** Counts only, without the PFs. */
  @MayBeLeftOut() @IsYesOrNo() summary?: boolean;
}
export class VmQuery extends TemporalQuery {
  @IsIdentifier() vmId!: string;
}
export class VfQuery extends TemporalQuery {
  @IsIdentifier() hostId!: string;
  @IsPciAddress() vf!: string;
}
export class HostQuery extends TemporalQuery {
  @IsIdentifier() hostId!: string;
}
export class HostsQuery extends ListQuery {
  @MayBeLeftOut() @IsOneOf(['ready', 'not-ready', 'cordoned', 'lost', 'fenced']) state?: string;
}
export class VmsQuery extends ListQuery {
  @MayBeLeftOut() @IsIdentifier() hostId?: string;
  @MayBeLeftOut() @IsIdentifier() tenant?: string;
  @MayBeLeftOut() @IsOneOf(['pending', 'running', 'stopped']) state?: string;
}
export class VfsQuery extends ListQuery {
  @IsIdentifier() hostId!: string;
  @MayBeLeftOut() @IsPciAddress() pf?: string;
  @MayBeLeftOut()
  @IsOneOf(['free', 'pending', 'allocated', 'scrubbing', 'quarantined', 'unavailable', 'unknown'])
  state?: string;
}
export class NetworksQuery extends ListQuery {
  @MayBeLeftOut() @IsIdentifier() id?: string;
}
export class PolicyQuery extends TemporalQuery {}

/** Where a VM could start. */
export class CandidatesQuery extends TemporalQuery {
  @MayBeLeftOut() @AreNics() nics?: NicDto[];
  /** A VM that is known: its NICs are used where none are named. */
  @MayBeLeftOut() @IsIdentifier() vmId?: string;
  @MayBeLeftOut() @AreHosts() hosts?: string[];
  @MayBeLeftOut() @IsOneOf(['pack', 'spread']) strategy?: 'pack' | 'spread';
  @MayBeLeftOut() @IsYesOrNo() separatePfs?: boolean;
  @MayBeLeftOut() @IsWhole(0, 1023) numaNode?: number;
  @MayBeLeftOut() @IsIdentifier() tenant?: string;
  @MayBeLeftOut() @IsWhole(1, MOST) limit?: number;
}
/** Who would lose a NIC if the PF were restored. */
export class RestoreImpactQuery extends TemporalQuery {
  @IsIdentifier() hostId!: string;
  @IsPciAddress() pf!: string;
  /** As the order would say it; left out, the policy decides. */
  @MayBeLeftOut() @IsOneOf(['unload', 'reject']) onBusy?: 'unload' | 'reject';
}
/** An input that nobody sends. */
export class PlannedInputDto {
  @IsTypeName() type!: string;
  @IsAnyObject() data!: Record<string, unknown>;
  @MayBeLeftOut() @IsEventId() id?: string;
}
/** What inputs would lead to. */
export class PlanQuery extends TemporalQuery {
  @IsListOf(() => PlannedInputDto, 1000) inputs!: PlannedInputDto[];
}

/** What a request led to, by its CloudEvent id. */
export class OutcomeQuery extends AnyQuery {
  @IsEventId() id!: string;
}
/** Why a request led to what it led to, and whether it would again. */
export class ExplainQuery extends AnyQuery {
  @IsEventId() id!: string;
}
/** The events about something. */
export class HistoryQuery extends AnyQuery {
  @MayBeLeftOut() @IsIdentifier() vmId?: string;
  @MayBeLeftOut() @IsIdentifier() hostId?: string;
  @MayBeLeftOut() @IsPciAddress() pf?: string;
  @MayBeLeftOut() @IsPciAddress() vf?: string;
  @MayBeLeftOut() @IsMac() mac?: string;
  @MayBeLeftOut() @IsIdentifier() tenant?: string;
  @MayBeLeftOut() @IsMoment() from?: string;
  @MayBeLeftOut() @IsMoment() to?: string;
  @MayBeLeftOut() @IsList(256) @IsTypeName(true) types?: string[];
  @MayBeLeftOut() @IsWhole(1, MOST) limit?: number;
  @MayBeLeftOut() @IsCursor() cursor?: string;
  /** With the chain of causes of each event. */
  @MayBeLeftOut() @IsYesOrNo() causes?: boolean;
}
/** Every holder that a VF ever had. */
export class TenantsQuery extends TemporalQuery {
  @IsIdentifier() hostId!: string;
  @IsPciAddress() vf!: string;
}
/** VF-seconds in a period. */
export class UsageQuery extends AnyQuery {
  @IsTime() from!: string;
  @IsTime() to!: string;
  @IsOneOf(['vm', 'tenant', 'pf']) by!: 'vm' | 'tenant' | 'pf';
}
/** The hash chain, the state, `VF_OUT` and the last signed head, checked. */
export class VerifyQuery extends AnyQuery {}
