import { EVENT_ID } from '../formats.js';
import type { JsonSchema } from './json-schema.js';

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

const uri = (maxLength: number): JsonSchema => ({ type: 'string', minLength: 1, maxLength });
const carried = (description: string): JsonSchema => ({ type: 'string', maxLength: 256, description });

/** The schema of an input as it is published: a CloudEvent in structured mode around `data`. */
export const inputSchema = (type: string, data: JsonSchema): JsonSchema => ({
  $schema: DIALECT,
  title: type,
  type: 'object',
  required: ['specversion', 'id', 'source', 'type', 'time', 'data'],
  properties: {
    specversion: { const: '1.0' },
    id: {
      type: 'string',
      pattern: EVENT_ID.source,
      description: 'Unique for the site: an input takes effect once, by its id (EX-6).',
    },
    source: { ...uri(1024), description: 'Who publishes it, such as /compute/controller-1.' },
    type: { const: type },
    time: {
      type: 'string',
      format: 'date-time',
      description:
        "The sender's claim, and no clock of a decision: it only tells a report of a restarted agent from an old message (HOST-9), and is never taken as later than when JetStream stored it.",
    },
    subject: carried('Optional.'),
    datacontenttype: { type: 'string', description: 'application/json, where it is given.' },
    correlationid: carried('Carried through to what it leads to; default: id.'),
    traceparent: carried('W3C trace context, carried through.'),
    data,
  },
});

/** The schema of an event as it comes out of `VF_OUT_<cluster>`. */
export const outputSchema = (type: string, data: JsonSchema): JsonSchema => ({
  $schema: DIALECT,
  title: type,
  type: 'object',
  required: [
    ...['specversion', 'id', 'source', 'type', 'time', 'subject', 'datacontenttype'],
    ...['correlationid', 'causationid', 'position', 'hash', 'data'],
  ],
  properties: {
    specversion: { const: '1.0' },
    id: {
      type: 'string',
      pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
      description: 'A UUID, version 8, made from the hash.',
    },
    source: { type: 'string', pattern: '^/vf-scheduler/[A-Za-z0-9_-]{1,64}$' },
    type: { const: type },
    time: {
      type: 'string',
      format: 'date-time',
      description: 'When it was decided; never goes back within a cluster.',
    },
    subject: { type: 'string', pattern: '^(?:vm|host|network|cluster)/[A-Za-z0-9_-]{1,64}$' },
    datacontenttype: { const: 'application/json' },
    correlationid: { type: 'string' },
    causationid: { type: 'string', description: 'The id of the input that caused it.' },
    position: {
      type: 'string',
      pattern: '^[1-9][0-9]*$',
      description: "Place in the cluster's log, from 1, without gaps (OUT-3).",
    },
    hash: { type: 'string', pattern: '^[0-9a-f]{64}$', description: 'Chain hash of the log at this event.' },
    traceparent: { type: 'string' },
    data,
  },
});
