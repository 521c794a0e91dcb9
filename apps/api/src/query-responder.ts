import { Inject, Injectable } from '@nestjs/common';
import { headers, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { systemClock } from '#pipeline';
import { API_PARTS } from './parts.js';
import { answerQuery, QueryError, type ApiParts } from './queries.js';

/** How long `stop` waits, in milliseconds. */
const STOP_PATIENCE = 2000;

/** Answers `vf.query.<cluster>.<name>` over NATS: a JSON request, a JSON reply. */
@Injectable()
export class QueryResponder {
  private subscription: Subscription | undefined;
  private readonly answering = new Set<Promise<void>>();

  constructor(@Inject(API_PARTS) private readonly parts: ApiParts) {}

  start(): void {
    const { connection } = this.parts.broker as { connection: NatsConnection };
    this.subscription = connection.subscribe('vf.query.*.*', {
      callback: (error, message) => {
        if (error !== null) return;
        const answer = this.answer(message).finally(() => this.answering.delete(answer));
        this.answering.add(answer);
      },
    });
  }

  /** Answers what has been asked; not for ever, because NATS or the log may be away. */
  async stop(): Promise<void> {
    const over = new AbortController();
    const patience = systemClock.sleep(STOP_PATIENCE, over.signal);
    if (this.parts.broker.connected) await Promise.race([this.subscription?.drain(), patience]);
    else this.subscription?.unsubscribe();
    await Promise.race([Promise.all(this.answering), patience]);
    over.abort();
  }

  private async answer(message: Msg): Promise<void> {
    const [, , cluster = '', name = ''] = message.subject.split('.');
    try {
      const answer = await answerQuery(this.parts, cluster, name, readRequest(message));
      message.respond(JSON.stringify(answer));
    } catch (error) {
      // The leader answers; of several instances the others keep quiet.
      if (error instanceof QueryError && error.code === 'NOT_LEADING') return;
      const code = error instanceof QueryError ? error.code : 'INTERNAL';
      if (!(error instanceof QueryError))
        this.parts.logger.error('a query failed', { error, subject: message.subject });
      const text =
        error instanceof QueryError ? error.message : 'the query could not be answered; the log says why';
      const errorHeaders = headers();
      errorHeaders.set('Nats-Service-Error-Code', code);
      errorHeaders.set('Nats-Service-Error', text.replaceAll(/[\r\n]+/g, ' '));
      message.respond(JSON.stringify({ error: { code, message: text } }), { headers: errorHeaders });
    }
  }
}

function readRequest(message: Msg): Record<string, unknown> {
  if (message.data.length === 0) return {};
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
