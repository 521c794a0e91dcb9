import {
  getFromContainer,
  type ValidationArguments,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { clipText, IS_FREE_TEXT } from './fields.js';
import { propertiesOf, type Dto, type Metadata } from './metadata.js';

type Plain = Record<string, unknown>;

/** The checks of one property, taken from its decorators. */
interface PropertyPlan {
  readonly name: string;
  readonly optional: boolean;
  /** A free text, of which the beginning is kept. */
  readonly clipped: boolean;
  readonly checks: readonly Check[];
  readonly nested?: { readonly plan: readonly PropertyPlan[]; readonly each: boolean };
}

interface Check {
  readonly passes: (value: unknown) => boolean;
  /** Looks at each member of a list. */
  readonly each: boolean;
  /** `$property must be …`. */
  readonly sentence: string;
}

export type Checked = { readonly data: Plain } | { readonly problem: string };

/** A "no" says at most so many things. */
const MOST_SENTENCES = 5;

/**
 * Checks `data` against a DTO class and takes over what the class names: unknown fields are dropped, and so
 * are those that are null or undefined; keys come in order of their names, so that the same data is the same
 * JSON; -0 is 0.
 *
 * The decorators of the class are the only source. class-validator itself costs 50 µs for a start,
 * milliseconds for a host report and most of a second for a large message that is wrong everywhere; so its
 * metadata is compiled once into straight checks, which answer in a few microseconds and stop at the first
 * five faults. A test holds the two against each other.
 */
export class DataChecker {
  private readonly plan: readonly PropertyPlan[];

  constructor(dto: Dto) {
    this.plan = compile(dto);
  }

  /** The fields that the class names; others are dropped. */
  get fields(): readonly string[] {
    return this.plan.map(({ name }) => name);
  }

  check(value: unknown): Checked {
    const data = project(value, this.plan);
    if (data !== undefined) return { data };
    if (!isPlain(value)) return { problem: 'data must be an object' };
    return { problem: explain(value, this.plan, 'data', []).join('; ') };
  }
}

const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const compile = (dto: Dto): readonly PropertyPlan[] =>
  propertiesOf(dto).map(({ name, optional, checks, nested }) => ({
    name,
    optional,
    clipped: checks.some((check) => check.name === IS_FREE_TEXT),
    checks: checks.map(compileCheck),
    ...(nested === undefined ? undefined : { nested: { plan: compile(nested.dto), each: nested.each } }),
  }));

function compileCheck(metadata: Metadata): Check {
  const constraint = getFromContainer<ValidatorConstraintInterface>(metadata.constraintCls as never);
  // The project's decorators look at the value and their own constraints, never at the object around it.
  const args = { constraints: metadata.constraints, property: metadata.propertyName } as ValidationArguments;
  const message = metadata.message || constraint.defaultMessage?.(args) || '$property is not as it must be';
  const template = typeof message === 'string' ? message : message(args);
  return {
    passes: (value) => constraint.validate(value, args) === true,
    each: metadata.each,
    sentence: (metadata.constraints ?? []).reduce<string>(
      (text, constraintValue, index) =>
        text.replaceAll(`$constraint${index + 1}`, () => String(constraintValue)),
      template,
    ),
  };
}

/** The plain data that the plan names, or undefined when something does not pass. */
function project(value: unknown, plan: readonly PropertyPlan[]): Plain | undefined {
  if (!isPlain(value)) return undefined;
  const data: Plain = {};
  for (const property of plan) {
    const found = value[property.name];
    if (isLeftOut(found) && property.optional) continue;
    for (const check of property.checks) if (!holds(check, found)) return undefined;
    if (isLeftOut(found) || (property.clipped && found === '')) continue;
    const { nested } = property;
    if (nested === undefined) {
      data[property.name] = property.clipped ? clipText(found as string) : ordered(found);
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

const isLeftOut = (value: unknown): value is undefined | null => value === undefined || value === null;

function holds(check: Check, value: unknown): boolean {
  return check.each && Array.isArray(value) ? value.every(check.passes) : check.passes(value);
}

/**
 * A value with the keys of its objects in order of their names, as far as JavaScript lets one order them; -0
 * as 0.
 */
function ordered(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value === 0 ? 0 : value;
  if (Array.isArray(value)) return value.map(ordered);
  // Object.fromEntries defines: a key `__proto__` stays a key.
  return Object.fromEntries(
    Object.keys(value)
      .toSorted()
      .map((key) => [key, ordered((value as Plain)[key])]),
  );
}

/** Says what does not pass: `data.nics[2].mac must be a unicast MAC …`. Stops when there is enough to say. */
function explain(value: unknown, plan: readonly PropertyPlan[], path: string, sentences: string[]): string[] {
  if (!isPlain(value)) {
    sentences.push(`${path} must be an object`);
    return sentences;
  }
  for (const { name, optional, checks, nested } of plan) {
    if (sentences.length >= MOST_SENTENCES) break;
    const found = value[name];
    if (isLeftOut(found) && optional) continue;
    const here = `${path}.${name}`;
    const failed = checks.find((check) => !holds(check, found));
    if (failed !== undefined) {
      sentences.push(sentenceOf(failed, here, found));
    } else if (nested !== undefined && !isLeftOut(found)) {
      if (nested.each) explainAll(found, nested.plan, here, sentences);
      else explain(found, nested.plan, here, sentences);
    }
  }
  return sentences;
}

function explainAll(values: unknown, plan: readonly PropertyPlan[], path: string, sentences: string[]): void {
  if (!Array.isArray(values)) {
    sentences.push(`${path} must be a list`);
    return;
  }
  for (const [index, value] of values.entries()) {
    if (sentences.length >= MOST_SENTENCES) break;
    explain(value, plan, `${path}[${index}]`, sentences);
  }
}

function sentenceOf(check: Check, path: string, value: unknown): string {
  const index = check.each && Array.isArray(value) ? value.findIndex((member) => !check.passes(member)) : -1;
  const sentence = check.sentence.replaceAll('$property', () => (index === -1 ? path : `${path}[${index}]`));
  return value === undefined ? `${sentence} (it is missing)` : sentence;
}
