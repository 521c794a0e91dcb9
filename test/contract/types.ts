import { join } from 'node:path';
import { createGenerator } from 'ts-json-schema-generator';
import type { EventType } from '#domain';
import type { Comments, JsonSchema } from '#wire';
import { ROOT } from './root.js';

/** What the types of the code say: the schema of `data` of each event that comes out, and the DTOs' comments. */
export interface TypeSchemas {
  readonly outputs: ReadonlyMap<EventType, JsonSchema>;
  readonly comments: Comments;
}

interface Generated {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Generated>>;
  readonly $ref?: string;
  readonly [keyword: string]: unknown;
}

function generate(path: string, type: string): Record<string, Generated> {
  const generator = createGenerator({
    path: join(ROOT, path),
    tsconfig: join(ROOT, 'tsconfig.json'),
    type,
    skipTypeCheck: true,
    topRef: true,
    jsDoc: 'extended',
    additionalProperties: false,
  });
  return generator.createSchema(type).definitions as Record<string, Generated>;
}

/**
 * Reads the types with the compiler.
 *
 * @param strict fields that a type does not name are forbidden: to hold the types against what really comes out.
 *   The published schemas leave them open, because fields may be added.
 */
export function typeSchemas({ strict = false } = {}): TypeSchemas {
  const events = generate('libs/domain/src/events.ts', 'Events');
  const outputs = new Map<EventType, JsonSchema>();
  for (const [type, schema] of Object.entries(events['Events']?.properties ?? {})) {
    outputs.set(type as EventType, inlined(schema, events, strict) as JsonSchema);
  }
  const comments: Record<string, { description?: string; properties: Record<string, string> }> = {};
  for (const file of ['vm', 'host', 'network']) {
    for (const [name, { description, properties = {} }] of Object.entries(
      generate(`libs/wire/src/inputs/${file}.dto.ts`, '*'),
    )) {
      const described = Object.entries(properties).flatMap(([property, schema]) =>
        schema.description === undefined ? [] : [[property, oneLine(schema.description)] as const],
      );
      comments[name] = {
        ...(description === undefined ? undefined : { description: oneLine(description) }),
        properties: Object.fromEntries(described),
      };
    }
  }
  return { outputs, comments };
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();

/** A schema without references, so that each event's schema stands alone. The types have no cycles. */
function inlined(value: unknown, definitions: Record<string, Generated>, strict: boolean): unknown {
  if (Array.isArray(value)) return value.map((member) => inlined(member, definitions, strict));
  if (typeof value !== 'object' || value === null) return value;
  const { $ref, ...rest } = value as Generated;
  if ($ref !== undefined) {
    const name = decodeURIComponent($ref.replace('#/definitions/', ''));
    const target = definitions[name];
    if (target === undefined) throw new Error(`the types name ${name}, which has no schema`);
    // What is said of the field goes before what is said of its type.
    return inlined({ ...target, ...rest }, definitions, strict);
  }
  return Object.fromEntries(
    Object.entries(rest).flatMap(([key, member]) => {
      if (key === 'additionalProperties' && member === false && !strict) return [];
      if (key === 'description') return [[key, oneLine(member as string)]];
      return [[key, inlined(member, definitions, strict)]];
    }),
  );
}
