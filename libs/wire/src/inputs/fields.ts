import 'reflect-metadata';
import {
  ArrayMaxSize,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  Matches,
  Max,
  Min,
  ValidateBy,
  buildMessage,
} from 'class-validator';

/** The formats of wire.md as decorators: one name for each, so that a DTO reads like the contract. */

export const PCI_ADDRESS = /^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
export const UNICAST_MAC = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/;
export const IDENTIFIER = /^[A-Za-z0-9_-]{1,64}$/;
export const EVENT_ID = /^[A-Za-z0-9_:./-]{1,128}$/;
export const RFC3339 =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/i;

export const isRfc3339 = (value: unknown): value is string =>
  typeof value === 'string' && RFC3339.test(value) && !Number.isNaN(Date.parse(value.replace(/:60(?=[.Zz+-])/, ':59')));

/** `[A-Za-z0-9_-]{1,64}`: ids of VMs, hosts, NICs and networks, tenants. */
export const IsIdentifier = (each = false): PropertyDecorator =>
  Matches(IDENTIFIER, { each, message: '$property must be 1 to 64 of A-Z a-z 0-9 _ -' });

/** `dddd:bb:dd.f`, hexadecimal, lower case (PF-8). */
export const IsPciAddress = (): PropertyDecorator =>
  Matches(PCI_ADDRESS, { message: '$property must be a PCI address dddd:bb:dd.f in lower-case hexadecimal' });

/** Lower case, colon separated, unicast. */
export const IsUnicastMac = (): PropertyDecorator =>
  Matches(UNICAST_MAC, { message: '$property must be a unicast MAC, lower case, with colons' });

/** What a VF reports: any MAC, zero included. */
export const IsMac = (): PropertyDecorator =>
  Matches(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, { message: '$property must be a MAC, lower case, with colons' });

/** A fencing token, as the scheduler gave it. */
export const IsAllocationId = (): PropertyDecorator =>
  Matches(/^[A-Za-z0-9_-]{1,96}$/, { message: '$property must be an allocation id' });

/** Text for a person: up to `max` characters, not empty. */
export const IsText = (max: number): PropertyDecorator =>
  ValidateBy({
    name: 'isText',
    constraints: [max],
    validator: {
      validate: (value: unknown) => typeof value === 'string' && value.length > 0 && value.length <= max,
      defaultMessage: buildMessage(() => `$property must be a text of 1 to ${max} characters`),
    },
  });

/** RFC 3339. */
export const IsTime = (): PropertyDecorator =>
  ValidateBy({
    name: 'isTime',
    validator: {
      validate: isRfc3339,
      defaultMessage: buildMessage(() => '$property must be a time (RFC 3339)'),
    },
  });

/** A whole number within bounds that a double holds exactly. */
export const IsWhole = (min: number, max = Number.MAX_SAFE_INTEGER): PropertyDecorator =>
  all(IsInt(), Min(min), Max(max));

/** One of a list of words. */
export const IsOneOf = (words: readonly string[]): PropertyDecorator => IsIn(words as string[]);

/** May be left out; `null` counts as left out, as many languages write it. */
export const MayBeLeftOut = IsOptional;

/** 1..31 (a slot on guest bus 0), or a guest PCI address. */
export const IsGuestSlot = (): PropertyDecorator =>
  ValidateBy({
    name: 'isGuestSlot',
    validator: {
      validate: (value: unknown) =>
        typeof value === 'number'
          ? Number.isInteger(value) && value >= 1 && value <= 31
          : typeof value === 'string' && PCI_ADDRESS.test(value),
      defaultMessage: buildMessage(() => '$property must be a slot 1 to 31 or a guest PCI address'),
    },
  });

/** A list of at most `max` things. */
export const IsList = (max: number): PropertyDecorator => all(IsArray(), ArrayMaxSize(max));

/** Members of a list differ in what `key` gives; those for which it gives undefined are not compared. */
export const DifferIn = (what: string, key: (member: never) => unknown): PropertyDecorator =>
  ValidateBy({
    name: `differIn ${what}`,
    validator: {
      validate: (value: unknown) => !Array.isArray(value) || allDiffer(value, key as (member: unknown) => unknown),
      defaultMessage: buildMessage(() => `the members of $property must differ in ${what}`),
    },
  });

function allDiffer(members: readonly unknown[], key: (member: unknown) => unknown): boolean {
  const seen = new Set<unknown>();
  for (const member of members) {
    if (typeof member !== 'object' || member === null) continue;
    const value = key(member);
    if (value === undefined) continue;
    if (seen.has(value)) return false;
    seen.add(value);
  }
  return true;
}

/** An object whose keys are identifiers and whose values are whole numbers, at most `max` of them. */
export const IsCountByIdentifier = (max: number): PropertyDecorator =>
  ValidateBy({
    name: 'isCountByIdentifier',
    validator: {
      validate: (value: unknown) => {
        if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
        const entries = Object.entries(value);
        return (
          entries.length <= max &&
          entries.every(([name, count]) => IDENTIFIER.test(name) && Number.isSafeInteger(count) && count >= 0)
        );
      },
      defaultMessage: buildMessage(() => `$property must give whole numbers, 0 or more, for at most ${max} names`),
    },
  });

function all(...decorators: readonly PropertyDecorator[]): PropertyDecorator {
  return (target, property) => {
    for (const decorate of decorators) decorate(target, property);
  };
}
