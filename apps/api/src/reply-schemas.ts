import { REFUSAL_CODES } from '#domain';
import { outputSchema, type JsonSchema } from '#wire';

/** JSON Schemas of what the HTTP API answers. Fields may be added: none is forbidden. */

const text: JsonSchema = { type: 'string' };
const whole: JsonSchema = { type: 'integer', minimum: 0 };
const yesOrNo: JsonSchema = { type: 'boolean' };
const position: JsonSchema = {
  type: 'string',
  pattern: '^[0-9]+$',
  description: "Position in the cluster's log at which the answer was true.",
};
const ref = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });
const list = (items: JsonSchema): JsonSchema => ({ type: 'array', items });
const oneOf = (...words: readonly string[]): JsonSchema => ({ type: 'string', enum: words });

/** An object: names that end in `?` may be left out. */
function object(fields: Readonly<Record<string, JsonSchema>>, description?: string): JsonSchema {
  const names = Object.keys(fields);
  const required = names.filter((name) => !name.endsWith('?'));
  return {
    type: 'object',
    ...(description !== undefined && { description }),
    ...(required.length > 0 && { required }),
    properties: Object.fromEntries(names.map((name) => [name.replace(/\?$/, ''), fields[name]])),
  };
}

function cloudEvent(): JsonSchema {
  const {
    $schema: _,
    title: __,
    properties,
    ...rest
  } = outputSchema('', { type: 'object', description: 'The fields of the event.' });
  const named = { ...(properties as Record<string, JsonSchema>), type: text };
  return { ...rest, description: 'An event as it went out: CloudEvents 1.0.', properties: named };
}

const split: JsonSchema = { anyOf: [whole, { const: '-' }] };

/** The schemas that several answers share. */
export const SHARED_SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  CloudEvent: cloudEvent(),
  Problem: object(
    {
      type: text,
      title: text,
      status: whole,
      detail: { ...text, description: 'A sentence for a person.' },
      code: { ...text, description: `A stable code. Refusals: ${REFUSAL_CODES.join(', ')}.` },
      'facts?': { type: 'object', description: 'What a program can act on: holders, summary, considered …' },
      error: object({ code: text, message: text }, 'The same as a query over NATS says it.'),
    },
    'RFC 9457.',
  ),
  Granted: object({
    id: { ...text, description: 'The id of the event in VF_IN: the Idempotency-Key, where there was one.' },
    position,
    'ignored?': { ...text, description: 'Why a fact changed nothing.' },
    outcome: ref('CloudEvent'),
    events: {
      ...list(ref('CloudEvent')),
      description: 'All events of the decision; the outcome is the last.',
    },
  }),
  Accepted: object({
    id: text,
    outcome: { type: 'null', description: 'Not known yet.' },
    location: { ...text, description: 'Ask there.' },
  }),
  Holder: object({ vmId: text, nicId: text, 'allocationId?': text }),
  Pf: object({
    hostId: text,
    pf: text,
    ifname: text,
    'model?': text,
    link: oneOf('up', 'down'),
    'speedMbps?': whole,
    state: oneOf('not-virtualizable', 'virtualizable', 'virtualizing', 'virtualized', 'restoring', 'lost'),
    free: split,
    total: split,
    allocated: whole,
    totalVfs: whole,
    physicalNetwork: text,
    'bond?': text,
    'numaNode?': { type: 'integer' },
    cordoned: yesOrNo,
    'obstacle?': text,
  }),
  Nic: object({
    nicId: text,
    type: oneOf('vf', 'vnic'),
    state: oneOf('vf', 'vnic', 'degraded', 'detached-by-force', 'stopped'),
    mac: text,
    'networkId?': text,
    'physicalNetwork?': text,
    'guestSlot?': { anyOf: [whole, text] },
    'allocationId?': text,
    'hostId?': text,
    'pf?': text,
    'vf?': text,
    'vlanId?': whole,
  }),
  Vm: object({
    vmId: text,
    state: oneOf('unknown', 'pending', 'running', 'stopped'),
    'hostId?': text,
    'tenant?': text,
    'generation?': whole,
    nics: list(ref('Nic')),
    memoryPinned: yesOrNo,
    migratable: yesOrNo,
    'overdueSince?': text,
  }),
  Vf: object({
    hostId: text,
    pf: text,
    vf: text,
    index: whole,
    state: oneOf('free', 'pending', 'allocated', 'scrubbing', 'quarantined', 'unavailable', 'unknown'),
    'holder?': ref('Holder'),
    'mac?': text,
    'vlanId?': whole,
  }),
  Host: object({
    hostId: text,
    state: oneOf('ready', 'not-ready', 'cordoned', 'lost', 'fenced'),
    bootId: text,
    cordoned: yesOrNo,
    iommu: object({ enabled: yesOrNo, ready: yesOrNo }),
    interruptRemapping: yesOrNo,
    scrubs: yesOrNo,
    'lostSince?': text,
    vms: list(text),
    pfs: list(ref('Pf')),
    drifts: list({ type: 'object' }),
  }),
};

/** The answer of each query; of one that is not here it is known that it has a position. */
export const REPLY_SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  availability: object({
    position,
    total: whole,
    free: whole,
    allocated: whole,
    unavailable: whole,
    pfs: list(ref('Pf')),
  }),
  candidates: object({
    position,
    hosts: list(
      object({
        hostId: text,
        score: { type: 'number' },
        nics: list(object({ nicId: text, 'pf?': text, 'free?': whole })),
      }),
    ),
    refused: list(object({ hostId: text, 'pf?': text, reason: text, 'total?': whole, 'free?': whole })),
  }),
  outcome: object({
    position,
    'outcome?': ref('CloudEvent'),
    'digest?': { ...text, description: 'Of the input that took effect.' },
    'dead?': object({ reason: text }),
  }),
  vm: object({ position, vm: ref('Vm') }),
  vf: object({ position, vf: ref('Vf') }),
  host: object({ position, host: ref('Host') }),
  history: object({ position, events: list(ref('CloudEvent')), 'cursor?': text }),
  tenants: object({
    position,
    tenants: list(
      object({
        vmId: text,
        nicId: text,
        'tenant?': text,
        mac: text,
        from: text,
        'to?': text,
        'reason?': text,
      }),
    ),
  }),
  'restore-impact': object({
    position,
    vms: list(object({ vmId: text, nicIds: list(text), hosts: list(text) })),
  }),
  verify: object({
    position,
    events: whole,
    ok: yesOrNo,
    head: object({ position, hash: text }),
    'firstBad?': object({ position, 'message?': text }),
  }),
};

/** The answer of a query that is not described more closely. */
export const ANY_REPLY: JsonSchema = object({ position });

export const CLUSTERS_REPLY: JsonSchema = list(
  object({ cluster: text, 'leader?': text, 'position?': position }),
);

export const LIVE_REPLY: JsonSchema = object({ status: { const: 'ok' } });
export const READY_REPLY: JsonSchema = object({
  status: oneOf('ok', 'unavailable'),
  nats: oneOf('connected', 'disconnected'),
  clusters: { type: 'object' },
});
