import { plainToInstance } from 'class-transformer';
import { defaultMetadataStorage } from 'class-transformer/cjs/storage.js';
import {
  getFromContainer,
  getMetadataStorage,
  validateSync,
  ValidationTypes,
  type ValidationArguments,
  type ValidationError,
  type ValidatorConstraintInterface,
} from 'class-validator';

type Dto = new () => object;
type Plain = Record<string, unknown>;

/** The checks of one property, taken from its decorators. */
interface PropertyPlan {
  readonly name: string;
  readonly optional: boolean;
  readonly checks: readonly ((value: unknown) => boolean)[];
  readonly nested?: { readonly plan: readonly PropertyPlan[]; readonly each: boolean };
}

export type Checked = { readonly data: Plain } | { readonly problem: string };

/**
 * Checks `data` against a DTO class and takes over what the class names: unknown fields are dropped.
 *
 * The decorators of the class are the only source. class-validator itself costs 50 µs for a start and milliseconds for a
 * host report, most of it in building instances and errors that nobody needs; so its metadata is compiled once into straight
 * checks, which answer "yes" in a few microseconds. Whatever they do not pass goes to class-validator, which is the judge of every "no" and
 * words it (docs/decisions/006-compiled-validation.md).
 */
export class DataChecker {
  private readonly plan: readonly PropertyPlan[];

  constructor(private readonly dto: Dto) {
    this.plan = compile(dto);
  }

  check(value: unknown): Checked {
    const data = project(value, this.plan);
    if (data !== undefined) return { data };
    if (!isPlain(value)) return { problem: 'data must be an object' };
    const instance = plainToInstance(this.dto, value);
    const errors = validateSync(instance, { whitelist: true, forbidUnknownValues: false });
    if (errors.length > 0) return { problem: describe(errors, 'data').join('; ') };
    return { data: withoutUndefined(instance) as Plain };
  }
}

const isPlain = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value);

function compile(dto: Dto): readonly PropertyPlan[] {
  const metadata = getMetadataStorage().getTargetValidationMetadatas(dto, '', true, false);
  return [...groupByName(metadata)].map(([name, ofProperty]) => {
    const nested = ofProperty.find((one) => one.type === ValidationTypes.NESTED_VALIDATION);
    return {
      name,
      optional: ofProperty.some((one) => one.type === ValidationTypes.CONDITIONAL_VALIDATION),
      checks: ofProperty.filter((one) => one.type === ValidationTypes.CUSTOM_VALIDATION).map(compileCheck),
      ...(nested === undefined ? undefined : { nested: { plan: compile(typeOf(dto, name)), each: nested.each } }),
    };
  });
}

type Metadata = ReturnType<ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']>[number];

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

/** The class of a nested property, from its `@Type`. */
function typeOf(dto: Dto, property: string): Dto {
  const type = defaultMetadataStorage.findTypeMetadata(dto, property)?.typeFunction();
  if (type === undefined) throw new Error(`${dto.name}.${property} is nested and has no @Type`);
  return type as Dto;
}

function compileCheck(metadata: Metadata): (value: unknown) => boolean {
  const constraint = getFromContainer<ValidatorConstraintInterface>(metadata.constraintCls as never);
  // The project's decorators look at the value and their own constraints, never at the object around it.
  const args = { constraints: metadata.constraints } as ValidationArguments;
  const check = (value: unknown): boolean => constraint.validate(value, args) === true;
  if (!metadata.each) return check;
  return (value) => Array.isArray(value) && value.every(check);
}

/** The plain data that the plan names, or undefined when something does not pass. */
function project(value: unknown, plan: readonly PropertyPlan[]): Plain | undefined {
  if (!isPlain(value)) return undefined;
  const data: Plain = {};
  for (const property of plan) {
    const found = value[property.name];
    if (found === undefined || found === null) {
      if (property.optional) continue;
      return undefined;
    }
    for (const passes of property.checks) if (!passes(found)) return undefined;
    const { nested } = property;
    if (nested === undefined) {
      data[property.name] = found;
      continue;
    }
    const inner = nested.each ? projectAll(found, nested.plan) : project(found, nested.plan);
    if (inner === undefined) return undefined;
    data[property.name] = inner;
  }
  return data;
}

function projectAll(values: unknown, plan: readonly PropertyPlan[]): readonly Plain[] | undefined {
  if (!Array.isArray(values)) return undefined;
  const all: Plain[] = [];
  for (const value of values) {
    const data = project(value, plan);
    if (data === undefined) return undefined;
    all.push(data);
  }
  return all;
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) =>
      inner === undefined || inner === null ? [] : [[key, withoutUndefined(inner)]],
    ),
  );
}

/** Sentences such as `data.nics[2].mac must be a unicast MAC …`, at most five. */
function describe(errors: readonly ValidationError[], path: string): string[] {
  const sentences: string[] = [];
  for (const error of errors) {
    const index = /^\d+$/.test(error.property);
    const here = index ? `${path}[${error.property}]` : `${path}.${error.property}`;
    for (const message of Object.values(error.constraints ?? {})) {
      sentences.push(message.includes(error.property) ? message.replace(error.property, here) : `${here}: ${message}`);
    }
    sentences.push(...describe(error.children ?? [], here));
    if (sentences.length >= 5) break;
  }
  return sentences.slice(0, 5);
}
