import { propertiesOf, type Dto, type DtoProperty, type Metadata } from '../inputs/metadata.js';
import type { JsonSchema } from './json-schema.js';

/** What the doc comments say of a class and of its properties, by class name. */
export type Comments = Readonly<
  Record<string, { readonly description?: string; readonly properties: Readonly<Record<string, string>> }>
>;

/**
 * The JSON Schema of a DTO class, made from the same decorators that check an input.
 *
 * It says what JSON Schema can say. What it cannot (a day that the calendar does not have, members that must
 * differ in one field) is in the descriptions, and is checked all the same. Fields that it does not name are
 * dropped and not refused, so it names none as forbidden.
 */
export function dataSchema(dto: Dto, comments: Comments = {}): JsonSchema {
  const properties = propertiesOf(dto);
  const required = properties.filter(({ optional }) => !optional).map(({ name }) => name);
  const description = comments[dto.name]?.description;
  return {
    type: 'object',
    ...(description === undefined ? undefined : { description }),
    properties: Object.fromEntries(
      properties.map((property) => [property.name, propertySchema(dto, property, comments)]),
    ),
    ...(required.length === 0 ? undefined : { required }),
  };
}

function propertySchema(dto: Dto, property: DtoProperty, comments: Comments): JsonSchema {
  const { name, checks, nested } = property;
  const ownComment = commentOf(comments, dto, name);
  let schema: JsonSchema = ownComment === undefined ? {} : { description: ownComment };
  for (const check of checks) {
    const fragment = fragmentOf(dto, check);
    schema = { ...schema, ...(check.each ? { items: fragment } : fragment) };
  }
  if (nested === undefined) return schema;
  const inner = dataSchema(nested.dto, comments);
  return nested.each ? { ...schema, items: inner } : { ...inner, ...schema };
}

function fragmentOf(dto: Dto, { context, propertyName, name }: Metadata): JsonSchema {
  const fragment = (context as { schema?: JsonSchema } | undefined)?.schema;
  if (fragment === undefined) {
    throw new Error(`${dto.name}.${propertyName}: the decorator ${name} does not say its JSON Schema`);
  }
  return fragment;
}

/** The comment of a property, from the class itself or the nearest one above it that has one. */
function commentOf(comments: Comments, dto: Dto, property: string): string | undefined {
  for (let one: unknown = dto; typeof one === 'function'; one = Object.getPrototypeOf(one)) {
    const comment = comments[one.name]?.properties[property];
    if (comment !== undefined) return comment;
  }
  return undefined;
}
