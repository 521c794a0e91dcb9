import type { InputType } from '#domain';
import { INPUT_CATALOG } from '../inputs/catalog.js';
import type { SubjectKind } from '../subjects.js';
import type { JsonSchema } from './json-schema.js';

/** An event of the contract: its schema, and an example that was really sent. */
export interface DocumentedEvent {
  readonly type: string;
  readonly summary?: string;
  readonly schema: JsonSchema;
  readonly example: object;
}

/** An event that comes out, and what its subject can be about. */
export interface DocumentedOutput extends DocumentedEvent {
  readonly kinds: readonly SubjectKind[];
}

export interface AsyncApiParts {
  readonly version: string;
  readonly inputs: readonly (DocumentedEvent & { readonly type: InputType })[];
  readonly outputs: readonly DocumentedOutput[];
}

const KINDS: readonly SubjectKind[] = ['vm', 'host', 'network', 'cluster'];

const ABOUT: Record<SubjectKind, { readonly id: string; readonly publishers: string }> = {
  vm: { id: 'the vmId', publishers: 'the compute control plane' },
  host: { id: 'the hostId', publishers: "that host's agent, or an operator" },
  network: { id: 'the l2Id or l3Id', publishers: 'the network control plane' },
  cluster: { id: 'the cluster again', publishers: 'an operator; the leader itself (Tick)' },
};

type Named = Record<string, unknown>;

const named = <T>(list: readonly T[], name: (one: T) => string, value: (one: T) => unknown): Named =>
  Object.fromEntries(list.map((one) => [name(one), value(one)]));

const inName = (type: string): string => `in.${type}`;
const outName = (type: string): string => `out.${type}`;

/**
 * The AsyncAPI 3 document of the contract: what goes in over `VF_IN`, what comes out of `VF_OUT_<cluster>`
 * and `VF_DEAD`. Operations are the scheduler's: it receives inputs and sends events.
 */
export function asyncApiDocument({ version, inputs, outputs }: AsyncApiParts): Named {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'VF scheduler',
      version,
      description:
        'An event-sourced scheduler for SR-IOV virtual functions. Every event is a CloudEvents 1.0 event in structured mode. ' +
        'Ids such as VM-3 name a rule of the domain.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/cloudevents+json',
    servers: {
      standalone: {
        host: '127.0.0.1:4222',
        protocol: 'nats',
        description: 'The nats-server that `npm start` brings up.',
      },
    },
    channels: {
      ...named(
        KINDS,
        (kind) => inName(kind),
        (kind) => inputChannel(kind, inputs),
      ),
      ...named(
        KINDS,
        (kind) => outName(kind),
        (kind) => outputChannel(kind, outputs),
      ),
      dead: {
        address: 'vf.dead.{cluster}',
        title: 'What could not be taken',
        description:
          'JetStream stream VF_DEAD: byte for byte as it was published, with headers that say why. `_` stands for a cluster that could not be read.',
        parameters: { cluster: { description: 'A cluster, or _' } },
        messages: { deadLetter: { $ref: '#/components/messages/deadLetter' } },
      },
    },
    operations: {
      ...named(
        KINDS,
        (kind) => `receive.${kind}`,
        (kind) => ({
          action: 'receive',
          channel: { $ref: `#/channels/${inName(kind)}` },
          summary: `Decides what ${ABOUT[kind].publishers} published.`,
        }),
      ),
      ...named(
        KINDS,
        (kind) => `send.${kind}`,
        (kind) => ({ action: 'send', channel: { $ref: `#/channels/${outName(kind)}` } }),
      ),
      'send.dead': { action: 'send', channel: { $ref: '#/channels/dead' } },
    },
    components: {
      messages: {
        ...named(
          inputs,
          ({ type }) => inName(type),
          (event) => message(event),
        ),
        ...named(
          outputs,
          ({ type }) => outName(type),
          (event) => message(event),
        ),
        deadLetter: {
          name: 'deadLetter',
          summary: 'The payload is what was published, whatever it is.',
          contentType: 'application/octet-stream',
          headers: {
            type: 'object',
            required: ['Vf-Reason', 'Vf-Subject', 'Vf-Sequence'],
            properties: {
              'Vf-Reason': { type: 'string', description: 'A sentence for a person.' },
              'Vf-Subject': { type: 'string', description: 'Where it was published.' },
              'Vf-Sequence': { type: 'string', description: 'Its sequence in VF_IN.' },
              'Vf-Stream': { type: 'string', description: 'When that VF_IN was made.' },
              'Vf-Event-Id': { type: 'string', description: 'Its CloudEvent id, where one could be read.' },
            },
          },
          payload: {},
        },
      },
    },
  };
}

function inputChannel(kind: SubjectKind, inputs: AsyncApiParts['inputs']): Named {
  const here = inputs.filter(({ type }) => INPUT_CATALOG[type].kind === kind);
  return {
    address: `vf.in.{cluster}.${kind}.{id}.{type}`,
    title: `Inputs about a ${kind}`,
    description: `JetStream stream VF_IN. Published by ${ABOUT[kind].publishers}. The subject, the type and the ids in data must agree.`,
    parameters: parameters(
      kind,
      here.map(({ type }) => type),
    ),
    messages: named(
      here,
      ({ type }) => type,
      ({ type }) => ({ $ref: `#/components/messages/${inName(type)}` }),
    ),
  };
}

function outputChannel(kind: SubjectKind, outputs: AsyncApiParts['outputs']): Named {
  const here = outputs.filter(({ kinds }) => kinds.includes(kind));
  return {
    address: `vf.out.{cluster}.${kind}.{id}.{type}`,
    title: `Events about a ${kind}`,
    description: 'JetStream stream VF_OUT_<cluster>, whose sequence is the position in the log.',
    parameters: parameters(
      kind,
      here.map(({ type }) => type),
    ),
    messages: named(
      here,
      ({ type }) => type,
      ({ type }) => ({ $ref: `#/components/messages/${outName(type)}` }),
    ),
  };
}

const parameters = (kind: SubjectKind, types: readonly string[]): Named => ({
  cluster: { description: 'The cluster; `default` on a site with one.', default: 'default' },
  id: { description: ABOUT[kind].id },
  type: { description: "The event's name.", enum: types },
});

const message = ({ type, summary, schema, example }: DocumentedEvent): Named => ({
  name: type,
  title: type,
  ...(summary === undefined ? undefined : { summary }),
  correlationId: { location: '$message.payload#/correlationid' },
  payload: schema,
  examples: [{ payload: example }],
});
