import { dataSchema, INPUT_CATALOG, type JsonSchema } from '#wire';
import { COMMANDS, pathFields, type Command } from './commands.js';
import { QUERIES, type Query } from './queries.js';
import { CLUSTERS_REPLY, LIVE_REPLY, READY_REPLY, REPLY_SCHEMAS, SHARED_SCHEMAS } from './reply-schemas.js';

type Json = Readonly<Record<string, unknown>>;

const IDENTIFIER: JsonSchema = { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' };
const POSITION: JsonSchema = { type: 'string', pattern: '^[0-9]{1,15}$' };

const json = (schema: JsonSchema): Json => ({ 'application/json': { schema } });
const shared = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });
const problem = (description: string): Json => ({
  description,
  content: { 'application/problem+json': { schema: shared('Problem') } },
});
const parameter = (
  where: 'path' | 'query' | 'header',
  name: string,
  schema: JsonSchema,
  description?: string,
  required = where === 'path',
): Json => ({ name, in: where, required, schema, ...(description !== undefined && { description }) });

const OTHER_HOST = problem('The `Host` is none that this API is known as.');
const OTHER_SITE = problem('A page of another site asks, or the `Host` is none that this API is known as.');
const CLUSTER = parameter('path', 'cluster', IDENTIFIER);

/**
 * The OpenAPI 3.1 document of everything under HTTP, made from the tables and classes that serve it: what is
 * checked is what is documented.
 */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  const add = (path: string, method: string, operation: Json): void => {
    const forbidden = path.startsWith('/v1/') ? OTHER_SITE : OTHER_HOST;
    const responses = { 403: forbidden, ...(operation['responses'] as object) };
    paths[path] = { ...paths[path], [method]: { ...operation, responses } };
  };
  add('/v1/clusters', 'get', {
    operationId: 'clusters',
    tags: ['queries'],
    summary: 'The clusters of the site',
    responses: {
      200: { description: 'Each cluster.', content: json(CLUSTERS_REPLY) },
      400: problem('It has a field that this query has not.'),
    },
  });
  for (const [name, query] of Object.entries(QUERIES)) {
    const method = query.post === true ? 'post' : 'get';
    add(`/v1/clusters/{cluster}/${name}`, method, queryOperation(name, query));
  }
  for (const command of COMMANDS) {
    add(`/v1/clusters/{cluster}/${command.path}`, command.method.toLowerCase(), commandOperation(command));
  }
  add('/v1/clusters/{cluster}/events', 'get', EVENTS);
  add('/v1/clusters/{cluster}/export', 'get', EXPORT);
  add('/health/live', 'get', {
    operationId: 'live',
    tags: ['health'],
    summary: 'Whether the process answers',
    responses: { 200: { description: 'It does.', content: json(LIVE_REPLY) } },
  });
  add('/health/ready', 'get', {
    operationId: 'ready',
    tags: ['health'],
    summary: 'Whether it leads or stands by for a cluster, and what all clusters share is there',
    parameters: [parameter('query', 'cluster', IDENTIFIER, 'Only whether that one is served.')],
    responses: {
      200: {
        description: 'It does; `degraded` names the clusters that are not served all the same.',
        content: json(READY_REPLY),
      },
      400: problem('It names more than one cluster.'),
      404: problem('There is no such cluster.'),
      503: { description: 'It does not; the body says what is wrong.', content: json(READY_REPLY) },
    },
  });
  add('/openapi.json', 'get', {
    operationId: 'openapi',
    tags: ['health'],
    summary: 'This document',
    responses: { 200: { description: 'OpenAPI 3.1.', content: json({ type: 'object' }) } },
  });
  return {
    openapi: '3.1.0',
    info: {
      title: 'VF scheduler',
      version,
      summary: 'An event-sourced scheduler for SR-IOV virtual functions',
      description:
        'Queries, commands and live events of the VF scheduler. A command becomes an event in VF_IN, and its answer is the event ' +
        'that the scheduler decided. Ids such as VM-3 name a rule of the domain.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'Wherever this document came from.' }],
    tags: [
      { name: 'commands', description: 'What operators and control planes without NATS ask for.' },
      { name: 'queries', description: 'The same answers as over NATS.' },
      { name: 'events', description: 'What is decided, as it is decided.' },
      { name: 'health' },
    ],
    paths,
    components: { schemas: SHARED_SCHEMAS },
  };
}

function queryOperation(name: string, { dto, description, table, post }: Query): Json {
  const schema = dataSchema(dto);
  const required = (schema['required'] ?? []) as readonly string[];
  const text = { schema: { type: 'string' } };
  const rows = table === undefined ? undefined : { 'application/x-ndjson': text, 'text/csv': text };
  const responses = {
    200: {
      description:
        table === undefined
          ? 'The answer.'
          : `The answer; as lines of JSON, or as a table, only \`${table}\`, and without \`limit\` all of it.`,
      content: { ...json(REPLY_SCHEMAS[name] as JsonSchema), ...rows },
    },
    400: problem('It cannot be read: a field is missing, wrong or unknown; a moment has not come.'),
    404: problem('There is no such cluster, VM, host, VF, PF, network or input.'),
    ...(table === undefined && { 406: problem('It is not a table: only `application/json`.') }),
    ...(post === true && {
      413: problem('The body is larger than 1 MiB.'),
      415: problem('The body is not JSON.'),
    }),
    503: problem('It cannot be answered now: `code` and `detail` say why.'),
  };
  const common = { operationId: name, tags: ['queries'], summary: summaryOf(description), responses };
  if (post === true) {
    return { ...common, parameters: [CLUSTER], requestBody: { required: true, content: json(schema) } };
  }
  const parameters = Object.entries(schema['properties'] as Record<string, JsonSchema>).map(
    ([field, of]) => ({
      ...parameter('query', field, of, undefined, required.includes(field)),
      ...(of['type'] === 'array' && { style: 'form', explode: false }),
    }),
  );
  return { ...common, parameters: [CLUSTER, ...parameters] };
}

const summaryOf = (description: string): string =>
  `${description.slice(0, 1).toUpperCase()}${description.slice(1)}`;

function commandOperation({ path, method, type, summary, defaults = {} }: Command): Json {
  const fields = pathFields(path);
  const schema = dataSchema(INPUT_CATALOG[type].dto) as {
    properties: Record<string, JsonSchema>;
    required?: readonly string[];
  };
  const inBody = Object.keys(schema.properties).filter((name) => !fields.includes(name));
  const required = (schema.required ?? []).filter((name) => inBody.includes(name) && !(name in defaults));
  const body: JsonSchema = {
    type: 'object',
    properties: Object.fromEntries(
      inBody.map((name) => [
        name,
        { ...schema.properties[name], ...(name in defaults && { default: defaults[name] }) },
      ]),
    ),
    ...(required.length > 0 && { required }),
  };
  const parameters = [
    CLUSTER,
    ...fields.map((name) => parameter('path', name, schema.properties[name] ?? IDENTIFIER)),
    parameter(
      'header',
      'Idempotency-Key',
      { type: 'string', pattern: '^"?[A-Za-z0-9_:./-]{1,128}"?$' },
      'The id of the event. The same key with the same body has the same answer, and takes effect once (EX-6).',
    ),
    parameter(
      'header',
      'Prefer',
      { type: 'string' },
      '`wait=N`: how many seconds to wait for the outcome; 10, at most 60. 0: answer as soon as it is stored.',
    ),
    parameter(
      'header',
      'traceparent',
      { type: 'string' },
      'W3C trace context, carried through to all events.',
    ),
    // A DELETE has no body: what else it takes stands in the query.
    ...(method === 'DELETE'
      ? inBody.map((name) => parameter('query', name, schema.properties[name] as JsonSchema))
      : []),
  ];
  const hasBody = method !== 'DELETE' && inBody.length > 0;
  return {
    operationId: type,
    tags: ['commands'],
    summary,
    parameters,
    ...(hasBody && { requestBody: { required: required.length > 0, content: json(body) } }),
    responses: {
      200: { description: 'It was decided.', content: json(shared('Granted')) },
      202: {
        description: 'It is stored, and not decided within the time that you wait.',
        headers: {
          Location: { description: 'Where its outcome will be.', schema: { type: 'string' } },
          'Retry-After': { schema: { type: 'string' } },
        },
        content: json(shared('Accepted')),
      },
      400: problem('It cannot be read; nothing was sent.'),
      404: problem('There is no such cluster.'),
      409: problem('The scheduler decided against it: `code` is the refusal, `facts` are behind it.'),
      413: problem('The body is larger than 1 MiB.'),
      415: problem('The body is not JSON.'),
      422: problem(
        'The key was used before for something else, or the scheduler could not take it: no effect.',
      ),
      503: problem('NATS does not take it now; repeat it with the same key.'),
    },
  };
}

const EXPORT: Json = {
  operationId: 'export',
  tags: ['queries'],
  summary: 'The whole log with a signed manifest; `vfctl audit check` needs nothing else',
  parameters: [CLUSTER],
  responses: {
    200: {
      description: 'A line of JSON for each record, and the manifest as the last.',
      content: { 'application/x-ndjson': { schema: { type: 'string' } } },
    },
    404: problem('There is no such cluster.'),
    409: problem(
      'This instance has no key to sign with (`NO_AUDIT_KEY`); it has signed another history before (`SIGNED_HEAD_DIFFERS`).',
    ),
    503: problem('It cannot be read now.'),
  },
};

const EVENTS: Json = {
  operationId: 'events',
  tags: ['events'],
  summary: 'The events of the cluster, as server-sent events',
  description:
    'Each block has the position as `id`, the type as `event`, and the CloudEvent as `data`. A block with an `id` alone is a sign of ' +
    'life. Who takes nothing for 15 s is dropped, and resumes with `Last-Event-ID`.',
  parameters: [
    CLUSTER,
    parameter('header', 'Last-Event-ID', POSITION, 'Resume after this position; goes before `after`.'),
    parameter('query', 'after', POSITION, 'Begin after this position; left out: with what comes next.'),
    parameter('query', 'vmId', IDENTIFIER, 'Only events about this VM.'),
    parameter('query', 'hostId', IDENTIFIER, 'Only events about this host.'),
    parameter('query', 'type', { type: 'string' }, 'Only these types, with commas, or given several times.'),
  ],
  responses: {
    200: {
      description: 'A stream that ends when you end it.',
      content: { 'text/event-stream': { schema: { type: 'string' } } },
    },
    400: problem('It cannot be read, or there is no such position yet.'),
    404: problem('There is no such cluster.'),
    410: problem('That position is no longer kept here; `facts.first` is.'),
    503: problem('There are too many clients.'),
  },
};
