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

const HOST_FACTS: Readonly<Record<string, JsonSchema>> = {
  hostId: text,
  state: oneOf('ready', 'not-ready', 'cordoned', 'lost', 'fenced'),
  bootId: text,
  cordoned: yesOrNo,
  iommu: object({ enabled: yesOrNo, ready: yesOrNo }),
  interruptRemapping: yesOrNo,
  scrubs: yesOrNo,
  'lostSince?': text,
};

const CAUSE = object({
  position,
  input: object({ id: text, type: text, source: text, time: text }),
  'answers?': object({ position, type: text }, 'The order that it answers.'),
});

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
    ...HOST_FACTS,
    lastSeq: {
      ...whole,
      description: 'Of its last report or sign of life that was taken: an agent goes on from it.',
    },
    lastReportAt: { ...text, description: 'When that was stored.' },
    vms: list(text),
    pfs: list(ref('Pf')),
    drifts: list({ type: 'object' }),
  }),
};

const counts = { total: whole, free: whole, allocated: whole, unavailable: whole };
const cursor: JsonSchema = { ...text, description: 'For the next page; not there on the last.' };
const planned = object({ position, type: text, time: text, data: { type: 'object' } });
const refusal = { 'reason?': text, 'message?': text };
const check = (more: Readonly<Record<string, JsonSchema>> = {}): JsonSchema =>
  object({ ok: yesOrNo, ...more });

const PASSED_OVER = object(
  { count: whole, sequences: list(whole), last: text },
  'Messages in the stream of a log in JetStream that are no part of it: how many, the sequences of the last few, and what the last one is.',
);

/** The answer of each query. */
export const REPLY_SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  availability: object({ position, ...counts, pfs: list(ref('Pf')) }),
  vm: object({ position, vm: ref('Vm') }),
  vf: object({ position, vf: ref('Vf') }),
  host: object({ position, host: ref('Host') }),
  hosts: object({
    position,
    hosts: list(
      object({
        ...HOST_FACTS,
        vms: whole,
        pfs: whole,
        ...counts,
        drifts: whole,
      }),
    ),
    'cursor?': cursor,
  }),
  vms: object({ position, vms: list(ref('Vm')), 'cursor?': cursor }),
  vfs: object({ position, vfs: list(ref('Vf')), 'cursor?': cursor }),
  networks: object({
    position,
    networks: list(
      object({
        id: text,
        layer: { type: 'integer', enum: [2, 3] },
        'l2Id?': text,
        'l3Id?': text,
        'type?': text,
        'kind?': text,
        'physicalInterface?': text,
        'vlanId?': whole,
        sriov: yesOrNo,
      }),
    ),
    'cursor?': cursor,
  }),
  policy: object({ position, policy: { type: 'object' } }),
  candidates: object({
    position,
    hosts: list(
      object({
        hostId: text,
        score: { type: 'number' },
        nics: list(object({ nicId: text, 'pf?': text, 'free?': whole, 'degraded?': yesOrNo })),
      }),
    ),
    refused: list(object({ hostId: text, 'pf?': text, reason: text, 'total?': whole, 'free?': whole })),
    ...refusal,
  }),
  'restore-impact': object({
    position,
    'obstacle?': text,
    ...refusal,
    'holders?': list(object({ vmId: text, nicId: text, vf: text, allocationId: text })),
    vms: list(object({ vmId: text, 'tenant?': text, nicIds: list(text), hosts: list(text) })),
  }),
  plan: object({
    position,
    results: list(object({ id: text, type: text, events: list(planned) })),
    events: list(planned),
  }),
  outcome: object({
    position,
    'outcome?': ref('CloudEvent'),
    'digest?': { ...text, description: 'Of the input that took effect.' },
    'dead?': object({ reason: text }),
  }),
  explain: object({
    position,
    id: text,
    'decided?': object({ position, time: text, decider: text }),
    ...refusal,
    'again?': object(
      {
        same: yesOrNo,
        'decider?': text,
        'code?': text,
        'message?': text,
        'events?': list({ type: 'object' }),
      },
      'The input decided again at its place.',
    ),
    'because?': list(CAUSE),
    'input?': { type: ['object', 'null'], description: 'The event as it was read.' },
    'events?': list(ref('CloudEvent')),
    'outcome?': ref('CloudEvent'),
    'dead?': object({ reason: text }),
  }),
  history: object({
    position,
    events: list(ref('CloudEvent')),
    'causes?': { type: 'object', description: 'By event id.', additionalProperties: list(CAUSE) },
    'cursor?': cursor,
  }),
  tenants: object({
    position,
    tenants: list(
      object({
        vmId: text,
        nicId: text,
        'tenant?': text,
        mac: text,
        allocationId: text,
        from: text,
        'to?': text,
        'reason?': text,
      }),
    ),
  }),
  usage: object({
    position,
    usage: list(
      object({
        'vmId?': text,
        'tenant?': text,
        'hostId?': text,
        'pf?': text,
        allocations: whole,
        vfSeconds: { type: 'number' },
      }),
    ),
  }),
  verify: object({
    position,
    events: whole,
    ok: yesOrNo,
    head: object({ position, hash: text }),
    'firstBad?': object({ position, 'message?': text }),
    checks: object({
      chain: check({ 'passedOver?': PASSED_OVER }),
      versions: check(),
      states: check({
        checked: list(object({ what: text, position, same: yesOrNo, 'named?': { const: false } })),
      }),
      output: check({ 'position?': position }),
      signedHead: check({ 'position?': position, 'message?': text }),
      readSide: check({ 'message?': text }),
    }),
  }),
};

/** The columns of a query's table: all the fields that a row may have. */
export function columnsOf(name: string, table: string): readonly string[] {
  const fields = REPLY_SCHEMAS[name]?.['properties'] as Record<string, JsonSchema> | undefined;
  const items = fields?.[table]?.['items'] as JsonSchema | undefined;
  const shared = (items?.['$ref'] as string | undefined)?.split('/').at(-1);
  const row = shared === undefined ? items : SHARED_SCHEMAS[shared];
  return Object.keys((row?.['properties'] ?? {}) as object);
}

export const CLUSTERS_REPLY: JsonSchema = list(
  object({ cluster: text, 'leader?': text, 'position?': position }),
);

export const LIVE_REPLY: JsonSchema = object({ status: { const: 'ok' } });
export const READY_REPLY: JsonSchema = object({
  status: oneOf('ok', 'degraded', 'unavailable'),
  'troubled?': {
    type: 'object',
    description: 'Each cluster that is not served, and why.',
    additionalProperties: { type: 'string' },
  },
  nats: oneOf('connected', 'disconnected'),
  clusters: { type: 'object' },
  'trouble?': { type: 'string', description: 'What keeps messages of no cluster in `VF_IN`.' },
});
