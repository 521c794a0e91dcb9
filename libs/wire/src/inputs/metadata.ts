import { defaultMetadataStorage } from 'class-transformer/cjs/storage.js';
import { getMetadataStorage, ValidationTypes } from 'class-validator';

export type Dto = new () => object;

/** What one decorator of a DTO's property says. */
export type Metadata = ReturnType<
  ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']
>[number];

/** A property of a DTO class, as its decorators describe it. */
export interface DtoProperty {
  readonly name: string;
  readonly optional: boolean;
  /** In the order in which they stand in the class: the first says what the property is. */
  readonly checks: readonly Metadata[];
  readonly nested?: { readonly dto: Dto; readonly each: boolean };
}

/**
 * The properties of a DTO class in order of their names, read from class-validator's metadata: the only
 * source of what is checked ({@link DataChecker}) and of what is documented ({@link dataSchema}).
 *
 * @throws Error for a decorator that neither of them knows: it must not be passed over in silence.
 */
export function propertiesOf(dto: Dto): readonly DtoProperty[] {
  const metadata = getMetadataStorage().getTargetValidationMetadatas(dto, '', true, false);
  return [...groupByName(metadata)]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, ofProperty]) => {
      if (name in Object.prototype) throw new Error(`${dto.name}.${name} is a name that every object has`);
      for (const one of ofProperty) refuseUnknownKind(dto, one);
      const nested = ofProperty.find((one) => one.type === ValidationTypes.NESTED_VALIDATION);
      return {
        name,
        optional: ofProperty.some((one) => one.type === ValidationTypes.CONDITIONAL_VALIDATION),
        // Decorators register from the last to the first.
        checks: ofProperty.filter(isCheck).toReversed(),
        ...(nested === undefined ? undefined : { nested: { dto: typeOf(dto, name), each: nested.each } }),
      };
    });
}

/** `Map.groupBy`, which Node 20 does not have. */
function groupByName(metadata: readonly Metadata[]): Map<string, Metadata[]> {
  const groups = new Map<string, Metadata[]>();
  for (const one of metadata) {
    const group = groups.get(one.propertyName);
    if (group === undefined) groups.set(one.propertyName, [one]);
    else group.push(one);
  }
  return groups;
}

const isCheck = ({ type }: Metadata): boolean =>
  type === ValidationTypes.CUSTOM_VALIDATION || type === ValidationTypes.IS_DEFINED;

function refuseUnknownKind(dto: Dto, metadata: Metadata): void {
  const { type, name, propertyName, groups, validateIf } = metadata;
  const isKnown =
    isCheck(metadata) ||
    type === ValidationTypes.NESTED_VALIDATION ||
    (type === ValidationTypes.CONDITIONAL_VALIDATION && name === 'isOptional');
  if (isKnown && validateIf === undefined && (groups ?? []).length === 0) return;
  throw new Error(
    `${dto.name}.${propertyName} has a decorator that DataChecker does not know: ${name ?? type}`,
  );
}

/** The class of a nested property, from its `@Type`. */
function typeOf(dto: Dto, property: string): Dto {
  const type = defaultMetadataStorage.findTypeMetadata(dto, property)?.typeFunction();
  if (type === undefined) throw new Error(`${dto.name}.${property} is nested and has no @Type`);
  return type as Dto;
}
