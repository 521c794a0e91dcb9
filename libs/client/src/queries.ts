import { errors } from '@nats-io/transport-node';
import type { Availability, HostView, VfView, VmView } from '#domain';
import type { NatsLink } from '#broker';
import { isIdentifier, NO_CLUSTER, querySubject, type OutgoingEvent } from '#wire';
import { VfError } from './errors.js';
import type { Patience } from './patience.js';

/** Every answer says at which position of the log it was true. */
export interface Positioned {
  readonly position: string;
}

/** What most queries take. */
export interface QueryBase {
  /** A time (RFC 3339) or a position: the answer is what was true then. */
  readonly at?: string;
  /** The answer is at least as new: read your own writes. */
  readonly atLeast?: string;
}

/** What an input led to. */
export interface OutcomeReply extends Positioned {
  readonly outcome?: OutgoingEvent;
  /** Of the input that took effect: see `ID_REUSED`. */
  readonly digest?: string;
  readonly dead?: { readonly reason: string };
}

/** The queries that are typed; any other is asked by its name. */
export interface QueryReplies {
  readonly availability: Positioned & Availability;
  readonly vm: Positioned & { readonly vm: VmView };
  readonly vf: Positioned & { readonly vf: VfView };
  readonly host: Positioned & { readonly host: HostView };
  readonly outcome: OutcomeReply;
}

const RETRY = 100;

/** Asks queries over NATS. */
export class Queries {
  constructor(
    private readonly link: NatsLink,
    private readonly cluster: string,
  ) {
    if (!isIdentifier(cluster)) throw new VfError('BAD_INPUT', `'${cluster}' is not a cluster name`);
  }

  /**
   * Asks until there is an answer: between two leaders there is nobody for a moment.
   *
   * @throws VfError with the code of the query's error; `UNAVAILABLE`.
   */
  async ask<T>(name: string, request: object, patience: Patience, cluster = this.cluster): Promise<T> {
    let last: unknown;
    while (!patience.over) {
      if (this.link.closed) throw new VfError('CLOSED', 'the client is closed');
      try {
        return await this.#once<T>(cluster, name, request, patience.left);
      } catch (error) {
        if (error instanceof VfError) throw error;
        // An attempt that the end of the call cut short says less than the one before it.
        if (last === undefined || !patience.over) last = error;
        await patience.sleep(RETRY);
      }
    }
    const nobody = isNobody(last);
    const why = nobody
      ? `nobody answers queries of cluster '${cluster}': does the scheduler run, and is that the cluster's name?`
      : `no answer to '${name}'${last instanceof Error ? ` (${last.message})` : ''}`;
    throw patience.error('UNAVAILABLE', why, { cluster });
  }

  clusters(patience: Patience): Promise<readonly { cluster: string; leader?: string; position?: string }[]> {
    return this.ask('clusters', {}, patience, NO_CLUSTER);
  }

  /** What an input has led to, if somebody says so now. */
  async outcomeNow(id: string, timeout: number): Promise<OutcomeReply | undefined> {
    try {
      return await this.#once<OutcomeReply>(this.cluster, 'outcome', { id }, timeout);
    } catch (error) {
      // A cluster that is just being opened is not known yet.
      if (error instanceof VfError && error.code === 'BAD_REQUEST') throw error;
      return undefined;
    }
  }

  async #once<T>(cluster: string, name: string, request: object, timeout: number): Promise<T> {
    this.link.assertConnected('Asking');
    const reply = await this.link.call(`Asking for ${name}`, () =>
      this.link.connection.request(querySubject(cluster, name), JSON.stringify(request), {
        timeout: Math.max(1, timeout),
      }),
    );
    const answer = reply.json<T & { error?: { code: string; message: string } }>();
    if (reply.headers?.has('Nats-Service-Error-Code') && answer.error !== undefined)
      throw new VfError(answer.error.code, answer.error.message, { cluster, query: name });
    return answer;
  }
}

/** Whether nobody listens, and not merely nobody answers. */
function isNobody(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof errors.NoRespondersError) return true;
    if (cause instanceof errors.RequestError && cause.isNoResponders()) return true;
  }
  return false;
}
