import { Controller, Inject, Req, RequestMapping, RequestMethod, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { outputSpan, type NatsBroker } from '#broker';
import { VfError, VfRefusal, VfScheduler, type Granted } from '#client';
import type { Inputs } from '#domain';
import { EVENT_ID, isIdentifier, NO_CLUSTER, readPciAddress } from '#wire';
import { COMMANDS, pathFields, type Command } from './commands.js';
import { API_PARTS } from './parts.js';
import { Problem } from './problem.js';
import type { ApiParts } from './api-parts.js';

/** How long a client waits for an outcome unless it says otherwise, and at most; seconds. */
const WAIT = 10;
const LONGEST_WAIT = 60;
/** A wait of 0 is for those who want it stored, which takes its time too; milliseconds. */
const STORE_PATIENCE = 5000;
const CLUSTERS_KEPT = 256;

/** The commands of {@link COMMANDS}: each becomes an event in `VF_IN`, and waits for its outcome. */
@Controller('v1/clusters/:cluster')
export class CommandController {
  readonly #clients = new Map<string, VfScheduler>();

  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  async run(command: Command, request: Request, response: Response): Promise<object> {
    response.status(200);
    const cluster = String(request.params['cluster']);
    const data = dataOf(command, request);
    const id = idempotencyKey(request);
    const wait = waitOf(request);
    const client = await this.clientOf(cluster);
    const gone = new AbortController();
    response.on('close', () => gone.abort(new Error('the client has gone')));
    const traceparent = request.get('traceparent');
    const options = {
      ...(id !== undefined && { id }),
      ...(traceparent !== undefined && traceparent !== '' && { traceparent }),
      signal: gone.signal,
    };
    if (wait.asked) response.set('Preference-Applied', `wait=${wait.seconds}`);
    try {
      if (wait.seconds === 0) {
        const stored = await client.publish(command.type, data, { ...options, timeout: STORE_PATIENCE });
        return later(cluster, stored.id, response);
      }
      const granted = await client.ask(command.type, data, { ...options, timeout: wait.seconds * 1000 });
      return await answer(client, granted);
    } catch (error) {
      if (error instanceof VfError && error.code === 'OUTCOME_UNKNOWN')
        return later(cluster, String(error.facts['id']), response);
      throw problemOf(error);
    }
  }

  /** @throws Problem 404: an operator does not make a cluster by a slip of the pen. */
  private async clientOf(cluster: string): Promise<VfScheduler> {
    const found = this.#clients.get(cluster);
    if (found !== undefined) return found;
    const { link } = this.parts.broker as NatsBroker;
    if (!isIdentifier(cluster) || cluster === NO_CLUSTER)
      throw new Problem(404, 'CLUSTER_UNKNOWN', `'${cluster}' is not a cluster name`);
    let known: boolean;
    try {
      known = this.parts.allocator.status.has(cluster) || (await outputSpan(link, cluster)) !== undefined;
    } catch (error) {
      throw new Problem(503, 'UNAVAILABLE', error instanceof Error ? error.message : String(error));
    }
    if (!known)
      throw new Problem(
        404,
        'CLUSTER_UNKNOWN',
        `there is no cluster '${cluster}': a cluster begins with the first report of one of its hosts`,
      );
    const client = VfScheduler.on(link, { cluster, source: '/vf-scheduler/http' });
    if (this.#clients.size < CLUSTERS_KEPT) this.#clients.set(cluster, client);
    return client;
  }
}

/** A controller's method for each command, as its decorators would make it. */
for (const command of COMMANDS) {
  const { method, path } = command;
  const name = `${method.toLowerCase()} ${path}`;
  const { prototype } = CommandController;
  Object.defineProperty(prototype, name, {
    value(this: CommandController, request: Request, response: Response) {
      return this.run(command, request, response);
    },
  });
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor;
  RequestMapping({ path: path.replaceAll(/\{(\w+)\}/g, ':$1'), method: RequestMethod[method] })(
    prototype,
    name,
    descriptor,
  );
  Req()(prototype, name, 0);
  Res({ passthrough: true })(prototype, name, 1);
}

async function answer(client: VfScheduler, { id, position, ignored, event }: Granted): Promise<object> {
  // What VF_OUT no longer has is of no use to anybody who asks again so late.
  const events = await client.decision({ id, position }).catch(() => [event]);
  return { id, position, ...(ignored !== undefined && { ignored }), outcome: event, events };
}

function later(cluster: string, id: string, response: Response): object {
  const location = `/v1/clusters/${cluster}/outcome?id=${encodeURIComponent(id)}`;
  response.status(202).set({ Location: location, 'Retry-After': '1' });
  return { id, outcome: null, location };
}

/** The input's data: the fields in the path, and the body beside them. */
function dataOf({ type, path, method, defaults }: Command, request: Request): Inputs[typeof type] {
  const length = request.get('content-length');
  const hasBody = request.get('transfer-encoding') !== undefined || (length !== undefined && length !== '0');
  if (hasBody && !request.is(['application/json', 'application/*+json']))
    throw new Problem(415, 'NOT_JSON', 'the body must be JSON: say Content-Type: application/json');
  const body: unknown = request.body ?? {};
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new Problem(400, 'BAD_REQUEST', 'the body must be a JSON object');
  // What a DELETE has no body for, such as a generation, it may have in its query.
  const query = method === 'DELETE' && !hasBody ? numbersIn(request.query) : {};
  const data: Record<string, unknown> = { ...defaults, ...query, ...body };
  for (const field of pathFields(path)) {
    const value = String(request.params[field]);
    const said = Object.hasOwn(body, field) ? (body as Record<string, unknown>)[field] : undefined;
    data[field] = field === 'pf' ? (readPciAddress(value) ?? value) : value;
    if (said !== undefined && said !== data[field])
      throw new Problem(
        400,
        'BAD_REQUEST',
        `${field} is ${JSON.stringify(data[field])} in the path, and ${JSON.stringify(said)} in the body`,
      );
  }
  return data as unknown as Inputs[typeof type];
}

const numbersIn = (query: Request['query']): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(query).map(([name, value]) => [
      name,
      typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value,
    ]),
  );

/** `Idempotency-Key`: a text, in quotation marks or without. It becomes the id of the event. */
function idempotencyKey(request: Request): string | undefined {
  const said = request.get('idempotency-key');
  if (said === undefined) return undefined;
  const id = said.replace(/^"(.*)"$/, '$1');
  if (!EVENT_ID.test(id))
    throw new Problem(400, 'BAD_REQUEST', 'Idempotency-Key must be 1 to 128 of A-Z a-z 0-9 _ : . / -');
  return id;
}

/** `Prefer: wait=N` (RFC 7240), in seconds. */
function waitOf(request: Request): { seconds: number; asked: boolean } {
  const [, said] =
    /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,6})"?\s*(?:$|[,;])/i.exec(request.get('prefer') ?? '') ?? [];
  return said === undefined
    ? { seconds: WAIT, asked: false }
    : { seconds: Math.min(LONGEST_WAIT, Number(said)), asked: true };
}

const STATUS: Readonly<Record<string, number>> = {
  BAD_INPUT: 400,
  ID_REUSED: 422,
  DEAD_LETTERED: 422,
  NOT_STORED: 503,
  UNAVAILABLE: 503,
  CLOSED: 503,
};

function problemOf(error: unknown): unknown {
  if (error instanceof VfRefusal) return new Problem(409, error.code, error.message, error.facts);
  if (!(error instanceof VfError)) return error;
  const status = STATUS[error.code];
  if (status === undefined) return error;
  const message = error.message.replaceAll('data.', '');
  return new Problem(status, error.code, message, error.facts, status === 503 ? { 'Retry-After': '1' } : {});
}
