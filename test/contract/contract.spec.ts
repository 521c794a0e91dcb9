import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import draft7 from 'ajv';
import formats from 'ajv-formats';
import fc from 'fast-check';
import { format, resolveConfig } from 'prettier';
import { emptyState, recall, step, type EventType, type InputType, type PlacedEvent } from '#domain';
import { dataSchema, INPUT_CATALOG, inputSchema, type JsonSchema } from '#wire';
import { anyHistory, runsOf } from '../../libs/domain/src/testing/arbitraries.js';
import { World, type History } from '../../libs/domain/src/testing/world.js';
import { oddInputs } from '../../libs/wire/src/testing/hostile-inputs.js';
import { SAMPLES } from '../../libs/wire/src/testing/sample-inputs.js';
import { contractDocuments, type GeneratedFile } from './documents.js';
import { ROOT } from './root.js';
import { typeSchemas } from './types.js';

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

/** ajv and its formats are CommonJS: what is their default export depends on who loads them. */
const addFormats = ((formats as unknown as { default?: typeof formats }).default ?? formats) as unknown as (
  ajv: object,
) => void;

const ajv2020 = (): Ajv2020 => {
  const ajv = new Ajv2020({ allErrors: true, strictSchema: true, allowUnionTypes: true });
  addFormats(ajv);
  return ajv;
};

function problems(validate: ValidateFunction, value: unknown): unknown {
  return validate(value) ? [] : validate.errors;
}

let files: ReadonlyMap<string, GeneratedFile>;
beforeAll(() => {
  files = new Map(contractDocuments(version).map((file) => [file.path, file]));
});

const parsed = (path: string): JsonSchema =>
  JSON.parse((files.get(path) as GeneratedFile).text) as JsonSchema;

interface Message {
  readonly name: string;
  readonly payload: JsonSchema;
  readonly examples: readonly { readonly payload: { readonly type: string } }[];
}

describe('the generated contract', () => {
  test('the documents in the repository are what `npm run docs` writes', async () => {
    for (const { path, text } of files.values()) {
      const file = join(ROOT, 'docs', 'reference', path);
      const wanted = await format(text, { ...(await resolveConfig(file)), filepath: file });
      if (readFileSync(file, 'utf8') !== wanted) throw new Error(`${path} is stale: npm run docs`);
    }
  });

  test('asyncapi.json is valid AsyncAPI 3', () => {
    const require = createRequire(import.meta.url);
    const Ajv = (draft7 as unknown as { default?: typeof draft7 }).default ?? draft7;
    const ajv = new (
      Ajv as unknown as new (options: object) => { compile(schema: object): ValidateFunction }
    )({
      strict: false,
      logger: false,
    });
    addFormats(ajv);
    const validate = ajv.compile(require('@asyncapi/specs/schemas/3.0.0-without-$id.json') as object);
    expect(problems(validate, parsed('asyncapi.json'))).toEqual([]);
    // It can tell: without its title it is none.
    expect(validate({ ...parsed('asyncapi.json'), info: {} })).toBe(false);
  });

  test('every reference in asyncapi.json leads somewhere', () => {
    const document = parsed('asyncapi.json');
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      ([, path]) => path as string,
    );
    expect(references.length).toBeGreaterThan(90);
    for (const path of references) {
      const found = path
        .split('/')
        .reduce<unknown>((at, key) => (at as JsonSchema | undefined)?.[key], document);
      if (found === undefined) throw new Error(`${path} leads nowhere`);
    }
  });

  test('every event has an example, which its schema takes', () => {
    const { messages } = parsed('asyncapi.json')['components'] as { messages: Record<string, Message> };
    const ajv = ajv2020();
    let seen = 0;
    for (const [name, message] of Object.entries(messages)) {
      if (name === 'deadLetter') continue;
      const validate = ajv.compile(message.payload);
      expect(message.examples.length).toBeGreaterThan(0);
      for (const { payload } of message.examples) {
        expect(payload.type).toBe(message.name);
        expect([name, problems(validate, payload)]).toEqual([name, []]);
        expect(validate({ ...payload, type: 'Other' })).toBe(false);
        seen++;
      }
    }
    expect(seen).toBe(Object.keys(INPUT_CATALOG).length + typeSchemas().outputs.size);
  });

  test('every rule that a doc comment of the contract names shows up in asyncapi.json', () => {
    const text = (files.get('asyncapi.json') as GeneratedFile).text;
    const rule = /\b(?:EX|VM|HOST|PF|NET|SCRUB|OUT)-\d+\b/g;
    const { comments, outputs } = typeSchemas();
    const named = new Set(JSON.stringify([comments, [...outputs]]).match(rule));
    expect(named.size).toBeGreaterThan(15);
    expect([...named].filter((id) => !text.includes(id))).toEqual([]);
  });
});

describe('the schemas and the code say the same', () => {
  const schemas = new Map<InputType, ValidateFunction>();
  beforeAll(() => {
    const ajv = ajv2020();
    for (const [type, { dto }] of Object.entries(INPUT_CATALOG) as [
      InputType,
      (typeof INPUT_CATALOG)[InputType],
    ][])
      schemas.set(type, ajv.compile(inputSchema(type, dataSchema(dto))));
  });
  const event = (type: string, data: unknown): object => ({
    specversion: '1.0',
    id: 'in-1',
    source: '/test',
    type,
    time: '2026-01-01T00:00:00Z',
    data,
  });

  test.each(Object.entries(SAMPLES) as [InputType, { minimal: object; full: object }][])(
    '%s: the smallest and the largest sensible input',
    (type, { minimal, full }) => {
      const validate = schemas.get(type) as ValidateFunction;
      expect(problems(validate, event(type, minimal))).toEqual([]);
      expect(problems(validate, event(type, full))).toEqual([]);
    },
  );

  test.each(Object.entries(SAMPLES) as [InputType, { minimal: Record<string, unknown> }][])(
    '%s: each required field is required, and a wrong form is refused',
    (type, { minimal }) => {
      const validate = schemas.get(type) as ValidateFunction;
      for (const field of Object.keys(minimal)) {
        const { [field]: _, ...without } = minimal;
        expect([field, validate(event(type, without))]).toEqual([field, false]);
        expect([field, validate(event(type, { ...minimal, [field]: { no: 'such form' } }))]).toEqual([
          field,
          false,
        ]);
      }
    },
  );

  test('what is odd and taken, the schemas take too', () => {
    let seen = 0;
    for (const { name, payload, headers } of oddInputs()) {
      if (headers !== undefined) continue;
      const odd = JSON.parse(new TextDecoder().decode(payload)) as { type: InputType; data: object };
      // null counts as left out on the wire; a publisher is told to leave it out.
      if (/:null/.test(JSON.stringify(odd))) continue;
      seen++;
      expect([name, problems(schemas.get(odd.type) as ValidateFunction, odd)]).toEqual([name, []]);
    }
    expect(seen).toBeGreaterThan(10);
  });

  test('[OUT-2 acts] whatever comes out of random histories has the fields of its type and no others', () => {
    const ajv = ajv2020();
    const validators = new Map<EventType, ValidateFunction>();
    for (const [type, schema] of typeSchemas({ strict: true }).outputs)
      validators.set(type, ajv.compile(schema));
    const seen = new Set<EventType>();
    const { first: seed, count: numRuns } = runsOf(60);
    process.stderr.write(`contract: VF_TEST_SEED=${seed}\n`);
    fc.assert(
      fc.property(anyHistory, (history) => {
        for (const { type, data } of eventsOf(history)) {
          seen.add(type);
          expect([
            type,
            problems(validators.get(type) as ValidateFunction, JSON.parse(JSON.stringify(data))),
          ]).toEqual([type, []]);
        }
      }),
      { seed, numRuns },
    );
    expect(seen.size).toBeGreaterThan(40);
  });
});

function eventsOf(history: History): readonly PlacedEvent[] {
  const world = new World(history.shape);
  const state = emptyState('c');
  const all: PlacedEvent[] = [];
  let sequence = 0;
  const take = (input: ReturnType<World['next']>): void => {
    sequence++;
    if (recall(state, input) !== 'new') return;
    const events = step(state, input, { stream: 's', sequence });
    world.hear(events);
    all.push(...events);
  };
  for (const input of world.opening()) take(input);
  for (const move of history.moves) take(world.next(move));
  return all;
}
