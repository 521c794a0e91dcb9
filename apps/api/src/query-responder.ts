import { Inject, Injectable } from '@nestjs/common';
import { Svcm, type Service, type ServiceMsg } from '@nats-io/services';
import { headers, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { systemClock } from '#pipeline';
import { tooDeep } from '#wire';
import { API_PARTS } from './parts.js';
import type { ApiParts } from './api-parts.js';
import { answerQuery, QUERIES } from './queries.js';
import { QueryError, type QueryErrorCode } from './query-errors.js';

/** It is looked whose questions are taken so often, in milliseconds. */
const LOOK_EVERY = 1000;
/** How long `stop` waits, in milliseconds. */
const STOP_PATIENCE = 2000;
/** One instance of those that answer gets a question. */
const QUEUE = 'vf-query';
const VERSION = '0.1.0';
/** Room for the headers and the protocol in a message. */
const ENVELOPE = 4096;

/** The services package brings types of its own for the same connection. */
type ServiceConnection = ConstructorParameters<typeof Svcm>[0];

type ErrorCode = QueryErrorCode | 'INTERNAL';

/**
 * Answers `vf.query.<cluster>.<name>` over NATS: a JSON request, a JSON reply. What is asked can be discovered
 * (`nats micro info vf-query`).
 */
@Injectable()
export class QueryResponder {
  private service: Service | undefined;
  private rest: Subscription[] = [];
  /** The clusters whose questions are taken; `*`: all. */
  private taken: readonly string[] = [];
  private readonly over = new AbortController();
  private watching: Promise<void> = Promise.resolve();
  private readonly answering = new Set<Promise<void>>();

  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  async start(): Promise<void> {
    await this.open(this.wanted());
    this.watching = this.watch();
  }

  /**
   * The clusters whose questions this instance takes. Not those of which it has another log than the site: a question goes
   * to one instance alone, and another one has the answer.
   */
  private wanted(): readonly string[] {
    const { allocator, clusters } = this.parts;
    const known = [...allocator.status.keys()];
    const wrong = known.filter((cluster) => allocator.whyNotAsked(cluster) !== undefined);
    if (wrong.length === 0) return clusters ?? ['*'];
    return known.filter((cluster) => !wrong.includes(cluster));
  }

  private async watch(): Promise<void> {
    const { signal } = this.over;
    while (!signal.aborted) {
      await systemClock.sleep(LOOK_EVERY, signal);
      const wanted = this.wanted();
      if (signal.aborted || !this.parts.broker.connected || wanted.join() === this.taken.join()) continue;
      try {
        const before = { service: this.service, rest: this.rest };
        this.rest = [];
        for (const subscription of before.rest) subscription.unsubscribe();
        await before.service?.stop();
        await this.open(wanted);
      } catch (error) {
        this.parts.logger.warn('the queries that are answered could not be changed; trying again', { error });
        this.taken = [];
      }
    }
  }

  private async open(clusters: readonly string[]): Promise<void> {
    const { connection } = this.parts.broker as { connection: NatsConnection };
    const service = await new Svcm(connection as unknown as ServiceConnection).add({
      name: 'vf-query',
      version: VERSION,
      description: 'Queries of the VF scheduler: now, then, why, and what if',
      queue: QUEUE,
      metadata: { clusters: clusters.join(',') },
    });
    this.service = service;
    const handler = (error: Error | null, message: ServiceMsg): void => {
      if (error === null) this.take(message as unknown as Msg);
    };
    service.addEndpoint('clusters', {
      subject: 'vf.query._.clusters',
      metadata: { description: 'the clusters' },
      handler,
    });
    // Where each instance answers for some clusters, none takes a question for another's.
    for (const cluster of clusters) {
      for (const [name, { description, table }] of Object.entries(QUERIES)) {
        const endpoint = cluster === '*' ? name : `${name}-${cluster}`;
        const subject = `vf.query.${cluster}.${name}`;
        service.addEndpoint(endpoint, {
          subject,
          metadata: { description, ...(table && { table }) },
          handler,
        });
      }
      // What nobody else answers is answered with the names that there are.
      this.rest.push(
        connection.subscribe(`vf.query.${cluster}.*`, {
          queue: `${QUEUE}-unknown`,
          callback: (error, message) => {
            const [, , about = '', name = ''] = message.subject.split('.');
            const isOurs = Object.hasOwn(QUERIES, name) || (about === '_' && name === 'clusters');
            if (error === null && !isOurs) this.take(message);
          },
        }),
      );
    }
    this.taken = clusters;
    await connection.flush();
  }

  /** Answers what has been asked; not for ever, because NATS or the log may be away. */
  async stop(): Promise<void> {
    this.over.abort();
    await this.watching;
    const over = new AbortController();
    const patience = systemClock.sleep(STOP_PATIENCE, over.signal);
    for (const subscription of this.rest) subscription.unsubscribe();
    if (this.parts.broker.connected) {
      await Promise.race([this.service?.stop().catch(() => undefined), patience]);
    }
    await Promise.race([Promise.all(this.answering), patience]);
    over.abort();
  }

  private take(message: Msg): void {
    const answer = this.answer(message).finally(() => this.answering.delete(answer));
    this.answering.add(answer);
  }

  private async answer(message: Msg): Promise<void> {
    const [, , cluster = '', name = ''] = message.subject.split('.');
    try {
      const answer = Buffer.from(await answerQuery(this.parts, cluster, name, readRequest(message)));
      this.refuseTooLarge(answer.length);
      message.respond(answer);
    } catch (error) {
      const known = error instanceof QueryError;
      const code: ErrorCode = known ? error.code : 'INTERNAL';
      if (!known) this.parts.logger.error('a query failed', { error, subject: message.subject });
      const text = known ? error.message : 'the query could not be answered; the log says why';
      const errorHeaders = headers();
      errorHeaders.set('Nats-Service-Error-Code', code);
      errorHeaders.set('Nats-Service-Error', text.replaceAll(/[\r\n]+/g, ' '));
      message.respond(JSON.stringify({ error: { code, message: text } }), { headers: errorHeaders });
    }
  }

  private refuseTooLarge(bytes: number): void {
    const { connection } = this.parts.broker as { connection: NatsConnection };
    const most = (connection.info?.max_payload ?? 1 << 20) - ENVELOPE;
    if (bytes <= most) return;
    throw new QueryError(
      'ANSWER_TOO_LARGE',
      `the answer has ${bytes} bytes, and this NATS server takes ${most}: ask for less (a host, a network, a smaller limit, "summary": true), or over HTTP`,
    );
  }
}

function readRequest(message: Msg): Record<string, unknown> {
  if (message.data.length === 0) return {};
  const problem = tooDeep(message.data);
  if (problem !== undefined) throw new QueryError('BAD_REQUEST', `the request is not read: ${problem}`);
  let request: unknown;
  try {
    request = message.json();
  } catch {
    throw new QueryError('BAD_REQUEST', 'the request is not JSON');
  }
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    throw new QueryError('BAD_REQUEST', 'the request must be a JSON object');
  }
  return request as Record<string, unknown>;
}
