import 'reflect-metadata';
import { IsOptional, Matches } from 'class-validator';
import {
  EVENT_ID,
  IDENTIFIER,
  IsAnyObject,
  IsListOf,
  IsOneOf,
  IsWhole,
  IsYesOrNo,
  NicDto,
  PCI_ADDRESS,
} from '#wire';

const POSITION = /^\d{1,15}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;
const MOMENT = new RegExp(`${POSITION.source}|${TIME.source}`);
const MOMENT_MESSAGE = { message: '$property must be a position (digits) or a time (RFC 3339)' };
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
/** Most things on a page. */
const MOST = 1000;

/** Whether a text is a position, and not a time. */
export const isPosition = (text: string): boolean => POSITION.test(text);

/** Every query may ask for an answer that is at least as new as a position. */
export class AnyQuery {
  @IsOptional() @Matches(POSITION, { message: '$property must be a position: digits' }) atLeast?: string;
}

/** Asks for what was true at a position or a time. */
export class TemporalQuery extends AnyQuery {
  @IsOptional() @Matches(MOMENT, MOMENT_MESSAGE) at?: string;
}

/** A page of a list. */
export class ListQuery extends TemporalQuery {
  @IsOptional() @IsWhole(1, MOST) limit?: number;
  @IsOptional()
  @Matches(/^[A-Za-z0-9_-]{1,400}$/, { message: '$property must be one that a page ended with' })
  cursor?: string;
}

/** VFs by PF: of the fleet, a host or a network. */
export class AvailabilityQuery extends TemporalQuery {
  @IsOptional() @Matches(IDENTIFIER) hostId?: string;
  @IsOptional() @Matches(/^.{1,64}$/) physicalNetwork?: string;
  @IsOptional() @Matches(IDENTIFIER) networkId?: string;
  /** Counts only, without the PFs. */
  @IsOptional() @IsYesOrNo() summary?: boolean;
}
export class VmQuery extends TemporalQuery {
  @Matches(IDENTIFIER) vmId!: string;
}
export class VfQuery extends TemporalQuery {
  @Matches(IDENTIFIER) hostId!: string;
  @Matches(PCI_ADDRESS) vf!: string;
}
export class HostQuery extends TemporalQuery {
  @Matches(IDENTIFIER) hostId!: string;
}
export class HostsQuery extends ListQuery {
  @IsOptional() @IsOneOf(['ready', 'not-ready', 'cordoned', 'lost', 'fenced']) state?: string;
}
export class VmsQuery extends ListQuery {
  @IsOptional() @Matches(IDENTIFIER) hostId?: string;
  @IsOptional() @Matches(IDENTIFIER) tenant?: string;
  @IsOptional() @IsOneOf(['pending', 'running', 'stopped']) state?: string;
}
export class VfsQuery extends ListQuery {
  @Matches(IDENTIFIER) hostId!: string;
  @IsOptional() @Matches(PCI_ADDRESS) pf?: string;
  @IsOptional()
  @IsOneOf(['free', 'pending', 'allocated', 'scrubbing', 'quarantined', 'unavailable', 'unknown'])
  state?: string;
}
export class NetworksQuery extends ListQuery {
  @IsOptional() @Matches(IDENTIFIER) id?: string;
}
export class PolicyQuery extends TemporalQuery {}

/** Where a VM could start. */
export class CandidatesQuery extends TemporalQuery {
  @IsOptional() @IsListOf(() => NicDto, 64) nics?: NicDto[];
  /** A VM that is known: its NICs are used where none are named. */
  @IsOptional() @Matches(IDENTIFIER) vmId?: string;
  @IsOptional() @Matches(IDENTIFIER, { each: true }) hosts?: string[];
  @IsOptional() @IsOneOf(['pack', 'spread']) strategy?: 'pack' | 'spread';
  @IsOptional() @IsYesOrNo() separatePfs?: boolean;
  @IsOptional() @IsWhole(0, 1023) numaNode?: number;
  @IsOptional() @Matches(IDENTIFIER) tenant?: string;
  @IsOptional() @IsWhole(1, MOST) limit?: number;
}
/** Who would lose a NIC if the PF were restored. */
export class RestoreImpactQuery extends TemporalQuery {
  @Matches(IDENTIFIER) hostId!: string;
  @Matches(PCI_ADDRESS) pf!: string;
}
/** An input that nobody sends. */
export class PlannedInputDto {
  @Matches(/^[A-Za-z0-9]{1,64}$/) type!: string;
  @IsAnyObject() data!: Record<string, unknown>;
  @IsOptional() @Matches(EVENT_ID) id?: string;
}
/** What inputs would lead to. */
export class PlanQuery extends TemporalQuery {
  @IsListOf(() => PlannedInputDto, 1000) inputs!: PlannedInputDto[];
}

/** What a request led to, by its CloudEvent id. */
export class OutcomeQuery extends AnyQuery {
  @Matches(EVENT_ID) id!: string;
}
/** Why a request led to what it led to, and whether it would again. */
export class ExplainQuery extends AnyQuery {
  @Matches(EVENT_ID) id!: string;
}
/** The events about something. */
export class HistoryQuery extends AnyQuery {
  @IsOptional() @Matches(IDENTIFIER) vmId?: string;
  @IsOptional() @Matches(IDENTIFIER) hostId?: string;
  @IsOptional() @Matches(PCI_ADDRESS) pf?: string;
  @IsOptional() @Matches(PCI_ADDRESS) vf?: string;
  @IsOptional() @Matches(MAC) mac?: string;
  @IsOptional() @Matches(IDENTIFIER) tenant?: string;
  @IsOptional() @Matches(MOMENT, MOMENT_MESSAGE) from?: string;
  @IsOptional() @Matches(MOMENT, MOMENT_MESSAGE) to?: string;
  @IsOptional() @Matches(/^[A-Za-z0-9]{1,64}$/, { each: true }) types?: string[];
  @IsOptional() @IsWhole(1, MOST) limit?: number;
  @IsOptional() @Matches(/^[A-Za-z0-9_-]{1,400}$/) cursor?: string;
  /** With the chain of causes of each event. */
  @IsOptional() @IsYesOrNo() causes?: boolean;
}
/** Every holder that a VF ever had. */
export class TenantsQuery extends TemporalQuery {
  @Matches(IDENTIFIER) hostId!: string;
  @Matches(PCI_ADDRESS) vf!: string;
}
/** VF-seconds in a period. */
export class UsageQuery extends AnyQuery {
  @Matches(TIME, { message: '$property must be a time (RFC 3339)' }) from!: string;
  @Matches(TIME, { message: '$property must be a time (RFC 3339)' }) to!: string;
  @IsOneOf(['vm', 'tenant', 'pf']) by!: 'vm' | 'tenant' | 'pf';
}
/** The hash chain, the state, `VF_OUT` and the last signed head, checked. */
export class VerifyQuery extends AnyQuery {}
