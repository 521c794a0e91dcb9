import 'reflect-metadata';
import { Transform, Type } from 'class-transformer';
import { IsIn, IsOptional, ValidateBy, ValidateNested } from 'class-validator';
import type { JsonSchema } from '../contract/json-schema.js';
import { EVENT_ID, IDENTIFIER, PCI_ADDRESS } from '../formats.js';

/** The formats of wire.md as decorators: one name for each, so that a DTO reads like the contract. */

export const UNICAST_MAC = /^(?!00:00:00:00:00:00$)[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const ALLOCATION_ID = /^[A-Za-z0-9_-]{1,96}$/;
const RFC3339 =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,32})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i;

/** What no text for a person has: C0 controls but tab and line breaks, DEL, and halves of surrogate pairs. */
// oxlint-disable-next-line no-control-regex
const NOT_TEXT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]|\p{Surrogate}/u;

/** What CloudEvents does not take in an attribute: controls, and halves of surrogate pairs. */
// oxlint-disable-next-line no-control-regex
const NOT_ATTRIBUTE = /[\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;

/** Whether a text can be an attribute of a CloudEvent. */
export const isAttributeText = (value: string): boolean => !NOT_ATTRIBUTE.test(value);

/** Whether a text has characters only: no controls but tab and line breaks, no half of a surrogate pair. */
export const isText = (value: string): boolean => !NOT_TEXT.test(value);

/** Whether it is a time of RFC 3339, on a day that the calendar has; a leap second is one. */
export function isRfc3339(value: unknown): value is string {
  if (typeof value !== 'string' || !RFC3339.test(value)) return false;
  const day = Number(value.slice(8, 10));
  // Day 0 of a month is the last of the month before.
  return (
    day <= 28 ||
    day <= new Date(Date.UTC(Number(value.slice(0, 4)), Number(value.slice(5, 7)), 0)).getUTCDate()
  );
}

interface Format {
  readonly name: string;
  /** Says what the property must be: `$property must be …`. */
  readonly message: string;
  readonly validate: (value: unknown) => boolean;
  /**
   * The same as far as JSON Schema can say it, for the documents; what it cannot say, the message does. Of a
   * list that is looked at member by member it describes the member.
   */
  readonly schema: JsonSchema;
  /** Looks at each member of a list. */
  readonly each?: boolean;
}

const format = ({ name, message, validate, schema, each = false }: Format): PropertyDecorator =>
  ValidateBy({ name, validator: { validate } }, { each, message, context: { schema } });

/** A text of some form; the message says which: `$property must be …`. */
export const matching = (name: string, pattern: RegExp, message: string, each = false): PropertyDecorator =>
  format({
    name,
    message,
    each,
    validate: (value) => typeof value === 'string' && pattern.test(value),
    schema: { type: 'string', pattern: pattern.source },
  });

/** `[A-Za-z0-9_-]{1,64}`: ids of VMs, hosts, NICs and networks, tenants. */
export const IsIdentifier = (each = false): PropertyDecorator =>
  matching('isIdentifier', IDENTIFIER, '$property must be 1 to 64 of A-Z a-z 0-9 _ -', each);

/** The id of a CloudEvent. */
export const IsEventId = (): PropertyDecorator =>
  matching('isEventId', EVENT_ID, '$property must be an event id: 1 to 128 of A-Z a-z 0-9 _ : . / -');

/** `dddd:bb:dd.f`, hexadecimal, lower case (PF-8). */
export const IsPciAddress = (): PropertyDecorator =>
  matching(
    'isPciAddress',
    PCI_ADDRESS,
    '$property must be a PCI address dddd:bb:dd.f in lower-case hexadecimal',
  );

/** Lower case, colon separated, of one device: no group's, and not all zero. */
export const IsUnicastMac = (): PropertyDecorator =>
  matching(
    'isUnicastMac',
    UNICAST_MAC,
    '$property must be a unicast MAC, not all zero, lower case, with colons',
  );

/** What a VF reports: any MAC, zero included. */
export const IsMac = (): PropertyDecorator =>
  matching('isMac', MAC, '$property must be a MAC, lower case, with colons');

/** A fencing token, as the scheduler gave it. */
export const IsAllocationId = (): PropertyDecorator =>
  matching('isAllocationId', ALLOCATION_ID, '$property must be an allocation id');

/** Text for a person: up to `max` characters, not empty. */
export const IsText = (max: number, each = false): PropertyDecorator =>
  format({
    name: 'isText',
    each,
    message: `$property must be a text of 1 to ${max} characters, without control characters`,
    validate: (value) =>
      typeof value === 'string' && value.length > 0 && value.length <= max && isText(value),
    schema: { type: 'string', minLength: 1, maxLength: max },
  });

/** What is kept of a text that somebody wrote freely. */
export const FREE_TEXT = 1024;

/** A text as it is kept: of a long one its beginning, marked by `…`. */
export function clipText(text: string): string {
  if (text.length <= FREE_TEXT) return text;
  const kept = text.slice(0, FREE_TEXT - 1);
  // Not in the middle of a character of two halves.
  return `${/[\uD800-\uDBFF]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}

/** The name under which {@link DataChecker} knows a text that is clipped. */
export const IS_FREE_TEXT = 'isFreeText';

/**
 * A text that a person or a program wrote freely: of any length, for nothing that happened is lost for the words
 * that it was told in. What is kept is clipped, and an empty one is left out.
 */
export const IsFreeText = (): PropertyDecorator =>
  all(
    format({
      name: IS_FREE_TEXT,
      message: '$property must be a text without control characters',
      validate: (value) => typeof value === 'string' && isText(value),
      schema: { type: 'string', $comment: `of more than ${FREE_TEXT} characters the beginning is kept` },
    }),
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? clipText(value) : value)),
  );

/** Whether it is a time that can be counted with: one of RFC 3339, and no leap second. */
const isTime = (value: unknown): boolean => isRfc3339(value) && value.slice(17, 19) !== '60';

/** RFC 3339, and a time that can be counted with: no leap second. */
export const IsTime = (): PropertyDecorator =>
  format({
    name: 'isTime',
    message: '$property must be a time (RFC 3339, not a leap second)',
    validate: isTime,
    schema: { type: 'string', format: 'date-time' },
  });

const POSITION = /^\d{1,15}$/;

/** Whether a text is a position in the log, and not a time. */
export const isPosition = (text: string): boolean => POSITION.test(text);

/** A position in the log, as text. */
export const IsPosition = (): PropertyDecorator =>
  matching('isPosition', POSITION, '$property must be a position: digits');

/** A moment of the log: a position, or a time. */
export const IsMoment = (): PropertyDecorator =>
  format({
    name: 'isMoment',
    message: '$property must be a position (digits) or a time that there is (RFC 3339: 2026-11-24T09:30:00Z)',
    validate: (value) => typeof value === 'string' && (isPosition(value) || isTime(value)),
    schema: {
      anyOf: [
        { type: 'string', pattern: POSITION.source },
        { type: 'string', format: 'date-time' },
      ],
    },
  });

/** A whole number within bounds that a double holds exactly. */
export const IsWhole = (min: number, max = Number.MAX_SAFE_INTEGER): PropertyDecorator =>
  format({
    name: 'isWhole',
    message: `$property must be a whole number from ${min} to ${max}`,
    validate: (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
    schema: { type: 'integer', minimum: min, maximum: max },
  });

/** Any whole number; whether it makes sense is for the decider to say. */
export const IsAnyWhole = (): PropertyDecorator =>
  format({
    name: 'isAnyWhole',
    message: '$property must be a whole number',
    validate: Number.isInteger,
    schema: { type: 'integer' },
  });

/** `true` or `false`. */
export const IsYesOrNo = (): PropertyDecorator =>
  format({
    name: 'isYesOrNo',
    message: '$property must be true or false',
    validate: (value) => typeof value === 'boolean',
    schema: { type: 'boolean' },
  });

/** One of a list of words. */
export const IsOneOf = (words: readonly string[]): PropertyDecorator =>
  IsIn(words as string[], {
    message: `$property must be one of ${words.join(', ')}`,
    context: { schema: { type: 'string', enum: words } },
  });

/** May be left out; `null` counts as left out, as many languages write it. */
export const MayBeLeftOut = IsOptional;

/** 1..31 (a slot on guest bus 0), or a guest PCI address. */
export const IsGuestSlot = (): PropertyDecorator =>
  format({
    name: 'isGuestSlot',
    message: '$property must be a slot 1 to 31 or a guest PCI address dddd:bb:dd.f in lower-case hexadecimal',
    validate: (value) =>
      typeof value === 'number'
        ? Number.isInteger(value) && value >= 1 && value <= 31
        : typeof value === 'string' && PCI_ADDRESS.test(value),
    schema: {
      oneOf: [
        { type: 'integer', minimum: 1, maximum: 31 },
        { type: 'string', pattern: PCI_ADDRESS.source },
      ],
    },
  });

/** The place of a guest slot as an address: slot 5 is function 0 of device 5 on guest bus 0. */
export const guestAddress = (slot: unknown): unknown =>
  typeof slot === 'number' ? `0000:00:${slot.toString(16).padStart(2, '0')}.0` : slot;

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A list of at most `max` things. */
export const IsList = (max: number): PropertyDecorator =>
  format({
    name: 'isList',
    message: `$property must be a list of at most ${max}`,
    validate: (value) => Array.isArray(value) && value.length <= max,
    schema: { type: 'array', maxItems: max },
  });

/** A list of at most `max` objects of a class. class-validator by itself would take a list of lists too. */
export const IsListOf = (type: () => new () => object, max: number): PropertyDecorator =>
  all(
    format({
      name: 'isListOf',
      message: `$property must be a list of at most ${max} objects`,
      validate: (value) => Array.isArray(value) && value.length <= max && value.every(isObject),
      schema: { type: 'array', maxItems: max },
    }),
    ValidateNested({ each: true }),
    Type(type),
  );

/** An object of a class. */
export const IsObjectOf = (type: () => new () => object): PropertyDecorator =>
  all(
    format({
      name: 'isObjectOf',
      message: '$property must be an object',
      validate: isObject,
      schema: { type: 'object' },
    }),
    ValidateNested(),
    Type(type),
  );

/** Members of a list differ in what `key` gives; those for which it gives nothing are not compared. */
export const DifferIn = (what: string, key: (member: never) => unknown): PropertyDecorator =>
  format({
    name: `differIn ${what}`,
    message: `the members of $property must differ in ${what}`,
    validate: (value) => !Array.isArray(value) || allDiffer(value, key as (member: unknown) => unknown),
    schema: { $comment: `members differ in ${what}` },
  });

function allDiffer(members: readonly unknown[], key: (member: unknown) => unknown): boolean {
  if (members.length < 2) return true;
  const seen = new Set<unknown>();
  for (const member of members) {
    if (typeof member !== 'object' || member === null) continue;
    const value = key(member);
    if (value === undefined || value === null) continue;
    if (seen.has(value)) return false;
    seen.add(value);
  }
  return true;
}

/** An object whose keys are identifiers and whose values are whole numbers, at most `max` of them. */
export const IsCountByIdentifier = (max: number): PropertyDecorator =>
  format({
    name: 'isCountByIdentifier',
    message: `$property must give whole numbers, 0 or more, for at most ${max} names of 1 to 64 of A-Z a-z 0-9 _ -`,
    validate: (value) => {
      if (!isObject(value)) return false;
      const entries = Object.entries(value);
      return (
        entries.length <= max &&
        entries.every(([name, count]) => IDENTIFIER.test(name) && Number.isSafeInteger(count) && count >= 0)
      );
    },
    schema: {
      type: 'object',
      maxProperties: max,
      propertyNames: { pattern: IDENTIFIER.source },
      additionalProperties: { type: 'integer', minimum: 0 },
    },
  });

/** Deeper nesting than any input has. */
export const MAX_DEPTH = 32;

/** An object with anything in it that JSON carries without loss, and that every reader of JSON takes. */
export const IsAnyObject = (): PropertyDecorator =>
  format({
    name: 'isAnyObject',
    message: `$property must be an object of texts and finite numbers, nested at most ${MAX_DEPTH} deep`,
    validate: (value) => isObject(value) && isLossless(value, MAX_DEPTH),
    schema: { type: 'object', $comment: `nested at most ${MAX_DEPTH} deep` },
  });

function isLossless(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return isText(value);
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return true;
  if (depth === 0) return false;
  if (Array.isArray(value)) return value.every((member) => isLossless(member, depth - 1));
  return Object.entries(value).every(([key, member]) => isText(key) && isLossless(member, depth - 1));
}

/** Several decorators as one, in the order in which they would stand. */
export function all(...decorators: readonly PropertyDecorator[]): PropertyDecorator {
  return (target, property) => {
    // As where they stand one by one: from the last to the first.
    for (const decorate of decorators.toReversed()) decorate(target, property);
  };
}
