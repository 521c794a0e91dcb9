import 'reflect-metadata';
import { IsOptional, Matches } from 'class-validator';
import { EVENT_ID, IDENTIFIER, PCI_ADDRESS } from '#wire';

/** Every query may ask for an answer that is at least as new as a position. */
export class AnyQuery {
  @IsOptional() @Matches(/^\d{1,15}$/, { message: '$property must be a position: digits' }) atLeast?: string;
}

/** VFs by PF: of the fleet, a host or a network. */
export class AvailabilityQuery extends AnyQuery {
  @IsOptional() @Matches(IDENTIFIER) hostId?: string;
  @IsOptional() @Matches(/^.{1,64}$/) physicalNetwork?: string;
  @IsOptional() @Matches(IDENTIFIER) networkId?: string;
}
export class VmQuery extends AnyQuery {
  @Matches(IDENTIFIER) vmId!: string;
}
export class VfQuery extends AnyQuery {
  @Matches(IDENTIFIER) hostId!: string;
  @Matches(PCI_ADDRESS) vf!: string;
}
export class HostQuery extends AnyQuery {
  @Matches(IDENTIFIER) hostId!: string;
}
/** What a request led to, by its CloudEvent id. */
export class OutcomeQuery extends AnyQuery {
  @Matches(EVENT_ID) id!: string;
}
/** The hash chain, checked from the first event. */
export class VerifyQuery extends AnyQuery {}

/** The class of each query's request, for the document of the HTTP API. */
export const QUERY_DTOS: Readonly<Record<string, new () => object>> = {
  availability: AvailabilityQuery,
  vm: VmQuery,
  vf: VfQuery,
  host: HostQuery,
  outcome: OutcomeQuery,
  verify: VerifyQuery,
};
